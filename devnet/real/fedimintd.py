"""Real guardians: fedimintd programs set up as one federation over their admin API."""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from devnet.processes import ProcessError, Program, free_port, until
from devnet.real.bitcoind import Bitcoind
from fedimint.client.setup_api import NewGuardian, set_up_federation
from fedimint.client.websocket import WebSocketConnection
from fedimint.codec.wire_types import threshold

_SETUP_DEADLINE_S = 180
_RESTART_DEADLINE_S = 60
_AUDIT_DEADLINE_S = 60


class Liabilities(msgspec.Struct, frozen=True):
    """What a federation owes by its own audit: for all notes out, and for all open Lightning contracts."""

    notes_msat: int
    contracts_msat: int


class RealGuardian:
    """One fedimintd with fixed ports and its own data folder, so it can be stopped and restarted."""

    def __init__(self, name: str, *, program_path: Path, bitcoind: Bitcoind, folder: Path) -> None:
        data = folder / "data"
        data.mkdir(parents=True)
        self.password = secrets.token_hex(16)
        api_port, p2p_port = free_port(), free_port()
        self.api_url = f"ws://127.0.0.1:{api_port}"
        self.program = Program(
            name,
            [program_path],
            log_path=folder / "fedimintd.log",
            environment={
                "FM_API_URL": self.api_url,
                "FM_BIND_API": f"127.0.0.1:{api_port}",
                "FM_BIND_METRICS": f"127.0.0.1:{free_port()}",
                "FM_BIND_P2P": f"127.0.0.1:{p2p_port}",
                "FM_BIND_UI": f"127.0.0.1:{free_port()}",
                "FM_BITCOIN_NETWORK": "regtest",
                "FM_BITCOIND_PASSWORD": bitcoind.password,
                "FM_BITCOIND_URL": f"http://{bitcoind.rpc_address}",
                "FM_BITCOIND_USERNAME": bitcoind.user,
                "FM_DATA_DIR": str(data),
                "FM_ENABLE_IROH": "false",
                "FM_IN_DEVIMINT": "1",
                "FM_P2P_URL": f"fedimint://127.0.0.1:{p2p_port}",
                "FM_PASSWORD_API": self.password,
            },
        )

    async def liabilities(self) -> Liabilities:
        """What this guardian's books say now. Raises UnavailableError while it does not answer."""

        class Module(msgspec.Struct):
            net_assets: int
            kind: str

        class Summary(msgspec.Struct):
            module_summaries: Mapping[str, Module]

        connection = WebSocketConnection(self.api_url)
        try:
            answer = await connection.request("audit", None, auth=self.password)
        finally:
            await connection.aclose()
        modules = msgspec.convert(answer, Summary).module_summaries.values()
        owed_msat = {module.kind: -module.net_assets for module in modules}
        return Liabilities(owed_msat["mintv2"], owed_msat["lnv2"])

    async def restart(self) -> None:
        """Starts a stopped guardian again and waits until its API answers."""
        self.program.start()
        connection = WebSocketConnection(self.api_url)
        try:
            await until(
                f"{self.program.name} answers",
                NewGuardian(connection, self.password).status,
                deadline_s=_RESTART_DEADLINE_S,
                programs=[self.program],
            )
        finally:
            await connection.aclose()


class RealFederation:
    """Guardians by peer id, and the invite code once `start` has returned."""

    def __init__(
        self, name: str, guardians: int, *, program_path: Path, bitcoind: Bitcoind, folder: Path
    ) -> None:
        self.name = name
        self.invite_code = ""
        self.guardians = [
            RealGuardian(
                f"{name} guardian {peer_id}",
                program_path=program_path,
                bitcoind=bitcoind,
                folder=folder / f"guardian-{peer_id}",
            )
            for peer_id in range(guardians)
        ]

    async def start(self, modules: Sequence[str] | None) -> None:
        """Starts all guardians and sets the federation up, with these module kinds if given."""
        for guardian in self.guardians:
            guardian.program.start()
        connections = [WebSocketConnection(guardian.api_url) for guardian in self.guardians]
        try:
            with anyio.fail_after(_SETUP_DEADLINE_S):
                self.invite_code = await set_up_federation(
                    [
                        NewGuardian(connection, guardian.password)
                        for connection, guardian in zip(connections, self.guardians, strict=True)
                    ],
                    self.name,
                    enabled_modules=modules,
                )
        except TimeoutError:
            tails = "\n".join(guardian.program.log_tail() for guardian in self.guardians)
            raise ProcessError(
                f"federation {self.name} is not up after {_SETUP_DEADLINE_S} s:\n{tails}"
            ) from None
        finally:
            for connection in connections:
                await connection.aclose()

    async def liabilities(self) -> Liabilities:
        """What a threshold of guardians agrees on, so that it holds whatever a threshold has accepted."""

        async def agreed() -> Liabilities | None:
            running = [one for one in self.guardians if one.program.is_running]
            said = Counter([await guardian.liabilities() for guardian in running])
            ((liabilities, votes),) = said.most_common(1)
            return liabilities if votes >= threshold(len(self.guardians)) else None

        return await until(
            f"guardians of {self.name} agree on their books", agreed, deadline_s=_AUDIT_DEADLINE_S
        )

    async def stop(self) -> None:
        for guardian in self.guardians:
            await guardian.program.stop()
