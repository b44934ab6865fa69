"""Everything that can happen to a gateway of two federations, drawn at random: requests, and results of effects.

Results reach the machines as the engine hands them in: also late and repeated, but only while their effect is wanted.
"""

from contextlib import suppress
from random import Random

from engine.machine import Effect, Input
from errors import ConflictError
from fuzz.machines.effect_results import results_of
from fuzz.machines.scene import (
    BITCOIN_FEES,
    CONTRACT_EXPIRES_UNIX_S,
    FEDERATION,
    NODE,
    OTHER,
    OTHER_NODE,
    Scene,
    facts,
    note,
    receive_facts,
)
from statemachines import (
    deposits,
    exposure,
    federation,
    gift,
    identity,
    image,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    transaction,
    withdrawal,
)
from statemachines.federation import FederationFacts, Fee
from statemachines.items import ForeignNote, FundedContract
from statemachines.reserving import FederationFees

FEDERATIONS = (FEDERATION, OTHER)
#: How many results are taken as they should be; of the others each kind is as likely.
CALM_SHARE = 0.5
#: Payment hashes are few, so that they are used again.
NUMBERS = (1, 2, 3, 4)
#: Wanted all the time; more often than not something else happens first.
_PATIENT = (deposits.GrindAddress, deposits.ScanOutputs, receive.ForgetInvoice)
#: What the operator says of a federation as it is now; said again later it is something new.
_SAID_OF_NOW = (
    *(federation.SetTerms, federation.SetExposureCap, federation.TrustAgain),
    federation.GiveUpFederation,
)
#: Over, until somebody asks for the same once more.
_ASKED_AGAIN = (operator_payment.Failed, reissue.Abandoned)


