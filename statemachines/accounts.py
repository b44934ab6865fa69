"""The accounts of the gateway's books.

What we hold is positive, what we owe, earned or got from outside is negative, so that everything sums to zero.
Accounts of one federation, which the machines' states must agree with:

    ecash/<federation>      notes free to spend
    transit/<federation>    inside transactions: what goes in until they are accepted, then what they issue
    contracts/<federation>  contracts that are ours and not yet in a signed claim
    incoming/<federation>   contracts that we funded and do not know the preimage of yet
    htlcs/<federation>      HTLCs at our node that a preimage is known of and that the node has not settled yet
    deposits/<federation>   bitcoin on our deposit addresses
    given_up/<federation>   what of all this is booked as lost, since the federation was given up: never above 0

and of the gateway: `node` (what the Lightning node gained; negative when it paid for us), `swaps` (between two of our
federations, 0 after every append), `fees_earned`, `overpaid` (what payers gave beyond their invoices), `routing_fees`,
`federation_fees`, `chain_fees`, `dust`, `lost`, and where value came from or went to: `deposited`, `withdrawn`,
`ecash_received`, `ecash_given`, `recovered`, `operator`.
`unread` is what events moved that this program cannot read, as far as the others of their appends show it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

#: Amounts in msat by account.
Amounts = Mapping[str, int]

NODE = "node"
SWAPS = "swaps"
FEES_EARNED = "fees_earned"
OVERPAID = "overpaid"
ROUTING_FEES = "routing_fees"
FEDERATION_FEES = "federation_fees"
CHAIN_FEES = "chain_fees"
DUST = "dust"
LOST = "lost"
DEPOSITED = "deposited"
WITHDRAWN = "withdrawn"
ECASH_RECEIVED = "ecash_received"
ECASH_GIVEN = "ecash_given"
RECOVERED = "recovered"
OPERATOR = "operator"
UNREAD = "unread"


def ecash(federation_id: str) -> str:
    return f"ecash/{federation_id}"


def transit(federation_id: str) -> str:
    return f"transit/{federation_id}"


def contracts(federation_id: str) -> str:
    return f"contracts/{federation_id}"


def incoming(federation_id: str) -> str:
    return f"incoming/{federation_id}"


def htlcs(federation_id: str) -> str:
    return f"htlcs/{federation_id}"


def deposited(federation_id: str) -> str:
    return f"deposits/{federation_id}"


def given_up(federation_id: str) -> str:
    return f"given_up/{federation_id}"


def move(amount_msat: int, source: str, target: str) -> Amounts:
    """From one account to another."""
    return {source: -amount_msat, target: amount_msat}


def total(parts: Iterable[Amounts]) -> Amounts:
    """Several bookings as one."""
    summed: Counter[str] = Counter()
    for part in parts:
        for account, amount_msat in part.items():
            summed[account] += amount_msat
    return summed
