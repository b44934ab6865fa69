"""Guardians of a simulated run that tell the gateway, and nobody else, absurd numbers."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Absurdity(NamedTuple):
    """A number said in the place of others: of all, or of those in fields of one name."""

    number: int
    name: str = ""

    def instead_of(self, answer: object, name: str = "") -> object:
        """What is said instead of this answer, JSON builtins, which is in a field of this name."""
        match answer:
            case bool():
                return answer
            case int():
                return self.number if self.name in {"", name} else answer
            case list() | tuple():
                return [self.instead_of(item, name) for item in answer]
            case dict():
                return {key: self.instead_of(item, key) for key, item in answer.items()}
        return answer


@dataclass
class AbsurdGuardians:
    """Asked at every answer of a guardian. Nobody is absurd at first."""

    said: dict[str, Absurdity] = field(default_factory=dict)
    """By the URL of the guardian."""

    def heard(self, url: str, answer: object) -> object:
        """What the gateway hears instead of this answer."""
        absurdity = self.said.get(url)
        return answer if absurdity is None else absurdity.instead_of(answer)
