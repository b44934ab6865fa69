"""Asks all guardians of a federation at once, and decides what counts as the federation's answer.

The strategies of fedimint-api-client/src/query.rs and src/api/mod.rs. A guardian may be dead, slow or
lying; none of these may delay an answer that a threshold of the others gives, and no loop runs without
sleeping, whatever a guardian answers.
"""

import contextlib
import random
import reprlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import anyio

from errors import GatewayError, InputError, PeerError, UnavailableError
from fedimint.client.transport import (
    GUARDIAN_ERRORS,
    GuardianConnection,
    GuardianProtocolError,
    GuardianTimeout,
    cut,
)
from fedimint.codec.wire_types import PeerId, threshold

FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 10.0
DISAGREEMENT_ROUNDS: Final = 10
FAILURES_MAX_CHARS: Final = 2_000

T = TypeVar("T")

Decode = Callable[[object], T]
"""From a result's JSON builtins to a value. A PeerError or InputError is the guardian's failure."""
Check = Callable[[PeerId, object], Awaitable[T]]
"""As `Decode`, for an answer that is checked against its guardian, perhaps in a worker."""


class FederationUnavailable(UnavailableError):  # noqa: N818 - a state of the federation
    """So many guardians failed that no threshold can form. `failures` says how each did."""

    def __init__(self, method: str, failures: Mapping[PeerId, GatewayError]) -> None:
        self.failures = dict(failures)
        listed = "; ".join(
            f"guardian {peer}: {cut(str(error))}" for peer, error in sorted(failures.items())
        )
        # As many open payments may wait for the same guardians, and each shows it.
        told = cut(listed, FAILURES_MAX_CHARS) or "there are none"
        super().__init__(f"too few guardians answered {method} ({told})")


class FederationDisagrees(PeerError):  # noqa: N818 - a state of the federation
    """Enough guardians answered, but no threshold of them the same."""

    def __init__(self, method: str, answers: Mapping[PeerId, object]) -> None:
        self.answers = dict(answers)
        # reprlib looks at the beginning alone, and an answer may have megabytes.
        groups = Counter(reprlib.repr(answer)[:60] for answer in answers.values())
        listed = ", ".join(f"{count} said {answer}" for answer, count in groups.most_common())
        super().__init__(f"guardians do not agree on {method}: {listed}")


def _unreported(peer: PeerId, method: str, error: GatewayError) -> None:
    del peer, method, error


@dataclass(frozen=True)
class Guardians:
    """All guardians of one federation, also the unreachable ones, and the pace of retries.

    `sleep_s` and `jitter` (numbers in [0, 1)) are replaced in simulations. `report` hears of each
    guardian's failures and must not raise.
    """

    connections: Mapping[PeerId, GuardianConnection]
    sleep_s: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[], float] = random.random
    report: Callable[[PeerId, str, GatewayError], None] = _unreported

    def __post_init__(self) -> None:
        if not self.connections:
            raise InputError("a federation has at least one guardian")

    @property
    def threshold(self) -> int:
        """How many guardians speak for the federation."""
        return threshold(len(self.connections))

    @property
    def max_failures(self) -> int:
        """How many guardians may fail while a threshold can still form."""
        return len(self.connections) - self.threshold


async def threshold_consensus(
    guardians: Guardians, method: str, params: object, decode: Decode[T]
) -> T:
    """Ask until a threshold gave equal values, without limit; others are asked again in between."""
    question = _Question(guardians, method, params, _on_its_own(decode))
    ballot: _Ballot[T] = _Ballot(guardians.threshold)

    async def poll(peer: PeerId, done: anyio.CancelScope) -> None:
        pace = _Pace(guardians)
        while not ballot.cast(peer, await question.ask_until_good(peer, pace)):
            await ballot.round_ends()
            await pace.wait()
            ballot.withdraw(peer)
        done.cancel()

    await _each(guardians, poll)
    return ballot.winner()


async def threshold_consensus_or_fail(
    guardians: Guardians, method: str, params: object, decode: Decode[T]
) -> T:
    """As `threshold_consensus`, but a guardian's failure is final, and so is lasting disagreement.

    Raises FederationUnavailable once more guardians failed than a threshold can spare, and
    FederationDisagrees when `DISAGREEMENT_ROUNDS` rounds (about half a minute) brought no agreement.
    """
    question = _Question(guardians, method, params, _on_its_own(decode))
    return await _vote(question, rounds=DISAGREEMENT_ROUNDS)


