"""Handlers of the gateway's own ecash and bitcoin: async functions from struct to struct."""

from api import treasury_structs as structs
from api.ports import Gateway
from api.structs import FederationPayload
from errors import InputError
from fedimint.codec.wire_types import MOST_SAT
from gateway import views

# With the weight of 1,000 virtual bytes the rate is the fee, which is how Rust writes a flat one.
_FLAT_FEE_WEIGHT = 4000


def amount_sat(amount: structs.AmountOrAll) -> int | None:
    """Satoshi, or None for all."""
    if isinstance(amount, str) and amount.lower() == "all":
        return None
    return int(amount)


async def address(gateway: Gateway, payload: FederationPayload) -> str:
    """POST `/address`: where to send coins that shall become ecash."""
    return await gateway.treasury.deposit_address(payload.federation_id.lower())


async def address_recheck(
    gateway: Gateway, payload: structs.AddressRecheckPayload
) -> structs.AddressRecheckResponse:
    """POST `/address_recheck`: look for coins now."""
    await gateway.treasury.recheck_address(payload.federation_id.lower(), payload.address)
    return structs.AddressRecheckResponse()


async def withdraw(gateway: Gateway, payload: structs.WithdrawPayload) -> structs.WithdrawResponse:
    """POST `/withdraw`. Raises InputError for a quoted fee together with `all`, as Rust does."""
    wanted_sat = amount_sat(payload.amount)
    if wanted_sat is None and payload.quoted_fees is not None:
        raise InputError(
            "quoted_fees cannot be given with the amount all, which follows from the fees"
        )
    withdrawn = await gateway.treasury.withdraw(
        views.WithdrawalRequest(
            federation_id=payload.federation_id.lower(),
            address=payload.address,
            amount_sat=wanted_sat,
            quoted_fee_sat=_fee_sat(payload.quoted_fees) if payload.quoted_fees else None,
        )
    )
    return _withdrawn(withdrawn)


async def withdraw_to_onchain(
    gateway: Gateway, payload: structs.WithdrawToOnchainPayload
) -> structs.WithdrawResponse:
    """POST `/withdraw_to_onchain`: to the Lightning node's own wallet."""
    federation_id = payload.federation_id.lower()
    return _withdrawn(
        await gateway.treasury.withdraw_to_onchain(federation_id, amount_sat(payload.amount))
    )


async def pegin_from_onchain(gateway: Gateway, payload: structs.PeginFromOnchainPayload) -> str:
    """POST `/pegin_from_onchain`: the txid."""
    return await gateway.treasury.pegin_from_onchain(
        views.PeginRequest(
            federation_id=payload.federation_id.lower(),
            amount_sat=amount_sat(payload.amount),
            sat_per_vbyte=payload.fee_rate_sats_per_vbyte,
        )
    )


async def spend_ecash(
    gateway: Gateway, payload: structs.SpendEcashPayload
) -> structs.SpendEcashResponse:
    """POST `/spend_ecash`: ecash as text."""
    federation_id = payload.federation_id.lower()
    return structs.SpendEcashResponse(
        notes=await gateway.treasury.spend_ecash(federation_id, payload.amount)
    )


async def list_sent_ecash(
    gateway: Gateway, payload: structs.ListSentEcashPayload
) -> tuple[views.SentEcash, ...]:
    """POST `/list_sent_ecash`: what was asked for as text, newest first, without the texts."""
    wanted = None if payload.federation_id is None else payload.federation_id.lower()
    return await gateway.treasury.sent_ecash(wanted, payload.limit)


async def show_sent_ecash(
    gateway: Gateway, payload: structs.ShowSentEcashPayload
) -> structs.SpendEcashResponse:
    """POST `/show_sent_ecash`: a text whose answer was lost, once more."""
    return structs.SpendEcashResponse(
        notes=await gateway.treasury.show_sent_ecash(payload.id.lower())
    )


def _withdrawn(withdrawal: views.Withdrawal) -> structs.WithdrawResponse:
    return structs.WithdrawResponse(
        txid=withdrawal.txid,
        fees=structs.PegOutFees(
            fee_rate=structs.Feerate(sats_per_kvb=withdrawal.fee_sat),
            total_weight=_FLAT_FEE_WEIGHT,
        ),
        amount_sats=withdrawal.amount_sat,
    )


def _fee_sat(fees: structs.PegOutFees) -> int:
    """`Feerate::calculate_fee` of fedimint-core: whole virtual bytes, rounded up."""
    fee_sat = fees.fee_rate.sats_per_kvb * -(-fees.total_weight // 4) // 1000
    if fee_sat > MOST_SAT:
        raise InputError(f"a fee of {fee_sat} sat is more than all bitcoin")
    return fee_sat
