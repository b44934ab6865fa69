"""gatewayd as a program, up to the settings that it hands to the daemon."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.gatewayd.nodes.lnd import LndNodeSettings
from cli.gatewayd.program import main
from cli.gatewayd.settings import ListenAddress, Settings
from errors import FatalError, UnavailableError
from fedimint.lnv2.gateway_api import PaymentFee

HASH = "$2y$10$Q/UTDeO84VGG1mRncxw.Nubqyi/HsNRJ40k0TSexFy9eVess1yi/u"
SNAPSHOTS = Path(__file__).parents[2] / "vectors" / "cli"
# What devimint sets (devimint/src/gatewayd.rs).
ENVIRONMENT = {
    "FM_GATEWAY_DATA_DIR": "data",
    "FM_GATEWAY_LISTEN_ADDR": "127.0.0.1:8175",
    "FM_GATEWAY_API_ADDR": "http://127.0.0.1:8175/v1",
    "FM_GATEWAY_BCRYPT_PASSWORD_HASH": HASH,
    "FM_GATEWAY_NETWORK": "regtest",
    "FM_GATEWAY_SKIP_SETUP": "true",
    "FM_DEFAULT_ROUTING_FEES": "0,0",
    "FM_LND_RPC_ADDR": "https://127.0.0.1:10009",
    "FM_LND_TLS_CERT": "tls.cert",
    "FM_LND_MACAROON": "admin.macaroon",
    "FM_BITCOIND_URL": "http://127.0.0.1:18443",
}


class Daemon(SimpleNamespace):
    """Stands in for `cli.gatewayd.daemon`."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[Settings] = []
        self.failure: BaseException | None = None

    def run(self, settings: Settings) -> None:
        self.settings.append(settings)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    daemon = Daemon()
    monkeypatch.setitem(sys.modules, "cli.gatewayd.daemon", daemon)
    monkeypatch.setattr("cli.gatewayd.log_output.configure_logging", lambda *_: None)
    return daemon


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


def test_everything_from_the_environment(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert main(["lnd"]) == 0
    (settings,) = daemon.settings
    assert settings.public_url == "http://127.0.0.1:8175/v1"
    assert settings.default_routing_fees == PaymentFee(0, 0)
    assert settings.skip_setup
    assert capsys.readouterr().err == (
        "gatewayd: FM_BITCOIND_URL is set but not supported, it is ignored\n"
    )


def test_flags_win_over_the_environment(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    before = ["--data-dir", "lnd", "--listen=[::1]:1", "--network", "signet", "--skip-setup"]
    after = ["--lnd-time-pref", "-1", "--lnd-payment-timeout", "60"]
    assert main([*before, "lnd", *after]) == 0
    (settings,) = daemon.settings
    assert settings.data_dir == Path("lnd")
    assert settings.listen == ListenAddress("::1", 1)
    assert settings.network == "signet"
    assert isinstance(settings.node, LndNodeSettings)
    assert (settings.node.time_pref, settings.node.payment_timeout_s) == (-1, 60)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lnd"], "Missing: --data-dir (FM_GATEWAY_DATA_DIR), --listen"),
        (["ldk"], 'Unknown command "ldk"'),
        (["--iroh-listen=x", "lnd"], "--iroh-listen is not a flag of this gateway"),
        (["lnd", "--ldk-alias", "x"], "Unknown option: --ldk-alias"),
        (["lnd", "x"], "Unused Tokens"),
        (["--network"], "--network requires an argument"),
    ],
)
def test_a_wrong_start_is_one_sentence(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(words) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gatewayd: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert daemon.settings == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (FatalError("The log does not verify"), 70),
        (UnavailableError("LND does not answer"), 6),
    ],
)
def test_exit_codes_of_the_daemon(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, failure: Exception, code: int
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    daemon.failure = failure
    assert main(["lnd"]) == code


def test_an_interrupt_is_130(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    daemon.failure = KeyboardInterrupt()
    with pytest.raises(SystemExit, match="130"):
        main(["lnd"])


def test_version_and_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gatewayd 0.13.")
    assert main(["demo", "--version"]) == 0
    assert capsys.readouterr().out.startswith("gatewayd 0.13.")
    assert main(["version-hash"]) == 0
    assert len(bytes.fromhex(capsys.readouterr().out)) == 20


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--help"], "gatewayd"),
        (["lnd", "--help"], "gatewayd-lnd"),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], words: list[str], name: str) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == (SNAPSHOTS / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    "words", [["log", "--help"], ["log", "show", "--help"], ["demo", "--help"]]
)
def test_the_tools_help_is_not_buried_under_the_flags_of_a_gateway(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: gatewayd {' '.join(words[:-1])} ")
    assert "FM_GATEWAY_DATA_DIR" not in printed
