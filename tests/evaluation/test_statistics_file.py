"""Comparisons of stored evaluations as plain data."""

import json

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.statistics_file import compare_runs, pairs
from dsn_lightning.evaluation.study import RATES
from helpers.clip_scores import scored
from helpers.evaluations import write_evaluations


@pytest.fixture
def folders(tmp_path):
    """Two evaluations on disk, of two seeds."""
    return write_evaluations(tmp_path)


def test_folders_are_compared_over_seeds(folders):
    selections = scored(0)[2]
    statistics = json.loads(json.dumps(compare_runs(folders, selections, number=200), allow_nan=False))
    assert statistics["about"]["seeds"] == [0, 1]
    rows = [json.loads((folder / "results.json").read_text()) for folder in folders]
    methods = {method["selection"]: method for method in statistics["methods"]}
    assert {name: method["kind"] for name, method in methods.items()} == {
        "random": "reference",
        "uniform": "reference",
        "dsn": "learned",
        "dense": "reference",
        "oracle": "upper_bound",
    }
    for position, row in enumerate(rows[0]):
        for figure in RATES:
            seeds = [rows[0][position][figure], rows[1][position][figure]]
            assert methods[row["selection"]][figure]["seeds"] == pytest.approx(seeds, abs=1e-6)
    (entry,) = statistics["headroom"]
    assert set(entry["figures"]["map"]) == {"uniform", "oracle", "dense", "surest"}
    names = [(d["method"]["selection"], d["other"]["selection"]) for d in statistics["differences"]]
    assert names[:3] == [("dsn", "dense"), ("dsn", "uniform"), ("dsn", "random")]
    assert not any("oracle" in pair for pair in names)
    pair = statistics["differences"][1]
    assert pair["same_classifier"]
    assert pair["top1"]["value"] == pytest.approx(methods["dsn"]["top1"]["value"] - methods["uniform"]["top1"]["value"])
    table = comparison_table.differences_table(statistics, comparison_table.main_differences(statistics))
    assert comparison_table.points(pair["top1"]) in table.markdown()
    assert [row[2] for row in table.rows] == ["dense", "uniform"]
    assert sum(map(sum, statistics["confusion"]["counts"])) == 48


ALL = ("random", "uniform", "max_response", "dsn_fixed", "dsn", "dense")  # the order of the configuration
KINDS = dict.fromkeys(ALL, "reference") | dict.fromkeys(("max_response", "dsn_fixed", "dsn"), "learned")


def test_later_methods_come_first_and_references_last():
    kinds = {Method(name, "baseline", 1, 3): KINDS[name] for name in ALL}
    firsts = dict.fromkeys(first.selection for first, _ in pairs(kinds))
    assert [*firsts] == ["dsn", "dsn_fixed", "max_response", "dense", "uniform"]


def test_the_order_is_that_of_the_training_with_most_methods():
    kinds = {Method("uniform", "dsn", 1, 3): "reference", Method("dsn", "dsn", 1, 3): "learned"}
    kinds |= {Method(name, "control:baseline", 1, 3): KINDS[name] for name in ALL}
    firsts = dict.fromkeys(first.selection for first, _ in pairs(kinds))
    assert [*firsts] == ["dsn", "dsn_fixed", "max_response", "uniform", "dense"]  # a control's references are last


def test_another_trainings_dense_clips_are_compared_at_any_scheme():
    """Tables V and VI: dense clips are evaluated with the baseline's M:N, DSN with 6:3 and 10:3."""
    learned = [Method("dsn", "dsn", m, 3) for m in (6, 10)]
    dense = [Method("dense", "tsn:baseline", 1, 3), Method("dense", "flow:baseline", 1, 3)]

    def pairs_of(*methods: Method) -> list[tuple[Method, Method]]:
        return pairs({method: KINDS[method.selection] for method in methods})

    assert pairs_of(*learned, *dense) == [*((own, other) for own in learned for other in dense), tuple(dense)]
    same_scheme = Method("dense", "tsn:baseline", 6, 3)
    assert pairs_of(learned[0], dense[0], same_scheme) == [(learned[0], same_scheme)]
    ours, uniform = Method("dense", "baseline", 6, 3), Method("uniform", "baseline", 6, 3)
    assert pairs_of(ours, dense[0], uniform) == [(uniform, ours)]


def test_what_cannot_be_compared_is_named(folders):
    selections = [selection for selection in scored(0)[2] if selection.name != "random"]
    rows = json.loads((folders[0] / "results.json").read_text())
    rows.append({**rows[0], "selection": "uniform", "M": 3})  # whose positions were not scored
    (folders[0] / "results.json").write_text(json.dumps(rows))
    left_out = compare_runs(folders[:1], selections, number=100)["about"]["left_out"]
    assert left_out == [
        "random (baseline's classifier), 2:2: its selection method was not requested or is unknown",
        "uniform (baseline's classifier), 3:2: the scores of its clips are not stored; were its settings different?",
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "clip_scores.npz").unlink(), "seed1: no clip_scores.npz; give the folder of a run"),
        (lambda folder: (folder / "clip_scores.npz").write_bytes(b"junk"), "cannot be read as an evaluation"),
        (lambda folder: (folder / "results.json").write_text("{"), "cannot be read as an evaluation"),
    ],
)
def test_a_folder_that_cannot_be_read_gets_one_line(folders, damage, message):
    damage(folders[1])
    with pytest.raises(UsageError) as error:
        compare_runs(folders, scored(0)[2], number=100)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
