"""A campaign finds a planted fault, shrinks it, and replays its file."""

import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from errors import InputError, NotFoundError
from fuzz import campaign
from fuzz.campaign import Case
from fuzz.targets import Target

FOREVER_S = time.monotonic() + 1_000_000


def _no_x(value: bytes) -> None:
    if b"x" in value:
        raise ValueError("an x")


BROKEN = Target(st.binary(min_size=1, max_size=100), _no_x)
SOUND = Target(st.integers(), lambda value: None)
TARGETS = {"broken/x": BROKEN, "sound": SOUND}


def test_a_planted_fault_is_found_once_and_made_small() -> None:
    results = list(campaign.run(TARGETS, range(200), deadline_s=FOREVER_S))
    (case,) = (result for result in results if result is not None)
    assert (case.target, case.error) == ("broken/x", "ValueError: an x")
    assert "_no_x" in case.trace
    assert results.count(None) == 200 + case.seed
    full = campaign.CASE_BYTES_MAX * 2
    assert len(case.drawn_from) < full // 8


def test_a_campaign_is_a_function_of_its_seeds() -> None:
    twice = [list(campaign.run(TARGETS, range(50), deadline_s=FOREVER_S)) for _ in range(2)]
    assert twice[0] == twice[1]


def test_a_campaign_ends_at_its_deadline() -> None:
    assert list(campaign.run(TARGETS, range(10), deadline_s=time.monotonic() - 1)) == []


def test_a_case_plays_again_from_its_file(tmp_path: Path) -> None:
    (case,) = (
        one
        for one in campaign.run({"broken/x": BROKEN}, range(200), deadline_s=FOREVER_S)
        if one is not None
    )
    read = Case.read(case.write(tmp_path / "new"))
    assert read == case
    again = campaign.replay(BROKEN, read)
    assert again is not None
    assert again.error == case.error
    assert campaign.replay(SOUND, read) is None


def test_a_file_that_is_no_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        Case.read(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="no case"):
        Case.read(tmp_path / "other.json")


def test_targets_are_chosen_by_the_beginning_of_their_names() -> None:
    assert list(campaign.chosen(TARGETS, [])) == ["broken/x", "sound"]
    assert list(campaign.chosen(TARGETS, ["broken"])) == ["broken/x"]
    with pytest.raises(NotFoundError, match="begin with broken, sound"):
        campaign.chosen(TARGETS, ["brokem"])


def test_a_value_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "HANG_S", 0.05)

    def hang(value: int) -> None:
        del value
        while True:
            pass

    (case,) = campaign.run({"hangs": Target(st.just(1), hang)}, range(1), deadline_s=FOREVER_S)
    assert case is not None
    assert case.error.startswith("HungError")
