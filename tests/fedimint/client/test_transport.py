"""The errors of a guardian connection, and the names of methods."""

import pytest

from errors import GatewayError
from fedimint.client.shapes import shape
from fedimint.client.transport import (
    MAX_ERROR_CHARS,
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
    error_from_code,
    module_method,
)


def test_module_methods_carry_the_instance_id() -> None:
    assert module_method(12, "signature_shares") == "module_12_signature_shares"


def test_only_the_servers_cut_is_a_timeout() -> None:
    assert isinstance(error_from_code(-32000, "Request timeout"), GuardianTimeout)
    refused = error_from_code(404, "x" * 10_000)
    assert isinstance(refused, GuardianRefused)
    assert (refused.code, len(refused.message)) == (404, MAX_ERROR_CHARS)
    assert not refused.is_unknown_method


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GuardianUnreachable("x"), 503),
        (GuardianTimeout("x"), 503),
        (GuardianRefused(500, "x"), 502),
        (GuardianProtocolError("x"), 502),
    ],
)
def test_what_callers_of_our_api_see(error: GatewayError, status: int) -> None:
    assert error.http_status == status


def test_shapes_are_strict_but_read_numbers_in_keys() -> None:
    decode = shape(dict[int, str])
    assert decode({"3": "a"}) == {3: "a"}
    wrong: list[object] = [{"x": "a"}, {"3": 1}, [], None]
    for bad in wrong:
        with pytest.raises(GuardianProtocolError, match="wrong shape"):
            decode(bad)
    with pytest.raises(GuardianProtocolError):
        shape(int)("1")
