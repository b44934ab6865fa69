"""Ecash text as clients take and give it, and what must hold of it before it is reissued.

Source: fedimint-mintv2-client src/lib.rs (receive) and src/ecash.rs. Whether notes are spent only
the federation knows.
"""

from collections.abc import Callable, Sequence

from errors import InputError
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FederationId
from fedimint.mintv2 import Ecash, EcashApiSecret, EcashInvite, EcashUnit, SpendableNote, notes
from fedimint.mintv2.config import MintV2ClientConfig

BITCOIN = 0
"""The unit of amounts in millisatoshi (fedimint-core AmountUnit)."""


def notes_to_reissue(
    ecash: Ecash,
    federation_id: FederationId,
    mint: MintV2ClientConfig,
    random_bytes: Callable[[int], bytes],
) -> tuple[SpendableNote, ...]:
    """The notes of the ecash, each good, worth more than its fee, and there once.

    They are money: reissue them before anything is owed for them. Checks signatures, so run it in a
    worker. Raises InputError, which shows no note.
    """
    if ecash.federation_id() != federation_id:
        raise InputError("the ecash is of another federation")
    if ecash.unit() != mint.amount_unit:
        raise InputError(
            f"the ecash is of unit {ecash.unit()}, the mint issues unit {mint.amount_unit}"
        )
    found = ecash.notes()
    if not found:
        raise InputError("the ecash holds no notes")
    if len({note.secret_key for note in found}) != len(found):
        raise InputError("the ecash holds a note twice")
    for note in found:
        if note.denomination not in mint.tbs_agg_pks:
            raise InputError(f"the federation does not issue notes of 2^{note.denomination} msat")
        if note.amount_msat() <= mint.fee_consensus.fee_msat(note.amount_msat()):
            raise InputError(f"a note of {note.amount_msat()} msat is worth no more than its fee")
    invalid = notes.invalid_notes([note.note() for note in found], mint, random_bytes)
    if invalid:
        raise InputError(f"{len(invalid)} notes of the ecash are not signed by the federation")
    return found


def with_invite(found: Sequence[SpendableNote], invite: InviteCode, unit: int = BITCOIN) -> Ecash:
    """Ecash that tells its receiver also how to reach the federation, in upstream's field order."""
    federation_id = invite.federation_id()
    ecash = Ecash.of(
        federation_id,
        tuple(found),
        EcashInvite(tuple(sorted(invite.peers().items())), federation_id),
    )
    api_secret = invite.api_secret()
    secret = () if api_secret is None else (EcashApiSecret(api_secret),)
    other_unit = () if unit == BITCOIN else (EcashUnit(unit),)
    return Ecash((*ecash.fields, *secret, *other_unit))
