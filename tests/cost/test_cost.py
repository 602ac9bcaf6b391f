"""dsn-cost: counts against torchvision's own, Tables III and IV, evaluation's rows, and times."""

import json
import multiprocessing
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn
from torchvision.models import get_model, get_model_weights

from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.commands import cli
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.cost import costs
from dsn_lightning.commands.cost_tables import ROWS, cost_table
from dsn_lightning.commands.evaluating import evaluate_trained
from dsn_lightning.commands.measuring import print_measured
from dsn_lightning.commands.networks import count_classifier, count_observation
from dsn_lightning.cost.macs import count_macs, count_parameters
from dsn_lightning.cost.speed import Speed, measure
from dsn_lightning.paper import paper_table
from helpers.synthetic import CLASSES, SyntheticData, composed, fresh


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("resnet18", (3, 224, 224)),
        ("mobilenet_v2", (3, 224, 224)),  # convolutions in groups
        ("vit_b_16", (3, 224, 224)),  # nn.MultiheadAttention
        ("r3d_18", (3, 16, 112, 112)),
        ("r2plus1d_18", (3, 16, 112, 112)),
        ("s3d", (3, 16, 224, 224)),
        ("swin3d_t", (3, 16, 224, 224)),  # attention in windows
        ("mvit_v2_s", (3, 16, 224, 224)),  # pooled attention
    ],
)
def test_counts_are_torchvisions(model, shape):
    with torch.device("meta"):
        network = get_model(model, weights=None)
    theirs = next(iter(get_model_weights(model))).meta
    assert count_macs(network, 1, *shape) / 1e9 == pytest.approx(theirs["_ops"], abs=6e-4)  # given to three places
    assert count_parameters(network) == theirs["num_params"]


class Attention(nn.Module):
    """torch's own attention of 4 heads over 16 places with 8 features, without any weights."""

    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_attention_and_recurrence_by_hand():
    assert count_macs(Attention(), 2, 4, 16, 8) == 2 * 4 * (16 * 16 * 8 + 16 * 16 * 8)
    assert count_macs(nn.LSTM(8, 8, batch_first=True), 2, 16, 8) == 2 * 16 * 4 * (8 * 8 + 8 * 8)


def test_a_counted_network_is_left_as_it_is():
    network = ResNet3D(2, stem_width=4, widths=(4, 4), blocks=(1, 1)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, 1, 3, 4, 16, 16)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # the peak, in Linux's kB


def _count_large_networks(answer) -> None:
    layer = nn.Linear(16384, 2048)  # 134 MB
    before = _megabytes()
    count_macs(layer, 1, 16384)
    after_a_layer = _megabytes()
    cfg = compose_anew("cost", "backbone=r2plus1d_34")  # 254 MB
    answer.send((after_a_layer - before, _megabytes() - after_a_layer, count_classifier(cfg).parameters))


def test_counting_takes_no_memory_for_weights():
    count_macs(nn.Linear(2, 2), 1, 2)  # what torch imports for it
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_count_large_networks, args=(sender,))
    process.start()
    sender.close()
    assert receiver.poll(120), "the child has ended without an answer"
    layer, classifier, parameters = receiver.recv()
    process.join()
    assert parameters > 63e6
    assert layer < 40
    assert classifier < 40


def test_the_papers_networks():
    """20.348, 152.36, 1.932 and, of flow, 1.853: torchvision's layers with the mid-widths of IG-65M's checkpoints."""
    cfg = compose_anew("cost", "backbone=r3d_18")
    assert count_classifier(cfg).macs / 1e9 == pytest.approx(20.348, abs=1e-3)
    assert count_observation(cfg, 3).macs / 1e9 == pytest.approx(1.932, abs=1e-3)
    cfg.dataset.modality = "flow"
    assert count_observation(cfg, 3).macs / 1e9 == pytest.approx(1.853, abs=1e-3)
    cfg = compose_anew("cost", "backbone=r2plus1d_34")
    assert count_classifier(cfg).macs / 1e9 == pytest.approx(152.36, abs=1e-2)
    assert count_observation(cfg, 3).macs / 1e9 == pytest.approx(1.932, abs=1e-3)  # the middle 8 of 32 frames


@pytest.mark.parametrize("number", [3, 4])
def test_every_row_is_within_half_a_percent_of_the_papers(number):
    rows = cost_table(number)
    assert [row.row for row in rows] == list(paper_table(number)) == list(ROWS[number])
    for row in rows:
        assert row.clips == paper_table(number)[row.row]["clips"]
        assert row.gmacs == pytest.approx(row.gmacs_classifier + row.gmacs_observation)
        assert 0.995 <= row.ratio <= 1.005
    implied = {row.row: row.paper_sampler_gmacs for row in rows if row.N}
    assert implied["R(2+1)D & DSN (M = 1)"] == pytest.approx(1.64)
    assert implied["R3D & DSN (M = 3)"] == pytest.approx(1.9356, abs=1e-4)


