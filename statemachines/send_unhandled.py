"""What an outgoing payment ignores and refuses in each of its states, and why."""

from typing import Final

from engine.machine import Rules, ignored, refused, table
from statemachines.send import (
    Accepted,
    BudgetMeasured,
    CallRefused,
    CallUnanswered,
    Cancelled,
    Cancelling,
    Claimed,
    Claiming,
    ClaimRejected,
    DismissSend,
    Dispatching,
    ForfeitSigned,
    HoldBack,
    InFlight,
    New,
    Paid,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    RequestSend,
    SeenInFlight,
    SwapFailed,
    SwapFound,
    SwapMeasured,
    Swapping,
    SwapSucceeded,
    Unanswered,
    Vanished,
)
from statemachines.transaction import (
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
)

_MEASURED = (BudgetMeasured, SwapMeasured)
_SWAP_ENDED = (SwapSucceeded, SwapFailed)
#: What the node said of the payment.
_RECORD = (SeenInFlight, PaymentSucceeded, PaymentFailed)
#: How a call of ours ended that began no payment, as far as is known.
_CALL = (CallRefused, CallUnanswered)
_CLAIM = (TransactionSigned, TransactionAccepted, TransactionFinished, TransactionRejected)

#: Our node was called, or may have been.
_CALLED = (Dispatching, Unanswered, InFlight, Vanished)
#: The preimage is on record.
_PAID = (Paid, Claiming, Claimed, ClaimRejected)
#: The contract is its sender's again.
_GIVEN_BACK = (Cancelling, Cancelled)

_BEFORE_ANY_PAYMENT: Final = refused(
    (New,),
    (
        *(HoldBack, *_MEASURED, SwapFound, *_SWAP_ENDED, RecordLookedUp, DismissSend),
        *(*_RECORD, *_CALL, *_CLAIM, ForfeitSigned),
    ),
    "there is no such payment",
)

_REQUESTS: Final = table(
    ignored(
        (Accepted, Swapping, *_CALLED, *_PAID, *_GIVEN_BACK),
        (RequestSend,),
        "the same request again: the caller is told how this payment ends, or ended",
    ),
    refused(
        (Accepted, Swapping, Dispatching, InFlight, *_PAID, *_GIVEN_BACK),
        (DismissSend,),
        "only a payment of whose call nobody knows the end is dismissed",
    ),
    ignored(
        (Swapping, InFlight, Vanished, *_PAID, *_GIVEN_BACK),
        (HoldBack,),
        "no call leaves from here, so there is none to hold back",
    ),
)

_MEASUREMENTS: Final = table(
    ignored(
        (Swapping, *_CALLED, *_PAID, *_GIVEN_BACK),
        _MEASURED,
        "what was measured decides an accepted payment alone, and this one is decided or held back",
    ),
    ignored(
        (Accepted, Swapping, Dispatching, InFlight, Vanished, *_PAID, *_GIVEN_BACK),
        (RecordLookedUp,),
        "a record decides on a call without answer alone",
    ),
)

_SWAPS: Final = table(
    ignored((Swapping,), (SwapFound,), "that it is a swap is known already"),
    ignored(
        (Accepted, Dispatching),
        (SwapFound,),
        "a restore holds the payment back before it looks for swaps, and it is Unanswered then",
    ),
    ignored(
        (InFlight, Vanished),
        (SwapFound,),
        "the node showed the payment, so it is no swap",
    ),
    ignored(
        (Accepted, *_CALLED),
        _SWAP_ENDED,
        "no receiver is known to have been funded for it, so none can say how that ended",
    ),
    ignored(
        (*_PAID, *_GIVEN_BACK),
        (SwapFound, *_SWAP_ENDED),
        "whether it is paid or given back is decided, and stays so",
    ),
)

_CALLS: Final = table(
    ignored((Accepted,), _CALL, "no call has left yet"),
    ignored((Swapping,), (*_RECORD, *_CALL), "a swap is paid inside: no call ever leaves for it"),
    ignored(
        (Unanswered,),
        (PaymentFailed,),
        "another call may be under way, so only a record that was looked up says that it failed",
    ),
    ignored((Unanswered,), _CALL, "that the call has no answer is known already"),
    ignored((InFlight,), (SeenInFlight,), "that it is in flight is known already"),
    ignored((InFlight, Vanished), (CallRefused,), "the node showed the payment, so it took a call"),
    ignored((Vanished,), (CallUnanswered,), "that the record is missing is known already"),
    ignored(
        _PAID,
        (*_RECORD, *_CALL),
        "the preimage is on record: it is paid, whatever the node says now",
    ),
    ignored(
        _GIVEN_BACK,
        (*_RECORD, *_CALL),
        "the contract is given back, perhaps with its forfeit out, and nothing takes that back",
    ),
)

_CLAIMS: Final = table(
    ignored(
        (Accepted, Swapping, *_CALLED), _CLAIM, "nothing is claimed before the preimage is known"
    ),
    ignored(_GIVEN_BACK, _CLAIM, "a contract that is given back is not claimed"),
    ignored(
        (Paid,),
        (TransactionAccepted, TransactionFinished, TransactionRejected),
        "its claim is not signed yet, so no guardian has seen it",
    ),
    ignored((Claiming,), (TransactionSigned,), "that its claim is signed is known already"),
    ignored((Claiming,), (TransactionAccepted,), "the payment waits for the end of its claim"),
    ignored((Claimed, ClaimRejected), _CLAIM, "its claim has ended"),
    ignored(
        (Accepted, Swapping, *_CALLED),
        (ForfeitSigned,),
        "a contract is given back only once it is decided that nothing is paid for it",
    ),
    ignored(_PAID, (ForfeitSigned,), "a contract that is paid for is never given back"),
    ignored((Cancelled,), (ForfeitSigned,), "the forfeit is on record already"),
)

UNHANDLED: Final[Rules] = table(
    _BEFORE_ANY_PAYMENT, _REQUESTS, _MEASUREMENTS, _SWAPS, _CALLS, _CLAIMS
)
