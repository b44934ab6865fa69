"""What gatewayd asks of the flags and settings of a node, whichever kind it is."""

from typing import Protocol

import msgspec

from backends.operations import Node


class NodeSettings(Protocol):
    """How a node is reached and how it shall pay, checked. Its repr shows no secret."""

    def open(self) -> Node:
        """A client of the node; nothing is read or connected before its first call. Raises ConfigError."""
        ...

    def mode(self) -> msgspec.Raw:
        """The JSON of `lightning_mode` in `/info`: a variant of upstream's enum (fedimint-gateway-common/src/lib.rs).

        It names files, and holds no secret.
        """
        ...


class NodeOptions(Protocol):
    """The flags and variables of a kind of node as text: a dataclass of `cyclopts` fields, each with its `env_var`."""

    def required(self) -> tuple[tuple[str, str | None], ...]:
        """What must be given: the names of flag and variable for people, and the value."""
        ...

    def checked(self) -> NodeSettings:
        """Read everything, once all that is required is there. Raises ConfigError, which shows no secret."""
        ...
