"""The federations this gateway serves now, by id."""

from collections.abc import Iterator

from errors import InputError, UnavailableError
from gateway.federation import FederationClient


class Federations:
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

    def serving(self, federation_id: str) -> FederationClient:
        """For requests from outside: InputError in upstream's words when the federation is not served."""
        client = self._clients.get(federation_id)
        if client is None:
            raise InputError(f"No federation available for prefix {federation_id[:8]}")
        return client

    def needed(self, federation_id: str) -> FederationClient:
        """For effects: UnavailableError, so that they wait, when the federation is not open."""
        client = self._clients.get(federation_id)
        if client is None:
            raise UnavailableError(f"the client of federation {federation_id[:8]} is not open")
        return client