class Command:
    """dsn-cost in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, expect: int = 0) -> tuple[str, str]:
        self.monkeypatch.setattr(sys, "argv", ["dsn-cost", *arguments])
        code = 0
        try:
            cli.cost()
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


def test_evaluations_rows_carry_the_same_counts(command, tmp_path):
    settings = ("M=2", "N=3", "dataset.reading.dense_clips=5")
    cfg = composed(*settings)
    cfg.test.crops = 1
    given = {
        "dsn": fresh(cfg, tmp_path / "dsn.ckpt"),
        "baseline": fresh(composed(*settings, "algorithm=baseline"), tmp_path / "baseline.ckpt"),
    }
    data = SyntheticData("rgb", cfg, num_videos=2)
    evaluate_trained(given, cfg, data, tmp_path / "run", device=torch.device("cpu"), announce=False)
    theirs = {r["selection"]: r for r in json.loads((tmp_path / "run" / "results.json").read_text())}
    command_line = [*TINY, "M=2", "N=3", "dense_clips=[5]", f"num_classes={len(CLASSES)}", "format=json"]
    command.capsys.readouterr()
    ours = json.loads(command(*command_line)[0])["rows"]
    assert {row["selection"] for row in ours} == {"dense", "uniform", "dsn"}
    for row in ours:
        for key in ("clips", "gmacs_classifier", "gmacs_observation", "gmacs"):
            assert row[key] == theirs[row["selection"]][key], (row["selection"], key)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table=5"], "table=5: the paper's tables of costs are 3 and 4"),
        (["table=3", "M=3"], "table=3: has the paper's own networks and schemes; leave out M=3"),
        (["format=xml"], "format=xml: must be text or json"),
        (["M=[1,0]"], "M=0: must be a whole number of at least 1"),
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
def test_what_makes_no_sense_gets_one_line(command, arguments, message):
    out, err = command(*arguments, expect=2)
    assert out == ""
    assert err.startswith("dsn-cost: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_share_of_peak_by_hand():
    """Runs at 2 and 4 GMAC/s between products at 8, 8 and 4: shares of 2/8 and 4/6."""
    speed = Speed(np.array([2.0, 1.0]), macs=4 * 10**9, clips=3, peaks=np.array([8e9, 8e9, 4e9]))
    found = speed.summary()
    assert found["seconds"] == 1.5
    assert found["clips_per_second"] == 2
    assert found["gmacs_per_second"] == pytest.approx(4 / 1.5)
    assert found["peak_gmacs_per_second"] == 8
    assert found["share_of_peak"] == pytest.approx((2 / 8 + 4 / 6) / 2)


class Witness(nn.Module):
    """Writes down how it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.seen: list[tuple[torch.dtype, bool, bool]] = []

    def forward(self, x):
        out = self.layer(x)
        self.seen.append((out.dtype, self.training, torch.is_inference_mode_enabled()))
        return out


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_networks_are_timed_as_they_are_tested(precision, dtype):
    network = Witness()
    before = torch.backends.cuda.matmul.fp32_precision
    speed = measure(network, torch.rand(8, 64), macs=8 * 64 * 64, clips=8, precision=precision, repeats=3, warm_up=1)
    assert len(speed.seconds) == 3
    assert len(speed.peaks) == 4
    assert min(speed.seconds) > 0
    assert len(network.seen) >= 4
    assert set(network.seen) == {(dtype, False, True)}
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_times_of_both_networks(command):
    arguments = (*TINY, "measure=true", "repeats=2", "batch_size=2", "N=3", "device=cpu", "format=json")
    found = json.loads(command(*arguments)[0])
    assert [n["network"] for n in found["measured"]["networks"]] == ["classifier", "observation"]
    assert found["measured"]["threads"] == torch.get_num_threads()
    for own, counted in zip(found["measured"]["networks"], found["networks"], strict=True):
        clips = 2 * (counted["N"] or 1)
        assert own["clips_at_once"] == clips
        assert own["clips_per_second"] * own["seconds"] == pytest.approx(clips)
        assert own["gmacs_per_second"] == pytest.approx(counted["gmacs"] * own["clips_per_second"])
        assert own["share_of_peak"] > 0
    print_measured(found["measured"], Console(width=110))
    assert "share of peak" in command.capsys.readouterr().out


def test_nothing_is_measured_unasked():
    assert costs(compose_anew("cost", *TINY))["measured"] is None
