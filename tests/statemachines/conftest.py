"""Wallets here, and here alone, tidy up as soon as they can, so that seven notes suffice to see it."""

from collections.abc import Iterator

import pytest

from statemachines import wallet_rules


@pytest.fixture(autouse=True, scope="module")
def _eager_tidying() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wallet_rules, "TIDY_LEAST_NOTES", 1)
        yield
