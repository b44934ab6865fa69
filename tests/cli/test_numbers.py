"""Numbers on every command line: decimal digits, or a sentence."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from cyclopts import App, CycloptsError

from cli.fuzz.commands import fuzz_app
from cli.gateway_cli import program as gateway_cli
from cli.gatewayd import program as gatewayd
from cli.log.commands import log_app
from cli.numbers import (
    DecimalNumber,
    MaybeWholeNumber,
    NumberedChoice,
    WholeNumber,
    decimal_number,
    numbered_choice,
    whole_number,
)
from cli.world.demo import demo_app
from cli.world.dev import dev_app

app = App(name="numbers", result_action="return_value")


@app.command
def whole(number: WholeNumber, /, *, more: MaybeWholeNumber = None) -> int:
    return number + (more or 0)


@app.command
def decimal(*, seconds: DecimalNumber = 1) -> float:
    return seconds


@app.command
def choice(*, many: Annotated[Literal[1, 4], NumberedChoice] = 1) -> int:
    return many


def run(words: str) -> object:
    return app(words.split(), exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("whole 0", 0),
        ("whole 0016", 16),
        ("whole +5", 5),
        ("whole 18446744073709551615", 2**64 - 1),
        ("whole 1 --more 2", 3),
        ("decimal --seconds 2", 2.0),
        ("decimal --seconds 0.5", 0.5),
        ("decimal --seconds .5", 0.5),
        ("choice --many 4", 4),
    ],
)
def test_digits_are_read(words: str, number: float) -> None:
    assert run(words) == number


WRONG = ("1000.4", "1.0", "0x10", "0b1", "1_000", "1e3", "1,5", "-1", "½", "٣", "nan", "inf", "two")


@pytest.mark.parametrize("text", WRONG)
def test_what_would_be_rounded_or_guessed_is_refused_with_a_sentence(text: str) -> None:
    words = [f"whole {text}", f"whole 1 --more={text}", f"choice --many={text}"]
    for line in words:
        with pytest.raises(CycloptsError, match="no whole number in digits, such as 2") as refused:
            run(line)
        assert repr(text) in str(refused.value)
    assert "--more" in str(_refusal(words[1]))
    if text not in {"1000.4", "1.0"}:
        with pytest.raises(CycloptsError, match="no number in digits, such as 2 or "):
            run(f"decimal --seconds={text}")


def _refusal(words: str) -> CycloptsError:
    with pytest.raises(CycloptsError) as refused:
        run(words)
    return refused.value


def test_another_number_than_the_choices_is_refused() -> None:
    with pytest.raises(CycloptsError, match="2 is not one of 1, 4"):
        run("choice --many 2")


def _commands(app: App) -> Iterator[App]:
    """The app and all that is below it, loaded."""
    yield app
    for name in app:
        if not name.startswith("-"):
            yield from _commands(app[name])


def _numeric(hint: Any) -> bool:
    """Whether a number is meant: alone, or None, or one of some."""
    if get_origin(hint) is Literal:
        return any(type(value) is int for value in get_args(hint))
    if get_origin(hint) in {Union, types.UnionType}:
        return any(map(_numeric, get_args(hint)))
    return hint in {int, float}


def test_every_number_of_both_programs_is_read_so() -> None:
    found = []
    for root in (gateway_cli.app, gatewayd.app, log_app, fuzz_app, dev_app, demo_app):
        for command in _commands(root):
            if command.default_command is None:
                continue
            for argument in command.assemble_argument_collection():
                if _numeric(argument.hint):
                    found.append(argument.name)
                    assert argument.parameter.converter in {
                        whole_number,
                        decimal_number,
                        numbered_choice,
                    }, f"annotate {argument.name} with a number of cli/numbers.py"
    assert {"--fee-rate-sats-per-vbyte", "--ln-ppm", "--limit", "--seeds", "--guardians"} <= set(
        found
    )
