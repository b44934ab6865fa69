"""The typed endpoints: against a recorded session, and against guardians that err or lie."""

import json
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from fedimint.client.query import FederationUnavailable, Guardians
from fedimint.client.transport import (
    GuardianConnection,
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
)
from fedimint.codec.encoding import BYTES, framed
from fedimint.codec.errors import DecodeError
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import ContractId, OutPoint, PeerId, TransactionId
from fedimint.config import ClientConfig
from fedimint.discovery import common_versions, download_config, supported_versions
from fedimint.federation_api import FederationApi, FinallyRejected
from fedimint.lnv2.api import Lnv2Api, OutgoingContractExpiration
from fedimint.mintv2.api import Mintv2Api
from fedimint.transaction import TRANSACTION, Accepted, InvalidWitnessLength
from tests.fedimint.played import DEAD, HANG, Nap, Recorded, Scripted, guardians, key_of

pytestmark = pytest.mark.anyio

LNV2, MINTV2 = 0, 2


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded()


def recorded_config(recorded: Recorded) -> ClientConfig:
    return ClientConfig.from_json(recorded.answers[key_of("client_config", None)])


def hex_field(params: object, name: str) -> str:
    assert isinstance(params, dict)
    text = params[name]
    assert isinstance(text, str)
    return text


# --- the recorded session -------------------------------------------------------------------------


async def test_every_recorded_transaction_is_submitted_in_the_same_bytes(
    recorded: Recorded,
) -> None:
    submissions = recorded.requests["submit_transaction"]
    assert len(submissions) > 10
    api = FederationApi(guardians(*[recorded] * 4))
    for params in submissions:
        assert isinstance(params, list)
        transaction = framed(TRANSACTION).decode_hex(params[0])
        txid = transaction.txid()
        encoded = TRANSACTION.encode(transaction)
        assert await api.submit_transaction(encoded, txid) == Accepted(txid)
        if txid.hex() in recorded.requests["await_transaction"]:
            assert await api.submit_until_final(encoded, txid) == Accepted(txid)


async def test_recorded_signature_shares(recorded: Recorded) -> None:
    async def count(peer: PeerId, shares: tuple[bytes, ...]) -> int:
        assert {len(share) for share in shares} == {48}
        return len(shares)

    questions = recorded.requests["module_2_signature_shares"]
    assert len(questions) > 10
    for params in questions:
        assert isinstance(params, dict)
        start, end = params["idx_range"]["start"], params["idx_range"]["end"]
        txid = TransactionId(bytes.fromhex(params["txid"]))
        api = Mintv2Api(guardians(*[recorded] * 4), MINTV2)
        found = await api.signature_shares(txid, start, end, count)
        assert list(found.values()) == [end - start] * 3


async def test_recorded_lnv2_answers(recorded: Recorded) -> None:
    async def keep(peer: PeerId, share: bytes) -> bytes:
        return share

    api = Lnv2Api(guardians(recorded), LNV2)
    assert await api.consensus_block_count() > 200
    for params in recorded.requests["module_0_outgoing_contract_expiration"]:
        expiration = await api.outgoing_contract_expiration(_out_point(params))
        assert expiration is not None
        assert len(expiration.contract_id) == 32
        assert expiration.remaining_blocks in {1452, 156}
    for params in recorded.requests["module_0_decryption_key_share"]:
        shares = await api.decryption_key_share(_out_point(params), keep)
        assert [len(share) for share in shares.values()] == [48]


def _out_point(params: object) -> OutPoint:
    return OutPoint(TransactionId(bytes.fromhex(hex_field(params, "txid"))), 0)


async def test_recorded_status_and_versions(recorded: Recorded) -> None:
    some = guardians(recorded)
    [status] = await FederationApi(some).guardian_status()
    assert status.session_count is not None
    assert status.problem is None
    versions = common_versions(recorded_config(recorded), await supported_versions(some))
    assert versions is not None
    assert (versions.core.major, versions.core.minor) == (0, 9)
    # lnv2, mintv2 and walletv2; the meta module is none of ours.
    assert set(versions.modules) == {0, 2, 3}


async def test_the_recorded_config_is_downloaded_by_invite(recorded: Recorded) -> None:
    config = recorded_config(recorded)
    invite = InviteCode.of({PeerId(0): "ws://invite/"}, config.federation_id(), "hush")
    asked: list[tuple[str, str | None]] = []

    def connect(url: str, api_secret: str | None) -> GuardianConnection:
        asked.append((url, api_secret))
        return recorded

    assert await download_config(invite, connect) == config
    assert asked == [("ws://invite/", "hush"), (config.api_endpoints[PeerId(0)].url, "hush")]


