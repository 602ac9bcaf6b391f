"""Tables in the terminal."""

import io

import pytest
from rich.console import Console

from dsn_lightning.text_tables import TextTable

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
