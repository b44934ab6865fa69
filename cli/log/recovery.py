"""`gatewayd log simulate-recovery`: shows what a start on this log would do, without doing it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cli.log.reading import DataDir, Json, program, shortened, table
from engine.chain import state_name, verified
from engine.faults import Faults
from engine.fold import fold
from engine.machine import Effect, kind_of
from engine.storage.reader import open_log
from gateway.freeze import sends_money_out
from statemachines import (
    completion,
    deposit,
    deposits,
    identity,
    node_order,
    operator_payment,
    receive,
    send,
    transaction,
    withdrawal,
)

#: Lines for people; `--json` has all.
LINES_MAX = 60

#: What each effect does when it is started again, as it may have left before.
DONE_AGAIN: Mapping[type[Effect], str] = {
    send.MeasureBudget: "looks the payment up at the node; measures its budget if there is no record",
    send.MeasureSwap: "measures the budget of the swap",
    send.PayInvoice: "looks the payment up at the node; makes no call",
    send.LookUpRecord: "looks the payment up until its end is known",
    send.FollowPayment: "follows the node's record to its end",
    send.SignForfeit: "signs the same forfeit again",
    receive.CreateInvoice: "asks the node for the same invoice again",
    receive.ForgetInvoice: "waits until the invoice can no longer be paid",
    receive.DecryptPreimage: "asks guardians for decryption shares",
    completion.SettleHtlcs: "settles the HTLCs, which is harmless if they are settled",
    completion.CancelHtlcs: "cancels the HTLCs, which is harmless if they are cancelled",
    transaction.BuildTransaction: "builds the transaction: nothing of it has left",
    transaction.SubmitTransaction: "submits the same bytes again",
    transaction.CollectNotes: "fetches the notes' signatures",
    deposit.QuoteReceiveFee: "asks for the miners' fee of the deposit",
    deposits.GrindAddress: "grinds a deposit address",
    deposits.ScanOutputs: "looks for deposits",
    withdrawal.AskBitcoinTxid: "asks which bitcoin transaction pays the withdrawal",
    operator_payment.PayForOperator: "looks the payment up; calls again with the same hash if there is no record",
    node_order.PlaceOrder: "looks for the order's trace at the node; makes no call",
}


class Started(msgspec.Struct, frozen=True):
    """An effect that a start would begin. `held_back` while a restored log is frozen."""

    stream: str
    state: str
    effect: str
    does: str
    held_back: bool


class Waits(msgspec.Struct, frozen=True):
    """An open machine that would begin nothing: it waits for requests, or for another machine."""

    stream: str
    state: str


class Recovery(msgspec.Struct, frozen=True):
    """What `simulate-recovery --json` prints."""

    position: int
    is_frozen: bool
    started: tuple[Started, ...]
    waits: tuple[Waits, ...]


def print_recovery(data_dir: DataDir, /, *, json: Json = False) -> None:
    """Print what a start of the gateway on this log would do: every effect it would begin. Nothing is done."""
    found = recovery(data_dir)
    print(msgspec.json.encode(found).decode() if json else "\n".join(_text(found)))


def recovery(data_dir: Path) -> Recovery:
    """Fold the log as a start does, and ask every open machine what it wants."""
    machines, _ = program()
    with open_log(data_dir) as log:
        head = log.head
        rows = verified(log.rows())
        open_now = fold(machines, rows, keep_final=False, until=head.position)
    founded = open_now.get(identity.STREAM)
    is_frozen = (
        founded is not None
        and isinstance(founded.state, identity.Founded)
        and founded.state.is_frozen
    )
    started: list[Started] = []
    waits: list[Waits] = []
    faults = Faults(open_now)
    for stream, standing in sorted(open_now.items()):
        is_at_work = standing.fault is None and not faults.is_quarantined(stream)
        wanted = machines.of(stream).wants(standing.state) if is_at_work else {}
        name = state_name(standing.state, standing.fault)
        if faults.is_quarantined(stream) and standing.fault is None:
            name = f"{name}, quarantined"
        if not wanted:
            waits.append(Waits(stream, name))
        started += [
            Started(
                stream=stream,
                state=name,
                effect=type(effect).__name__,
                does=DONE_AGAIN[type(effect)],
                held_back=is_frozen and sends_money_out(effect),
            )
            for effect in wanted.values()
        ]
    return Recovery(head.position, is_frozen, tuple(started), tuple(waits))


def _text(found: Recovery) -> Iterator[str]:
    yield f"a start on this log, at position {found.position}, would begin {len(found.started)} effects"
    if found.is_frozen:
        yield "FROZEN: restored from a backup; first node and federations are asked what happened since"
    yield ""
    cells = [
        (
            shortened(one.stream),
            one.state,
            f"{one.does}{' (held back)' if one.held_back else ''}",
        )
        for one in found.started[:LINES_MAX]
    ]
    yield from table(("stream", "state", "what it does"), cells)
    if len(found.started) > LINES_MAX:
        yield f"… and {len(found.started) - LINES_MAX} more: --json has all"
    yield ""
    counts = Counter((kind_of(one.stream), one.state) for one in found.waits)
    yield from table(
        ("waiting for requests or other machines", "state", "number"),
        [(kind, state, str(number)) for (kind, state), number in sorted(counts.items())],
    )
