"""Who grinds: the native part where it can be loaded, else a process of Python, which the log says once."""

import sys
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from cli.gatewayd.grinding import native_find, tweak_grinder
from errors import UnavailableError
from fedimint.mintv2 import tweaks
from gateway.grinder import GrinderProcess
from gateway.grinder_thread import GrinderThread

pytestmark = pytest.mark.anyio
FILTER = bytes(range(32))


class NativeError(Exception):
    """Stands for the native part's own."""


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A native part whose search is Python's, and whose curve nobody uses."""
    package = ModuleType("fedimint_gateway_native")
    accel = ModuleType("fedimint_gateway_native.accel")
    vars(package)["NativeError"] = NativeError
    vars(accel)["find_tweak"] = tweaks.find
    monkeypatch.setitem(sys.modules, "fedimint_gateway_native", package)
    monkeypatch.setitem(sys.modules, "fedimint_gateway_native.accel", accel)
    monkeypatch.setitem(sys.modules, "fedimint.crypto.blst", ModuleType("fedimint.crypto.blst"))
    return accel


async def test_the_native_part_grinds_in_a_thread(native: ModuleType) -> None:
    with capture_logs() as lines:
        async with tweak_grinder() as grind:
            assert isinstance(grind.__self__, GrinderThread)  # type: ignore[attr-defined]
            assert tweaks.meets_filter(await grind(FILTER), FILTER)
    assert lines == []


async def test_without_it_a_process_grinds_and_the_log_says_what_that_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fedimint_gateway_native", None)
    with capture_logs() as lines:
        async with tweak_grinder() as grind:
            assert isinstance(grind.__self__, GrinderProcess)  # type: ignore[attr-defined]
            assert tweaks.meets_filter(await grind(FILTER), FILTER)
    (line,) = lines
    assert line["event"] == "native_part_missing"
    assert "fedimint_gateway_native" in line["reason"]
    assert "ten times the processor time" in line["cost"]
    assert "BLS12-381" in line["cost"]
    assert line["to_install"] == "uv sync --extra native"


async def test_one_that_lacks_the_module_is_as_good_as_none(native: ModuleType) -> None:
    del vars(native)["find_tweak"]
    with capture_logs() as lines:
        async with tweak_grinder() as grind:
            assert isinstance(grind.__self__, GrinderProcess)  # type: ignore[attr-defined]
    assert ["find_tweak" in line["reason"] for line in lines] == [True]


@pytest.mark.usefixtures("native")
async def test_one_that_lacks_the_curve_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fedimint.crypto.blst", None)
    with capture_logs() as lines:
        async with tweak_grinder() as grind:
            assert isinstance(grind.__self__, GrinderProcess)  # type: ignore[attr-defined]
    assert ["fedimint.crypto.blst" in line["reason"] for line in lines] == [True]


def test_its_failure_is_one_of_ours(native: ModuleType) -> None:
    def find_tweak(_filter: bytes, _start: bytes, _tries: int) -> bytes | None:
        raise NativeError("the native part panicked: broken")

    vars(native)["find_tweak"] = find_tweak
    with pytest.raises(UnavailableError, match="panicked: broken"):
        native_find()(FILTER, bytes(16), 1)
