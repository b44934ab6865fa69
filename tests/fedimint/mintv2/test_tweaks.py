"""Grinding tweaks, also as a program."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from errors import InputError
from fedimint.mintv2 import tweaks

FILTER = bytes(range(32))
ROOT = Path(__file__).parents[3]


def test_grinding_finds_the_first_that_meets_the_filter() -> None:
    tweak = tweaks.grind(FILTER, bytes(16))
    assert tweaks.meets_filter(tweak, FILTER)
    found = int.from_bytes(tweak, "big")
    assert not any(
        tweaks.meets_filter(number.to_bytes(16, "big"), FILTER)
        for number in range(max(0, found - 1000), found)
    )
    assert tweaks.grind(FILTER, tweak) == tweak


def test_grinding_wraps_around_at_the_largest_tweak() -> None:
    assert tweaks.grind(FILTER, b"\xff" * 16) == tweaks.grind(FILTER, bytes(16))


def test_another_filter_does_not_know_the_tweak() -> None:
    assert not tweaks.meets_filter(tweaks.grind(FILTER, bytes(16)), bytes(32))


@pytest.mark.parametrize(("filter_size", "start_size"), [(31, 16), (32, 15), (0, 0)])
def test_wrong_sizes_are_refused(filter_size: int, start_size: int) -> None:
    with pytest.raises(InputError):
        tweaks.grind(bytes(filter_size), bytes(start_size))


def test_every_request_is_answered_from_fresh_randomness() -> None:
    starts = iter([b"\x01" * 16, b"\x02" * 16])
    answers = io.StringIO()
    tweaks.serve([FILTER.hex() + "\n", "\n", "\n"], answers, lambda _size: next(starts))
    expected = [tweaks.grind(FILTER, start * 16).hex() for start in (b"\x01", b"\x02")]
    assert answers.getvalue().split() == expected


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "not a filter"])
def test_a_bad_filter_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InputError) as raised:
        tweaks.serve([text], io.StringIO(), bytes)
    assert not text or text not in str(raised.value)


def _run(stdin: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fedimint.mintv2.tweaks"]
    return subprocess.run(
        command, input=stdin, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_program_answers_until_its_input_ends() -> None:
    done = _run(f"{FILTER.hex()}\n\n\n")
    assert (done.returncode, done.stderr) == (0, "")
    found = [bytes.fromhex(line) for line in done.stdout.split()]
    assert len(set(found)) == 2
    assert all(tweaks.meets_filter(tweak, FILTER) for tweak in found)


def test_the_program_says_what_is_wrong_with_the_filter() -> None:
    done = _run("beef\n\n")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("the first line must be a tweak filter")


def test_without_the_native_part_python_is_the_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fedimint_gateway_native", None)
    assert tweaks.quickest() is tweaks.find
