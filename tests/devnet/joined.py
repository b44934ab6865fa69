"""A real federation for a user in this process: its config and connections to its guardians."""

from dataclasses import dataclass

from fedimint.client.query import Guardians
from fedimint.client.transport import GuardianConnection
from fedimint.client.websocket import WebSocketConnection
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FederationId
from fedimint.config import ClientConfig
from fedimint.discovery import download_config
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.config import LnV2ClientConfig


@dataclass(frozen=True)
class JoinedFederation:
    """What `devnet.users.user.EmbeddedUser` needs of a federation. Close it in the end."""

    config: ClientConfig
    guardians: Guardians

    @classmethod
    async def join(cls, invite_code: str) -> "JoinedFederation":
        """Download the config. Raises as `fedimint.discovery.download_config` does."""
        config = await download_config(InviteCode.parse(invite_code), _connect)
        connections = {
            peer: WebSocketConnection(endpoint.url)
            for peer, endpoint in config.api_endpoints.items()
        }
        return cls(config, Guardians(connections))

    @property
    def federation_id(self) -> FederationId:
        return self.config.federation_id()

    @property
    def lnv2(self) -> Lnv2Api:
        """The guardians' own word on contracts."""
        found = self.config.find(LnV2ClientConfig)
        assert found is not None
        return Lnv2Api(self.guardians, found[0])

    def asked_by(self) -> Guardians:
        return self.guardians

    async def aclose(self) -> None:
        for connection in self.guardians.connections.values():
            await connection.aclose()


def _connect(url: str, api_secret: str | None) -> GuardianConnection:
    return WebSocketConnection(url, api_secret=api_secret)
