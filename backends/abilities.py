"""What some kinds of Lightning node cannot do: asked before a call instead of caught as an error."""

import msgspec


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of node can do. No field has a default: every backend answers all of them.

    `kind` is the name that people know it by, such as "LND". `offers`: makes and pays BOLT 12 offers. `interception`:
    holds HTLCs that are to go on to a channel that does not exist, as receives of lnv1 need. `splicing`: changes the
    size of an open channel. `pending_channel_fees`: `set_channel_fees` takes a channel that is not confirmed yet.

    The gateway asks for `offers`, and the conformance suite for `pending_channel_fees`. Nothing intercepts or splices
    yet: the author of the first use finds the answer here.
    """

    kind: str
    offers: bool
    interception: bool
    splicing: bool
    pending_channel_fees: bool
