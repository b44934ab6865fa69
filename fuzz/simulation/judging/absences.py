"""What a long absence of a simulated gateway may cost: obligations that it could not meet."""

from collections.abc import Mapping
from typing import NamedTuple

from backends.simulated.node import SimulatedNode
from engine.machine import State
from fedimint import lnv2
from fuzz.simulation.judging.recorded_faults import Wrongs
from statemachines import completion, receive, send

#: Money of ours is committed to a sender's contract, and only claiming that brings it back.
_BOUND = (
    send.Swapping,
    send.Dispatching,
    send.Unanswered,
    send.InFlight,
    send.Vanished,
    send.Paid,
    send.Claiming,
)


class Bound(NamedTuple):
    """Senders' contracts with the heights at which they end, and payment hashes of HTLCs that pay for receivers."""

    contracts: Mapping[str, int]
    htlcs: frozenset[str]


def bound_to(states: Mapping[str, State]) -> Bound:
    """What a gateway in these states cannot give up. A receiver's funding that is not signed is none of it."""
    contracts: dict[str, int] = {}
    htlcs: set[str] = set()
    for state in states.values():
        match state:
            case receive.Funding(facts=facts, txid=txid, payer="") if txid:
                htlcs.add(facts.payment_hash)
            case (
                receive.Decrypting(facts=facts, payer="") | receive.Received(facts=facts, payer="")
            ):
                htlcs.add(facts.payment_hash)
            case completion.Settling(payment_hash=payment_hash):
                htlcs.add(payment_hash)
        if isinstance(state, _BOUND):
            contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(state.facts.contract))
            contracts[state.facts.contract_id] = contract.expiration_block_height
    return Bound(contracts, frozenset(htlcs))


def write_down(wrongs: Wrongs, bound: Bound, node: SimulatedNode) -> None:
    """What of it has ended meanwhile."""
    held = {payment_hash.hex() for payment_hash in node.held()}
    wrongs.given_up |= bound.htlcs - held
    height = node.network.chain.height
    wrongs.outlived |= {name for name, end in bound.contracts.items() if end <= height + 1}
