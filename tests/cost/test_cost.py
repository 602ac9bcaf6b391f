"""dsn-cost: tables, grids of schemes, evaluation's rows, times and refusals."""

import json
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dsn_lightning.cli import cost
from dsn_lightning.cli.cost_recipe import costs, print_measured
from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from dsn_lightning.config.compose import compose_anew
from dsn_lightning.config.cost_settings import CostSettings
from dsn_lightning.paper import paper_table
from helpers.synthetic import CLASSES, SyntheticData, composed, fresh


class Command:
    """dsn-cost in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, expect: int = 0) -> tuple[str, str]:
        self.monkeypatch.setattr(sys, "argv", ["dsn-cost", *arguments])
        code = 0
        try:
            cost.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.capsys.readouterr()
        assert code == expect, out + err
        return out, err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch, capsys)


def test_a_table_as_json_and_as_text(command, tmp_path):
    rows = json.loads(command("table=4", "format=json")[0])
    assert [row["row"] for row in rows] == list(paper_table(4))
    assert [row["paper_gmacs"] for row in rows] == [407.2, 157.0, 3057.6, 946.8]
    text = command("table=3")[0]
    assert all(name in text for name in paper_table(3))
    assert "(631.2 - 4 * 152.88) / 12 = 1.640 G; ours 1.932" in text
    assert "multiply-adds" in text
    assert list(tmp_path.iterdir()) == []


TINY = ("backbone=r3d_tiny", "observation=r2d_tiny")


def test_a_grid_of_schemes(command):
    found = json.loads(command(*TINY, "M=[1,6]", "N=[2,3]", "test.crops=3", "format=json")[0])
    classifier = found["networks"][0]["gmacs"]
    sampler = {n["N"]: n["gmacs"] for n in found["networks"][1:]}
    assert set(sampler) == {2, 3}
    dsn = {(row["M"], row["N"]): row for row in found["rows"] if row["selection"] == "dsn"}
    assert set(dsn) == {(1, 2), (1, 3), (6, 2), (6, 3)}
    for (m, n), row in dsn.items():
        assert row["gmacs"] == pytest.approx(m * 3 * classifier + m * n * sampler[n])
        assert row["share_of_dense"]["20"] == pytest.approx(row["gmacs"] / (20 * 3 * classifier))


@pytest.mark.parametrize("nothing", ["observation=null", "observation=none", "~observation"])
def test_a_classifier_alone(command, nothing):
    found = json.loads(command("backbone=r3d_tiny", nothing, "dense_clips=[5]", "format=json")[0])
    assert [n["role"] for n in found["networks"]] == ["classifier"]
    assert [(row["selection"], row["clips"]) for row in found["rows"]] == [("dense", 5), ("uniform", 6)]


def test_rows_of_an_evaluation_have_the_same_counts(command, tmp_path):
    overrides = ("M=2", "N=3", "dataset.reading.dense_clips=5", "test.crops=1", f"run_dir={tmp_path}/run")
    settings = composed(*overrides)
    given = {
        "dsn": fresh(settings, tmp_path / "dsn.ckpt"),
        "baseline": fresh(composed(*overrides, "algorithm=baseline"), tmp_path / "baseline.ckpt"),
    }
    data = SyntheticData("rgb", settings, num_videos=2)
    evaluate_trained(given, settings, data, device=torch.device("cpu"))
    theirs = {r["selection"]: r for r in json.loads((tmp_path / "run" / "results.json").read_text())}
    command_line = [*TINY, "M=2", "N=3", "dense_clips=[5]", f"num_classes={len(CLASSES)}", "format=json"]
    command.capsys.readouterr()
    ours = json.loads(command(*command_line)[0])["rows"]
    assert {row["selection"] for row in ours} == {"dense", "uniform", "dsn"}
    for row in ours:
        for key in ("clips", "gmacs_classifier", "gmacs_observation", "gmacs"):
            assert row[key] == theirs[row["selection"]][key], (row["selection"], key)


def test_attention_among_all_clips_of_a_video_is_counted_for_each_m(command, tmp_path):
    """A network trained at 2:3 and tested at 1:2 and 4:2."""
    overrides = ("observation=r2d_tiny_transformer", "M=2", "N=3", f"run_dir={tmp_path}/run")
    given = {"dsn": fresh(composed(*overrides), tmp_path / "dsn.ckpt")}
    settings = composed(*overrides, "test.M=[1,4]", "test.N=2", "test.random_draws=2", "test.figures=false")
    data = SyntheticData("rgb", settings, num_videos=2)
    evaluate_trained(given, settings, data, device=torch.device("cpu"))
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    theirs = {row["M"]: row["gmacs_observation"] for row in rows if row["selection"] == "dsn"}
    command.capsys.readouterr()
    grid = ["M=[1,4]", "N=2", f"num_classes={len(CLASSES)}", "format=json"]
    ours = {}
    for observation in ("r2d_tiny_transformer", "r2d_tiny_shared"):
        found = json.loads(command("backbone=r3d_tiny", f"observation={observation}", *grid)[0])
        rows = [row for row in found["rows"] if row["selection"] == "dsn"]
        ours[observation] = {row["M"]: row["gmacs_observation"] for row in rows}
        assert found["networks"][1]["gmacs"] == ours[observation][4] / 8
    assert theirs == ours["r2d_tiny_transformer"]
    # 2 layers of attention between K clips, 2 products of W = 32; their other layers and the time, D = 32 features;
    # the shared scorer has D multiply-adds
    head = {k: k * (32 * 32 + 2 * (2 * k * 32 + 4 * 32 * 32 + 2 * 32 * 64) + 12 * 32 + 32 - 32) for k in (2, 8)}
    for m, count in ((1, head[2]), (4, head[8])):
        more = theirs[m] - ours["r2d_tiny_shared"][m]
        assert more * 1e9 == pytest.approx(count, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table=5"], "table=5: must be 3 or 4, the paper's tables of costs"),
        (["table=3", "M=3"], "table=3: has the paper's own networks and schemes; leave out M=3"),
        (["format=xml"], "format=xml: must be text or json"),
        (["M=[1,0]"], "M=[1,0]: must be a whole number of at least 1, or a list"),
        (["N=[]"], "N=[]: give at least one number"),
        (["num_classes=0.5"], "num_classes=0.5: must be a whole number of at least 1"),
        (["test.crops=2"], "test.crops=2: must be 1"),
        (["dataset.modality=sound"], "dataset.modality=sound: must be rgb or flow"),
        (["measure=true", "precision=8"], "precision=8: must be one of 32-true, bf16-mixed"),
        (["measure=true", "device=tpu"], "device=tpu: must be auto, cpu or cuda"),
        (["backbone=torchvision", "backbone.model=nothing"], "model=nothing: torchvision has no such classifier"),
        (
            ["backbone=torchvision", "backbone.model=mvit_v2_s", "backbone.crop_size=112"],
            "backbone=mvit_v2_s: does not take clips of 16 frames of 112x112 pixels",
        ),
        (["backbone.frames_per_clip=5"], "clips of 5 frames are too short"),
    ],
)
def test_wrong_arguments_get_one_line(command, arguments, message):
    out, err = command(*arguments, expect=2)
    assert out == ""
    assert err.startswith("dsn-cost: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_times_of_both_networks(command):
    arguments = (*TINY, "measure=true", "repeats=2", "batch_size=2", "N=3", "device=cpu", "format=json")
    found = json.loads(command(*arguments)[0])
    assert [n["network"] for n in found["measured"]["networks"]] == ["classifier", "observation"]
    assert found["measured"]["threads"] == torch.get_num_threads()
    for timed, counted in zip(found["measured"]["networks"], found["networks"], strict=True):
        clips = 2 * (counted["N"] or 1)
        assert timed["clips_at_once"] == clips
        assert timed["clips_per_second"] * timed["seconds"] == pytest.approx(clips)
        assert timed["gmacs_per_second"] == pytest.approx(counted["gmacs"] * timed["clips_per_second"])
        assert timed["share_of_peak"] > 0
    print_measured(found["measured"], Console(width=110))
    assert "share of peak" in command.capsys.readouterr().out


def test_nothing_is_measured_by_default():
    assert costs(CostSettings.of(compose_anew("cost", *TINY)))["measured"] is None
