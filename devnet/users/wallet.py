"""The notes of an embedded user: funding transactions with change, as a real mintv2 client does.

Balancing follows fedimint-mintv2-client src/lib.rs in what it promises (explicit items first, change
after them, sorted by denomination), not in which notes it takes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, TypeVarTuple

import msgspec

from errors import ConflictError, FatalError
from fedimint import mintv2
from fedimint.client.query import Guardians
from fedimint.config import ClientConfig
from fedimint.crypto.secrets import TWEAK_SIZE, DerivableSecret
from fedimint.federation_api import FederationApi, FinallyRejected
from fedimint.mintv2 import notes, selection
from fedimint.mintv2.api import Mintv2Api
from fedimint.mintv2.collecting import NoteCollector
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.notes import Note, NoteRequest
from fedimint.transaction import TRANSACTION, DynItem, Transaction, sign_transaction

T = TypeVar("T")
Args = TypeVarTuple("Args")


class TransactionRefused(ConflictError):  # noqa: N818 - what the federation did
    """A threshold of guardians refused the transaction; `rejection` says why."""

    def __init__(self, rejection: FinallyRejected) -> None:
        self.rejection = rejection
        super().__init__(f"the federation refused the transaction: {rejection.error()}")


class OwnInput(NamedTuple):
    """An input of another module, with the key that signs for it."""

    item: DynItem
    amount_msat: int
    fee_msat: int
    secret_key: bytes

    def __repr__(self) -> str:
        return f"OwnInput(amount_msat={self.amount_msat}, …)"


class OwnOutput(NamedTuple):
    """An output of another module."""

    item: DynItem
    amount_msat: int
    fee_msat: int


class Funded(msgspec.Struct, frozen=True):
    """A signed transaction. Its change begins at output `change_start`."""

    transaction: Transaction
    spent: tuple[Note, ...]
    change: tuple[NoteRequest, ...]
    change_start: int


class EmbeddedWallet:
    """Notes, and the federation they are of. Tweaks are random, not ground: nothing is recovered.

    Raises FatalError when the federation has no mintv2 module.
    """

    def __init__(
        self,
        config: ClientConfig,
        guardians: Guardians,
        module: DerivableSecret,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        found = config.find(MintV2ClientConfig)
        if found is None:
            raise FatalError("an embedded wallet needs a federation with mintv2")
        self.module_id, mint = found
        self.notes: list[Note] = []
        self.module = module
        self._fee = mint.fee_consensus
        self._guardians = guardians
        self._api = Mintv2Api(guardians, self.module_id)
        self._collector = NoteCollector(guardians, mint, module, run_here)
        self._random_bytes = random_bytes

    def balance_msat(self) -> int:
        """Return the face value of all notes."""
        return sum(note.amount_msat() for note in self.notes)

    def add(self, received: Sequence[Note]) -> None:
        """Take notes derived from this wallet's secret."""
        self.notes.extend(received)

    async def submit(self, inputs: Sequence[OwnInput], outputs: Sequence[OwnOutput]) -> Funded:
        """Fund, submit, and collect the change. Raises as `fund` and `complete` do."""
        funded = self.fund(inputs, outputs)
        await self.complete(funded)
        return funded

    def fund(self, inputs: Sequence[OwnInput], outputs: Sequence[OwnOutput]) -> Funded:
        """Take notes out of the wallet and sign a transaction that balances.

        Raises InsufficientNotesError, and EncodeError when it becomes too large.
        """
        net_msat = sum(item.amount_msat - item.fee_msat for item in inputs)
        net_msat -= sum(item.amount_msat + item.fee_msat for item in outputs)
        held = Counter(note.denomination for note in self.notes)
        chosen = selection.select_funding(held, self._fee, max(0, -net_msat))
        net_msat += sum(n * selection.net_msat(d, self._fee) for d, n in chosen.items())
        kept = held - Counter(chosen)
        change = selection.represent_amount(net_msat, kept, self._fee)
        requests = tuple(
            NoteRequest(denomination, self._random_bytes(TWEAK_SIZE))
            for denomination in change.denominations
        )
        spent = self._pick(Counter(chosen))
        transaction = sign_transaction(
            [*(item.item for item in inputs), *map(self._spend, spent)],
            [*(item.item for item in outputs), *self._ask(requests)],
            self._random_bytes(8),
            [
                *(item.secret_key for item in inputs),
                *(notes.spend_secret(self.module, note) for note in spent),
            ],
        )
        self.notes = [note for note in self.notes if note not in spent]
        return Funded(transaction, spent, requests, len(outputs))

    async def complete(self, funded: Funded) -> None:
        """Submit until final and collect the change; call it again after a cancellation.

        Raises TransactionRefused, and then the notes are back, and PeerError when more guardians lie
        about their shares than a federation can bear.
        """
        txid = funded.transaction.txid()
        encoded = TRANSACTION.encode(funded.transaction)
        result = await FederationApi(self._guardians).submit_until_final(encoded, txid)
        if isinstance(result, FinallyRejected):
            self.notes.extend(funded.spent)
            raise TransactionRefused(result)
        self.notes.extend(await self._collect(funded))

    async def receive(self, ecash: mintv2.Ecash) -> None:
        """Turn ecash into notes of this wallet, fees deducted. Raises TransactionRefused."""
        await self.submit([self._foreign(note) for note in ecash.notes()], [])

    def _pick(self, chosen: Counter[int]) -> tuple[Note, ...]:
        picked = []
        for note in sorted(self.notes, key=lambda note: note.denomination):
            if chosen[note.denomination] > 0:
                chosen[note.denomination] -= 1
                picked.append(note)
        return tuple(picked)

    def _spend(self, note: Note) -> DynItem:
        return DynItem(self.module_id, mintv2.INPUT.encode(notes.mint_input(note)))

    def _foreign(self, note: mintv2.SpendableNote) -> OwnInput:
        item = DynItem(self.module_id, mintv2.INPUT.encode(mintv2.MintInput(note.note())))
        amount_msat = note.amount_msat()
        return OwnInput(item, amount_msat, self._fee.fee_msat(amount_msat), note.secret_key)

    def _ask(self, requests: Sequence[NoteRequest]) -> list[DynItem]:
        outputs = notes.blinded_outputs(self.module, requests)
        return [DynItem(self.module_id, mintv2.OUTPUT.encode(output)) for output in outputs]

    async def _collect(self, funded: Funded) -> tuple[Note, ...]:
        if not funded.change:
            return ()
        txid = funded.transaction.txid()
        end = funded.change_start + len(funded.change)
        finalised = await self._collector.collect(
            lambda check: self._api.signature_shares(txid, funded.change_start, end, check),
            funded.change,
        )
        if finalised.invalid:
            raise FatalError("the guardians' own keys make no valid note")
        return finalised.notes


async def run_here(function: Callable[[*Args], T], *arguments: *Args) -> T:
    """Run a pure function on the event loop itself: a `fedimint.mintv2.collecting.RunCpu` without workers."""
    return function(*arguments)
