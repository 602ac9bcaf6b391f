"""A sampler in front of a classifier that one already has, from README's lines to answers."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision import models

from conftest import made_once
from dsn_lightning import DSN
from dsn_lightning.evaluation.scores import ClipScores
from helpers.exported_models import INPUT, write_exported
from helpers.processes import call
from helpers.video_models import write_model

README = Path(__file__).resolve().parents[2] / "README.md"
KINDS = ("huggingface", "exported")
FILE = "classifier.onnx"


def readme_commands(**words: str) -> list[list[str]]:
    """The commands of README's section, with words for its placeholders."""
    section = README.read_text().partition("### With a classifier that you have")[2]
    (block,) = re.findall(r"```\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    for name, word in words.items():
        block = block.replace(name, word)
    lines = block.replace("\\\n", " ").strip().splitlines()
    assert all(line.startswith(".venv/bin/") for line in lines)
    return [line.removeprefix(".venv/bin/").split() for line in lines]


def prepared_place(folder: Path, videos: Path) -> dict[str, str | None]:
    """A working folder with videos, a random VideoMAE of their classes, and random weights for "ImageNet"."""
    (folder / "VIDEOS").symlink_to(videos)
    classes = [path.name.upper() for path in sorted(videos.iterdir())]
    write_model(folder / "MODEL", "videomae", ["another class", *reversed(classes)])
    address = models.MobileNet_V3_Small_Weights.DEFAULT.url
    cache = folder / "hub" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.mobilenet_v3_small(weights=None).state_dict(), cache / address.rpartition("/")[2])
    return {"TORCH_HOME": str(folder / "hub")}


