"""What the rules of every kind of module tell of an item of a transaction."""

from typing import Any, NamedTuple, Protocol

from devnet.guardians.ledger import Draft
from fedimint.codec.wire_types import ModuleError, OutPoint


class Moment(NamedTuple):
    """When a transaction is judged: by the blocks and the clock the federation agrees on."""

    block_count: int
    unix_time_s: int


class InputMeta(NamedTuple):
    """What an input brings, what it costs, and whose signature it needs (33 bytes)."""

    amount_msat: int
    fee_msat: int
    public_key: bytes


class OutputMeta(NamedTuple):
    """What an output takes and costs."""

    amount_msat: int
    fee_msat: int


class ModuleRules(Protocol):
    """The rules of one kind of module, whose decoded items it takes."""

    def check(self, item: Any) -> None:
        """Raises DecodeError when a curve point of an input or output is none."""

    def process_input(self, draft: Draft, item: Any, moment: Moment) -> InputMeta | ModuleError:
        """Apply it to the draft, or say why not."""

    def process_output(
        self, draft: Draft, item: Any, out_point: OutPoint, moment: Moment
    ) -> OutputMeta | ModuleError:
        """Apply it to the draft, or say why not."""
