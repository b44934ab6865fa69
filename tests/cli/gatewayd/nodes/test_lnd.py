"""LND as a node of gatewayd: its flags and their checks, what `/info` shows, and how it is opened."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from backends.lightning import NodeUnansweredError
from backends.lnd.credentials import Credential, read_macaroon
from backends.lnd.node import LndNode
from cli.gatewayd.nodes.lnd import LndNodeSettings, LndOptions
from errors import ConfigError

RECORDED = Path(__file__).parents[3] / "vectors" / "http" / "rust-gateway-0.13.jsonl"
#: The first bytes of every macaroon of LND, and as many as a short one has.
MACAROON = bytes.fromhex("0201036c6e64") + bytes(range(120))
LND = LndOptions(
    lnd_rpc_host="https://127.0.0.1:10009", lnd_tls_cert="tls.cert", lnd_macaroon="admin.macaroon"
)


def test_all_of_it() -> None:
    assert LND.checked() == LndNodeSettings(
        rpc_addr="https://127.0.0.1:10009",
        tls_cert=Credential(path=Path("tls.cert")),
        macaroon=Credential(path=Path("admin.macaroon")),
        time_pref=0.5,
        payment_timeout_s=180,
    )


def test_what_must_be_given() -> None:
    assert LND.required() == (
        ("--lnd-rpc-host (FM_LND_RPC_ADDR)", "https://127.0.0.1:10009"),
        ("--lnd-tls-cert (FM_LND_TLS_CERT)", "tls.cert"),
        ("--lnd-macaroon (FM_LND_MACAROON)", "admin.macaroon"),
    )
    assert [value for _, value in LndOptions().required()] == [None] * 3


def test_blanks_and_line_ends_around_paths_are_not_part_of_them() -> None:
    around = replace(LND, lnd_tls_cert="tls.cert\n", lnd_macaroon=" admin.macaroon ")
    assert around.checked() == LND.checked()


@pytest.mark.parametrize(
    "change",
    [
        {"lnd_rpc_host": "127.0.0.1"},
        {"lnd_rpc_host": "https://127.0.0.1"},
        {"lnd_rpc_host": "https://127.0.0.1:port"},
        {"lnd_rpc_host": "unix:///lnd.sock"},
        {"lnd_rpc_host": "http://127.0.0.1:10009"},
        {"lnd_rpc_host": "https://127.0.0.1:10009/lnd"},
        {"lnd_rpc_host": "https://127.0.0.1:99999"},
        {"lnd_rpc_host": "https://a b:10009"},
        {"lnd_time_pref": "1.1"},
        {"lnd_time_pref": "nan"},
        {"lnd_time_pref": "inf"},
        {"lnd_time_pref": ""},
        {"lnd_payment_timeout": "0"},
        {"lnd_payment_timeout": "601"},
        {"lnd_payment_timeout": "1.5"},
        {"lnd_payment_timeout": "-1"},
    ],
)
def test_wrong_options(change: dict[str, str]) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ConfigError) as caught:
        replace(LND, **change).checked()
    assert str(caught.value).startswith(f"--{name.replace('_', '-')} is {value!r}, but ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("HTTPS://127.0.0.1:10009", "https://127.0.0.1:10009"),
        ("https://LND.Example:10009/", "https://lnd.example:10009"),
        (" lnd_1:10009 ", "lnd_1:10009"),
        ("[::1]:10009", "[::1]:10009"),
        ("https://[FD00::1]:10009", "https://[fd00::1]:10009"),
    ],
)
def test_the_address_of_lnd_in_every_spelling(text: str, address: str) -> None:
    assert replace(LND, lnd_rpc_host=text).checked().rpc_addr == address


@pytest.mark.parametrize("encode", [bytes.hex, lambda raw: base64.b64encode(raw).decode()])
def test_a_macaroon_in_place_of_its_path_is_taken_and_never_shown(
    encode: Callable[[bytes], str],
) -> None:
    text = encode(MACAROON)
    for given in (text, f" {text}"):
        settings = replace(LND, lnd_macaroon=given).checked()
        assert read_macaroon(settings.macaroon) == MACAROON
        assert text not in repr(settings)
        assert str(settings.macaroon) == "(given as text)"
    for broken in (text[4:], text + "!"):
        with pytest.raises(ConfigError) as caught:
            replace(LND, lnd_macaroon=broken).checked()
        assert str(caught.value).startswith("--lnd-macaroon (FM_LND_MACAROON) is a path to a file")
        assert broken[20:40] not in str(caught.value)


@pytest.mark.parametrize(
    "lnd",
    [
        replace(LND, lnd_rpc_host=f"lndconnect://lnd.example:10009?macaroon={'AgEDbG5k' * 20}"),
        replace(LND, lnd_rpc_host="https://me:AgEDbG5k@127.0.0.1:10009"),
        replace(LND, lnd_rpc_host="https://127.0.0.1:10009?macaroon=AgEDbG5k"),
        replace(LND, lnd_macaroon="lndconnect://lnd.example:10009?macaroon=AgEDbG5kAvgB"),
        replace(
            LND, lnd_macaroon=f"type=lnd-rest;server=https://l.example/;macaroon={MACAROON.hex()}"
        ),
        replace(LND, lnd_macaroon=f"/run/secrets/{MACAROON.hex()}"),
        replace(LND, lnd_tls_cert=f"lnd.macaroon:{MACAROON.hex()[:-1]}"),
    ],
)
def test_no_refusal_shows_a_secret_that_is_in_the_wrong_place(lnd: LndOptions) -> None:
    with pytest.raises(ConfigError, match="not shown here") as refused:
        lnd.checked()
    assert "AgEDbG5k" not in str(refused.value)
    assert "0201036c" not in str(refused.value)


def test_edges_of_the_options() -> None:
    lnd = replace(LND, lnd_rpc_host="lnd:10009", lnd_time_pref="-1", lnd_payment_timeout="600")
    settings = lnd.checked()
    assert settings.rpc_addr == "lnd:10009"
    assert settings.time_pref == -1
    assert settings.payment_timeout_s == 600


def test_info_shows_what_the_rust_gateway_shows() -> None:
    exchanges = map(json.loads, RECORDED.read_text().splitlines())
    theirs = next(one for one in exchanges if one["path"] == "/info")["response"]["lightning_mode"]
    settings = LndNodeSettings(
        rpc_addr=theirs["Lnd"]["lnd_rpc_addr"],
        tls_cert=Credential(path=Path(theirs["Lnd"]["lnd_tls_cert"])),
        macaroon=Credential(path=Path(theirs["Lnd"]["lnd_macaroon"])),
        time_pref=theirs["Lnd"]["lnd_time_pref"],
        payment_timeout_s=theirs["Lnd"]["lnd_payment_timeout_secs"],
    )
    ours = msgspec.json.decode(settings.mode())
    assert ours == theirs
    assert list(ours["Lnd"]) == [
        "lnd_rpc_addr",
        "lnd_tls_cert",
        "lnd_macaroon",
        "lnd_time_pref",
        "lnd_payment_timeout_secs",
    ]


def test_info_shows_no_macaroon_that_was_given_as_text() -> None:
    mode = bytes(replace(LND, lnd_macaroon=MACAROON.hex()).checked().mode()).decode()
    assert '"lnd_macaroon":"(given as text)"' in mode
    assert MACAROON.hex() not in mode


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_is_opened_without_a_look_at_its_files(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    node = replace(LND, lnd_tls_cert=nowhere, lnd_macaroon=nowhere).checked().open()
    assert isinstance(node, LndNode)
    assert node.abilities.kind == "LND"
    with pytest.raises(NodeUnansweredError, match="cannot read LND's credentials"):
        await node.info()
    await node.aclose()
