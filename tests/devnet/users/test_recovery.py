"""Answers of embedded guardians to a wallet that recovers from its mnemonic."""

import hashlib
import random

import pytest

from backends.simulated.chain import SimulatedChain
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import run_here
from fedimint import mintv2
from fedimint.client.transport import GuardianRefused
from fedimint.codec.wire_types import hash160
from fedimint.crypto.secrets import TWEAK_SIZE, DerivableSecret, mintv2_tweak_filter
from fedimint.mintv2 import RECOVERY_ITEMS, RecoveryInput, RecoveryOutput, notes
from fedimint.mintv2.api import Mintv2Api
from fedimint.mintv2.json import recovery_items
from fedimint.mintv2.notes import NoteRequest
from fedimint.mintv2.recovery import recover_notes
from fedimint.mintv2.tweaks import grind

pytestmark = pytest.mark.anyio

FUNDS_MSAT = 512 * 7


async def spent_world() -> tuple[EmbeddedFederation, EmbeddedUser, EmbeddedUser]:
    """One user got notes from the faucet, and another of its notes as ecash."""
    randomness = random.Random(2)
    federation = EmbeddedFederation(SimulatedChain(), randomness.randbytes, guardians=4)
    giver, taker = (EmbeddedUser(federation, randomness.randbytes) for _ in range(2))
    giver.wallet.add(federation.issue_notes(giver.wallet.module, FUNDS_MSAT))
    given = notes.spendable(giver.wallet.module, giver.wallet.notes.pop())
    await taker.wallet.receive(mintv2.Ecash.of(federation.federation_id, (given,)))
    return federation, giver, taker


async def test_everything_ever_issued_and_spent_is_told_in_order() -> None:
    federation, giver, taker = await spent_world()
    guardian = federation.guardians[1]
    count = await guardian.request("module_2_recovery_count", None)
    answer = await guardian.request("module_2_recovery_slice", [0, 100])
    items = recovery_items(answer)
    assert count == len(items) == 3 + 1 + len(taker.wallet.notes)
    assert isinstance(items[3], RecoveryInput)
    assert {type(item) for item in (*items[:3], *items[4:])} == {RecoveryOutput}
    (spent,) = (note for note in federation.consensus.ledger.spent_nonces)
    assert items[3] == RecoveryInput(hash160(spent))
    held = {(note.denomination, note.tweak) for note in (*giver.wallet.notes, *taker.wallet.notes)}
    told = {(item.denomination, item.tweak) for item in items if isinstance(item, RecoveryOutput)}
    assert held < told
    digest = await guardian.request("module_2_recovery_slice_hash", [1, 4])
    assert digest == hashlib.sha256(RECOVERY_ITEMS.encode(items[1:4])).hexdigest()
    assert await guardian.request("module_2_recovery_slice", [1, 4]) == answer[1:4]  # type: ignore[index]  # JSON
    assert await guardian.request("module_2_recovery_slice", [100, 200]) == []


class Grinder:
    """Randomness whose tweaks recovery will know again, once it has the module's secret."""

    def __init__(self, seed: int) -> None:
        self.module: DerivableSecret | None = None
        self._randomness = random.Random(seed)

    def __call__(self, size: int) -> bytes:
        drawn = self._randomness.randbytes(size)
        if size != TWEAK_SIZE or self.module is None:
            return drawn
        return grind(mintv2_tweak_filter(self.module), drawn)


async def test_a_client_recovers_its_notes_from_the_words() -> None:
    federation, giver, _ = await spent_world()
    grinder = Grinder(4)
    user = EmbeddedUser(federation, grinder)
    grinder.module = user.wallet.module
    given = [notes.spendable(giver.wallet.module, note) for note in giver.wallet.notes]
    await user.wallet.receive(mintv2.Ecash.of(federation.federation_id, tuple(given)))
    taken = user.wallet.notes.pop()
    await giver.wallet.receive(
        mintv2.Ecash.of(federation.federation_id, (notes.spendable(user.wallet.module, taken),))
    )
    api = Mintv2Api(federation.asked_by(), user.wallet.module_id)
    recovered = await recover_notes(
        api, user.wallet.module, federation.mint_keys(), await api.recovery_count(), run_here
    )
    assert list(recovered.notes) == user.wallet.notes
    assert recovered.lost_msat == 0


async def test_a_nonce_never_signed_has_no_share() -> None:
    federation, giver, _ = await spent_world()
    (output,) = notes.blinded_outputs(giver.wallet.module, [NoteRequest(9, bytes(16))])
    with pytest.raises(GuardianRefused) as refused:
        await federation.guardians[0].request(
            "module_2_recovery_signature_shares", [output.blinded_nonce.hex()]
        )
    assert refused.value.code == 400
