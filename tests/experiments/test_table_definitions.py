"""The tables' rows are the paper's, and the files in conf/experiment configure them as the paper does."""

from pathlib import Path

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.settings import Settings
from dsn_lightning.paper import literature, paper_table
from helpers.table_process import TABLES, definition

CONF = Path(__file__).resolve().parents[2] / "conf" / "experiment"
ROWS = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))


def scheme_of(settings: Settings) -> list:
    """M and N of the training, M and N of the test."""
    return [settings.M, settings.N, [*settings.test.M], settings.test.N]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_composes(row):
    settings = settings_of(f"experiment={row}", "run_dir=none")
    if row.startswith(("table", "fig", "paper")):
        if row == "paper/kinetics_r2d_18":  # what a sampler starts from
            assert (settings.weights, settings.backbone.name, settings.dataset.name) == (
                "imagenet",
                "r2d_18",
                "kinetics",
            )
            return
        assert (settings.weights, settings.test.enabled) == ("kinetics400", False)
        assert settings.observation_weights == "imagenet" or row == "table1/control"  # which never uses it
        assert settings.backbone.name == ("r2plus1d_34" if "r2plus1d" in row else "r3d_18")
        assert (
            settings.schedule.max_epochs == {"r3d_18": 70, "r2plus1d_34": 120}[settings.backbone.name] or "fixed" in row
        )
        assert settings.observation.name == "r2d_18"


def test_a_group_on_the_command_line_overrides_the_rows():
    given = ["dataset=activitynet", "backbone=mobilenet_v2", "schedule.max_epochs=8"]
    for row in ("table1/dsn", "table3/r2plus1d_dsn", "table4/r3d_dsn_3"):
        settings = settings_of(f"experiment={row}", *given, "run_dir=none")
        assert (settings.dataset.name, settings.backbone.name, settings.observation.name) == (
            "activitynet",
            *["mobilenet_v2"] * 2,
        )
        assert (settings.schedule.max_epochs, settings.schedule.batch_size, settings.algorithm.warmup_epochs) == (
            8,
            8,
            3,
        )


def test_a_sampler_that_is_never_used_asks_for_no_file_of_its_own():
    """MobileNetV2's frozen blocks are the classifier's; random ones are refused. The paper's row needs no ResNet-18."""
    small = settings_of("experiment=table1/control", "backbone=mobilenet_v2", "weights=PATH", "run_dir=none")
    assert (small.weights, small.observation_weights) == ("PATH", "PATH")
    assert settings_of("experiment=table1/control", "run_dir=none").observation_weights is None


@pytest.mark.parametrize(("dataset", "sections"), [("ucf101", 1), ("hmdb51", 1), ("thumos14", 6), ("activitynet", 6)])
def test_table_1_is_trained_1_to_3_or_6_to_3(dataset, sections):
    settings = settings_of("experiment=table1/dsn", f"dataset={dataset}", "run_dir=none")
    assert scheme_of(settings) == [sections, 3, [sections], 3]


@pytest.mark.parametrize(
    ("row", "scheme"),
    [
        ("table2/dsn_1x6", (1, 6, [3], 6)),
        ("table3/r3d_dsn_1", (1, 3, [4], 3)),
        ("table3/r3d_dsn_3", (3, 3, [3], 3)),
        ("table4/r3d_dsn_3", (3, 3, [6], 3)),
        ("table5/r2plus1d_dsn", (1, 3, [6], 3)),
        ("table6/r3d_dsn_6", (6, 3, [6, 10], 3)),
        ("table7/r2plus1d_dsn", (1, 3, [4], 3)),
    ],
)
def test_each_table_has_the_schemes_of_the_paper(row, scheme):
    settings = settings_of(f"experiment={row}", "run_dir=none")
    assert scheme_of(settings) == [*scheme]


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_those_of_the_paper(name):
    table = definition(name)
    others = literature(table.number)
    rows = [row.name for row in table.measured_rows if not row.extra]
    assert rows == list(paper_table(table.number))
    assert [row.name for row in table.rows if not row.evaluation] == list(others)
    assert {*table.runs()} == {path.stem for path in (CONF / name).glob("*.yaml")}
    assert {row.evaluation for row in table.rows} - {None} | {
        stream for e in table.evaluations.values() for stream in e.fusion
    } == set(table.evaluations)
    metrics = {key for figures in paper_table(table.number).values() for key in figures} - {"clips", "gmacs"}
    expected = {(d, m) for d, shown in table.datasets.items() for m in shown}
    several = len(table.datasets) > 1
    assert metrics == ({f"{d}/{m}" for d, m in expected} if several else {m for _, m in expected})
