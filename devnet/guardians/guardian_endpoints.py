"""What an embedded guardian answers to each method, with the real encodings and its own shares.

Methods, shapes and waiting are those of fedimintd 0.13; the core's are here (fedimint-server
src/consensus/api.rs), those of each module in a file of its own.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from devnet.guardians.consensus import Consensus
from devnet.guardians.dealer import CORE_VERSION, GuardianSecrets
from devnet.guardians.endpoints import GuardianState, Methods, parameters
from devnet.guardians.lightning_endpoints import LightningEndpoints
from devnet.guardians.mint_endpoints import MintEndpoints
from devnet.guardians.wallet_endpoints import WalletEndpoints
from fedimint.codec.encoding import BYTES, to_module_json
from fedimint.codec.wire_types import TRANSACTION_ID
from fedimint.config import ClientConfig
from fedimint.transaction import SUBMISSION_OUTCOME

# Minor versions of the APIs of 0.13, of modules by kind; the majors are 0.
_CORE_API_MINOR: Final = 9
_API_MINORS: Final = {"lnv2": 0, "meta": 0, "mintv2": 2, "walletv2": 1}


def constant_answers(config: ClientConfig) -> dict[str, object]:
    """Return the answers, by method, that never change."""
    return {
        "client_config": config.to_json(),
        "federation_id": config.federation_id().hex(),
        "version": _versions(config),
        "setup_status": "ConsensusIsRunning",
        "fedimintd_version": "0.13.0",
        "api_announcements": {},
        "guardian_metadata": {},
    }


class Endpoints:
    """The methods of one guardian. `fail_if_down` is called whenever a long poll looks again."""

    def __init__(
        self,
        consensus: Consensus,
        secrets: GuardianSecrets,
        other_guardians: int,
        fail_if_down: Callable[[], None],
    ) -> None:
        self._consensus = consensus
        self._state = GuardianState(consensus, secrets, fail_if_down)
        self._other_guardians = other_guardians
        lightning = LightningEndpoints(self._state)
        self.public: Methods = {
            "session_count": self._session_count,
            "status": self._status,
            "submit_transaction": self._submit_transaction,
            "await_transaction": self._await_transaction,
            **lightning.public(),
            **MintEndpoints(self._state).public(),
            **WalletEndpoints(self._state).public(),
        }
        self.admin: Methods = lightning.admin()

    async def _session_count(self, params: object) -> object:
        """One session for each transaction, so that the number grows and all agree."""
        del params
        return len(self._consensus.accepted)

    async def _status(self, params: object) -> object:
        return {
            "server": "consensus_running",
            "federation": {
                "session_count": await self._session_count(params),
                "status_by_peer": {},
                "peers_online": self._other_guardians,
                "peers_offline": 0,
                "peers_flagged": 0,
                "scheduled_shutdown": None,
            },
        }

    async def _submit_transaction(self, params: object) -> object:
        (text,) = parameters(params, tuple[str])
        decoded = self._consensus.rules.decode(BYTES.decode_hex(text))
        return to_module_json(SUBMISSION_OUTCOME, await self._consensus.submit(decoded))

    async def _await_transaction(self, params: object) -> object:
        txid = TRANSACTION_ID.decode_hex(parameters(params, str))
        await self._state.until(lambda: True if txid in self._consensus.accepted else None)
        return txid.hex()


def _versions(config: ClientConfig) -> object:
    core = msgspec.to_builtins(CORE_VERSION)
    return {
        "core": {"core_consensus": core, "api": [_minor(_CORE_API_MINOR)]},
        "modules": {
            str(instance_id): {
                "core_consensus": core,
                "module_consensus": msgspec.to_builtins(module.version),
                "api": [_minor(_API_MINORS[module.kind])],
            }
            for instance_id, module in config.modules.items()
        },
    }


def _minor(minor: int) -> dict[str, int]:
    return {"major": 0, "minor": minor}
