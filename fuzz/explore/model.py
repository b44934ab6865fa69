"""A place of an exploration, and everything that may happen next."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

from fuzz.explore import facts, people
from fuzz.explore.jobs import SINCE_BEFORE, SINCE_NOW, Job, Jobs
from fuzz.explore.memory import Memories
from fuzz.explore.outside import Outside
from fuzz.explore.people import RESTORING
from fuzz.explore.promises import Promises
from fuzz.explore.scenes import Scene
from fuzz.explore.script import Ask, HandedIn, Raised, Spec, Until
from fuzz.explore.world import Bounds, Outcome, World
from statemachines.federation import Joined
from statemachines.federation import stream_of as federation_stream

#: Characters of an answer in a trace.
_TOLD_MAX = 70


class Place(NamedTuple):
    """All that counts for what may happen next: log, world and jobs, the first two by number."""

    memory: int
    world: int
    jobs: tuple[Job, ...]


class Step(NamedTuple):
    """Something that may happen: what it is, where it leads, what promises it breaks, and whether it is a fault.

    `what` is made into words only when somebody reads it.
    """

    what: tuple[object, ...]
    place: Place
    broken: tuple[str, ...] = ()
    is_fault: bool = False


class _Move(NamedTuple):
    """What one job or one person may do, whatever all others do meanwhile: the log and the world after it.

    `job` is where the job stands afterwards, or a new one; what streams want now begins at `age`.
    """

    what: tuple[object, ...]
    memory: int
    world: int
    job: Job | None = None
    broken: tuple[str, ...] = ()
    is_fault: bool = False
    age: int = SINCE_NOW


class Model:
    """All that may happen in one scene, within bounds."""

    def __init__(self, scene: Scene, bounds: Bounds) -> None:
        self.scene = scene
        self.bounds = bounds
        self._memories = Memories(facts.MACHINES)
        self._outside = Outside(scene.moments)
        self._people = people.People(scene, self._memories)
        self._promises = Promises(scene, self._memories, self._outside)
        self._jobs = Jobs(scene, self._memories, self._promises)
        self._worlds: list[World] = []
        self._world_numbers: dict[World, int] = {}
        #: Most places differ in one job from others: what the other jobs may do there is known.
        self._of_jobs: dict[tuple[int, int, Job], tuple[_Move, ...]] = {}
        self._of_people: dict[tuple[int, int, frozenset[str]], tuple[_Move, ...]] = {}

    def beginnings(self) -> Iterator[Place]:
        """Where all paths begin."""
        for memory, world in self.scene.begin(self._memories, self.bounds):
            yield Place(memory, self._numbered(world), ())

    def is_at_rest(self, place: Place) -> bool:
        """Whether nothing is under way any more."""
        return self._promises.is_at_rest(place.memory)

    def broken_at_rest(self, place: Place) -> tuple[str, ...]:
        """What is wrong with a place where nothing is under way."""
        return self._promises.broken_at_rest(place.memory, self._worlds[place.world])

    def steps(self, place: Place) -> Iterator[Step]:
        """Everything that may happen next.

        What a worker computes depends on nothing and nothing on it, so it is done first, and nothing else before it.
        """
        world = self._worlds[place.world]
        computing = next((job for job in place.jobs if self._jobs.is_computing(job)), None)
        if computing is not None:
            yield from self._by_job(place, computing)
            return
        for job in dict.fromkeys(place.jobs):
            yield from self._by_job(place, job)
        works = frozenset(self._jobs.work(job) for job in place.jobs)
        for move in self._moves_of_people(place, world, works):
            yield self._step(place, move)
        yield from self._of_time(place, world)
        if world.left.restores:
            yield from self._of_disk(place, world)
        if not world.is_up:
            yield self._started(place, world)
        elif world.left.crashes:
            yield from self._of_crash(place, world)

    def told(self, place: Place, step: Step) -> str:
        """A step from `place` in words."""
        return " ".join(map(_short, step.what)) + self._news(place.memory, step.place.memory)

    # --- work ---

    def _by_job(self, place: Place, job: Job) -> Iterator[Step]:
        known = self._of_jobs.get((place.memory, place.world, job))
        if known is None:
            world = self._worlds[place.world]
            known = tuple(self._moves_of_job(place, world, job))
            self._of_jobs[place.memory, place.world, job] = known
        for move in known:
            yield self._step(place, move, job)

    def _moves_of_job(self, place: Place, world: World, job: Job) -> Iterator[_Move]:
        operation = self._jobs.scripts.operation(job.node)
        match operation:
            case HandedIn():
                return
            case Ask():
                yield from self._asked(place, world, job, operation)
            case Until(stream, holds):
                if holds(self._memories.state(place.memory, stream)):
                    after = Job(self._jobs.scripts.after(job.node, None))
                    seen: tuple[object, ...] = self._jobs.name(job), "sees", stream
                    yield _Move(seen, place.memory, place.world, after)
            case _:
                run = self._jobs.go_on(place.memory, world, job)
                what = (self._jobs.name(job), "goes on")
                number, age = self._numbered(run.world), max(job.age, SINCE_NOW)
                yield _Move(what, run.memory, number, run.job, run.broken, age=age)

    def _asked(self, place: Place, world: World, job: Job, ask: Ask) -> Iterator[_Move]:
        for outcome in self._outside.outcomes(world, ask):
            answered = self._jobs.scripts.after(job.node, cast("Any", outcome.value))
            yield _Move(
                (self._jobs.name(job), "asks", f"{ask.call}:", outcome.what or outcome.value),
                place.memory,
                self._numbered(outcome.world),
                Job(answered, SINCE_NOW if ask.patient else max(job.age, SINCE_NOW)),
                self._promises.broken_outside(place.memory, world, outcome, ask),
                outcome.world.left != world.left,
            )

    # --- people, time and the process ---

    def _moves_of_people(
        self, place: Place, world: World, works: frozenset[str]
    ) -> tuple[_Move, ...]:
        key = place.memory, place.world, works
        known = self._of_people.get(key)
        if known is None:
            doings = self._people.doings(place.memory, world, works)
            known = (
                *(self._done(place.memory, world, doing) for doing in doings),
                *(
                    move
                    for call in dict.fromkeys(world.in_transit)
                    for move in self._arrives(place, call)
                ),
            )
            self._of_people[key] = known
        return known

    def _done(self, memory: int, world: World, doing: people.Doing) -> _Move:
        outcome = Outcome(None, doing.world, doing.what)
        broken = self._promises.broken_outside(memory, world, outcome, None)
        if doing.told:
            stream, input_ = doing.told
            request = self._jobs.begun(Spec("a request", stream, "", input_))
            run = self._jobs.go_on(memory, doing.world, request)
            broken, memory = broken + run.broken, run.memory
        job = self._jobs.begun(doing.work) if doing.work else None
        is_fault = doing.world.left != world.left
        return _Move((doing.what,), memory, self._numbered(doing.world), job, broken, is_fault)

    def _arrives(self, place: Place, call: Ask) -> Iterator[_Move]:
        """A call whose caller is gone reaches the node."""
        world = self._worlds[place.world]
        read = list(world.in_transit)
        read.remove(call)
        calm = world._replace(in_transit=tuple(read), left=world.left._replace(losses=0))
        for outcome in self._outside.outcomes(calm, call):
            after = outcome._replace(world=outcome.world._replace(left=world.left))
            broken = self._promises.broken_outside(place.memory, world, after, call)
            what = "a call in transit reaches the node:", outcome.value
            yield _Move(what, place.memory, self._numbered(after.world), None, broken)

    def _of_time(self, place: Place, world: World) -> Iterator[Step]:
        """The next moment comes; an HTLC that nobody answered is over at its deadline, an open invoice at its end."""
        if world.moment + 1 >= len(self.scene.moments):
            return
        moment = self.scene.moments[world.moment + 1]
        under_way = {job for job in place.jobs if self._jobs.is_under_way(job)}
        if under_way and not moment.is_near:
            return
        if any(job.age >= SINCE_BEFORE for job in under_way):
            return
        after = world._replace(moment=world.moment + 1)
        if moment.height >= facts.HTLC_DEADLINE_HEIGHT and world.htlc == "locked":
            after = after._replace(invoice="cancelled", htlc="over")
        if moment.unix_s > facts.INVOICE_EXPIRES_UNIX_S and world.invoice == "open":
            after = after._replace(invoice="cancelled")
        if world.record == "flying" and moment.height >= world.record_ends:
            after = after._replace(record="failed")
        jobs = [job._replace(age=SINCE_BEFORE) if job in under_way else job for job in place.jobs]
        yield Step(("time passes:", moment.what), self._place(place.memory, after, jobs))

    def _of_crash(self, place: Place, world: World) -> Iterator[Step]:
        """Whatever was under way is forgotten; a call to pay may still be read by the node."""
        left = world.left._replace(crashes=world.left.crashes - 1)
        down = world._replace(left=left, is_up=False, served=(), answered=())
        yield Step(("the process dies",), self._place(place.memory, down, []), is_fault=True)
        calls = self._calls(place)
        if calls:
            in_transit = down._replace(in_transit=(*down.in_transit, *calls))
            what = ("the process dies, and its call is in transit",)
            yield Step(what, self._place(place.memory, in_transit, []), is_fault=True)

    def _of_disk(self, place: Place, world: World) -> Iterator[Step]:
        """A backup is taken; what was written since is lost, and what was under way with it."""
        if world.backup != place.memory and world.is_up:
            kept = self._place(place.memory, world._replace(backup=place.memory), list(place.jobs))
            yield Step(("a backup is taken",), kept, is_fault=True)
        if world.backup in {-1, place.memory}:
            return
        left = world.left._replace(restores=world.left.restores - 1)
        lost = world._replace(left=left, is_up=False, served=(), answered=(), backup=-1)
        run = self._jobs.go_on(world.backup, lost, self._jobs.begun(Spec(RESTORING, "", "", "")))
        what = "the disk is lost, and the backup is restored in its place"
        yield Step((what,), self._place(run.memory, run.world, []), run.broken, is_fault=True)
        calls = self._calls(place)
        if calls:
            in_transit = lost._replace(in_transit=(*lost.in_transit, *calls))
            after = self._place(run.memory, in_transit, [])
            yield Step((what, "with a call in transit"), after, run.broken, is_fault=True)

    def _calls(self, place: Place) -> list[Ask]:
        """Calls to pay that are on their way."""
        operations = (self._jobs.scripts.operation(job.node) for job in place.jobs)
        return [one for one in operations if isinstance(one, Ask) and one.call == "node.pay"]

    def _started(self, place: Place, world: World) -> Step:
        """It opens what the log says it serves, and resumes what is wanted."""
        memory = place.memory
        served = tuple(
            one
            for one in self.scene.federations
            if isinstance(self._memories.state(memory, federation_stream(one)), Joined)
        )
        up = world._replace(is_up=True, served=served)
        return Step(("the process starts",), self._place(memory, up, self._jobs.resumed(memory)))

    # --- places ---

    def _step(self, place: Place, move: _Move, before: Job | None = None) -> Step:
        """The place that a move leads to, with the jobs that all streams want there."""
        jobs = list(place.jobs)
        if before is not None:
            jobs.remove(before)
        if move.job is not None:
            jobs.append(move.job)
        if move.memory != place.memory:
            jobs = self._jobs.wanted(move.memory, jobs, move.age)
        jobs.sort()
        after = Place(move.memory, move.world, tuple(jobs))
        return Step(move.what, after, move.broken, move.is_fault)

    def _place(self, memory: int, world: World, jobs: list[Job]) -> Place:
        jobs.sort()
        return Place(memory, self._numbered(world), tuple(jobs))

    def _numbered(self, world: World) -> int:
        number = self._world_numbers.get(world)
        if number is None:
            number = self._world_numbers[world] = len(self._worlds)
            self._worlds.append(world)
        return number

    def _news(self, before: int, after: int) -> str:
        """The streams that moved, in words."""
        if before == after:
            return ""
        states = self._memories.states(before)
        moved = [
            f"{stream.partition('/')[0]} is {type(state).__name__}"
            for stream, state in self._memories.states(after).items()
            if states.get(stream) is not state
        ]
        return ": " + ", ".join(moved)


def _short(value: object) -> str:
    if isinstance(value, Raised):
        return value.error.__name__
    told = type(value).__name__ if isinstance(value, msgspec.Struct) else str(value)
    return told if len(told) < _TOLD_MAX else f"{told[:_TOLD_MAX]}…"
