"""What an incoming payment ignores and refuses in each of its states, and why."""

from typing import Final

from engine.machine import Rules, ignored, refused, table
from statemachines.receive import (
    Declined,
    Decrypted,
    Decrypting,
    Expired,
    FundForSwap,
    Funding,
    FundingFailed,
    FundingFound,
    GiveUpReceive,
    Held,
    HtlcHeld,
    HtlcWaits,
    InvoiceCreated,
    Invoiced,
    InvoiceForgotten,
    InvoiceNotCreated,
    InvoiceRefused,
    New,
    Received,
    Refunded,
    Refunding,
    RefundLost,
    Registered,
    RequestReceive,
    Undecryptable,
)
from statemachines.transaction import (
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
)
from statemachines.wallet import FundingRefused

_INVOICE = (InvoiceCreated, InvoiceNotCreated)
_HTLCS = (HtlcHeld, HtlcWaits)
_TRANSACTION = (
    FundingRefused,
    TransactionSigned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionAbandoned,
)
_DECRYPTION = (Decrypted, Undecryptable)

#: Ended, and no contract was funded for it, as far as this log knows.
_NEVER_FUNDED = (InvoiceRefused, Expired, Declined)
#: The contract was in consensus.
_FUNDED = (Decrypting, Received, Refunding, Refunded, RefundLost)

_BEFORE_ANY_INVOICE: Final = refused(
    (New,),
    (
        *(*_INVOICE, InvoiceForgotten, *_HTLCS, FundForSwap),
        *(*_TRANSACTION, FundingFound, GiveUpReceive, *_DECRYPTION),
    ),
    "there is no such invoice",
)

_REQUESTS: Final = table(
    refused(
        (Registered, Invoiced, Held, *_NEVER_FUNDED, Funding, FundingFailed, *_FUNDED),
        (RequestReceive,),
        "there is an invoice for this payment hash already; choose another preimage",
    ),
    refused(
        (Registered, Held, *_NEVER_FUNDED, Funding, FundingFailed, *_FUNDED),
        (FundForSwap,),
        "no receiver waits for a payment of this invoice",
    ),
)

_INVOICES: Final = table(
    ignored(
        (Invoiced, Held, *_NEVER_FUNDED, Funding, FundingFailed, *_FUNDED),
        _INVOICE,
        "whether there is an invoice is decided before this state",
    ),
    ignored((Registered,), (InvoiceForgotten,), "there is no invoice yet that could expire"),
    ignored((InvoiceRefused,), (InvoiceForgotten,), "there was never an invoice that could expire"),
    ignored(
        (Expired, Declined, Funding, FundingFailed, *_FUNDED),
        (InvoiceForgotten,),
        "it waits for no payer any more, so the invoice's end changes nothing",
    ),
)

_PAYERS: Final = table(
    ignored((Registered,), _HTLCS, "nobody was given the invoice yet"),
    ignored((InvoiceRefused,), _HTLCS, "the invoice that is paid is not ours"),
    ignored((Held,), (HtlcWaits,), "that HTLCs wait is on record already"),
    ignored(
        (Expired, Declined, Funding, FundingFailed, *_FUNDED),
        _HTLCS,
        "what is held for this hash has its answer in the completion, or is cancelled",
    ),
)

_FUNDING: Final = table(
    ignored((Registered, Invoiced, Held), _TRANSACTION, "nothing is funded for it yet"),
    ignored(_NEVER_FUNDED, _TRANSACTION, "it ended, and nothing was funded for it"),
    ignored(
        (Funding,), (TransactionFinished,), "that the contract is in consensus is told before that"
    ),
    ignored(
        (FundingFailed,),
        _TRANSACTION,
        "the funding failed for good, or was given up with its federation",
    ),
    ignored(
        (Decrypting, Received),
        _TRANSACTION,
        "it is funded: change, or a second funding that a restored log had reserved, is the wallet's alone",
    ),
    ignored(
        (Refunding,),
        (TransactionSigned, TransactionAccepted),
        "the contract is ours again only at the end of the refund's transaction",
    ),
    ignored(
        (Refunding,),
        (FundingRefused, TransactionAbandoned),
        "a refund is never refused or abandoned; of a funding that was, nothing is left to decide",
    ),
    ignored((Refunded, RefundLost), _TRANSACTION, "whether the contract came back is decided"),
    ignored(
        (*_NEVER_FUNDED, FundingFailed),
        (FundingFound,),
        "its payer has an answer, and nothing is decided anew",
    ),
    ignored(_FUNDED, (FundingFound,), "that it is funded is known already"),
)

_PREIMAGE: Final = table(
    ignored(
        (Registered, Invoiced, Held, *_NEVER_FUNDED),
        (GiveUpReceive,),
        "the gateway has paid nothing for it that could be given up",
    ),
    ignored(
        (FundingFailed, Received, Refunded, RefundLost), (GiveUpReceive,), "it has ended already"
    ),
    ignored(
        (Refunding,),
        (GiveUpReceive,),
        "its payer has an answer, and a refund rests until the federation is joined again",
    ),
    ignored(
        (Registered, Invoiced, Held, Funding),
        _DECRYPTION,
        "no contract is in consensus yet that could be decrypted",
    ),
    ignored(
        (*_NEVER_FUNDED, FundingFailed), _DECRYPTION, "it ended, and nothing is to be decrypted"
    ),
    ignored(
        (Received, Refunding, Refunded, RefundLost),
        _DECRYPTION,
        "what the contract holds is decided, or nobody waits for it any more",
    ),
)

UNHANDLED: Final[Rules] = table(
    _BEFORE_ANY_INVOICE, _REQUESTS, _INVOICES, _PAYERS, _FUNDING, _PREIMAGE
)
