"""The end of a simulated run: faults stop, everything must come to rest, and everybody's books must agree."""

from collections import Counter
from collections.abc import Iterator

import anyio

from devnet.embedded_world import CHANNEL_SIDE_MSAT
from devnet.guardians.federation import EmbeddedFederation
from engine.machine import State
from engine.storage.audit import verify
from engine.storage.reader import open_log
from fedimint.crypto import bls, tbs
from fuzz.simulation.harness import AWAY, RETRY_PAUSE_LONGEST_S, Harness
from gateway.log import machines, read_models
from statemachines import accounts, completion, identity, node_order
from statemachines.outlook import OpenState
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet

#: How long everything may take to come to rest when nothing disturbs it: longer than any invoice of a run is valid.
REST_S = 2_400.0
_LOOK_PAUSE_S = 5.0
_BURIED_BLOCKS = 20
#: In which everybody has heard of the chain, and every call that was made again has been.
_NEWS_S = 100.0
#: Beyond every HTLC that nobody answers.
_TIMELOCK_BLOCKS = 200


async def calm(harness: Harness) -> None:
    """Faults stop here, once the gateway is back; the network delivers what it kept back."""
    await harness.is_back.wait()
    harness.is_calm.set()
    harness.crash.disarm()
    harness.down_s, harness.blocks_away = 0.0, 0
    # By then everybody has asked again who found nobody at home.
    await anyio.sleep(2 * RETRY_PAUSE_LONGEST_S if harness.witness.counts[AWAY] else 1)
    node = harness.world.gateway_node
    node.forgive()
    node.deliver_delayed()
    await _settled(harness)
    harness.mine(_BURIED_BLOCKS)
    await anyio.sleep(_NEWS_S)
    await at_rest(harness)
    harness.mine(_TIMELOCK_BLOCKS)
    harness.tasks.start_soon(_mine_for_refunds, harness)


async def _settled(harness: Harness) -> None:
    """Return when the node has settled what was bought: hours of blocks in the second of a call would fail it back."""
    with anyio.move_on_after(_NEWS_S):
        while any(  # noqa: ASYNC110 - as an operator looks
            isinstance(state, completion.Settling) for state in harness.auditor.states().values()
        ):
            await anyio.sleep(1)


async def _mine_for_refunds(harness: Harness) -> None:
    """Users wait for contracts to expire; by now the gateway has claimed what is its own."""
    while True:
        harness.mine(max(0, harness.wanted_height - harness.world.chain.height))
        await anyio.sleep(_LOOK_PAUSE_S)


async def at_rest(harness: Harness) -> None:
    """Return when the durable log has nothing under way. A stream that waits too long adds a problem."""
    with anyio.move_on_after(REST_S):
        while under_way(harness):  # noqa: ASYNC110 - as an operator looks
            await anyio.sleep(_LOOK_PAUSE_S)
    for stream, state in under_way(harness).items():
        harness.expect(False, f"{stream} stays in {type(state).__name__}")


def under_way(harness: Harness) -> dict[str, State]:
    """What is not over; an order whose trace is lost waits for the operator, which is an end."""
    return {
        stream: state
        for stream, state in harness.auditor.states().items()
        if isinstance(state, OpenState) and not isinstance(state, node_order.Ordered)
    }


def problems(harness: Harness) -> list[str]:
    """Everything that is wrong in the end, from every judge."""
    booked = Counter(harness.auditor.balances())
    found = [*harness.auditor.problems, *harness.witness.problems]
    found += _outside(harness, booked)
    founded = harness.auditor.state_of(identity.STREAM)
    if isinstance(founded, identity.Founded) and founded.is_frozen:
        found.append("the restored log stays frozen")
    return [*found, *_broken_log(harness), *_bad_notes(harness)]


def _broken_log(harness: Harness) -> Iterator[str]:
    """Tables that are not what a fold of the log gives: a start rests on the states of open streams."""
    with open_log(harness.gateway.directory) as log:
        found = verify(log, machines(), read_models())
    yield from (f"the log: {problem}" for problem in found.problems)
    for model in found.read_models:
        if not model.compared and not found.unread:
            yield f"the log: the table {model.name} was not compared"


