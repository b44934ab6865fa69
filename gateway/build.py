"""Builds a federation transaction from its reservation: keys, blinding, signatures. Pure, run in a worker."""

from collections.abc import Mapping

from fedimint import transaction
from fedimint.mintv2.tweaks import FindTweak
from gateway.modules import mintv2
from gateway.modules.module import Materials, ModuleKey
from gateway.modules.table import MODULES
from statemachines.items import Reservation, SignedTransaction

#: Random bytes for the transaction's nonce.
NONCE_SIZE = 8


def build(
    keys: Mapping[str, ModuleKey],
    reservation: Reservation,
    materials: Materials,
    find_tweak: FindTweak,
) -> SignedTransaction:
    """Sign what was reserved, given our key in each module by its kind, and who finds the tweaks that are lacking.

    Raises FatalError when a reserved note is not of these secrets, EncodeError when it grew too large.
    """
    secret = keys[mintv2.MintV2.kind].secret
    issues = mintv2.with_tweaks(secret, reservation.issues, materials.tweak_starts, find_tweak)
    inputs = [
        MODULES[item.module].input(keys[item.module], item, materials)
        for item in (*reservation.claims, *materials.spends)
    ]
    outputs = [
        MODULES[item.module].output(keys[item.module], item)
        for item in (*reservation.outputs, *issues)
    ]
    signed = transaction.sign_transaction(
        [one.item for one in inputs],
        outputs,
        materials.nonce,
        [one.secret_key for one in inputs],
    )
    encoded = transaction.TRANSACTION.encode(signed)
    return SignedTransaction(signed.txid().hex(), encoded, issues)


def warm_up() -> None:
    """Nothing; running it makes a worker load this module before anybody waits for it."""
