"""An embedded federation: guardians in memory around one consensus, a faucet, and its books."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio
import msgspec

from backends.simulated.chain import ChainOutput
from devnet.guardians.chain_wallet import next_tweak
from devnet.guardians.consensus import Blockchain, Consensus
from devnet.guardians.dealer import deal_federation
from devnet.guardians.faults import Faults
from devnet.guardians.guardian import UNAUTHORIZED, EmbeddedGuardian
from devnet.guardians.ledger import contract_amount_msat
from devnet.guardians.transaction_rules import module_config
from errors import FatalError
from fedimint import mintv2
from fedimint.client.query import Guardians
from fedimint.client.transport import GuardianConnection, GuardianRefused, GuardianUnreachable
from fedimint.codec.bitcoin import BitcoinOutPoint, display_hash, hash_from_display
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import Network, OutPoint, PeerId, consensus_hash, threshold
from fedimint.crypto import bls, tbs
from fedimint.crypto.secrets import TWEAK_SIZE, DerivableSecret
from fedimint.mintv2 import notes, selection
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.notes import Note, NoteRequest
from fedimint.walletv2 import FederationWallet

PASSWORD: Final = "guardian"  # noqa: S105 - of guardians that hold no money of anybody
"""The admin password of every embedded guardian."""

# The real one is the hash of the block at height 1; all simulated chains are the same chain.
_CHAIN_ID: Final = "51" * 32


class FederationAudit(msgspec.Struct, frozen=True):
    """The federation's books, seen from outside of every client; all amounts in msat.

    `assets_msat` is what the chain has for the federation, and what the faucet owes for its notes.
    """

    assets_msat: int
    notes_msat: int
    contracts_msat: dict[OutPoint, int]
    kept_msat: int

    def liabilities_msat(self) -> int:
        """Return what the federation owes: notes out and contracts open."""
        return self.notes_msat + sum(self.contracts_msat.values())

    def is_balanced(self) -> bool:
        """Tell whether assets are exactly what is owed and the fees kept."""
        return self.assets_msat == self.liabilities_msat() + self.kept_msat


class EmbeddedFederation:
    """A federation with the modules and fees of a default one. All randomness is injected.

    `urls` are what its config names for the guardians, in order, for `devnet.guardians.server` to serve
    them there. With an `api_secret`, invites carry it and connections need it.
    """

    def __init__(
        self,
        chain: Blockchain,
        random_bytes: Callable[[int], bytes],
        *,
        guardians: int = 1,
        name: str = "embedded",
        network: Network = "regtest",
        unix_time_s: Callable[[], int] = lambda: 0,
        urls: Sequence[str] | None = None,
        api_secret: str | None = None,
    ) -> None:
        """Deal the keys. Raises InputError unless there are 1, 4, 5 or 7 guardians and URLs."""
        dealt = deal_federation(guardians, name, network, random_bytes, urls)
        self.config = dealt.config
        self.federation_id = dealt.config.federation_id()
        self.api_secret = api_secret
        self.consensus = Consensus(dealt.config, chain, unix_time_s)
        self._random_bytes = random_bytes
        self._secrets = dealt.secrets
        self.guardians = tuple(
            EmbeddedGuardian(
                peer,
                dealt.config,
                self.consensus,
                secrets,
                facts={"invite_code": self.invite_code(peer).to_text(), "chain_id": _CHAIN_ID},
                password=PASSWORD,
            )
            for peer, secrets in zip(sorted(dealt.config.api_endpoints), dealt.secrets, strict=True)
        )

    def invite_code(self, peer: PeerId | None = None) -> InviteCode:
        """Return the invite that names one guardian, or else all."""
        endpoints = self.config.api_endpoints
        apis = {p: endpoint.url for p, endpoint in endpoints.items() if peer in (None, p)}
        return InviteCode.of(apis, self.federation_id, self.api_secret)

    def connect(self, url: str, api_secret: str | None = None) -> GuardianConnection:
        """Return the guardian at `url`, as `fedimint.discovery` connects.

        Raises GuardianUnreachable when this federation has none there, GuardianRefused when it wants
        another API secret.
        """
        for guardian in self.guardians:
            if self.config.api_endpoints[guardian.peer].url == url:
                if api_secret != self.api_secret:
                    raise GuardianRefused(UNAUTHORIZED, "Unauthorized")
                return guardian
        raise GuardianUnreachable(f"no guardian at {url}")

    def connections(self) -> Mapping[PeerId, GuardianConnection]:
        """Return all guardians by peer."""
        return {guardian.peer: guardian for guardian in self.guardians}

    def asked_by(
        self,
        sleep_s: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> Guardians:
        """Return all guardians as `fedimint.client.query` asks them, without randomness in the pauses."""
        return Guardians(self.connections(), sleep_s, jitter)

    def faults(self, peer: int) -> Faults:
        """Return what is wrong at a guardian, to be changed in place."""
        return self.guardians[peer].faults

    def set_acceptance_delay(self, delay: Callable[[], Awaitable[None]] | None) -> None:
        """Await `delay` between each submission and its acceptance; None for none."""
        self.consensus.acceptance_delay = delay

    def register_gateway(self, url: str) -> None:
        """Let all guardians vouch for a gateway."""
        self.consensus.gateways[url] = None

    def issue_notes(self, module: DerivableSecret, amount_msat: int) -> tuple[Note, ...]:
        """Give notes of exactly this value, derived from the secret of a mintv2 module.

        As if as much bitcoin had been pegged in, without fees. Raises InputError when the amount is
        no multiple of 512 msat.
        """
        requests = [
            NoteRequest(denomination, self._random_bytes(TWEAK_SIZE))
            for denomination in selection.binary_denominations(amount_msat)
        ]
        outputs = notes.blinded_outputs(module, requests)
        needed = threshold(len(self._secrets))
        shares = {
            PeerId(peer): [
                bls.encode_g1(
                    tbs.sign_share(
                        bls.decode_g1(output.blinded_nonce), secrets.tbs_shares[output.denomination]
                    )
                )
                for output in outputs
            ]
            for peer, secrets in enumerate(self._secrets[:needed])
        }
        finalised = notes.finalise(
            module,
            requests,
            shares,
            self.mint_keys(),
            threshold=needed,
            random_bytes=self._random_bytes,
        )
        if len(finalised.notes) != len(requests):
            raise FatalError("the embedded federation made notes that do not verify")
        self.consensus.ledger.give_notes(outputs)
        return finalised.notes

    def issue_ecash(self, amount_msat: int) -> mintv2.Ecash:
        """Give notes of exactly this value as ecash, which belongs to its holder."""
        module = DerivableSecret(self._random_bytes(64))
        issued = self.issue_notes(module, amount_msat)
        spendable = tuple(notes.spendable(module, note) for note in issued)
        return mintv2.Ecash.of(self.federation_id, spendable)

    def endow(self, value_sat: int) -> None:
        """Bring bitcoin for the notes given, into the output that withdrawals are paid from."""
        ledger, scripts = self.consensus.ledger, self.consensus.rules.wallet.scripts
        held = ledger.wallet.utxo
        tweak = consensus_hash(self._random_bytes(32)) if held is None else next_tweak(held)
        held_sat = value_sat if held is None else held.value_sat + value_sat
        txid = self.consensus.chain.send(ChainOutput(scripts.tweaked(tweak), held_sat))
        out_point = BitcoinOutPoint(hash_from_display(txid), 0)
        ledger.wallet.utxo = FederationWallet(held_sat, out_point, tweak)
        ledger.faucet_owes_msat -= value_sat * 1000

    def mint_keys(self) -> MintV2ClientConfig:
        """Return the config of the mint, with its public keys."""
        return module_config(self.config, MintV2ClientConfig)

    def audit(self) -> FederationAudit:
        """Return the books as they stand now."""
        ledger = self.consensus.ledger
        return FederationAudit(
            ledger.faucet_owes_msat + self._on_chain_msat(),
            ledger.notes_msat,
            {point: contract_amount_msat(held) for point, held in ledger.contracts.items()},
            ledger.kept_msat,
        )

    def _on_chain_msat(self) -> int:
        """Return what the chain itself says that the federation's output holds."""
        utxo = self.consensus.ledger.wallet.utxo
        if utxo is None:
            return 0
        transaction = self.consensus.chain.transaction(display_hash(utxo.out_point.txid))
        if transaction is None:
            raise FatalError("the embedded federation's output is not on its chain")
        return transaction.outputs[utxo.out_point.vout].value_sat * 1000
