"""One on-chain output paid to an address of ours, until it is ecash.

    found → claiming(fee) → claimed
      │ ↑ └── rejected ┘
      └→ dropped: worth no more than its fee, too much for a transaction, or claimed by another gateway with our keys

Stream: `deposit/<federation id>-<output index>`.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import (
    Decision,
    Effect,
    Handle,
    Input,
    Machine,
    State,
    Tell,
    ignored,
    refused,
    table,
)
from statemachines.items import DepositClaim
from statemachines.outlook import (
    DEPOSIT_S,
    FEDERATION,
    GUARDIANS_END,
    TRANSACTION_S,
    OpenState,
    Outlook,
    awaits_guardians,
    by_field,
    within,
)
from statemachines.reserving import CLAIM_MAX_MSAT
from statemachines.transaction import (
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import ClaimInputs


class DepositOutput(msgspec.Struct, frozen=True):
    """`out_point` is "txid:vout" on the chain; `address_index` leads to the key."""

    output_index: int
    address_index: int
    value_sat: int
    out_point: str


# --- states ----------------------------------------------------------------------------------------------------


class Unseen(State, frozen=True):
    """Not found, or not ours."""


class Found(OpenState, frozen=True):
    """Waits for a fee."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(DEPOSIT_S),
        federation_id=by_field,
        waits_for=FEDERATION,
        what_to_do="Nothing: it waits for a fee, or for the deposits before it.",
        ended_by=GUARDIANS_END,
    )
    federation_id: str
    output: DepositOutput


class Claiming(OpenState, frozen=True):
    """The claim is reserved at this fee."""

    outlook: ClassVar[Outlook] = awaits_guardians(TRANSACTION_S, by_field)
    federation_id: str
    output: DepositOutput
    fee_sat: int


class Claimed(State, frozen=True):
    federation_id: str
    output: DepositOutput
    received_msat: int


class Dropped(State, frozen=True):
    federation_id: str
    output: DepositOutput
    reason: str


OPEN_STATES = (Found, Claiming)


# --- inputs ----------------------------------------------------------------------------------------------------


class DepositSeen(Input, frozen=True):
    """Told by the federation's deposits."""

    federation_id: str
    output: DepositOutput


class ReceiveFeeQuoted(Input, frozen=True):
    """What the miners cost now, and what the claim is worth then: nothing only if it will not get cheaper.

    `worth_msat` is `reserving.claim_worth_msat`: the federation rejects a claim that does not pay its own fee too,
    so such a one would be made again and again.
    """

    fee_sat: int
    worth_msat: int


class OutputGone(Input, frozen=True):
    """The federation says that the output is spent."""


# --- events ----------------------------------------------------------------------------------------------------


class DepositFound(Event, frozen=True):
    kind: ClassVar[str] = "deposit.found"
    federation_id: str
    output: DepositOutput


class DepositClaiming(Event, frozen=True):
    kind: ClassVar[str] = "deposit.claiming"
    fee_sat: int


class DepositClaimed(Event, frozen=True):
    kind: ClassVar[str] = "deposit.claimed"
    received_msat: int


class DepositClaimRejected(Event, frozen=True):
    """It waits for another fee and is claimed again."""

    kind: ClassVar[str] = "deposit.claim_rejected"
    error: str


class DepositDropped(Event, frozen=True):
    kind: ClassVar[str] = "deposit.dropped"
    reason: str


# --- effects ---------------------------------------------------------------------------------------------------


class QuoteReceiveFee(Effect, frozen=True):
    """Ask whether the output is still there, and for the miners' fee once few enough transactions are pending."""

    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    output: DepositOutput


def stream_of(federation_id: str, output_index: int) -> str:
    """The stream of an output, given the federation's id in hex."""
    return f"deposit/{federation_id}-{output_index}"


def claim_of(output: DepositOutput, fee_sat: int) -> DepositClaim:
    """The claim of an output at this fee for the miners."""
    return DepositClaim(
        output_index=output.output_index,
        address_index=output.address_index,
        value_sat=output.value_sat,
        fee_sat=fee_sat,
    )


# --- transitions -----------------------------------------------------------------------------------------------


