"""The operator of a simulated gateway dismisses calls that the node never answered, once that is safe."""

from contextlib import suppress
from functools import partial

import anyio

from fedimint import lnv2
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.judging import ending
from fuzz.simulation.plans import steps
from statemachines import node_order, operator_payment, send

#: In which guardians and node have told of new blocks.
_NEWS_S = 60.0
#: More than a call to the node may be on its way.
_ASTRAY_S = 3_700.0


async def dismiss(harness: Harness, _step: steps.Dismiss) -> None:
    """Payments once nothing else is under way, and their contracts are over by then; orders after an hour."""
    harness.afterwards.append(partial(_dismiss_orders, harness))
    await harness.is_calm.wait()
    while True:
        await anyio.sleep(_NEWS_S)
        waiting = ending.under_way(harness)
        unanswered = {
            s: state
            for s, state in waiting.items()
            if isinstance(state, send.Unanswered | send.Vanished | operator_payment.Paying)
        }
        if unanswered and unanswered.keys() == waiting.keys():
            expires_height = max(_expires_height(state) for state in unanswered.values())
            harness.mine(max(0, expires_height - harness.world.chain.height))
            await anyio.sleep(_NEWS_S)
            for stream in unanswered:
                await _ask(harness, stream)


def _expires_height(state: send.Unanswered | send.Vanished | operator_payment.Paying) -> int:
    if isinstance(state, operator_payment.Paying):
        return 0
    contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(state.facts.contract))
    return contract.expiration_block_height


async def _dismiss_orders(harness: Harness) -> None:
    states = harness.auditor.states()
    orders = [stream for stream, state in states.items() if isinstance(state, node_order.Ordered)]
    if orders:
        await anyio.sleep(_ASTRAY_S)
    for stream in orders:
        await _ask(harness, stream)


async def _ask(harness: Harness, stream: str) -> None:
    with suppress(Refused):  # it shows at the node by now
        await persist(lambda: harness.call("POST", "/dismiss", {"stream": stream}))
        harness.witness.counts["dismissed"] += 1
