"""The table of the fault suite counts attempts, and docs/reliability.md has one."""

from pathlib import Path

from helpers.faults import fault_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"


def test_attempts_are_counted_by_fault():
    table = fault_table([("full disk", True), ("killed", False), ("killed", True), ("full disk", True)])
    assert table.splitlines() == [
        "| fault | tried | survived | lost |",
        "|---|---|---|---|",
        "| full disk | 2 | 2 | 0 |",
        "| killed | 2 | 1 | 1 |",
    ]


def test_the_page_has_a_table_without_a_loss():
    _, found, table = PAGE.read_text().partition("| fault | tried | survived | lost |\n|---|---|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    assert found
    assert len(rows) > 10
    assert all(tried == survived and lost == "0" for _, tried, survived, lost in rows)
