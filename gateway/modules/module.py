"""What the gateway asks of every kind of module."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import msgspec

from fedimint.client.query import Guardians
from fedimint.codec.wire_types import PeerId
from fedimint.crypto.secrets import DerivableSecret
from fedimint.mintv2 import SpendableNote
from fedimint.transaction import DynItem
from statemachines.items import HeldNote

C = TypeVar("C", bound=msgspec.Struct)
A = TypeVar("A")


class ModuleKey(msgspec.Struct, frozen=True):
    """The id of an instance and our secret in it; pickled to workers, never written anywhere."""

    instance_id: int
    secret: DerivableSecret

    def __repr__(self) -> str:
        return f"ModuleKey({self.instance_id}, …)"


class Materials(msgspec.Struct, frozen=True):
    """What a reservation does not hold: the nonce, a random start for each issue without a tweak, and notes.

    Foreign notes are those of its claims, by their nonces in hex; those that it spends are in its order.
    """

    nonce: bytes
    tweak_starts: tuple[bytes, ...]
    foreign_notes: Mapping[str, SpendableNote]
    spends: tuple[HeldNote, ...]


class SignedInput(NamedTuple):
    """An input and the key that signs for it."""

    item: DynItem
    secret_key: bytes


@dataclass(frozen=True, repr=False)
class Module(ABC, Generic[C, A]):
    """One module of a federation that is served. Its repr shows the kind alone.

    What builds a transaction or judges a config is of the class: a worker has no connections, and a federation that is
    not joined yet gave us no secret.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type[msgspec.Struct]]
    #: Its endpoints: made of guardians and instance id.
    api_type: ClassVar[type]
    #: The consensus version whose rules we know; a minor one changes none of them.
    major: ClassVar[int]
    #: What a federation without such a module cannot do; None for a kind without which none is served.
    without: ClassVar[str | None] = None

    key: ModuleKey
    config: C
    api: A

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    @classmethod
    def open(cls, key: ModuleKey, config: C, guardians: Guardians) -> Self:
        """The module of a federation that was joined, with this config."""
        return cls(key, config, cls.api_type(guardians, key.instance_id))

    @classmethod
    @abstractmethod
    def refusals(cls, config: C, network: str, peers: Collection[PeerId]) -> Iterator[str]:
        """Why a federation of these guardians cannot be served on `network`, as sentences."""

    @classmethod
    @abstractmethod
    def input(cls, key: ModuleKey, item: Any, materials: Materials) -> SignedInput:
        """What a claim or a note of ours is in a transaction."""

    @classmethod
    @abstractmethod
    def output(cls, key: ModuleKey, item: Any) -> DynItem:
        """What an output or an issue is in a transaction."""


def on_other_network(theirs: str, ours: str) -> Iterator[str]:
    """That a module is of another bitcoin network than the gateway."""
    if theirs != ours:
        yield f"the federation is on {theirs}, this gateway on {ours}: they cannot work together"


def of_other_guardians(
    what: str, keys: Collection[PeerId], peers: Collection[PeerId]
) -> Iterator[str]:
    """That there are keys of more or fewer guardians than the federation has."""
    if set(keys) != set(peers):
        yield f"the federation's {what} are not those of its guardians"
