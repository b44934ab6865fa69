"""One payment image belongs to one operation, permanently, in the whole gateway.

The claim is told in the append that accepts the operation, so of two racing operations one is refused whole.
Stream: `image/<payment hash in hex>`.
"""

from typing import ClassVar

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, refused, table


class Free(State, frozen=True):
    """No operation ever used this image."""


class Claimed(State, frozen=True):
    """`operation` is the stream that owns the image."""

    operation: str


class ClaimImage(Input, frozen=True):
    """An operation that is being accepted takes the image."""

    operation: str


class ImageClaimed(Event, frozen=True):
    kind: ClassVar[str] = "image.claimed"
    operation: str


def stream_of(payment_hash: str) -> str:
    """The stream of an image, given the payment hash in hex."""
    return f"image/{payment_hash}"


def _claim(_state: Free, input_: ClaimImage) -> Decision:
    return Decision(events=(ImageClaimed(operation=input_.operation),))


def _claimed(_state: Free, event: ImageClaimed) -> Claimed:
    return Claimed(operation=event.operation)


MACHINE = Machine(
    kind="image",
    initial=Free(),
    states=(Free, Claimed),
    inputs=(ClaimImage,),
    rules=table(
        {(Free, ClaimImage): Handle(_claim, to=(Claimed,))},
        refused(
            (Claimed,),
            (ClaimImage,),
            "this payment hash already belongs to another operation; it is never paid for twice",
        ),
    ),
    evolvers={ImageClaimed: _claimed},
    final=frozenset({Claimed}),
)
