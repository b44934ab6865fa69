"""`gatewayd demo`: one payment on embedded pieces, with the gateway cut off in the middle and replayed from its log.

Guardian, Lightning network and user are in memory; log, cryptography, worker processes and all rules are those of
production.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import msgspec
from cyclopts import App, Parameter

from cli import embedded
from devnet.embedded_world import CHANNEL_SIDE_MSAT, EmbeddedWorld
from devnet.gateway_messages import Paid, RoutingInfo, parse_send_answer
from devnet.user import OutgoingPayment
from engine.chain import verified
from engine.engine import Observers, Ports
from engine.fold import fold
from engine.ports import Probe, SystemClock, SystemRandomness, no_probe
from engine.store import LOG_NAME, StoredStep, newest_head, open_reader, read_rows
from errors import FatalError, UnavailableError
from fedimint import secrets
from gateway.application import Gateway
from gateway.grinder import GrinderProcess
from gateway.log import machines
from gateway.ports import GrindTweak
from gateway.workers import WorkerProcesses
from statemachines import ledger, send

INVOICE_MSAT = 5_000_000
USER_MSAT = 40_000 * 512
#: Where the gateway is cut off: the invoice is being paid, and of that nothing is left but the log.
CUT_AT = "after send.in_flight"

demo_app = App(name="demo", help_formatter="plain", result_action="return_value")

Say = Callable[[str], None]
T = TypeVar("T")


class CutOff(BaseException):
    """The gateway of the demonstration is gone, with everything it had in memory."""


class Result(msgspec.Struct, frozen=True):
    """What came of it. `balances_msat` are the log's accounts (`statemachines/ledger.py`), which sum to zero."""

    contract_id: str
    cut_off_at: str
    contract_msat: int
    invoice_msat: int
    earned_msat: int
    balances_msat: dict[str, int]
    events: int
    log_head: str


def run(say: Say) -> Result:
    """Run the demonstration in a temporary directory. Raises FatalError when anything does not add up."""
    with tempfile.TemporaryDirectory(prefix="gatewayd-demo-") as directory:
        return anyio.run(_Demo(Path(directory), say).run, backend="asyncio")


