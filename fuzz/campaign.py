"""Runs targets over seeds, saves failures as files, and replays such a file.

A case is a target and the bytes that its value is drawn from, by which Hypothesis makes a run a function of bytes
(`fuzz_one_input`, which coverage-guided fuzzers call too). A file may be played by another version: the same bytes
then mean the same value as long as the target's strategy stays.
"""

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings

from errors import InputError, NotFoundError
from fuzz.targets import Target

#: Longer draws are cut off by Hypothesis anyway.
CASE_BYTES_MAX = 4_096
SHRINK_TRIES = 400
#: One value takes milliseconds; one that takes this long hangs.
HANG_S = 60.0

_SETTINGS = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))


class HungError(AssertionError):
    """One value took longer than any may."""


class Case(msgspec.Struct, frozen=True):
    """A value that breaks its target's property; `drawn_from` is hex."""

    target: str
    seed: int
    drawn_from: str
    error: str
    trace: str

    def write(self, folder: Path) -> Path:
        """Write it as a JSON file that `read` takes, and return where."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.target.replace('/', '-').replace(' ', '-')}-{self.seed}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        return path

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Raises InputError for a file that is none."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise InputError(f"{path} is no case that this program wrote: {error}") from None


def chosen(targets: Mapping[str, Target], names: Sequence[str]) -> Mapping[str, Target]:
    """The targets of these names or beginnings of names; all when there are none. Raises NotFoundError."""
    for name in names:
        if not any(each.startswith(name) for each in targets):
            kinds = sorted({each.partition("/")[0] for each in targets})
            raise NotFoundError(f"no scenario {name}; their names begin with {', '.join(kinds)}")
    return {
        name: target
        for name, target in targets.items()
        if not names or any(name.startswith(each) for each in names)
    }


def run(targets: Mapping[str, Target], seeds: range, *, deadline_s: float) -> Iterator[Case | None]:
    """Play every target with one seed after the other, until `time.monotonic()` is at the deadline.

    Yields None for a value that holds, and a case, made small, for one that does not; its target is not played again.
    """
    failed: set[str] = set()
    for seed in seeds:
        for name, target in targets.items():
            if time.monotonic() >= deadline_s or len(failed) == len(targets):
                return
            if name in failed:
                continue
            case = _play(name, target, seed)
            if case is not None:
                failed.add(name)
            yield case


def replay(target: Target, case: Case) -> Case | None:
    """Play a case again: what is wrong now, or None when the property holds."""
    return _failure(target, case.target, case.seed, bytes.fromhex(case.drawn_from))


def _play(name: str, target: Target, seed: int) -> Case | None:
    random = Random(f"{name} {seed}")
    drawn_from = random.randbytes(random.randrange(CASE_BYTES_MAX))
    case = _failure(target, name, seed, drawn_from)
    return case if case is None else _shrunk(target, case, random)


def _failure(target: Target, name: str, seed: int, drawn_from: bytes) -> Case | None:
    @_SETTINGS
    @given(target.values)
    def holds(value: Any) -> None:
        target.check(value)

    one: Callable[[bytes], object] = holds.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    try:
        with _no_longer_than(HANG_S):
            one(drawn_from)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what we look for
        kind = f"{type(error).__name__}: {error}"
        return Case(name, seed, drawn_from.hex(), kind, "".join(traceback.format_exception(error)))
    return None


def _shrunk(target: Target, case: Case, random: Random) -> Case:
    """The same kind of failure from fewer bytes, as far as so many tries bring it."""
    kind = case.error.partition(":")[0]
    for _ in range(SHRINK_TRIES):
        data = bytes.fromhex(case.drawn_from)
        if not data:
            break
        start = random.randrange(len(data))
        size = random.choice((1, 8, 64, len(data)))
        filling = random.choice((b"", bytes(len(data[start : start + size]))))
        smaller = data[:start] + filling + data[start + size :]
        again = _failure(target, case.target, case.seed, smaller)
        if again is not None and again.error.partition(":")[0] == kind:
            case = again
    return case


@contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    """Raises HungError inside. For the main thread."""

    def hang(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise HungError(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
