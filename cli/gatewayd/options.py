"""The flags and environment variables of gatewayd, as text; `cli.gatewayd.settings` gives them types.

Those of a kind of node are in its file of `cli/gatewayd/nodes/`.

Names are those of gateway-server/src/config.rs and envs.rs. Only what this release does is here: a flag
of the Rust gateway that is missing is refused, never accepted and ignored.
"""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


@dataclass(frozen=True)
class GatewayOptions:
    """Flags that stand before the subcommand."""

    data_dir: Annotated[str | None, Parameter(env_var="FM_GATEWAY_DATA_DIR")] = None
    """Data directory of the gateway; made when missing."""

    listen: Annotated[str | None, Parameter(env_var="FM_GATEWAY_LISTEN_ADDR")] = None
    """Address to serve the HTTP API on, such as 127.0.0.1:8175."""

    api_addr: Annotated[str | None, Parameter(env_var="FM_GATEWAY_API_ADDR")] = None
    """URL at which clients reach this gateway; without it none is announced."""

    bcrypt_password_hash: Annotated[
        str | None, Parameter(env_var="FM_GATEWAY_BCRYPT_PASSWORD_HASH")
    ] = None
    """bcrypt hash of the admin password."""

    bcrypt_liquidity_manager_password_hash: Annotated[
        str | None,
        Parameter(
            # With underscores in Rust.
            alias="--bcrypt_liquidity_manager_password_hash",
            env_var="FM_GATEWAY_LIQUIDITY_MANAGER_BCRYPT_PASSWORD_HASH",
        ),
    ] = None
    """bcrypt hash of a second password, which allows all but to spend, join, leave, stop and see the mnemonic."""

    network: Annotated[str | None, Parameter(env_var="FM_GATEWAY_NETWORK")] = None
    """bitcoin, testnet, testnet4, signet or regtest."""

    default_routing_fees: Annotated[str, Parameter(env_var="FM_DEFAULT_ROUTING_FEES")] = (
        "2000 msat,3000"
    )
    """Fee for routing over Lightning: an amount, a comma, parts per million."""

    default_transaction_fees: Annotated[str, Parameter(env_var="FM_DEFAULT_TRANSACTION_FEES")] = (
        "2000 msat,3000"
    )
    """Fee for every payment, in the same form."""

    invoice_rate_limit_burst: Annotated[
        str, Parameter(env_var="FM_GATEWAY_INVOICE_RATE_LIMIT_BURST")
    ] = "50"
    """How many invoices clients may ask for at once."""

    invoice_rate_limit_per_second: Annotated[
        str, Parameter(env_var="FM_GATEWAY_INVOICE_RATE_LIMIT_PER_SECOND")
    ] = "5"
    """How many invoices a second clients may ask for in the long run."""

    iroh_dns: Annotated[str | None, Parameter(env_var="FM_IROH_DNS")] = None
    """URL of a pkarr server that is asked for the addresses of iroh nodes before those of n0."""

    trusted_proxies: Annotated[str, Parameter(env_var="FM_GATEWAY_TRUSTED_PROXIES")] = ""
    """Addresses or networks of reverse proxies, such as 127.0.0.1,10.0.0.0/8, whose X-Forwarded-For is believed, \
so that limits count callers and not proxies."""

    node_is_shared: Annotated[bool, Parameter(negative="")] = False
    """Others pay with this Lightning node too: unknown payments of it are then no sign of an old log. \
[env var: FM_GATEWAY_NODE_IS_SHARED]"""

    skip_setup: Annotated[bool, Parameter(negative="")] = False
    """Without a mnemonic, take that of FM_GATEWAY_MNEMONIC or make one, and start at once. \
[env var: FM_GATEWAY_SKIP_SETUP]"""
