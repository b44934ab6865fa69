"""Stored items name the kind of their module."""

import msgspec
import pytest

from fuzz.machines.scene import FEDERATION, facts, note, receive_facts
from statemachines import items
from statemachines.withdrawal import WithdrawalFacts


@pytest.mark.parametrize(
    ("item", "module", "place"),
    [
        (items.ContractClaim("11", 0, 1, "aa"), "lnv2", "type"),
        (items.IncomingRefund("11", 0, 1, "aa"), "lnv2", "type"),
        (items.DepositClaim(0, 0, 1, 0), "walletv2", "type"),
        (items.ForeignNote(9, "aa"), "mintv2", "type"),
        (items.FundedContract("00", 1), "lnv2", "type"),
        (items.PegOut("00", 1, 0), "walletv2", "type"),
        (facts(), "lnv2", "module"),
        (receive_facts(), "lnv2", "module"),
        (WithdrawalFacts(FEDERATION, "bcrt1", "00", 1, 0), "walletv2", "module"),
    ],
)
def test_an_item_is_stored_with_the_kind_of_its_module(
    item: msgspec.Struct, module: str, place: str
) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(item), type=dict[str, object])
    assert str(stored[place]).split(".")[0] == module


def test_notes_and_issues_are_short_arrays_of_mintv2() -> None:
    assert msgspec.json.encode(note("aa", 9)) == b'["m2",9,"aa","nonce of aa 9","5f"]'
    assert msgspec.json.encode(items.Issue(9, "aa")) == b'["m2",9,"aa"]'
