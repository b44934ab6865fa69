"""The real process is killed again and again during payments of all kinds: in the end all books agree."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random

import anyio
import pytest

from devnet.processes import until
from engine.chain import Row
from engine.storage.reader import open_log
from errors import UnavailableError
from gateway.log import machines
from statemachines import accounts, ledger
from statemachines.send import SendCancelling
from statemachines.withdrawal import WithdrawalRequested
from tests.crash.effort import ROUNDS
from tests.crash.process_stage import Hurried, ProcessStage, Unhurried, process_stage
from tests.scenarios import books, flows
from tests.scenarios.calls import Calls, RefusedError, patiently
from tests.scenarios.simulated import SimulatedFederation

pytestmark = [pytest.mark.anyio, pytest.mark.crash]

SEED = 11
KINDS = {"_send", "_receive", "_swap", "_hand_in", "_give"}
#: Who pay and are paid at the same time, beside the one who moves bitcoin.
CUSTOMERS = 3
AMOUNT_MAX_MSAT = 2_000_000
#: More than chance takes out of a federation in 300 lives.
FLOAT_MSAT = 600_000_000
DEPOSIT_SAT = 50_000
WITHDRAWAL_SAT = 20_000
#: A life lasts until the log has grown by fewer rows than this.
LIFE_ROWS_MAX = 40
#: How often the moment of a kill is looked for.
_LOOK_S = 0.005
#: How often a block comes when bitcoin is all that is waited for.
_BLOCK_S = 0.2
#: As long as the whole loop may take: on a slow machine no life is long enough to grind the address that the next
#: deposit waits for, and all of that waits for the last one.
_PATIENCE_S = 7_000.0
_BAD_GATEWAY = 502
_CONFIRMED_BLOCKS = 20
#: Few, since payments have deadlines in blocks, and the time that they take here is that of a busy machine.
BLOCKS_IN_A_LIFE = 3


@pytest.fixture
def anyio_backend() -> str:
    """The servers of the world are asyncio's."""
    return "asyncio"


class Traffic:
    """Customers who begin the next thing as soon as the last one is over, until they are told to stop."""

    def __init__(self, stage: ProcessStage, addresses: dict[str, str]) -> None:
        """`addresses` are for deposits, by federation: to grind another one takes longer than a life lasts."""
        self.done: set[str] = set()
        self.given_up = 0
        self.bitcoiner_is_done = anyio.Event()
        self._addresses = addresses
        self._stage = stage
        self._over = anyio.Event()

    def stop(self) -> None:
        """Whatever is under way is still waited for by its customer, and each kind has been once."""
        self._over.set()

    async def customer(self, random: Random) -> None:
        kinds = [self._send, self._receive, self._swap, self._hand_in, self._give]
        while not self._over.is_set():
            random.shuffle(kinds)
            for kind in kinds:
                if not self._over.is_set() or kind.__name__ not in self.done:
                    await self._count(kind, random)

    async def bitcoiner(self, random: Random) -> None:
        while not self._over.is_set():
            federation = random.choice(self._stage.federations)
            await self._deposit(federation)
            await self._withdraw(federation)
        self.bitcoiner_is_done.set()

    async def _count(self, kind: Callable[[Random], Awaitable[None]], random: Random) -> None:
        await kind(random)
        self.done.add(kind.__name__)

    async def _send(self, random: Random) -> None:
        federation, amount_msat = random.choice(self._stage.federations), _amount_msat(random)
        user = await federation.new_user(2 * amount_msat + 1_000_000)
        invoice = await self._stage.other_node.invoice(amount_msat)
        await flows.send(self._stage, federation, user, invoice)

    async def _receive(self, random: Random) -> None:
        federation = random.choice(self._stage.federations)
        user = await federation.new_user(0)
        await flows.receive(self._stage, federation, user, _amount_msat(random))

    async def _swap(self, random: Random) -> None:
        """A contract of a swap lasts a dozen blocks only: four lives later, it is given up by right, and begun anew."""
        payer, payee = random.sample(self._stage.federations, 2)
        amount_msat = _amount_msat(random)
        while True:
            sender = payer, await payer.new_user(2 * amount_msat + 1_000_000)
            receiver = payee, await payee.new_user(0)
            if await flows.try_to_swap(self._stage, sender, receiver, amount_msat):
                return
            self.given_up += 1

    async def _hand_in(self, random: Random) -> None:
        federation = random.choice(self._stage.federations)
        await flows.hand_in(self._stage, federation, _amount_msat(random))

    async def _give(self, random: Random) -> None:
        federation = random.choice(self._stage.federations)
        await flows.give(self._stage, federation, _amount_msat(random))

    async def _deposit(self, federation: SimulatedFederation) -> None:
        address = self._addresses[federation.federation_id]
        await flows.deposit(self._stage, federation, address, DEPOSIT_SAT)

    async def _withdraw(self, federation: SimulatedFederation) -> None:
        """Nothing says whether a withdrawal without an answer was begun: the log shows it, as only we make any."""
        calls, address = Calls(self._stage.process), await self._stage.chain.new_address()
        self._stage.witness.payout_addresses.append(address)
        begun = self._withdrawals()

        async def ask() -> None:
            if self._withdrawals() > begun:
                return
            try:
                await calls.withdraw(federation, address, WITHDRAWAL_SAT)
            except RefusedError as refused:
                # Another transaction came between quote and withdrawal, and made this one's fee too low.
                if refused.status != _BAD_GATEWAY:
                    raise
                raise UnavailableError(str(refused)) from refused

        await patiently(ask)

    def _withdrawals(self) -> int:
        return sum(row.kind == WithdrawalRequested.kind for row in self._stage.process.rows())


