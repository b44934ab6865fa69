"""The gateway's tasks at one place of an exploration, and one step of each."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from backends.lightning import HeldPayment
from engine.machine import Effect, Input
from errors import FatalError, GatewayError
from fuzz.explore import facts, people
from fuzz.explore.memory import Memories
from fuzz.explore.outside import note_of
from fuzz.explore.parts import Parts
from fuzz.explore.promises import Promises
from fuzz.explore.scenes import Scene
from fuzz.explore.script import (
    TAKEN,
    Act,
    Ask,
    Ended,
    Failed,
    HandedIn,
    Pause,
    Read,
    Scripts,
    Spec,
    Until,
    Work,
    later,
)
from fuzz.explore.stand_ins import StandInCore, StandInLnv2, StandInMint
from fuzz.explore.world import World
from gateway.held_payments import HeldPayments
from gateway.modules.lnv2 import LnV2
from gateway.modules.mintv2 import MintV2
from statemachines import identity
from statemachines.receive import ForgetInvoice
from statemachines.transaction import CollectNotes, NotesCollected

#: Since when a job is under way: it pauses, or this moment, or the one before.
AT_REST, SINCE_NOW, SINCE_BEFORE = -1, 0, 1


class Job(NamedTuple):
    """A piece of work: where it stands in its script, and since when it is under way."""

    node: int
    age: int = SINCE_NOW


class Run(NamedTuple):
    """What a job that went on has changed, and where it stands now; None when it is over."""

    memory: int
    world: World
    job: Job | None
    broken: tuple[str, ...] = ()


class Jobs:
    """All work of the gateway in one scene."""

    def __init__(self, scene: Scene, memories: Memories, promises: Promises) -> None:
        self._scene = scene
        self._memories = memories
        self._promises = promises
        clients = {one: _client(one) for one in scene.federations}
        self._parts = Parts(memories, clients)
        self._held = HeldPayments(self._parts.context)
        self.scripts = Scripts(self._begin)

    def begun(self, work: Spec, age: int = SINCE_NOW) -> Job:
        """A job that has done nothing yet."""
        return Job(self.scripts.root(work), age)

    def resumed(self, memory: int) -> list[Job]:
        """The jobs of a process that starts: what streams want, and while it is frozen what ends that."""
        jobs = [
            self.begun(Spec("effect", stream, key, effect, True, True), _age_of(effect))
            for stream, key, effect in self._memories.wanted(memory)
        ]
        state = self._memories.state(memory, identity.STREAM)
        if isinstance(state, identity.Founded) and state.is_frozen:
            asked = ("", *self._scene.federations)
            jobs += [self.begun(Spec(people.RECONCILING, "", "", one), AT_REST) for one in asked]
        return jobs

    def wanted(self, memory: int, jobs: Iterable[Job], age: int) -> list[Job]:
        """The jobs that the streams want now: others are given up; new ones follow within seconds of their cause."""
        wanted = dict.fromkeys(self._memories.wanted(memory))
        kept = []
        for job in jobs:
            spec = self.scripts.spec(job.node)
            what = spec.stream, spec.key, cast("Effect", spec.subject)
            if spec.work != "effect":
                kept.append(job)
            elif what in wanted:
                del wanted[what]
                kept.append(job)
        for stream, key, effect in wanted:
            kept.append(self.begun(Spec("effect", stream, key, effect), _age_of(effect, age)))
        return kept

    def is_under_way(self, job: Job) -> bool:
        """Whether it goes on within seconds, by itself or by an answer."""
        if job.age == AT_REST:
            return False
        match self.scripts.operation(job.node):
            case Ask(patient=patient):
                return not patient
            case HandedIn() | Until():
                return False
            case _:
                return True

    def is_computing(self, job: Job) -> bool:
        """Whether a worker of ours computes for it."""
        operation = self.scripts.operation(job.node)
        return isinstance(operation, Ask) and operation.call.startswith("cpu.")

    def work(self, job: Job) -> str:
        """What kind of work it is."""
        return self.scripts.spec(job.node).work

    def name(self, job: Job) -> str:
        """What it does, for people."""
        spec = self.scripts.spec(job.node)
        return type(spec.subject).__name__ if spec.work == "effect" else spec.work

    def go_on(self, memory: int, world: World, job: Job) -> Run:
        """A job goes on with what it was told, up to where it waits again."""
        scripts, node, age = self.scripts, job.node, max(job.age, SINCE_NOW)
        broken: tuple[str, ...] = ()
        while True:
            operation = scripts.operation(node)
            match operation:
                case Read():
                    node = scripts.after(node, self._read(operation, memory, world))
                case Act():
                    answer, memory, world, found = self._act(operation, memory, world)
                    broken += found
                    node = scripts.after(node, answer)
                case Ask() | Until():
                    return Run(memory, world, Job(node, age), broken)
                case Pause():
                    again = self.begun(scripts.spec(node), AT_REST)
                    return Run(memory, world, again, broken)
                case Ended(result):
                    ended = self._ended(memory, world, node, result)
                    return ended._replace(broken=broken + ended.broken)
                case Failed(error):
                    if not isinstance(error, GatewayError) or isinstance(error, FatalError):
                        broken += (f"the process ends: {error!r}",)
                    return Run(memory, world, self._failed(node), broken)
                case HandedIn():
                    raise AssertionError("what is over does not go on")

    def _begin(self, spec: Spec) -> Work:
        subject = cast("Any", spec.subject)
        match spec.work:
            case "effect" if isinstance(subject, CollectNotes):
                work: Any = _collect(subject)
            case "effect":
                work = self._parts.handle(spec)
            case people.WATCH:
                work = self._watch(*subject)
            case people.LEAVING:
                work = self._parts.gateway.federations.leave_federation(subject)
            case people.RESTORING:
                work = self._parts.restore()
            case people.RECONCILING:
                work = self._parts.reconcile(subject)
            case _:
                work = self._parts.submit(spec.stream, subject)
        return cast("Work", work)

    async def _watch(self, payment: HeldPayment, since_unix_s: int) -> None:
        """What the watch of HTLCs does about one that the node has told of, until it is answered."""
        while not await self._held._is_answered(payment, since_unix_s):  # noqa: SLF001 - without its node
            await later(Pause())

    def _ended(self, memory: int, world: World, node: int, result: object) -> Run:
        """An effect's result goes to its stream; while it is refused there it is handed in again."""
        spec = self.scripts.spec(node)
        if spec.work != "effect":
            return Run(memory, world, None)
        broken: tuple[str, ...] = ()
        if result is not None:
            decided = self._memories.decide(memory, spec.stream, cast("Input", result))
            broken = self._promises.broken_by_decision(memory, decided, world)
            if decided.refused:
                return Run(memory, world, Job(node, AT_REST), broken)
            memory = decided.memory
        return Run(memory, world, Job(self.scripts.after(node, TAKEN)), broken)

    def _failed(self, node: int) -> Job | None:
        """An effect is tried again after a pause; any other caller hears of the error."""
        spec = self.scripts.spec(node)
        if spec.work == "effect":
            return self.begun(spec._replace(resumed=True), AT_REST)
        return self.begun(spec, AT_REST) if spec.work == people.RECONCILING else None

    def _read(self, read: Read, memory: int, world: World) -> Any:
        match read.what:
            case "state":
                return self._memories.number(memory, cast("str", read.args[0]))
            case "memory":
                return memory
            case "served":
                return world.served
            case "answered":
                return world.answered
            case "now_unix_s":
                return self._scene.moments[world.moment].unix_s
            case _:
                raise AssertionError(read)

    def _act(self, act: Act, memory: int, world: World) -> tuple[Any, int, World, tuple[str, ...]]:
        """The answer, and what is changed."""
        if act.what == "answered":
            known = tuple(sorted({*world.answered, cast("str", act.args[0])}))
            return None, memory, world._replace(answered=known), ()
        if act.what == "close":
            left = tuple(one for one in world.served if one != act.args[0])
            return None, memory, world._replace(served=left), ()
        if act.what == "report":
            stream, key, effect, input_ = cast("tuple[str, str, Effect, Input]", act.args)
            if (stream, key, effect) not in self._memories.wanted(memory):
                return None, memory, world, ()
        else:
            stream, input_ = cast("tuple[str, Input]", act.args)
        decided = self._memories.decide(memory, stream, input_)
        broken = self._promises.broken_by_decision(memory, decided, world)
        return decided.refused, decided.memory, world, broken


def _age_of(effect: Effect, age: int = SINCE_NOW) -> int:
    """What waits for the end of an hour begins with a pause."""
    return AT_REST if isinstance(effect, ForgetInvoice) else age


def _client(federation_id: str) -> Any:
    """The client of a federation, as far as the gateway's parts use it."""
    lightning: Any = StandInLnv2(federation_id)
    config: Any = SimpleNamespace(tpe_agg_pk=b"", tpe_pks={})
    modules = {
        LnV2: LnV2(facts.LIGHTNING_KEY, config, lightning),
        MintV2: StandInMint(federation_id),
    }
    return SimpleNamespace(
        federation_id=federation_id,
        index=0,
        core=StandInCore(),
        keys={},
        module=modules.__getitem__,
        config=SimpleNamespace(federation_name=lambda: "explored"),
    )


async def _collect(effect: CollectNotes) -> NotesCollected:
    """All notes, and valid: what lying guardians do is simulated, and not explored."""
    await later(Ask("guardians.notes", (effect.txid,), patient=True))
    return NotesCollected(notes=tuple(map(note_of, effect.issues)), lost_msat=0)
