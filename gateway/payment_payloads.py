"""The payload of an entry of the payment log, made on demand from its event and the state that follows."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from engine.chain import Row
from engine.machine import State
from fedimint import lnv2
from fedimint.codec import addresses
from fedimint.codec.wire_types import Network
from fedimint.lnv2.json import CommitmentJson, OutgoingContractJson
from gateway import payment_events as upstream
from statemachines import completion, deposit, deposits, gift, receive, reissue, send, withdrawal


@dataclass(frozen=True, slots=True)
class Known:
    """What else is known: the network, and the state of a stream as it is now (None where it cannot be read)."""

    network: Network
    state_of: Callable[[str], State | None]

    def swap_target(self, payment_hash: str) -> str | None:
        """The federation that received this hash (hex) without Lightning."""
        state = self.state_of(receive.stream_of(payment_hash))
        if isinstance(state, receive.Received) and state.payer:
            return state.facts.federation_id
        return None

    def deposit_address(self, federation_id: str, index: int) -> str | msgspec.UnsetType:
        """The address of ours with this index."""
        state = self.state_of(deposits.stream_of(federation_id))
        watching = state.watching if isinstance(state, deposits.Paused) else state
        ground = watching.addresses if isinstance(watching, deposits.Watching) else ()
        scripts = (one.script for one in ground if one.index == index)
        found = (addresses.segwit_address(bytes.fromhex(one), self.network) for one in scripts)
        return next(found, msgspec.UNSET)


@dataclass(frozen=True, slots=True)
class Told:
    """The row of the event that is told, and what else is known."""

    row: Row
    known: Known

    @property
    def operation_id(self) -> str:
        """An id like upstream's random ones, of the stream."""
        return hashlib.sha256(self.row.stream.encode()).hexdigest()

    @property
    def unix_ms(self) -> int:
        """When it happened."""
        return self.row.recorded_unix_us // 1_000


def outgoing_started(told: Told, _event: object, state: send.Accepted) -> upstream.OutgoingStarted:
    """With the sender's contract."""
    facts = state.facts
    contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract))
    return upstream.OutgoingStarted(
        operation_start=told.unix_ms,
        min_contract_amount=facts.minimum_msat,
        invoice_amount=facts.invoice_msat,
        max_delay=facts.max_delay_blocks,
        outgoing_contract=OutgoingContractJson.of(contract),
    )


def outgoing_succeeded(told: Told, _event: object, state: send.Paid) -> upstream.OutgoingSucceeded:
    """A direct swap names the receiver's federation."""
    facts = state.facts
    target = told.known.swap_target(facts.payment_hash) if facts.is_swap else None
    return upstream.OutgoingSucceeded(upstream.image_of(facts.payment_hash), target)


def outgoing_failed(
    _told: Told, event: send.SendCancelling, state: send.Cancelling
) -> upstream.OutgoingFailed:
    """With the reason as upstream's enum has it."""
    error = upstream.cancellation(event.reason, event.detail)
    return upstream.OutgoingFailed(upstream.image_of(state.facts.payment_hash), error)


def incoming_started(
    told: Told, _event: object, state: receive.Funding | receive.Decrypting
) -> upstream.IncomingStarted:
    """With the commitment of the receiver's contract."""
    facts = state.facts
    contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(facts.contract))
    commitment = CommitmentJson.of(contract.commitment)
    return upstream.IncomingStarted(told.unix_ms, facts.invoice_msat, commitment)


def incoming_succeeded(_told: Told, _event: object, state: receive.Received) -> upstream.Imaged:
    """The image alone."""
    return upstream.Imaged(upstream.image_of(state.facts.payment_hash))


def incoming_failed(
    _told: Told,
    event: receive.ReceiveFundingFailed | receive.ReceiveRefunding | receive.ReceiveRefundLost,
    state: receive.FundingFailed | receive.Refunding | receive.RefundLost,
) -> upstream.IncomingFailed:
    """With the error."""
    why = "the contract holds no preimage"
    if isinstance(event, receive.ReceiveFundingFailed):
        why = event.error
    elif isinstance(event, receive.ReceiveRefundLost):
        why = event.reason
    return upstream.IncomingFailed(upstream.image_of(state.facts.payment_hash), why)


def completed(
    _told: Told, _event: object, state: completion.Settled | completion.Cancelled
) -> upstream.Imaged:
    """The image alone, whether HTLCs were settled or not."""
    return upstream.Imaged(upstream.image_of(state.payment_hash))


def ecash_sent(told: Told, event: gift.GiftGiven, _state: object) -> upstream.EcashSent:
    """Without the ecash."""
    return upstream.EcashSent(told.operation_id, sum(note.amount_msat for note in event.notes))


def ecash_received(_told: Told, _event: object, state: reissue.Reissuing) -> upstream.EcashReceived:
    """Before it is known whether the federation takes it."""
    return upstream.EcashReceived(state.facts.id, state.facts.amount_msat)


def ecash_decided(
    _told: Told, _event: object, state: reissue.Reissued | reissue.ReissueRejected
) -> upstream.Updated:
    """Whether the federation took it."""
    status = "Success" if isinstance(state, reissue.Reissued) else "Rejected"
    return upstream.Updated(state.facts.id, status)


def coins_sent(told: Told, _event: object, state: withdrawal.Submitted) -> upstream.CoinsSent:
    """A withdrawal that is signed."""
    facts = state.facts
    return upstream.CoinsSent(told.operation_id, facts.address, facts.value_sat, facts.fee_sat)


def coins_left(
    told: Told, event: withdrawal.WithdrawalDone | withdrawal.WithdrawalFailed, _state: object
) -> upstream.Updated:
    """The bitcoin transaction, or none."""
    if isinstance(event, withdrawal.WithdrawalDone):
        return upstream.Updated(told.operation_id, {"Success": event.bitcoin_txid})
    return upstream.Updated(told.operation_id, "Aborted")


def coins_received(
    told: Told, event: deposit.DepositClaiming, state: deposit.Claiming
) -> upstream.CoinsReceived:
    """A claim of a deposit, with the address that was paid."""
    output = state.output
    address = told.known.deposit_address(state.federation_id, output.address_index)
    value_sat, out_point = output.value_sat, output.out_point
    return upstream.CoinsReceived(told.operation_id, value_sat, event.fee_sat, out_point, address)


def coins_claimed(
    told: Told, _event: object, state: deposit.Claimed | deposit.Found
) -> upstream.Updated:
    """A claim that is rejected is made again, with an entry of its own."""
    status = "Success" if isinstance(state, deposit.Claimed) else "Aborted"
    return upstream.Updated(told.operation_id, status)
