"""How long a payment may stay in each of its open states before an operator should look at it.

None of these ends anything: what is overdue goes on, and is shown.
"""

from collections.abc import Mapping
from typing import Final

from engine.machine import State
from statemachines import (
    completion,
    deposit,
    gift,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    transaction,
    withdrawal,
)

#: What bitcoin aims at.
BLOCK_S: Final = 600
#: The node, a guardian or a worker answers in seconds, and after a restart of its own in minutes.
ANSWER_S: Final = 600
#: A transaction is built, accepted and its notes collected: an answer each.
TRANSACTION_S: Final = 3 * ANSWER_S
#: A receive is a transaction and its decryption.
RECEIVE_S: Final = TRANSACTION_S + ANSWER_S
#: A federation takes deposits one after the other, and quotes no fee while many of its transactions are unconfirmed.
DEPOSIT_S: Final = 24 * 60 * 60
#: Money is lost or stuck unless an operator finds out what happened.
AT_ONCE_S: Final = 0

#: The open states whose bound is the same for every payment.
BOUNDS_S: Final[Mapping[type[State], int]] = {
    send.Accepted: ANSWER_S,
    send.Swapping: RECEIVE_S,
    send.Dispatching: ANSWER_S,
    send.Vanished: AT_ONCE_S,
    send.Paid: ANSWER_S,
    send.Claiming: TRANSACTION_S,
    send.Cancelling: ANSWER_S,
    transaction.Reserved: ANSWER_S,
    transaction.Signed: ANSWER_S,
    transaction.Accepted: ANSWER_S,
    receive.Held: ANSWER_S,
    receive.Funding: TRANSACTION_S,
    receive.Decrypting: ANSWER_S,
    receive.Refunding: TRANSACTION_S,
    completion.Waiting: RECEIVE_S,
    completion.Settling: ANSWER_S,
    completion.Cancelling: ANSWER_S,
    deposit.Found: DEPOSIT_S,
    deposit.Claiming: TRANSACTION_S,
    withdrawal.Funding: ANSWER_S,
    withdrawal.Submitted: ANSWER_S,
    withdrawal.Accepted: ANSWER_S,
    gift.Preparing: TRANSACTION_S,
    reissue.Reissuing: TRANSACTION_S,
    node_order.Ordered: ANSWER_S,
}


def due_unix_s(state: State, since_unix_s: int) -> int:
    """When an open state that began at `since_unix_s` should be over.

    A payment in flight is over when its HTLCs are, a call without answer when no node takes the invoice any more.
    """
    match state:
        case send.InFlight(facts=facts, intent=intent):
            # Another program's payment has no intent of ours.
            blocks = intent.max_delay_blocks or facts.max_delay_blocks
            return since_unix_s + blocks * BLOCK_S + ANSWER_S
        case send.Unanswered(facts=facts):
            end_unix_s = facts.invoice_expires_unix_s + send.EXPIRY_MARGIN_S
            return max(since_unix_s, end_unix_s) + ANSWER_S
        case operator_payment.Paying(facts=paid):
            return since_unix_s + paid.max_delay_blocks * BLOCK_S + ANSWER_S
        case _:
            return since_unix_s + BOUNDS_S[type(state)]
