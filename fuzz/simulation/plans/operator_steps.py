"""The operator's decisions about federations, node and program, besides terms and leaving."""

from fuzz.simulation.plans.step import Step


class SetCap(Step, frozen=True):
    """The cap on the stake in a federation; None is the default."""

    federation: int
    cap_msat: int | None


class TrustAgain(Step, frozen=True):
    """A federation that refused a claim is paid for again."""

    federation: int


class GiveUp(Step, frozen=True):
    """The guardians of a federation vanish when the gateway passes this point; it is given up until they are back."""

    federation: int
    point: str
    away_s: float


class CannotBuild(Step, frozen=True):
    """The program fails at the next transaction that a stream of this kind needs (of any kind if it is empty).

    After this time the operator has a version without the mistake, and retries.
    """

    parent: str
    mended_after_s: float


class ReplaceNode(Step, frozen=True):
    """The node comes back as another one, with another key, and the operator gives the old one up."""
