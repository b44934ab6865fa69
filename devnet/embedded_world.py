"""The world around a gateway, in memory: chain, Lightning network, federations and their users."""

import random
from collections.abc import Callable, Sequence

from backends.simulated.chain import SimulatedChain
from backends.simulated.network import SimulatedNetwork
from backends.simulated.node import SimulatedNode
from backends.simulated.routes import Policy
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser
from fedimint.client.transport import GuardianConnection, GuardianUnreachable
from fedimint.codec.wire_types import Network

#: What each side of the two channels holds: enough for any payment of a demonstration.
CHANNEL_SIDE_MSAT = 5_000_000_000
#: The middle node's price, so that routing costs something.
ROUTING_POLICY = Policy(base_fee_msat=1_000, proportional_millionths=100)


class EmbeddedWorld:
    """The gateway's node pays through a middle node to the payee. Everything follows from one seed.

    `now_unix_s` is the wall clock of nodes and guardians. The first federation, of this `name` and
    `guardians` strong, is there from the start; `urls` are where its guardians are said to be.
    """

    def __init__(
        self,
        seed: int,
        now_unix_s: Callable[[], float],
        *,
        guardians: int = 1,
        name: str = "embedded",
        urls: Sequence[str] | None = None,
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.chain = SimulatedChain()
        self.network = SimulatedNetwork(self.chain)
        self.federations: list[EmbeddedFederation] = []
        self._now_unix_s = now_unix_s
        self.gateway_node, self.middle, self.payee = (
            SimulatedNode(self.network, name, now_unix_s) for name in ("gateway", "middle", "payee")
        )
        for first, second in (("gateway", "middle"), ("middle", "payee")):
            self.network.open_channel(
                first,
                second,
                first_msat=CHANNEL_SIDE_MSAT,
                second_msat=CHANNEL_SIDE_MSAT,
                first_policy=ROUTING_POLICY,
                second_policy=ROUTING_POLICY,
            )
        self.add_federation(name, guardians=guardians, urls=urls)

    @property
    def federation(self) -> EmbeddedFederation:
        """The first one."""
        return self.federations[0]

    def add_federation(
        self,
        name: str,
        *,
        guardians: int = 1,
        urls: Sequence[str] | None = None,
        network: Network = "regtest",
    ) -> EmbeddedFederation:
        """Deal one more federation on the same chain. Raises as EmbeddedFederation does."""
        federation = EmbeddedFederation(
            self.chain,
            self.random.randbytes,
            guardians=guardians,
            name=name,
            network=network,
            unix_time_s=lambda: int(self._now_unix_s()),
            urls=urls,
        )
        self.federations.append(federation)
        return federation

    def connect(self, url: str, api_secret: str | None = None) -> GuardianConnection:
        """Return the guardian at `url`, of whichever federation.

        Raises as `EmbeddedFederation.connect` does.
        """
        for federation in self.federations:
            try:
                return federation.connect(url, api_secret)
            except GuardianUnreachable:
                continue
        raise GuardianUnreachable(f"no guardian at {url}")

    def new_user(
        self, amount_msat: int, federation: EmbeddedFederation | None = None
    ) -> EmbeddedUser:
        """A user, of the first federation unless told, who holds this much ecash, a multiple of 512 msat."""
        federation = federation or self.federation
        user = EmbeddedUser(federation, self.random.randbytes)
        user.wallet.notes.extend(federation.issue_notes(user.wallet.module, amount_msat))
        return user
