"""Notes that others gave us, with their keys, in memory until the transaction that reissues them is signed."""

from collections.abc import Iterable

from fedimint.mintv2 import SpendableNote


class ForeignNotes:
    """Notes by nonce, in hex. A process that ends forgets them: they are still their giver's then."""

    def __init__(self) -> None:
        self._notes: dict[str, SpendableNote] = {}
        self._used: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._notes)

    def keep(self, notes: Iterable[SpendableNote]) -> None:
        for note in notes:
            self._notes[note.note().nonce.hex()] = note

    def find(self, tx: str, nonces: Iterable[str]) -> dict[str, SpendableNote] | None:
        """All of these notes by nonce, for the transaction of this stream; None when one of them was forgotten."""
        wanted = tuple(nonces)
        if wanted:
            self._used[tx] = wanted
        known = self._notes
        return {one: known[one] for one in wanted} if known.keys() >= set(wanted) else None

    def forget(self, nonces: Iterable[str]) -> None:
        for nonce in nonces:
            self._notes.pop(nonce, None)

    def forget_used(self, tx: str) -> None:
        """This transaction no longer needs its notes: it is signed, or given up. Their giver may be gone."""
        self.forget(self._used.pop(tx, ()))
