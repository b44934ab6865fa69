"""Whole payments through the engine, crashed at every point and reopened: the end is always the same."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from engine.chain import verified
from engine.effects import EffectContext, Handler
from engine.engine import Engine, Ports
from engine.fold import fold
from engine.machine import Effect, Input, State
from engine.ports import inline, no_probe
from engine.storage.read_model import StreamIndex
from engine.storage.store import Store
from errors import UnavailableError
from fuzz.machines.scene import (
    EXPIRES_UNIX_S,
    FEDERATION,
    FEES,
    MACHINES,
    NODE,
    PREIMAGE,
    WALLET,
    facts,
    note,
    request,
)
from migrations import SchemaSteps
from statemachines import send, send_rules
from statemachines.items import Issue, SignedTransaction
from statemachines.ledger import audit
from statemachines.send import (
    BudgetMeasured,
    CallUnanswered,
    ForfeitSigned,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    SeenInFlight,
)
from statemachines.transaction import (
    BuildTransaction,
    Built,
    CollectNotes,
    NotesCollected,
    SubmissionAccepted,
    SubmissionRejected,
    SubmitTransaction,
)
from statemachines.wallet import AddTweaks, OpenWallet, Wallet

#: Only processes crash here, not machines: what the kernel has is safe, so memory is a disk.
_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (a private folder in it)
STREAM = send.stream_of(facts().contract_id)


class Crash(BaseException):
    """What a probe raises: no handler of errors may swallow it."""


class StillClock:
    def now_unix_us(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()


class NoRandomness:
    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


class World:
    """Node and federation, which survive every crash, and how this story goes."""

    def __init__(self, story: str) -> None:
        self.story = story
        self.now_unix_s = EXPIRES_UNIX_S if story == "expired" else 0
        self.record: str | None = None
        self.payments = 0
        self.txids: set[str] = set()
        self.forfeits: set[str] = set()

    def handlers(self) -> dict[type[Effect], Handler]:
        return {
            send.MeasureBudget: self.measure,
            send.PayInvoice: self.pay,
            send.LookUpRecord: self.look_up,
            send.FollowPayment: self.follow,
            send.SignForfeit: self.forfeit,
            BuildTransaction: self.build,
            SubmitTransaction: self.submit,
            CollectNotes: self.collect,
        }

    def _known(self) -> Input | None:
        match self.record:
            case "in flight":
                return SeenInFlight()
            case "failed":
                return PaymentFailed(node=NODE, reason="no route")
            case "succeeded":
                return PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_000)
            case _:
                return None

    async def measure(self, _effect: send.MeasureBudget, _context: EffectContext) -> Input:
        measured = BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=self.now_unix_s)
        return self._known() or measured

    async def pay(self, _effect: send.PayInvoice, context: EffectContext) -> Input:
        if context.resumed:
            return self._known() or CallUnanswered()
        if self.record != "in flight":
            self.record = "in flight"
            self.payments += 1
        await anyio.lowlevel.checkpoint()
        return SeenInFlight()

    async def follow(self, _effect: send.FollowPayment, _context: EffectContext) -> Input:
        if self.record == "in flight":
            self.record = "failed" if self.story == "failed" else "succeeded"
        known = self._known()
        assert known is not None
        return known

    async def look_up(self, effect: send.LookUpRecord, _context: EffectContext) -> Input:
        while True:
            known = self._known()
            if isinstance(known, SeenInFlight | PaymentSucceeded):
                return known
            record = RecordLookedUp(
                node=NODE,
                failed_reason=known.reason if isinstance(known, PaymentFailed) else None,
                remaining_blocks=500,
                looked_up_unix_s=self.now_unix_s,
            )
            if send_rules.may_decide(effect, record):
                return record
            self.now_unix_s += 1_000

    async def forfeit(self, effect: send.SignForfeit, _context: EffectContext) -> Input:
        self.forfeits.add(effect.contract_id)
        return ForfeitSigned(forfeit="f0")

    async def build(self, effect: BuildTransaction, _context: EffectContext) -> Input:
        issues = tuple(
            issue if issue.tweak else Issue(issue.denomination, f"ground {number}")
            for number, issue in enumerate(effect.reservation.issues)
        )
        signed = SignedTransaction(f"txid of {effect.reservation.tx}", b"bytes", issues)
        return Built(signed=signed, now_unix_s=5_000)

    async def submit(self, effect: SubmitTransaction, _context: EffectContext) -> Input:
        if self.story == "claim rejected":
            return SubmissionRejected(error="the contract is gone")
        self.txids.add(effect.txid)
        await anyio.lowlevel.checkpoint()
        return SubmissionAccepted()

    async def collect(self, effect: CollectNotes, _context: EffectContext) -> Input:
        notes = tuple(note(issue.tweak, issue.denomination) for issue in effect.issues)
        return NotesCollected(notes=notes, lost_msat=0)


class Walk:
    """One data directory, and the sessions of a gateway on it."""

    def __init__(self, root: Path, story: str, backend: str) -> None:
        self.root = root
        self.directory = root / "0"
        self.world = World(story)
        self.backend = backend

    def session(self, crash_at: int | None = None) -> str | None:
        """Open, ask for the payment, wait for its end; the point at which it crashed."""
        store = _open(self.directory)
        points: list[str] = []

        def probe(point: str) -> None:
            points.append(point)
            if len(points) == crash_at:
                raise Crash

        ports = Ports(StillClock(), NoRandomness(), inline, probe if crash_at else no_probe)
        engine = Engine(store, MACHINES, ports)
        try:
            anyio.run(self._work, engine, backend=self.backend)
        except BaseExceptionGroup as group:
            if group.split(Crash)[1] is not None:
                raise
            # Files as they are now, without what closing them in order would still do.
            left = self.root / str(int(self.directory.name) + 1)
            shutil.copytree(self.directory, left)
            self.directory = left
            return points[-1]
        finally:
            store.close()
        return None

    async def _work(self, engine: Engine) -> None:
        tweaks = tuple(f"session {self.directory.name}, tweak {number}" for number in range(2))
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run, self.world.handlers())
            # A caller of a gateway that dies learns just that, and asks again.
            with suppress(UnavailableError):
                await engine.submit(WALLET, OpenWallet(federation_id=FEDERATION, fees=FEES))
                await engine.submit(WALLET, AddTweaks(tweaks=tweaks))
                await engine.submit(STREAM, request())
                await engine.wait(STREAM, send_rules.MACHINE.is_final)
                tasks.cancel_scope.cancel()

    def ends(self) -> tuple[State, Wallet]:
        """The states at the end, of a log whose books are sound."""
        store = _open(self.directory)
        rows = list(verified(store.rows()))
        store.close()
        report = audit(MACHINES, rows)
        assert report.problems == ()
        assert sum(report.balances.values()) == 0
        states = fold(MACHINES, rows, keep_final=True)
        wallet = states[WALLET].state
        assert isinstance(wallet, Wallet)
        return states[STREAM].state, wallet


def _open(directory: Path) -> Store:
    return Store(directory, SchemaSteps(), [StreamIndex()])


def _without_tweaks(wallet: Wallet) -> object:
    denominations = [note.denomination for note in wallet.notes]
    return denominations, wallet.spending, wallet.transactions


_STORIES: dict[str, type[State]] = {
    "paid": send.Claimed,
    "failed": send.Cancelled,
    "expired": send.Cancelled,
    "claim rejected": send.ClaimRejected,
}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("story", _STORIES)
def test_a_crash_at_every_point_changes_no_end(story: str, backend: str) -> None:
    with tempfile.TemporaryDirectory(dir=_DISK) as folder:
        calm = Walk(Path(folder), story, backend)
        assert calm.session() is None
        expected, expected_wallet = calm.ends()
    assert isinstance(expected, _STORIES[story])
    crashes: list[str] = []
    while True:
        with tempfile.TemporaryDirectory(dir=_DISK) as folder:
            walk = Walk(Path(folder), story, backend)
            point = walk.session(crash_at=len(crashes) + 1)
            if point is not None:
                assert walk.session() is None
            state, wallet = walk.ends()
        assert state == expected, point
        assert _without_tweaks(wallet) == _without_tweaks(expected_wallet), point
        _check_outside(walk.world, state)
        if point is None:
            break
        crashes.append(point)
    assert {"before send.accepted", "after send.accepted", "effect MeasureBudget"} <= set(crashes)


def _check_outside(world: World, state: State) -> None:
    """Paid once at most, claimed under one txid, and never both paid and given back."""
    assert world.payments <= 1
    assert len(world.txids) <= 1
    assert bool(world.forfeits) == isinstance(state, send.Cancelled)
    assert not (world.forfeits and world.record in {"in flight", "succeeded"})
