"""The kinds of Lightning node: one row each, which names the file with all that gatewayd needs of it.

The file is loaded when its command runs or shows its help, so that no other command waits for the node's library.
"""

from typing import NamedTuple


class NodeKind(NamedTuple):
    """`command` is the subcommand that starts a gateway on such a node, `function` where it is: "module:name"."""

    command: str
    help: str
    function: str


NODE_KINDS = (
    NodeKind("lnd", "Run the gateway on an LND node.", "cli.gatewayd.nodes.lnd:run_on_lnd"),
)
