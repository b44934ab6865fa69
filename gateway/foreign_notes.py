"""Notes that others gave us, with their keys, until the transaction that reissues them is signed: in memory alone."""

from collections.abc import Iterable

from fedimint.mintv2 import SpendableNote


class ForeignNotes:
    """Notes by nonce, in hex. A process that ends forgets them: they are still their giver's then."""

    def __init__(self) -> None:
        self._notes: dict[str, SpendableNote] = {}

    def keep(self, notes: Iterable[SpendableNote]) -> None:
        for note in notes:
            self._notes[note.note().nonce.hex()] = note

    def find(self, nonces: Iterable[str]) -> tuple[SpendableNote, ...] | None:
        """All of these notes, None when one of them was forgotten."""
        found = [self._notes.get(nonce) for nonce in nonces]
        return tuple(note for note in found if note is not None) if None not in found else None

    def forget(self, notes: Iterable[SpendableNote]) -> None:
        for note in notes:
            self._notes.pop(note.note().nonce.hex(), None)
