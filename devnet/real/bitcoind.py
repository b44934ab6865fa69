"""A bitcoind on regtest: started, asked over JSON-RPC, and mining on demand."""

import base64
import secrets
import urllib.error
import urllib.request
from pathlib import Path

import anyio.to_thread
import msgspec

from devnet.processes import Program, free_port, until
from errors import UnavailableError

# Coinbase outputs can be spent after 100 blocks.
FIRST_BLOCKS = 101
_READY_DEADLINE_S = 60
_CALL_DEADLINE_S = 30
_SATS_PER_BTC = 100_000_000


# Whatever proxy the environment names, these calls stay on this machine.
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Answer(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class Bitcoind:
    """A node with one wallet that owns the mined coins. Attributes tell others how to reach it."""

    def __init__(self, program_path: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.rpc_port = free_port()
        self.zmq_block_port = free_port()
        self.zmq_transaction_port = free_port()
        self.user = "devnet"
        self.password = secrets.token_hex(16)
        config = folder / "bitcoin.conf"
        config.touch(mode=0o600)
        config.write_text(self._config())
        self.program = Program(
            "bitcoind",
            [program_path, f"-datadir={folder}"],
            log_path=folder / "bitcoind.log",
        )

    @property
    def rpc_address(self) -> str:
        return f"127.0.0.1:{self.rpc_port}"

    async def start(self) -> None:
        """Starts the node, with its wallet and the first 101 blocks when it is new."""
        self.program.start()
        await until(
            "bitcoind answers",
            self.block_height,
            deadline_s=_READY_DEADLINE_S,
            programs=[self.program],
        )
        if await self.block_height() == 0:
            await self._call("createwallet", "miner")
            await self.mine(FIRST_BLOCKS)

    async def block_height(self) -> int:
        return msgspec.json.decode(await self._call("getblockcount"), type=int)

    async def mine(self, blocks: int) -> None:
        """Mines blocks; their subsidy goes to the node's own wallet."""
        await self._call("generatetoaddress", blocks, await self.new_address())

    async def new_address(self) -> str:
        return msgspec.json.decode(await self._call("getnewaddress"), type=str)

    async def send(self, address: str, amount_sat: int) -> str:
        """Sends mined coins, not confirmed yet; returns the transaction id (hex)."""
        answer = await self._call("sendtoaddress", address, _btc(amount_sat))
        return msgspec.json.decode(answer, type=str)

    async def received_sat(self, address: str) -> int:
        """What an address of this wallet has received in confirmed transactions."""
        answer = await self._call("getreceivedbyaddress", address)
        return round(msgspec.json.decode(answer, type=float) * _SATS_PER_BTC)

    async def _call(self, method: str, *params: str | int) -> msgspec.Raw:
        """The result's JSON. Raises UnavailableError for any refusal or lost connection."""
        body = msgspec.json.encode({"id": 0, "method": method, "params": params})
        try:
            text = await anyio.to_thread.run_sync(self._post, body)
            answer = msgspec.json.decode(text, type=_Answer)
        except (OSError, msgspec.MsgspecError) as error:
            raise UnavailableError(f"bitcoind {method}: {error}") from error
        if answer.error is not None:
            raise UnavailableError(f"bitcoind {method}: {answer.error.message}")
        return answer.result

    def _post(self, body: bytes) -> bytes:
        user = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{self.rpc_address}",
            data=body,
            headers={"Authorization": f"Basic {user}"},
        )
        try:
            with _open_directly(request, timeout=_CALL_DEADLINE_S) as response:
                text: bytes = response.read()
        except urllib.error.HTTPError as error:
            # The RPC's own errors come with a status of 4xx or 5xx and a JSON body.
            with error:
                text = error.read()
        return text

    def _config(self) -> str:
        return f"""\
regtest=1
server=1
txindex=1
fallbackfee=0.00001
[regtest]
listen=0
dnsseed=0
discover=0
rpcuser={self.user}
rpcpassword={self.password}
rpcbind=127.0.0.1
rpcallowip=127.0.0.1
rpcport={self.rpc_port}
zmqpubrawblock=tcp://127.0.0.1:{self.zmq_block_port}
zmqpubrawtx=tcp://127.0.0.1:{self.zmq_transaction_port}
"""


def _btc(amount_sat: int) -> str:
    whole, rest = divmod(amount_sat, _SATS_PER_BTC)
    return f"{whole}.{rest:08d}"
