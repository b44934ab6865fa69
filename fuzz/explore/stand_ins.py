"""Stand-ins for all that the gateway's parts are given: each use is an operation of `fuzz/explore/script.py`.

The real `Gateway` is put together over them, so that what is explored is what runs: its handlers, its watch of HTLCs,
its desk of federations. Only the engine, the clients of federations and what waits for an event loop are others.
"""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Self, cast

from backends.lightning import NodeInfo, PaymentStatus
from backends.operations import InvoiceRecord, NodeTransaction
from engine.engine import Answer, Conditions
from engine.machine import Input, State
from fedimint.codec.wire_types import ContractId, OutPoint, TransactionId
from fedimint.lnv2.api import OutgoingContractExpiration
from fuzz.explore import facts
from fuzz.explore.memory import Memories
from fuzz.explore.script import Act, Ask, Pause, Read, Until, later, now
from gateway.federation import NotServedError
from gateway.freeze import NODE, Answered
from gateway.modules.module import Materials
from statemachines.items import Reservation
from statemachines.transaction import NotesCollected

_GUARDIANS = SimpleNamespace(threshold=3, max_failures=1)


class StandInEngine:
    """Decides in the exploration's memory; durable at once, as `fuzz/explore/memory.py` says."""

    def __init__(
        self,
        memories: Memories,
        conditions: Conditions,
    ) -> None:
        self._memories = memories
        self.conditions = conditions
        self.faults = SimpleNamespace(quarantined=tuple)

    def peek(self, stream: str) -> State:
        return self._memories.numbered(stream, now(Read("state", (stream,))))

    def open_streams(self) -> Mapping[str, State]:
        return self._memories.open_states(now(Read("memory")))

    def deliver(self, stream: str, input_: Input) -> None:
        now(Act("deliver", (stream, self.conditions(stream, input_))))

    def write_decided(self) -> None:
        """It is durable at once."""

    async def submit(self, stream: str, input_: Input) -> Answer:
        self.deliver(stream, input_)
        return await self.read(stream)

    async def read(self, stream: str) -> Answer:
        return Answer(self.peek(stream), 0)

    async def wait(self, stream: str, until: Callable[[State], bool]) -> Answer:
        if not until(self.peek(stream)):
            await later(Until(stream, until))
        return await self.read(stream)


class StandInFederations:
    """The clients that are open, which the process forgets when it ends."""

    def __init__(self, clients: Mapping[str, Any]) -> None:
        self._clients = clients

    def __contains__(self, federation_id: str) -> bool:
        return federation_id in now(Read("served"))

    def __iter__(self) -> Iterator[Any]:
        return iter([self._clients[one] for one in now(Read("served"))])

    def remove(self, federation_id: str) -> None:
        now(Act("close", (federation_id,)))

    def client(self, federation_id: str) -> Any:
        if federation_id not in self:
            raise NotServedError(federation_id)
        return self._clients[federation_id]


class StandInServed:
    """Closes clients without any connection."""

    def __init__(self, federations: StandInFederations) -> None:
        self._federations = federations

    async def close(self, federation_id: str) -> None:
        self._federations.remove(federation_id)


class StandInAnswered:
    """Who has answered a restored log: memory of the process, too."""

    missing = Answered.missing

    def __init__(self) -> None:
        self.federations = _AnsweredFederations()

    @property
    def node(self) -> bool:
        return NODE in now(Read("answered"))

    @node.setter
    def node(self, _has_answered: bool) -> None:
        now(Act("answered", (NODE,)))


class _AnsweredFederations:
    def __contains__(self, federation_id: str) -> bool:
        return federation_id in now(Read("answered"))

    def add(self, federation_id: str) -> None:
        now(Act("answered", (federation_id,)))


