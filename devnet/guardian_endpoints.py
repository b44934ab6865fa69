"""What an embedded guardian answers to each method, with the real encodings and its own shares.

Methods, shapes and waiting are those of fedimintd 0.13 (fedimint-server src/consensus/api.rs,
fedimint-lnv2-server and fedimint-mintv2-server src/lib.rs).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec

from devnet.consensus import Consensus
from devnet.dealer import CORE_VERSION, LNV2_ID, MINTV2_ID, GuardianSecrets
from fedimint import bls, tbs, tpe
from fedimint.config import ClientConfig
from fedimint.encoding import BYTES, to_module_json
from fedimint.errors import DecodeError
from fedimint.lnv2 import OutgoingContract
from fedimint.transaction import SUBMISSION_OUTCOME
from fedimint.transport import module_method
from fedimint.wire_types import (
    TRANSACTION_ID,
    OutPoint,
    OutPointJson,
    TransactionId,
    json_u64,
)

# Minor versions of the APIs of 0.13, of modules by kind; the majors are 0.
_CORE_API_MINOR: Final = 9
_API_MINORS: Final = {"lnv2": 0, "meta": 0, "mintv2": 2, "walletv2": 1}

T = TypeVar("T")

Endpoint = Callable[[object], Awaitable[object]]
"""From the parameters to the result, both JSON builtins. Raises DecodeError for bad parameters."""


class _IndexRange(msgspec.Struct, frozen=True):
    start: int
    end: int


class _OutPointRange(msgspec.Struct, frozen=True):
    txid: str
    idx_range: _IndexRange


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
        self._secrets = secrets
        self._other_guardians = other_guardians
        self._fail_if_down = fail_if_down
        self.public: Mapping[str, Endpoint] = {
            "session_count": self._session_count,
            "status": self._status,
            "submit_transaction": self._submit_transaction,
            "await_transaction": self._await_transaction,
            module_method(LNV2_ID, "consensus_block_count"): self._block_count,
            module_method(LNV2_ID, "gateways"): self._gateways,
            module_method(LNV2_ID, "outgoing_contract_expiration"): self._expiration,
            module_method(LNV2_ID, "await_preimage"): self._await_preimage,
            module_method(LNV2_ID, "await_incoming_contract"): self._await_incoming_contract,
            module_method(LNV2_ID, "decryption_key_share"): self._decryption_key_share,
            module_method(MINTV2_ID, "signature_shares"): self._signature_shares,
        }
        self.admin: Mapping[str, Endpoint] = {
            module_method(LNV2_ID, "add_gateway"): self._add_gateway,
            module_method(LNV2_ID, "remove_gateway"): self._remove_gateway,
        }

    async def _until(self, ready: Callable[[], T | None]) -> T:
        while True:
            self._fail_if_down()
            value = ready()
            if value is not None:
                return value
            await self._consensus.change()

    # --- core ---

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
        (text,) = _shape(params, tuple[str])
        decoded = self._consensus.rules.decode(BYTES.decode_hex(text))
        return to_module_json(SUBMISSION_OUTCOME, await self._consensus.submit(decoded))

    async def _await_transaction(self, params: object) -> object:
        txid = TRANSACTION_ID.decode_hex(_shape(params, str))
        await self._until(lambda: True if txid in self._consensus.accepted else None)
        return txid.hex()

    # --- lnv2 ---

    async def _block_count(self, params: object) -> object:
        del params
        return self._consensus.block_count()

    async def _gateways(self, params: object) -> object:
        del params
        return list(self._consensus.gateways)

    async def _expiration(self, params: object) -> object:
        out_point = _shape(params, OutPointJson).to_out_point()
        contract = self._consensus.ledger.contracts.get(out_point)
        if not isinstance(contract, OutgoingContract):
            return None
        left_blocks = contract.expiration_block_height - self._consensus.block_count()
        return [contract.contract_id().hex(), max(0, left_blocks)]

    async def _await_preimage(self, params: object) -> object:
        json, expiration_block_height = _shape(params, tuple[OutPointJson, int])
        out_point = json.to_out_point()

        def ready() -> list[int] | bool | None:
            preimage = self._consensus.ledger.preimages.get(out_point)
            if preimage is not None:
                return list(preimage)
            return False if expiration_block_height <= self._consensus.block_count() else None

        return await self._until(ready) or None

    async def _await_incoming_contract(self, params: object) -> object:
        contract_id, expiration_unix_s = _shape(params, tuple[str, int])

        def ready() -> OutPoint | bool | None:
            for known, out_point in self._consensus.ledger.incoming_out_points.items():
                if known.hex() == contract_id:
                    return out_point
            return False if expiration_unix_s <= self._consensus.unix_time_s() else None

        found = await self._until(ready)
        return OutPointJson.of(found) if isinstance(found, OutPoint) else None

    async def _decryption_key_share(self, params: object) -> object:
        out_point = _shape(params, OutPointJson).to_out_point()
        contract = await self._until(lambda: self._consensus.ledger.incoming.get(out_point))
        return tpe.create_share(self._secrets.tpe_share, contract.ciphertext).hex()

    async def _add_gateway(self, params: object) -> object:
        url = _shape(params, str)
        is_new = url not in self._consensus.gateways
        self._consensus.gateways[url] = None
        return is_new

    async def _remove_gateway(self, params: object) -> object:
        url = _shape(params, str)
        if url not in self._consensus.gateways:
            return False
        del self._consensus.gateways[url]
        return True

    # --- mintv2 ---

    async def _signature_shares(self, params: object) -> object:
        """Wait for the last output of the range; those of other modules have no share."""
        asked = _shape(params, _OutPointRange)
        txid = TRANSACTION_ID.decode_hex(asked.txid)
        start, end = json_u64(asked.idx_range.start), json_u64(asked.idx_range.end)
        if end <= start:
            return []
        issued = self._consensus.ledger.issued
        await self._until(lambda: issued.get(OutPoint(txid, end - 1)))
        count = len(self._consensus.accepted[txid].outputs)
        return [
            share.hex()
            for index in range(start, min(end, count))
            if (share := self._signature_share(txid, index)) is not None
        ]

    def _signature_share(self, txid: TransactionId, index: int) -> bytes | None:
        output = self._consensus.ledger.issued.get(OutPoint(txid, index))
        if output is None:
            return None
        secret = self._secrets.tbs_shares[output.denomination]
        return bls.encode_g1(tbs.sign_share(bls.decode_g1(output.blinded_nonce), secret))


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


def _shape(params: object, wanted: type[T]) -> T:
    try:
        return msgspec.convert(params, wanted)
    except msgspec.ValidationError as error:
        raise DecodeError(f"parameters of another shape: {error}") from None
