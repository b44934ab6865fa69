"""How many one-line mutants of the rules the tests and the simulation miss: `nox -s mutation`.

mutmut writes a copy of the project in which every function has its mutants beside it, and the environment variable
MUTANT_UNDER_TEST names the one that is called. There are more than anybody has patience for, so a sample is drawn.

    generate            write the copy `mutants/` (in a clone of the repository: it belongs to nobody's work)
    draw                print the sample, the same for everybody who has the same commit
    reach TESTS…        play tests once, and note which functions each of them reaches
    units               play for every mutant of the sample those tests that reach it, until one fails
    seeds NAMES…        play for every mutant named the first seeds, until one fails
    show NAMES…         print what a mutant changes
"""

import ast
import difflib
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

COPY = Path("mutants")
#: Outside the copy, since tests look at what lies in it.
REACHED = Path("reached.jsonl")
#: The sample: its seed, and how many mutants of the rules and of the node.
SEED, RULES, NODE = 9, 250, 60
#: A mutant that its tests have not ended after this many seconds counts as caught: it hangs.
LIMIT_S = 600
SEEDS = 300
_ORIGINAL = "__mutmut_orig"


def generate() -> None:
    """Everything that mutmut does before it looks for tests."""
    from mutmut import __main__ as mutmut  # noqa: PLC0415 - only the session installs it

    mutmut.set_mutant_under_test("mutant_generation")
    COPY.mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(os.cpu_count() or 1)


def draw() -> list[str]:
    """The sample: of the rules, and of the node apart."""
    rules = _names(COPY.glob("statemachines/*.meta")) + _names(COPY.glob("gateway/*.meta"))
    node = _names(COPY.glob("backends/lnd/*.meta"))
    # Everybody shall draw the same, and nobody is kept from guessing it.
    return [
        *random.Random(SEED).sample(rules, RULES),
        *random.Random(SEED).sample(node, NODE),
    ]


def _names(metas: Iterator[Path]) -> list[str]:
    return [
        name
        for meta in sorted(metas)
        for name in sorted(json.loads(meta.read_text())["exit_code_by_key"])
    ]


def show(name: str) -> Iterator[str]:
    """The lines that a mutant takes out and puts in."""
    module, _, function = name.rpartition(".")
    text = (COPY / f"{module.replace('.', '/')}.py").read_text()
    lines = text.splitlines()
    bodies = {
        node.name: lines[node.lineno : node.end_lineno]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    original = bodies[function.rpartition("__mutmut_")[0] + _ORIGINAL]
    for line in difflib.unified_diff(original, bodies[function], lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")):
            yield line


# --- unit tests ----------------------------------------------------------------------------------------------------


class _Reach:
    """Notes for each test how long it took, and which mutated functions it called."""

    def __init__(self) -> None:
        from mutmut.mutation import trampoline  # noqa: PLC0415 - only the session installs it

        self._called: set[str] = set()
        trampoline.record_trampoline_hit = lambda name, caller=None: self._called.add(name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._called.clear()
        begin_s = time.process_time()
        result = yield
        took_s = time.process_time() - begin_s
        with (Path("..") / REACHED).open("a") as out:
            out.write(json.dumps([item.nodeid, took_s, sorted(self._called)]) + "\n")
        return result


def reach(tests: Sequence[str]) -> int:
    """Play tests as they are, and note what they reach; exit code of pytest."""
    _enter_copy()
    os.environ["MUTANT_UNDER_TEST"] = "stats"
    return pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[_Reach()])


def units() -> None:
    """A line for each mutant of the sample: caught, LIVES, or NOT REACHED by any test."""
    took_s: dict[str, float] = {}
    reaching: defaultdict[str, list[str]] = defaultdict(list)
    for line in REACHED.read_text().splitlines():
        test, seconds, functions = json.loads(line)
        took_s[test] = seconds
        for function in functions:
            reaching[function].append(test)
    sample = draw()
    _enter_copy()
    for name in sample:
        tests = sorted(reaching[name.rpartition("__mutmut_")[0]], key=lambda test: took_s[test])
        caught = bool(tests) and _is_caught(name, lambda chosen=tests: _fail(chosen))  # type: ignore[misc]
        print("caught" if caught else "LIVES" if tests else "NOT REACHED", name, flush=True)


def _fail(tests: Sequence[str]) -> bool:
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-m", "", *tests]) != 0


# --- the simulation ------------------------------------------------------------------------------------------------


def seeds(names: Sequence[str]) -> None:
    """A line for each mutant: caught, or LIVES through the first seeds."""
    _enter_copy()
    from fuzz.simulation import play  # noqa: PLC0415 - of the copy
    from fuzz.simulation.judging import successes  # noqa: PLC0415 - same

    def notice() -> bool:
        counts: Counter[str] = Counter()
        for seed in range(SEEDS):
            played = play.play(seed)
            if played.problems:
                return True
            counts.update(played.counts)
        return bool(successes.too_few(counts))

    for name in names:
        print("caught" if _is_caught(name, notice) else "LIVES", name, flush=True)


# --- both ----------------------------------------------------------------------------------------------------------


def _enter_copy() -> None:
    """From now on modules of the copy are imported, with no mutant called."""
    os.environ["MUTANT_UNDER_TEST"] = ""
    os.chdir(COPY)
    sys.path.insert(0, str(Path.cwd()))


def _is_caught(name: str, notice: Callable[[], bool]) -> bool:
    """Whether a process that calls the mutant notices it, ends by it, or hangs."""
    child = os.fork()
    if child == 0:
        os.environ["MUTANT_UNDER_TEST"] = name
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = 1
        try:
            code = int(notice())
        finally:
            os._exit(code)
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(task: str, *arguments: str) -> int:
    """Do one of the tasks above; exit code."""
    match task:
        case "generate":
            generate()
        case "draw":
            print("\n".join(draw()))
        case "reach":
            return reach(arguments)
        case "units":
            units()
        case "seeds":
            seeds(arguments)
        case "show":
            print(*(f"{name}\n" + "\n".join(show(name)) for name in arguments), sep="\n")
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ("help",)))
