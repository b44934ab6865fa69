"""The effects of deposits and withdrawals: addresses, the federation's outputs, miners' fees, txids.

Machines: `statemachines/deposits.py`, `statemachines/deposit.py`, `statemachines/withdrawal.py`.
"""

from collections.abc import Callable, Mapping, Sequence

from engine.effects import EffectContext, Handler
from engine.machine import Effect
from engine.ports import Clock
from errors import InputError, UnavailableError
from fedimint.codec.bitcoin import display_hash
from fedimint.codec.wire_types import Network, OutPoint, TransactionId
from fedimint.walletv2 import OutputInfo
from fedimint.walletv2.api import OUTPUT_SLICE_SIZE, PENDING_TRANSACTIONS_MAX
from gateway.federation import FederationRegistry
from gateway.modules.walletv2 import WalletV2
from gateway.ports import GrindAddress as Grind
from statemachines import reserving
from statemachines.deposit import (
    DepositOutput,
    OutputGone,
    QuoteReceiveFee,
    ReceiveFeeQuoted,
    claim_of,
)
from statemachines.deposits import (
    AddressGround,
    DepositAddress,
    GrindAddress,
    OutputsScanned,
    ScanOutputs,
    Watching,
)
from statemachines.withdrawal import AskBitcoinTxid, BitcoinTxidKnown

#: How often guardians are asked for news of the chain: as upstream's client, which is quicker in tests.
POLL_PAUSE_S = 60.0
POLL_PAUSE_REGTEST_S = 1.0
#: Between slices of a list that goes on: a federation may list outputs without an end.
SLICE_PAUSE_S = 1.0
#: Outputs of others after which it is recorded how far the list was read.
PROGRESS_OUTPUTS = 10_000
#: Outputs of ours that are told at once, after which the list is read again once the guardians are asked for news.
FOUND_AT_ONCE = 10
#: Deposits of one federation that may be open; only then is its list read on.
OPEN_DEPOSITS_MAX = 50
#: Pauses before a claim that was rejected again and again is tried once more: 64 minutes at last.
CLAIM_PAUSES_MAX = 64
#: Deposits whose rejections are remembered.
REJECTED_MAX = 1_000


