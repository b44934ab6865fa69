"""The query strategies over guardians in memory: dead, slow, lying, and of two minds."""

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from errors import GatewayError, InputError
from fedimint.client import query
from fedimint.client.query import FederationDisagrees, FederationUnavailable, Guardians
from fedimint.client.shapes import shape
from fedimint.client.transport import (
    GuardianConnection,
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
)
from fedimint.codec.wire_types import PeerId, threshold

pytestmark = pytest.mark.anyio

integer: Callable[[object], int] = shape(int)


class Fake:
    """A guardian that gives its answers in order, the last one again and again. Errors are raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = answers
        self.asked = 0
        self.cancelled = 0

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        try:
            await anyio.lowlevel.checkpoint()
            if answer is HANG:
                await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""


HANG = object()
DEAD = GuardianUnreachable("down")
CUT = GuardianTimeout("cut")


class Nap:
    """Sleeps for no time at all and keeps what was asked for."""

    def __init__(self) -> None:
        self.pauses_s: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        await anyio.lowlevel.checkpoint()


def guardians(*fakes: GuardianConnection, nap: Callable[[float], Awaitable[None]]) -> Guardians:
    connections = {PeerId(number): fake for number, fake in enumerate(fakes)}
    return Guardians(connections, sleep_s=nap, jitter=lambda: 0.5)


@pytest.fixture
def nap() -> Nap:
    return Nap()


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)])
def test_thresholds(count: int, needed: int) -> None:
    assert threshold(count) == needed
    some = guardians(*[Fake(1)] * count, nap=anyio.sleep)
    assert some.threshold == needed
    assert some.max_failures == (count - 1) // 3


def test_a_federation_without_guardians_is_refused() -> None:
    with pytest.raises(InputError):
        Guardians({})


async def test_a_dead_guardian_never_delays_an_answer(nap: Nap) -> None:
    hung = Fake(HANG)
    peers = guardians(Fake(7), hung, Fake(7), Fake(7), nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert hung.cancelled == 1
    assert nap.pauses_s == []


async def test_less_than_a_threshold_is_no_answer(nap: Nap) -> None:
    late = Fake(DEAD, DEAD, DEAD, 7)
    peers = guardians(Fake(7), Fake(HANG), late, Fake(7), nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert late.asked == 4


async def test_a_lying_guardian_is_outvoted(nap: Nap) -> None:
    peers = guardians(Fake(8), Fake(7), Fake(7), Fake(7), nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7


async def test_guardians_that_differ_are_asked_again_until_they_converge(nap: Nap) -> None:
    fakes = [Fake(7, 7, 8), Fake(6, 7, 8), Fake(8), Fake(HANG)]
    peers = guardians(*fakes, nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 8
    assert len(nap.pauses_s) >= 4


async def test_an_answer_counts_until_its_guardian_is_asked_again(nap: Nap) -> None:
    # Three say 6, but the first has been asked again by then and is silent since.
    fakes = [Fake(6, HANG), Fake(5, 6, 8), Fake(4, 6, 8), Fake(DEAD, 8)]
    peers = guardians(*fakes, nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 8


async def test_asking_each_does_not_wait_for_a_silent_guardian(nap: Nap) -> None:
    peers = guardians(Fake(HANG), nap=nap)
    outcomes = await query.ask_each(peers, "m", None, integer, timeout_s=0)
    assert isinstance(outcomes[PeerId(0)], GuardianTimeout)


async def test_pauses_are_fibonacci_up_to_ten_seconds(nap: Nap) -> None:
    peers = guardians(Fake(*[DEAD] * 11, 7), nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert nap.pauses_s == [0.25, 0.25, 0.5, 0.75, 1.25, 2, 3.25, 5.25, 8.5, 10, 10]


@pytest.mark.parametrize("jitter", [0.0, 0.999])
async def test_jitter_spreads_pauses_by_a_quarter(nap: Nap, jitter: float) -> None:
    peers = Guardians({PeerId(0): Fake(DEAD, 7)}, sleep_s=nap, jitter=lambda: jitter)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert nap.pauses_s[0] == pytest.approx(0.25, rel=0.26)


async def test_a_cut_long_poll_is_asked_again_without_growing_pauses(nap: Nap) -> None:
    peers = guardians(Fake(*[CUT] * 20, 7), nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert nap.pauses_s == [0.25] * 20


@pytest.mark.parametrize(
    "bad",
    [DEAD, CUT, "text", None, {"a": 1}, GuardianRefused(500, "x"), GuardianProtocolError("x")],
)
async def test_every_loop_sleeps_whatever_the_answer(nap: Nap, bad: object) -> None:
    fake = Fake(*[bad] * 50, 7)
    peers = guardians(fake, nap=nap)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert len(nap.pauses_s) == fake.asked - 1 == 50


async def test_our_own_mistake_ends_the_query_as_itself(nap: Nap) -> None:
    peers = guardians(*[Fake(InputError("too large"))] * 4, nap=nap)
    with pytest.raises(InputError, match="too large"):
        await query.threshold_consensus(peers, "m", None, integer)


async def test_cancelling_a_query_cancels_every_request(nap: Nap) -> None:
    fakes = [Fake(HANG) for _ in range(4)]
    async with anyio.create_task_group() as group:
        group.start_soon(query.threshold_consensus, guardians(*fakes, nap=nap), "m", None, integer)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert [fake.cancelled for fake in fakes] == [1, 1, 1, 1]


async def test_giving_up_names_each_failure(nap: Nap) -> None:
    fakes = [Fake(DEAD), Fake("garbage"), Fake(HANG), Fake(7)]
    with pytest.raises(FederationUnavailable) as caught:
        await query.threshold_consensus_or_fail(guardians(*fakes, nap=nap), "m", None, integer)
    assert set(caught.value.failures) == {0, 1}
    assert "guardian 0: down" in str(caught.value)
    assert "guardian 1: an answer of the wrong shape" in str(caught.value)
    assert fakes[2].cancelled == 1


async def test_giving_up_spares_f_failures(nap: Nap) -> None:
    peers = guardians(Fake(DEAD), Fake(7), Fake(7), Fake(7), nap=nap)
    assert await query.threshold_consensus_or_fail(peers, "m", None, integer) == 7
    with pytest.raises(FederationUnavailable):
        await query.threshold_consensus_or_fail(guardians(Fake(DEAD), nap=nap), "m", None, integer)


async def test_giving_up_on_lasting_disagreement(nap: Nap) -> None:
    fakes = [Fake(1), Fake(2), Fake(1), Fake(2)]
    with pytest.raises(FederationDisagrees) as caught:
        await query.threshold_consensus_or_fail(guardians(*fakes, nap=nap), "m", None, integer)
    assert caught.value.answers == {0: 1, 1: 2, 2: 1, 3: 2}
    assert max(fake.asked for fake in fakes) == query.DISAGREEMENT_ROUNDS


async def test_convergence_before_giving_up(nap: Nap) -> None:
    peers = guardians(Fake(1, 2), Fake(2), Fake(1, 1, 2), Fake(DEAD), nap=nap)
    assert await query.threshold_consensus_or_fail(peers, "m", None, integer) == 2


async def test_agreement_asks_each_guardian_once(nap: Nap) -> None:
    fakes = [Fake(1), Fake(2), Fake(1), Fake(1)]
    assert await query.threshold_agreement(guardians(*fakes, nap=nap), "m", None, integer) == 1
    fakes = [Fake(1), Fake(2), Fake(1), Fake(DEAD)]
    with pytest.raises(FederationDisagrees, match="2 said 1, 1 said 2"):
        await query.threshold_agreement(guardians(*fakes, nap=nap), "m", None, integer)
    assert [fake.asked for fake in fakes] == [1, 1, 1, 1]
    peers = guardians(Fake(DEAD), Fake(1), Fake(1), Fake(CUT), nap=nap)
    with pytest.raises(FederationUnavailable):
        await query.threshold_agreement(peers, "m", None, integer)
    assert nap.pauses_s == []


async def test_the_first_valid_answer_wins(nap: Nap) -> None:
    peers = guardians(Fake(HANG), Fake(DEAD), Fake("garbage"), Fake(3), nap=nap)
    assert await query.filter_map(peers, "m", None, integer) == 3
    with pytest.raises(FederationUnavailable, match="guardian 1: down"):
        await query.filter_map(guardians(Fake("x"), Fake(DEAD), nap=nap), "m", None, integer)


async def test_exactly_a_threshold_of_checked_answers(nap: Nap) -> None:
    async def even(peer: PeerId, answer: object) -> tuple[PeerId, int]:
        value = integer(answer)
        if value % 2:
            raise GuardianProtocolError("odd")
        return peer, value

    fakes = [Fake(1), Fake(2), Fake(4), Fake(5, DEAD, 6)]
    found = await query.filter_map_threshold(guardians(*fakes, nap=nap), "m", None, even)
    assert found == {1: (1, 2), 2: (2, 4), 3: (3, 6)}
    everybody = guardians(*[Fake(2) for _ in range(7)], nap=nap)
    assert len(await query.filter_map_threshold(everybody, "m", None, even)) == 5


async def test_asking_each_reports_all_outcomes(nap: Nap) -> None:
    peers = guardians(Fake(1), Fake(DEAD), Fake("x"), Fake(4), nap=nap)
    outcomes = await query.ask_each(peers, "m", None, integer, timeout_s=60)
    assert Counter(map(type, outcomes.values())) == {
        int: 2,
        GuardianUnreachable: 1,
        GuardianProtocolError: 1,
    }


async def test_failures_are_reported_with_peer_and_method(nap: Nap) -> None:
    heard: list[tuple[PeerId, str, str]] = []

    def report(peer: PeerId, method: str, error: GatewayError) -> None:
        heard.append((peer, method, str(error)))

    peers = Guardians({PeerId(3): Fake(DEAD, 7)}, sleep_s=nap, report=report)
    assert await query.threshold_consensus(peers, "m", None, integer) == 7
    assert heard == [(3, "m", "down")]
