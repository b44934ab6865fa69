"""LDK's wallet and books for its operator: addresses, coins sent, payments made and got."""

import time

import anyio
from fedimint_gateway_native.ldk import LdkError, Node, Payment

from backends.ldk.core import LdkPart
from backends.ldk.held import status_of
from backends.ldk.ledger import CoinsRow
from backends.lightning import NodeRefusedError, within_bounds_msat
from backends.operations import InvoiceStatus, NodeTransaction, OnchainOrder
from errors import InputError

_MOST = 2**64 - 1
_WALLET_PATIENCE_S = 10.0
_WALLET_PAUSE_S = 0.25
_MSAT = 1_000

# Errors after which the wallet has sent nothing.
_NOT_SENT = frozenset(
    {
        "NotRunning",
        "InvalidAddress",
        "InvalidFeeRate",
        "InsufficientFunds",
        "OnchainTxCreationFailed",
        "OnchainTxSigningFailed",
    }
)


class LdkOperations(LdkPart):
    """The part of `LdkNode` with its wallet and its books."""

    async def onchain_address(self) -> str:
        """A fresh address."""
        return await self._core.ask(lambda native: native.new_address())

    async def send_onchain(self, order: OnchainOrder) -> str:
        """Send coins, and wait a moment for the wallet to see them go. LDK knows no labels, the ledger does."""
        if order.amount_sat is not None and not 0 < order.amount_sat <= _MOST:
            raise InputError(
                f"{order.amount_sat} sat cannot be sent; name an amount above 0, or all"
            )
        if not 0 < order.sat_per_vbyte <= _MOST:
            raise InputError(f"name a fee rate of at least 1 sat/vB, not {order.sat_per_vbyte}")
        txid = await self._core.ask(lambda native: self._send(native, order))
        await self._seen_by_wallet(txid)
        return txid

    def _send(self, native: Node, order: OnchainOrder) -> str:
        ledger = self._core.ledger
        if not ledger.begin_coins(order.label, order.amount_sat, int(time.time())):
            raise NodeRefusedError("ALREADY_EXISTS", "coins of this label were ordered already")
        try:
            txid = native.send_onchain(order.address, order.amount_sat, order.sat_per_vbyte)
        except LdkError as error:
            if error.args[0] in _NOT_SENT:
                ledger.forget_coins(order.label)
            raise
        ledger.end_coins(order.label, txid)
        return txid

    async def _seen_by_wallet(self, txid: str) -> None:
        """Wait until the balance is without these coins; LDK looks for its own transactions every few seconds."""
        payment_id = bytes.fromhex(txid)[::-1]
        with anyio.move_on_after(_WALLET_PATIENCE_S):
            # The wallet tells no event of it.
            while await self._core.ask(lambda native: native.payment(payment_id)) is None:  # noqa: ASYNC110
                await anyio.sleep(_WALLET_PAUSE_S)

    async def sent_onchain(self, label: str) -> str | None:
        """The transaction of a label; after a crash in the middle of the call, the one of that amount since then."""
        row = self._core.ledger.coins(label)
        if row is None or row.txid is not None:
            return None if row is None else row.txid
        return await self._core.ask(lambda native: self._search(native, row))

    def _search(self, native: Node, row: CoinsRow) -> str | None:
        if row.amount_sat is None:
            return None  # What all of it was nobody wrote down.
        fundings = {(one.funding_out_point or "").partition(":")[0] for one in native.channels()}
        for payment in native.payments(row.begun_unix_s, _MOST):
            if (
                payment.txid is not None
                and payment.is_outbound
                and payment.amount_msat == row.amount_sat * _MSAT
                and payment.txid not in fundings
                and not self._core.ledger.is_known_transaction(payment.txid)
            ):
                self._core.ledger.end_coins(row.label, payment.txid)
                return payment.txid
        return None

    async def transactions(self, start_unix_s: int, end_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments whatever became of them, and invoices that ended, by their last change: LDK notes no other time."""
        found = await self._records(start_unix_s, end_unix_s)
        ended = [one for one in found if one.direction == "Outbound" or one.status != "Pending"]
        return tuple(sorted(ended, key=lambda one: one.unix_s))

    async def payments_since(self, start_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments by their last change, which is never before they were begun, and calls without a record yet."""
        found = [
            one for one in await self._records(start_unix_s, _MOST) if one.direction == "Outbound"
        ]
        recorded = {one.payment_hash for one in found}
        found += [
            NodeTransaction(
                payment_hash=call.payment_hash,
                preimage=None,
                kind="Bolt11",
                amount_msat=call.amount_msat,
                direction="Outbound",
                status="Pending",
                unix_s=call.begun_unix_s,
            )
            for call in self._core.ledger.open_calls()
            if call.begun_unix_s >= start_unix_s and call.payment_hash not in recorded
        ]
        return tuple(sorted(found, key=lambda one: one.unix_s))

    async def _records(self, start_unix_s: int, end_unix_s: int) -> list[NodeTransaction]:
        start, end = (min(max(unix_s, 0), _MOST) for unix_s in (start_unix_s, end_unix_s))

        def read(native: Node) -> list[NodeTransaction]:
            return [
                self._transaction(payment)
                for payment in native.payments(start, end)
                if payment.txid is None
            ]

        return await self._core.ask(read)

    def _transaction(self, payment: Payment) -> NodeTransaction:
        row = None
        if not payment.is_outbound and payment.payment_hash is not None:
            row = self._core.ledger.held(payment.payment_hash)
        status: InvoiceStatus = status_of(payment, row)
        preimage = payment.preimage if row is None else row.preimage
        return NodeTransaction(
            payment_hash=payment.payment_hash,
            preimage=preimage if status == "Succeeded" else None,
            kind=payment.kind,  # type: ignore[arg-type]  # the names are those of the native part
            amount_msat=within_bounds_msat(payment.amount_msat or 0),
            direction="Outbound" if payment.is_outbound else "Inbound",
            status=status,
            unix_s=payment.updated_unix_s,
        )
