"""Sent ecash whose answer was lost: listed, and shown again from the log and the mnemonic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from errors import ConflictError, NotFoundError
from fedimint.mintv2 import Ecash
from gateway import reconciliation
from gateway.application import Gateway
from statemachines import gift
from tests.gateway.scene import START_UNIX_S, Scene
from tests.log_bytes import log_bytes

pytestmark = pytest.mark.anyio
HELD_MSAT = 4_096_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@asynccontextmanager
async def rich(scene: Scene) -> AsyncIterator[Gateway]:
    """A gateway with ecash."""
    async with scene.joined() as (gateway, _):
        await gateway.payments.receive_ecash(scene.federation.issue_ecash(HELD_MSAT).to_text())
        yield gateway


async def test_the_same_text_is_shown_in_a_later_life_and_after_leaving(scene: Scene) -> None:
    async with rich(scene) as gateway:
        text = await gateway.treasury.spend_ecash(scene.federation_id, 1_000)
    with capture_logs() as logs:
        async with scene.serving() as gateway:
            (sent,) = await gateway.treasury.sent_ecash(scene.federation_id, 25)
            assert (sent.amount_msat, sent.state, sent.reason) == (1_024, "Given", None)
            assert sent.asked_unix_s == START_UNIX_S
            assert await gateway.treasury.show_sent_ecash(sent.id) == text
            await gateway.federations.leave_federation(scene.federation_id)
            assert await gateway.treasury.show_sent_ecash(sent.id) == text
    assert Ecash.parse(text).amount_msat() == 1_024
    assert text not in str(logs)
    assert text.encode() not in log_bytes(scene.directory)


async def test_the_list_has_every_request_newest_first(scene: Scene) -> None:
    async with rich(scene) as gateway:
        treasury = gateway.treasury
        await treasury.spend_ecash(scene.federation_id, 512)
        scene.clock.advance(60)
        with pytest.raises(ConflictError, match="brings"):
            await treasury.spend_ecash(scene.federation_id, 2 * HELD_MSAT)
        refused, given = await treasury.sent_ecash(None, 25)
        assert (refused.state, given.state) == ("GiftRefused", "Given")
        assert refused.reason is not None
        assert refused.asked_unix_s - given.asked_unix_s == 60
        with patch.object(gateway.engine, "peek", wraps=gateway.engine.peek) as read:
            assert await treasury.sent_ecash(None, 1) == (refused,)
        assert read.call_count == 1
        assert await treasury.sent_ecash("ff" * 32, 25) == ()
        with pytest.raises(ConflictError, match="brings"):
            await treasury.show_sent_ecash(refused.id)


async def test_an_id_of_nothing_is_told_so(scene: Scene) -> None:
    async with rich(scene) as gateway:
        with pytest.raises(NotFoundError, match="no ecash was sent"):
            await gateway.treasury.show_sent_ecash("ab" * 16)
        assert isinstance(gateway.engine.peek(gift.stream_of("ab" * 16)), gift.New)


async def test_what_was_given_away_is_looked_for_while_others_have_their_turns(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "PAGE_ROWS", 1)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with rich(scene) as gateway, anyio.create_task_group() as others:
        text = await gateway.treasury.spend_ecash(scene.federation_id, 1_000)
        others.start_soon(count)
        given = await reconciliation._given_away(gateway._context)
        others.cancel_scope.cancel()
    assert len(given) == len(Ecash.parse(text).notes())
    assert turns >= gateway._context.store.head.position // 2