class StandInNode:
    """A Lightning node whose every answer is a choice of the exploration."""

    async def info(self) -> NodeInfo:
        height, is_synced = await later(Ask("node.info"))
        return NodeInfo(
            public_key=facts.NODE_KEY,
            alias="node",
            network="regtest",
            block_height=height,
            synced_to_chain=is_synced,
        )

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        status = await later(Ask("node.invoice", (payment_hash.hex(),)))
        return status and InvoiceRecord(payment_hash, None, 0, 0, status)

    async def create_invoice(self, *, payment_hash: bytes, **_order: object) -> str:
        return str(await later(Ask("node.create_invoice", (payment_hash.hex(),))))

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        return cast("PaymentStatus", await later(Ask("node.lookup", (payment_hash.hex(),))))

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        await later(Ask("node.settle", (payment_hash.hex(), preimage.hex())))

    async def cancel(self, payment_hash: bytes) -> None:
        await later(Ask("node.cancel", (payment_hash.hex(),)))

    async def payments_since(self, _start_unix_s: int) -> tuple[NodeTransaction, ...]:
        return cast("tuple[NodeTransaction, ...]", await later(Ask("node.transactions")))

    def pay(
        self, _invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> "Statuses":
        return Statuses("node.pay", payment_hash.hex(), max_fee_msat, max_delay_blocks)

    def track(self, payment_hash: bytes) -> "Statuses":
        return Statuses("node.track", payment_hash.hex())


class Statuses:
    """The first status comes at once, the others when the payment has ended."""

    def __init__(self, call: str, *order: object) -> None:
        self._call, self._order = call, order
        self._is_first = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PaymentStatus:
        call = self._call if self._is_first else "node.end"
        order = self._order if self._is_first else self._order[:1]
        self._is_first = False
        return cast("PaymentStatus", await later(Ask(call, tuple(order), call == "node.end")))


class OverdueError(BaseException):
    """The answer is not here within the time that is waited for it."""


class StandInClock:
    """The wall clock of the exploration; a sleeper begins again some time.

    That is right where nothing known before the sleep still counts, as in all polling loops.
    """

    def now_unix_us(self) -> int:
        return 1_000_000 * int(now(Read("now_unix_s")))

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await later(Pause())


class StandInCpu:
    """Another process: its answer takes a moment. What it computes the exploration says."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await later(Ask(f"cpu.{function.__name__}", _hashable(arguments)))


def _hashable(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The reservation that is built and the nonces that it spends: an answer depends on nothing else."""
    found: list[Any] = []
    for argument in arguments:
        if isinstance(argument, Reservation):
            found.append(argument)
        elif isinstance(argument, Materials):
            found.append(tuple(note.nonce for note in argument.spends))
    return tuple(found)


class StandInRandomness:
    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


class StandInLnv2:
    """The contracts of one federation."""

    guardians = _GUARDIANS

    def __init__(self, federation_id: str) -> None:
        self._federation_id = federation_id

    async def consensus_block_count(self) -> int:
        return int(await later(Ask("guardians.block_count", (self._federation_id,))))

    async def outgoing_contract_expiration(
        self, out_point: OutPoint
    ) -> OutgoingContractExpiration | None:
        asked = self._federation_id, out_point.txid.hex()
        found = await later(Ask("guardians.outgoing_contract", asked))
        return found and OutgoingContractExpiration(ContractId(bytes.fromhex(found[0])), found[1])

    async def await_incoming_contract(
        self, contract_id: ContractId, _expiration_unix_s: int
    ) -> OutPoint | None:
        asked = self._federation_id, contract_id.hex()
        txid = await later(Ask("guardians.incoming_contract", asked))
        return txid and OutPoint(TransactionId(bytes.fromhex(txid)), 0)

    async def decryption_key_share(self, out_point: OutPoint, _check: object) -> dict[int, bytes]:
        asked = self._federation_id, out_point.txid.hex()
        await later(Ask("guardians.decryption_shares", asked, patient=True))
        return {}


class StandInMint:
    """The notes of one federation: how its history is read is tested with the client of federations."""

    def __init__(self, federation_id: str) -> None:
        self._federation_id = federation_id

    async def recover(self, _cpu: object) -> NotesCollected:
        asked = Ask("guardians.our_notes", (self._federation_id,))
        return NotesCollected(notes=await later(asked), lost_msat=0)


class StandInCore:
    """Transactions to one federation."""

    guardians = _GUARDIANS

    async def submit_until_final(self, _encoded: bytes, txid: TransactionId) -> Any:
        return await later(Ask("guardians.submit", (txid.hex(),), patient=True))
