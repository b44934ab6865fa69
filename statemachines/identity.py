"""The identity of a log: its gateway and node, the indices given out, restores from backups.

What happened after the last event of a backup is in no log: payments may have been made and given up, invoices paid,
notes spent. So a restored log is frozen: whatever could send money out waits until node and federations were asked
about everything that was open (`gateway/reconciliation.py`).

Calls leave for one Lightning node, the first that answered, and its record alone says what became of them. Another one
takes its place by the operator's word, that the old one is gone (`gateway/pinned_node.py`). Stream: `gateway/self`.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, Tell, refused, table
from errors import ConfigError, ConflictError
from statemachines import send
from statemachines.federation import FederationFacts, Join
from statemachines.federation import stream_of as federation_stream
from statemachines.items import HeldNote
from statemachines.transaction import wallet_of
from statemachines.wallet import DiscardTweaks

STREAM = "gateway/self"


class Restoration(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest restore: `position` is the last event of the backup, written at `backup_unix_s`.

    `node` is the one of the backup: calls of the lost events may have left for it. Empty when the backup knew none.
    `evidence` says why the log was taken for a backup, where nobody restored it by hand.
    """

    position: int
    backup_unix_s: int
    restored_unix_s: int
    is_frozen: bool = True
    node: str = ""
    evidence: str = ""


class Unfounded(State, frozen=True):
    """A new log."""


class Founded(State, frozen=True):
    """`mnemonic_fingerprint` tells mnemonics apart and leads back to none; `federations` counts indices given out.

    `node` is the public key (hex) of the Lightning node, None until it has answered once.
    Payments of the node that were begun up to `judged_unix_s`, by its clock, say nothing more about this log.
    """

    network: str
    mnemonic_fingerprint: str
    federations: int = 0
    restoration: Restoration | None = None
    node: str | None = None
    judged_unix_s: int = 0

    @property
    def is_frozen(self) -> bool:
        """Whether nothing may leave yet."""
        return self.restoration is not None and self.restoration.is_frozen


class Start(Input, frozen=True):
    """The process starts with this network and mnemonic."""

    network: str
    mnemonic_fingerprint: str


class JoinFederation(Input, frozen=True):
    """Join with the next index. `recovered` are notes of ours that the federation's history holds."""

    facts: FederationFacts
    recovered: tuple[HeldNote, ...] = ()


class Restore(Input, frozen=True):
    """This log is a backup being opened anew. `federations` have wallets, `sends` (contract ids) are open."""

    position: int
    backup_unix_s: int
    now_unix_s: int
    federations: tuple[str, ...]
    sends: tuple[str, ...]
    evidence: str = ""
    judged_unix_s: int = 0


class Reconcile(Input, frozen=True):
    """Node and federations have answered for everything; the node knows this many payments that the log does not."""

    unknown_payments: int


class MeetNode(Input, frozen=True):
    """A node with this public key (hex) answered."""

    node: str


class ReplaceNode(Input, frozen=True):
    """The operator's word: the node `gone` is gone, and `node` takes its place. Public keys, hex."""

    gone: str
    node: str


class GatewayFounded(Event, frozen=True):
    kind: ClassVar[str] = "gateway.founded"
    network: str
    mnemonic_fingerprint: str


class IndexTaken(Event, frozen=True):
    """`index` is this federation's; an index is never given to another (it is its short channel id in LNv1)."""

    kind: ClassVar[str] = "gateway.index_taken"
    federation_id: str
    index: int


class GatewayRestored(Event, frozen=True, omit_defaults=True):
    """From here on the log goes on from a backup, frozen."""

    kind: ClassVar[str] = "gateway.restored"
    position: int
    backup_unix_s: int
    restored_unix_s: int
    evidence: str = ""
    judged_unix_s: int = 0


class GatewayReconciled(Event, frozen=True):
    """The freeze is over."""

    kind: ClassVar[str] = "gateway.reconciled"
    unknown_payments: int


class NodePinned(Event, frozen=True):
    """From here on this is the gateway's node."""

    kind: ClassVar[str] = "gateway.node_pinned"
    node: str


class NodeReplaced(Event, frozen=True):
    """The operator gave the node `gone` up; nothing that `node` says tells of a call that left for it."""

    kind: ClassVar[str] = "gateway.node_replaced"
    gone: str
    node: str


def _found(_state: Unfounded, input_: Start) -> Decision:
    founded = GatewayFounded(
        network=input_.network, mnemonic_fingerprint=input_.mnemonic_fingerprint
    )
    return Decision(events=(founded,))


