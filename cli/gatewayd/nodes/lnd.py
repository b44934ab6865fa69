"""LND as a node of gatewayd: its command, flags, checks, how it is opened, and what `/info` shows of it.

Names and defaults are those of gateway-server/src/config.rs and envs.rs.
"""

import math
import os
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from backends.lnd.credentials import Credential, certificate_of, macaroon_of
from backends.operations import Node
from cli.gatewayd.options import GatewayOptions
from cli.gatewayd.start import start
from errors import ConfigError

#: A name, an IPv4 address, or an IPv6 address in brackets; a port.
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[a-z0-9._-]+):[0-9]{1,5}")

_TLS_CERT = "--lnd-tls-cert (FM_LND_TLS_CERT)"
_MACAROON = "--lnd-macaroon (FM_LND_MACAROON)"


class LndModeSettings(msgspec.Struct, frozen=True):
    """How LND is reached: an address and two file paths, never the files' contents."""

    lnd_rpc_addr: str
    lnd_tls_cert: str
    lnd_macaroon: str
    lnd_time_pref: float
    lnd_payment_timeout_secs: int


class LndMode(msgspec.Struct, frozen=True):
    """The variant `{"Lnd": …}` of `LightningMode` (fedimint-gateway-common/src/lib.rs)."""

    lnd: LndModeSettings = msgspec.field(name="Lnd")


class LndNodeSettings(msgspec.Struct, frozen=True):
    """How to reach LND, and how it shall pay. `time_pref` is -1 to 1, `payment_timeout_s` 1 to 600."""

    rpc_addr: str
    tls_cert: Credential
    macaroon: Credential
    time_pref: float
    payment_timeout_s: int

    def open(self) -> Node:
        """A client of this LND."""
        # They load gRPC, which reads its variables once (see `run_on_lnd`).
        from backends.lnd.connection import LndSettings  # noqa: PLC0415
        from backends.lnd.node import LndNode  # noqa: PLC0415

        return LndNode(
            LndSettings(
                address=self.rpc_addr,
                tls_cert=self.tls_cert,
                macaroon=self.macaroon,
                time_pref=self.time_pref,
                payment_timeout_s=self.payment_timeout_s,
            )
        )

    def mode(self) -> msgspec.Raw:
        """`{"Lnd": …}`."""
        mode = LndMode(
            LndModeSettings(
                lnd_rpc_addr=self.rpc_addr,
                lnd_tls_cert=str(self.tls_cert),
                lnd_macaroon=str(self.macaroon),
                lnd_time_pref=self.time_pref,
                lnd_payment_timeout_secs=self.payment_timeout_s,
            )
        )
        return msgspec.Raw(msgspec.json.encode(mode))


@dataclass(frozen=True)
class LndOptions:
    """Flags of the subcommand `lnd`."""

    lnd_rpc_host: Annotated[str | None, Parameter(env_var="FM_LND_RPC_ADDR")] = None
    """Address of LND's gRPC interface, such as https://127.0.0.1:10009."""

    lnd_tls_cert: Annotated[str | None, Parameter(env_var="FM_LND_TLS_CERT")] = None
    """File with LND's TLS certificate."""

    lnd_macaroon: Annotated[str | None, Parameter(env_var="FM_LND_MACAROON")] = None
    """File with LND's admin macaroon."""

    lnd_time_pref: Annotated[str, Parameter(env_var="FM_LND_TIME_PREF")] = "0.5"
    """Cheap (-1) or reliable (1) routes."""

    lnd_payment_timeout: Annotated[str, Parameter(env_var="FM_LND_PAYMENT_TIMEOUT_SECS")] = "180"
    """Seconds for which LND looks for a route, 1 to 600."""

    def required(self) -> tuple[tuple[str, str | None], ...]:
        """Where LND is, and the two files that it is called with."""
        return (
            ("--lnd-rpc-host (FM_LND_RPC_ADDR)", self.lnd_rpc_host),
            (_TLS_CERT, self.lnd_tls_cert),
            (_MACAROON, self.lnd_macaroon),
        )

    def checked(self) -> LndNodeSettings:
        """Read all five. Raises ConfigError for the first that is wrong."""
        return LndNodeSettings(
            rpc_addr=_address(self.lnd_rpc_host or ""),
            tls_cert=certificate_of(self.lnd_tls_cert or "", _TLS_CERT),
            macaroon=macaroon_of(self.lnd_macaroon or "", _MACAROON),
            time_pref=_time_pref(self.lnd_time_pref),
            payment_timeout_s=_payment_timeout_s(self.lnd_payment_timeout),
        )


def run_on_lnd(
    *,
    lnd_options: Annotated[LndOptions | None, Parameter(name="*")] = None,
    options: Annotated[GatewayOptions, Parameter(parse=False)],
) -> None:
    """Run the gateway on an LND node."""
    # gRPC's own library writes to stderr past all loggers; what a call failed of is logged by its caller.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    start(options, lnd_options or LndOptions())


def _address(text: str) -> str:
    """A URL with a port, or host:port, as LND's own tools write it; in small letters and with nothing behind it.

    What may hold a secret, as `lndconnect:` does, is not shown.
    """
    shown = "not shown here, as it may hold a secret" if {"@", "?"} & {*text} else repr(text)
    wrong = f"--lnd-rpc-host is {shown}, but "
    address = text.strip().lower()
    try:
        url = urlsplit(address if "://" in address else f"https://{address}")
        is_complete = url.scheme in {"http", "https"} and bool(url.hostname and url.port)
    except ValueError:
        raise ConfigError(f"{wrong}it must be like https://127.0.0.1:10009") from None
    if not is_complete or not _HOST.fullmatch(url.netloc):
        raise ConfigError(f"{wrong}it must be like https://127.0.0.1:10009")
    if url.scheme == "http":
        raise ConfigError(f"{wrong}LND's gRPC is encrypted: write https://{url.netloc}")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ConfigError(f"{wrong}gRPC knows no path: write https://{url.netloc}")
    return f"https://{url.netloc}" if "://" in address else url.netloc


def _time_pref(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise ConfigError(f"--lnd-time-pref is {text!r}, but must be a number from -1 to 1")
    return value


def _payment_timeout_s(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,3}", text) is None or not 1 <= int(text) <= 600:
        raise ConfigError(f"--lnd-payment-timeout is {text!r}, but must be 1 to 600 seconds")
    return int(text)
