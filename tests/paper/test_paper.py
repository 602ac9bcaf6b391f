"""The paper's figures as data: sums over each column, computed by a program from the paper's own text."""

import pytest

from dsn_lightning.paper import literature, paper_table

OURS = {  # table -> rows, sums over its columns in percent and clips
    1: (7, {"ucf101/top1": 605.3, "hmdb51/top1": 409.9, "thumos14/map": 469.3, "activitynet/top1": 477.4}),
    2: (3, {"ucf101/top1": 266.2, "ucf101/top5": 295.9, "hmdb51/top1": 180.3, "hmdb51/top5": 266.4}),
    3: (5, {"top1": 333.2, "clips": 31}),
    4: (4, {"map": 313.8, "clips": 52}),
    5: (8, {"map": 633.0, "clips": 104}),
    6: (12, {"top1": 913.7, "map": 972.1, "clips": 144}),
    7: (5, {"ucf101/top1": 460.3, "hmdb51/top1": 330.4, "clips": 31}),
}
OTHERS = {
    1: (0, {}),
    5: (10, {"map": 701.1, "clips": 25}),
    6: (7, {"top1": 530.1, "map": 556.1, "clips": 130}),
    7: (10, {"ucf101/top1": 920.5, "hmdb51/top1": 477.2, "clips": 175}),
}


def sums(rows, columns) -> dict[str, float]:
    """Return the sum of each column, rates in percent; entries that are no numbers are skipped."""
    found = {}
    for column in columns:
        values = [float(row[column]) for row in rows.values() if row.get(column, "-") not in ("-", "ALL")]
        found[column] = round(sum(values) * (1 if column == "clips" else 100), 1)
    return found


@pytest.mark.parametrize("number", OURS)
def test_the_papers_own_rows_add_up(number):
    count, expected = OURS[number]
    rows = paper_table(number)
    assert len(rows) == count
    assert sums(rows, expected) == expected


@pytest.mark.parametrize("number", OTHERS)
def test_the_rows_of_other_systems_add_up(number):
    count, expected = OTHERS[number]
    rows = literature(number)
    assert len(rows) == count
    assert sums(rows, expected) == expected
    assert not set(rows) & set(paper_table(number))


def test_single_rates_are_in_their_row_and_column():
    assert paper_table(1)["DSN-f"]["thumos14/map"] == 0.673
    assert paper_table(2)["1:6"]["hmdb51/top5"] == 0.886
    assert paper_table(5)["R(2+1)D & DSN (M = 1), FLOW"] == {"clips": 6, "map": 0.784}
    assert paper_table(6)["R(2+1)D-RGB & DSN (M = 1), 10 clips"] == {"clips": 10, "top1": 0.785, "map": 0.835}
    assert paper_table(7)["R3D-RGB & DSN (M = 3)"] == {"clips": 3, "ucf101/top1": 0.895, "hmdb51/top1": 0.616}
    assert literature(6)["MARL [64], ResNet-152, Kinetics"]["map"] == "0.835"
    assert "hmdb51/top1" not in literature(7)["P3D [62]"]
