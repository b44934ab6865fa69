"""Watches HTLCs held for our invoices and funds, settles or cancels them.

The watch is always opened anew, and what goes wrong with one payment stays with that payment. What is funded decides
the machine (`statemachines/receive_rules.py`); here it is measured.
"""

import anyio
import structlog

from backends.lightning import CompletionRejectedError, HeldPayment
from engine.machine import State
from errors import FatalError, GatewayError, UnavailableError
from gateway.containing import contain
from gateway.context import GatewayContext
from gateway.node_watch import BEHIND_LIMIT_S
from gateway.receivers import is_from_our_node, unreadiness
from statemachines import completion, receive

#: First and longest pause before the watch is opened anew, or a payment is looked at again.
PAUSE_FIRST_S = 1.0
PAUSE_LONGEST_S = 60.0
#: The node made no invoice for us: one that is there has another maker, who answers for it.
_NOT_OURS = (receive.New, receive.InvoiceRefused)
#: States of an invoice of ours that is to be watched at the node.
_WATCHED = (*receive.UNDECIDED_STATES, receive.Funding, receive.Decrypting)
#: How long something is held and nothing could be decided before that is written down, for the operator to see.
TOLD_AFTER_S = 10
#: How long it is held at the most: then the payer is refunded, whatever could not be found out.
UNDECIDED_LIMIT_S = 600
#: Of what others say that much is written down.
REASON_CHARS_MAX = 500

_log = structlog.get_logger("receive")


