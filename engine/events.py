"""Events: frozen facts with a stable kind and a schema version, and their encoding in the log."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import msgspec

from errors import FatalError, InputError

#: Largest encoded event. What is bigger belongs into a file, not the log.
EVENT_BYTES_MAX = 262_144

#: Turns the body of an older schema version into the next one: builtins in, builtins out.
Upcaster = Callable[[dict[str, object]], dict[str, object]]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A decided fact, never a recipe. Subclasses set `kind`, which never changes, and raise
    `schema_version` together with an upcaster whenever their fields change.
    """

    kind: ClassVar[str] = ""
    schema_version: ClassVar[int] = 1


class EncodedEvent(msgspec.Struct, frozen=True):
    """An event as the log stores it: `body` is JSON without kind and version."""

    kind: str
    schema_version: int
    body: bytes


class Unread(Event, frozen=True):
    """Stands for a stored event that this program cannot fold, and for each later one of its stream. Never stored."""

    kind: ClassVar[str] = "unread"
    why: str


class OversizedError(InputError):
    """An event would be larger than the log takes."""


class UnknownEventError(FatalError):
    """This program is not made for the log, such as one of a newer program: it may decide nothing of it."""


class EventCodec:
    """Encodes and decodes the events of a set of machines; upcasts older bodies on read."""

    def __init__(
        self,
        classes: Iterable[type[Event]],
        upcasters: Mapping[tuple[str, int], Upcaster] | None = None,
    ) -> None:
        self._encoder = msgspec.json.Encoder(order="deterministic")
        self._upcasters = dict(upcasters or {})
        self._classes: dict[str, type[Event]] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Event]] = {}
        for cls in classes:
            if not cls.kind or cls.kind in self._classes:
                raise FatalError(f"event class {cls.__name__} has no kind of its own: {cls.kind!r}")
            self._classes[cls.kind] = cls
            self._decoders[cls.kind] = msgspec.json.Decoder(cls)

    def encode(self, event: Event) -> EncodedEvent:
        """The stored form.

        Raises OversizedError, which is an InputError, since its size comes from what a caller or peer sent, and
        FatalError for one that is not registered or that replay would read differently.
        """
        if self._classes.get(event.kind) is not type(event):
            raise FatalError(f"event {type(event).__name__} is not registered with this log")
        body = self._encoder.encode(event)
        if len(body) > EVENT_BYTES_MAX:
            raise OversizedError(
                f"event {event.kind} has {len(body)} bytes, above {EVENT_BYTES_MAX}"
            )
        encoded = EncodedEvent(event.kind, event.schema_version, body)
        # A row that cannot be read back would keep the gateway from ever starting again.
        if self.decode(encoded) != event:
            raise FatalError(f"event {event.kind} is not the same after encoding and decoding")
        return encoded

    def decode(self, encoded: EncodedEvent) -> Event:
        """The event of a stored row.

        Raises UnknownEventError when it is a newer program's, FatalError when this one cannot read it.
        """
        cls = self._classes.get(encoded.kind)
        if cls is None:
            raise UnknownEventError(
                f"the log holds {encoded.kind!r}, which this version does not know: start the newer program"
            )
        if encoded.schema_version > cls.schema_version:
            raise UnknownEventError(
                f"the log holds {encoded.kind} in version {encoded.schema_version}, this program "
                f"reads up to {cls.schema_version}: start the newer program"
            )
        try:
            body = encoded.body
            if encoded.schema_version != cls.schema_version:
                body = self._upcast(encoded, cls)
            return self._decoders[encoded.kind].decode(body)
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            raise FatalError(f"a stored {encoded.kind} cannot be decoded: {error}") from error

    def _upcast(self, encoded: EncodedEvent, cls: type[Event]) -> bytes:
        body = msgspec.json.decode(encoded.body, type=dict[str, object])
        for version in range(encoded.schema_version, cls.schema_version):
            upcaster = self._upcasters.get((encoded.kind, version))
            if upcaster is None:
                raise UnknownEventError(
                    f"no upcaster takes {encoded.kind} from version {version} on"
                )
            body = upcaster(body)
        return self._encoder.encode(body)
