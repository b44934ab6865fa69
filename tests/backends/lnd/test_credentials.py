"""LND's certificate and macaroon in every form that people write them in."""

import base64
import ssl
from pathlib import Path

import pytest

from backends.lightning import NodeUnansweredError
from backends.lnd.credentials import Credential, certificate_of, read_certificate, read_macaroon
from errors import ConfigError
from tests.backends.lnd.fake_lnd import write_credentials

MACAROON = bytes.fromhex("0201036c6e64") + bytes(range(100))


@pytest.fixture
def pem(tmp_path: Path) -> bytes:
    write_credentials(tmp_path)
    return (tmp_path / "tls.cert").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        MACAROON,
        MACAROON.hex().encode(),
        MACAROON.hex().upper().encode() + b"\n",
        base64.b64encode(MACAROON),
        base64.urlsafe_b64encode(MACAROON).rstrip(b"=") + b"\r\n",
        base64.encodebytes(MACAROON),
    ],
)
def test_a_file_holds_a_macaroon_in_any_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.macaroon").write_bytes(content)
    assert read_macaroon(Credential(path=tmp_path / "admin.macaroon")) == MACAROON


def test_what_is_in_no_known_form_goes_out_as_it_is(tmp_path: Path) -> None:
    """LND then says what it thinks of it."""
    (tmp_path / "admin.macaroon").write_bytes(b"something else, in no form that we know")
    read = read_macaroon(Credential(path=tmp_path / "admin.macaroon"))
    assert read == b"something else, in no form that we know"


def test_a_certificate_in_any_form(tmp_path: Path, pem: bytes) -> None:
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    again = ssl.DER_cert_to_PEM_cert(der).encode()
    for content, read in (
        (pem, pem),
        (pem.hex().encode(), pem),
        (base64.b64encode(pem), pem),
        (der, again),
        (base64.urlsafe_b64encode(der), again),
    ):
        (tmp_path / "given").write_bytes(content)
        assert read_certificate(Credential(path=tmp_path / "given")) == read


def test_a_certificate_in_place_of_its_path(pem: bytes) -> None:
    for text in (pem.decode(), pem.decode().replace("\n", "\\n"), base64.b64encode(pem).decode()):
        given = certificate_of(text, "--lnd-tls-cert")
        assert read_certificate(given) == pem
        assert repr(given) == "Credential((given as text))"
    with pytest.raises(ConfigError, match="is a path to a file, or the certificate itself"):
        certificate_of("-----BEGIN\nnothing", "--lnd-tls-cert")


def test_paths_stay_paths(tmp_path: Path) -> None:
    for text in ("tls.cert", "/run/secrets/" + "lnd_tls_certificate" * 5, "~/.lnd/tls.cert"):
        assert certificate_of(text, "--lnd-tls-cert") == Credential(path=Path(text))
    missing = Credential(path=tmp_path / "none")
    with pytest.raises(NodeUnansweredError, match="none: No such file"):
        read_certificate(missing)