class BitcoinEffects:
    """Handlers over the open federations."""

    def __init__(
        self,
        federations: FederationRegistry,
        grind: Grind,
        network: Network,
        clock: Clock,
        open_deposits: Callable[[str], int],
    ) -> None:
        """`open_deposits` counts those of a federation, given its id in hex, that are neither claimed nor dropped."""
        self._federations = federations
        self._grind = grind
        self._clock = clock
        self._open_deposits = open_deposits
        self._just_told: set[str] = set()
        self._rejections: dict[str, int] = {}
        self._poll_pause_s = POLL_PAUSE_REGTEST_S if network == "regtest" else POLL_PAUSE_S

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect of the three machines."""
        return {
            GrindAddress: self.grind,
            ScanOutputs: self.scan,
            QuoteReceiveFee: self.quote,
            AskBitcoinTxid: self.ask_txid,
        }

    async def grind(self, effect: GrindAddress, _context: EffectContext) -> AddressGround:
        """In a process of its own; what a crash interrupts is found again."""
        wallet = self._wallet(effect.federation_id)
        ground = await self._grind(wallet.key.secret, wallet.config, effect.start)
        return AddressGround(address=DepositAddress(ground.index, ground.script_pubkey.hex()))

    async def scan(self, effect: ScanOutputs, _context: EffectContext) -> OutputsScanned:
        """Read the guardians' list, which only grows, until there is something to tell.

        Guardians who lie may list outputs of ours without an end, each of them events and work: so few are told at
        once, with a pause in between, and none are looked for while many are open.
        """
        watching = effect.watching
        wallet = self._wallet(watching.federation_id)
        start = watching.next_output
        if watching.federation_id in self._just_told:
            await self._pause()
            self._just_told.discard(watching.federation_id)
        while self._open_deposits(watching.federation_id) >= OPEN_DEPOSITS_MAX:
            await self._pause()
        while True:
            outputs = await wallet.api.output_info_slice(start, start + OUTPUT_SLICE_SIZE)
            scanned = look_through(watching, outputs, start)
            if scanned.used > watching.used or scanned.found:
                self._just_told.add(watching.federation_id)
                return scanned
            start = scanned.next_output
            if start >= watching.next_output + PROGRESS_OUTPUTS:
                await self._clock.sleep(SLICE_PAUSE_S)
                return scanned
            if outputs:
                await self._clock.sleep(SLICE_PAUSE_S)
            else:
                await self._pause()

    async def quote(
        self, effect: QuoteReceiveFee, context: EffectContext
    ) -> ReceiveFeeQuoted | OutputGone:
        """Each pending transaction doubles the fee: wait until few are, and never claim at a loss that will pass.

        A quote that was asked for before comes after a pause, which grows: a federation that refuses each claim would
        else fill the log as fast as it answers.
        """
        if context.resumed:
            await self._wait_for_another_try(context.stream)
        api, output = self._wallet(effect.federation_id).api, effect.output
        fees = self._federations.client(effect.federation_id).facts.module_fees
        while True:
            listed = await api.output_info_slice(output.output_index, output.output_index + 1)
            if any(o.index == output.output_index and o.is_spent for o in listed):
                return OutputGone()
            pending = await api.pending_transaction_chain()
            if len(pending) < PENDING_TRANSACTIONS_MAX:
                fee_sat = await api.receive_fee_sat()
                if fee_sat is not None:
                    worth_msat = reserving.claim_worth_msat(fees, claim_of(output, fee_sat))
                    if worth_msat or not pending:
                        return ReceiveFeeQuoted(fee_sat=fee_sat, worth_msat=worth_msat)
            await self._pause()

    async def ask_txid(self, effect: AskBitcoinTxid, _context: EffectContext) -> BitcoinTxidKnown:
        """The peg-out is output 0 of a transaction that is in consensus, so guardians know its bitcoin txid soon."""
        api = self._wallet(effect.federation_id).api
        out_point = OutPoint(TransactionId(bytes.fromhex(effect.txid)), 0)
        while True:
            txid = await api.transaction_id(out_point)
            if txid is not None:
                return BitcoinTxidKnown(bitcoin_txid=display_hash(txid))
            await self._pause()

    async def _wait_for_another_try(self, stream: str) -> None:
        tries = self._rejections.pop(stream, 0)
        if len(self._rejections) == REJECTED_MAX:
            del self._rejections[next(iter(self._rejections))]
        self._rejections[stream] = tries + 1
        await self._clock.sleep(self._poll_pause_s * min(2**tries, CLAIM_PAUSES_MAX))

    def _wallet(self, federation_id: str) -> WalletV2:
        try:
            return self._federations.client(federation_id).module(WalletV2)
        except InputError as error:
            raise UnavailableError(str(error)) from error

    async def _pause(self) -> None:
        await self._clock.sleep(self._poll_pause_s)


def look_through(watching: Watching, outputs: Sequence[OutputInfo], start: int) -> OutputsScanned:
    """What a slice of the list holds for us. It ends with the first payment to the last address known.

    The payer to a later address got it after that payment, so the list goes on once more addresses are ground. It
    ends with the tenth output of ours, too.
    """
    positions = {address.script: at for at, address in enumerate(watching.addresses)}
    found: list[DepositOutput] = []
    used, next_output = watching.used, start
    for output in outputs:
        next_output = output.index + 1
        position = positions.get(output.script_pubkey.hex())
        if position is None:
            continue
        used = max(used, position + 1)
        if not output.is_spent:
            found.append(
                DepositOutput(
                    output_index=output.index,
                    address_index=watching.addresses[position].index,
                    value_sat=output.value_sat,
                    out_point=str(output.out_point or ""),
                )
            )
        if used == len(watching.addresses) or len(found) == FOUND_AT_ONCE:
            break
    return OutputsScanned(next_output=next_output, used=used, found=tuple(found))
