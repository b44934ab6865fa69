"""A bug in one payment or transaction: the rest continues, the books balance, and a retry ends it well."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from cli.log.stuck import stuck
from cli.log.verify import check
from engine.effects import storage_in
from engine.engine import Ports
from engine.ports import SystemClock, SystemRandomness
from engine.quarantine import QuarantinedError, QuarantinedStream
from engine.storage.errors import StorageError
from engine.storage.store import Store
from errors import FatalError, InputError, NotFoundError
from fedimint.lnv2.gateway_api import Paid
from fuzz.mutants.mutant import evolved
from gateway.application import Gateway
from gateway.log import machines, read_models
from gateway.restoring import freeze
from migrations import SchemaSteps
from statemachines import receive, receive_rules, send, send_rules, transaction
from tests.gateway import receiving
from tests.gateway.scene import START_UNIX_S, Scene, ask, asking, kinds, stream_of, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def _broken(*_args: object) -> NoReturn:
    raise ZeroDivisionError


def _send_breaks() -> AbstractContextManager[object]:
    return evolved(send_rules.MACHINE, send.SendPaid, _broken)


def _signing_breaks() -> AbstractContextManager[object]:
    return evolved(transaction.MACHINE, transaction.TxSigned, _broken)


@contextmanager
def _building_breaks() -> Iterator[None]:
    def never(*_args: object) -> NoReturn:
        raise FatalError("a tweak would be used twice")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.transaction_effects.build", never)
        yield


async def _quarantined(gateway: Gateway, kind: str) -> QuarantinedStream:
    while not (found := gateway.engine.faults.quarantined()):
        await anyio.lowlevel.checkpoint()
    (one,) = found
    assert one.stream.startswith(f"{kind}/")
    return one


def _books_balance(scene: Scene) -> None:
    found = check(scene.directory)
    assert found.problems == ()
    assert sum(found.balances_msat.values()) == 0


@pytest.mark.parametrize(
    ("breaks", "kind"),
    [(_send_breaks, "send"), (_signing_breaks, "tx"), (_building_breaks, "tx")],
)
async def test_a_payment_that_we_cannot_go_on_with_waits_and_the_others_are_made(
    scene: Scene, breaks: Callable[[], AbstractContextManager[object]], kind: str
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        async with asking(gateway, user.body(payment)) as answers:
            with breaks():
                found = await _quarantined(gateway, kind)
            other, its = await scene.funded(routing)
            assert isinstance(await ask(gateway, other.body(its)), Paid)
            problems = (await gateway.info()).problems
            (problem,) = (one for one in problems if found.stream in one)
            assert f"gateway-cli retry {found.stream}" in problem
            (listed,) = stuck(scene.directory, START_UNIX_S, everything=False).quarantined
            assert listed == found
            _books_balance(scene)
            if kind == "send":
                # Who waits for it hears that it waits for us; nothing was given back.
                with pytest.raises(QuarantinedError):
                    await until(gateway, payment, send.Paid)
            with pytest.raises(NotFoundError):
                await gateway.node.retry(stream_of(its))
            await gateway.node.retry(found.stream)
            await until(gateway, payment, send.Claimed)
        if kind == "tx":
            assert isinstance(answers[0], Paid)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        assert gateway.engine.faults.quarantined() == []
    _books_balance(scene)


async def test_a_restart_leaves_a_quarantined_payment_alone_and_writes_nothing(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        with _send_breaks():
            async with asking(gateway, user.body(payment)):
                found = await _quarantined(gateway, "send")
    spent_msat, before = scene.spent_msat(), kinds(scene.directory)
    for _life in range(2):
        async with scene.serving() as gateway:
            await anyio.wait_all_tasks_blocked()
            assert gateway.engine.faults.quarantined() == [found]
    assert kinds(scene.directory) == before
    async with scene.serving() as gateway:
        await gateway.node.retry(found.stream)
        await until(gateway, payment, send.Claimed)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
    assert scene.spent_msat() == spent_msat
    _books_balance(scene)


async def test_a_receive_whose_preimage_we_cannot_take_keeps_it_with_the_federation(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await receiving.give_ecash(scene, gateway)
        _user, _payment, invoice = await receiving.ordered(scene, gateway, routing)
        async with receiving.paying(scene, invoice) as heard:
            with evolved(receive_rules.MACHINE, receive.ReceiveSucceeded, _broken):
                found = await _quarantined(gateway, "receive")
            other = await receiving.ordered(scene, gateway, routing)
            async with receiving.paying(scene, other[2]):
                await receiving.until(gateway, other[2], receive.Received)
            _books_balance(scene)
            await gateway.node.retry(found.stream)
            await receiving.until(gateway, invoice, receive.Received)
        assert heard
    _books_balance(scene)


# --- a log that this program cannot read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "event", "kind"),
    [
        (send_rules.MACHINE, send.SendPaid, "send"),
        (transaction.MACHINE, transaction.TxSigned, "tx"),
    ],
)
async def test_a_payment_that_a_version_cannot_read_is_left_alone_by_it(
    scene: Scene, machine: Any, event: Any, kind: str
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.federation.faults  # noqa: B018
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.Paid, send.Claiming, send.Claimed)
    with evolved(machine, event, _broken):
        async with scene.serving() as gateway:
            (found, *_more) = gateway.engine.faults.quarantined()
            assert found.stream.startswith(f"{kind}/")
            assert not found.is_readable
            other, its = await scene.funded(routing)
            assert gateway.engine.open_streams()
            problems = (await gateway.info()).problems
            assert any("a version that reads it" in one for one in problems)
        _books_balance(scene)
        assert stuck(scene.directory, START_UNIX_S, everything=True).quarantined
        store = Store(scene.directory, SchemaSteps(), read_models())
        ports = Ports(SystemClock(), SystemRandomness())
        with pytest.raises(InputError, match="restore it with the version that wrote it"):
            freeze(store, machines(), ports)
        store.close()
    async with scene.serving() as gateway:
        await until(gateway, payment, send.Claimed)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        assert isinstance(await ask(gateway, other.body(its)), Paid)
        assert gateway.engine.faults.quarantined() == []
    _books_balance(scene)


async def test_a_federation_whose_stored_facts_are_bad_is_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.joined() as (_gateway, _routing):
        pass
    failing: list[Exception] = [FatalError("the stored config is unreadable")]

    def fail(*_args: object) -> NoReturn:
        raise failing[0]

    with monkeypatch.context() as patch:
        patch.setattr("gateway.federation_lifetimes.open_federation", fail)
        async with scene.serving() as gateway:
            (found,) = gateway.engine.faults.quarantined()
            assert (found.stream, found.where) == (
                f"federation/{scene.federation_id}",
                "opening it",
            )
        failing[0] = StorageError("the disk failed")
        with pytest.raises(ExceptionGroup) as caught:
            async with scene.serving():
                pass
        assert storage_in(caught.value) is failing[0]


async def test_a_payment_that_fails_at_what_it_wants_next_is_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is met while the log is replayed, before there is a gateway to ask for conditions."""
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(5_000_000, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with anyio.create_task_group() as callers:
            callers.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            callers.cancel_scope.cancel()
    wants_of: Any = send_rules.MACHINE.wants_of
    monkeypatch.setitem(wants_of, send.InFlight, _broken)
    async with scene.serving() as gateway:
        (found,) = gateway.engine.faults.quarantined()
        assert (found.stream, found.where) == (stream_of(payment), "what it wants done")
