"""Federations that cannot be served are refused when they are joined, with a sentence and nothing written."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devnet.guardians.dealer import LNV2_ID, META_ID, MINTV2_ID, WALLETV2_ID, deal_federation
from errors import ConflictError, GatewayError, InputError, UnavailableError
from fedimint.codec.encoding import StructCodec
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FeeConsensus, PeerId
from fedimint.config import ApiEndpoint, ClientConfig, ModuleConfig, Version
from fedimint.discovery import refuse_unspoken
from fedimint.lnv2.config import LN_V2
from fedimint.lnv2.gateway_api import Paid, PaymentFee
from fedimint.mintv2.config import MINT_V2
from fedimint.transaction import DynItem
from fedimint.walletv2.config import WALLET_V2
from fuzz.inputs.guardian_answers import AnswersThis
from gateway.modules.table import MODULES
from gateway.servable import (
    CONFIG_BYTES_MAX,
    federation_facts,
    refuse_another_config,
    refuse_unservable,
)
from statemachines import identity
from statemachines.federation import Joined
from statemachines.federation import stream_of as federation_stream
from tests.fedimint.conftest import VECTORS
from tests.gateway import calling
from tests.gateway.lying import let_lie
from tests.gateway.receiving import ECASH_MSAT, give_ecash
from tests.gateway.scene import Scene, ask, kinds, wallet

ONE = deal_federation(1, "x", "regtest", os.urandom).config
FOUR = deal_federation(4, "x", "regtest", os.urandom).config
CODECS: dict[int, StructCodec[Any]] = {LNV2_ID: LN_V2, MINTV2_ID: MINT_V2, WALLETV2_ID: WALLET_V2}
Change = Callable[[ClientConfig], ClientConfig]


def module(instance_id: int, **fields: object) -> Change:
    """Other fields in the config of one module."""

    def change(config: ClientConfig) -> ClientConfig:
        codec, found = CODECS[instance_id], config.modules[instance_id]
        decoded = msgspec.structs.replace(codec.decode(found.config.body), **fields)
        body = DynItem(instance_id, codec.encode(decoded))
        return with_module(config, instance_id, msgspec.structs.replace(found, config=body))

    return change


def with_module(
    config: ClientConfig, instance_id: int, module_config: ModuleConfig
) -> ClientConfig:
    return msgspec.structs.replace(config, modules={**config.modules, instance_id: module_config})


def version(instance_id: int, major: int, minor: int = 0) -> Change:
    def change(config: ClientConfig) -> ClientConfig:
        found = msgspec.structs.replace(config.modules[instance_id], version=Version(major, minor))
        return with_module(config, instance_id, found)

    return change


def core(major: int, minor: int) -> Change:
    return lambda config: msgspec.structs.replace(config, consensus_version=Version(major, minor))


def keys(instance_id: int, name: str, change_keys: Callable[[dict[Any, Any]], object]) -> Change:
    def change(config: ClientConfig) -> ClientConfig:
        decoded = CODECS[instance_id].decode(config.modules[instance_id].config.body)
        changed = change_keys(dict(getattr(decoded, name)))
        return module(instance_id, **{name: changed})(config)

    return change


def endpoints(change_endpoints: Callable[[dict[PeerId, ApiEndpoint]], object]) -> Change:
    return lambda config: msgspec.structs.replace(
        config, api_endpoints=change_endpoints(dict(config.api_endpoints))
    )


def without(key: int) -> Callable[[dict[Any, Any]], object]:
    return lambda known: {other: value for other, value in known.items() if other != key}


def fees(base_msat: int) -> FeeConsensus:
    return FeeConsensus(base_msat, 0)


UNSERVABLE: list[tuple[Change, str]] = [
    (module(MINTV2_ID, amount_unit=7), "ecash is of unit 7"),
    (module(LNV2_ID, network="signet"), "the federation is on signet, this gateway on regtest"),
    (module(WALLETV2_ID, network="bitcoin"), "the federation is on bitcoin"),
    (core(2, 0), "consensus is of version 2.0, this gateway needs 2.1 or later of 2"),
    (core(1, 9), "consensus is of version 1.9"),
    (core(3, 0), "consensus is of version 3.0"),
    (version(LNV2_ID, 0), "lnv2 is of version 0.0, this gateway knows 1.x"),
    (version(MINTV2_ID, 2, 3), "mintv2 is of version 2.3, this gateway knows 1.x"),
    (version(WALLETV2_ID, 2), "walletv2 is of version 2.0"),
    (keys(MINTV2_ID, "tbs_agg_pks", without(9)), r"no notes of 2\^9 msat"),
    (keys(MINTV2_ID, "tbs_pks", without(41)), r"no notes of 2\^41 msat"),
    (module(LNV2_ID, fee_consensus=fees(49_901)), "50001 msat of each payment"),
    (module(MINTV2_ID, fee_consensus=fees(49_001)), "50001 msat of each payment"),
    (module(LNV2_ID, fee_consensus=fees(21 * 10**17)), "each payment would be a loss"),
    (module(WALLETV2_ID, fee_consensus=fees(10_000_001)), "10000001 msat of each deposit"),
    (endpoints(lambda known: {PeerId(1): known[PeerId(0)]}), "not numbered from 0 on"),
    (
        endpoints(lambda known: {PeerId(peer): known[PeerId(0)] for peer in range(21)}),
        "has 21 guardians, at most 20 are served",
    ),
    (
        endpoints(lambda known: {PeerId(peer): known[PeerId(0)] for peer in range(2)}),
        "keys of lnv2 are not those of its guardians",
    ),
    (
        endpoints(lambda known: {PeerId(0): ApiEndpoint(known[PeerId(0)].url, "n" * 201)}),
        "a name or URL of absurd length",
    ),
    (
        endpoints(lambda _known: {PeerId(0): ApiEndpoint("ws://" + "h" * 1_000, "n")}),
        "a name or URL of absurd length",
    ),
    (
        lambda config: msgspec.structs.replace(config, meta={"federation_name": "n" * 201}),
        "name has 201 characters",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), UNSERVABLE)
def test_what_cannot_be_served_is_refused_with_the_reason(change: Change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        refuse_unservable(change(ONE), "regtest")
    assert "the federation is not joined" in str(refused.value)


@pytest.mark.parametrize("instance_id", [LNV2_ID, WALLETV2_ID])
def test_keys_of_fewer_guardians_than_there_are_decide_nothing(instance_id: int) -> None:
    """A threshold of those that have one could never form, or any would do."""
    name = "tpe_pks" if instance_id == LNV2_ID else "bitcoin_pks"
    with pytest.raises(InputError, match="are not those of its guardians"):
        refuse_unservable(keys(instance_id, name, without(2))(FOUR), "regtest")


def test_a_guardian_without_a_key_for_one_denomination_is_missed() -> None:
    def lose_one(known: dict[Any, Any]) -> object:
        return {**known, 17: without(3)(known[17])}

    with pytest.raises(InputError, match=r"keys of mintv2 for 2\^17 msat are not those"):
        refuse_unservable(keys(MINTV2_ID, "tbs_pks", lose_one)(FOUR), "regtest")


FINE: list[Change] = [
    lambda config: config,
    core(2, 7),
    version(LNV2_ID, 1, 4),
    module(LNV2_ID, fee_consensus=FeeConsensus(49_900, 1_000)),
    module(WALLETV2_ID, fee_consensus=fees(10_000_000)),
    keys(MINTV2_ID, "tbs_agg_pks", without(8)),
    lambda config: msgspec.structs.replace(config, modules=without(WALLETV2_ID)(config.modules)),
    lambda config: msgspec.structs.replace(config, modules=without(META_ID)(config.modules)),
]


@pytest.mark.parametrize("change", FINE)
@pytest.mark.parametrize("config", [ONE, FOUR], ids=["one", "four"])
def test_what_differs_and_can_be_served_is_taken(change: Change, config: ClientConfig) -> None:
    assert refuse_unservable(change(config), "regtest")["lnv2"].instance_id == LNV2_ID


def test_a_config_that_no_event_holds_is_refused() -> None:
    huge = msgspec.structs.replace(ONE, meta={"m": "x" * CONFIG_BYTES_MAX})
    invite = InviteCode.of({PeerId(0): "ws://x/"}, huge.federation_id())
    fee = PaymentFee(0, 0)
    with pytest.raises(InputError, match="more than the 180000 that are kept"):
        federation_facts(invite, huge, network="regtest", lightning_fee=fee, transaction_fee=fee)


@pytest.mark.parametrize("number", [-1, 2**32, 2**70])
def test_a_version_beyond_all_numbers_is_no_config(number: int) -> None:
    json = ONE.to_json()
    json["consensus_version"] = {"major": 2, "minor": number}
    with pytest.raises(InputError, match="absurd number"):
        ClientConfig.from_json(json)


@pytest.mark.anyio
async def test_a_real_federation_of_0_13_is_servable_and_speaks_with_us() -> None:
    told = json.loads((VECTORS / "federation-v2.json").read_text())
    config = ClientConfig.from_json(told["client_config"])
    assert set(refuse_unservable(config, "regtest")) == {"lnv2", "mintv2", "walletv2"}
    invite = InviteCode.parse(told["invite_code"])
    await refuse_unspoken(
        invite, config, lambda _url, _secret: AnswersThis(told["version"]), MODULES
    )
    nothing = {**told["version"], "modules": {}}
    with pytest.raises(InputError, match="a version of lnv2, mintv2, walletv2 that"):
        await refuse_unspoken(invite, config, lambda _url, _secret: AnswersThis(nothing), MODULES)


# --- coming back ---------------------------------------------------------------------------------------------------


def moved(config: ClientConfig) -> ClientConfig:
    """mintv2 under another instance id, from which our keys would follow."""
    modules = dict(config.modules)
    mint = modules.pop(MINTV2_ID)
    modules[7] = ModuleConfig(mint.kind, mint.version, DynItem(7, mint.config.body))
    return msgspec.structs.replace(config, modules=modules)


OTHER = deal_federation(1, "x", "regtest", os.urandom).config
CHANGED: list[tuple[Change, str]] = [
    (moved, "mintv2"),
    (lambda config: with_module(config, LNV2_ID, OTHER.modules[LNV2_ID]), "lnv2"),
    (lambda config: with_module(config, MINTV2_ID, OTHER.modules[MINTV2_ID]), "mintv2"),
    (lambda config: with_module(config, WALLETV2_ID, OTHER.modules[WALLETV2_ID]), "walletv2"),
    (module(LNV2_ID, fee_consensus=fees(0)), "lnv2"),
    (
        lambda config: msgspec.structs.replace(
            config, modules=without(WALLETV2_ID)(config.modules)
        ),
        "walletv2",
    ),
]


@pytest.mark.parametrize(("change", "kind"), CHANGED)
def test_other_keys_than_before_are_refused(change: Change, kind: str) -> None:
    with pytest.raises(ConflictError, match=f"the federation's {kind} has other keys"):
        refuse_another_config(ONE, change(ONE))


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config,
        core(2, 3),
        version(MINTV2_ID, 1, 1),
        lambda config: msgspec.structs.replace(config, meta={"federation_name": "renamed"}),
        lambda config: with_module(
            config, 9, ModuleConfig("unknown", Version(0, 0), DynItem(9, b""))
        ),
    ],
)
def test_what_upgrades_bring_is_taken(change: Change) -> None:
    refuse_another_config(ONE, change(ONE))


def test_a_wallet_that_was_not_there_before_is_taken() -> None:
    before = msgspec.structs.replace(ONE, modules=without(WALLETV2_ID)(ONE.modules))
    refuse_another_config(before, ONE)


# --- a whole gateway -----------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.anyio
async def test_a_federation_that_comes_back_as_another_is_refused_over_restarts(
    scene: Scene,
) -> None:
    """Its id covers the endpoints alone. As itself it is taken back, with what is held there."""
    lies = let_lie(scene, scene.federation)
    async with scene.joined() as (gateway, _):
        await give_ecash(scene, gateway)
        await gateway.federations.leave_federation(scene.federation_id)
        for change, _kind in CHANGED:
            lies["client_config"] = partial(_always, change(scene.federation.config).to_json())
            before = kinds(scene.directory)
            with pytest.raises(ConflictError, match="has other keys"):
                await gateway.federations.connect_federation(scene.invite(), recover=False)
            assert kinds(scene.directory) == before
        assert (await gateway.info()).federations == ()
    async with scene.serving() as gateway:
        with pytest.raises(ConflictError, match="has other keys"):
            await gateway.federations.connect_federation(scene.invite(), recover=False)
        del lies["client_config"]
        await gateway.federations.connect_federation(scene.invite(), recover=False)
        assert (await wallet(gateway, scene.federation_id)).balance_msat == ECASH_MSAT
        assert await gateway.treasury.spend_ecash(scene.federation_id, 512)


@pytest.mark.anyio
async def test_a_federation_of_the_log_that_cannot_be_used_keeps_no_other_from_being_served(
    scene: Scene,
) -> None:
    """Such as one with a key for larger notes than there are, which was joined before that was refused."""
    larger = keys(MINTV2_ID, "tbs_agg_pks", lambda known: {**known, 62: known[41]})(ONE)
    async with scene.joined() as (gateway, _):
        joined = gateway.engine.peek(federation_stream(scene.federation_id))
        assert isinstance(joined, Joined)
        for federation_id, config in (
            ("aa" * 32, msgspec.json.encode(larger.to_json())),
            ("bb" * 32, b"no config at all"),
        ):
            facts = msgspec.structs.replace(
                joined.facts, federation_id=federation_id, client_config=config
            )
            await gateway.engine.submit(identity.STREAM, identity.JoinFederation(facts=facts))
    async with scene.serving() as gateway:
        info = await gateway.info()
        assert [one.federation_id for one in info.federations] == [scene.federation_id]
        told = sorted(problem for problem in info.problems if "is quarantined" in problem)
        assert [problem.split()[0] for problem in told] == [
            federation_stream("aa" * 32),
            federation_stream("bb" * 32),
        ]
        assert "the largest is of 2^41 msat" in told[0]
        routing = await calling.routing_of(gateway, scene.federation_id)
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)


def _always(answer: object, _params: object) -> object:
    return answer


def _offer(config: ClientConfig, **changes: Any) -> object:
    """What a guardian of 0.13 offers, with changes to the core or to a module by its id."""
    offer: dict[str, Any] = {
        "core": {"core_consensus": {"major": 2, "minor": 1}, "api": [{"major": 0, "minor": 9}]},
        "modules": {
            str(instance_id): {
                "core_consensus": {"major": 2, "minor": 1},
                "module_consensus": {"major": found.version.major, "minor": 0},
                "api": [{"major": 0, "minor": 2}],
            }
            for instance_id, found in config.modules.items()
        },
    }
    for name, change in changes.items():
        offer[name] = {**offer[name], **change}
    return offer


SPEECHLESS: list[tuple[dict[str, Any], type[GatewayError], str]] = [
    ({"core": {"api": [{"major": 1, "minor": 0}]}}, InputError, "a version of the core API"),
    ({"core": {"core_consensus": {"major": 3, "minor": 0}}}, InputError, "the core API"),
    ({"modules": {str(LNV2_ID): None}}, UnavailableError, "too few guardians answered version"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("changes", "error", "sentence"), SPEECHLESS)
async def test_guardians_who_speak_no_version_of_ours_are_not_joined(
    scene: Scene, changes: dict[str, Any], error: type[GatewayError], sentence: str
) -> None:
    lies = let_lie(scene, scene.federation)
    lies["version"] = lambda _params: _offer(scene.federation.config, **changes)
    async with scene.serving() as gateway:
        with pytest.raises(error, match=sentence):
            await gateway.federations.connect_federation(scene.invite(), recover=False)
        assert "federation.joined" not in kinds(scene.directory)


@pytest.mark.anyio
@pytest.mark.parametrize("instance_id", [LNV2_ID, MINTV2_ID, WALLETV2_ID])
async def test_a_module_whose_api_is_too_old_or_missing_is_named(
    scene: Scene, instance_id: int
) -> None:
    config = scene.federation.config
    lies = let_lie(scene, scene.federation)
    offer: Any = _offer(config)
    del offer["modules"][str(instance_id)]
    lies["version"] = lambda _params: offer
    async with scene.serving() as gateway:
        kind = config.modules[instance_id].kind
        with pytest.raises(InputError, match=f"speak a version of {kind} that"):
            await gateway.federations.connect_federation(scene.invite(), recover=False)


@pytest.mark.anyio
async def test_one_guardian_of_four_that_speaks_another_version_or_none_is_done_without(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, guardians=4)
    scene.federation.faults(0).lie = lambda method, result: (
        {"core": {}} if method == "version" else result
    )
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
