"""How the gateway's own state reads to an operator: names of states, open payments and their age."""

from backends.lightning import NodeInfo
from engine.engine import Engine
from engine.store import Store
from gateway.views import LightningStatus, OpenPayment
from statemachines import send
from statemachines import transaction as tx


def state_name(node: NodeInfo | None, *, stopping: bool) -> str:
    """The `gateway_state` of `/info`."""
    if stopping:
        return "ShuttingDown"
    if node is None:
        return "Disconnected"
    return "Running" if node.synced_to_chain else "Syncing"


def lightning(node: NodeInfo | None) -> LightningStatus | None:
    """The node as `/info` shows it."""
    if node is None:
        return None
    return LightningStatus(
        public_key=node.public_key,
        alias=node.alias,
        network=node.network,
        block_height=node.block_height,
        synced_to_chain=node.synced_to_chain,
    )


def open_payments(engine: Engine, store: Store, now_unix_us: int) -> tuple[OpenPayment, ...]:
    """Every payment and transaction that is not over, oldest first."""
    errors = {job.stream: job.last_error for job in engine.jobs() if job.last_error is not None}
    began = {
        str(stream): int(str(began_unix_us))
        for stream, began_unix_us in store.query(
            "SELECT stream, began_unix_us FROM stream WHERE kind IN ('send', 'tx') AND final = 0"
        )
    }
    open_now = []
    for stream, state in engine.open_streams().items():
        federation_id = _federation_of(state)
        if federation_id is None:
            continue
        began_unix_us = began.get(stream, now_unix_us)
        open_now.append(
            OpenPayment(
                stream=stream,
                kind=stream.partition("/")[0],
                federation_id=federation_id,
                state=type(state).__name__,
                since_unix_s=began_unix_us // 1_000_000,
                age_s=max(0, now_unix_us - began_unix_us) // 1_000_000,
                last_error=errors.get(stream),
            )
        )
    return tuple(sorted(open_now, key=lambda payment: (payment.since_unix_s, payment.stream)))


def _federation_of(state: object) -> str | None:
    """The federation of an open payment's state, None for streams that are no payments."""
    if isinstance(state, send.OPEN_STATES):
        return state.facts.federation_id
    if isinstance(state, tx.Reserved | tx.Signed | tx.Accepted):
        return state.reservation.federation_id
    return None


def open_streams_of(engine: Engine, federation_id: str) -> list[str]:
    """The streams of a federation in which money is under way."""
    return sorted(
        stream
        for stream, state in engine.open_streams().items()
        if _federation_of(state) == federation_id
    )
