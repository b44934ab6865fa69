"""Diagrams equal the tables, and the page in docs is the generated one."""

from pathlib import Path

import pytest

from engine.diagram import diagram, page
from engine.machine import Handle
from tests.engine.toy import ACCOUNT, LIMITS, TRANSFER

DOCS = Path(__file__).parents[2] / "docs" / "state-machines.md"


def test_a_diagram_has_every_arrow_of_its_table() -> None:
    assert diagram(TRANSFER).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> Unborn",
        "    Unborn --> Sending: Begin",
        "    Sending --> Arrived: Sent",
        "    Sending --> Returned: Bounced",
        "    Sending --> Sending: Again, Noted",
        "    Arrived --> [*]",
        "    Returned --> [*]",
    ]


def test_a_page_has_every_pair_of_every_table() -> None:
    text = page([ACCOUNT, LIMITS, TRANSFER])
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## `account`",
        "## `limit`",
        "## `transfer`",
    ]
    assert (
        "- Refused with NotFoundError, there is no such transfer: Unborn on Sent, Bounced, Again"
        in text
    )
    assert (
        "- Ignored, late or repeated: Sending on Begin; Arrived, Returned on Begin, Sent," in text
    )
    for rule in TRANSFER.rules.values():
        assert isinstance(rule, Handle) or rule.why in text


def test_the_page_in_docs_is_up_to_date() -> None:
    from statemachines import ALL_MACHINES  # noqa: PLC0415 (the other tests need none of them)

    if DOCS.read_text() != page(ALL_MACHINES):
        pytest.fail("run `python -m cli.state_diagrams > docs/state-machines.md`")
