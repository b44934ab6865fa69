"""Numbers on a command line: decimal digits, never rounded; anything else is refused with a sentence."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from cyclopts import Parameter, Token

_WHOLE = re.compile(r"\+?[0-9]{1,20}")
_DECIMAL = re.compile(r"\+?([0-9]{1,15}(\.[0-9]*)?|\.[0-9]+)")


def whole_number(_: Any, tokens: Sequence[Token]) -> int:
    """Read digits alone. Raises ValueError, which the command line shows behind the name of the flag."""
    text = tokens[0].value
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no whole number in digits, such as 2; nothing is rounded")
    return int(text)


def decimal_number(_: Any, tokens: Sequence[Token]) -> float:
    """Read digits, perhaps with a point. Raises ValueError."""
    text = tokens[0].value
    if _DECIMAL.fullmatch(text) is None or not math.isfinite(float(text)):
        raise ValueError(f"{text!r} is no number in digits, such as 2 or 0.5")
    return float(text)


def numbered_choice(choices: Any, tokens: Sequence[Token]) -> int:
    """Read one of the numbers of a Literal. Raises ValueError."""
    number = whole_number(choices, tokens)
    if number not in get_args(choices):
        raise ValueError(f"{number} is not one of {', '.join(map(str, get_args(choices)))}")
    return number


WholeNumber = Annotated[int, Parameter(converter=whole_number)]
MaybeWholeNumber = Annotated[int | None, Parameter(converter=whole_number)]
DecimalNumber = Annotated[float, Parameter(converter=decimal_number)]
MaybeDecimalNumber = Annotated[float | None, Parameter(converter=decimal_number)]
NumberedChoice = Parameter(converter=numbered_choice)
