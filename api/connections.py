"""Makes room when every connection is taken: idle connections are closed, waiting callers never."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)


class Connections(Generic[C]):
    """What the connections of one application are doing.

    One of them is in use only while its request, read as a whole, is being answered, and those are bounded by
    the gates of `limits.py`. All others cost a stranger nothing, so they must not keep anybody out.
    """

    def __init__(self) -> None:
        self._answering: set[C] = set()
        self._answered: set[C] = set()

    @contextmanager
    def answering(self, connection: C) -> Iterator[None]:
        """Keep the connection for the length of the block."""
        self._answering.add(connection)
        try:
            yield
        finally:
            self._answering.discard(connection)
            self._answered.add(connection)

    def least_needed(self, opened: Sequence[C]) -> C | None:
        """Of all open ones, the oldest first: one that never asked for anything, else one between two requests.

        None when each is in use.
        """
        self.forget_closed(opened)
        idle = [one for one in opened if one not in self._answering]
        silent = (one for one in idle if one not in self._answered)
        return next(silent, idle[0] if idle else None)

    def forget_closed(self, opened: Sequence[C]) -> None:
        """Remember nothing of connections that are gone."""
        self._answered.intersection_update(opened)
