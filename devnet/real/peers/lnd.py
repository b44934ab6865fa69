"""lnd and lncli, from the Go module proxy."""

import shutil

from devnet.real.peers.catalogue import LND_VERSION, cache_dir, mark
from devnet.real.peers.steps import PeerInstallError, step

LND_TAGS = "signrpc walletrpc chainrpc invoicesrpc routerrpc peersrpc monitoring kvdb_sqlite"

# LND's JSON output needs this fork; a replace directive of LND itself does not reach a module
# that only requires it.
LND_GO_MOD = f"""\
module peers

go 1.24

require github.com/lightningnetwork/lnd {LND_VERSION}

replace google.golang.org/protobuf => \
github.com/lightninglabs/protobuf-go-hex-display v1.33.0-hex-display
"""


def install_lnd() -> None:
    """Builds lnd and lncli in a small module of its own, without cgo."""
    if shutil.which("go") is None:
        raise PeerInstallError("go is not on PATH; install Go 1.24 or later first")
    root = cache_dir()
    module = root / "lnd-module"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text(LND_GO_MOD)
    programs = [f"github.com/lightningnetwork/lnd/cmd/{name}" for name in ("lnd", "lncli")]
    versions = [f"{program}@{LND_VERSION}" for program in programs]
    with step("lnd and lncli", "about 5 minutes on two cores") as run:
        run(["go", "get", *versions], folder=module)
        run(
            [
                "nice",
                "go",
                "build",
                "-trimpath",
                "-tags",
                LND_TAGS,
                "-o",
                f"{root}/bin/",
                *programs,
            ],
            folder=module,
            environment={"CGO_ENABLED": "0"},
        )
    shutil.rmtree(module)
    mark("lnd")
    mark("lncli")
