"""The effects of a federation transaction: build, submit, collect (`statemachines/transaction.py`)."""

from collections.abc import Callable, Mapping

from engine.effects import EffectContext, Handler
from engine.machine import Effect, State
from engine.ports import Clock, Randomness
from errors import GatewayError, UnavailableError
from fedimint.client.transport import cut
from fedimint.codec.wire_types import TransactionId
from fedimint.crypto.secrets import TWEAK_SIZE
from fedimint.federation_api import FinallyRejected
from fedimint.mintv2.tweaks import FindTweak
from fedimint.modules import MODULE_CODECS
from fedimint.transaction import InputRefused, OutputRefused
from gateway.build import NONCE_SIZE, build
from gateway.federation import FederationClient, FederationRegistry
from gateway.foreign_notes import ForeignNotes
from gateway.modules.mintv2 import MintV2
from gateway.modules.module import Materials
from gateway.ports import Cpu
from statemachines.items import ForeignNote, HeldNote, Reservation
from statemachines.transaction import (
    BuildAbandoned,
    BuildTransaction,
    Built,
    CollectNotes,
    NotesCollected,
    SubmissionAccepted,
    SubmissionRejected,
    SubmitTransaction,
    has_aged,
    wallet_of,
)
from statemachines.wallet import Wallet


class TransactionEffects:
    """Handlers over the open federations."""

    def __init__(
        self,
        federations: FederationRegistry,
        foreign_notes: ForeignNotes,
        cpu: Cpu,
        randomness: Randomness,
        clock: Clock,
        *,
        find_tweak: FindTweak,
        peek: Callable[[str], State],
    ) -> None:
        self._federations = federations
        self._foreign_notes = foreign_notes
        self._cpu = cpu
        self._find_tweak = find_tweak
        self._randomness = randomness
        self._clock = clock
        self._peek = peek

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect of the machine."""
        return {
            BuildTransaction: self.build,
            SubmitTransaction: self.submit,
            CollectNotes: self.collect,
        }

    async def build(
        self, effect: BuildTransaction, context: EffectContext
    ) -> Built | BuildAbandoned:
        """Nothing leaves, so building again after a crash is harmless: the first committed bytes count.

        What somebody waits for is given up when it has aged, and by every process but the one that decided it: how
        long ago that was no clock tells for certain. Foreign notes are in memory alone; without them the transaction
        is given up too, and they are their giver's.
        """
        reservation = effect.reservation
        is_anothers = bool(reservation.sign_by_unix_s) and context.of_earlier_life
        if is_anothers or has_aged(reservation, self._now_unix_s()):
            return BuildAbandoned()
        federation = self._federations.client(reservation.federation_id)
        nonces = [c.nonce for c in reservation.claims if isinstance(c, ForeignNote)]
        foreign_notes = self._foreign_notes.find(context.stream, nonces)
        if foreign_notes is None:
            self._foreign_notes.forget_used(context.stream)
            return BuildAbandoned()
        missing = sum(1 for issue in reservation.issues if not issue.tweak)
        random_bytes = self._randomness.random_bytes
        starts = tuple(random_bytes(TWEAK_SIZE) for _ in range(missing))
        materials = Materials(
            random_bytes(NONCE_SIZE), starts, foreign_notes, self._spent_notes(reservation)
        )
        built = await self._cpu.run(
            build, federation.keys, reservation, materials, self._find_tweak
        )
        return Built(signed=built, now_unix_s=self._now_unix_s())

    async def submit(
        self, effect: SubmitTransaction, context: EffectContext
    ) -> SubmissionAccepted | SubmissionRejected:
        """Idempotent by txid at the federation."""
        self._foreign_notes.forget_used(context.stream)
        federation = self._federations.client(effect.federation_id)
        txid = TransactionId(bytes.fromhex(effect.txid))
        outcome = await federation.core.submit_until_final(effect.encoded, txid)
        if isinstance(outcome, FinallyRejected):
            return SubmissionRejected(error=cut(_describe(outcome, federation)))
        return SubmissionAccepted()

    async def collect(self, effect: CollectNotes, _context: EffectContext) -> NotesCollected:
        """The notes come after the transaction's other outputs."""
        if not effect.issues:
            return NotesCollected(notes=(), lost_msat=0)
        mint = self._federations.client(effect.federation_id).module(MintV2)
        return await mint.collect(effect.txid, effect.start, effect.issues, self._cpu)

    def _spent_notes(self, reservation: Reservation) -> tuple[HeldNote, ...]:
        """The notes that it spends, which its wallet keeps for it until its end."""
        if not reservation.spends:
            return ()
        wallet = self._peek(wallet_of(reservation.federation_id))
        assert isinstance(wallet, Wallet)
        notes = wallet.spending.get(reservation.tx)
        if notes is None:
            raise UnavailableError(
                f"{reservation.tx} has ended meanwhile: its notes are free again"
            )
        return notes

    def _now_unix_s(self) -> int:
        return self._clock.now_unix_us() // 1_000_000


def _describe(rejected: FinallyRejected, federation: FederationClient) -> str:
    """The guardians' error for people, a module's by its name, such as `walletv2: ChangeUnderDustLimit`."""
    try:
        error = rejected.error()
        if not isinstance(error, InputRefused | OutputRefused):
            return repr(error)
        kind = federation.config.kind_of(error.error.module_instance_id) or ""
        codecs = MODULE_CODECS.get(kind)
        if codecs is None:
            return repr(error)
        codec = codecs.input_error if isinstance(error, InputRefused) else codecs.output_error
        return f"{kind}: {codec.decode(error.error.body)}"
    except GatewayError:
        return f"an error this version cannot read: {rejected.error_bytes.hex()}"
