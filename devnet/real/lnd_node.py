"""An LND node on regtest, driven by its own command line."""

from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from devnet.processes import Program, free_port, run_once, until
from devnet.real.bitcoind import Bitcoind
from errors import PeerError

_Answer = TypeVar("_Answer")

_READY_DEADLINE_S = 90
_CALL_DEADLINE_S = 60


class InvoiceState(StrEnum):
    """States of an invoice as LND names them."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


class NewInvoice(msgspec.Struct, frozen=True):
    """An invoice made: its payment hash (hex) and its BOLT 11 text."""

    payment_hash: str
    payment_request: str


class InvoiceStatus(msgspec.Struct, frozen=True):
    """How an invoice stands; the amount is 0 until it is settled."""

    state: InvoiceState
    amount_paid_msat: int


class ChannelStatus(msgspec.Struct, frozen=True):
    """One channel as the node asked sees it; balances in satoshi."""

    peer_pubkey: str
    active: bool
    capacity_sat: int
    local_balance_sat: int
    remote_balance_sat: int


class Payment(msgspec.Struct, frozen=True):
    """A payment that succeeded; the preimage is hex."""

    preimage: str
    value_msat: int
    fee_msat: int


class PaymentRecord(msgspec.Struct, frozen=True):
    """What the payer has on record of one payment, whatever became of it; `succeeded` counts its parts."""

    status: str
    value_msat: int
    succeeded: int


class Peer(Protocol):
    """Another Lightning node on this machine, of any kind."""

    @property
    def peer_port(self) -> int: ...

    async def pubkey(self) -> str: ...


class LndNode:
    """One node over a bitcoind. Attributes tell a gateway how to reach it."""

    def __init__(
        self,
        alias: str,
        *,
        lnd_path: Path,
        lncli_path: Path,
        bitcoind: Bitcoind,
        folder: Path,
    ) -> None:
        folder.mkdir(parents=True)
        self.alias = alias
        self.folder = folder
        self.rpc_port = free_port()
        self.peer_port = free_port()
        self._lncli_path = lncli_path
        self.program = Program(
            f"lnd {alias}",
            [lnd_path, f"--lnddir={folder}", *self._options(bitcoind)],
            log_path=folder / "lnd.log",
        )

    @property
    def rpc_address(self) -> str:
        """Host and port of the gRPC server."""
        return f"127.0.0.1:{self.rpc_port}"

    @property
    def tls_cert_path(self) -> Path:
        return self.folder / "tls.cert"

    @property
    def macaroon_path(self) -> Path:
        """The admin macaroon."""
        return self.folder / "data/chain/bitcoin/regtest/admin.macaroon"

    @property
    def command(self) -> list[str]:
        """What begins a command line of lncli that asks this node."""
        return [
            str(self._lncli_path),
            f"--lnddir={self.folder}",
            f"--rpcserver={self.rpc_address}",
            "--network=regtest",
        ]

    async def start(self) -> None:
        """Starts the node and waits until it follows the chain."""
        self.program.start()
        await until(
            f"lnd {self.alias} follows the chain",
            self.is_synced,
            deadline_s=_READY_DEADLINE_S,
            programs=[self.program],
        )

    async def is_synced(self) -> bool:
        class Info(msgspec.Struct):
            synced_to_chain: bool = False

        return _decode(await self._call("getinfo"), Info).synced_to_chain

    async def pubkey(self) -> str:
        """The node id, hex."""

        class Info(msgspec.Struct):
            identity_pubkey: str

        return _decode(await self._call("getinfo"), Info).identity_pubkey

    async def new_address(self) -> str:
        class Address(msgspec.Struct):
            address: str

        return _decode(await self._call("newaddress", "p2wkh"), Address).address

    async def confirmed_balance_sat(self) -> int:
        """On-chain coins of the node's wallet."""

        class Balance(msgspec.Struct):
            confirmed_balance: int

        return _decode(await self._call("walletbalance"), Balance).confirmed_balance

    async def open_channel(self, peer: Peer, *, capacity_sat: int, push_sat: int) -> None:
        """Connects and broadcasts the funding transaction; blocks must be mined next."""
        peer_pubkey = await peer.pubkey()
        await self._call("connect", f"{peer_pubkey}@127.0.0.1:{peer.peer_port}")
        await self._call(
            "openchannel",
            f"--node_key={peer_pubkey}",
            f"--local_amt={capacity_sat}",
            f"--push_amt={push_sat}",
        )

    async def channels(self) -> list[ChannelStatus]:
        class Channel(msgspec.Struct):
            remote_pubkey: str
            capacity: int
            active: bool = False
            local_balance: int = 0
            remote_balance: int = 0

        class Channels(msgspec.Struct):
            channels: list[Channel]

        answer = _decode(await self._call("listchannels"), Channels)
        return [
            ChannelStatus(
                channel.remote_pubkey,
                channel.active,
                channel.capacity,
                channel.local_balance,
                channel.remote_balance,
            )
            for channel in answer.channels
        ]

    async def settled_msat(self) -> int | None:
        """This side of all channels, without commitment fees; None while an HTLC is in one of them."""

        class Amount(msgspec.Struct):
            msat: int = 0

        class Balances(msgspec.Struct):
            local_balance: Amount
            unsettled_local_balance: Amount
            unsettled_remote_balance: Amount

        sides = _decode(await self._call("channelbalance"), Balances)
        if sides.unsettled_local_balance.msat or sides.unsettled_remote_balance.msat:
            return None
        return sides.local_balance.msat

    async def can_reach(self, peer_pubkey: str) -> bool:
        """Whether a payment would find a route now; an active channel alone does not tell.

        Raises ProcessError while there is none.
        """
        await self._call("queryroutes", f"--dest={peer_pubkey}", "--amt=1000")
        return True

    async def add_invoice(
        self, amount_msat: int, *, expiry_s: int = 3600, memo: str = ""
    ) -> NewInvoice:
        class Answer(msgspec.Struct):
            r_hash: str
            payment_request: str

        options = (f"--amt_msat={amount_msat}", f"--expiry={expiry_s}", f"--memo={memo}")
        answer = _decode(await self._call("addinvoice", *options), Answer)
        return NewInvoice(answer.r_hash, answer.payment_request)

    async def add_hold_invoice(
        self, payment_hash: str, amount_msat: int, *, expiry_s: int = 3600
    ) -> NewInvoice:
        """An invoice that stays ACCEPTED when paid, until settled or cancelled; hash in hex."""

        class Answer(msgspec.Struct):
            payment_request: str

        options = (f"--amt_msat={amount_msat}", f"--expiry={expiry_s}")
        answer = _decode(await self._call("addholdinvoice", *options, payment_hash), Answer)
        return NewInvoice(payment_hash, answer.payment_request)

    async def settle_invoice(self, preimage: str) -> None:
        """Takes the money of an accepted hold invoice; preimage in hex."""
        await self._call("settleinvoice", preimage)

    async def cancel_invoice(self, payment_hash: str) -> None:
        """Gives up a hold invoice; hash in hex."""
        await self._call("cancelinvoice", payment_hash)

    async def lookup(self, payment_hash: str) -> InvoiceStatus:
        """How an invoice of this node stands; hash in hex."""

        class Answer(msgspec.Struct):
            state: InvoiceState
            amt_paid_msat: int = 0

        answer = _decode(await self._call("lookupinvoice", payment_hash), Answer)
        return InvoiceStatus(answer.state, answer.amt_paid_msat)

    async def pay(
        self, payment_request: str, *, fee_limit_sat: int = 10_000, deadline_s: int = 60
    ) -> Payment:
        """Pays and waits for the end. Raises ProcessError or PeerError unless it succeeds."""

        class Answer(msgspec.Struct):
            status: str
            payment_preimage: str
            value_msat: int
            fee_msat: int
            failure_reason: str

        text = await self._call(
            "sendpayment",
            f"--pay_req={payment_request}",
            f"--fee_limit={fee_limit_sat}",
            f"--timeout={deadline_s}s",
            "--force",
            "--json",
            deadline_s=deadline_s + 10,
        )
        answer = _decode(text, Answer)
        if answer.status != "SUCCEEDED":
            raise PeerError(f"lnd {self.alias}: payment {answer.status}, {answer.failure_reason}")
        return Payment(answer.payment_preimage, answer.value_msat, answer.fee_msat)

    async def payments_of(self, payment_hash: str) -> list[PaymentRecord]:
        """Every payment that this node ever began for a hash (hex)."""

        class Htlc(msgspec.Struct):
            status: str

        class Record(msgspec.Struct):
            payment_hash: str
            status: str
            value_msat: int
            htlcs: list[Htlc]

        class Answer(msgspec.Struct):
            payments: list[Record]

        answer = _decode(await self._call("listpayments", "--include_incomplete"), Answer)
        return [
            PaymentRecord(
                record.status,
                record.value_msat,
                sum(htlc.status == "SUCCEEDED" for htlc in record.htlcs),
            )
            for record in answer.payments
            if record.payment_hash == payment_hash
        ]

    async def _call(self, command: str, *arguments: str, deadline_s: int = _CALL_DEADLINE_S) -> str:
        return await run_once([*self.command, command, *arguments], deadline_s=deadline_s)

    def _options(self, bitcoind: Bitcoind) -> list[str]:
        return [
            f"--alias={self.alias}",
            "--noseedbackup",
            "--norest",
            f"--rpclisten={self.rpc_address}",
            f"--listen=127.0.0.1:{self.peer_port}",
            "--nobootstrap",
            "--minbackoff=1s",
            "--trickledelay=50",
            "--bitcoin.regtest",
            "--bitcoin.node=bitcoind",
            "--bitcoin.defaultchanconfs=3",
            f"--bitcoind.rpchost={bitcoind.rpc_address}",
            f"--bitcoind.rpcuser={bitcoind.user}",
            f"--bitcoind.rpcpass={bitcoind.password}",
            f"--bitcoind.zmqpubrawblock=tcp://127.0.0.1:{bitcoind.zmq_block_port}",
            f"--bitcoind.zmqpubrawtx=tcp://127.0.0.1:{bitcoind.zmq_transaction_port}",
        ]


def _decode(text: str, kind: type[_Answer]) -> _Answer:
    """LND writes 64-bit numbers as text, so the decoding is lax."""
    try:
        return msgspec.json.decode(text, type=kind, strict=False)
    except msgspec.MsgspecError as error:
        raise PeerError(f"lncli answered something else: {error}") from error
