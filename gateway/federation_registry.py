"""The federations this gateway serves now, by id."""

from collections.abc import Iterator

from errors import InputError
from gateway.federation import FederationClient


class NotServedError(InputError):
    """The gateway does not serve this federation, in upstream's words."""

    def __init__(self, federation_id: str) -> None:
        """`federation_id` in hex."""
        super().__init__(f"No federation available for prefix {federation_id[:8]}")


class FederationRegistry:
    """Every open federation client. One event loop owns it."""

    def __init__(self) -> None:
        self._clients: dict[str, FederationClient] = {}

    def __iter__(self) -> Iterator[FederationClient]:
        return iter(sorted(self._clients.values(), key=lambda client: client.index))

    def __contains__(self, federation_id: str) -> bool:
        return federation_id in self._clients

    def add(self, client: FederationClient) -> None:
        self._clients[client.federation_id] = client

    def remove(self, federation_id: str) -> FederationClient:
        """Stop serving it; the caller closes the client."""
        return self._clients.pop(federation_id)

    def client(self, federation_id: str) -> FederationClient:
        """Raises NotServedError when it is not open: requests are refused with that, effects wait."""
        client = self._clients.get(federation_id)
        if client is None:
            raise NotServedError(federation_id)
        return client
