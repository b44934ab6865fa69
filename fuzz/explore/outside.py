"""What the node, the guardians and the workers do and answer when the gateway asks.

Each call has every way in which it may end. The first ways are those without any fault; those that cost one of
the answers that may get lost come last.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from backends.lightning import (
    CompletionRejectedError,
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
)
from errors import InputError, UnavailableError
from fedimint.federation_api import FinallyRejected
from fedimint.lnv2.decryption import Decrypted, Decryption
from fuzz.explore import facts
from fuzz.explore.script import Ask, Raised
from fuzz.explore.stand_ins import OverdueError
from fuzz.explore.world import RECEIVERS, Moment, Outcome, World
from statemachines.items import (
    ContractClaim,
    FundedContract,
    HeldNote,
    IncomingRefund,
    Issue,
    Reservation,
    SignedTransaction,
)

_UNANSWERED = Raised(NodeUnansweredError, ("the Lightning node does not answer",))
_ROUTING_MSAT = 1_000
#: How long after an invoice's expiry the node may still take it for valid: its clock is another.
_CLOCKS_DIFFER_S = 59


class Outside:
    """Everybody outside, at the moments of one scene."""

    def __init__(self, moments: tuple[Moment, ...]) -> None:
        self._moments = moments
        self._built: dict[str, tuple[Reservation, tuple[str, ...]]] = {}
        #: Every note that a federation ever issued to us, by nonce.
        self._issued = {note.nonce: (RECEIVERS, note) for note in facts.notes()}
        self._calls: Mapping[str, Callable[[World, Ask], Iterator[Outcome]]] = {
            "node.info": self._info,
            "node.invoice": self._invoice,
            "node.create_invoice": self._create_invoice,
            "node.lookup": self._lookup,
            "node.track": self._lookup,
            "node.end": self._end,
            "node.pay": self._pay,
            "node.settle": self._settle,
            "node.cancel": self._cancel,
            "node.transactions": self._transactions,
            "guardians.block_count": self._block_count,
            "guardians.outgoing_contract": self._outgoing_contract,
            "guardians.incoming_contract": self._incoming_contract,
            "guardians.decryption_shares": self._decryption_shares,
            "guardians.submit": self._submit,
            "guardians.notes": self._notes,
            "guardians.our_notes": self._our_notes,
            "engine.again": self._again,
            "cpu.build": self._build,
            "cpu.decrypt_shares": self._decrypt,
        }

    def outcomes(self, world: World, ask: Ask) -> Iterator[Outcome]:
        """Every way in which this call may end now; none while it has to wait."""
        return self._calls[ask.call](world, ask)

    def reservation(self, txid: str) -> Reservation:
        """What a transaction that was built does."""
        return self._built[txid][0]

    # --- the node: what it says ---

    def _info(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        return _told(world, (self._moments[world.moment].height, True))

    def _invoice(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        status = {
            "": None,
            "open": "Pending",
            "held": "Pending",
            "settled": "Succeeded",
            "cancelled": "Failed",
        }
        return _told(world, status[world.invoice])

    def _lookup(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        return _told(world, _status(world))

    def _end(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        if world.record != "flying":
            yield from _told(world, _status(world))

    def _transactions(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        return _told(world, ())

    # --- the node: what it does ---

    def _create_invoice(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        if world.invoice in {"", "open"}:
            made = world._replace(invoice="open")
            yield from _done(world, made, facts.invoice())
        else:
            yield from _told(world, Raised(NodeRefusedError, ("ALREADY_EXISTS", "it is over")))

    def _pay(self, world: World, ask: Ask) -> Iterator[Outcome]:
        """At most once for each hash at a time, and not once the invoice has expired by the node's clock."""
        moment = self._moments[world.moment]
        is_over = moment.unix_s >= facts.INVOICE_EXPIRES_UNIX_S + _CLOCKS_DIFFER_S
        if world.record in {"flying", "succeeded"} or is_over:
            refused = Raised(NodeRefusedError, ("REFUSED", "expired or known"))
            yield from _told(world, refused)
        else:
            delay_blocks = cast("int", ask.args[2])
            begun = world._replace(record="flying", record_ends=moment.height + delay_blocks)
            yield from _done(world, begun, InFlight())
        if world.left.losses:
            lost = _lost(world)._replace(in_transit=(*world.in_transit, ask))
            yield Outcome(_UNANSWERED, lost, "the call is in transit")

    def _settle(self, world: World, ask: Ask) -> Iterator[Outcome]:
        if ask.args[1] != facts.preimage().hex():
            yield Outcome(Raised(InputError, ("not its preimage",)), world, "it is no preimage")
        elif world.invoice in {"held", "settled"}:
            yield from _done(world, world._replace(invoice="settled", htlc="paid"), None)
        else:
            yield from _told(world, Raised(CompletionRejectedError, ("it is over",)))

    def _cancel(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        if world.invoice in {"open", "held", "cancelled"}:
            htlc = "failed" if world.htlc == "locked" else world.htlc
            yield from _done(world, world._replace(invoice="cancelled", htlc=htlc), None)
        else:
            yield from _told(world, Raised(CompletionRejectedError, ("it is over",)))

    # --- guardians ---

    def _block_count(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        yield Outcome(self._moments[world.moment].height + 1, world, "")
        if world.left.losses:
            yield Outcome(Raised(OverdueError), _lost(world), "no answer in time")

    def _outgoing_contract(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        blocks = facts.CONTRACT_ENDS_BLOCK - self._moments[world.moment].height - 1
        contract_id = facts.sent(is_swap=False).contract_id
        found = (contract_id, max(0, blocks)) if world.contract == "locked" else None
        return _told(world, found, UnavailableError)

    def _incoming_contract(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        return _told(world, world.fundings[0] if world.fundings else None, UnavailableError)

    def _decryption_shares(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        if world.fundings:
            yield Outcome(None, world, "")

    def _submit(self, world: World, ask: Ask) -> Iterator[Outcome]:
        """Accepted when all that it spends is there, rejected for good otherwise."""
        txid = cast("str", ask.args[0])
        if txid in world.accepted:
            yield Outcome(None, world, "accepted before")
        elif self._is_good(world, txid):
            yield Outcome(None, self._accepted(world, txid), "accepted")
        else:
            rejected = world._replace(rejected=_with(world.rejected, txid))
            yield Outcome(FinallyRejected(b"\x00"), rejected, "rejected")

    def _notes(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        yield Outcome("issued", world, "")

    def _our_notes(self, world: World, ask: Ask) -> Iterator[Outcome]:
        ours = (self._issued[nonce] for nonce in sorted(world.ours))
        notes = tuple(note for federation_id, note in ours if federation_id == ask.args[0])
        return _told(world, notes, UnavailableError)

    def _is_good(self, world: World, txid: str) -> bool:
        reservation, nonces = self._built[txid]
        if not world.spent.isdisjoint(nonces):
            return False
        for claim in reservation.claims:
            if isinstance(claim, ContractClaim) and world.contract != "locked":
                return False
            if isinstance(claim, IncomingRefund) and f"refund of {claim.txid}" in world.spent:
                return False
        return True

    def _accepted(self, world: World, txid: str) -> World:
        reservation, nonces = self._built[txid]
        spent = set(nonces)
        contract, fundings = world.contract, world.fundings
        for claim in reservation.claims:
            if isinstance(claim, ContractClaim):
                contract = "claimed"
            elif isinstance(claim, IncomingRefund):
                spent.add(f"refund of {claim.txid}")
        if any(isinstance(output, FundedContract) for output in reservation.outputs):
            fundings = (*fundings, txid)
        issued = [note_of(issue) for issue in issues_of(txid, reservation)]
        self._issued |= {note.nonce: (reservation.federation_id, note) for note in issued}
        return world._replace(
            contract=contract,
            fundings=fundings,
            accepted=_with(world.accepted, txid),
            spent=world.spent | spent,
            ours=(world.ours - spent) | {note.nonce for note in issued},
        )

    # --- inside ---

    def _again(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        yield Outcome(None, world, "again")

    def _build(self, world: World, ask: Ask) -> Iterator[Outcome]:
        """Bytes are others in each life, as their nonce is drawn anew."""
        reservation = cast("Reservation", ask.args[0])
        nonces = cast("tuple[str, ...]", ask.args[1])
        life = world.left.crashes, world.left.restores
        txid = hashlib.sha256(f"{reservation.tx} {reservation!r} {life}".encode()).hexdigest()
        self._built[txid] = (reservation, nonces)
        signed = SignedTransaction(txid, b"bytes", issues_of(txid, reservation))
        yield Outcome(signed, world, "")

    def _decrypt(self, world: World, _ask: Ask) -> Iterator[Outcome]:
        opened = hashlib.sha256(b"no preimage").digest() if world.is_flawed else facts.preimage()
        yield Outcome(Decryption(Decrypted(opened, b"key")), world, "")


def issues_of(txid: str, reservation: Reservation) -> tuple[Issue, ...]:
    """The notes that a transaction asks for, all tweaks filled in."""
    return tuple(
        issue if issue.tweak else Issue(issue.denomination, f"{place} of {txid[:16]}")
        for place, issue in enumerate(reservation.issues)
    )


def note_of(issue: Issue) -> HeldNote:
    """The note that comes of an issue."""
    return HeldNote(issue.denomination, issue.tweak, f"nonce {issue.tweak}", "5f")


def _status(world: World) -> PaymentStatus:
    match world.record:
        case "":
            return NotFound()
        case "flying":
            return InFlight()
        case "succeeded":
            return Succeeded(facts.preimage(), _ROUTING_MSAT)
        case _:
            return Failed("no route")


def _told(
    world: World, value: object, error: type[Exception] = NodeUnansweredError
) -> Iterator[Outcome]:
    """An answer that changes nothing, or none."""
    yield Outcome(value, world, "")
    if world.left.losses:
        yield Outcome(Raised(error, ("no answer",)), _lost(world), "no answer")


def _done(before: World, after: World, value: object) -> Iterator[Outcome]:
    """Something is done; or it is done and the caller hears nothing; or neither."""
    yield Outcome(value, after, "")
    if before.left.losses:
        yield Outcome(_UNANSWERED, _lost(after), "done, and the answer is lost")
        if after != before:
            yield Outcome(_UNANSWERED, _lost(before), "the call is lost")


def _lost(world: World) -> World:
    return world._replace(left=world.left._replace(losses=world.left.losses - 1))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(sorted({*names, name}))
