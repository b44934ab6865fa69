"""A federation that this gateway serves: its terms, and whether it is still served.

Leaving keeps wallet and deposits in the log: joining again finds the ecash, and what the operator decided about trust.
Stream: `federation/<federation id>`.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, Tell, ignored, refused, table
from statemachines import deposits, receive
from statemachines.items import HeldNote
from statemachines.reserving import FederationFees
from statemachines.transaction import GiveUpTransaction, wallet_of
from statemachines.wallet import OpenWallet, RecoverNotes

#: Notes in one event of a recovery; an event has a bounded size.
RECOVERED_NOTES_PER_EVENT = 500


class Fee(msgspec.Struct, frozen=True):
    """Base in msat plus a share of the amount."""

    base_msat: int
    parts_per_million: int


class FederationFacts(msgspec.Struct, frozen=True):
    """What joining fixes, and the fees to begin with. `client_config` is the JSON that a threshold gave."""

    federation_id: str
    invite_code: str
    client_config: bytes
    module_fees: FederationFees
    lightning_fee: Fee
    transaction_fee: Fee


class RefusedClaim(msgspec.Struct, frozen=True):
    """The stream whose claim the federation refused for good, and the guardians' words."""

    stream: str
    error: str


class Trust(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the gateway pays on the federation's word. `cap_msat` is None where the operator has set none.

    `refused_claim` is the first one since the operator said the last time that the federation may be trusted.
    """

    cap_msat: int | None = None
    refused_claim: RefusedClaim | None = None


#: Receivers whose contract held no preimage within an hour, from whom on nothing is received for the federation: each
#: costs us its fees for a funding and a refund, and the receiver nothing.
FRUITLESS_MAX = 100
FRUITLESS_WINDOW_S = 3_600

#: Of a federation about which the operator has decided nothing: this very object is left out of a state's encoding.
UNSET = Trust()


class NotJoined(State, frozen=True):
    """Never joined."""


class Joined(State, frozen=True):
    """Served under `index`, on these facts with the fees of now."""

    facts: FederationFacts
    index: int
    receive_enabled: bool = True
    trust: Trust = UNSET
    fruitless_unix_s: tuple[int, ...] = ()
    """When contracts were found to hold no preimage, the newest FRUITLESS_MAX of an hour."""

    def fruitless(self, now_unix_s: int) -> int:
        """How many contracts were found to hold no preimage within the last hour, at most FRUITLESS_MAX."""
        return sum(at > now_unix_s - FRUITLESS_WINDOW_S for at in self.fruitless_unix_s)


class Left(State, frozen=True):
    """No longer served; what its wallet holds is kept."""

    facts: FederationFacts
    index: int
    trust: Trust = UNSET
    written_off_msat: int = 0


class Join(Input, frozen=True):
    """Told by the gateway's identity, which gives the index. `recovered` are notes of the federation's history."""

    facts: FederationFacts
    index: int
    recovered: tuple[HeldNote, ...] = ()


class SetTerms(Input, frozen=True):
    """New terms for payments accepted from now on."""

    lightning_fee: Fee
    transaction_fee: Fee
    receive_enabled: bool


class SetExposureCap(Input, frozen=True):
    """What the gateway may have at stake in it (`statemachines/exposure.py`); None for the default."""

    cap_msat: int | None


class ClaimRefused(Input, frozen=True):
    """Told by `stream`: a threshold of guardians refused what was ours to claim, with these words."""

    stream: str
    error: str


class TrustAgain(Input, frozen=True):
    """The operator's word: refused claims no longer stop new payments."""


class FruitlessFunding(Input, frozen=True):
    """Told by a receive: a contract that we funded was found at this time to hold no preimage."""

    now_unix_s: int


class Leave(Input, frozen=True):
    """Stop serving it; the caller made sure that nothing of it is under way."""


class GiveUpFederation(Input, frozen=True):
    """Stop serving it though things are under way: its guardians are gone.

    `receives` and `transactions` (streams) are those for which somebody else pays: they end now, and the payer is
    refunded. All that is ours alone rests. `written_off_msat` is what is held there then.
    """

    receives: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()
    written_off_msat: int = 0


class FederationJoined(Event, frozen=True):
    kind: ClassVar[str] = "federation.joined"
    facts: FederationFacts
    index: int


class TermsSet(Event, frozen=True):
    kind: ClassVar[str] = "federation.terms_set"
    lightning_fee: Fee
    transaction_fee: Fee
    receive_enabled: bool


class ExposureCapSet(Event, frozen=True):
    kind: ClassVar[str] = "federation.exposure_cap_set"
    cap_msat: int | None


class FederationDistrusted(Event, frozen=True):
    kind: ClassVar[str] = "federation.distrusted"
    refused_claim: RefusedClaim


class FederationTrusted(Event, frozen=True):
    kind: ClassVar[str] = "federation.trusted"


class ContractWithoutPreimage(Event, frozen=True):
    kind: ClassVar[str] = "federation.contract_without_preimage"
    unix_s: int


class FederationLeft(Event, frozen=True):
    kind: ClassVar[str] = "federation.left"


class FederationGivenUp(Event, frozen=True):
    """Left with this much in it. It is booked as lost, and found again should the federation be joined again."""

    kind: ClassVar[str] = "federation.given_up"
    written_off_msat: int


def stream_of(federation_id: str) -> str:
    """The stream of a federation, given its id in hex."""
    return f"federation/{federation_id}"


def _join(_state: NotJoined | Left, input_: Join) -> Decision:
    facts = input_.facts
    wallet = wallet_of(facts.federation_id)
    tells = [Tell(wallet, OpenWallet(federation_id=facts.federation_id, fees=facts.module_fees))]
    for start in range(0, len(input_.recovered), RECOVERED_NOTES_PER_EVENT):
        notes = input_.recovered[start : start + RECOVERED_NOTES_PER_EVENT]
        tells.append(Tell(wallet, RecoverNotes(notes=notes)))
    if facts.module_fees.walletv2 is not None:
        watch = deposits.WatchDeposits(federation_id=facts.federation_id)
        tells.append(Tell(deposits.stream_of(facts.federation_id), watch))
    return Decision(events=(FederationJoined(facts=facts, index=input_.index),), tells=tuple(tells))


def _set_terms(state: Joined, input_: SetTerms) -> Decision:
    terms = TermsSet(
        lightning_fee=input_.lightning_fee,
        transaction_fee=input_.transaction_fee,
        receive_enabled=input_.receive_enabled,
    )
    return Decision() if _with_terms(state, terms) == state else Decision(events=(terms,))


def _set_cap(state: Joined, input_: SetExposureCap) -> Decision:
    if state.trust.cap_msat == input_.cap_msat:
        return Decision()
    return Decision(events=(ExposureCapSet(cap_msat=input_.cap_msat),))


def _distrust(state: Joined, input_: ClaimRefused) -> Decision:
    if state.trust.refused_claim is not None:
        return Decision()
    refused = RefusedClaim(stream=input_.stream, error=input_.error)
    return Decision(events=(FederationDistrusted(refused_claim=refused),))


def _trust_again(state: Joined, _input: TrustAgain) -> Decision:
    return Decision() if state.trust.refused_claim is None else Decision((FederationTrusted(),))


def _fruitless(_state: Joined, input_: FruitlessFunding) -> Decision:
    return Decision(events=(ContractWithoutPreimage(unix_s=input_.now_unix_s),))


def _count_fruitless(state: Joined, event: ContractWithoutPreimage) -> Joined:
    since_unix_s = event.unix_s - FRUITLESS_WINDOW_S
    recent = tuple(at for at in state.fruitless_unix_s if at > since_unix_s)
    counted = (*recent, event.unix_s)[-FRUITLESS_MAX:]
    return msgspec.structs.replace(state, fruitless_unix_s=counted)


def _leave(state: Joined, _input: Leave) -> Decision:
    paused = Tell(deposits.stream_of(state.facts.federation_id), deposits.PauseDeposits())
    return Decision(events=(FederationLeft(),), tells=(paused,))


def _give_up(state: Joined, input_: GiveUpFederation) -> Decision:
    paused = Tell(deposits.stream_of(state.facts.federation_id), deposits.PauseDeposits())
    receives = (Tell(stream, receive.GiveUpReceive()) for stream in input_.receives)
    transactions = (Tell(stream, GiveUpTransaction()) for stream in input_.transactions)
    given_up = FederationGivenUp(written_off_msat=input_.written_off_msat)
    return Decision(events=(given_up,), tells=(paused, *receives, *transactions))


def _with_terms(state: Joined, event: TermsSet) -> Joined:
    facts = msgspec.structs.replace(
        state.facts, lightning_fee=event.lightning_fee, transaction_fee=event.transaction_fee
    )
    return msgspec.structs.replace(state, facts=facts, receive_enabled=event.receive_enabled)


def _joined(state: NotJoined | Left, event: FederationJoined) -> Joined:
    trust = state.trust if isinstance(state, Left) else UNSET
    return Joined(facts=event.facts, index=event.index, trust=trust)


def _trusting(state: Joined, **changes: object) -> Joined:
    trust = msgspec.structs.replace(state.trust, **changes)
    return msgspec.structs.replace(state, trust=UNSET if trust == UNSET else trust)


_RULES = table(
    {
        (NotJoined, Join): Handle(_join, to=(Joined,)),
        (Left, Join): Handle(_join, to=(Joined,)),
        (Joined, SetTerms): Handle(_set_terms, to=(Joined,)),
        (Joined, Leave): Handle(_leave, to=(Left,)),
        (Joined, GiveUpFederation): Handle(_give_up, to=(Left,)),
        (Joined, SetExposureCap): Handle(_set_cap, to=(Joined,)),
        (Joined, ClaimRefused): Handle(_distrust, to=(Joined,)),
        (Joined, TrustAgain): Handle(_trust_again, to=(Joined,)),
        (Joined, FruitlessFunding): Handle(_fruitless, to=(Joined,)),
    },
    refused((Joined,), (Join,), "the gateway serves this federation already"),
    refused(
        (NotJoined, Left),
        (SetTerms, GiveUpFederation, SetExposureCap, TrustAgain),
        "the gateway does not serve this federation",
    ),
    refused((NotJoined,), (Leave,), "the gateway does not serve this federation"),
    ignored((Left,), (Leave,), "it is left already"),
    ignored(
        (NotJoined, Left),
        (ClaimRefused, FruitlessFunding),
        "nothing is paid out of a federation that is not served",
    ),
)

MACHINE = Machine(
    kind="federation",
    initial=NotJoined(),
    states=(NotJoined, Joined, Left),
    inputs=(
        Join,
        SetTerms,
        Leave,
        GiveUpFederation,
        SetExposureCap,
        ClaimRefused,
        TrustAgain,
        FruitlessFunding,
    ),
    rules=_RULES,
    evolvers={
        FederationJoined: _joined,
        TermsSet: _with_terms,
        ExposureCapSet: lambda state, event: _trusting(state, cap_msat=event.cap_msat),
        FederationDistrusted: lambda state, event: _trusting(
            state, refused_claim=event.refused_claim
        ),
        FederationTrusted: lambda state, _event: _trusting(state, refused_claim=None),
        ContractWithoutPreimage: _count_fruitless,
        FederationLeft: lambda state, _event: Left(
            facts=state.facts, index=state.index, trust=state.trust
        ),
        FederationGivenUp: lambda state, event: Left(
            facts=state.facts,
            index=state.index,
            trust=state.trust,
            written_off_msat=event.written_off_msat,
        ),
    },
)
