"""Tables in the terminal and as CSV."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dsn_lightning.text_tables import TextTable, csv_records, csv_text

CELLS = ["+16.7 [+3.3, +30.0]*", "+23.3 [+10.0, +40.0]*", "-1.3 [-6.2, +5.7]", "+5.4 ± 0.2 [-6.2, +13.6]", "56.7"]


@pytest.mark.parametrize("width", [10, 80, 100, 200])
def test_no_character_is_lost_however_narrow_the_console(width):
    header = ["M:N", "", "uniform", "oracle_exact", "dense"]
    table = TextTable(header, [["3:4", "top-1", *CELLS[:3]], ["10:10", "mAP", *CELLS[2:]]], num_names=2, title="gains")
    console = Console(file=io.StringIO(), width=width)
    table.print(console)
    title, *lines = console.file.getvalue().splitlines()
    assert title.strip() == "gains"
    assert len({len(line) for line in lines}) == 1
    found = [[text.strip() for text in line.replace("┃", "│").split("│")[1:-1]] for line in lines if line[0] in "┃│"]
    assert found == [header, *table.rows]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "'=", "'-"])
def test_no_cell_of_a_csv_file_is_a_formula(start):
    text = f"{start}cmd|'/c calc'!A1"
    record = {"video": text, f"{start}column": 1, "M": -3, "gain": -0.5, "score": "-0.500000", "none": None}
    head, cells = csv.reader(io.StringIO(csv_text([record]), newline=""))
    assert cells == [f"'{text}", "1", "-3", "-0.5", "-0.500000", ""]
    assert head[1] == f"'{start}column"
    assert list(csv_records(csv_text([record]))) == [{name: str(record[name] or "") for name in record}]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_no_part_of_a_cell_is_a_formula_where_a_spreadsheet_splits(separator):
    """Some split at commas as well, others take quotes behind a comma for letters."""
    text = f"a{separator}=cmd|'/c calc'!A1{separator}-b{separator}c"
    written = csv_text([{"video": "v", "label": text}])
    safe = f"a{separator}'=cmd|'/c calc'!A1{separator}'-b{separator}c"
    assert written == f'video,label\nv,"{safe}"\n'
    assert list(csv_records(written)) == [{"video": "v", "label": text}]
    assert csv_text([{"label": f"a{separator}b"}]) == f'label\n"a{separator}b"\n'


@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.text(alphabet="'=+-@\t\r\n1,;\"a"), min_size=2), max_size=3))
def test_what_is_read_is_what_was_written(records):
    assert list(csv_records(csv_text(records, "ab"))) == records
