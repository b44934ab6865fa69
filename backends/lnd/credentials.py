"""LND's certificate and macaroon: files, or the things themselves as text, which never show anywhere.

Other services take them as hex or base64, so who moves from one to the other writes that where a path is wanted, or
into the file. A macaroon of version 2 begins with the byte 2 (github.com/go-macaroon/macaroon), which no text does.
"""

import base64
import binascii
import contextlib
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from backends.lightning import NodeUnansweredError
from errors import ConfigError

_PEM = b"-----BEGIN CERTIFICATE-----"
_DER = b"\x30\x82"
#: No macaroon and no certificate is shorter.
_SHORTEST_BYTES = 32
#: Hardly a path of this length begins at no root and has no dot.
_SECRET_LIKE = re.compile(r"(?![/~])[^.]{80,}")
#: What `lndconnect:` and connection strings of shops put around a macaroon, its first bytes, or much hex of any kind.
_SECRET_INSIDE = re.compile(r"macaroon=|0201036c6e64|AgEDbG5k|[0-9a-f]{80}", re.IGNORECASE)


class Credential(msgspec.Struct, frozen=True):
    """A file, read anew when a call failed, or the `content` itself."""

    path: Path | None = None
    content: bytes | None = None

    def __repr__(self) -> str:
        return f"Credential({self})"

    def __str__(self) -> str:
        """The path, or that there is none."""
        return "(given as text)" if self.path is None else str(self.path)


def macaroon_of(text: str, flag: str) -> Credential:
    """What a setting says: a path, or the macaroon as hex or base64. Raises ConfigError without showing it."""
    return _credential(text, flag, "macaroon", _macaroon)


def certificate_of(text: str, flag: str) -> Credential:
    """What a setting says: a path, or the certificate as PEM, hex or base64. Raises ConfigError without showing it."""
    return _credential(text.replace("\\n", "\n"), flag, "certificate", _certificate)


def read_macaroon(given: Credential) -> bytes:
    """The macaroon in its own form, whichever the file is in. Raises NodeUnansweredError when it cannot be read."""
    found = _read(given)
    return _macaroon(found) or found


def read_certificate(given: Credential) -> bytes:
    """The certificate as PEM. Raises NodeUnansweredError when it cannot be read or is none."""
    certificate = _certificate(_read(given))
    if certificate is None:
        # gRPC would only say that it cannot make a handshake.
        raise NodeUnansweredError(
            f"{given} is not a certificate in PEM, as LND's tls.cert is, nor its hex or base64"
        )
    return certificate


def _credential(
    text: str, flag: str, what: str, meaning: Callable[[bytes], bytes | None]
) -> Credential:
    content = meaning(text.encode())
    if content is not None:
        return Credential(content=content)
    path = text.strip()
    if _SECRET_LIKE.fullmatch(path) or _SECRET_INSIDE.search(path) or {"\n", "\0"} & {*path}:
        raise ConfigError(
            f"{flag} is a path to a file, or the {what} itself as hex or base64; the value is neither, and is not "
            "shown here: perhaps a part of it is missing"
        )
    return Credential(path=Path(path))


def _read(given: Credential) -> bytes:
    if given.content is not None:
        return given.content
    assert given.path is not None
    try:
        return given.path.read_bytes()
    except OSError as error:
        raise NodeUnansweredError(
            f"cannot read LND's credentials at {given.path}: {error.strerror}"
        ) from None


def _macaroon(found: bytes) -> bytes | None:
    return next((one for one in _forms(found) if one[:1] == b"\x02"), None)


def _certificate(found: bytes) -> bytes | None:
    for one in _forms(found):
        if _PEM in one:
            return one
        if one.startswith(_DER):
            return ssl.DER_cert_to_PEM_cert(one).encode()
    return None


def _forms(found: bytes) -> Iterator[bytes]:
    """What bytes may mean: themselves, or what they are the hex or the base64 (also of URLs) of."""
    yield found
    text = b"".join(found.split())
    if len(text) < _SHORTEST_BYTES:
        return
    with contextlib.suppress(binascii.Error):
        yield binascii.unhexlify(text)
    with contextlib.suppress(binascii.Error):
        plain = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        yield base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
