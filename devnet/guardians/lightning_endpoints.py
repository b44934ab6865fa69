"""What an embedded guardian answers about lnv2 contracts and gateways.

Source: fedimint-lnv2-server src/lib.rs: methods, shapes, and what each waits for.
"""

from typing import Final

from devnet.guardians.consensus import Consensus
from devnet.guardians.dealer import LNV2_ID
from devnet.guardians.endpoints import GuardianState, Methods, parameters
from fedimint.client.transport import module_method
from fedimint.codec.errors import DecodeError
from fedimint.codec.json_types import OutPointJson, json_u64
from fedimint.codec.wire_types import CONTRACT_ID, OutPoint
from fedimint.lnv2 import OutgoingContract, tpe
from fedimint.lnv2.json import IncomingContractJson

MAX_CONTRACTS: Final = 1024
"""The most incoming contracts that one call may ask for."""
RECHECK_S: Final = 10.0
"""How often a real guardian looks whether a contract awaited has expired."""


class LightningEndpoints:
    """The lnv2 methods of one guardian."""

    def __init__(self, state: GuardianState) -> None:
        self._state = state

    @property
    def _consensus(self) -> Consensus:
        return self._state.consensus

    def public(self) -> Methods:
        """Return what everybody may ask."""
        return {
            module_method(LNV2_ID, "consensus_block_count"): self._block_count,
            module_method(LNV2_ID, "gateways"): self._gateways,
            module_method(LNV2_ID, "outgoing_contract_expiration"): self._expiration,
            module_method(LNV2_ID, "await_preimage"): self._await_preimage,
            module_method(LNV2_ID, "await_incoming_contract"): self._await_incoming_contract,
            module_method(LNV2_ID, "await_incoming_contracts"): self._await_incoming_contracts,
            module_method(LNV2_ID, "decryption_key_share"): self._decryption_key_share,
        }

    def admin(self) -> Methods:
        """Return what needs the guardian's password."""
        return {
            module_method(LNV2_ID, "add_gateway"): self._add_gateway,
            module_method(LNV2_ID, "remove_gateway"): self._remove_gateway,
        }

    async def _block_count(self, params: object) -> object:
        del params
        return self._consensus.block_count()

    async def _gateways(self, params: object) -> object:
        del params
        return list(self._consensus.gateways)

    async def _expiration(self, params: object) -> object:
        out_point = parameters(params, OutPointJson).to_out_point()
        contract = self._consensus.ledger.contracts.get(out_point)
        if not isinstance(contract, OutgoingContract):
            return None
        left_blocks = contract.expiration_block_height - self._consensus.block_count()
        return [contract.contract_id().hex(), max(0, left_blocks)]

    async def _await_preimage(self, params: object) -> object:
        json, expiration_block_height = parameters(params, tuple[OutPointJson, int])
        out_point = json.to_out_point()

        def ready() -> list[int] | bool | None:
            preimage = self._consensus.ledger.preimages.get(out_point)
            if preimage is not None:
                return list(preimage)
            return False if expiration_block_height <= self._consensus.block_count() else None

        return await self._state.until(ready) or None

    async def _await_incoming_contract(self, params: object) -> object:
        text, expiration_unix_s = parameters(params, tuple[str, int])
        contract_id = CONTRACT_ID.decode_hex(text)

        def ready() -> OutPoint | bool | None:
            found = self._consensus.ledger.incoming_out_points.get(contract_id)
            if found is not None:
                return found
            return False if expiration_unix_s <= self._consensus.unix_time_s() else None

        found = await self._state.until(ready, RECHECK_S)
        return OutPointJson.of(found) if isinstance(found, OutPoint) else None

    async def _await_incoming_contracts(self, params: object) -> object:
        """The contracts not yet spent of those funded from number `start` on, and the next number."""
        start, count = map(json_u64, parameters(params, tuple[int, int]))
        if not 0 < count <= MAX_CONTRACTS:
            raise DecodeError(f"Batch size must be in 1..={MAX_CONTRACTS}")
        ledger = self._consensus.ledger
        await self._state.until(lambda: True if len(ledger.incoming_stream) > start else None)
        unspent = [
            (number, out_point)
            for number, out_point in enumerate(ledger.incoming_stream[start:], start)
            if out_point in ledger.contracts
        ][:count]
        next_number = unspent[-1][0] + 1 if unspent else len(ledger.incoming_stream)
        contracts = [IncomingContractJson.of(ledger.incoming[point]) for _, point in unspent]
        return [contracts, next_number]

    async def _decryption_key_share(self, params: object) -> object:
        out_point = parameters(params, OutPointJson).to_out_point()
        contract = await self._state.until(lambda: self._consensus.ledger.incoming.get(out_point))
        return tpe.create_share(self._state.secrets.tpe_share, contract.ciphertext).hex()

    async def _add_gateway(self, params: object) -> object:
        url = parameters(params, str)
        is_new = url not in self._consensus.gateways
        self._consensus.gateways[url] = None
        return is_new

    async def _remove_gateway(self, params: object) -> object:
        url = parameters(params, str)
        if url not in self._consensus.gateways:
            return False
        del self._consensus.gateways[url]
        return True