# --- downloading ----------------------------------------------------------------------------------


async def test_a_config_of_another_federation_is_refused_at_once(recorded: Recorded) -> None:
    config_json = recorded.answers[key_of("client_config", None)]
    connections: list[Scripted] = []

    def connect(url: str, api_secret: str | None) -> GuardianConnection:
        connections.append(Scripted(client_config=lambda _: config_json))
        return connections[-1]

    other = InviteCode.of({PeerId(0): "ws://x/"}, recorded_config(recorded).federation_id()[::-1])  # type: ignore[arg-type] # bytes, reversed
    nap = Nap()
    with pytest.raises(FederationUnavailable, match="another federation"):
        await download_config(other, connect, sleep_s=nap)
    assert nap.pauses_s == []
    assert [connection.closed for connection in connections] == [True]


async def test_a_download_is_tried_again_while_guardians_are_unreachable(
    recorded: Recorded,
) -> None:
    config = recorded_config(recorded)
    config_json = recorded.answers[key_of("client_config", None)]
    tries = 0

    def answer(_: int) -> object:
        nonlocal tries
        tries += 1
        return DEAD if tries < 5 else config_json

    invite = InviteCode.of({PeerId(0): "ws://x/"}, config.federation_id())
    nap = Nap()
    found = await download_config(invite, lambda _, __: Scripted(client_config=answer), sleep_s=nap)
    assert found == config
    assert nap.pauses_s == [0.25, 0.5, 1, 2]


async def test_a_download_ends_after_fourteen_tries(recorded: Recorded) -> None:
    invite = InviteCode.of({PeerId(0): "ws://x/"}, recorded_config(recorded).federation_id())
    nap = Nap()
    with pytest.raises(FederationUnavailable):
        await download_config(
            invite, lambda _, __: Scripted(client_config=lambda _: DEAD), sleep_s=nap
        )
    assert len(nap.pauses_s) == 13
    assert max(nap.pauses_s) == 5


# --- submission -----------------------------------------------------------------------------------

TXID = TransactionId(b"\x07" * 32)
TRANSACTION_BYTES = b"transaction"
ERROR_A = bytes([3, 0])
ERROR_B = bytes([2, 1, 9])


def outcome(raw: bytes) -> list[str]:
    return [BYTES.encode(raw).hex()]


OK = outcome(b"\x01" + TXID)
REFUSED_A = outcome(b"\x00" + ERROR_A)
REFUSED_B = outcome(b"\x00" + ERROR_B)


def guardian(
    submit: Callable[[int], object], await_: Callable[[int], object] = lambda _: TXID.hex()
) -> Scripted:
    return Scripted(submit_transaction=submit, await_transaction=await_)


async def test_a_threshold_of_identical_errors_is_a_rejection() -> None:
    some = guardians(
        guardian(lambda _: REFUSED_B), *[guardian(lambda _: REFUSED_A) for _ in range(3)]
    )
    result = await FederationApi(some).submit_until_final(TRANSACTION_BYTES, TXID)
    assert result == FinallyRejected(ERROR_A)
    assert result.error() == InvalidWitnessLength()


async def test_an_unknown_error_is_a_rejection_too_but_has_no_text() -> None:
    raw = outcome(b"\x00" + bytes([99, 0]))
    result = await FederationApi(guardians(guardian(lambda _: raw))).submit_until_final(
        TRANSACTION_BYTES, TXID
    )
    assert isinstance(result, FinallyRejected)
    with pytest.raises(DecodeError):
        result.error()


async def test_a_minority_error_is_never_a_rejection() -> None:
    # One guardian lies, one is dead, one refuses until it has caught up.
    lagging = guardian(lambda call: REFUSED_A if call < 6 else OK)
    some = guardians(
        guardian(lambda _: REFUSED_A), lagging, guardian(lambda _: OK), guardian(lambda _: OK)
    )
    result = await FederationApi(some).submit_until_final(TRANSACTION_BYTES, TXID)
    assert result == Accepted(TXID)
    assert lagging.calls["submit_transaction"] >= 6


async def test_submission_outlives_cuts_drops_and_garbage() -> None:
    troubles: list[object] = [
        GuardianTimeout("cut"),
        DEAD,
        GuardianRefused(500, "x"),
        None,
        ["zz"],
        ["00"],
        [BYTES.encode(b"\x02").hex()],
        outcome(b"\x01" + bytes(32)),
        {},
        "00",
        [],
        OK[0],
    ]

    def submit(call: int) -> object:
        return troubles[call - 1] if call <= len(troubles) else OK

    def awaited(call: int) -> object:
        return [GuardianTimeout("cut"), 5, "00" * 32][call - 1] if call <= 3 else TXID.hex()

    nap = Nap()
    some = guardians(guardian(submit, awaited), nap=nap)
    assert await FederationApi(some).submit_until_final(TRANSACTION_BYTES, TXID) == Accepted(TXID)
    assert len(nap.pauses_s) >= len(troubles) + 3


