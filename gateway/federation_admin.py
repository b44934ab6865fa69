"""Joins and leaves federations, changes their terms, and reports on them."""

import anyio
import structlog

from errors import ConfigError, ConflictError, InputError
from fedimint import pasted
from fedimint.codec.invite import InviteCode
from fedimint.config import ClientConfig
from fedimint.config_json import json_client_config
from fedimint.discovery import download_config, refuse_unspoken
from fedimint.lnv2.gateway_api import check_limits
from gateway import secret_files, status, trust, views
from gateway.client_payments import payment_fee
from gateway.context import GatewayContext
from gateway.federation import FederationClient, NotServedError, open_federation, stored_config
from gateway.federation_lifetimes import FederationLifetimes
from gateway.modules.lnv2 import LnV2
from gateway.modules.mintv2 import MintV2
from gateway.modules.table import MODULES
from gateway.reconciliation import reconcile_federation
from gateway.servable import federation_facts, refuse_another_config
from gateway.shared_answers import SharedAnswers
from gateway.treasury import Treasury
from statemachines import identity
from statemachines.federation import (
    FederationFacts,
    Fee,
    GiveUpFederation,
    Joined,
    Leave,
    Left,
    SetExposureCap,
    SetTerms,
    TrustAgain,
)
from statemachines.federation import stream_of as federation_stream
from statemachines.items import HeldNote
from statemachines.transaction import wallet_of
from statemachines.wallet import Unopened

#: How long guardians may take to show that they are there.
STATUS_LIMIT_S = 3.0
#: For how long what they said is told again to callers.
STATUS_FRESH_S = 5.0

_log = structlog.get_logger("federations")


