"""Embedded guardians as connections: endpoints, long polls, faults, and thresholds over four."""

import random
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from backends.simulated.chain import SimulatedChain
from devnet.guardians.faults import garbage, wrong_errors, wrong_shares
from devnet.guardians.federation import PASSWORD, EmbeddedFederation
from devnet.guardians.guardian import EmbeddedGuardian
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import Funded, TransactionRefused
from errors import InputError
from fedimint.client.transport import GuardianRefused, GuardianTimeout, GuardianUnreachable
from fedimint.codec import secp
from fedimint.codec.encoding import BYTES
from fedimint.discovery import download_config
from fedimint.federation_api import FederationApi, FinallyRejected
from fedimint.lnv2 import HashImage, OutgoingContract
from fedimint.transaction import TRANSACTION, Accepted, InputRefused

pytestmark = pytest.mark.anyio

FUNDS_MSAT = 1_024_000
CONTRACT_MSAT = 500_000
REFUND_SECRET = bytes([9]) * 32
_KEY = secp.public_key(REFUND_SECRET)
CONTRACT = OutgoingContract(HashImage(bytes(32)), CONTRACT_MSAT, 200, _KEY, _KEY, _KEY)


def federation(guardians: int = 1, seed: int = 5) -> EmbeddedFederation:
    chain = SimulatedChain(height=10)
    return EmbeddedFederation(chain, random.Random(seed).randbytes, guardians=guardians)


async def no_pause(seconds: float) -> None:
    del seconds
    await anyio.lowlevel.checkpoint()


def user_of(
    federation: EmbeddedFederation, sleep_s: Callable[[float], Awaitable[None]] = no_pause
) -> EmbeddedUser:
    user = EmbeddedUser(federation, random.Random(6).randbytes, federation.asked_by(sleep_s))
    user.wallet.add(federation.issue_notes(user.wallet.module, FUNDS_MSAT))
    return user


def fund(user: EmbeddedUser) -> Funded:
    return user.wallet.fund([], [user.contract_output(CONTRACT)])


def params_of(funded: Funded) -> list[str]:
    return [BYTES.encode(TRANSACTION.encode(funded.transaction)).hex()]


async def test_a_client_joins_by_the_invite() -> None:
    joined = federation(guardians=4)
    for invite in (joined.invite_code(), joined.invite_code(joined.guardians[2].peer)):
        assert await download_config(invite, joined.connect, sleep_s=no_pause) == joined.config
    assert joined.config.federation_name() == "embedded"
    with pytest.raises(GuardianUnreachable):
        joined.connect("ws://elsewhere.invalid/")


async def test_equal_randomness_makes_equal_federations_and_transactions() -> None:
    assert federation().config == federation().config != federation(seed=9).config
    assert fund(user_of(federation())) == fund(user_of(federation()))


def test_a_federation_of_two_is_refused() -> None:
    with pytest.raises(InputError):
        federation(guardians=2)


async def test_a_guardian_answers_as_a_real_one() -> None:
    guardian = federation().guardians[0]
    assert await guardian.request("session_count", None) == 0
    assert await guardian.request("module_0_consensus_block_count", None) == 11
    status = await guardian.request("status", None)
    assert isinstance(status, dict)
    assert status["server"] == "consensus_running"
    with pytest.raises(GuardianRefused) as unknown:
        await guardian.request("module_0_no_such_method", None)
    assert unknown.value.is_unknown_method
    for method, params in (
        ("await_transaction", 5),
        ("submit_transaction", ["zz"]),
        ("submit_transaction", [BYTES.encode(bytes(40)).hex()]),
        ("module_2_signature_shares", {"txid": "ab"}),
    ):
        with pytest.raises(GuardianRefused) as malformed:
            await guardian.request(method, params)
        assert malformed.value.code == 400


async def test_only_the_password_adds_a_gateway() -> None:
    guardian = federation().guardians[0]
    with pytest.raises(GuardianRefused) as refused:
        await guardian.request("module_0_add_gateway", "http://g.invalid/", auth="guess")
    assert refused.value.code == 401
    for expected in (True, False):
        added = await guardian.request("module_0_add_gateway", "http://g.invalid/", auth=PASSWORD)
        assert added is expected
    assert await guardian.request("module_0_gateways", None) == ["http://g.invalid/"]
    for expected in (True, False):
        removed = await guardian.request(
            "module_0_remove_gateway", "http://g.invalid/", auth=PASSWORD
        )
        assert removed is expected


async def test_long_polls_wait_for_the_transaction() -> None:
    joined = federation()
    funded = fund(user_of(joined))
    guardian = joined.guardians[0]
    txid = funded.transaction.txid().hex()
    asked = {"txid": txid, "idx_range": {"start": 1, "end": 1 + len(funded.change)}}
    answers: dict[str, object] = {}

    async def ask(method: str, params: object) -> None:
        answers[method] = await guardian.request(method, params)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "await_transaction", txid)
        group.start_soon(ask, "module_2_signature_shares", asked)
        await anyio.wait_all_tasks_blocked()
        assert answers == {}
        await guardian.request("submit_transaction", params_of(funded))
    assert answers["await_transaction"] == txid
    shares = answers["module_2_signature_shares"]
    assert isinstance(shares, list)
    assert [len(share) for share in shares] == [96] * len(funded.change)


async def test_a_guardian_cuts_long_polls_and_ends_them_when_it_goes_down() -> None:
    guardian = federation().guardians[0]
    guardian.faults.long_poll_limit_s = 0
    with pytest.raises(GuardianTimeout):
        await guardian.request("await_transaction", "00" * 32)
    assert await guardian.request("session_count", None) == 0
    guardian.faults.long_poll_limit_s = 60

    async def wait() -> None:
        with pytest.raises(GuardianUnreachable):
            await guardian.request("await_transaction", "00" * 32)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        guardian.stop()
    with pytest.raises(GuardianUnreachable):
        await guardian.request("session_count", None)
    guardian.start()
    assert await guardian.request("session_count", None) == 0


