"""Ends the freeze of a restored log: asks node and federations what the lost events did, and records it.

The node is asked about every payment that is open and for those that it knows and the log does not. Each federation is
asked whether it holds the contract of every invoice that was not funded by this log, so that none is funded twice, and
which of our notes are unspent. What cannot be asked now is asked again until it answers.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import anyio
import anyio.lowlevel
import structlog

from backends.lightning import LightningNode
from engine.engine import Engine
from engine.machine import State
from fedimint.codec.wire_types import ContractId
from gateway.containing import contain
from gateway.context import GatewayContext
from gateway.federation import FederationClient
from gateway.freeze import NODE
from gateway.log import machines
from gateway.modules.lnv2 import LnV2
from gateway.modules.mintv2 import MintV2
from statemachines import gift, identity, image, receive, send, transaction
from statemachines.federation import RECOVERED_NOTES_PER_EVENT
from statemachines.transaction import wallet_of
from statemachines.wallet import ForgetNotes, RecoverNotes, Wallet

#: Before whatever did not answer is asked again.
PAUSE_S = 10.0
#: Contracts asked for at once; a guardian takes ten seconds to say that it has none.
CONTRACTS_AT_ONCE = 50
#: Rows of the log read at a time, some milliseconds of work.
PAGE_ROWS = 500
#: The clocks of node and backup differ by less, in seconds.
CLOCKS_DIFFER_S = 3_600

_CALLED = (send.Unanswered, send.InFlight, send.Vanished)
_NOT_FUNDED = (receive.Registered, *receive.UNDECIDED_STATES, receive.Funding)

T = TypeVar("T")

_log = structlog.get_logger("restore")


async def run_while_frozen(context: GatewayContext) -> None:
    """Reconcile a log that is frozen, and thaw it. Returns at once when it is not.

    Node and federations are asked side by side: what one of them tells is used though another is away, and what needs
    nobody else goes on at once.
    """
    restoration = context.restoration
    if restoration is None or not restoration.is_frozen:
        return
    unknown: set[str] = set()

    async def ask_node() -> None:
        unknown.update(await unknown_payments(context, restoration.backup_unix_s))
        context.answered.node = True

    async def ask_federation(federation: FederationClient) -> None:
        """One that was given up meanwhile holds up nothing: it is asked when it is joined again."""
        if federation.federation_id in context.federations:
            with context.resting.while_served(federation.federation_id):
                await reconcile_federation(context, federation)

    waits: dict[str, Callable[[], Awaitable[None]]] = {NODE: ask_node}
    for federation in context.federations:
        waits[f"federation {federation.federation_id}"] = partial(ask_federation, federation)
    _log.warning("log_is_frozen", restored_at_position=restoration.position, waits_for=list(waits))
    async with anyio.create_task_group() as tasks:
        for name, ask in waits.items():
            tasks.start_soon(_until_answered, context, name, ask)
    for payment_hash in sorted(unknown):
        _log.warning("payment_not_in_log", payment_hash=payment_hash)
    await context.engine.submit(identity.STREAM, identity.Reconcile(unknown_payments=len(unknown)))


async def _until_answered(
    context: GatewayContext, name: str, ask: Callable[[], Awaitable[None]]
) -> None:
    while True:
        try:
            await ask()
        except Exception as error:  # noqa: BLE001 (the others must still be asked)
            contain(_log, "not_reconciled", error, waits_for=name)
        else:
            _log.info("reconciled", answered=name)
            return
        await context.outside.ports.clock.sleep(PAUSE_S)


async def unknown_payments(context: GatewayContext, backup_unix_s: int) -> set[str]:
    """Hashes that the node was asked to pay since the backup and that no operation of this log has.

    Answers only when the node does for every open payment, too: each of them acts on its record by itself.
    """
    node: LightningNode = context.outside.node
    for state in context.engine.open_streams().values():
        if isinstance(state, _CALLED):
            await node.lookup(bytes.fromhex(state.facts.payment_hash))
    since_unix_s = max(0, backup_unix_s - CLOCKS_DIFFER_S)
    listed = await context.outside.node.payments_since(since_unix_s)
    hashes = {one.payment_hash.hex() for one in listed if one.payment_hash is not None}
    return {found for found in hashes if not _is_known(context.engine, found)}


def _is_known(engine: Engine, payment_hash: str) -> bool:
    return isinstance(engine.peek(image.stream_of(payment_hash)), image.Claimed)


# --- one federation ------------------------------------------------------------------------------------------------


async def reconcile_federation(context: GatewayContext, federation: FederationClient) -> None:
    """Find contracts and notes: what needs this federation goes on then.

    Raises UnavailableError or PeerError when guardians do not answer.
    """
    await _find_contracts(context, federation)
    _abandon_payments(context.engine, federation.federation_id)
    await _await_transactions(context.engine, federation.federation_id)
    while not await _find_notes(context, federation):
        await _await_transactions(context.engine, federation.federation_id)
    context.answered.federations.add(federation.federation_id)


async def _find_contracts(context: GatewayContext, federation: FederationClient) -> None:
    limiter = anyio.CapacityLimiter(CONTRACTS_AT_ONCE)
    states = context.engine.open_streams()
    async with anyio.create_task_group() as tasks:
        for stream, state in states.items():
            if not isinstance(state, _NOT_FUNDED) or _is_signed(state):
                continue
            if state.facts.federation_id == federation.federation_id:
                tasks.start_soon(_find_contract, context, federation, stream, state, limiter)


def _is_signed(state: State) -> bool:
    """Bytes of our own are submitted again as they are; they cannot fund twice."""
    return isinstance(state, receive.Funding) and bool(state.txid)


async def _find_contract(
    context: GatewayContext,
    federation: FederationClient,
    stream: str,
    state: receive.Registered | receive.Invoiced | receive.Held | receive.Funding,
    limiter: anyio.CapacityLimiter,
) -> None:
    engine, facts = context.engine, state.facts
    async with limiter:
        contract_id = ContractId(bytes.fromhex(facts.contract_id))
        # A deadline that is over: who has the contract says so, and who has not says that.
        out_point = await federation.module(LnV2).api.await_incoming_contract(contract_id, 0)
    if out_point is None:
        return
    found = receive.FundingFound(
        txid=out_point.txid.hex(),
        tx=_transaction_for(engine, stream),
        payer=await _payer_of(context, facts.payment_hash),
    )
    await engine.submit(stream, found)


def _transaction_for(engine: Engine, stream: str) -> str:
    """The transaction that is reserved for this receive; empty when there is none."""
    for tx, state in engine.open_streams().items():
        if isinstance(state, transaction.Reserved) and state.reservation.parent == stream:
            return tx
    return ""


async def _payer_of(context: GatewayContext, payment_hash: str) -> str:
    """The send of a direct swap that owns this hash; empty when HTLCs pay.

    A swap shuts its invoice at the node. Raises UnavailableError when the node does not answer.
    """
    owner = context.engine.peek(image.stream_of(payment_hash))
    if isinstance(owner, image.Claimed):
        paying = context.engine.peek(owner.operation)
        is_swap = isinstance(paying, send.Unanswered | send.Swapping) and paying.facts.is_swap
        return owner.operation if is_swap else ""
    invoice = await context.outside.node.invoice(bytes.fromhex(payment_hash))
    return receive.UNKNOWN_PAYER if invoice is None or invoice.status == "Failed" else ""


# --- its notes -----------------------------------------------------------------------------------------------------


def _abandon_payments(engine: Engine, federation_id: str) -> None:
    """Give up what the backup had reserved for others and not signed: nobody waits for it any longer.

    What the lost events made of it was just found. Its notes are looked for with all others.
    """
    for stream, state in engine.open_streams().items():
        if not isinstance(state, transaction.Reserved):
            continue
        reservation = state.reservation
        if reservation.federation_id == federation_id and reservation.sign_by_unix_s:
            engine.deliver(stream, transaction.BuildAbandoned())


async def _await_transactions(engine: Engine, federation_id: str) -> None:
    """Until all have ended: then every note of ours is known, or is one to be found.

    The lost events may have signed what the backup had reserved, with the same tweaks. Signed anew it is rejected, and
    the notes of these tweaks come from the lost transaction; only of its end can that be told.
    """
    for stream, state in engine.open_streams().items():
        if _goes_on(state, federation_id):
            await engine.wait(stream, lambda now: not _goes_on(now, federation_id))


def _goes_on(state: State, federation_id: str) -> bool:
    match state:
        case (
            transaction.Reserved(reservation=reservation)
            | transaction.Signed(reservation=reservation)
            | transaction.Accepted(reservation=reservation)
        ):
            return reservation.federation_id == federation_id
        case _:
            return False


async def _find_notes(context: GatewayContext, federation: FederationClient) -> bool:
    """Make the wallet what the federation says it is; False when notes moved meanwhile and it must be asked again."""
    engine, stream = context.engine, wallet_of(federation.federation_id)
    before = _wallet(engine, stream)
    recovered = await federation.module(MintV2).recover(context.outside.cpu)
    others = await _given_away(context)
    if _notes_of(_wallet(engine, stream)) != _notes_of(before):
        return False
    unspent = {note.nonce: note for note in recovered.notes}
    gone = [note.nonce for note in before.notes if note.nonce not in unspent]
    fresh = [note for note in unspent.values() if note.nonce not in others]
    for nonces in _chunks(gone):
        engine.deliver(stream, ForgetNotes(nonces=nonces))
    for notes in _chunks(fresh):
        engine.deliver(stream, RecoverNotes(notes=notes))
    await engine.read(stream)
    return True


def _notes_of(wallet: Wallet) -> tuple[object, ...]:
    """All of it but the tweaks, which are ground meanwhile."""
    return wallet.notes, wallet.spending, wallet.transactions


def _wallet(engine: Engine, stream: str) -> Wallet:
    state = engine.peek(stream)
    assert isinstance(state, Wallet), "a federation that is served has a wallet"
    return state


async def _given_away(context: GatewayContext) -> set[str]:
    """Nonces of the notes that this log gave away; what is unspent of them is their holder's.

    The whole log is read, which takes minutes when it is long: page by page, so that payments have their turns.
    """
    codec = machines().codec
    nonces: set[str] = set()
    position = 0
    while page := list(islice(context.store.rows(position), PAGE_ROWS)):
        for chained in page:
            if chained.row.kind == gift.GiftGiven.kind:
                given = codec.decode(chained.row.event)
                assert isinstance(given, gift.GiftGiven)
                nonces.update(note.nonce for note in given.notes)
        position = page[-1].row.position
        await anyio.lowlevel.checkpoint()
    return nonces


def _chunks(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    for start in range(0, len(items), RECOVERED_NOTES_PER_EVENT):
        yield tuple(items[start : start + RECOVERED_NOTES_PER_EVENT])
