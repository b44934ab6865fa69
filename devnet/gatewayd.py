"""Our own gatewayd on a real or simulated LND, as a program to kill and restart, with its gateway-cli."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import anyio
import bcrypt
import msgspec

from devnet.gateway_client import GatewayClient, HttpAnswer
from devnet.processes import ProcessError, Program, free_port, run_once, until
from errors import PeerError, UnavailableError

PASSWORD = "theresnosecondbest"  # noqa: S105 - of worlds that live for minutes
_READY_DEADLINE_S = 300
_CALL_DEADLINE_S = 60
#: A deposit address is ground at a low priority, and a busy machine lets that wait.
_COMMAND_DEADLINE_S = 300
#: bcrypt's least work: the worlds are short-lived and many calls are made.
_BCRYPT_ROUNDS = 4


class LndAddress(Protocol):
    """How a gateway reaches its node, be it `devnet.real.lnd_node` or `devnet.lnd_server.server`."""

    @property
    def rpc_address(self) -> str:
        """Host and port."""
        ...

    @property
    def tls_cert_path(self) -> Path: ...
    @property
    def macaroon_path(self) -> Path: ...


class OurGatewayd:
    """One gateway. `crash_at` of `start` names a point at which it kills itself (`cli/gatewayd/crash_points.py`).

    `environment` has settings besides those that every gateway needs.
    """

    def __init__(
        self,
        folder: Path,
        node: LndAddress,
        environment: Mapping[str, str] | None = None,
        *,
        program_path: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self._node = node
        self._program_path = program_path or script("gatewayd")
        self._environment = dict(environment or {})
        self._password_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS))
        self.program = self._program({})

    @property
    def url(self) -> str:
        """What guardians add and clients call."""
        return f"http://127.0.0.1:{self.port}/"

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        """Start and wait until the API answers and, unless it is down, the node is connected.

        Raises ProcessError when it runs already.
        """
        if self.program.is_running:
            raise ProcessError("the gateway runs already")
        self.begin(crash_at=crash_at)
        await until(
            "gatewayd is running",
            self._answers if node_is_down else self._is_running,
            deadline_s=_READY_DEADLINE_S,
            programs=[self.program],
        )

    def begin(self, *, crash_at: str | None = None) -> None:
        """Start and do not wait."""
        self.program = self._program({"FM_GATEWAY_CRASH_AT": crash_at} if crash_at else {})
        self.program.start()

    async def died(self) -> None:
        """Wait until the program has ended by itself."""
        await until("gatewayd has died", self._is_gone, deadline_s=_READY_DEADLINE_S)

    async def cli(self, *arguments: str) -> object:
        """Run gateway-cli and return its JSON. Raises ProcessError when it fails."""
        return msgspec.json.decode(await self.text(*arguments))

    async def text(self, *arguments: str) -> str:
        """Run gateway-cli and return what it prints. Raises ProcessError when it fails."""
        return await run_once(
            self._command(*arguments),
            deadline_s=_COMMAND_DEADLINE_S,
            environment=_password(PASSWORD),
        )

    async def refusal(self, *arguments: str, password: str = PASSWORD) -> "Refusal":
        """Run gateway-cli where it has to fail. Raises PeerError when it succeeds."""
        done = await anyio.run_process(
            self._command(*arguments), check=False, env=os.environ | _password(password)
        )
        if done.returncode == 0:
            raise PeerError(f"gateway-cli {arguments[0]} succeeded")
        complaint = msgspec.json.decode(done.stdout, type=_Complaint)
        return Refusal(done.returncode, complaint.error, complaint.code)

    async def info(self) -> "Info":
        """What `gateway-cli info` shows, as far as tests look at it."""
        return msgspec.convert(await self.cli("info"), Info)

    async def balance_msat(self, federation_id: str) -> int:
        """The ecash held in one federation."""
        balances = msgspec.convert(await self.cli("get-balances"), _Balances)
        return next(
            b.ecash_balance_msats
            for b in balances.ecash_balances
            if b.federation_id == federation_id
        )

    def _command(self, *arguments: str) -> list[str]:
        return [str(script("gateway-cli")), f"--address={self.url}", *arguments]

    async def call(self, method: str, path: str, body: bytes | None = None) -> HttpAnswer:
        """Call the API with the operator's password, which takes a command's start less than `cli` does.

        Raises UnavailableError when no answer comes.
        """
        return await GatewayClient(self.url, PASSWORD).call(method, path, body)

    async def _answers(self) -> bool:
        await self.call("GET", "/info")
        return True

    async def _is_running(self) -> bool:
        answer = await self.call("GET", "/info")
        return msgspec.json.decode(answer.body, type=Info).gateway_state == "Running"

    async def _is_gone(self) -> bool:
        return not self.program.is_running

    def _program(self, extra: Mapping[str, str]) -> Program:
        environment = {
            "FM_GATEWAY_DATA_DIR": str(self.data_dir),
            "FM_GATEWAY_LISTEN_ADDR": f"127.0.0.1:{self.port}",
            "FM_GATEWAY_API_ADDR": f"http://127.0.0.1:{self.port}/",
            "FM_GATEWAY_BCRYPT_PASSWORD_HASH": self._password_hash.decode(),
            "FM_GATEWAY_NETWORK": "regtest",
            "FM_GATEWAY_SKIP_SETUP": "true",
            "FM_LND_RPC_ADDR": self._node.rpc_address,
            "FM_LND_TLS_CERT": str(self._node.tls_cert_path),
            "FM_LND_MACAROON": str(self._node.macaroon_path),
            **self._environment,
            **extra,
        }
        return Program(
            "gatewayd",
            [self._program_path, "lnd"],
            log_path=self.folder / "gatewayd.log",
            environment=environment,
        )


class FederationInfo(msgspec.Struct, frozen=True):
    """One federation in `info`."""

    federation_id: str
    federation_name: str | None
    balance_msat: int


class OpenPayment(msgspec.Struct, frozen=True):
    """A payment that `info` shows as not over."""

    id: str
    kind: str
    state: str


class Info(msgspec.Struct, frozen=True):
    """The part of `gateway-cli info` that tests read."""

    version_hash: str
    gateway_state: str
    federations: tuple[FederationInfo, ...]
    open_payments: tuple[OpenPayment, ...] = ()  # the Rust gateway shows none


class Refusal(msgspec.Struct, frozen=True):
    """How gateway-cli failed: its exit code, its sentence, and its code for programs."""

    exit_code: int
    error: str
    code: str


class _Complaint(msgspec.Struct, frozen=True):
    error: str
    code: str


class _EcashBalance(msgspec.Struct, frozen=True):
    federation_id: str
    ecash_balance_msats: int


class _Balances(msgspec.Struct, frozen=True):
    ecash_balances: tuple[_EcashBalance, ...]


def _password(password: str) -> dict[str, str]:
    """As gateway-cli takes it without showing it in the list of processes."""
    return {"FM_RPC_PASSWORD": password}


def script(name: str) -> Path:
    """A command of this distribution, installed beside the interpreter. Raises UnavailableError when it is not."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise UnavailableError(f"{name} is not installed beside {sys.executable}")
    return path
