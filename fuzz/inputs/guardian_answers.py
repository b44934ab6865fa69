"""Answers of guardians with wrong shape, size or range: an endpoint returns a value or raises our error.

No number of a value is larger than there is (`magnitudes.py`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
from hypothesis import strategies as st

from errors import GatewayError, UnavailableError
from fedimint.client.query import Guardians
from fedimint.codec.encoding import BYTES
from fedimint.codec.wire_types import ContractId, FederationId, OutPoint, PeerId, TransactionId
from fedimint.discovery import refresh_config, supported_versions
from fedimint.federation_api import FederationApi
from fedimint.lnv2.api import Lnv2Api
from fedimint.mintv2 import json
from fedimint.mintv2.api import Mintv2Api
from fedimint.walletv2.api import Walletv2Api
from fuzz.inputs import strategies
from fuzz.inputs.magnitudes import check_numbers
from fuzz.inputs.mutations import hostile

MODULE_ID = 3
_TXID = TransactionId(bytes(32))
_OUT_POINT = OutPoint(_TXID, 0)
_INTEGERS = st.lists(st.integers(-1, 256), min_size=30, max_size=33)
_SIZES = st.sampled_from([16, 20, 32, 33, 48, 64, 96])
_HEX = _SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(bytes.hex)
_FIELDS = st.sampled_from([
    "txid", "out_idx", "index", "script", "value", "spent", "output", "input", "nonce_hash",
    "tweak", "denomination", "outpoint", "tx", "fee", "vbytes", "created", "feerate",
    "global", "modules", "core", "api",
])  # fmt: skip


class Endpoint(NamedTuple):
    """A typed endpoint, and answers that come near to what it expects."""

    ask: Callable[[Guardians], Awaitable[Any]]
    near: st.SearchStrategy[Any]


class GaveUpError(UnavailableError):
    """The question would be asked again without end: here it ends."""


@dataclass(frozen=True)
class AnswersThis:
    """A guardian with one answer to everything."""

    answer: object

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        del method, params, auth
        await anyio.lowlevel.checkpoint()
        return self.answer

    async def aclose(self) -> None:
        """Nothing is open."""


async def _give_up(pause_s: float) -> None:
    raise GaveUpError(f"asked again after {pause_s} s")


def check(endpoint: Endpoint, answer: object) -> None:
    """Ask a federation of one guardian. Raises what is no error of ours."""
    guardians = Guardians({PeerId(0): AnswersThis(answer)}, sleep_s=_give_up, jitter=lambda: 0.5)

    async def ask() -> None:
        try:
            check_numbers(await endpoint.ask(guardians))
        except GatewayError:
            return

    anyio.run(ask)


async def _keep(peer: PeerId, answer: object) -> object:
    del peer
    return answer


async def _read_items(peer: PeerId, answer: object) -> object:
    del peer
    return json.recovery_items(answer)


def _records(*values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists of objects with names that endpoints know."""
    return st.lists(st.dictionaries(_FIELDS, st.one_of(values), max_size=6), max_size=4)


def _lnv2(ask: Callable[[Lnv2Api], Awaitable[Any]], near: st.SearchStrategy[Any]) -> Endpoint:
    return Endpoint(lambda guardians: ask(Lnv2Api(guardians, MODULE_ID)), near)


def _mintv2(ask: Callable[[Mintv2Api], Awaitable[Any]], near: st.SearchStrategy[Any]) -> Endpoint:
    return Endpoint(lambda guardians: ask(Mintv2Api(guardians, MODULE_ID)), near)


def _wallet(ask: Callable[[Walletv2Api], Awaitable[Any]], near: st.SearchStrategy[Any]) -> Endpoint:
    return Endpoint(lambda guardians: ask(Walletv2Api(guardians, MODULE_ID)), near)


_NUMBERS = strategies.AMOUNTS_MSAT
_RECORDS = _records(_NUMBERS, _HEX, _INTEGERS, strategies.JSON_LEAVES)
_OUTCOMES = hostile(st.builds(lambda txid: b"\x01" + txid, strategies.HASHES)).map(
    lambda outcome: [BYTES.encode(outcome).hex()]
)
ENDPOINTS: Mapping[str, Endpoint] = {
    "session_count": Endpoint(lambda g: FederationApi(g).session_count(), _NUMBERS),
    "submit_transaction": Endpoint(
        lambda g: FederationApi(g).submit_transaction(b"tx", _TXID), _OUTCOMES
    ),
    "await_transaction": Endpoint(lambda g: FederationApi(g).await_transaction(_TXID), _HEX),
    "client_config": Endpoint(lambda g: refresh_config(g, FederationId(bytes(32))), _RECORDS),
    "version": Endpoint(supported_versions, _RECORDS),
    "outgoing_contract_expiration": _lnv2(
        lambda api: api.outgoing_contract_expiration(_OUT_POINT),
        st.tuples(_HEX, _NUMBERS).map(list),
    ),
    "await_preimage": _lnv2(lambda api: api.await_preimage(_OUT_POINT, 1), _INTEGERS),
    "await_incoming_contract": _lnv2(
        lambda api: api.await_incoming_contract(ContractId(bytes(32)), 1),
        st.fixed_dictionaries({"txid": _HEX, "out_idx": _NUMBERS}),
    ),
    "decryption_key_share": _lnv2(lambda api: api.decryption_key_share(_OUT_POINT, _keep), _HEX),
    "gateways": _lnv2(lambda api: api.gateways(), st.lists(strategies.URLS, max_size=4)),
    "signature_shares": _mintv2(
        lambda api: api.signature_shares(_TXID, 0, 2, _keep), st.lists(_HEX, max_size=3)
    ),
    "recovery_slice_hash": _mintv2(lambda api: api.recovery_slice_hash(0, 2), _HEX),
    "recovery_slice": _mintv2(lambda api: api.recovery_slice(0, 2, _read_items), _RECORDS),
    "output_info_slice": _wallet(lambda api: api.output_info_slice(0, 10), _RECORDS),
    "pending_transaction_chain": _wallet(lambda api: api.pending_transaction_chain(), _RECORDS),
    "federation_wallet": _wallet(lambda api: api.federation_wallet(), _RECORDS),
    "send_fee": _wallet(lambda api: api.send_fee_sat(), _NUMBERS),
    "transaction_id": _wallet(lambda api: api.transaction_id(_OUT_POINT), _HEX),
}