class FederationAdmin:
    """The federations of a running gateway."""

    def __init__(
        self, context: GatewayContext, treasury: Treasury, served: FederationLifetimes
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._treasury = treasury
        self._served = served
        self._changing = anyio.Lock()
        self._connectivity = SharedAnswers[views.Connectivity](
            context.outside.ports.clock.now_unix_us, STATUS_FRESH_S
        )

    # --- joining and leaving ---

    async def connect_federation(self, invite_code: str, *, recover: bool) -> views.FederationInfo:
        """Join by invite code, and first find the ecash that our mnemonic held there when `recover` is set.

        Raises InputError for a code or a federation that cannot be joined, ConflictError when it is joined, needs no
        recovery, or comes back with other keys than it was left with.
        """
        self._context.refuse_new_work()
        invite = pasted.invite_code(invite_code)
        federation_id = invite.federation_id().hex()
        self._context.watch.connected()
        self._refuse_second_join(federation_id)
        if recover:
            self._refuse_needless_recovery(federation_id)
        settings, outside = self._context.settings, self._context.outside
        config = await download_config(invite, outside.connect, sleep_s=outside.ports.clock.sleep)
        facts = federation_facts(
            invite,
            config,
            network=settings.network,
            lightning_fee=settings.lightning_fee,
            transaction_fee=settings.transaction_fee,
        )
        self._refuse_another_config(federation_id, config)
        await refuse_unspoken(
            invite, config, outside.connect, MODULES, sleep_s=outside.ports.clock.sleep
        )
        recovered = await self._recover(facts, invite) if recover else ()
        # A caller that leaves from here on must not leave a federation joined and not served.
        with anyio.CancelScope(shield=True):
            async with self._changing:
                self._refuse_second_join(federation_id)
                if recover:  # somebody else may have joined, spent and left meanwhile
                    self._refuse_needless_recovery(federation_id)
                self._refuse_another_config(federation_id, config)
                left = self._engine.peek(federation_stream(federation_id))
                secret_files.store_api_secret(
                    settings.directory, federation_id, invite.api_secret()
                )
                join = identity.JoinFederation(facts=facts, recovered=recovered)
                await self._engine.submit(identity.STREAM, join)
                joined = self._engine.peek(federation_stream(federation_id))
                assert isinstance(joined, Joined)
                federation = self._served.open(joined)
        # What its wallet held before may be from a backup, or its guardians took what was given up.
        was_given_up = isinstance(left, Left) and left.written_off_msat > 0
        if was_given_up or self._context.restoration is not None:
            await reconcile_federation(self._context, federation)
        await self._served.first_tweaks(federation)
        return await self.status(federation)

    async def _recover(self, facts: FederationFacts, invite: InviteCode) -> tuple[HeldNote, ...]:
        """Our unspent notes in the federation's history; nothing is joined yet, so none of ours is being issued."""
        outside = self._context.outside
        client = open_federation(
            Joined(facts=facts, index=0),
            self._context.root,
            outside.connect,
            invite.api_secret(),
            outside.ports,
        )
        try:
            found = await client.module(MintV2).recover(outside.cpu)
        finally:
            with anyio.CancelScope(shield=True):
                await client.aclose()
        if found.lost_msat:
            _log.error(
                "notes_not_recovered", federation=facts.federation_id, lost_msat=found.lost_msat
            )
        return found.notes

    def _refuse_second_join(self, federation_id: str) -> None:
        if federation_id in self._context.federations:
            raise ConflictError("the gateway serves this federation already")

    def _refuse_needless_recovery(self, federation_id: str) -> None:
        if not isinstance(self._engine.peek(wallet_of(federation_id)), Unopened):
            raise ConflictError(
                "this gateway's log knows its ecash in the federation: join without recovering"
            )

    def _refuse_another_config(self, federation_id: str, config: ClientConfig) -> None:
        left = self._engine.peek(federation_stream(federation_id))
        if isinstance(left, Left):
            refuse_another_config(stored_config(left.facts), config)

    async def leave_federation(
        self, federation_id: str, *, give_up: bool = False
    ) -> views.FederationInfo:
        """Leave, and tell how the federation stood: what its wallet holds comes back when it is joined again.

        Raises ConflictError while anything of it is under way, unless it is given up: then others who pay for something
        in it are refunded, as far as that is not decided, and what is ours rests (`gateway/resting.py`).
        """
        if give_up:  # a restored log may wait for this very federation
            self._context.refuse_when_closing()
        else:
            self._context.refuse_new_work(federation_id)
        federation, _ = self._context.served(federation_id)
        stood = await self.status(federation)
        with anyio.CancelScope(shield=True):
            async with self._changing:
                self._context.served(federation_id)  # somebody else may have left meanwhile
                if not give_up:
                    self._refuse_while_under_way(federation_id)
                leave = GiveUpFederation() if give_up else Leave()
                await self._engine.submit(federation_stream(federation_id), leave)
                await self._served.close(federation_id)
        return stood

    def _refuse_while_under_way(self, federation_id: str) -> None:
        """Raises ConflictError with what giving up would cost."""
        under_way = status.open_streams_of(self._engine, federation_id)
        if not under_way:
            return
        at_stake_msat = trust.exposure_msat(self._context, federation_id)
        raise ConflictError(
            f"{len(under_way)} payments or transactions of the federation are under way, such as {under_way[0]}: "
            "leave when they are over. If its guardians are gone for good, leave-fed --give-up (give_up in "
            f"/leave_fed) does not wait: {at_stake_msat} msat of ecash, deposits and contracts in it are then booked "
            "as lost; payers of a receiver there are refunded, even if that receiver was paid; and nothing is "
            "claimed, withdrawn or collected there unless it is joined again"
        )

    # --- terms ---

    async def set_fees(self, change: views.FeeChange) -> None:
        """Change fees of one federation or of all; nothing changes when one of them would be refused by clients."""
        terms = [
            (served, _with_fees(terms, change))
            for served, terms in self._terms(change.federation_id)
        ]
        try:
            for _, asked in terms:
                check_limits(payment_fee(asked.lightning_fee), payment_fee(asked.transaction_fee))
        except ConfigError as error:
            raise InputError(f"Error configuring the gateway: {error}") from error
        await self._set(terms)

    async def set_payment_policy(
        self, federation_id: str | None, *, receive_enabled: bool | None
    ) -> None:
        """Switch receiving on or off in one federation, or in all; None leaves it."""
        if receive_enabled is None:
            self._terms(federation_id)
            return
        await self._set(
            [
                (
                    served,
                    SetTerms(
                        lightning_fee=terms.facts.lightning_fee,
                        transaction_fee=terms.facts.transaction_fee,
                        receive_enabled=receive_enabled,
                    ),
                )
                for served, terms in self._terms(federation_id)
            ]
        )

    # --- trust ---

    async def set_exposure_cap(
        self, federation_id: str | None, cap_msat: int | None
    ) -> tuple[views.ExposureInfo, ...]:
        """Bound what may be at stake in one federation, or in each; None for the default. How they stand then."""
        return await self._trust(federation_id, SetExposureCap(cap_msat=cap_msat))

    async def trust_again(self, federation_id: str) -> tuple[views.ExposureInfo, ...]:
        """Pay out of a federation again that refused a claim. How it stands then."""
        return await self._trust(federation_id, TrustAgain())

    async def _trust(
        self, federation_id: str | None, input_: SetExposureCap | TrustAgain
    ) -> tuple[views.ExposureInfo, ...]:
        changed = {federation.federation_id for federation, _ in self._terms(federation_id)}
        for one in sorted(changed):
            await self._engine.submit(federation_stream(one), input_)
        return tuple(at for at in trust.exposures(self._context) if at.federation_id in changed)

    async def _set(self, terms: list[tuple[FederationClient, SetTerms]]) -> None:
        for federation, asked in terms:
            await self._engine.submit(federation_stream(federation.federation_id), asked)

    def _terms(self, federation_id: str | None) -> list[tuple[FederationClient, Joined]]:
        if federation_id is not None:
            return [self._context.served(federation_id)]
        found = [
            (federation, self._context.terms(federation.federation_id))
            for federation in self._context.federations
        ]
        return [(federation, terms) for federation, terms in found if terms is not None]

    # --- telling ---

    async def statuses(self) -> tuple[views.FederationInfo, ...]:
        """How each federation stands that is served; one whose end is decided is none of them any more."""
        federations = self._context.federations
        return tuple(
            [
                await self.status(one)
                for one in federations
                if self._context.terms(one.federation_id)
            ]
        )

    async def status(self, federation: FederationClient) -> views.FederationInfo:
        """How a served federation stands. Raises InputError from the decision to leave it on."""
        _, terms = self._context.served(federation.federation_id)
        wallet = await self._treasury.wallet(federation.federation_id)
        return views.FederationInfo(
            federation_id=federation.federation_id,
            federation_name=federation.config.federation_name(),
            balance_msat=wallet.balance_msat,
            config=views.FederationConfig(
                invite_code=terms.facts.invite_code,
                federation_index=terms.index,
                lightning_fee=payment_fee(terms.facts.lightning_fee),
                transaction_fee=payment_fee(terms.facts.transaction_fee),
                payment_policies=() if terms.receive_enabled else ("ReceivesDisabled",),
            ),
            last_backup_time=None,
        )

    async def federation_status(self, federation_id: str) -> views.Serving | None:
        """How well a federation is served, asked of its guardians; None when it is not served."""
        try:
            federation, _ = self._context.served(federation_id)
        except NotServedError:
            return None
        lightning = federation.module(LnV2).key.instance_id
        return views.Serving(
            connectivity=await self._connectivity.of(
                federation_id, lambda: _connectivity(federation)
            ),
            lnv2=federation.config.modules[lightning].version,
        )

    async def invite_codes(self) -> tuple[views.FederationInvites, ...]:
        """An invite code for each guardian of each federation, with its API secret."""
        return tuple(
            views.FederationInvites(federation.federation_id, self._invites(federation))
            for federation in self._context.federations
        )

    def _invites(self, federation: FederationClient) -> tuple[views.GuardianInvite, ...]:
        federation_id = federation.config.federation_id()
        secret = secret_files.load_api_secret(
            self._context.settings.directory, federation.federation_id
        )
        return tuple(
            views.GuardianInvite(
                peer_id=peer,
                name=endpoint.name,
                invite_code=InviteCode.of({peer: endpoint.url}, federation_id, secret).to_text(),
            )
            for peer, endpoint in sorted(federation.config.api_endpoints.items())
        )

    async def client_config(
        self, federation_id: str | None
    ) -> tuple[views.StoredClientConfig, ...]:
        """The config of one federation, or of all with None, as it was joined."""
        return tuple(
            views.StoredClientConfig(
                federation.federation_id, json_client_config(federation.config)
            )
            for federation, _ in self._terms(federation_id)
        )

    async def backup(self, federation_id: str) -> None:
        """Nothing to do: what the modules of version 2 hold comes back from the mnemonic alone."""
        self._context.served(federation_id)


async def _connectivity(federation: FederationClient) -> views.Connectivity:
    guardians = await federation.core.guardian_status(STATUS_LIMIT_S)
    alive = sum(guardian.problem is None for guardian in guardians)
    enough = alive >= federation.core.guardians.threshold
    return "connected" if enough else "degraded" if alive else "disconnected"


def _with_fees(terms: Joined, change: views.FeeChange) -> SetTerms:
    lightning, transaction = terms.facts.lightning_fee, terms.facts.transaction_fee
    return SetTerms(
        lightning_fee=_changed(
            lightning, change.lightning_base_msat, change.lightning_parts_per_million
        ),
        transaction_fee=_changed(
            transaction, change.transaction_base_msat, change.transaction_parts_per_million
        ),
        receive_enabled=terms.receive_enabled,
    )


def _changed(fee: Fee, base_msat: int | None, parts_per_million: int | None) -> Fee:
    return Fee(
        fee.base_msat if base_msat is None else base_msat,
        fee.parts_per_million if parts_per_million is None else parts_per_million,
    )
