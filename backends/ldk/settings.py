"""What the node inside is opened with: a folder, the words its keys follow from, and a source of the chain."""

from pathlib import Path

import msgspec

from fedimint.codec.wire_types import Network

#: As the Rust gateway names it (fedimint-gateway-server/src/lib.rs); everything of LDK is in there.
FOLDER_NAME = "ldk_node"
#: ldk-node's own file in it (ldk-node src/io/sqlite_store/mod.rs).
DATABASE_NAME = "ldk_node_data.sqlite"
#: An alias in gossip has so many bytes.
ALIAS_BYTES = 32


class BitcoindSource(msgspec.Struct, frozen=True, tag=True):
    """The RPC interface of a bitcoind."""

    host: str
    port: int
    user: str
    password: str

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"BitcoindSource({self.host}:{self.port})"


class EsploraSource(msgspec.Struct, frozen=True, tag=True):
    """An Esplora server, as a URL without a slash at its end."""

    url: str


ChainSource = BitcoindSource | EsploraSource


class LdkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the node is opened.

    `directory` is the gateway's, in which the node has its folder. `recovers` says that the words may be older than
    this start: a new folder then looks for coins of theirs from the first block on.
    """

    directory: Path
    words: str
    network: Network
    port: int
    alias: str
    recovers: bool
    chain: ChainSource

    @property
    def folder(self) -> Path:
        """Where LDK keeps everything."""
        return self.directory / FOLDER_NAME

    @property
    def database(self) -> Path:
        """LDK's file."""
        return self.folder / DATABASE_NAME

    def __repr__(self) -> str:
        """Leave the words out."""
        return f"LdkSettings({self.folder}, {self.network}, port {self.port})"
