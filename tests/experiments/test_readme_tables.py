"""The part of experiments/README.md that is generated."""

import readme_tables
from helpers.table_process import TABLES, definition


def test_the_generated_part_is_up_to_date():
    text = (readme_tables.HERE / "README.md").read_text()
    assert readme_tables.with_section(text) == text, "run python experiments/readme_tables.py"
    for name in TABLES:
        assert all(f"| {row.name} |" in text for row in definition(name).rows)