@pytest.fixture(scope="session")
def runs(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what README's lines make, in ``runs/sampler`` and ``answers``, and with a run of a file."""

    def make(folder: Path) -> None:
        videos = folder / "videos"
        shutil.copytree(class_folders, videos)
        environment = prepared_place(folder, videos)
        for command, *arguments in readme_commands(NEW_VIDEO=str(videos / "walk" / "bob_walk")):
            call(command, *arguments, cwd=folder, env=environment)
        write_exported(folder / FILE)
        (folder / "names.txt").write_text("a\nRun\nb\nwalk\nc\n")
        call(
            "dsn-train", "algorithm=dsn_fixed", "algorithm.rewards=stored", "recipe=none", "dataset=folder",
            "dataset.root=VIDEOS", "backbone=exported", f"backbone.model={FILE}", *INPUT, "backbone.classes=names.txt",
            "observation=r2d_tiny_shared", "observation.network.trunk.num_frames=2", "schedule.max_epochs=2",
            "test.figures=false", "hydra.run.dir=runs/exported", cwd=folder,
        )  # fmt: skip

    return made_once(tmp_path_factory, "existing_classifiers", make)


def run_of(kind: str) -> tuple[str, list[str]]:
    return ("runs/sampler", []) if kind == "huggingface" else ("runs/exported", [f"trust=[{FILE}]"])


def test_readmes_lines_train_a_sampler_and_answer(runs):
    (line,) = (runs / "answers" / "sampler" / "predictions.jsonl").read_text().splitlines()
    answer = json.loads(line)
    assert answer["error"] is None
    assert answer["label"] in ("run", "walk")
    facts = json.loads((runs / "runs" / "sampler" / "environment.json").read_text())
    assert facts["trained_on"]["classifier_from"] == "MODEL"


@pytest.mark.slow
def test_readmes_lines_on_real_videos(real_data, tmp_path):
    environment = prepared_place(tmp_path, real_data / "weizmann")
    video = next((real_data / "weizmann").glob("*/*.avi"))
    for command, *arguments in readme_commands(**{"NEW_VIDEO.mp4": str(video)}):
        call(command, *arguments, cwd=tmp_path, env=environment)
    assert json.loads((tmp_path / "answers" / "sampler" / "predictions.jsonl").read_text())["error"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_and_the_deployed_path_give_the_same_answers(kind, runs, tmp_path, monkeypatch):
    run, trust = run_of(kind)
    call("dsn-evaluate", f"checkpoint={run}/checkpoints/last.ckpt", "test.figures=false", "test.random_draws=2", *trust,
         f"hydra.run.dir={tmp_path / 'evaluation'}", cwd=runs)  # fmt: skip
    rows = {row["selection"]: row for row in json.loads((tmp_path / "evaluation" / "results.json").read_text())}
    assert {"uniform", "dsn_fixed", "dense", "random"} <= rows.keys()
    assert rows["dsn_fixed"]["gmacs_classifier"] > 0
    scores = ClipScores.load(tmp_path / "evaluation" / "clip_scores.npz")
    assert scores.clip_logits.shape[1] == 2
    videos = [f"VIDEOS/{video_id}" for video_id in scores.video_id]
    call("dsn-predict", f"checkpoint={run}", f"videos=[{','.join(videos)}]", "pictures=false", *trust,
         f"output={tmp_path / 'answers'}", cwd=runs)  # fmt: skip
    answers = [json.loads(line) for line in (tmp_path / "answers" / "predictions.jsonl").read_text().splitlines()]
    monkeypatch.chdir(runs)
    model = DSN.from_pretrained(run, trust=[FILE] if trust else [])
    for number, answer in enumerate(answers):
        here = model.predict(answer["video"])
        assert here.label == answer["label"]
        assert here.score == pytest.approx(answer["score"], abs=1e-5)
        assert answer["gmacs"] == pytest.approx(rows["dsn_fixed"]["gmacs"], rel=1e-6)
        starts = [clip["start_frame"] for clip in answer["clips"] if clip["selected"]]
        kept = [
            np.flatnonzero((scores.clip_video == number) & (scores.clip_start == start)
                           & (scores.clip_network == "baseline"))[0] for start in starts
        ]  # fmt: skip
        expected = torch.from_numpy(scores.clip_logits[kept]).softmax(-1).mean(0)
        assert answer["score"] == pytest.approx(float(expected.max()), abs=1e-4)
        assert answer["label"] == scores.classes[expected.argmax()]


def test_a_file_must_be_named_again(runs, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(runs / "runs" / "exported", copy)
    done = call("dsn-predict", "checkpoint=runs/exported", "videos=[VIDEOS]", "output=none", cwd=runs, expect=2)
    (line,) = done.stderr.splitlines()
    assert re.search(rf"would load the file /.*{FILE}, which can hold code; .* trust=\[FILE\]", line)
    done = call("dsn-train", f"resume={copy}", cwd=runs, expect=2)
    assert "which can hold code" in done.stderr
    call("dsn-train", f"resume={copy}", f"trust=[{FILE}]", "test.enabled=false", cwd=runs)
    done = call("dsn-train", "algorithm=dsn", "recipe=none", "dataset=folder", "dataset.root=none", "backbone=exported",
                f"backbone.model={FILE}", *INPUT, cwd=runs, expect=2)  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert "cannot be trained; use algorithm=dsn_fixed" in line


def test_a_fine_tuned_model_answers_without_its_folder(runs, tmp_path):
    model = tmp_path / "model"
    write_model(model, "timesformer", ["walk", "another class"])  # so the data set's classes get a new layer
    common = ["recipe=none", "dataset=folder", f"dataset.root={runs / 'videos'}", "backbone=huggingface",
              f"backbone.model={model}", "backbone.frame_stride=2", "observation=r2d_tiny_shared",
              "observation.network.trunk.num_frames=2",
              "schedule.max_epochs=2", "test.enabled=false", "algorithm.warmup_epochs=1"]  # fmt: skip
    call("dsn-train", "algorithm=dsn", *common, "hydra.run.dir=run", cwd=tmp_path)
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    shutil.rmtree(model)
    call("dsn-predict", "checkpoint=run", f"videos=[{runs / 'videos' / 'run'}]", "pictures=false", "output=answers",
         cwd=tmp_path)  # fmt: skip
    answers = [json.loads(line) for line in (tmp_path / "answers" / "predictions.jsonl").read_text().splitlines()]
    assert [(answer["error"], answer["label"] in ("run", "walk")) for answer in answers] == [(None, True)] * 4
    write_model(model, "timesformer", ["walk", "another class"])
    before = load_file(model / "model.safetensors")
    encoder = {name: value for name, value in before.items() if name.startswith("timesformer")}
    moved = [name for name, value in encoder.items() if not torch.equal(state[f"classifier.model.{name}"], value)]
    assert len(moved) > 20
    assert state["classifier.model.classifier.weight"].shape == (2, 16)
