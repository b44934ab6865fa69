"""Ecash that strangers hand in: spent notes cost the log nothing, and memory is bounded."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from errors import BusyError, ConflictError, GatewayError, InputError
from fedimint.mintv2 import Ecash, SpendableNote
from gateway.application import Gateway
from gateway.ecash_receipts import REFUSALS_MAX, REISSUED_NOTES_MAX
from statemachines import reissue, transaction
from tests.gateway.scene import Hold, Scene, kinds

pytestmark = pytest.mark.anyio

NOTE_MSAT = 1 << 14


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def issued(scene: Scene, count: int) -> list[SpendableNote]:
    """As many notes of one denomination."""
    return [scene.federation.issue_ecash(NOTE_MSAT).notes()[0] for _ in range(count)]


def text_of(scene: Scene, notes: Sequence[SpendableNote]) -> str:
    return Ecash.of(scene.federation.federation_id, tuple(notes)).to_text()


async def refusal(scene: Scene, gateway: Gateway, notes: Sequence[SpendableNote]) -> GatewayError:
    async def refused() -> GatewayError:
        with pytest.raises(GatewayError) as error:
            await gateway.payments.receive_ecash(text_of(scene, notes))
        return error.value

    return await scene.while_time_passes(refused)


async def test_notes_received_once_are_refused_in_any_company_with_nothing_written(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, _):
        notes, more = issued(scene, 4), issued(scene, 1)
        assert await gateway.payments.receive_ecash(text_of(scene, notes)) == 4 * NOTE_MSAT
        before = kinds(scene.directory)
        for company in (notes[:3], notes[1:], [*notes[:1], *more], notes[:1]):
            error = await refusal(scene, gateway, company)
            assert isinstance(error, ConflictError)
            assert f"of {len(company)} notes of this ecash were received before" in str(error)
        assert kinds(scene.directory) == before
        assert await gateway.payments.receive_ecash(text_of(scene, more)) == NOTE_MSAT


async def test_a_note_that_is_spent_elsewhere_is_tried_in_few_companies(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        spent, *others = issued(scene, REFUSALS_MAX + 2)
        scene.federation.consensus.ledger.spent_nonces.add(spent.note().nonce)
        for other in others[:REFUSALS_MAX]:
            assert "refuses this ecash" in str(await refusal(scene, gateway, [spent, other]))
        # The same once more joins what has ended, and is no further try.
        before = kinds(scene.directory)
        assert "refused a note of this ecash 10 times" in str(
            await refusal(scene, gateway, [spent, others[0]])
        )
        assert "refused a note of this ecash 10 times" in str(
            await refusal(scene, gateway, [spent, others[-1]])
        )
        assert kinds(scene.directory) == before
        for other in others:
            assert await gateway.payments.receive_ecash(text_of(scene, [other])) == NOTE_MSAT


async def test_notes_that_are_being_reissued_are_waited_for(scene: Scene) -> None:
    async with scene.joined() as (gateway, _), anyio.create_task_group() as tasks:
        notes = issued(scene, 2)
        scene.federation.faults(0).pause = hold = Hold()
        tasks.start_soon(gateway.payments.receive_ecash, text_of(scene, notes))
        await hold.reached.wait()
        error = await refusal(scene, gateway, notes[:1])
        assert isinstance(error, BusyError)
        assert kinds(scene.directory).count("reissue.requested") == 1
        hold.release()
    assert kinds(scene.directory).count("reissue.done") == 1


async def test_too_many_notes_are_refused_before_a_worker_looks_at_them(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        (one,) = issued(scene, 1)
        with pytest.raises(InputError, match="more than 200 notes: give it in parts"):
            await gateway.payments.receive_ecash(text_of(scene, [one] * (REISSUED_NOTES_MAX + 1)))


async def test_notes_of_a_caller_who_hangs_up_leave_memory_once_they_are_signed(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, _):
        notes = issued(scene, 3)
        scene.federation.faults(0).pause = hold = Hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.payments.receive_ecash, text_of(scene, notes))
            await hold.reached.wait()
            tasks.cancel_scope.cancel()
        (state,) = [
            state
            for state in gateway.engine.open_streams().values()
            if isinstance(state, reissue.Reissuing)
        ]
        assert state.facts.amount_msat == 3 * NOTE_MSAT
        assert len(gateway._context.foreign_notes) == 0
        hold.release()
        stream = transaction.stream_of(scene.federation_id, 1)
        await gateway.engine.wait(stream, lambda now: isinstance(now, transaction.Finished))
