"""The generated page docs/findings/row_by_row.md."""

import readme_tables
from helpers.table_process import TABLES, definition


def test_row_by_row_page_is_up_to_date():
    text = readme_tables.PAGE.read_text()
    assert readme_tables.page() == text, "run python experiments/readme_tables.py"
    for name in TABLES:
        assert all(f"| {row.name} |" in text for row in definition(name).rows)
