"""dsn-export: the files compute what the checkpoint's networks do, and run in a program that has no PyTorch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conftest import write_video
from dsn_lightning import DSN
from dsn_lightning.algorithms import dsn
from dsn_lightning.backbones import ResNet3D, TorchvisionNetwork
from dsn_lightning.errors import UsageError
from dsn_lightning.observations import ObservationNetwork, SharedObservation, VideoObservation
from dsn_lightning.prediction import exported
from dsn_lightning.prediction.exported import export_model
from dsn_lightning.rewards.correct_class import CorrectClass
from helpers.processes import call
from helpers.small_videos import moving

ROOT = Path(__file__).resolve().parents[2]
CLIP = (3, 4, 32, 32)


@pytest.fixture(scope="module")
def folder(dsn_run: Path, tmp_path_factory) -> Path:
    """The run of the fixture as ONNX."""
    cwd = tmp_path_factory.mktemp("export")
    done = call("dsn-export", f"checkpoint={dsn_run}", "output=exported", cwd=cwd)
    assert re.search(r"^observation: differs by at most \d\.\de-\d+ from the checkpoint's network$", done.stdout, re.M)
    assert done.stdout.endswith("written: exported\n")
    assert done.stderr == ""
    return cwd / "exported"


def networks(classifier: nn.Module, observation: ObservationNetwork) -> dsn.DSN:
    """A DSN of these networks whose policies and answers differ from clip to clip."""
    model = dsn.DSN(
        classifier,
        observation,
        sampler_optimizer=None,
        classifier_optimizer=None,
        reward=CorrectClass(gamma=0.5),
        schedule=None,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.1),
    )
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.3)
    return model.eval()


def small(num_classes: int) -> ResNet3D:
    return ResNet3D(num_classes, stem_width=4, widths=(4,), blocks=(1,))


def test_the_record_says_how_to_feed_the_files(folder, dsn_run):
    record = json.loads((folder / "export.json").read_text())
    size = record["crop_size"]
    assert sorted(path.name for path in folder.iterdir()) == ["classifier.onnx", "export.json", "observation.onnx"]
    assert record["networks"] == {
        "observation": {
            "file": "observation.onnx",
            "input": {"name": "clips", "type": "uint8", "shape": ["videos", "sections", 2, 3, 8, size, size]},
            "output": {"name": "logits", "type": "float32", "shape": ["videos", "sections", 2]},
        },
        "classifier": {
            "file": "classifier.onnx",
            "input": {"name": "clips", "type": "uint8", "shape": ["clips", 3, 8, size, size]},
            "output": {"name": "logits", "type": "float32", "shape": ["clips", len(record["classes"])]},
        },
    }
    model = DSN.from_pretrained(dsn_run)
    assert record["classes"] == model.classes
    named = "format", "M", "N", "T", "stride", "placement", "fps", "resize", "consensus"
    assert [record[key] for key in named] == ["onnx", 2, 2, 8, 1, "starts", None, "squash", "probabilities"]
    for key in ("mean", "std"):
        np.testing.assert_allclose(255 * np.array(record[key]), getattr(model.network, key).flatten(), rtol=1e-6)


def check_documented_program(exported: Path, model: DSN, videos: list[str], tmp_path: Path) -> None:
    """The program of docs/exporting.md answers as ``model`` does, without PyTorch and without this package."""
    page = (ROOT / "docs" / "exporting.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "program.py"
    file.write_text(program)
    without = "import runpy, sys; sys.modules.update(torch=None, dsn_lightning=None); sys.argv = sys.argv[1:]; "
    for video in videos:
        command = [sys.executable, "-c", without + "runpy.run_path(sys.argv[0])", str(file), str(exported), video]
        label, score, starts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        expected = model.predict(video)
        assert label == expected.label
        assert score == pytest.approx(expected.score, abs=1e-5)
        assert starts == [clip.start_frame for clip in expected.clips if clip.selected]


def test_the_documented_program_answers_as_predict_without_pytorch(folder, dsn_run, dsn_videos, tmp_path):
    check_documented_program(folder, DSN.from_pretrained(dsn_run), dsn_videos[:3], tmp_path)


def test_the_documented_program_keeps_the_aspect_ratio_and_resamples(dsn_run, tmp_path):
    saved = DSN.from_pretrained(dsn_run).save_pretrained(tmp_path / "saved")
    record = json.loads((saved / "config.json").read_text())
    record["config"]["dataset"]["fps"] = 10
    record["config"]["dataset"]["reading"]["resize"] = "short_side"
    (saved / "config.json").write_text(json.dumps(record))
    call("dsn-export", f"checkpoint={saved}", "output=exported", cwd=tmp_path)
    videos = [str(tmp_path / f"{count}.mp4") for count in (5, 90)]  # the first is shorter than a clip
    for video in videos:
        write_video(Path(video), moving(int(Path(video).stem)))
    check_documented_program(tmp_path / "exported", DSN.from_pretrained(saved), videos, tmp_path)


def test_torch_export_of_a_run(dsn_run, tmp_path):
    call("dsn-export", f"checkpoint={dsn_run}", "format=torch_export", "output=new/exported", cwd=tmp_path)
    folder = tmp_path / "new" / "exported"
    record = json.loads((folder / "export.json").read_text())
    model = DSN.from_pretrained(dsn_run, device="cpu").network
    clips = torch.randint(0, 256, (5, *record["networks"]["classifier"]["input"]["shape"][1:]), dtype=torch.uint8)
    run = torch.export.load(folder / record["networks"]["classifier"]["file"]).module()
    with torch.no_grad():
        torch.testing.assert_close(run(clips), model.classify(clips), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_an_observation_network_that_sees_single_frames_of_the_whole_video(form, tmp_path):
    trunk = TorchvisionNetwork(5, model="squeezenet1_1", num_frames=1)
    model = networks(small(5), VideoObservation(trunk))
    found = export_model(model, tmp_path / "out", form, clip=CLIP, clips_per_section=3, record={})
    assert found.keys() == {"observation", "classifier"}
    assert max(found.values()) <= 1e-4
    record = json.loads((tmp_path / "out" / "export.json").read_text())["networks"]["observation"]
    assert record["input"]["shape"] == ["videos", "sections", 3, 3, 1, 32, 32]


class Forgetful(nn.Module):
    """A classifier that computes something else in a graph."""

    in_channels, num_features, head, stacked_frames, frozen_blocks = 3, 1, "fc", 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, clips):
        return self.fc(clips.mean((2, 3, 4))) + (0.01 if torch.compiler.is_exporting() else 0)


class Undecided(Forgetful):
    """A classifier whose way depends on what it sees."""

    def forward(self, clips):
        return self.fc(clips.mean((2, 3, 4))) * (2 if clips.mean() > 0 else 1)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (Forgetful, "the classifier network computes something else as a file: expected a difference of at most"),
        (Undecided, "the classifier network cannot be exported"),
    ],
)
def test_a_network_that_becomes_another_one_is_refused(classifier, message, tmp_path):
    model = networks(classifier(), SharedObservation(small(0)))
    with pytest.raises(UsageError, match=f"format=torch_export: {message}"):
        export_model(model, tmp_path / "out", "torch_export", clip=CLIP, clips_per_section=3, record={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checkpoint=RUN"], "output=null: give output=PATH"),
        (["output=x"], "checkpoint=null: give checkpoint=PATH"),
        (["checkpoint=RUN", "output=x", "format=tflite"], "format=tflite: must be onnx or torch_export"),
        (["checkpoint=RUN", "output=used"], "output=used: is not an empty folder; use a new one"),
        (["checkpoint=RUN", "output=used/file"], "output=used/file: is not an empty folder; use a new one"),
        (["checkpoint=RUN", "output=used/file/x"], "output=used/file/x: File exists"),
        (["checkpoint=gone", "output=x"], "checkpoint=gone: no such checkpoint file"),
    ],
)
def test_bad_input_of_an_export_is_one_line(dsn_run, tmp_path, arguments, message):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    arguments = [argument.replace("RUN", str(dsn_run)) for argument in arguments]
    done = call("dsn-export", *arguments, cwd=tmp_path, expect=2)
    assert done.stderr == f"dsn-export: error: {done.stderr.partition('error: ')[2].strip()}\n"
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "used"]


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(exported, "_PACKAGES", ("onnx", "no_such_package"))
    model = networks(small(5), SharedObservation(small(0)))
    with pytest.raises(UsageError, match=re.escape("needs no_such_package: pip install 'dsn-lightning[onnx]'")):
        export_model(model, tmp_path / "out", "onnx", clip=CLIP, clips_per_section=3, record={})


def test_networks_that_are_not_finite_are_not_written(tmp_path):
    model = networks(small(5), SharedObservation(small(0)))
    nn.init.constant_(model.classifier.fc.bias, torch.nan)
    with pytest.raises(UsageError, match=r"computes something else as a file: .* got inf$"):
        export_model(model, tmp_path / "out", "torch_export", clip=CLIP, clips_per_section=3, record={})
