"""A kind of module that is entered in one place is entered in all."""

from typing import get_args

import pytest

from fedimint.discovery import MODULE_APIS
from fedimint.modules import CONFIG_CODECS, MODULE_CODECS
from gateway.modules.table import MODULES
from statemachines import items
from statemachines.reserving import FederationFees


@pytest.mark.parametrize("kind", MODULES)
def test_a_kind_that_is_used_has_wire_types_versions_and_fees(kind: str) -> None:
    assert MODULES[kind].config_type is CONFIG_CODECS[kind].struct_type
    assert kind in MODULE_CODECS
    assert kind in MODULE_APIS
    assert kind in FederationFees.__struct_fields__


@pytest.mark.parametrize(
    "item", [*get_args(items.Claim), *get_args(items.Output), items.HeldNote, items.Issue]
)
def test_every_item_is_of_a_kind_that_is_used(item: type[items.Claim | items.Output]) -> None:
    assert item.module in MODULES


def test_every_fee_is_of_a_kind_that_is_used() -> None:
    assert set(FederationFees.__struct_fields__) == set(MODULES)
