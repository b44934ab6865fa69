"""The gateway itself, the federations it serves, and payment images."""

import pytest

from errors import ConfigError, ConflictError
from statemachines import federation, identity, image
from statemachines.federation import FederationFacts, Fee, Join
from statemachines.identity import Founded, JoinFederation, Start
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet
from tests.statemachines.scene import FEDERATION, FEES, Scene

OTHER = "0d" * 32
START = Start(network="regtest", mnemonic_fingerprint="f1")


def of(federation_id: str) -> FederationFacts:
    return FederationFacts(
        federation_id=federation_id,
        invite_code="fed1…",
        client_config=b"{}",
        module_fees=FEES,
        lightning_fee=Fee(0, 0),
        transaction_fee=Fee(2_000, 3_000),
    )


def started() -> Scene:
    scene = Scene()
    scene.deliver(identity.STREAM, START)
    return scene


def test_the_first_start_founds_the_gateway_and_later_ones_change_nothing() -> None:
    scene = started()
    assert scene.state(identity.STREAM) == Founded(network="regtest", mnemonic_fingerprint="f1")
    scene.deliver(identity.STREAM, START)
    assert len(scene.rows) == 1


def test_a_log_of_another_network_is_refused() -> None:
    wrong = Start(network="bitcoin", mnemonic_fingerprint="f1")
    with pytest.raises(ConfigError, match="gateway on regtest, not bitcoin"):
        started().deliver(identity.STREAM, wrong)


def test_a_log_of_another_mnemonic_is_refused() -> None:
    wrong = Start(network="regtest", mnemonic_fingerprint="f2")
    with pytest.raises(ConfigError, match="another mnemonic"):
        started().deliver(identity.STREAM, wrong)


def test_nothing_is_joined_before_the_first_start() -> None:
    with pytest.raises(ConflictError, match="not started"):
        Scene().deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION)))


def test_joining_gives_an_index_and_opens_the_wallet_in_one_append() -> None:
    scene = started()
    scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION)))
    assert len({row.append for row in scene.rows[1:]}) == 1
    joined = federation.Joined(facts=of(FEDERATION), index=1)
    assert scene.state(federation.stream_of(FEDERATION)) == joined
    assert scene.state(wallet_of(FEDERATION)) == Wallet(federation_id=FEDERATION, fees=FEES)


def test_an_index_is_never_given_twice() -> None:
    scene = started()
    for federation_id in (FEDERATION, OTHER):
        scene.deliver(identity.STREAM, JoinFederation(facts=of(federation_id)))
    with pytest.raises(ConflictError, match="serves this federation already"):
        scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION)))
    founded = scene.state(identity.STREAM)
    assert isinstance(founded, Founded)
    assert founded.federations == 2
    second = scene.state(federation.stream_of(OTHER))
    assert isinstance(second, federation.Joined)
    assert second.index == 2


def test_only_the_gateway_itself_joins_with_an_index() -> None:
    scene = started()
    stream = federation.stream_of(FEDERATION)
    scene.deliver(stream, Join(facts=of(FEDERATION), index=7))
    with pytest.raises(ConflictError, match="already"):
        scene.deliver(stream, Join(facts=of(FEDERATION), index=8))


def test_an_image_belongs_to_its_first_operation_for_ever() -> None:
    scene = Scene()
    stream = image.stream_of("ab")
    scene.deliver(stream, image.ClaimImage(operation="send/1"))
    for operation in ("send/2", "send/1"):
        with pytest.raises(ConflictError, match="never paid for twice"):
            scene.deliver(stream, image.ClaimImage(operation=operation))
    assert scene.state(stream) == image.Claimed(operation="send/1")
