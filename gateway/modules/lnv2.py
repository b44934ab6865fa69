"""lnv2: the contracts of payments, their claims, forfeits and preimages."""

from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar, NamedTuple

from errors import PeerError
from fedimint import lnv2
from fedimint.codec import secp
from fedimint.codec.wire_types import OutPoint, PeerId, TransactionId
from fedimint.crypto import secrets
from fedimint.lnv2.api import Lnv2Api, OutgoingContractExpiration
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.lnv2.decryption import Decryption, decrypt
from fedimint.transaction import DynItem
from gateway.modules.module import (
    Materials,
    Module,
    ModuleKey,
    SignedInput,
    of_other_guardians,
    on_other_network,
)
from gateway.ports import Cpu
from statemachines.items import ContractClaim, FundedContract, IncomingRefund
from statemachines.send import SendFacts


class Opened(NamedTuple):
    """The preimage that an incoming contract holds, None when it holds none, and the key that showed it."""

    preimage: bytes | None
    decryption_key: bytes


class LnV2(Module[LnV2ClientConfig, Lnv2Api]):
    """The lnv2 module of a federation, and our key in it."""

    kind: ClassVar = lnv2.KIND
    config_type: ClassVar = LnV2ClientConfig
    api_type: ClassVar = Lnv2Api
    major: ClassVar = 1

    @classmethod
    def refusals(
        cls, config: LnV2ClientConfig, network: str, peers: Collection[PeerId]
    ) -> Iterator[str]:
        yield from on_other_network(config.network, network)
        yield from of_other_guardians("keys of lnv2", config.tpe_pks.keys(), peers)

    @classmethod
    def input(
        cls, key: ModuleKey, item: ContractClaim | IncomingRefund, materials: Materials
    ) -> SignedInput:
        del materials
        out_point = OutPoint(TransactionId(bytes.fromhex(item.txid)), item.out_idx)
        spent = (
            lnv2.OutgoingInput(out_point, lnv2.Claim(bytes.fromhex(item.preimage)))
            if isinstance(item, ContractClaim)
            else lnv2.IncomingInput(out_point, bytes.fromhex(item.decryption_key))
        )
        encoded = lnv2.INPUT.encode(lnv2.InputV0(spent))
        return SignedInput(DynItem(key.instance_id, encoded), _secret(key))

    @classmethod
    def output(cls, key: ModuleKey, item: FundedContract) -> DynItem:
        contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(item.contract))
        funded = lnv2.OutputV0(lnv2.IncomingOutput(contract))
        return DynItem(key.instance_id, lnv2.OUTPUT.encode(funded))

    @property
    def public_key(self) -> bytes:
        """The key that contracts name as the gateway's, 33 bytes."""
        return secp.public_key(_secret(self.key))

    def forfeit(self, contract_id: bytes) -> bytes:
        """The signature (64 bytes) that gives an outgoing contract back (fedimint-lnv2-common src/contracts.rs).

        It is the same each time: BIP-340 without auxiliary randomness.
        """
        return secp.sign_schnorr(_secret(self.key), contract_id)

    async def expiration(self, facts: SendFacts) -> OutgoingContractExpiration | None:
        """What the guardians hold at the out point of a payment's contract, and for how many blocks."""
        out_point = OutPoint(TransactionId(bytes.fromhex(facts.txid)), facts.out_idx)
        return await self.api.outgoing_contract_expiration(out_point)

    async def remaining_blocks(self, facts: SendFacts, block_count: int) -> int:
        """Blocks until the sender may take the contract back; 0 when it is gone, or another one.

        HTLCs end by the chain, the contract by the count of blocks that the guardians agree on. Where that count is
        behind it will jump, so the chain's own `block_count` counts as well, and the shorter time is what is left.
        """
        found = await self.expiration(facts)
        if found is None or found.contract_id.hex() != facts.contract_id:
            return 0
        contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract))
        return min(found.remaining_blocks, max(0, contract.expiration_block_height - block_count))

    async def opened(self, contract: str, txid: str, cpu: Cpu) -> Opened:
        """What a contract (hex) that is output 0 of a transaction holds.

        Believes a threshold of guardians first; when their key fails, asks others instead of the liars. A share that
        does not verify decides nothing: only a key that verifies shows what the contract holds. Raises PeerError when
        more of them lie than a federation can bear.
        """
        incoming = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(contract))
        out_point = OutPoint(TransactionId(bytes.fromhex(txid)), 0)
        liars: set[PeerId] = set()
        while True:
            decryption = await self._decrypt(incoming, out_point, liars, cpu)
            if decryption.decrypted is not None:
                break
            if not decryption.missing_peers:
                raise PeerError("the guardians' keys contradict each other; ask the federation")
            liars.update(decryption.bad_peers)
            if len(liars) > self.api.guardians.max_failures:
                raise PeerError(f"guardians {sorted(liars)} send wrong decryption shares")
        preimage = decryption.decrypted.preimage
        is_good = lnv2.is_preimage(incoming.commitment.payment_image, preimage)
        return Opened(preimage if is_good else None, decryption.decrypted.decryption_key)

    async def _decrypt(
        self,
        contract: lnv2.IncomingContract,
        out_point: OutPoint,
        liars: set[PeerId],
        cpu: Cpu,
    ) -> Decryption:
        async def believed(peer: PeerId, share: bytes) -> bytes:
            if peer in liars:
                raise PeerError(f"guardian {peer} sent a wrong decryption share before")
            return share

        shares = await self.api.decryption_key_share(out_point, believed)
        return await cpu.run(
            decrypt_shares, contract, shares, self.config, self.api.guardians.threshold
        )


def decrypt_shares(
    contract: lnv2.IncomingContract,
    shares: Mapping[PeerId, bytes],
    keys: LnV2ClientConfig,
    threshold: int,
) -> Decryption:
    """`fedimint.lnv2.decryption.decrypt`, as a worker is called."""
    return decrypt(contract, shares, keys, threshold=threshold)


def _secret(key: ModuleKey) -> secp.SecretKey:
    return secrets.lnv2_gateway_secret(key.secret)
