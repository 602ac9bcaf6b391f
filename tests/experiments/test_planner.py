"""Which trainings and evaluations a table needs, and with which settings."""

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.shared_trainings import shared_settings
from dsn_lightning.errors import UsageError
from helpers.table_process import definition
from reproduce.planner import Planner


def test_the_baseline_is_the_one_that_auto_trains(tmp_path):
    planner = Planner(definition("table1"), ["dataset=hmdb51", f"dataset.root={tmp_path}"], output=tmp_path)
    part = planner.part(0, None)
    auto = shared_settings(part.settings["dsn"], "baseline")
    assert auto.run_dir == str(part.trainings["baseline"].folder)
    assert part.settings["dsn_fixed"].schedule.max_epochs == 70 - 23
    assert part.settings["control"].algorithm.warmup_epochs == 70


def test_an_algorithms_key_applies_to_the_rows_that_have_it(tmp_path):
    overrides = ["dataset=hmdb51", f"dataset.root={tmp_path}", "algorithm.exploration=0.1"]
    settings = Planner(definition("table1"), overrides, output=tmp_path).part(0, None).settings
    assert {name: one.plain["algorithm"].get("exploration") for name, one in settings.items()} == {
        "baseline": None,
        "dsn": 0.1,
        "dsn_fixed": 0.1,
        "control": 0.1,
    }


@pytest.mark.slow
def test_flow_trainings_take_overrides_of_their_own(tmp_path):
    overrides = [
        "dataset=hmdb51",
        f"dataset.root={tmp_path}",
        "schedule.lr=0.01",
        "algorithm.exploration=0.05",
        "flow.schedule.lr=0.002",
        "flow.algorithm.exploration=0.1",
    ]
    planner = Planner(definition("table6"), overrides, output=tmp_path)
    for seed in (0, 1):
        part = planner.part(seed, None)
        assert {name: one.schedule.lr for name, one in part.settings.items()} == {
            name: 0.002 if "flow" in name else 0.01 for name in part.settings
        }
        explored = {name: one.plain["algorithm"]["exploration"] for name, one in part.settings.items() if "dsn" in name}
        assert explored == {"r3d_dsn_6": 0.05, "r2plus1d_dsn": 0.05, "r2plus1d_dsn_flow": 0.1}
        arguments = part.trainings["r2plus1d_dsn_flow"].arguments
        assert "schedule.lr=0.002" in arguments
        assert not any(o.startswith("flow.") or o == "schedule.lr=0.01" for o in arguments)
    group = ["schedule.lr=0.05", "schedule.max_epochs=3", "flow.schedule=tiny", "flow.schedule.max_epochs=2"]
    settings = Planner(definition("table6"), group, output=tmp_path).part(0, None).settings
    assert [(settings[n].schedule.lr, settings[n].schedule.max_epochs) for n in ("r2plus1d", "r2plus1d_flow")] == [
        (0.05, 3),
        (settings_of("schedule=tiny", "run_dir=none").schedule.lr, 2),
    ]
    with pytest.raises(UsageError, match=r"flow\.algorithm\.such=1: no flow training of this table has this key"):
        Planner(definition("table6"), ["flow.algorithm.such=1"], output=tmp_path).part(0, None)


@pytest.mark.parametrize(
    ("row", "trained", "evaluated"),
    [
        ("Baseline (uniform)", ["baseline"], ["baseline"]),
        ("Max response", ["max response of dsn", "baseline"], ["baseline", "max response of dsn"]),
        ("DSN-f", ["max response of dsn", "baseline", "dsn_fixed"], ["baseline", "dsn_fixed"]),
        ("DSN", ["max response of dsn", "dsn"], ["dsn"]),
        ("Uniform, control's classifier", ["control"], ["control"]),
    ],
)
def test_only_the_trainings_that_a_wanted_row_needs_are_planned(row, trained, evaluated, tmp_path):
    table = definition("table1")
    rows = [candidate for candidate in table.rows if candidate.name == row]
    planner = Planner(table, ["dataset=hmdb51", f"dataset.root={tmp_path}"], output=tmp_path, rows=rows)
    part = planner.part(0, None)
    assert [command.name for command in planner.trainings(part)] == [f"seed 0 {name}" for name in trained]
    evaluation = planner.planned_evaluation(part, str(rows[0].evaluation))
    assert evaluation is not None
    assert [*evaluation.after] == [f"seed 0 {name}" for name in evaluated]
