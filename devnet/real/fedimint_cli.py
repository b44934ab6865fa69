"""A user of a federation: the Rust fedimint-cli, one command at a time on one data folder."""

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from devnet.processes import run_once
from devnet.real.bitcoind import Bitcoind
from errors import PeerError

# The federation counts a block that many blocks late; one more for the vote.
BLOCKS_TO_CLAIM = 10
ENVIRONMENT = {"FM_IN_DEVIMINT": "1"}
_CALL_DEADLINE_S = 60
_PEG_IN_DEADLINE_S = 180
_LIGHTNING_DEADLINE_S = 180

_Answer = TypeVar("_Answer")


class SendOutcome(StrEnum):
    """How a payment over lnv2 ended."""

    SUCCESS = "Success"
    REFUNDED = "Refunded"
    FAILURE = "Failure"


class ReceiveOutcome(StrEnum):
    """How a receipt over lnv2 ended."""

    CLAIMED = "Claimed"
    EXPIRED = "Expired"
    FAILURE = "Failure"
    UNECONOMICAL = "Uneconomical"


class SendResult(msgspec.Struct, frozen=True):
    """The end of a payment; the preimage (hex) is there on success only."""

    outcome: SendOutcome
    preimage: str | None


class PendingReceipt(msgspec.Struct, frozen=True):
    """An invoice over lnv2 and the operation (hex) that waits for its payment."""

    payment_request: str
    operation_id: str


class FedimintCli:
    """One client. All methods raise ProcessError when the program fails or takes too long."""

    def __init__(self, program_path: Path, folder: Path, bitcoind: Bitcoind) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._program_path = program_path
        self._bitcoind = bitcoind

    @property
    def command(self) -> list[str]:
        """What begins a command line of this client, which needs `ENVIRONMENT`."""
        return [str(self._program_path), f"--data-dir={self.folder}"]

    async def join(self, invite_code: str) -> None:
        await self.run("join", invite_code)

    async def balance_msat(self) -> int:
        """The ecash held."""

        class Info(msgspec.Struct):
            total_amount_msat: int

        return _decode(await self.run("info"), Info).total_amount_msat

    async def peg_in(self, amount_sat: int) -> int:
        """Deposits mined coins through walletv2 and returns the new balance in msat."""
        position = _decode(await self.run("dev", "next-event-log-id"), int)
        # The client grinds the address first, which takes seconds, or minutes on a busy machine.
        made = await self.module("walletv2", "receive", deadline_s=_PEG_IN_DEADLINE_S)
        address = _decode(made, str)
        await self._bitcoind.send(address, amount_sat)
        await self._bitcoind.mine(BLOCKS_TO_CLAIM)
        await self.module("walletv2", "await-receive", str(position), deadline_s=_PEG_IN_DEADLINE_S)
        return await self.balance_msat()

    async def send_ecash(self, amount_msat: int) -> str:
        """Takes notes out (mintv2) and returns them as text."""
        return _decode(await self.module("mintv2", "send", str(amount_msat)), str)

    async def receive_ecash(self, ecash: str) -> None:
        """Reissues notes (mintv2) and waits until they count.

        Raises PeerError when the federation refuses them.
        """
        outcome = await self.module("mintv2", "receive", ecash)
        if _decode(outcome, str) != "Success":
            raise PeerError(f"fedimint-cli: receiving ecash ended with {outcome.strip()}")
        await self.settle()

    async def settle(self) -> None:
        """Waits until nothing is under way any more: success is told before the ecash is there.

        Endless, hence a ProcessError, while the user has an unpaid invoice open.
        """
        await self.run("dev", "wait-complete")

    async def add_gateway(self, url: str, *, guardian_id: int, guardian_password: str) -> None:
        """Vets an lnv2 gateway in the name of one guardian."""
        await self._change_gateways("add", url, guardian_id, guardian_password)

    async def remove_gateway(self, url: str, *, guardian_id: int, guardian_password: str) -> None:
        """Takes one guardian's vetting back."""
        await self._change_gateways("remove", url, guardian_id, guardian_password)

    async def gateways(self) -> list[str]:
        """URLs of the lnv2 gateways vetted by the guardians."""
        return _decode(await self.module("lnv2", "gateways", "list"), list[str])

    async def pay(self, payment_request: str, *, gateway_url: str | None = None) -> SendResult:
        """Pays an invoice over lnv2 and waits for the end."""
        operation_id = await self.start_payment(payment_request, gateway_url=gateway_url)
        return await self.await_payment(operation_id)

    async def start_payment(self, payment_request: str, *, gateway_url: str | None = None) -> str:
        """Starts an lnv2 payment and returns its operation id (hex)."""
        gateway = (f"--gateway={gateway_url}",) if gateway_url else ()
        return _decode(await self.module("lnv2", "send", payment_request, *gateway), str)

    async def await_payment(self, operation_id: str) -> SendResult:
        """Waits for the end of an lnv2 payment."""
        answer = await self.module(
            "lnv2", "await-send", operation_id, deadline_s=_LIGHTNING_DEADLINE_S
        )
        # Success is an object that carries the preimage, the other ends are plain text.
        if answer.lstrip().startswith("{"):
            preimages = _decode(answer, dict[SendOutcome, str])
            return SendResult(SendOutcome.SUCCESS, preimages[SendOutcome.SUCCESS])
        return SendResult(_decode(answer, SendOutcome), None)

    async def receive(self, amount_msat: int, *, gateway_url: str | None = None) -> PendingReceipt:
        """Gets an invoice over lnv2."""
        gateway = (f"--gateway={gateway_url}",) if gateway_url else ()
        answer = await self.module("lnv2", "receive", str(amount_msat), *gateway)
        return PendingReceipt(*_decode(answer, tuple[str, str]))

    async def await_receipt(self, operation_id: str) -> ReceiveOutcome:
        """Waits for the end of an lnv2 receipt."""
        return _decode(
            await self.module(
                "lnv2", "await-receive", operation_id, deadline_s=_LIGHTNING_DEADLINE_S
            ),
            ReceiveOutcome,
        )

    async def _change_gateways(
        self, change: str, url: str, guardian_id: int, guardian_password: str
    ) -> None:
        credentials = {"FM_OUR_ID": str(guardian_id), "FM_PASSWORD_API": guardian_password}
        await self.module("lnv2", "gateways", change, url, environment=credentials)

    async def module(
        self,
        kind: str,
        *arguments: str,
        deadline_s: float = _CALL_DEADLINE_S,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Runs a command of one module and returns its JSON."""
        return await self.run(
            "module", kind, *arguments, deadline_s=deadline_s, environment=environment
        )

    async def run(
        self,
        *arguments: str,
        deadline_s: float = _CALL_DEADLINE_S,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Runs any command and returns its JSON."""
        return await run_once(
            [*self.command, *arguments],
            deadline_s=deadline_s,
            environment={**ENVIRONMENT, **(environment or {})},
        )


def _decode(text: str, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise PeerError(f"fedimint-cli answered something else: {error}") from error
