"""The log of a gateway under test, read while it runs, as tools read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engine.chain import Row
from engine.events import Event
from engine.storage.reader import open_log
from gateway.log import machines
from statemachines.send import (
    SendAccepted,
    SendCancelled,
    SendCancelling,
    SendClaimed,
    SendClaimRejected,
    SendFacts,
)
from statemachines.transaction import TxCollected, TxReserved, TxSigned

#: Streams that a payment writes to; the wallet's also grows by itself, with tweaks.
_PAYMENT_STREAMS = ("send/", "image/", "tx/")
_ENDS = (SendClaimed, SendClaimRejected, SendCancelled)


class Entry(NamedTuple):
    """One row with its event."""

    row: Row
    event: Event


class GatewayLog:
    """The log in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._codec = machines().codec

    def entries(self) -> list[Entry]:
        """Every row."""
        with open_log(self._data_dir) as log:
            return [
                Entry(chained.row, self._codec.decode(chained.row.event)) for chained in log.rows()
            ]

    def position(self) -> int:
        """The newest row's."""
        return self.entries()[-1].row.position

    def payment_positions(self) -> list[int]:
        """Where everything stands that payments ever wrote."""
        return [
            entry.row.position
            for entry in self.entries()
            if entry.row.stream.startswith(_PAYMENT_STREAMS)
        ]

    def history(self, contract_id: bytes) -> list[Event]:
        """The events of one outgoing payment."""
        stream = f"send/{contract_id.hex()}"
        return [entry.event for entry in self.entries() if entry.row.stream == stream]

    def kinds(self, contract_id: bytes) -> list[str]:
        """The kinds of these events."""
        return [event.kind for event in self.history(contract_id)]

    async def is_over(self, contract_id: bytes) -> bool:
        """Whether the payment has come to its end, claim and all."""
        return any(isinstance(event, _ENDS) for event in self.history(contract_id))

    def cancellation(self, contract_id: bytes) -> SendCancelling:
        """Why the payment was given up, once."""
        (given_up,) = (e for e in self.history(contract_id) if isinstance(e, SendCancelling))
        return given_up

    def facts_of(self, payment_hash: str) -> SendFacts:
        """What was accepted for a payment hash (hex), once."""
        (facts,) = (
            entry.event.facts
            for entry in self.entries()
            if isinstance(entry.event, SendAccepted)
            and entry.event.facts.payment_hash == payment_hash
        )
        return facts

    def contracts_msat(self) -> dict[tuple[str, int], int]:
        """What each contract of a payment holds, by txid (hex) and index."""
        accepted = [e.event.facts for e in self.entries() if isinstance(e.event, SendAccepted)]
        return {(facts.txid, facts.out_idx): facts.contract_msat for facts in accepted}

    def finished_transactions(self, federation_id: bytes, after: int) -> Sequence[bytes]:
        """Signed bytes of the transactions in a federation that were finished after a position."""
        entries = self.entries()
        signed = {
            entry.row.stream: entry.event.encoded
            for entry in entries
            if isinstance(entry.event, TxSigned)
        }
        of_federation = {
            entry.row.stream
            for entry in entries
            if isinstance(entry.event, TxReserved)
            and entry.event.reservation.federation_id == federation_id.hex()
        }
        return [
            signed[entry.row.stream]
            for entry in entries
            if isinstance(entry.event, TxCollected)
            and entry.row.position > after
            and entry.row.stream in of_federation
        ]
