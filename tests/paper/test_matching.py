"""Which rows of the paper our results belong to."""

import pytest

from dsn_lightning.paper import lines_of, paper_table
from dsn_lightning.paper.matching import NUMERALS, paper_figures
from helpers.report_files import reference_row, row_of


def test_every_row_of_tables_1_to_6_is_matched():
    """R3D-RGB & TSN in Tables V and VI: dense clips of a classifier that was trained with 6 sections."""
    matched = {(int(line["table"]), line["row"]) for line in lines_of("matching.csv")}
    assert matched == {(table, row) for table in NUMERALS for row in paper_table(table)}


THUMOS = {"dataset": "thumos14", "split": None, "M": 6, "train_M": 6, "clips": 6}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (row_of(), [("Table I, DSN", "top1", 0.595)]),
        (row_of(split=None), [("Table I, DSN", "top1", 0.595)]),
        (row_of(M=3, clips=3), [("Table II, 1:3", "top1", 0.596), ("Table II, 1:3", "top5", 0.88)]),
        (row_of(M=4, clips=4), [("Table III, R3D & DSN (M = 1)", "top1", 0.609)]),
        (row_of(**THUMOS), [("Table I, DSN", "map", 0.726), ("Table V, R3D-RGB & DSN (M = 6)", "map", 0.752)]),
        (
            row_of(**THUMOS | {"backbone": "r2plus1d_34", "train_M": 1, "modality": "flow"}),
            [("Table V, R(2+1)D & DSN (M = 1), FLOW", "map", 0.784)],
        ),
        (reference_row("oracle"), [("Table I, Oracle sampling", "top1", 0.668)]),
        (row_of(top1=None), []),
        (row_of(split=2), []),
        (row_of(crops=3), []),
        (row_of(modality="flow"), []),
        (row_of(classifier="baseline"), []),
        (row_of(train_N=6), []),
        (reference_row(clips=20), []),
        (row_of(dataset="needle"), []),
    ],
)
def test_a_result_has_the_figures_of_its_row(result, expected):
    assert [(one.place, one.figure, one.value) for one in paper_figures(result)] == expected


@pytest.mark.parametrize("modality", ["rgb+flow", "flow+rgb"])
def test_a_fusion_matches_in_either_order(modality):
    fused = row_of(**THUMOS | {"backbone": "r2plus1d_34", "train_M": 1, "modality": modality})
    assert [one.row for one in paper_figures(fused)] == ["R(2+1)D & DSN (M = 1), RGB+FLOW"]


def test_other_networks_are_named_only_where_no_row_has_them():
    (figure,) = paper_figures(row_of(backbone="mobilenet_v2"))
    assert (figure.place, figure.networks) == ("Table I, DSN", "R3D-18, ResNet2D-18")
    (figure,) = paper_figures(reference_row(backbone="r2plus1d_34", clips=10))
    assert (figure.place, figure.networks) == ("Table III, R(2+1)D", "")
