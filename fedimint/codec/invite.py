"""Invite codes, in both text forms: bech32m (`fed1…`) and base32 (`fedimint…`).

Source: fedimint-core/src/invite_code.rs.
"""

from collections.abc import Mapping

import msgspec

from fedimint.codec import base32, bech32
from fedimint.codec.encoding import STRING, Codec, UnknownVariant, checked, enum, struct, vec
from fedimint.codec.errors import DecodeError
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import FEDERATION_ID, PEER_ID, FederationId, PeerId

HRP = "fed1"


class ApiPart(msgspec.Struct, frozen=True, tag="api"):
    """The API URL of one guardian."""

    url: str
    peer: PeerId


class FederationIdPart(msgspec.Struct, frozen=True, tag="federation_id"):
    """The id that the downloaded config must have."""

    federation_id: FederationId


class ApiSecretPart(msgspec.Struct, frozen=True, tag="api_secret"):
    """The secret that the federation's API asks for."""

    api_secret: str

    def __repr__(self) -> str:
        return "ApiSecretPart(…)"


InvitePart = ApiPart | FederationIdPart | ApiSecretPart | UnknownVariant

_PART: Codec[InvitePart] = enum(
    {
        0: struct(ApiPart, url=SAFE_URL, peer=PEER_ID),
        1: struct(FederationIdPart, federation_id=FEDERATION_ID),
        2: struct(ApiSecretPart, api_secret=STRING),
    },
    extensible=True,
)


class InviteCode(msgspec.Struct, frozen=True):
    """How to reach a federation: at least one API and the federation id. Unknown parts are kept."""

    parts: tuple[InvitePart, ...]

    @classmethod
    def of(
        cls, apis: Mapping[PeerId, str], federation_id: FederationId, api_secret: str | None = None
    ) -> "InviteCode":
        """Return the code that names these guardians, in upstream's order of parts."""
        parts: list[InvitePart] = [ApiPart(apis[peer], peer) for peer in sorted(apis)]
        parts.append(FederationIdPart(federation_id))
        if api_secret is not None:
            parts.append(ApiSecretPart(api_secret))
        return cls(tuple(parts))

    @classmethod
    def parse(cls, text: str) -> "InviteCode":
        """Read either form, in either case. Raises `DecodeError`."""
        try:
            return _parse(text)
        except DecodeError as error:
            # Operators type these; what is wrong with a character says nothing to them by itself.
            raise DecodeError(f"this is no invite code: {error}") from error

    def to_text(self) -> str:
        """Return the `fed1…` form, which holds the API secret if there is one."""
        return bech32.encode(HRP, bech32.to_words(INVITE_CODE.encode(self)), "bech32m")

    def to_base32(self) -> str:
        """Return the `fedimint…` form."""
        return base32.encode_prefixed(INVITE_CODE.encode(self))

    def federation_id(self) -> FederationId:
        """Return the federation id."""
        return next(part.federation_id for part in self.parts if isinstance(part, FederationIdPart))

    def peers(self) -> dict[PeerId, str]:
        """Return the API URLs by guardian; at least one."""
        return {part.peer: part.url for part in self.parts if isinstance(part, ApiPart)}

    def api_secret(self) -> str | None:
        """Return the API secret, if the code holds one."""
        secrets = (part.api_secret for part in self.parts if isinstance(part, ApiSecretPart))
        return next(secrets, None)


def _check(invite: InviteCode) -> None:
    if not invite.peers():
        raise DecodeError("the invite code names no guardian")
    if not any(isinstance(part, FederationIdPart) for part in invite.parts):
        raise DecodeError("the invite code names no federation")


INVITE_CODE: Codec[InviteCode] = checked(struct(InviteCode, parts=vec(_PART)), _check)


def _parse(text: str) -> InviteCode:
    if base32.has_prefix(text):
        return INVITE_CODE.decode(base32.decode_prefixed(text))
    hrp, words, _ = bech32.decode(text)
    if hrp != HRP:
        raise DecodeError(f"it begins with neither {HRP}1 nor {base32.PREFIX}")
    return INVITE_CODE.decode(bech32.to_bytes(words))
