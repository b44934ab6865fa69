"""The end of a simulated run: faults stop, everything must come to rest, and everybody's books must agree."""

from collections import Counter
from collections.abc import Iterator

import anyio

from devnet.embedded_world import CHANNEL_SIDE_MSAT
from devnet.guardians.federation import EmbeddedFederation
from engine.machine import State
from fedimint.crypto import bls, tbs
from fuzz.simulation.stage import AWAY, RETRY_PAUSE_LONGEST_S, Stage
from statemachines import accounts, identity, node_order
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


async def calm(stage: Stage) -> None:
    """No more faults from here on, once the gateway is back; what the network kept back is delivered."""
    await stage.is_back.wait()
    stage.is_calm.set()
    stage.crash.disarm()
    stage.down_s, stage.blocks_away = 0.0, 0
    # By then everybody has asked again who found nobody at home.
    await anyio.sleep(2 * RETRY_PAUSE_LONGEST_S if stage.witness.counts[AWAY] else 1)
    node = stage.world.gateway_node
    node.forgive()
    node.deliver_delayed()
    stage.mine(_BURIED_BLOCKS)
    await anyio.sleep(_NEWS_S)
    await at_rest(stage)
    stage.mine(_TIMELOCK_BLOCKS)
    stage.tasks.start_soon(_mine_for_refunds, stage)


async def _mine_for_refunds(stage: Stage) -> None:
    """Whoever waits for a contract to expire does so; by now the gateway has claimed what is its own."""
    while True:
        stage.mine(max(0, stage.wanted_height - stage.world.chain.height))
        await anyio.sleep(_LOOK_PAUSE_S)


async def at_rest(stage: Stage) -> None:
    """Return when the durable log has nothing under way. Whoever waits too long adds a problem."""
    with anyio.move_on_after(REST_S):
        while under_way(stage):  # noqa: ASYNC110 - as an operator looks
            await anyio.sleep(_LOOK_PAUSE_S)
    for stream, state in under_way(stage).items():
        stage.expect(False, f"{stream} stays in {type(state).__name__}")


def under_way(stage: Stage) -> dict[str, State]:
    """What is not over; an order whose trace is lost waits for the operator, which is an end."""
    return {
        stream: state
        for stream, state in stage.auditor.states().items()
        if isinstance(state, OpenState) and not isinstance(state, node_order.Ordered)
    }


def problems(stage: Stage) -> list[str]:
    """Everything that is wrong in the end, whoever noticed it."""
    booked = Counter(stage.auditor.balances())
    found = [*stage.auditor.problems, *stage.witness.problems]
    found += _outside(stage, booked)
    founded = stage.auditor.state_of(identity.STREAM)
    if isinstance(founded, identity.Founded) and founded.is_frozen:
        found.append("the restored log stays frozen")
    return [*found, *_bad_notes(stage)]


def _bad_notes(stage: Stage) -> Iterator[str]:
    """Notes that the log holds and the federation would not honour."""
    for federation in stage.world.federations:
        wallet = stage.auditor.state_of(wallet_of(federation.federation_id.hex()))
        if not isinstance(wallet, Wallet):
            continue
        for tx in wallet.spending:
            yield f"6: the notes of {tx} are neither spent nor free"
        keys = federation.mint_keys().aggregate_keys
        for held in wallet.notes:
            nonce = bytes.fromhex(held.nonce)
            signature = bls.decode_g1(bytes.fromhex(held.signature))
            key = bls.decode_g2(keys[held.denomination])
            if not tbs.verify(tbs.Signed(tbs.message_v2(nonce), signature, key)):
                yield f"6: the note {held.nonce} is not signed"
            if nonce in federation.consensus.ledger.spent_nonces:
                yield f"6: the note {held.nonce} is spent"


def _outside(stage: Stage, booked: Counter[str]) -> Iterator[str]:
    """The log's accounts against node, chain and federations."""
    network, auditor, states = stage.world.network, stage.auditor, stage.auditor.states()
    network.audit()
    lost, federations, losses = auditor.lost, stage.world.federations, auditor.losses
    node_msat = network.holdings_msat("gateway") + auditor.spent_unbooked_msat()
    node_msat -= auditor.wrongs.paid_to_another_msat(stage.world.gateway_node)
    booked_msat = booked[accounts.NODE] + lost.node_msat(stage.world.gateway_node, states)
    deposited_msat = lost.deposited_msat(states) - booked[accounts.DEPOSITED]
    withdrawn_msat = booked[accounts.WITHDRAWN] + sum(
        lost.paid_out_msat(federation, states) for federation in federations
    )
    compared = {
        "HTLCs locked at rest": (0, network.locked_msat()),
        "the node": (booked_msat, node_msat - CHANNEL_SIDE_MSAT),
        "deposits": (deposited_msat, 1_000 * stage.witness.paid_in_sat),
        "withdrawals": (withdrawn_msat, 1_000 * _paid_out_sat(stage)),
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
        held_msat = booked[accounts.ecash(name)] + _of_others_msat(stage, number)
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


def _paid_out_sat(stage: Stage) -> int:
    chain, scripts = stage.world.chain, set(stage.witness.payout_scripts)
    outputs = (o for h in range(chain.height + 1) for tx in chain.block(h) for o in tx.outputs)
    return sum(output.value_sat for output in outputs if output.script in scripts)


def _of_others_msat(stage: Stage, number: int) -> int:
    """Users' notes, and ecash as text that nobody has made his yet."""
    spent = stage.federation(number).consensus.ledger.spent_nonces
    users_msat = sum(user.balance_msat() for of, user in stage.users if of == number)
    texts = dict(stage.auditor.given[stage.federation_id(number)])
    texts |= {
        note.note().nonce.hex(): note.amount_msat()
        for of, note in stage.witness.handed_in
        if of == number
    }
    return users_msat + sum(
        amount_msat for nonce, amount_msat in texts.items() if bytes.fromhex(nonce) not in spent
    )