async def test_resubmission_slows_down_to_ten_minutes_and_goes_on() -> None:
    async def nap_long(pause_s: float) -> None:
        pauses_s.append(pause_s)
        await anyio.lowlevel.checkpoint()

    pauses_s: list[float] = []
    submitter = guardian(
        lambda call: OK if call < 13 else REFUSED_A,
        lambda _: HANG,
    )
    some = Guardians({PeerId(0): submitter}, sleep_s=nap_long, jitter=lambda: 0.5)
    # A guardian that said yes may still refuse later, as when a conflicting input was spent first.
    result = await FederationApi(some).submit_until_final(TRANSACTION_BYTES, TXID)
    assert result == FinallyRejected(ERROR_A)
    assert pauses_s == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]


# --- checks of shapes -----------------------------------------------------------------------------


async def test_signature_shares_need_the_right_count_and_pass_the_check() -> None:
    share = "aa" * 48
    bad: list[object] = [[share], [share] * 3, ["aa" * 47] * 2, [1, 2], None, ["bb" * 48] * 2]

    async def check(peer: PeerId, shares: tuple[bytes, ...]) -> int:
        if shares[0][0] == 0xBB:
            raise GuardianProtocolError("a bad share")
        return len(shares)

    def answer(call: int) -> object:
        return bad[call - 1] if call <= len(bad) else [share] * 2

    connections = [Scripted(module_5_signature_shares=answer) for _ in range(4)]
    found = await Mintv2Api(guardians(*connections), 5).signature_shares(TXID, 1, 3, check)
    assert list(found.values()) == [2, 2, 2]


@pytest.mark.parametrize("bad", [-1, 1 << 64, "5", 1.5, None, [], True])
async def test_a_count_must_be_a_count(bad: object) -> None:
    some = guardians(Scripted(session_count=lambda _: bad))
    with pytest.raises(FederationUnavailable):
        await FederationApi(some).session_count()
    [status] = await FederationApi(some).guardian_status()
    assert status.session_count is None
    assert status.problem is not None


@pytest.mark.parametrize("bad", [["00" * 31, 5], ["00" * 32], ["00" * 32, -1], 5, ["zz" * 32, 1]])
async def test_an_expiration_must_be_a_contract_id_and_blocks(bad: object) -> None:
    api = Lnv2Api(guardians(Scripted(module_0_outgoing_contract_expiration=lambda _: bad)), 0)
    with pytest.raises(FederationUnavailable):
        await api.outgoing_contract_expiration(OutPoint(TXID, 0))


async def test_expirations_found_and_not() -> None:
    answers: list[object] = [["ab" * 32, 7], None]
    for answer in answers:
        method = Scripted(module_0_outgoing_contract_expiration=lambda _, answer=answer: answer)  # type: ignore[misc] # binds this turn's answer
        found = await Lnv2Api(guardians(method), 0).outgoing_contract_expiration(OutPoint(TXID, 0))
        wanted = OutgoingContractExpiration(ContractId(b"\xab" * 32), 7)
        assert found == (None if answer is None else wanted)


async def test_status_names_who_does_not_answer() -> None:
    some = guardians(
        Scripted(session_count=lambda _: 3),
        Scripted(session_count=lambda _: DEAD),
        Scripted(session_count=lambda _: "3"),
    )
    statuses = await FederationApi(some).guardian_status()
    assert [(status.peer, status.session_count) for status in statuses] == [
        (0, 3),
        (1, None),
        (2, None),
    ]
    assert statuses[1].problem == "down"


async def test_versions_leave_out_what_is_not_common(recorded: Recorded) -> None:
    config = recorded_config(recorded)
    answer = json.loads(json.dumps(recorded.answers[key_of("version", None)]))
    answer["modules"]["2"]["api"] = [{"major": 0, "minor": 0}]  # mintv2 needs 0.1
    answer["modules"]["0"]["module_consensus"]["major"] = 7
    older = await supported_versions(guardians(Scripted(version=lambda _: answer)))
    versions = common_versions(config, older)
    assert versions is not None
    assert set(versions.modules) == {3}
    answer["core"]["core_consensus"]["major"] = 3
    foreign = await supported_versions(guardians(Scripted(version=lambda _: answer)))
    assert common_versions(config, foreign) is None
