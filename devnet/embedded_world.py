"""The smallest world in which a gateway works, in memory: chain, Lightning network, one federation, a user."""

import random
from collections.abc import Callable

from backends.simulated import SimulatedNode
from backends.simulated_chain import SimulatedChain
from backends.simulated_network import SimulatedNetwork
from backends.simulated_routes import Policy
from devnet.federation import EmbeddedFederation
from devnet.user import EmbeddedUser

#: What each side of the two channels holds: enough for any payment of a demonstration.
CHANNEL_SIDE_MSAT = 5_000_000_000
#: The middle node's price, so that routing costs something.
ROUTING_POLICY = Policy(base_fee_msat=1_000, proportional_millionths=100)


class EmbeddedWorld:
    """The gateway's node pays through a middle node to the payee. Everything follows from one seed.

    `now_unix_s` is the wall clock of nodes and guardians.
    """

    def __init__(self, seed: int, now_unix_s: Callable[[], float], *, guardians: int = 1) -> None:
        self.random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.chain = SimulatedChain()
        self.network = SimulatedNetwork(self.chain)
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
        self.federation = EmbeddedFederation(
            self.chain,
            self.random.randbytes,
            guardians=guardians,
            unix_time_s=lambda: int(now_unix_s()),
        )

    def new_user(self, amount_msat: int) -> EmbeddedUser:
        """A user who holds this much ecash, a multiple of 512 msat."""
        user = EmbeddedUser(self.federation, self.random.randbytes)
        user.wallet.notes.extend(self.federation.issue_notes(user.wallet.module, amount_msat))
        return user
