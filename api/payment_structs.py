"""Requests and responses that pay and receive for clients of a federation, as Rust 0.13 writes them.

Those of lnv2 are in `fedimint/lnv2/gateway_api.py`. Sources: fedimint-gateway-common/src/lib.rs and
federation_status.rs. Amounts are msat.
"""

from typing import Literal

import msgspec

from fedimint.codec.json_types import Hash256Hex
from fedimint.config import Version


class VerifyQuery(msgspec.Struct, frozen=True):
    """What the URL of GET `/verify/{payment_hash}` says; `?wait` counts whatever its value."""

    payment_hash: Hash256Hex
    wait: bool = False


class VerifyResponse(msgspec.Struct, frozen=True):
    """Answer of GET `/verify/{payment_hash}` as LUD-21 wants it; `preimage` in hex once settled."""

    settled: bool
    preimage: str | None
    status: Literal["OK"] = "OK"


class LnurlError(msgspec.Struct, frozen=True):
    """A refusal as LNURL wants it (LUD-06)."""

    reason: str
    status: Literal["ERROR"] = "ERROR"


class ReceiveEcashPayload(msgspec.Struct, frozen=True):
    """Body of POST `/receive_ecash`: ecash as text, which every holder can spend."""

    notes: str

    def __repr__(self) -> str:
        return "ReceiveEcashPayload(…)"


class ReceiveEcashResponse(msgspec.Struct, frozen=True):
    """What the ecash was worth once it was ours."""

    amount: int


class FederationManaged(msgspec.Struct, frozen=True, tag_field="mode", tag="federation_managed"):
    """Guardians list the gateways of lnv2; there is nothing for a gateway to register."""


class ModuleAbsent(msgspec.Struct, frozen=True, tag_field="module_status", tag="absent"):
    """The federation has no such module, or this gateway does not use it."""


class ModuleSupported(msgspec.Struct, frozen=True, tag_field="module_status", tag="supported"):
    """The gateway pays and receives through this module."""

    consensus_version: Version
    registration: FederationManaged


class Unserved(msgspec.Struct, frozen=True, tag_field="federation_status", tag="unserved"):
    """Answer of POST `/federation_status` for a federation that is not served. Rust refuses further fields."""

    federation_id: str


class Served(msgspec.Struct, frozen=True, tag_field="federation_status", tag="served"):
    """Answer of POST `/federation_status` for a served one; degraded is fewer guardians than a threshold."""

    federation_id: str
    connectivity: Literal["disconnected", "degraded", "connected"]
    lnv1: ModuleAbsent
    lnv2: ModuleAbsent | ModuleSupported
