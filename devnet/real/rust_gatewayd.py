"""The Rust gatewayd on a real LND, driven as ours is: by our gateway-cli, through the same settings."""

from pathlib import Path

from devnet.gatewayd import OurGatewayd
from devnet.real.bitcoind import Bitcoind
from devnet.real.lnd_node import LndNode


class RustGatewayd(OurGatewayd):
    """As `OurGatewayd`, but for the program, which asks bitcoind itself where ours asks the node."""

    def __init__(self, program_path: Path, folder: Path, node: LndNode, bitcoind: Bitcoind) -> None:
        super().__init__(
            folder,
            node,
            {
                "FM_BITCOIND_URL": f"http://{bitcoind.rpc_address}",
                "FM_BITCOIND_USERNAME": bitcoind.user,
                "FM_BITCOIND_PASSWORD": bitcoind.password,
                "FM_IN_DEVIMINT": "1",
            },
            program_path=program_path,
        )
