"""A backup becomes a log that goes on, frozen: offline, or at a start when the node says that the log is one."""

from engine.engine import Engine, Ports
from engine.fold import Machines
from engine.machine import State
from engine.store import Store
from errors import InputError
from statemachines import identity, send
from statemachines.federation import Joined, Left

#: Sends of which the lost events may have known more than the node will ever tell.
_HELD_BACK = (send.Accepted, send.Dispatching, send.Unanswered)


def freeze(store: Store, machines: Machines, ports: Ports) -> identity.Restoration:
    """Verify and replay the log of `store`, and write that it was restored; one append, no effect leaves.

    Raises InputError for a log without events, or with events that this program cannot read, FatalError for one that
    cannot be trusted.
    """
    newest = store.query(
        "SELECT recorded_unix_us FROM log WHERE position = ?", (store.head.position,)
    )
    if not newest:
        raise InputError("the backup holds no events: start an empty data directory instead")
    engine = Engine(store, machines, {}, ports)
    _refuse_unread(engine)
    restore = restoration_of(
        engine,
        position=store.head.position,
        backup_unix_s=int(str(newest[0][0])) // 1_000_000,
        now_unix_s=ports.clock.now_unix_us() // 1_000_000,
    )
    engine.deliver(identity.STREAM, restore)
    engine.write_decided()
    founded = engine.peek(identity.STREAM)
    assert isinstance(founded, identity.Founded)
    assert founded.restoration is not None
    return founded.restoration


def restoration_of(
    engine: Engine,
    *,
    position: int,
    backup_unix_s: int,
    now_unix_s: int,
    evidence: str = "",
    judged_unix_s: int = 0,
) -> identity.Restore:
    """The input that freezes this log as it is now, a backup that ended at `position`."""
    states = engine.open_streams()
    sends = (s.facts.contract_id for s in states.values() if isinstance(s, _HELD_BACK))
    return identity.Restore(
        position=position,
        backup_unix_s=backup_unix_s,
        now_unix_s=now_unix_s,
        federations=tuple(sorted(_federations(states))),
        sends=tuple(sorted(sends)),
        evidence=evidence,
        judged_unix_s=judged_unix_s,
    )


def _refuse_unread(engine: Engine) -> None:
    """Raises InputError for what this program cannot read: it could not be held back, and a later one would go on."""
    for one in engine.faults.quarantined():
        if not one.is_readable:
            raise InputError(
                f"the backup holds what this program cannot read, at {one.stream}: {one.fault}; restore it with the "
                "version that wrote it, or a later one"
            )


def _federations(states: dict[str, State]) -> set[str]:
    return {s.facts.federation_id for s in states.values() if isinstance(s, Joined | Left)}