def _bad_notes(harness: Harness) -> Iterator[str]:
    """Notes that the log holds and the federation would not honour."""
    for federation in harness.world.federations:
        wallet = harness.auditor.state_of(wallet_of(federation.federation_id.hex()))
        if not isinstance(wallet, Wallet):
            continue
        for tx in wallet.spending:
            yield f"6: the notes of {tx} are neither spent nor free"
        keys = federation.mint_keys().tbs_agg_pks
        for held in wallet.notes:
            nonce = bytes.fromhex(held.nonce)
            signature = bls.decode_g1(bytes.fromhex(held.signature))
            key = bls.decode_g2(keys[held.denomination])
            if not tbs.verify(tbs.Signed(tbs.message_v2(nonce), signature, key)):
                yield f"6: the note {held.nonce} is not signed"
            if nonce in federation.consensus.ledger.spent_nonces:
                yield f"6: the note {held.nonce} is spent"


def _outside(harness: Harness, booked: Counter[str]) -> Iterator[str]:
    """The log's accounts against node, chain and federations."""
    network, auditor, states = harness.world.network, harness.auditor, harness.auditor.states()
    network.audit()
    lost, federations, losses = auditor.lost, harness.world.federations, auditor.losses
    node_msat = network.holdings_msat("gateway") + auditor.spent_unbooked_msat()
    node_msat -= auditor.wrongs.paid_to_another_msat(harness.world.gateway_node)
    booked_msat = booked[accounts.NODE] + lost.node_msat(harness.world.gateway_node, states)
    deposited_msat = lost.deposited_msat(states) - booked[accounts.DEPOSITED]
    withdrawn_msat = booked[accounts.WITHDRAWN] + sum(
        lost.paid_out_msat(federation, states) for federation in federations
    )
    compared = {
        "HTLCs locked at rest": (0, network.locked_msat()),
        "the node": (booked_msat, node_msat - CHANNEL_SIDE_MSAT),
        "deposits": (deposited_msat, 1_000 * harness.witness.paid_in_sat),
        "withdrawals": (withdrawn_msat, 1_000 * _paid_out_sat(harness)),
        "losses": (booked[accounts.LOST], losses.written_off_msat),
    }
    for number, federation in enumerate(federations):
        audit = federation.audit()
        if not audit.is_balanced():
            yield f"7: the books of federation {number} do not balance"
        yield from _funded_twice(federation)
        name = federation.federation_id.hex()
        in_contracts_msat = sum(audit.contracts_msat.values())
        stuck_msat = losses.stuck_msat[name] + lost.contracts_msat(federation, states)
        compared[f"contracts of federation {number}"] = stuck_msat, in_contracts_msat
        held_msat = booked[accounts.ecash(name)] + _of_others_msat(harness, number)
        held_msat += losses.dead_notes_msat[name]
        compared[f"notes of federation {number}"] = held_msat, audit.notes_msat
    for what, (ours_msat, theirs_msat) in compared.items():
        if ours_msat != theirs_msat:
            yield f"7: {what}: {ours_msat} msat by our books, {theirs_msat} msat by theirs"
    for account, amount_msat in booked.items():
        if "/" in account and not account.startswith(accounts.ecash("")) and amount_msat:
            yield f"7: {amount_msat} msat stay in {account}"


def _funded_twice(federation: EmbeddedFederation) -> Iterator[str]:
    funded = Counter(c.contract_id().hex() for c in federation.consensus.ledger.incoming.values())
    for contract_id, times in funded.items():
        if times > 1:
            yield f"4: the contract {contract_id} was funded {times} times"


def _paid_out_sat(harness: Harness) -> int:
    chain, scripts = harness.world.chain, set(harness.witness.payout_scripts)
    outputs = (o for h in range(chain.height + 1) for tx in chain.block(h) for o in tx.outputs)
    return sum(output.value_sat for output in outputs if output.script in scripts)


def _of_others_msat(harness: Harness, number: int) -> int:
    """Users' notes, and ecash as text that nobody has reissued yet."""
    spent = harness.federation(number).consensus.ledger.spent_nonces
    users_msat = sum(user.balance_msat() for of, user in harness.users if of == number)
    texts = dict(harness.auditor.given[harness.federation_id(number)])
    texts |= {
        note.note().nonce.hex(): note.amount_msat()
        for of, note in harness.witness.handed_in
        if of == number
    }
    return users_msat + sum(
        amount_msat for nonce, amount_msat in texts.items() if bytes.fromhex(nonce) not in spent
    )
