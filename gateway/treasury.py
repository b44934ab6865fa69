"""The gateway's own money: balances, deposits, withdrawals, ecash given away."""

from engine.engine import Answer
from engine.machine import State
from engine.storage import streams
from errors import ConflictError, InputError, NotFoundError, PeerError, UnavailableError
from fedimint.codec import addresses
from fedimint.codec.invite import InviteCode
from fedimint.mintv2 import ecash, selection
from fedimint.pasted import destination, our_address
from fedimint.walletv2 import deposits
from gateway import secret_files
from gateway.conditions import is_recent
from gateway.context import GatewayContext
from gateway.federation import FederationClient, module_keys
from gateway.modules.mintv2 import MintV2, spendable_notes
from gateway.modules.walletv2 import WalletV2
from gateway.operator_node import OperatorNode
from gateway.views import (
    FederationBalanceInfo,
    GatewayBalances,
    PeginRequest,
    SentEcash,
    Withdrawal,
    WithdrawalRequest,
)
from statemachines import deposits as deposits_machine
from statemachines import gift, reserving, withdrawal
from statemachines.federation import FederationFacts, Joined, Left
from statemachines.federation import stream_of as federation_stream
from statemachines.node_order import SendCoins
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet


class Treasury:
    """The money of a running gateway."""

    def __init__(self, context: GatewayContext, node: OperatorNode) -> None:
        self._context = context
        self._engine = context.engine
        self._node = node

    async def balances(self) -> GatewayBalances:
        """What chain, channels and federations hold. Raises UnavailableError while the node does not answer."""
        self._context.watch.connected()
        node = await self._context.outside.node.balances()
        ecash_balances = [
            FederationBalanceInfo(
                f.federation_id, (await self.wallet(f.federation_id)).balance_msat
            )
            for f in self._context.federations
        ]
        return GatewayBalances(
            onchain_balance_sats=node.onchain_sat,
            lightning_balance_msats=node.lightning_msat,
            ecash_balances=tuple(ecash_balances),
            inbound_lightning_liquidity_msats=node.inbound_msat,
        )

    async def wallet(self, federation_id: str) -> Wallet:
        """The wallet of a federation that was joined."""
        answer = await self._engine.read(wallet_of(federation_id))
        assert isinstance(answer.state, Wallet)
        return answer.state

    # --- ecash ---

    async def spend_ecash(self, federation_id: str, amount_msat: int) -> str:
        """Ecash as text, of the amount rounded up to a multiple of 512 msat, with the federation's invite in it.

        Raises ConflictError when the wallet does not bring that much, InputError for no amount.
        """
        self._context.refuse_new_work(federation_id)
        federation, _ = self._context.served(federation_id)
        if amount_msat <= 0:
            raise InputError("name an amount above 0 msat")
        if amount_msat > selection.MAX_ISSUED_MSAT:
            raise InputError(
                f"ecash of more than {selection.MAX_ISSUED_MSAT} msat: give it in parts"
            )
        facts = gift.GiftFacts(
            self._context.new_id(), federation_id, selection.round_up_msat(amount_msat)
        )
        stream = gift.stream_of(facts.id)
        await self._engine.submit(stream, gift.RequestGift(facts=facts))
        return await self._text(await self._engine.wait(stream, _is_over), federation.facts)

    async def sent_ecash(self, federation_id: str | None, limit: int) -> tuple[SentEcash, ...]:
        """The newest ecash that was asked for as text, of one federation or of all."""
        sent: list[SentEcash] = []
        for one in streams.newest_of_kind(self._context.store, gift.MACHINE.kind):
            if len(sent) == limit:
                break  # each gift that is over is read from the log
            state = self._engine.peek(one.stream)
            assert isinstance(state, gift.Preparing | gift.Given | gift.GiftRefused)
            facts = state.facts
            if federation_id in {None, facts.federation_id}:
                sent.append(
                    SentEcash(
                        facts.id,
                        facts.federation_id,
                        facts.amount_msat,
                        type(state).__name__,
                        one.began_unix_us // 1_000_000,
                        state.reason if isinstance(state, gift.GiftRefused) else None,
                    )
                )
        return tuple(sent)

    async def show_sent_ecash(self, gift_id: str) -> str:
        """The same text once more, also of a federation that was left since; waits while it is being prepared.

        Whether anybody has taken the ecash meanwhile is not known here. Raises NotFoundError for an id that names
        none, ConflictError when there never was any.
        """
        answer = await self._engine.read(gift.stream_of(gift_id))
        if isinstance(answer.state, gift.New):
            raise NotFoundError(f"no ecash was sent under the id {gift_id}")
        ended = await self._engine.wait(gift.stream_of(gift_id), _is_over)
        assert isinstance(ended.state, gift.Given | gift.GiftRefused)
        state = self._engine.peek(federation_stream(ended.state.facts.federation_id))
        assert isinstance(state, Joined | Left)
        return await self._text(ended, state.facts)

    async def _text(self, ended: Answer, federation: FederationFacts) -> str:
        """Of a gift that is over. Raises ConflictError when nothing was given."""
        state = ended.state
        if isinstance(state, gift.GiftRefused):
            raise ConflictError(state.reason)
        assert isinstance(state, gift.Given)
        key = module_keys(self._context.root, federation)[MintV2.kind]
        given = await self._context.outside.cpu.run(spendable_notes, key.secret, state.notes)
        return ecash.with_invite(given, self._invite(federation)).to_text()

    def _invite(self, federation: FederationFacts) -> InviteCode:
        """With the API secret, since its receiver cannot reissue without it."""
        federation_id = federation.federation_id
        public = InviteCode.parse(federation.invite_code)
        secret = secret_files.load_api_secret(self._context.settings.directory, federation_id)
        return InviteCode.of(public.peers(), public.federation_id(), secret)

    # --- deposits ---

    async def deposit_address(self, federation_id: str) -> str:
        """The first address that nobody paid to; waits for one that is being ground."""
        federation, _ = self._context.served(federation_id)
        federation.module(WalletV2)
        answer = await self._engine.wait(deposits_machine.stream_of(federation_id), _has_address)
        assert isinstance(answer.state, deposits_machine.Watching)
        script = bytes.fromhex(answer.state.unused[0].script)
        return addresses.segwit_address(script, self._context.settings.network)

    async def recheck_address(self, federation_id: str, address: str) -> None:
        """Nothing to do: every output of the federation is looked at, in order. Raises InputError for no address."""
        self._context.served(federation_id)[0].module(WalletV2)
        our_address(address, self._context.settings.network)

    async def pegin_from_onchain(self, request: PeginRequest) -> str:
        """Send coins of the Lightning node to our address in the federation; the txid.

        Raises UnavailableError when the address was ready so late that the caller may have asked again.
        """
        asked_unix_s = self._context.now_unix_s()
        address = await self.deposit_address(request.federation_id)
        self._context.served(request.federation_id)  # it may have been left meanwhile
        waited_s = self._context.now_unix_s() - asked_unix_s
        if not is_recent(waited_s):
            raise UnavailableError(
                f"an address of the federation was ready after {waited_s} s, and nothing was sent: ask again"
            )
        return await self._node.send_onchain(
            SendCoins(address, request.amount_sat, request.sat_per_vbyte)
        )

    # --- withdrawals ---

    async def withdraw(self, request: WithdrawalRequest) -> Withdrawal:
        """Pay out to an address, and wait for the bitcoin transaction's id.

        Raises InputError for an address or amount that cannot be paid, ConflictError when the wallet does not bring
        it, PeerError when the federation refuses.
        """
        self._context.refuse_new_work(request.federation_id)
        federation, _ = self._context.served(request.federation_id)
        bitcoin = federation.module(WalletV2)
        quoted_unix_s = self._context.now_unix_s()
        network = self._context.settings.network
        to = destination(request.address, request.amount_sat, network)
        fee_sat = await self._fee_sat(federation, request)
        value_sat = request.amount_sat
        if value_sat is None:
            value_sat = await self._all_sat(request.federation_id, fee_sat)
        deposits.withdrawal_output(bitcoin.config, to.script, value_sat, fee_sat)
        facts = withdrawal.WithdrawalFacts(
            request.federation_id, to.address, to.script.hex(), value_sat, fee_sat
        )
        asked = withdrawal.RequestWithdrawal(
            id=self._context.new_id(), facts=facts, now_unix_s=quoted_unix_s
        )
        stream = withdrawal.stream_of(asked.id)
        await self._engine.submit(stream, asked)
        ended = (await self._engine.wait(stream, _is_over)).state
        if isinstance(ended, withdrawal.WithdrawalRefused):
            raise ConflictError(
                f"the ecash held brings {ended.available_msat} msat, not enough for {value_sat} sat "
                f"and {fee_sat} sat for the miners and the federation's fees"
            )
        if isinstance(ended, withdrawal.WithdrawalRejected):
            raise PeerError(f"the withdrawal failed, and its ecash is free again: {ended.error}")
        assert isinstance(ended, withdrawal.Withdrawn)
        return Withdrawal(txid=ended.bitcoin_txid, amount_sat=value_sat, fee_sat=fee_sat)

    async def withdraw_to_onchain(self, federation_id: str, amount_sat: int | None) -> Withdrawal:
        """Pay out to the wallet of the Lightning node; None is all."""
        self._context.served(federation_id)[0].module(WalletV2)
        address = await self._node.onchain_address()
        return await self.withdraw(WithdrawalRequest(federation_id, address, amount_sat, None))

    async def _all_sat(self, federation_id: str, fee_sat: int) -> int:
        """What the notes that are free pay out at this miners' fee. Raises ConflictError when it is nothing."""
        held = await self.wallet(federation_id)
        value_sat = reserving.most_withdrawable_sat(held.fees, held.notes, fee_sat)
        if value_sat:
            return value_sat
        if not held.notes:
            raise ConflictError(
                "there is nothing to withdraw: the wallet of this federation is empty, but for what "
                "transactions under way may hold"
            )
        raise ConflictError(
            f"there is nothing to withdraw: the {held.balance_msat} msat held do not pay for {fee_sat} sat "
            "for the miners and the federation's fees"
        )

    async def _fee_sat(self, federation: FederationClient, request: WithdrawalRequest) -> int:
        """What the miners get: the fee of now, or a quoted one that is no lower."""
        now_sat = await federation.module(WalletV2).api.send_fee_sat()
        if now_sat is None:
            raise PeerError("the federation knows no fee for its transactions yet; try again later")
        quoted_sat = request.quoted_fee_sat
        if quoted_sat is None:
            return now_sat
        if request.amount_sat is None:
            raise InputError("a quoted fee cannot be given with the amount all")
        if quoted_sat < now_sat:
            raise ConflictError(
                f"the quoted fee of {quoted_sat} sat is below the federation's present fee of {now_sat} sat"
            )
        return quoted_sat


def _is_over(state: State) -> bool:
    return isinstance(
        state,
        gift.Given
        | gift.GiftRefused
        | withdrawal.Withdrawn
        | withdrawal.WithdrawalRefused
        | withdrawal.WithdrawalRejected,
    )


def _has_address(state: State) -> bool:
    return isinstance(state, deposits_machine.Watching) and bool(state.unused)