async def test_a_lost_answer_does_not_undo_the_transaction() -> None:
    joined = federation()
    guardian = joined.guardians[0]
    funded = fund(user_of(joined))
    guardian.faults.loses_answer = "submit_transaction".__eq__
    with pytest.raises(GuardianUnreachable):
        await guardian.request("submit_transaction", params_of(funded))
    guardian.faults.loses_answer = "other".__eq__
    again = await guardian.request("submit_transaction", params_of(funded))
    assert again == ["2101" + funded.transaction.txid().hex()]
    assert len(joined.consensus.accepted) == 1
    assert joined.audit().is_balanced()


async def test_a_delayed_submission_takes_its_way_without_the_client() -> None:
    joined = federation()
    funded = fund(user_of(joined))
    release = anyio.Event()
    joined.set_acceptance_delay(release.wait)
    async with anyio.create_task_group() as group:
        group.start_soon(joined.guardians[0].request, "submit_transaction", params_of(funded))
        await anyio.wait_all_tasks_blocked()
        assert joined.consensus.accepted == {}
        group.cancel_scope.cancel()
    assert list(joined.consensus.accepted) == [funded.transaction.txid()]


async def test_of_two_that_spend_the_same_notes_the_later_is_refused() -> None:
    joined = federation(guardians=4)
    user = user_of(joined)
    notes = list(user.wallet.notes)
    first = fund(user)
    user.wallet.notes = notes
    second = fund(user)
    assert first.transaction.txid() != second.transaction.txid()
    release = anyio.Event()
    joined.set_acceptance_delay(release.wait)
    api = FederationApi(joined.asked_by(no_pause))
    results = {}

    async def submit(name: str, funded: Funded) -> None:
        transaction = funded.transaction
        results[name] = await api.submit_until_final(
            TRANSACTION.encode(transaction), transaction.txid()
        )

    async with anyio.create_task_group() as group:
        group.start_soon(submit, "first", first)
        group.start_soon(submit, "second", second)
        await anyio.wait_all_tasks_blocked()
        release.set()
    accepted = [result for result in results.values() if isinstance(result, Accepted)]
    rejected = [result for result in results.values() if isinstance(result, FinallyRejected)]
    assert len(accepted) == len(rejected) == 1
    error = rejected[0].error()
    assert isinstance(error, InputRefused)
    assert (error.error.module_instance_id, error.error.body) == (2, bytes([1, 0]))
    assert joined.audit().is_balanced()


async def pays_out(user: EmbeddedUser, joined: EmbeddedFederation) -> None:
    before_msat = user.balance_msat()
    payment = await user.fund_contract(CONTRACT, REFUND_SECRET, "lnbcrt1")
    assert joined.audit().contracts_msat == {payment.out_point: CONTRACT_MSAT}
    spent_msat = before_msat - user.balance_msat()
    assert CONTRACT_MSAT + 1_000 < spent_msat < CONTRACT_MSAT + 10_000
    assert joined.audit().notes_msat == user.balance_msat()
    assert joined.audit().is_balanced()


def go_down(guardian: EmbeddedGuardian) -> None:
    guardian.stop()


def lie_about_shares(guardian: EmbeddedGuardian) -> None:
    guardian.faults.lie = wrong_shares


def lie_about_errors(guardian: EmbeddedGuardian) -> None:
    guardian.faults.lie = wrong_errors


def talk_garbage(guardian: EmbeddedGuardian) -> None:
    guardian.faults.lie = garbage


def lose_all_answers(guardian: EmbeddedGuardian) -> None:
    guardian.faults.loses_answer = bool


def cut_long_polls(guardian: EmbeddedGuardian) -> None:
    guardian.faults.long_poll_limit_s = 0


def never_answer(guardian: EmbeddedGuardian) -> None:
    async def for_ever(method: str) -> None:
        del method
        await anyio.sleep_forever()

    guardian.faults.pause = for_ever


FAULTS = (
    go_down,
    lie_about_shares,
    lie_about_errors,
    talk_garbage,
    lose_all_answers,
    cut_long_polls,
    never_answer,
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_three_honest_guardians_of_four_suffice(
    fault: Callable[[EmbeddedGuardian], None],
) -> None:
    joined = federation(guardians=4)
    user = user_of(joined)
    fault(joined.guardians[1])
    await pays_out(user, joined)


@pytest.mark.parametrize("lie", [lie_about_shares, lie_about_errors, talk_garbage])
async def test_one_down_and_one_lying_decide_nothing_until_one_returns(
    lie: Callable[[EmbeddedGuardian], None],
) -> None:
    joined = federation(guardians=4)
    pauses = 0

    async def pause(seconds: float) -> None:
        nonlocal pauses
        del seconds
        pauses += 1
        if pauses == 60:
            joined.guardians[0].start()
        await anyio.lowlevel.checkpoint()

    user = user_of(joined, pause)
    funded = fund(user)
    lie(joined.guardians[1])
    joined.guardians[0].stop()
    await user.wallet.complete(funded)
    assert pauses >= 60
    assert joined.audit().notes_msat == user.balance_msat()


async def test_notes_come_back_when_the_federation_refuses() -> None:
    user = user_of(federation())
    notes = list(user.wallet.notes)
    first = fund(user)
    user.wallet.notes = notes
    second = fund(user)
    await user.wallet.complete(first)
    with pytest.raises(TransactionRefused):
        await user.wallet.complete(second)
    assert set(second.spent) <= set(user.wallet.notes)
