"""The gateway itself: opens what the log says it serves, runs it, and answers the API's questions."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc

from backends.lightning import LightningNode
from engine.engine import Engine, Observers, Ports
from engine.store import Store
from errors import ConflictError, InputError, UnavailableError
from fedimint import secp, secrets
from fedimint.discovery import download_config
from fedimint.invite import InviteCode
from fedimint.secrets import DerivableSecret
from fedimint.wire_types import Network
from gateway import joining, secret_files, send_requests, status, treasury
from gateway.build import warm_up
from gateway.federation import FederationClient, open_federation
from gateway.federations import Federations
from gateway.log import machines
from gateway.node_watch import NodeWatch
from gateway.ports import Connect, Cpu, GrindTweak
from gateway.send_effects import SendEffects
from gateway.transaction_effects import TransactionEffects
from gateway.views import (
    EcashBalance,
    FederationStatus,
    Forfeited,
    GatewayBalances,
    GatewayStatus,
    Paid,
    PaymentFee,
    RoutingInfo,
    SendPaymentRequest,
)
from statemachines import identity, send
from statemachines.federation import FederationFacts, Fee, Joined
from statemachines.federation import stream_of as federation_stream
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet

#: The lifetime that clients give a contract by default, in blocks (fedimint-gateway-server/src/lib.rs).
EXPIRATION_DELTA_DEFAULT_BLOCKS = 1440

#: States that hold an answer for the sender: the preimage once the claim is durable, or the forfeit.
_ANSWERABLE = (send.Claiming, send.Claimed, send.ClaimRejected, send.Cancelled)


@dataclass(frozen=True)
class GatewaySettings:
    """What the operator decides at start. Fees are for federations joined from now on."""

    directory: Path
    network: Network
    public_url: str | None
    lightning_fee: PaymentFee
    transaction_fee: PaymentFee


@dataclass(frozen=True)
class Outside:
    """Everything that a simulation replaces."""

    node: LightningNode
    connect: Connect
    cpu: Cpu
    grind: GrindTweak
    ports: Ports


class Gateway:
    """One gateway over one open store. `run` must be running for anything to be answered."""

    def __init__(
        self,
        settings: GatewaySettings,
        outside: Outside,
        *,
        store: Store,
        root: DerivableSecret,
        fingerprint: str,
        observers: Observers | None = None,
    ) -> None:
        """Replay the log. Raises FatalError when the log cannot be trusted."""
        self._settings = settings
        self._outside = outside
        self._store = store
        self._root = root
        self._federations = Federations()
        self._watch = NodeWatch(outside.node, settings.network, outside.ports.clock)
        self._joining = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopping = False
        sends = SendEffects(outside.node, self._federations, outside.ports.clock)
        transactions = TransactionEffects(self._federations, outside.cpu, outside.ports.randomness)
        handlers = {**sends.handlers(), **transactions.handlers()}
        self._engine = Engine(store, machines(), handlers, outside.ports, observers)
        self._start = identity.Start(network=settings.network, mnemonic_fingerprint=fingerprint)
        identity.MACHINE.decide(self._engine.peek(identity.STREAM), self._start)

    @property
    def engine(self) -> Engine:
        """The engine, for the tools that look into it."""
        return self._engine

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Open every federation of the log, resume what was under way, and serve until cancelled.

        Raises ConfigError when the Lightning node is on another network, FatalError when the log cannot be written.
        """
        await self._watch.ask()
        for state in self._engine.open_streams().values():
            if isinstance(state, Joined):
                self._open(state)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await tasks.start(self._engine.run)
                await self._engine.submit(identity.STREAM, self._start)
                tasks.start_soon(self._watch.run)
                tasks.start_soon(self._warm_up)
                for federation in self._federations:
                    tasks.start_soon(self._keep_tweaks, federation)
                task_status.started()
        finally:
            self._stopping = True
            with anyio.CancelScope(shield=True):
                for federation in self._federations:
                    await federation.aclose()

    async def info(self) -> GatewayStatus:
        """The state of everything; asks the node now."""
        await self._watch.ask()
        now_unix_us = self._outside.ports.clock.now_unix_us()
        return GatewayStatus(
            state=status.state_name(self._watch.info, stopping=self._stopping),
            lightning=status.lightning(self._watch.info),
            federations=tuple([await self._status(f) for f in self._federations]),
            open_payments=status.open_payments(self._engine, self._store, now_unix_us),
            public_url=self._settings.public_url,
            gateway_id=secp.public_key(secrets.gateway_identity_secret(self._root)).hex(),
        )

    async def balances(self) -> GatewayBalances:
        """What node, channels and federations hold. Raises UnavailableError while the node does not answer."""
        self._watch.connected()
        node = await self._outside.node.balances()
        ecash = [
            EcashBalance(f.federation_id, (await self._wallet(f)).balance_msat)
            for f in self._federations
        ]
        return GatewayBalances(
            onchain_balance_sats=node.onchain_sat,
            lightning_balance_msats=node.lightning_msat,
            ecash_balances=tuple(ecash),
            inbound_lightning_liquidity_msats=node.inbound_msat,
        )

    async def connect_federation(self, invite_code: str, *, recover: bool) -> FederationStatus:
        """Join by invite code. Raises InputError for a code that cannot be joined, ConflictError when it is joined."""
        if recover:
            raise InputError("recovering ecash from the mnemonic is not built yet; join without it")
        invite = InviteCode.parse(invite_code)
        federation_id = invite.federation_id().hex()
        self._watch.connected()
        self._refuse_second_join(federation_id)
        config = await download_config(
            invite, self._outside.connect, sleep_s=self._outside.ports.clock.sleep
        )
        facts = joining.federation_facts(
            invite,
            config,
            network=self._settings.network,
            lightning_fee=self._settings.lightning_fee,
            transaction_fee=self._settings.transaction_fee,
        )
        # A caller that leaves from here on must not leave a federation joined and not served.
        with anyio.CancelScope(shield=True):
            async with self._joining:
                self._refuse_second_join(federation_id)
                secret_files.store_api_secret(
                    self._settings.directory, federation_id, invite.api_secret()
                )
                federation = await self._join(facts)
        return await self._status(federation)

    async def routing_info(self, federation_id: str) -> RoutingInfo | None:
        """What a client must know to send through us. Raises InputError for a federation that is not served."""
        federation = self._federations.serving(federation_id)
        node = self._watch.connected()
        transaction_fee = _payment_fee(federation.facts.transaction_fee)
        return RoutingInfo(
            lightning_public_key=node.public_key,
            lightning_alias=node.alias,
            module_public_key=federation.module_public_key.hex(),
            send_fee_minimum=transaction_fee,
            send_fee_default=_payment_fee(federation.facts.lightning_fee) + transaction_fee,
            expiration_delta_minimum=send.EXPIRATION_DELTA_MINIMUM_BLOCKS,
            expiration_delta_default=EXPIRATION_DELTA_DEFAULT_BLOCKS,
            receive_fee=transaction_fee,
            receive_enabled=False,
        )

    async def send_payment(self, request: SendPaymentRequest) -> Paid | Forfeited:
        """Pay the invoice of a contract, or join the payment that is under way for it, and wait for its end.

        The caller only subscribes: its going away ends nothing. Raises InputError, ConflictError, UnavailableError
        or BusyError with nothing written.
        """
        federation = self._federations.serving(request.federation_id)
        authentic = send_requests.authenticate(request, federation)
        stream = send.stream_of(authentic.contract_id)
        if isinstance(self._engine.peek(stream), send.New):
            self._watch.connected()
            confirmed = await federation.lnv2.outgoing_contract_expiration(authentic.out_point)
            verified = send_requests.verify(
                authentic,
                federation,
                confirmed,
                minimum_fee=_payment_fee(federation.facts.transaction_fee),
                network=self._settings.network,
            )
            await self._engine.submit(stream, verified)
        ended = (
            await self._engine.wait(stream, lambda state: isinstance(state, _ANSWERABLE))
        ).state
        if isinstance(ended, send.Cancelled):
            return Forfeited(bytes.fromhex(ended.forfeit))
        assert isinstance(ended, send.Claiming | send.Claimed | send.ClaimRejected)
        return Paid(bytes.fromhex(ended.preimage))

    def _refuse_second_join(self, federation_id: str) -> None:
        if federation_id in self._federations:
            raise ConflictError("the gateway serves this federation already")

    async def _join(self, facts: FederationFacts) -> FederationClient:
        await self._engine.submit(identity.STREAM, identity.JoinFederation(facts=facts))
        joined = (await self._engine.read(federation_stream(facts.federation_id))).state
        assert isinstance(joined, Joined)
        federation = self._open(joined)
        if self._tasks is not None:
            self._tasks.start_soon(self._keep_tweaks, federation)
        return federation

    def _open(self, joined: Joined) -> FederationClient:
        outside, federation_id = self._outside, joined.facts.federation_id
        api_secret = secret_files.load_api_secret(self._settings.directory, federation_id)
        federation = open_federation(joined, self._root, outside.connect, api_secret, outside.ports)
        self._federations.add(federation)
        return federation

    async def _warm_up(self) -> None:
        with contextlib.suppress(UnavailableError):  # who needs a worker starts another
            await self._outside.cpu.run(warm_up)

    async def _keep_tweaks(self, federation: FederationClient) -> None:
        outside = self._outside
        await treasury.keep_tweaks(self._engine, federation, outside.grind, outside.ports.clock)

    async def _wallet(self, federation: FederationClient) -> Wallet:
        answer = await self._engine.read(wallet_of(federation.federation_id))
        assert isinstance(answer.state, Wallet)
        return answer.state

    async def _status(self, federation: FederationClient) -> FederationStatus:
        facts = federation.facts
        return FederationStatus(
            federation_id=federation.federation_id,
            name=federation.config.federation_name(),
            balance_msat=(await self._wallet(federation)).balance_msat,
            invite_code=facts.invite_code,
            federation_index=federation.index,
            lightning_fee=_payment_fee(facts.lightning_fee),
            transaction_fee=_payment_fee(facts.transaction_fee),
            receive_enabled=False,
        )


def _payment_fee(fee: Fee) -> PaymentFee:
    return PaymentFee(fee.base_msat, fee.parts_per_million)
