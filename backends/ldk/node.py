"""LDK as the Lightning node of the gateway, in this process; the facts it rests on are in docs/ldk.md."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from fedimint_gateway_native import NativeError
from fedimint_gateway_native.ldk import LdkError, Node

from backends.abilities import Abilities
from backends.ldk import chain, folder
from backends.ldk.channels import LdkChannels, our_msat
from backends.ldk.core import Core
from backends.ldk.held import LdkInvoices
from backends.ldk.ledger import Ledger
from backends.ldk.operations import LdkOperations
from backends.ldk.payments import LdkPayments
from backends.ldk.pump import Log, pump, watch
from backends.ldk.settings import ALIAS_BYTES, BitcoindSource, LdkSettings
from backends.lightning import Balances, NodeInfo, within_bounds_msat
from errors import ConfigError, FatalError
from fedimint.codec.wire_types import Network

#: LDK's own bounds are 5 seconds for each of its tasks and 30 for its events.
STOP_PATIENCE_S = 90.0
_BITCOIND_AGE_S = 60
#: LDK asks Esplora every 30 seconds for channels and every 80 for the wallet.
_ESPLORA_AGE_S = 240


class LdkNode(LdkPayments, LdkInvoices, LdkChannels, LdkOperations):
    """A `backends.operations.Node` over a running LDK, of one part per job. `running` makes it."""

    #: Of ldk-node 0.7.1, which holds HTLCs for invoices alone.
    abilities = Abilities(
        kind="LDK", offers=True, interception=False, splicing=True, pending_channel_fees=True
    )

    def __init__(self, core: Core, network: Network) -> None:
        super().__init__(core)
        self._network = network

    async def info(self) -> NodeInfo:
        """Identity and chain view. LDK remembers a sync of earlier lives, so only one of a moment ago counts."""

        def read(native: Node) -> NodeInfo:
            status = native.status()
            oldest_unix_s = min(status.lightning_unix_s or 0, status.onchain_unix_s or 0)
            return NodeInfo(
                public_key=native.public_key(),
                alias=native.alias(),
                network=self._network,
                block_height=status.block_height,
                synced_to_chain=time.time() - oldest_unix_s <= self._core.max_sync_age_s,
            )

        return await self._core.ask(read)

    async def balances(self) -> Balances:
        """Wallet and channels."""

        def read(native: Node) -> Balances:
            channels = native.channels()
            return Balances(
                onchain_sat=native.onchain_sat(),
                lightning_msat=within_bounds_msat(sum(map(our_msat, channels))),
                inbound_msat=within_bounds_msat(
                    sum(one.inbound_msat for one in channels if one.is_usable)
                ),
            )

        return await self._core.ask(read)

    async def aclose(self) -> None:
        """End all calls; LDK itself stops when the block of `running` is left."""
        self._core.leave()


@asynccontextmanager
async def running(settings: LdkSettings, log: Log) -> AsyncIterator[LdkNode]:
    """Run the node while the block lasts; every end of it stops LDK in order.

    Raises ConfigError for a start to refuse, UnavailableError when a new node cannot see the chain, FatalError when
    the node broke.
    """
    with folder.locked(settings.directory):
        ledger = await anyio.to_thread.run_sync(_open_ledger, settings)
        try:
            native = await anyio.to_thread.run_sync(_build, settings)
            try:
                await anyio.to_thread.run_sync(_start, native, ledger, settings)
                async with _served(native, ledger, settings, log) as node:
                    yield node
            finally:
                await _stop(native, log)
        finally:
            ledger.close()


@asynccontextmanager
async def _served(
    native: Node, ledger: Ledger, settings: LdkSettings, log: Log
) -> AsyncIterator[LdkNode]:
    is_bitcoind = isinstance(settings.chain, BitcoindSource)
    core = Core(native, ledger, _BITCOIND_AGE_S if is_bitcoind else _ESPLORA_AGE_S)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump, core, log)
        tasks.start_soon(watch, core)
        try:
            yield LdkNode(core, settings.network)
        finally:
            core.leave()
            tasks.cancel_scope.cancel()


def _open_ledger(settings: LdkSettings) -> Ledger:
    if not settings.database.exists():
        # LDK would begin at the first block of the chain, for hours.
        chain.tip_height(settings.chain)
    ledger = Ledger(settings.directory)
    ledger.forget_untaken_calls(settings.database)
    return ledger


def _build(settings: LdkSettings) -> Node:
    source = settings.chain
    is_bitcoind = isinstance(source, BitcoindSource)
    try:
        return Node(
            folder=str(settings.folder),
            words=settings.words,
            network=settings.network,
            port=settings.port,
            alias=settings.alias.encode()[:ALIAS_BYTES],
            recovers=settings.recovers,
            bitcoind=(
                (source.host, source.port, source.user, source.password)
                if isinstance(source, BitcoindSource)
                else None
            ),
            esplora=None if is_bitcoind else source.url,  # type: ignore[union-attr]
        )
    except LdkError as error:
        name, text = error.args
        if name == "WalletSetupFailed":
            raise ConfigError(
                f"{settings.folder} belongs to another mnemonic or network: use the one it was made with"
            ) from None
        raise ConfigError(
            f"the Lightning node inside cannot open its folder: {text} ({name})"
        ) from None
    except NativeError as error:
        raise FatalError(f"the Lightning node inside broke ({error}): start again") from error


def _start(native: Node, ledger: Ledger, settings: LdkSettings) -> None:
    """Start, and do again what was decided and perhaps not done when the last life ended."""
    try:
        native.start()
    except LdkError as error:
        name, text = error.args
        if name == "InvalidSocketAddress":
            raise ConfigError(
                f"port {settings.port} is taken: choose another for the Lightning node inside"
            ) from None
        raise FatalError(f"the Lightning node inside does not start: {text} ({name})") from None
    except NativeError as error:
        raise FatalError(f"the Lightning node inside broke ({error}): start again") from error
    repeat_decisions(native, ledger)


def repeat_decisions(native: Node, ledger: Ledger) -> None:
    """Claim and give back what the ledger says; what was done is not done again by LDK."""
    height = native.status().block_height
    for row in ledger.in_state("settling", "cancelled"):
        if native.payment(row.payment_hash) is None:
            continue
        if row.state == "settling" and row.preimage is not None:
            native.claim(row.payment_hash, row.preimage)
        elif row.state == "cancelled" and row.deadline_height > height:
            native.fail(row.payment_hash)


async def _stop(native: Node, log: Log) -> None:
    """Stop LDK, which writes all that it knows; a node that hangs is left to the end of the process."""

    def stop() -> None:
        try:
            native.stop()
        except (LdkError, NativeError) as error:
            log(True, "stop", str(error))

    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(STOP_PATIENCE_S) as scope:
            await anyio.to_thread.run_sync(stop, abandon_on_cancel=True)
        if scope.cancelled_caught:
            log(True, "stop", f"LDK did not stop within {STOP_PATIENCE_S:.0f} seconds")
