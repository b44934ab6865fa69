"""A federation all of whose guardians lie, and the contracts that nobody funded in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser, OutgoingPayment
from fedimint import lnv2
from fedimint.client.transport import GuardianConnection
from fedimint.codec import bolt11, secp
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.lnv2 import HashImage, OutgoingContract
from fedimint.lnv2.gateway_api import RoutingInfo
from tests.gateway.scene import Scene

Lies = dict[str, Callable[[object], object]]
"""By a method's name, without its module: from the parameters to what is said."""


@dataclass(frozen=True)
class LyingGuardian:
    """A connection to a guardian of whose methods some are lied about."""

    honest: GuardianConnection
    lies: Mapping[str, Callable[[object], object]]

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        lie = self.lies.get(method.split("_", 2)[-1] if method.startswith("module_") else method)
        return await self.honest.request(method, params, auth=auth) if lie is None else lie(params)

    async def aclose(self) -> None:
        await self.honest.aclose()


def let_lie(scene: Scene, federation: EmbeddedFederation) -> Lies:
    """From the gateway's next connection on, what is put into the answer is what all guardians say."""
    lies: Lies = {}
    honest = scene.connect
    urls = {endpoint.url for endpoint in federation.config.api_endpoints.values()}

    def connect(url: str, api_secret: str | None) -> GuardianConnection:
        connection = honest(url, api_secret)
        return LyingGuardian(connection, lies) if url in urls else connection

    scene.connect = connect
    return lies


def unfunded(
    scene: Scene, federation: EmbeddedFederation, routing: RoutingInfo, amount_msat: int
) -> tuple[EmbeddedUser, OutgoingPayment, Callable[[object], object]]:
    """A contract of any amount that nobody funded, the user who signs for it, and the lie that it is there."""
    user = scene.world.new_user(0, federation)
    invoice = scene.invoice()
    refund_secret = secp.decode_secret(scene.world.random.randbytes(32))
    contract = OutgoingContract(
        payment_image=HashImage(bolt11.decode(invoice).payment_hash),
        amount_msat=amount_msat,
        expiration_block_height=1_000_000,
        claim_pk=bytes.fromhex(routing.module_public_key),
        refund_pk=secp.public_key(refund_secret),
        ephemeral_pk=secp.public_key(refund_secret),
    )
    payment = OutgoingPayment(
        contract,
        OutPoint(TransactionId(bytes(32)), 0),
        lnv2.LightningInvoice(invoice),
        refund_secret,
    )
    return user, payment, lambda _params: [contract.contract_id().hex(), 100_000]