def _amount_msat(random: Random) -> int:
    return random.randrange(100_000, AMOUNT_MAX_MSAT)


class Killer:
    """Starts the process and kills it: while it opens its log, when it has begun to serve, or amid its work."""

    def __init__(self, stage: ProcessStage, random: Random) -> None:
        self.kills: dict[str, int] = {}
        self._chain = stage.chain
        self._moments = cycle(
            random.sample(("opening", "serving", "working", "working", "working"), 5)
        )
        self._stage = stage
        self._random = random
        self._data_dir = stage.process.program.data_dir
        self._rows: list[Row] = []

    async def round(self) -> None:
        """One life and its end; the log it leaves continues the one before it."""
        await self._chain.mine(BLOCKS_IN_A_LIFE)
        when = next(self._moments)
        if when == "opening":
            epoch = self._ask("SELECT epoch FROM writer")
            self._stage.process.program.begin()
            await self._until(lambda: self._ask("SELECT epoch FROM writer") > epoch)
        else:
            await self._stage.process.start()
        if when == "working":
            goal = self._position() + self._random.randrange(1, LIFE_ROWS_MAX)
            await self._until(lambda: self._position() >= goal)
        await self._stage.process.kill()
        self.kills[when] = self.kills.get(when, 0) + 1
        rows = list(self._stage.process.rows())
        assert rows[: len(self._rows)] == self._rows
        self._rows = rows

    def _position(self) -> int:
        return self._ask("SELECT coalesce(max(position), 0) FROM log")

    def _ask(self, sql: str) -> int:
        with open_log(self._data_dir) as log:
            ((number,),) = log.query(sql)
        assert isinstance(number, int)
        return number

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async def ask() -> bool:
            return is_so()

        program = self._stage.process.program.program
        await until(
            "the moment of a kill", ask, deadline_s=_PATIENCE_S, programs=[program], pause_s=_LOOK_S
        )


async def _every_deposit_is_told(stage: ProcessStage) -> bool:
    """Their own flows take any income for the deposit's: a log may not know the last of them yet."""
    balances = ledger.audit(machines(), stage.process.rows()).balances
    return -balances.get(accounts.DEPOSITED, 0) >= 1_000 * stage.witness.paid_in_sat


def _reasons_to_give_up(stage: ProcessStage) -> list[str]:
    codec = machines().codec
    given_up = [row for row in stage.process.rows() if row.kind == SendCancelling.kind]
    events = [codec.decode(row.event) for row in given_up]
    return [event.reason for event in events if isinstance(event, SendCancelling)]


@pytest.mark.timeout(7_200)
async def test_nothing_is_lost_in_a_loop_of_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A payment may have to live through many short lives of the gateway.
    monkeypatch.setattr("tests.scenarios.calls.DEADLINE_S", _PATIENCE_S)
    monkeypatch.setattr("tests.scenarios.flows.DEADLINE_S", _PATIENCE_S)
    async with process_stage(tmp_path) as stage:
        await stage.process.start()
        calls = Calls(stage.process)
        for federation in stage.federations:
            await calls.join(federation)
            await flows.hand_in(stage, federation, FLOAT_MSAT)
        addresses: dict[str, str] = {}
        for federation in stage.federations:
            ask = partial(calls.deposit_address, federation)
            addresses[federation.federation_id] = await patiently(ask)
        stage.gateway, chain = Hurried(stage.process), stage.chain
        traffic, killer = Traffic(stage, addresses), Killer(stage, Random(SEED))
        stage.chain = Unhurried(stage.world.chain)
        await stage.process.kill()
        async with anyio.create_task_group() as bitcoin:
            async with anyio.create_task_group() as customers:
                for number in range(CUSTOMERS):
                    customers.start_soon(traffic.customer, Random(SEED + number))
                bitcoin.start_soon(traffic.bitcoiner, Random(SEED))
                for _ in range(ROUNDS):
                    await killer.round()
                traffic.stop()
                await stage.process.start()
            while not traffic.bitcoiner_is_done.is_set():
                await chain.mine(1)
                with anyio.move_on_after(_BLOCK_S):
                    await traffic.bitcoiner_is_done.wait()
        stage.gateway, stage.chain = stage.process, chain
        await stage.chain.mine(_CONFIRMED_BLOCKS)
        await patiently(calls.settled)
        await stage.chain.mine(_CONFIRMED_BLOCKS)
        told = partial(_every_deposit_is_told, stage)
        await until("every deposit is told", told, deadline_s=_PATIENCE_S)
        await books.check(stage)
        reasons = _reasons_to_give_up(stage)
    assert set(killer.kills) == {"opening", "serving", "working"}
    assert traffic.done == KINDS
    # A receiver's funding that a life decided and did not sign is given up by the next one, and the swap made anew.
    assert [why for why in reasons if why != "Failure"] == ["TimeoutTooClose"] * traffic.given_up
    assert stage.witness.paid_in_sat
    assert stage.witness.payout_addresses