class _Demo:
    """The world, the gateway's data directory, and what is said on the way."""

    def __init__(self, directory: Path, say: Say) -> None:
        random_bytes = SystemRandomness().random_bytes
        self._directory = directory
        self._say = say
        self._began_s = time.monotonic()
        self._words = secrets.generate_mnemonic(random_bytes(secrets.ENTROPY_SIZE))
        self._world = EmbeddedWorld(int.from_bytes(random_bytes(8)), time.time)
        self._grind: GrindTweak
        self._workers: WorkerProcesses

    async def run(self) -> Result:
        with WorkerProcesses() as self._workers:
            return await self._play()

    async def _play(self) -> Result:
        world, say = self._world, self._say
        async with GrinderProcess() as grinder:
            self._grind = grinder.grind
            say("A gateway starts on an empty log and joins a federation.")
            routing = await self._live(self._join)
            user = world.new_user(USER_MSAT)
            invoice = world.payee.make_invoice(INVOICE_MSAT)
            say(
                f"A user locks ecash for an invoice of {INVOICE_MSAT} msat and asks the gateway to pay."
            )
            payment = await user.fund(invoice.text, routing)
            body = user.body(payment)
            try:
                await self._live(
                    lambda gateway: _ask_until_cut_off(gateway, body), _cut_off_at(CUT_AT)
                )
            except* CutOff:
                say(f"The gateway is cut off {CUT_AT}: all its memory is gone.")
            say("It starts again from its log; the user asks again.")
            answer = parse_send_answer(
                await self._live(lambda gateway: _finish(gateway, body, payment))
            )
        if not isinstance(answer, Paid) or await user.settle(payment, answer) is None:
            raise FatalError("the payment of the demonstration did not succeed")
        say(
            "The user holds the preimage, the gateway the ecash. The log, replayed once more, agrees:"
        )
        return self._audit(payment)

    async def _live(self, do: Callable[[Gateway], Awaitable[T]], probe: Probe = no_probe) -> T:
        """One life of the gateway, for as long as `do` takes."""
        ports = Ports(SystemClock(), SystemRandomness(), probe=probe)
        async with anyio.create_task_group() as tasks:
            gateway = await tasks.start(
                embedded.run_gateway,
                self._world,
                self._directory,
                self._words,
                ports,
                self._workers,
                self._grind,
                Observers(committed=self._show),
            )
            done = await do(gateway)
            tasks.cancel_scope.cancel()
        return done

    async def _join(self, gateway: Gateway) -> RoutingInfo:
        invite = self._world.federation.invite_code().to_text()
        joined = await gateway.connect_federation(invite, recover=False)
        return await embedded.routing_of(gateway, joined.federation_id)

    def _show(self, step: StoredStep) -> None:
        row = step.row
        kind, _, name = row.stream.partition("/")
        stream = f"{kind}/{name[:12]}"
        elapsed_ms = int((time.monotonic() - self._began_s) * 1000)
        state = type(step.state).__name__
        self._say(f"{elapsed_ms:>7} ms  #{row.position:<3} {stream:<22} {row.kind:<22} → {state}")

    def _audit(self, payment: OutgoingPayment) -> Result:
        """Audit the log and compare it with the books of node and federation."""
        world = self._world
        connection = open_reader(self._directory / LOG_NAME)
        try:
            rows = list(verified(read_rows(connection)))
            head = newest_head(connection)
        finally:
            connection.close()
        report = ledger.audit(machines(), rows)
        states = fold(machines(), rows, keep_final=True)
        federation_id = world.federation.federation_id.hex()
        contract_id = payment.contract.contract_id().hex()
        claimed = states[send.stream_of(contract_id)].state
        assert isinstance(claimed, send.Claimed)
        spent_msat = CHANNEL_SIDE_MSAT - world.network.holdings_msat(world.gateway_node.name)
        books = world.federation.audit()
        world.network.audit()
        if not (
            report.is_sound
            and report.balances[accounts.ecash(federation_id)] == claimed.received_msat
            and report.balances[accounts.NODE] == -spent_msat
            and not books.contracts_msat
            and books.is_balanced()
        ):
            raise FatalError("the log does not agree with the books of node and federation")
        return Result(
            contract_id=contract_id,
            cut_off_at=CUT_AT,
            contract_msat=payment.contract.amount_msat,
            invoice_msat=INVOICE_MSAT,
            earned_msat=claimed.received_msat - spent_msat,
            balances_msat=report.balances,
            events=report.rows,
            log_head=head.hash.hex(),
        )


def _cut_off_at(wanted: str) -> Probe:
    def probe(point: str) -> None:
        if point == wanted:
            raise CutOff

    return probe


async def _ask_until_cut_off(gateway: Gateway, body: embedded.SendPaymentJson) -> None:
    try:
        await embedded.send(gateway, body)
    except UnavailableError:
        await anyio.sleep_forever()
    raise FatalError("the gateway of the demonstration was not cut off")


async def _finish(
    gateway: Gateway, body: embedded.SendPaymentJson, payment: OutgoingPayment
) -> bytes:
    """Ask again, and stay until the claim is final."""
    answer = await embedded.send(gateway, body)
    stream = send.stream_of(payment.contract.contract_id().hex())
    await gateway.engine.wait(stream, lambda state: isinstance(state, send.Claimed))
    return answer


@demo_app.default
def print_demo(*, json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Make one payment on embedded pieces, with the gateway cut off in the middle and replayed.

    Parameters
    ----------
    json
        Print the result as one JSON document, the last line.
    """
    result = run(print)
    if json:
        print(msgspec.json.encode(result).decode())
        return
    for account, amount_msat in result.balances_msat.items():
        name, _, federation = account.partition("/")
        print(f"  {' '.join((name, federation[:12])):<28} {amount_msat:>10} msat")
    print(f"  {'sum':<28} {sum(result.balances_msat.values()):>10} msat")
    print(
        f"{result.events} events, earned {result.earned_msat} msat; chain verified up to {result.log_head}"
    )