class HeldPayments:
    """The watch of one gateway. `run` is the watching."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        #: Hashes that are looked at now: the node may tell of one many times.
        self._busy: set[bytes] = set()
        self.problem: str | None = None
        """What the watch cannot see just now, in words for the operator; None when it sees everything."""

    async def run(self) -> None:
        """Watch without end. What is being answered goes on while the watch is opened anew."""
        pause_s = PAUSE_FIRST_S
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    node = self._context.outside.node
                    async with node.held_payments(self._own(), self._tell) as held:
                        async for payment in held:
                            pause_s = PAUSE_FIRST_S
                            if payment.payment_hash not in self._busy:
                                self._busy.add(payment.payment_hash)
                                tasks.start_soon(self._answer, payment)
                except Exception as error:  # noqa: BLE001 (nothing may end the watch but the end of the process)
                    contain(_log, "held_payments_lost", error)
                    self._tell(
                        f"the Lightning node does not report the payments that it holds: {error}"
                    )
                await self._context.outside.ports.clock.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)

    def _own(self) -> list[bytes]:
        """The hashes of our own open invoices, which need no listing of the node's."""
        open_now = self._context.engine.open_streams().values()
        return [
            bytes.fromhex(state.facts.payment_hash)
            for state in open_now
            if isinstance(state, _WATCHED)
        ]

    def _tell(self, problem: str | None) -> None:
        self.problem = problem

    async def _answer(self, payment: HeldPayment) -> None:
        """Until it is answered."""
        pause_s, since_unix_s = PAUSE_FIRST_S, self._context.now_unix_s()
        try:
            while not await self._is_answered(payment, since_unix_s):
                await self._context.outside.ports.clock.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)
        finally:
            self._busy.discard(payment.payment_hash)

    async def _is_answered(self, payment: HeldPayment, since_unix_s: int) -> bool:
        try:
            try:
                await self._look_at(payment)
            except GatewayError as error:
                await self._keep_waiting(payment, error, since_unix_s)
        except Exception as error:  # noqa: BLE001 (one bad payment must not stop the others)
            contain(_log, "held_payment_waits", error, payment_hash=payment.payment_hash.hex())
            return False
        return True

    async def _keep_waiting(
        self, payment: HeldPayment, error: GatewayError, since_unix_s: int
    ) -> None:
        """Write down why it waits; after UNDECIDED_LIMIT_S decide without what could not be found out.

        Raises the error while it waits on. A restored log waits for its federation, which may have been asked to fund.
        """
        engine, stream = self._context.engine, receive.stream_of(payment.payment_hash.hex())
        waited_s = self._context.now_unix_s() - since_unix_s
        reason = str(error)[:REASON_CHARS_MAX]
        if isinstance(error, FatalError) or self._context.closing.has_begun:
            raise error
        if isinstance(engine.peek(stream), receive.Invoiced) and waited_s >= TOLD_AFTER_S:
            await engine.submit(stream, receive.HtlcWaits(reason=reason))
        if not isinstance(engine.peek(stream), receive.Held) or waited_s < UNDECIDED_LIMIT_S:
            raise error
        undecided = receive.HtlcHeld(
            amount_msat=payment.amount_msat,
            deadline_blocks=0,
            now_unix_s=self._context.now_unix_s(),
            refusal=f"nothing could be decided for {waited_s} seconds: {reason}",
        )
        await engine.submit(stream, undecided)

    async def _look_at(self, payment: HeldPayment) -> None:
        engine, payment_hash = self._context.engine, payment.payment_hash.hex()
        stream = receive.stream_of(payment_hash)
        state = engine.peek(stream)
        if isinstance(state, _NOT_OURS):
            return  # of somebody else's invoice: the node may serve others too
        if isinstance(state, receive.Registered):
            raise UnavailableError("the Lightning node has not said yet whose this invoice is")
        if isinstance(state, receive.UNDECIDED_STATES):
            if not is_from_our_node(self._context, state.invoice):
                return  # what is held is for an invoice that somebody else has at the node of now
            self._context.refuse_new_work(state.facts.federation_id)
            await engine.submit(stream, await self._measure_in_turn(payment, state.facts))
        await self._answer_again(payment, engine.peek(completion.stream_of(payment_hash)))

    async def _measure_in_turn(
        self, payment: HeldPayment, facts: receive.ReceiveFacts
    ) -> receive.HtlcHeld:
        return await self._context.funding_turns.measured(
            self._context.engine, facts, lambda: self._measure(payment, facts)
        )

    async def _measure(self, payment: HeldPayment, facts: receive.ReceiveFacts) -> receive.HtlcHeld:
        """What only node and guardians know, and since when; the height is the node's.

        A node that is behind the chain cannot know how many blocks are left. Raises UnavailableError until it has
        been so for BEHIND_LIMIT_S: then the payer is kept waiting no longer.
        """
        asked_unix_s = self._context.now_unix_s()
        refusal = await unreadiness(self._context, facts)
        node = await self._context.outside.node.info()
        if not node.synced_to_chain:
            if self._context.watch.behind_s() < BEHIND_LIMIT_S:
                raise UnavailableError("the Lightning node is behind the chain")
            refusal = refusal or "the Lightning node is behind the chain"
        deadline_blocks = payment.deadline_height - node.block_height
        return receive.HtlcHeld(
            amount_msat=payment.amount_msat,
            deadline_blocks=max(0, deadline_blocks) if payment.deadline_height else 0,
            now_unix_s=asked_unix_s,
            refusal=refusal or await self._loss_of(payment),
        )

    async def _loss_of(self, payment: HeldPayment) -> str | None:
        """Why the node cannot settle what it reported, perhaps long ago; None when it holds it still."""
        invoice = await self._context.outside.node.invoice(payment.payment_hash)
        if invoice is None or invoice.status != "Pending":
            return "the Lightning node no longer holds the payment"
        return None

    async def _answer_again(self, payment: HeldPayment, answer: State) -> None:
        """The recorded answer; payments of invoices that nothing is funded for any more are cancelled.

        Also one that the node contradicted once, as one does whose database is lost and comes back from a backup: what
        it shows as held it can answer.
        """
        node = self._context.outside.node
        try:
            match answer:
                case (
                    completion.Settled(preimage=preimage)
                    | completion.SettleRejected(preimage=preimage)
                ):
                    await node.settle(payment.payment_hash, bytes.fromhex(preimage))
                case completion.Cancelled() | completion.CancelRejected() | completion.Unborn():
                    await node.cancel(payment.payment_hash)
                case _:
                    pass  # its own effect answers
        except CompletionRejectedError as rejected:
            _log.warning(
                "held_payment_contradicted",
                payment_hash=payment.payment_hash.hex(),
                error=str(rejected),
            )