class World:
    """A gateway, and whatever is outside. `calm` lets every effect succeed."""

    def __init__(self, choose: Random, fees: FederationFees = BITCOIN_FEES) -> None:
        self.choose = choose
        self.calm = False
        self.scene = Scene()
        self.ids = 0
        self._fees = fees
        #: Every result ever handed in, with the effect that it is of.
        self._results: list[tuple[str, str, Effect, Input]] = []
        #: Everything that came from outside, in order.
        self._heard: list[tuple[str, Input]] = []
        started = identity.Start(network="regtest", mnemonic_fingerprint="f1")
        self.scene.deliver(identity.STREAM, started)
        self.scene.deliver(identity.STREAM, identity.MeetNode(node=NODE))
        for federation_id in FEDERATIONS:
            self._join(federation_id)
            held = tuple(note(f"{federation_id[:2]} {number}") for number in range(3))
            self.scene.hold(*held, federation_id=federation_id)

    # --- callers ---

    def ask(self) -> None:
        """A request of a client, the operator or the node's watch. A refusal changes nothing."""
        stream, input_ = self.choose.choice(
            [
                *[self._receive, self._send, self._swap, self._htlc] * 3,
                *[self._gift, self._reissue, self._withdrawal],
                *[
                    self._operator_payment,
                    self._node_order,
                    self._dismissal,
                    self._terms,
                    self._giving_up,
                    *[self._giving_up] * len(self._funding_in()),
                    self._replacement,
                ],
            ]
        )()
        rows = list(self.scene.rows)
        try:
            self.scene.deliver(stream, input_)
        except ConflictError:
            assert self.scene.rows == rows
        else:
            self._heard.append((stream, input_))
            self._again(stream, input_)

    def _again(self, stream: str, input_: Input) -> None:
        """The same once more changes nothing, whatever came of it."""
        rows = list(self.scene.rows)
        with suppress(ConflictError):
            self.scene.deliver(stream, input_)
        assert self.scene.rows == rows, (stream, input_)

    def _receive(self) -> tuple[str, Input]:
        asked = receive_facts(
            self.choose.choice(NUMBERS),
            federation_id=self.choose.choice(FEDERATIONS),
            refund_worth_msat=self.choose.choice((0, 979_000)),
        )
        return receive.stream_of(asked.payment_hash), receive.RequestReceive(facts=asked)

    def _send(self) -> tuple[str, Input]:
        asked = facts(
            self.choose.choice(NUMBERS) + self.choose.choice((0, len(NUMBERS))),
            federation_id=self.choose.choice(FEDERATIONS),
            contract_msat=self.choose.choice((1_100_000, 1_000_000)),
        )
        request = send.RequestSend(
            facts=asked,
            other_network=self.choose.choice((False, False, True)),
            image_owner=self._owner_of(asked.payment_hash),
        )
        return send.stream_of(asked.contract_id), request

    def _owner_of(self, payment_hash: str) -> str:
        """As the gateway sees it: more often than not, so that the machines must refuse what it would overlook."""
        owner = self.scene.state(image.stream_of(payment_hash))
        if not isinstance(owner, image.Claimed) or self.choose.random() < 0.3:
            return ""
        return owner.operation

    def _swap(self) -> tuple[str, Input]:
        asked = facts(self._invoiced(), federation_id=self.choose.choice(FEDERATIONS), is_swap=True)
        request = send.RequestSend(facts=asked, other_network=False)
        return send.stream_of(asked.contract_id), request

    def _htlc(self) -> tuple[str, Input]:
        asked = receive_facts(self._invoiced())
        if self.choose.random() < 0.1:
            waits = receive.HtlcWaits(reason="the node does not answer")
            return receive.stream_of(asked.payment_hash), waits
        held = receive.HtlcHeld(
            amount_msat=asked.invoice_msat + self.choose.choice((0, 0, 0, 1)),
            deadline_blocks=self.choose.choice((100, 100, 1)),
            now_unix_s=self.choose.choice((5_000, 5_000, CONTRACT_EXPIRES_UNIX_S)),
            refusal=self.choose.choice((None, None, "switched off")),
        )
        return receive.stream_of(asked.payment_hash), held

    def _invoiced(self) -> int:
        """A number whose invoice can be paid, if there is one."""
        invoiced = [n for n in NUMBERS if isinstance(self.scene.receive(n), receive.Invoiced)]
        return self.choose.choice(invoiced or NUMBERS)

    def _gift(self) -> tuple[str, Input]:
        asked = gift.GiftFacts(
            self._new_id(), self.choose.choice(FEDERATIONS), self.choose.randint(1, 2_000) * 512
        )
        return gift.stream_of(asked.id), gift.RequestGift(facts=asked)

    def _reissue(self) -> tuple[str, Input]:
        name = f"ecash {self.choose.choice(NUMBERS)}"
        notes = tuple(ForeignNote(d, f"{name} {d}") for d in self.choose.choice(((15,), (18, 20))))
        asked = reissue.ReissueFacts(name, self.choose.choice(FEDERATIONS), notes)
        return reissue.stream_of(asked.id), reissue.RequestReissue(facts=asked)

    def _withdrawal(self) -> tuple[str, Input]:
        asked = withdrawal.WithdrawalFacts(
            self.choose.choice(FEDERATIONS),
            "bcrt1…",
            "0014",
            self.choose.choice((500, 90_000)),
            300,
        )
        request = withdrawal.RequestWithdrawal(id=self._new_id(), facts=asked, now_unix_s=5_000)
        return withdrawal.stream_of(request.id), request

    def _operator_payment(self) -> tuple[str, Input]:
        hash_ = facts(self.choose.choice(NUMBERS) + len(NUMBERS)).payment_hash
        asked = operator_payment.OperatorPaymentFacts(hash_, "lnbcrt", 1_000_000, 60_000, 1_008)
        owner = self._owner_of(hash_)
        given_up = owner if isinstance(self.scene.state(owner or "send/0"), send.Cancelled) else ""
        request = operator_payment.RequestOperatorPayment(facts=asked, given_up=given_up)
        return operator_payment.stream_of(hash_), request

    def _node_order(self) -> tuple[str, Input]:
        order = node_order.SendCoins("bcrt1…", None, 5)
        request = node_order.RequestOrder(id=self._new_id(), order=order)
        return node_order.stream_of(request.id), request

    def _replacement(self) -> tuple[str, Input]:
        """The operator gives the node up for another, once."""
        return identity.STREAM, identity.ReplaceNode(gone=NODE, node=OTHER_NODE)

    def _dismissal(self) -> tuple[str, Input]:
        """Of a payment of the operator that waits, or of an order, if there is one."""
        paying = [
            s
            for s, state in self.scene.states.items()
            if isinstance(state, operator_payment.Paying)
        ]
        if paying and self.choose.random() < 0.5:
            return self.choose.choice(paying), operator_payment.DismissOperatorPayment()
        waiting = [s for s, state in self.scene.states.items() if type(state) is node_order.Ordered]
        stream = self.choose.choice(waiting or [node_order.stream_of("none")])
        return stream, node_order.DismissOrder()

    def _terms(self) -> tuple[str, Input]:
        terms = federation.SetTerms(
            lightning_fee=Fee(0, 0),
            transaction_fee=Fee(self.choose.choice((0, 2_000)), 3_000),
            receive_enabled=self.choose.choice((True, False)),
        )
        cap = federation.SetExposureCap(cap_msat=self.choose.choice((None, 1_000_000_000)))
        stream = federation.stream_of(self.choose.choice(FEDERATIONS))
        state = self.scene.state(stream)
        refuses = isinstance(state, federation.Joined) and state.trust.refused_claim is not None
        again = federation.TrustAgain()
        return stream, again if refuses else self.choose.choice((terms, cap, again))

    def _funding_in(self) -> list[str]:
        """Federations whose guardians may take a funding at this moment."""
        return [
            state.reservation.federation_id
            for state in self.scene.states.values()
            if isinstance(state, transaction.Signed)
            and any(isinstance(output, FundedContract) for output in state.reservation.outputs)
        ]

    def _giving_up(self) -> tuple[str, Input]:
        """As the gateway asks for it, most likely amid a funding; a federation that was given up is joined again."""
        federation_id = self.choose.choice(self._funding_in() or FEDERATIONS)
        stream = federation.stream_of(federation_id)
        if isinstance(self.scene.state(stream), federation.Left):
            return identity.STREAM, self._joining(federation_id)
        states = self.scene.states
        bought = [
            one
            for one, state in states.items()
            if isinstance(state, receive.Funding | receive.Decrypting)
            and state.facts.federation_id == federation_id
        ]
        funding = [
            one
            for one, state in states.items()
            if isinstance(state, transaction.Reserved | transaction.Signed)
            and state.reservation.parent in bought
        ]
        held_msat = sum(
            exposure.held_msat(state, federation_id)
            for one, state in states.items()
            if one not in bought
        )
        asked = federation.GiveUpFederation(
            receives=tuple(bought), transactions=tuple(funding), written_off_msat=held_msat
        )
        return stream, asked

    # --- effects ---

    def work(self) -> bool:
        """One effect has a result, which also comes twice; False when nothing is wanted."""
        wanted = [
            (stream, key, effect)
            for stream in self.scene.states
            for key, effect in self.scene.wants(stream).items()
        ]
        if not wanted:
            return False
        urgent = [work for work in wanted if not isinstance(work[2], _PATIENT)]
        stream, key, effect = self.choose.choice(urgent or wanted)
        results = results_of(self.scene, effect)
        is_calm = self.calm or self.choose.random() < CALM_SHARE
        result = results[0] if is_calm else self.choose.choice(results)
        self.scene.deliver(stream, result)
        self._results.append((stream, key, effect, result))
        self._heard.append((stream, result))
        self._again(stream, result)
        return True

    def a_late_result_comes(self) -> None:
        """Dropped by the engine unless an equal effect is wanted again, which it then is a result of."""
        if self._results:
            stream, key, effect, result = self.choose.choice(self._results)
            if self.scene.wants(stream).get(key) == effect:
                self.scene.deliver(stream, result)

    def everything_under_way_ends(self) -> None:
        """Faults end: what is open must end, then federations can be left and joined again."""
        self.calm = True
        for federation_id in FEDERATIONS:
            self.scene.deliver(deposits.stream_of(federation_id), deposits.PauseDeposits())
        steps = 0
        while self.work():
            steps += 1
            assert steps < 2_000, "work follows from work without an end"
        for federation_id in FEDERATIONS:
            self.scene.deliver(federation.stream_of(federation_id), federation.Leave())
            self._join(federation_id)

    def everything_comes_again(self) -> None:
        """From the first input to the last, after the end: nothing changes, but for what may be asked for again."""
        for stream, input_ in self._heard:
            if not isinstance(input_, _SAID_OF_NOW) and not isinstance(
                self.scene.state(stream), _ASKED_AGAIN
            ):
                self._again(stream, input_)

    def _join(self, federation_id: str) -> None:
        self.scene.deliver(identity.STREAM, self._joining(federation_id))

    def _joining(self, federation_id: str) -> identity.JoinFederation:
        joined = FederationFacts(
            federation_id=federation_id,
            invite_code="fed1…",
            client_config=b"{}",
            module_fees=self._fees,
            lightning_fee=Fee(0, 0),
            transaction_fee=Fee(2_000, 3_000),
        )
        return identity.JoinFederation(facts=joined)

    def _new_id(self) -> str:
        self.ids += 1
        return f"id {self.ids}"
