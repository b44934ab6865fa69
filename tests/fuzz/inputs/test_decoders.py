"""The property of decoders: what it accepts and what it rejects."""

import pytest

from fedimint.codec.invite import ApiPart, FederationIdPart, InviteCode
from fedimint.codec.wire_types import FederationId, PeerId
from fuzz.inputs.decoders import DECODERS, Decoder, check


def test_a_url_may_be_written_in_another_form_than_it_was_read_in() -> None:
    invite = InviteCode(
        (ApiPart("http://[::]/v1", PeerId(0)), FederationIdPart(FederationId(bytes(32))))
    )
    decoder = DECODERS["invite"]
    other = invite.to_text()
    assert decoder.holds_urls
    check(decoder, other.encode())
    loose = DECODERS["invite"]._replace(
        decode=lambda data: (
            InviteCode((ApiPart("http://[::0]/v1", PeerId(0)), *invite.parts[1:]))
            if data == b"loose"
            else decoder.decode(data)
        )
    )
    check(loose, b"loose")


def test_a_value_that_changes_on_its_way_is_found() -> None:
    grows = Decoder(lambda data: data + b"x", lambda value: value, DECODERS["url"].inputs)
    with pytest.raises(AssertionError, match="not read back"):
        check(grows, b"")
    with pytest.raises(AssertionError, match="not read back"):
        check(grows._replace(holds_urls=True), b"")
