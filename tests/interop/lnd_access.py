"""Reaching a running LND with a macaroon that allows only what docs/lnd.md names."""

import subprocess
from pathlib import Path

from backends.lnd.connection import LndSettings
from backends.lnd.credentials import Credential
from backends.lnd.node import LndNode
from devnet.real import lnd_node, peers

# As docs/lnd.md bakes them.
PAYING = (
    "uri:/lnrpc.Lightning/GetInfo",
    "uri:/lnrpc.Lightning/WalletBalance",
    "uri:/lnrpc.Lightning/ChannelBalance",
    "uri:/routerrpc.Router/SendPaymentV2",
    "uri:/routerrpc.Router/TrackPaymentV2",
)
RECEIVING = (
    "uri:/lnrpc.Lightning/ListInvoices",
    "uri:/lnrpc.Lightning/SubscribeInvoices",
    "uri:/invoicesrpc.Invoices/AddHoldInvoice",
    "uri:/invoicesrpc.Invoices/CancelInvoice",
    "uri:/invoicesrpc.Invoices/LookupInvoiceV2",
    "uri:/invoicesrpc.Invoices/SettleInvoice",
    "uri:/invoicesrpc.Invoices/SubscribeSingleInvoice",
)
OPERATING = (
    "uri:/lnrpc.Lightning/AddInvoice",
    "uri:/lnrpc.Lightning/CloseChannel",
    "uri:/lnrpc.Lightning/ConnectPeer",
    "uri:/lnrpc.Lightning/GetChanInfo",
    "uri:/lnrpc.Lightning/GetNodeInfo",
    "uri:/lnrpc.Lightning/GetTransactions",
    "uri:/lnrpc.Lightning/ListChannels",
    "uri:/lnrpc.Lightning/ListPayments",
    "uri:/lnrpc.Lightning/ListPeers",
    "uri:/lnrpc.Lightning/NewAddress",
    "uri:/lnrpc.Lightning/OpenChannelSync",
    "uri:/lnrpc.Lightning/PendingChannels",
    "uri:/lnrpc.Lightning/SendCoins",
    "uri:/lnrpc.Lightning/UpdateChannelPolicy",
)

_DEADLINE_S = 30


def bake(node: lnd_node.LndNode, path: Path, *permissions: str) -> Path:
    """A macaroon of the node's with these permissions alone."""
    lncli = peers.find("lncli")
    assert lncli is not None
    subprocess.run(
        [
            lncli,
            f"--lnddir={node.folder}",
            f"--rpcserver={node.rpc_address}",
            "--network=regtest",
            "bakemacaroon",
            f"--save_to={path}",
            *permissions,
        ],
        check=True,
        capture_output=True,
        timeout=_DEADLINE_S,
    )
    return path


def connect(node: lnd_node.LndNode, macaroon_path: Path) -> LndNode:
    """The backend under test on a node."""
    return LndNode(
        LndSettings(
            address=node.rpc_address,
            tls_cert=Credential(path=node.tls_cert_path),
            macaroon=Credential(path=macaroon_path),
            payment_timeout_s=20,
        )
    )
