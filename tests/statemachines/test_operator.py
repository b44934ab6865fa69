"""The operator's payments and orders: an invoice paid once, an order given once."""

import pytest

from errors import ConflictError
from fuzz.machines.scene import NODE, PREIMAGE, Scene, facts, opened, request
from statemachines import image, node_order, operator_payment, send
from statemachines.node_order import (
    Dismissed,
    DismissOrder,
    NodeRefusedOrder,
    OpenChannel,
    Order,
    Ordered,
    OrderPlaced,
    OrderRefused,
    Placed,
    PlaceOrder,
    RequestOrder,
    SendCoins,
)
from statemachines.operator_payment import (
    DismissOperatorPayment,
    Failed,
    OperatorPaymentFacts,
    OperatorPaymentFailed,
    OperatorPaymentSucceeded,
    Paid,
    PayForOperator,
    Paying,
    RequestOperatorPayment,
)

HASH = facts().payment_hash
FACTS = OperatorPaymentFacts(
    payment_hash=HASH,
    invoice="lnbcrt1",
    invoice_msat=1_000_000,
    max_fee_msat=60_000,
    max_delay_blocks=1_008,
)
STREAM, ORDER = operator_payment.stream_of(HASH), node_order.stream_of("o1")
REQUEST = RequestOperatorPayment(facts=FACTS)
SUCCEEDED = OperatorPaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=2_000)
FAILED = OperatorPaymentFailed(reason="no route")
COINS = SendCoins("bcrt1…", None, 5)
CHANNEL = OpenChannel("02" * 33, "127.0.0.1:9735", 1_000_000, 0, None, None, None)


def requested() -> Scene:
    scene = opened()
    scene.deliver(STREAM, REQUEST)
    return scene


def test_a_payment_of_the_operator_takes_its_image_in_one_append() -> None:
    scene = requested()
    assert scene.last_append() == ["operator_payment.requested", "image.claimed"]
    assert scene.state(image.stream_of(HASH)) == image.Claimed(operation=STREAM)
    assert scene.state(STREAM) == Paying(facts=FACTS, attempt=1)
    assert scene.wants(STREAM) == {"pay": PayForOperator(facts=FACTS, attempt=1)}


def test_one_image_is_paid_by_the_operator_or_by_a_client_and_never_by_both() -> None:
    scene = requested()
    with pytest.raises(ConflictError, match="never paid for twice"):
        scene.deliver(send.stream_of(facts().contract_id), request())
    scene = opened()
    scene.deliver(send.stream_of(facts().contract_id), request())
    with pytest.raises(ConflictError, match="never paid for twice"):
        scene.deliver(STREAM, REQUEST)


def test_the_operator_may_pay_what_a_client_got_his_money_back_for() -> None:
    """The image stays where it is: a further contract of a client is not paid, and the operator's stream is one."""
    scene = opened()
    client = send.stream_of(facts().contract_id)
    scene.deliver(client, request())
    scene.deliver(client, send.PaymentFailed(node=NODE, reason="no route"))
    scene.deliver(client, send.ForfeitSigned(forfeit="f0"))
    scene.deliver(STREAM, RequestOperatorPayment(facts=FACTS, given_up=client))
    assert scene.last_append() == ["operator_payment.requested"]
    assert scene.wants(STREAM) == {"pay": PayForOperator(facts=FACTS, attempt=1)}
    assert scene.state(image.stream_of(HASH)) == image.Claimed(operation=client)
    with pytest.raises(ConflictError, match="never paid for twice"):
        scene.deliver(send.stream_of("other"), request(1, contract_msat=2_000_000))
    scene.deliver(STREAM, SUCCEEDED)
    assert scene.audit().is_sound


def test_a_payment_whose_node_was_given_up_ends_as_failed_when_it_is_dismissed() -> None:
    with pytest.raises(ConflictError, match="no such payment"):
        opened().deliver(STREAM, DismissOperatorPayment())
    scene = requested()
    scene.deliver(STREAM, DismissOperatorPayment())
    failed = scene.state(STREAM)
    assert isinstance(failed, Failed)
    assert failed.reason.endswith("dismissed by the operator")
    with pytest.raises(ConflictError, match="nothing to dismiss"):
        scene.deliver(STREAM, DismissOperatorPayment())
    scene.deliver(STREAM, REQUEST)
    assert scene.wants(STREAM) == {"pay": PayForOperator(facts=FACTS, attempt=2)}


