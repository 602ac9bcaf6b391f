"""`dsn_lightning.DSN`: the same answers as the command, from files, frames and folders for others."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml

from dsn_lightning import DSN
from dsn_lightning.errors import UsageError
from dsn_lightning.prediction import Prediction
from dsn_lightning.video.video_info import VideoError
from helpers.processes import call


@pytest.fixture(scope="module")
def run(dsn_run: Path) -> Path:
    return dsn_run


@pytest.fixture(scope="module")
def videos(dsn_videos: list[str]) -> list[str]:
    return dsn_videos


@pytest.fixture(scope="module")
def model(run):
    return DSN.from_pretrained(run)


def frames_of(path: str) -> np.ndarray:
    """All frames, by PyAV alone."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def same(answer: Prediction, other: Prediction, atol: float = 1e-6) -> None:
    assert (answer.label, len(answer.clips)) == (other.label, len(other.clips))
    assert answer.score == pytest.approx(other.score, abs=atol)
    for clip, expected in zip(answer.clips, other.clips, strict=True):
        assert (clip.section, clip.clip, clip.start_frame) == (expected.section, expected.clip, expected.start_frame)
        assert clip.probability == pytest.approx(expected.probability, abs=atol)


def test_a_path_gives_the_commands_answer(model, run, videos, tmp_path):
    call("dsn-predict", f"checkpoint={run}", f"videos=[{videos[0]}]", "output=answers", cwd=tmp_path)
    line = json.loads((tmp_path / "answers" / "predictions.jsonl").read_text())
    answer = model.predict(videos[0])
    same(answer, Prediction.from_json(line))
    assert answer.to_json() | {"seconds": 0, "decoding_seconds": 0} == line | {"seconds": 0, "decoding_seconds": 0}


def test_the_answer_for_a_file_is_drawn_and_no_other(model, videos):
    answer = model.predict(videos[0])
    strip, policy = model.figure(answer).axes
    assert len(strip.images) == 1
    bars = [patch.get_height() for patch in policy.patches]
    assert [100 * clip.probability for clip in answer.clips] == pytest.approx(bars[: len(answer.clips)])
    with pytest.raises(UsageError, match="figure: expected the answer for a video file, got frames"):
        model.figure(model.predict(frames_of(videos[0])))
    with pytest.raises(UsageError, match="figure: expected the answer for a video file, got no"):
        model.figure(Prediction(videos[0], error="no frames"))


def test_files_frames_and_iterators_are_the_same_video(model, videos):
    expected = model.predict(videos[0])
    with open(videos[0], "rb") as file:
        same(model.predict(file), expected)
    frames = frames_of(videos[0])
    for given in (frames, torch.from_numpy(frames), iter(frames)):
        same(model.predict(given), expected, atol=0.02)  # the file's frames are scaled before they are RGB


def test_select_gives_frames_of_the_video(model, videos):
    frames = frames_of(videos[0])
    for given in (videos[0], frames):
        chosen = model.select(given)
        kept = [clip for clip in model.predict(given).clips if clip.selected]
        assert chosen.start_frame.tolist() == [clip.start_frame for clip in kept]
        assert chosen.probability == pytest.approx([clip.probability for clip in kept])
        for clip, start in zip(chosen.frames, chosen.start_frame, strict=True):
            np.testing.assert_array_equal(clip, frames[start : start + 8])


def test_forward_is_the_network(model, videos):
    clips = torch.randint(0, 256, (2, 2, 2, 3, 8, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        scores = model(clips)
    assert scores.shape == (2, len(model.classes))
    assert torch.allclose(scores.exp().sum(-1), torch.ones(2))


def test_a_saved_folder_gives_the_same_answers(model, run, videos, tmp_path):
    folder = model.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = DSN.from_pretrained(folder)
    same(again.predict(videos[0]), model.predict(videos[0]), atol=0)
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pipeline_tag"] == "video-classification"
    for row in json.loads((run / "results.json").read_text()):
        assert f"{row['top1']:.1%} [" in card
    model.save_pretrained(folder)  # over its own
    (folder / "notes.txt").touch()
    with pytest.raises(UsageError, match="holds something else"):
        model.save_pretrained(folder)
    call("dsn-predict", f"checkpoint={folder}", f"videos=[{videos[0]}]", "output=answers", cwd=tmp_path)


def test_a_saved_folder_runs_nothing(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "model")
    record = json.loads((folder / "config.json").read_text())
    record["config"]["backbone"]["network"]["_target_"] = "os.system"
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"would run os\.system"):
        DSN.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json: is no JSON"):
        DSN.from_pretrained(folder)


def test_a_changed_byte_of_saved_weights_is_refused(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "model")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(UsageError, match=r"model\.safetensors: is damaged: .*weights_sha256"):
        DSN.from_pretrained(folder)


def test_errors_say_what_to_do(model, run, videos, tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        model.predict("gone.mp4")
    (bad, good) = model.predict_all(["gone.mp4", videos[0]])
    assert bad.error is not None
    assert good.error is None
    with pytest.raises(UsageError, match=r"expected uint8 \(T, H, W, 3\), got float64 \(3, 4\)"):
        model.predict(np.zeros((3, 4)))
    with pytest.raises(UsageError, match="got uint8"):
        model.predict([])
    with pytest.raises(UsageError, match="N=5: this observation network was made for N=2"):
        model.predict(videos[0], N=5)
    with pytest.raises(UsageError, match="confidence=3: must be"):
        model.predict(videos[0], confidence=3)
    with pytest.raises(UsageError, match="precision=half: must be one of"):
        DSN.from_pretrained(run, precision="half")
    with pytest.raises(UsageError, match=r"use dsn_lightning\.DSN\.from_pretrained"):
        type(model.network).load_from_checkpoint("x.ckpt")


def test_what_a_notebook_shows(model, videos):
    page = model.predict(videos[0])._repr_html_()
    assert page.count("<tr>") == 4 + min(5, len(model.classes))
    assert "<b>" in page
    shown = Prediction("<b>.mp4", error="<script>")._repr_html_()
    assert "<script>" not in shown


def test_half_precision_answers(run, videos):
    half = DSN.from_pretrained(run, precision="bf16-mixed", device="cpu").predict(videos[0])
    assert half.score == pytest.approx(DSN.from_pretrained(run).predict(videos[0]).score, abs=0.05)


def test_importing_the_package_does_not_load_torch():
    code = (
        "import sys, dsn_lightning; assert 'torch' not in sys.modules; dsn_lightning.DSN; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_examples_run(page, run, videos, tmp_path):
    """The Python of the page as written, in a folder where its names exist."""
    text = (Path(__file__).resolve().parents[2] / page).read_text()
    (code,) = [part for part in re.findall("```python\n(.*?)```", text, re.DOTALL) if "from_pretrained" in part]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "dsn").symlink_to(run)
    for name in ("clip.mp4", "NEW_VIDEO.mp4"):
        (tmp_path / name).symlink_to(videos[0])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) in (1, 4)
