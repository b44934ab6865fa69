"""The gateway itself, the federations it serves, and payment images."""

import pytest

from errors import ConfigError, ConflictError
from fuzz.machines.scene import BITCOIN_FEES, FEDERATION, FEES, NODE, OTHER, OTHER_NODE, Scene, note
from statemachines import deposits, federation, identity, image
from statemachines.federation import (
    RECOVERED_NOTES_PER_EVENT,
    FederationFacts,
    Fee,
    Join,
    Leave,
    SetTerms,
)
from statemachines.identity import Founded, JoinFederation, MeetNode, ReplaceNode, Start
from statemachines.reserving import FederationFees
from statemachines.transaction import wallet_of
from statemachines.wallet import AddTweaks, Wallet

STREAM, LIST = federation.stream_of(FEDERATION), deposits.stream_of(FEDERATION)
START = Start(network="regtest", mnemonic_fingerprint="f1")


def of(federation_id: str, module_fees: FederationFees = FEES) -> FederationFacts:
    return FederationFacts(
        federation_id=federation_id,
        invite_code="fed1…",
        client_config=b"{}",
        module_fees=module_fees,
        lightning_fee=Fee(0, 0),
        transaction_fee=Fee(2_000, 3_000),
    )


def started() -> Scene:
    scene = Scene()
    scene.deliver(identity.STREAM, START)
    return scene


def joined(module_fees: FederationFees = BITCOIN_FEES) -> Scene:
    scene = started()
    scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION, module_fees)))
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


def node_of(scene: Scene) -> str | None:
    founded = scene.state(identity.STREAM)
    assert isinstance(founded, Founded)
    return founded.node


def test_the_first_node_is_the_gateways_and_another_is_refused() -> None:
    with pytest.raises(ConflictError, match="has not started yet"):
        Scene().deliver(identity.STREAM, MeetNode(node=NODE))
    scene = started()
    assert node_of(scene) is None
    for _ in range(2):
        scene.deliver(identity.STREAM, MeetNode(node=NODE))
        assert scene.last_append() == ["gateway.node_pinned"]
    assert len(scene.rows) == 2
    with pytest.raises(ConflictError, match=f"Lightning node is {NODE}, not {OTHER_NODE}"):
        scene.deliver(identity.STREAM, MeetNode(node=OTHER_NODE))
    assert node_of(scene) == NODE


def test_a_node_is_replaced_by_who_names_it() -> None:
    replace = ReplaceNode(gone=NODE, node=OTHER_NODE)
    with pytest.raises(ConflictError, match="has not started yet"):
        Scene().deliver(identity.STREAM, replace)
    scene = started()
    with pytest.raises(ConflictError, match="Lightning node is none yet"):
        scene.deliver(identity.STREAM, replace)
    scene.deliver(identity.STREAM, MeetNode(node=NODE))
    with pytest.raises(ConflictError, match="already"):
        scene.deliver(identity.STREAM, ReplaceNode(gone=NODE, node=NODE))
    scene.deliver(identity.STREAM, replace)
    assert node_of(scene) == OTHER_NODE
    with pytest.raises(ConflictError, match="name that one"):
        scene.deliver(identity.STREAM, replace)


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


# --- terms, leaving, coming back -----------------------------------------------------------------------------------


def test_joining_watches_for_deposits_where_there_is_bitcoin() -> None:
    scene = joined()
    assert scene.last_append() == [
        *("gateway.index_taken", "federation.joined"),
        *("wallet.opened", "deposits.watched"),
    ]
    assert scene.state(LIST) == deposits.Watching(federation_id=FEDERATION)
    assert joined(FEES).state(LIST) == deposits.Closed()


def test_new_terms_are_those_of_later_payments_and_the_same_ones_are_no_news() -> None:
    scene = joined()
    terms = SetTerms(
        lightning_fee=Fee(1, 2), transaction_fee=Fee(3_000, 4_000), receive_enabled=False
    )
    scene.deliver(STREAM, terms)
    state = scene.state(STREAM)
    assert isinstance(state, federation.Joined)
    assert (state.facts.lightning_fee, state.facts.transaction_fee) == (
        Fee(1, 2),
        Fee(3_000, 4_000),
    )
    assert (state.index, state.receive_enabled) == (1, False)
    rows = list(scene.rows)
    scene.deliver(STREAM, terms)
    assert scene.rows == rows


def test_leaving_keeps_ecash_and_addresses_and_coming_back_finds_them() -> None:
    scene = joined()
    scene.hold(note("a"))
    scene.deliver(wallet_of(FEDERATION), AddTweaks(tweaks=("t",)))
    scene.deliver(LIST, deposits.AddressGround(address=deposits.DepositAddress(40, "script")))
    wallet, watching = scene.wallet, scene.state(LIST)
    scene.deliver(STREAM, Leave())
    assert scene.last_append() == ["federation.left", "deposits.paused"]
    assert scene.state(STREAM) == federation.Left(facts=of(FEDERATION, BITCOIN_FEES), index=1)
    assert scene.wallet == wallet
    scene.deliver(STREAM, Leave())
    scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION, BITCOIN_FEES)))
    state = scene.state(STREAM)
    assert isinstance(state, federation.Joined)
    assert state.index == 2, "an index is never given twice"
    assert (scene.wallet, scene.state(LIST)) == (wallet, watching)
    assert scene.audit().balances[f"ecash/{FEDERATION}"] == 1 << 20


def test_what_is_not_served_has_no_terms() -> None:
    scene = joined()
    terms = SetTerms(lightning_fee=Fee(0, 0), transaction_fee=Fee(0, 0), receive_enabled=True)
    for input_ in (terms, Leave()):
        with pytest.raises(ConflictError, match="does not serve"):
            scene.deliver(federation.stream_of(OTHER), input_)
    scene.deliver(STREAM, Leave())
    with pytest.raises(ConflictError, match="does not serve"):
        scene.deliver(STREAM, terms)


def test_a_federation_without_bitcoin_is_left_as_well() -> None:
    scene = joined(FEES)
    scene.deliver(STREAM, Leave())
    assert scene.last_append() == ["federation.left"]


def test_notes_of_the_federations_history_are_recovered_in_events_of_bounded_size() -> None:
    scene = started()
    notes = tuple(note(f"{number}", 10) for number in range(RECOVERED_NOTES_PER_EVENT + 1))
    scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION), recovered=notes))
    assert scene.last_append()[-2:] == ["wallet.recovered", "wallet.recovered"]
    assert scene.wallet.notes == notes
    report = scene.audit()
    assert report.is_sound
    assert report.balances["recovered"] == -len(notes) * 1_024


def test_an_image_belongs_to_its_first_operation_for_ever() -> None:
    scene = Scene()
    stream = image.stream_of("ab")
    scene.deliver(stream, image.ClaimImage(operation="send/1"))
    for operation in ("send/2", "send/1"):
        with pytest.raises(ConflictError, match="never paid for twice"):
            scene.deliver(stream, image.ClaimImage(operation=operation))
    assert scene.state(stream) == image.Claimed(operation="send/1")