def test_what_the_operator_paid_is_on_the_books() -> None:
    scene = requested()
    scene.deliver(STREAM, SUCCEEDED)
    assert scene.state(STREAM) == Paid(facts=FACTS, preimage=PREIMAGE, routing_fee_msat=2_000)
    report = scene.audit()
    assert report.is_sound
    assert report.balances == {"node": -1_002_000, "operator": 1_000_000, "routing_fees": 2_000}


def test_only_a_payment_that_failed_is_made_again() -> None:
    scene = requested()
    rows = list(scene.rows)
    scene.deliver(STREAM, REQUEST)
    assert scene.rows == rows
    scene.deliver(STREAM, FAILED)
    assert scene.state(STREAM) == Failed(facts=FACTS, attempt=1, reason="no route")
    assert scene.wants(STREAM) == {}
    scene.deliver(STREAM, REQUEST)
    assert scene.wants(STREAM) == {"pay": PayForOperator(facts=FACTS, attempt=2)}
    scene.deliver(STREAM, SUCCEEDED)
    rows = list(scene.rows)
    for late in (REQUEST, FAILED, SUCCEEDED):
        scene.deliver(STREAM, late)
    assert scene.rows == rows


def test_a_payment_that_nobody_asked_for_hears_nothing() -> None:
    with pytest.raises(ConflictError, match="no such payment of the operator"):
        opened().deliver(STREAM, SUCCEEDED)


@pytest.mark.parametrize("order", [COINS, CHANNEL], ids=["coins", "channel"])
def test_an_order_is_given_to_the_node_once(order: Order) -> None:
    scene = Scene()
    scene.deliver(ORDER, RequestOrder(id="o1", order=order))
    assert scene.state(ORDER) == Ordered(id="o1", order=order)
    assert scene.wants(ORDER) == {"place": PlaceOrder(id="o1", order=order)}
    with pytest.raises(ConflictError, match="ordered before"):
        scene.deliver(ORDER, RequestOrder(id="o1", order=order))
    scene.deliver(ORDER, OrderPlaced(txid="aa"))
    placed = Placed(order=order, txid="aa")
    for late in (OrderPlaced(txid="bb"), NodeRefusedOrder(reason="no")):
        scene.deliver(ORDER, late)
        assert scene.state(ORDER) == placed
    with pytest.raises(ConflictError, match="ordered before"):
        scene.deliver(ORDER, RequestOrder(id="o1", order=order))
    assert scene.audit().balances == {}


def test_an_order_that_the_node_refuses_is_over() -> None:
    scene = Scene()
    scene.deliver(ORDER, RequestOrder(id="o1", order=COINS))
    scene.deliver(ORDER, NodeRefusedOrder(reason="no coins"))
    assert scene.state(ORDER) == OrderRefused(order=COINS, reason="no coins")
    assert scene.wants(ORDER) == {}
    with pytest.raises(ConflictError, match="nobody ordered this"):
        scene.deliver(node_order.stream_of("o2"), OrderPlaced(txid="aa"))


def test_an_order_without_trace_may_be_dismissed_and_is_then_over() -> None:
    scene = Scene()
    scene.deliver(ORDER, RequestOrder(id="o1", order=COINS))
    scene.deliver(ORDER, DismissOrder())
    assert scene.state(ORDER) == Dismissed(order=COINS)
    assert scene.wants(ORDER) == {}
    scene.deliver(ORDER, OrderPlaced(txid="aa"))
    assert scene.state(ORDER) == Dismissed(order=COINS)
    with pytest.raises(ConflictError, match="nothing to dismiss"):
        scene.deliver(ORDER, DismissOrder())
    with pytest.raises(ConflictError, match="nobody ordered this"):
        scene.deliver(node_order.stream_of("o2"), DismissOrder())
    assert scene.audit().balances == {}
