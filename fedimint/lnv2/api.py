"""Typed endpoints of an lnv2 module: contracts, their decryption and preimages, gateways.

Source: fedimint-lnv2-client src/api.rs. Long polls (`await_…`, `decryption_key_share`) never give up;
cancel them or bound them from outside. The other calls raise FederationUnavailable or
FederationDisagrees.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from fedimint.client import query
from fedimint.client.query import Guardians
from fedimint.client.shapes import blocks, shape
from fedimint.client.transport import module_method
from fedimint.codec.encoding import bytes_of_integers
from fedimint.codec.json_types import OutPointJson, json_blocks
from fedimint.codec.wire_types import CONTRACT_ID, G1, ContractId, OutPoint, PeerId

T = TypeVar("T")

_text: Callable[[object], str] = shape(str)
_texts: Callable[[object], list[str]] = shape(list[str])
_expiration: Callable[[object], tuple[str, int] | None] = shape(tuple[str, int] | None)
_optional_out_point: Callable[[object], OutPointJson | None] = shape(OutPointJson | None)
_optional_integers: Callable[[object], tuple[int, ...] | None] = shape(tuple[int, ...] | None)


class OutgoingContractExpiration(msgspec.Struct, frozen=True):
    """A funded outgoing contract and the blocks left until its sender may take it back."""

    contract_id: ContractId
    remaining_blocks: int


@dataclass(frozen=True)
class Lnv2Api:
    """The endpoints of one lnv2 instance."""

    guardians: Guardians
    module_id: int

    async def consensus_block_count(self) -> int:
        """Return the federation's block count (height + 1)."""
        method = module_method(self.module_id, "consensus_block_count")
        return await query.threshold_consensus_or_fail(self.guardians, method, None, blocks)

    async def outgoing_contract_expiration(
        self, out_point: OutPoint
    ) -> OutgoingContractExpiration | None:
        """Return the contract funded at `out_point`, or None when there is none (yet)."""
        return await query.threshold_consensus_or_fail(
            self.guardians,
            module_method(self.module_id, "outgoing_contract_expiration"),
            OutPointJson.of(out_point),
            _outgoing_contract_expiration,
        )

    async def await_preimage(
        self, out_point: OutPoint, expiration_block_height: int
    ) -> bytes | None:
        """Return the preimage (32 bytes) by which the gateway claimed an outgoing contract.

        None once the federation has counted that many blocks, whether the contract was claimed or
        not: then its sender takes it back.
        """

        def preimage(result: object) -> bytes | None:
            integers = _optional_integers(result)
            return None if integers is None else bytes_of_integers(integers)

        return await query.threshold_consensus(
            self.guardians,
            module_method(self.module_id, "await_preimage"),
            (OutPointJson.of(out_point), expiration_block_height),
            preimage,
        )

    async def await_incoming_contract(
        self, contract_id: ContractId, expiration_unix_s: int
    ) -> OutPoint | None:
        """Return where an incoming contract was funded, None once it expired without that."""

        def out_point(result: object) -> OutPoint | None:
            answer = _optional_out_point(result)
            return None if answer is None else answer.to_out_point()

        return await query.threshold_consensus(
            self.guardians,
            module_method(self.module_id, "await_incoming_contract"),
            (contract_id.hex(), expiration_unix_s),
            out_point,
        )

    async def decryption_key_share(
        self, out_point: OutPoint, check: Callable[[PeerId, bytes], Awaitable[T]]
    ) -> dict[PeerId, T]:
        """Return what `check` made of the decryption shares of exactly a threshold of guardians.

        `check` gets 48 bytes that may be no point, and refuses a bad share with a PeerError or
        InputError. Waits until the incoming contract at `out_point` is funded.
        """

        async def share(peer: PeerId, result: object) -> T:
            return await check(peer, G1.decode_hex(_text(result)))

        return await query.filter_map_threshold(
            self.guardians,
            module_method(self.module_id, "decryption_key_share"),
            OutPointJson.of(out_point),
            share,
        )

    async def gateways(self) -> tuple[str, ...]:
        """Return the URLs of the gateways that a threshold of guardians lists, each for itself.

        Those that more guardians vouch for come first. Waits for that threshold without limit.
        """

        async def urls(peer: PeerId, result: object) -> set[str]:
            del peer
            return set(_texts(result))

        lists = await query.filter_map_threshold(
            self.guardians, module_method(self.module_id, "gateways"), None, urls
        )
        vouching = Counter(url for listed in lists.values() for url in listed)
        return tuple(sorted(vouching, key=lambda url: (-vouching[url], url)))


def _outgoing_contract_expiration(result: object) -> OutgoingContractExpiration | None:
    answer = _expiration(result)
    if answer is None:
        return None
    contract_id, remaining_blocks = answer
    return OutgoingContractExpiration(
        CONTRACT_ID.decode_hex(contract_id), json_blocks(remaining_blocks)
    )
