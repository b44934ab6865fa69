"""What the operator decides of federations and of the node in a simulated run, beside terms and leaving."""

from fuzz.step import Step


class SetCap(Step, frozen=True):
    """No more than so much may be at stake in a federation; None is the default."""

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


class ReplaceNode(Step, frozen=True):
    """The node comes back as another one, with another key, and the operator gives the old one up."""
