"""The answer to held HTLCs: given once, repeated until the node confirms it."""

import pytest

from engine.machine import Input, State
from fuzz.machines.scene import FEDERATION, MACHINES, OTHER, PREIMAGE, Scene
from statemachines import completion
from statemachines.completion import (
    Begin,
    Cancel,
    Cancelled,
    CancelRejected,
    NodeConfirmed,
    NodeContradicted,
    Settle,
    Settled,
    SettleRejected,
)

STREAM = completion.stream_of("ab")
BEGIN = Begin(payment_hash="ab", federation_id=FEDERATION, amount_msat=1_000)
SETTLE = Settle(preimage=PREIMAGE)
NEVER = NodeContradicted(error="it was cancelled by hand")

_ENDS: list[tuple[tuple[Input, ...], State]] = [
    ((SETTLE, NodeConfirmed()), Settled(payment_hash="ab", preimage=PREIMAGE)),
    ((Cancel(), NodeConfirmed()), Cancelled(payment_hash="ab")),
    (
        (SETTLE, NEVER),
        SettleRejected(payment_hash="ab", preimage=PREIMAGE, error="it was cancelled by hand"),
    ),
    ((Cancel(), NEVER), CancelRejected(payment_hash="ab", error="it was cancelled by hand")),
]


def begun(*inputs: Input) -> Scene:
    scene = Scene()
    for input_ in (BEGIN, *inputs):
        scene.deliver(STREAM, input_)
    return scene


def test_nothing_is_answered_before_the_receive_has_ended() -> None:
    scene = begun(NodeConfirmed(), NEVER)
    assert isinstance(scene.state(STREAM), completion.Waiting)
    assert scene.wants(STREAM) == {}


@pytest.mark.parametrize(("way", "end"), _ENDS, ids=lambda each: type(each).__name__)
def test_an_answer_is_repeated_until_the_node_has_its_last_word(
    way: tuple[Input, ...], end: State
) -> None:
    scene = begun(way[0])
    assert len(scene.wants(STREAM)) == 1
    scene.deliver(STREAM, way[1])
    assert scene.state(STREAM) == end
    assert MACHINES.of(STREAM).is_final(end)


@pytest.mark.parametrize(("way", "end"), _ENDS, ids=lambda each: type(each).__name__)
def test_the_first_answer_stays(way: tuple[Input, ...], end: State) -> None:
    scene = begun(way[0])
    before = scene.state(STREAM)
    others: list[Input] = [Cancel(), SETTLE, Settle(preimage="bb" * 32)]
    others.append(Begin(payment_hash="ab", federation_id=OTHER, amount_msat=9))
    for input_ in others:
        scene.deliver(STREAM, input_)
        assert scene.state(STREAM) == before
    scene.deliver(STREAM, way[1])
    for input_ in (*others, NodeConfirmed(), NEVER):
        scene.deliver(STREAM, input_)
        assert scene.state(STREAM) == end


def test_an_answer_without_htlcs_is_none() -> None:
    scene = Scene()
    for input_ in (SETTLE, Cancel(), NodeConfirmed(), NEVER):
        scene.deliver(STREAM, input_)
    assert scene.rows == []