def _seen(_state: Unseen, input_: DepositSeen) -> Decision:
    found = DepositFound(federation_id=input_.federation_id, output=input_.output)
    return Decision(events=(found,))


def _quoted(state: Found, input_: ReceiveFeeQuoted) -> Decision:
    output = state.output
    if output.value_sat > CLAIM_MAX_MSAT // 1_000:
        why = f"{output.value_sat} sat are more than one transaction can turn into ecash"
        return Decision(events=(DepositDropped(reason=why),))
    if input_.worth_msat <= 0:
        why = (
            f"{output.value_sat} sat do not pay for their claim, which costs {input_.fee_sat} sat "
            "and the federation's fees"
        )
        return Decision(events=(DepositDropped(reason=why),))
    parent = stream_of(state.federation_id, output.output_index)
    told = ClaimInputs(parent=parent, claims=(claim_of(output, input_.fee_sat),))
    return Decision(
        events=(DepositClaiming(fee_sat=input_.fee_sat),),
        tells=(Tell(wallet_of(state.federation_id), told),),
    )


def _gone(_state: Found, _input: OutputGone) -> Decision:
    return Decision(events=(DepositDropped(reason="another holder of these keys claimed it"),))


def _claimed(_state: Claiming, input_: TransactionFinished) -> Decision:
    received_msat = sum(note.amount_msat for note in input_.notes)
    return Decision(events=(DepositClaimed(received_msat=received_msat),))


def _rejected(_state: Claiming, input_: TransactionRejected) -> Decision:
    return Decision(events=(DepositClaimRejected(error=input_.error),))


def _wants_fee(state: Found) -> Mapping[str, Effect]:
    return {"fee": QuoteReceiveFee(federation_id=state.federation_id, output=state.output)}


_STATES: tuple[type[State], ...] = (Unseen, Found, Claiming, Claimed, Dropped)
_INPUTS: tuple[type[Input], ...] = (
    DepositSeen,
    ReceiveFeeQuoted,
    OutputGone,
    TransactionSigned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
)
_TRANSACTION = (TransactionSigned, TransactionAccepted, TransactionFinished, TransactionRejected)
_RULES = table(
    {
        (Unseen, DepositSeen): Handle(_seen, to=(Found,)),
        (Found, ReceiveFeeQuoted): Handle(_quoted, to=(Claiming, Dropped)),
        (Found, OutputGone): Handle(_gone, to=(Dropped,)),
        (Claiming, TransactionFinished): Handle(_claimed, to=(Claimed,)),
        (Claiming, TransactionRejected): Handle(_rejected, to=(Found,)),
    },
    refused((Unseen,), (ReceiveFeeQuoted, OutputGone, *_TRANSACTION), "there is no such deposit"),
    ignored((Found, Claiming, Claimed, Dropped), (DepositSeen,), "the output was found before"),
    ignored((Found,), _TRANSACTION, "no claim is under way: none was made, or the last one ended"),
    ignored(
        (Claiming,),
        (ReceiveFeeQuoted, OutputGone),
        "the claim is reserved, and only its transaction says how it ends",
    ),
    ignored(
        (Claiming,),
        (TransactionSigned, TransactionAccepted),
        "the ecash is there only at the end of the claim's transaction",
    ),
    ignored(
        (Claimed, Dropped),
        (ReceiveFeeQuoted, OutputGone, *_TRANSACTION),
        "the deposit has ended",
    ),
)


def _back(state: Claiming, _event: DepositClaimRejected) -> Found:
    return Found(federation_id=state.federation_id, output=state.output)


MACHINE = Machine(
    kind="deposit",
    initial=Unseen(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        DepositFound: lambda _state, event: Found(
            federation_id=event.federation_id, output=event.output
        ),
        DepositClaiming: lambda state, event: Claiming(
            federation_id=state.federation_id, output=state.output, fee_sat=event.fee_sat
        ),
        DepositClaimed: lambda state, event: Claimed(
            federation_id=state.federation_id,
            output=state.output,
            received_msat=event.received_msat,
        ),
        DepositClaimRejected: _back,
        DepositDropped: lambda state, event: Dropped(
            federation_id=state.federation_id, output=state.output, reason=event.reason
        ),
    },
    wants_of={Found: _wants_fee},
    final=frozenset({Claimed, Dropped}),
)