async def threshold_agreement(
    guardians: Guardians, method: str, params: object, decode: Decode[T]
) -> T:
    """Ask each guardian once, for values that lagging guardians never converge on (fee quotes).

    Raises FederationDisagrees when a threshold answered without agreeing, and
    FederationUnavailable when fewer than a threshold answered at all.
    """
    question = _Question(guardians, method, params, _on_its_own(decode))
    return await _vote(question, rounds=1)


async def filter_map(guardians: Guardians, method: str, params: object, decode: Decode[T]) -> T:
    """Ask each guardian once and return the first answer that `decode` accepts.

    Raises FederationUnavailable when none was accepted.
    """
    question = _Question(guardians, method, params, _on_its_own(decode))
    accepted: list[T] = []
    failures: dict[PeerId, GatewayError] = {}

    async def poll(peer: PeerId, done: anyio.CancelScope) -> None:
        try:
            accepted.append(await question.ask(peer))
        except _PeerFailed as failed:
            failures[peer] = failed.error
        else:
            done.cancel()

    await _each(guardians, poll)
    if accepted:
        return accepted[0]
    raise FederationUnavailable(method, failures)


async def in_turn(
    guardians: Guardians, method: str, params: object, check: Check[T], *, timeout_s: float
) -> T:
    """Ask one guardian after another, without limit, and return the first answer that passed `check`.

    For answers so large that one is enough to carry. Each guardian, check included, has `timeout_s`;
    which one is first is chance, so that many questions spread.
    """
    question = _Question(guardians, method, params, check)
    pace = _Pace(guardians)
    peers = sorted(guardians.connections)
    first = int(guardians.jitter() * len(peers))
    while True:
        for peer in peers[first:] + peers[:first]:
            with anyio.move_on_after(timeout_s), contextlib.suppress(_PeerFailed):
                return await question.ask(peer)
        await pace.wait()


async def filter_map_threshold(
    guardians: Guardians, method: str, params: object, check: Check[T]
) -> dict[PeerId, T]:
    """Ask until exactly a threshold of answers passed `check`, one per guardian, without limit."""
    question = _Question(guardians, method, params, check)
    accepted: dict[PeerId, T] = {}

    async def poll(peer: PeerId, done: anyio.CancelScope) -> None:
        answer = await question.ask_until_good(peer, _Pace(guardians))
        if len(accepted) < guardians.threshold:
            accepted[peer] = answer
        if len(accepted) == guardians.threshold:
            done.cancel()

    await _each(guardians, poll)
    return accepted


async def ask_each(
    guardians: Guardians, method: str, params: object, decode: Decode[T], *, timeout_s: float
) -> dict[PeerId, T | GatewayError]:
    """Ask each guardian once and return what each said or how it failed, within `timeout_s`."""
    question = _Question(guardians, method, params, _on_its_own(decode))
    outcomes: dict[PeerId, T | GatewayError] = {}

    async def poll(peer: PeerId, done: anyio.CancelScope) -> None:
        del done
        outcomes[peer] = GuardianTimeout(f"no answer within {timeout_s} s")
        with anyio.move_on_after(timeout_s):
            try:
                outcomes[peer] = await question.ask(peer)
            except _PeerFailed as failed:
                outcomes[peer] = failed.error

    await _each(guardians, poll)
    return outcomes


class _PeerFailed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, error: GatewayError) -> None:
        super().__init__(error)
        self.error = error


