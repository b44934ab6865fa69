"""What every step of a simulated run has."""

import msgspec


class Step(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Base of all steps: it begins at this second of the fault phase."""

    at_s: float
