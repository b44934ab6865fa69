"""The payments of the simulated history: what users, the operator and bad luck do to a gateway that was recovered."""

import shutil
import tempfile
from pathlib import Path

import anyio

from tests.scenarios import flows
from tests.scenarios import mishaps as bad
from tests.scenarios import treasury_mishaps as treasury
from tests.scenarios.scenarios import AMOUNT_MSAT, the_words_bring_the_ecash_back
from tests.scenarios.simulated import SimulatedStage
from tests.scenarios.simulated import play as play_on_stage

#: Each adds an end that no other has.
_PLAYED: tuple[bad.Mishap, ...] = (
    the_words_bring_the_ecash_back,  # first, since it begins a new log
    bad.the_node_makes_no_invoice,
    bad.nobody_pays_an_invoice,
    bad.receiving_is_off_when_the_payment_comes,
    bad.the_federation_refuses_to_fund,
    bad.a_contract_holds_no_preimage,
    bad.a_contract_without_preimage_is_not_worth_its_fees,
    bad.taking_a_contract_back_is_refused,
    bad.the_node_gives_up_what_it_holds_while_its_receiver_is_funded,
    treasury.a_deposit_is_not_worth_its_fees,
    treasury.the_claim_of_a_deposit_is_refused_at_first,
    treasury.a_withdrawal_is_refused,
    treasury.more_is_withdrawn_than_there_is,
    treasury.more_ecash_is_asked_for_than_there_is,
    treasury.ecash_that_no_notes_fit_is_made_first,
    treasury.ecash_is_spent_already,
    treasury.the_operator_pays_invoices,
    treasury.the_operator_sends_coins_and_opens_a_channel,
)


def play(directory: Path) -> None:
    """Leave the gateway's data directory at `directory`."""
    with tempfile.TemporaryDirectory() as folder:
        play_on_stage(Path(folder), _play)
        latest = max(Path(folder).iterdir(), key=lambda path: path.name)
        shutil.copytree(latest, directory)


async def _play(stage: SimulatedStage) -> None:
    await stage.gateway.start()
    for scenario in _PLAYED:
        await scenario(stage)
    await _forget_foreign_notes(stage)
    await stage.gateway.kill()


async def _forget_foreign_notes(stage: SimulatedStage) -> None:
    """The gateway dies before it has signed for ecash that it took; the giver hands it in again."""
    await stage.gateway.kill()
    await stage.gateway.start(crash_at="after reissue.requested")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flows.hand_in, stage, stage.federations[0], AMOUNT_MSAT)
        await stage.gateway.died()
        await stage.gateway.start()