class _Ballot(Generic[T]):
    """The answer of each guardian until it is asked again, since what was true may have passed.

    A round ends when a threshold answered in it.
    """

    def __init__(self, needed: int) -> None:
        self.answers: dict[PeerId, T] = {}
        self._needed = needed
        self._winners: list[T] = []
        self._in_round = 0
        self._round_over = anyio.Event()
        self._is_last = False

    def cast(self, peer: PeerId, answer: T) -> bool:
        """Return whether the federation's answer stands."""
        if self._winners:
            return True
        self.answers[peer] = answer
        if sum(other == answer for other in self.answers.values()) >= self._needed:
            self._winners.append(answer)
        return self.is_decided

    def withdraw(self, peer: PeerId) -> None:
        """Forget the guardian's answer."""
        del self.answers[peer]

    async def round_ends(self) -> None:
        """Wait until a threshold, the caller among them, answered in this round."""
        if self._is_last:
            return
        self._in_round += 1
        if self._in_round < self._needed:
            await self._round_over.wait()
            return
        self._round_over.set()
        self._round_over = anyio.Event()
        self._in_round = 0

    def close_rounds(self) -> None:
        """Let nobody wait for others any more, since one of them will not come back."""
        self._is_last = True
        self._round_over.set()

    @property
    def is_decided(self) -> bool:
        return bool(self._winners)

    def winner(self) -> T:
        return self._winners[0]


class _Pace:
    """Growing pauses between the questions to one guardian: Fibonacci from 250 ms to 10 s."""

    def __init__(self, guardians: Guardians) -> None:
        self._guardians = guardians
        self.reset()

    def reset(self) -> None:
        self._pause_s = self._next_pause_s = FIRST_PAUSE_S

    async def wait(self) -> None:
        pause_s = self._pause_s
        self._pause_s = self._next_pause_s
        self._next_pause_s = min(MAX_PAUSE_S, pause_s + self._next_pause_s)
        await self._guardians.sleep_s(pause_s * (0.75 + self._guardians.jitter() / 2))


def _on_its_own(decode: Decode[T]) -> Check[T]:
    async def check(peer: PeerId, result: object) -> T:
        del peer
        return decode(result)

    return check


@dataclass(frozen=True)
class _Question(Generic[T]):
    guardians: Guardians
    method: str
    params: object
    check: Check[T]

    async def ask(self, peer: PeerId) -> T:
        """Ask one guardian once. Its failure is _PeerFailed; any other error is ours."""
        try:
            result = await self.guardians.connections[peer].request(self.method, self.params)
        except GUARDIAN_ERRORS as error:
            self.guardians.report(peer, self.method, error)
            raise _PeerFailed(error) from error
        try:
            return await self.check(peer, result)
        except (PeerError, InputError) as error:
            refused = (
                error if str(error) == cut(str(error)) else GuardianProtocolError(cut(str(error)))
            )
            self.guardians.report(peer, self.method, refused)
            raise _PeerFailed(refused) from error

    async def ask_until_good(self, peer: PeerId, pace: _Pace) -> T:
        while True:
            try:
                return await self.ask(peer)
            except _PeerFailed as failed:
                # A long poll that the server cut is no failure, so the pauses do not grow. There
                # is one nevertheless: a guardian that cuts at once must not make us spin.
                if isinstance(failed.error, GuardianTimeout):
                    pace.reset()
            await pace.wait()


async def _vote(question: _Question[T], rounds: int) -> T:
    guardians = question.guardians
    ballot: _Ballot[T] = _Ballot(guardians.threshold)
    failures: dict[PeerId, GatewayError] = {}

    async def poll(peer: PeerId, done: anyio.CancelScope) -> None:
        pace = _Pace(guardians)
        try:
            for _ in range(rounds - 1):
                if ballot.cast(peer, await question.ask(peer)):
                    break
                await ballot.round_ends()
                await pace.wait()
                ballot.withdraw(peer)
            else:
                ballot.close_rounds()
                ballot.cast(peer, await question.ask(peer))
        except _PeerFailed as failed:
            failures[peer] = failed.error
        if ballot.is_decided or len(failures) > guardians.max_failures:
            done.cancel()

    await _each(guardians, poll)
    if ballot.is_decided:
        return ballot.winner()
    if len(failures) > guardians.max_failures:
        raise FederationUnavailable(question.method, failures)
    raise FederationDisagrees(question.method, ballot.answers)


async def _each(
    guardians: Guardians,
    poll: Callable[[PeerId, anyio.CancelScope], Coroutine[object, object, None]],
) -> None:
    """Run `poll` for all guardians at once until all returned or one cancelled the scope."""
    try:
        async with anyio.create_task_group() as group:
            for peer in guardians.connections:
                group.start_soon(poll, peer, group.cancel_scope)
    except ExceptionGroup as failed:
        raise next(_leaves(failed)) from failed


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
