"""Lets wallets consolidate from seven notes on, in these tests alone."""

from collections.abc import Iterator

import pytest

from statemachines import wallet_rules


@pytest.fixture(autouse=True, scope="module")
def _eager_tidying() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wallet_rules, "TIDY_LEAST_NOTES", 1)
        yield
