"""Grinds mintv2 tweaks, also as a small program that a gateway runs beside itself.

A tweak names a note. Recovery from the mnemonic recognises a client's own notes by their tweaks: the
sha256 of tweak and filter starts with two zero bytes (fedimint-mintv2-client src/issuance.rs), so
each takes about 65,536 hashes. The federation does not check this; a note whose tweak fails the
filter is valid but lost to recovery.

`python -m fedimint.mintv2.tweaks` reads the filter as hex from the first line of its input, then answers
each further line with one tweak in hex, until the input ends. The filter is private: anybody who knows it
can tell this client's notes from others'. So it never appears among the arguments.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from errors import GatewayError, InputError, UnavailableError
from fedimint.crypto.secrets import FILTER_SIZE, TWEAK_SIZE

_LOWEST_PRIORITY: Final = 19
#: How the hash of a tweak that meets the filter begins; simulations make do with less.
ZEROS: Final = b"\0\0"
_TWEAK_COUNT: Final = 1 << 8 * TWEAK_SIZE
#: Of one call: 15 ms in Python, 1.5 in the native part, more where others need the processor.
TRIES_PER_CALL: Final = 1 << 14

#: Searches so many tweaks of a filter from a start on, as `find` does: filter, start, tries.
FindTweak = Callable[[bytes, bytes, int], bytes | None]


def meets_filter(tweak: bytes, tweak_filter: bytes) -> bool:
    """Whether recovery will take a note with this tweak for one of this client."""
    return hashlib.sha256(tweak + tweak_filter).digest().startswith(ZEROS)


def find(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None:
    """The first of so many tweaks from `start` upwards that meets the filter; None when none does.

    After the largest tweak comes zero. Raises InputError for wrong sizes.
    """
    if len(tweak_filter) != FILTER_SIZE or len(start) != TWEAK_SIZE:
        raise InputError(f"a tweak filter has {FILTER_SIZE} bytes, a start {TWEAK_SIZE}")
    first = int.from_bytes(start, "big")
    for candidate in range(first, first + tries):
        tweak = (candidate % _TWEAK_COUNT).to_bytes(TWEAK_SIZE, "big")
        if meets_filter(tweak, tweak_filter):
            return tweak
    return None


def ask_native(
    find_tweak: FindTweak, tweak_filter: bytes, start: bytes, tries: int
) -> bytes | None:
    """The answer of a search of the native part. Raises UnavailableError when that failed."""
    from fedimint_gateway_native import NativeError  # noqa: PLC0415 - may be missing

    try:
        return find_tweak(tweak_filter, start, tries)
    except NativeError as error:
        raise UnavailableError(f"grinding a tweak failed ({error}); it is tried again") from error


def find_natively(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None:
    """As `find`, ten times as fast, by the native part.

    Raises ImportError where that is missing, and UnavailableError when it failed.
    """
    from fedimint_gateway_native.accel import find_tweak_now  # noqa: PLC0415 - may be missing

    return ask_native(find_tweak_now, tweak_filter, start, tries)


def quickest() -> FindTweak:
    """`find_natively` where the native part is installed, else `find`."""
    try:
        find_natively(bytes(FILTER_SIZE), bytes(TWEAK_SIZE), 0)
    except ImportError:  # gatewayd says at start that it is missing, and what that costs
        return find
    return find_natively


def grind(tweak_filter: bytes, start: bytes, find: FindTweak = find) -> bytes:
    """The first of the tweaks from `start` upwards that meets the filter.

    The start, 16 bytes, must be fresh randomness for every tweak: a tweak used twice for one
    denomination makes a worthless note, and related ones show the federation whose they are.
    Raises InputError for wrong sizes, and whatever `find` raises.
    """
    while True:
        tweak = find(tweak_filter, start, TRIES_PER_CALL)
        if tweak is not None:
            return tweak
        after = (int.from_bytes(start, "big") + TRIES_PER_CALL) % _TWEAK_COUNT
        start = after.to_bytes(TWEAK_SIZE, "big")


def decode_filter(text: str) -> bytes:
    """The filter from its hex form. Raises InputError, which does not repeat the text."""
    try:
        tweak_filter = bytes.fromhex(text)
    except ValueError:
        tweak_filter = b""
    if len(tweak_filter) != FILTER_SIZE:
        raise InputError(f"the first line must be a tweak filter of {FILTER_SIZE} bytes in hex")
    return tweak_filter


def serve(requests: Iterable[str], answers: TextIO, random_bytes: Callable[[int], bytes]) -> None:
    """Answer every line after the first with a tweak. Raises InputError for a bad filter."""
    lines = iter(requests)
    tweak_filter = decode_filter(next(lines, ""))
    for _ in lines:
        answers.write(grind(tweak_filter, random_bytes(TWEAK_SIZE)).hex() + "\n")
        answers.flush()


def main() -> int:
    """Run as a program; the exit status."""
    os.nice(_LOWEST_PRIORITY)
    try:
        serve(sys.stdin, sys.stdout, os.urandom)
    except GatewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        # The caller is gone, and nothing is lost: an unread tweak was never used.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