def _start(state: Founded, input_: Start) -> Decision:
    if state.network != input_.network:
        raise ConfigError(
            f"this data directory belongs to a gateway on {state.network}, not {input_.network}: "
            "choose its network or another data directory"
        )
    if state.mnemonic_fingerprint != input_.mnemonic_fingerprint:
        raise ConfigError(
            "this data directory belongs to a gateway with another mnemonic: "
            "give that one or choose another data directory"
        )
    return Decision()


def _join(state: Founded, input_: JoinFederation) -> Decision:
    facts, index = input_.facts, state.federations + 1
    join = Join(facts=facts, index=index, recovered=input_.recovered)
    return Decision(
        events=(IndexTaken(federation_id=facts.federation_id, index=index),),
        tells=(Tell(federation_stream(facts.federation_id), join),),
    )


def _restore(_state: Founded, input_: Restore) -> Decision:
    """Freeze; and in the same append give up what the lost events may have used or decided."""
    restored = GatewayRestored(
        position=input_.position,
        backup_unix_s=input_.backup_unix_s,
        restored_unix_s=input_.now_unix_s,
        evidence=input_.evidence,
        judged_unix_s=input_.judged_unix_s,
    )
    tweaks = (Tell(wallet_of(one), DiscardTweaks()) for one in input_.federations)
    sends = (Tell(send.stream_of(one), send.HoldBack()) for one in input_.sends)
    return Decision(events=(restored,), tells=(*tweaks, *sends))


def _reconcile(state: Founded, input_: Reconcile) -> Decision:
    if not state.is_frozen:
        return Decision()
    return Decision(events=(GatewayReconciled(unknown_payments=input_.unknown_payments),))


def _meet(state: Founded, input_: MeetNode) -> Decision:
    if state.node is None:
        return Decision(events=(NodePinned(node=input_.node),))
    if state.node != input_.node:
        raise ConflictError(f"this gateway's Lightning node is {state.node}, not {input_.node}")
    return Decision()


def _replace(state: Founded, input_: ReplaceNode) -> Decision:
    if state.node != input_.gone:
        raise ConflictError(
            f"this gateway's Lightning node is {state.node or 'none yet'}, not {input_.gone}: name that one"
        )
    if state.node == input_.node:
        raise ConflictError(f"{input_.node} is this gateway's Lightning node already")
    return Decision(events=(NodeReplaced(gone=input_.gone, node=input_.node),))


def _founded(_state: Unfounded, event: GatewayFounded) -> Founded:
    return Founded(network=event.network, mnemonic_fingerprint=event.mnemonic_fingerprint)


def _index_taken(state: Founded, event: IndexTaken) -> Founded:
    return msgspec.structs.replace(state, federations=event.index)


def _restored(state: Founded, event: GatewayRestored) -> Founded:
    restoration = Restoration(
        event.position,
        event.backup_unix_s,
        event.restored_unix_s,
        node=state.node or "",
        evidence=event.evidence,
    )
    judged_unix_s = max(state.judged_unix_s, event.judged_unix_s)
    return msgspec.structs.replace(state, restoration=restoration, judged_unix_s=judged_unix_s)


def _reconciled(state: Founded, _event: GatewayReconciled) -> Founded:
    assert state.restoration is not None
    over = msgspec.structs.replace(state.restoration, is_frozen=False)
    return msgspec.structs.replace(state, restoration=over)


def _pinned(state: Founded, event: NodePinned | NodeReplaced) -> Founded:
    return msgspec.structs.replace(state, node=event.node)


MACHINE = Machine(
    kind="gateway",
    initial=Unfounded(),
    states=(Unfounded, Founded),
    inputs=(Start, JoinFederation, Restore, Reconcile, MeetNode, ReplaceNode),
    rules=table(
        {
            (Unfounded, Start): Handle(_found, to=(Founded,)),
            (Founded, Start): Handle(_start, to=(Founded,)),
            (Founded, JoinFederation): Handle(_join, to=(Founded,)),
            (Founded, Restore): Handle(_restore, to=(Founded,)),
            (Founded, Reconcile): Handle(_reconcile, to=(Founded,)),
            (Founded, MeetNode): Handle(_meet, to=(Founded,)),
            (Founded, ReplaceNode): Handle(_replace, to=(Founded,)),
        },
        refused(
            (Unfounded,),
            (JoinFederation, Restore, Reconcile, MeetNode, ReplaceNode),
            "the gateway has not started yet",
        ),
    ),
    evolvers={
        GatewayFounded: _founded,
        IndexTaken: _index_taken,
        GatewayRestored: _restored,
        GatewayReconciled: _reconciled,
        NodePinned: _pinned,
        NodeReplaced: _pinned,
    },
)
