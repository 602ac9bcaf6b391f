"""dsn-predict gives the answers of dsn-evaluate, decodes only what it needs, and goes on where it was stopped."""

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import NEEDLE
from dsn_lightning import DSN
from dsn_lightning.config.compose import compose_anew, plain
from dsn_lightning.config.load_predictor import file_predictor
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.datasets.annotations import VIDEO_EXTENSIONS
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.prepare.video_index import refuse_flagged
from dsn_lightning.selections import Policy
from dsn_lightning.selections.scheme import softmax
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.processes import call, start

TIMES = ("seconds", "decoding_seconds")


@pytest.fixture(scope="module")
def run(dsn_run: Path) -> Path:
    return dsn_run


@pytest.fixture(scope="module")
def videos(dsn_videos: list[str]) -> list[str]:
    return dsn_videos


def predict(run: Path, videos: list[str], cwd: Path, *more: str, expect: int = 0) -> list[dict[str, Any]]:
    call("dsn-predict", f"checkpoint={run}", f"videos=[{','.join(videos)}]", "output=answers", *more, cwd=cwd,
         expect=expect)  # fmt: skip
    return lines(cwd / "answers")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def without_times(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in answer.items() if key not in TIMES} for answer in answers]


def predictor(run: Path, *overrides: str):
    cfg = compose_anew("predict", f"checkpoint={run}", "videos=[x]", "output=x", *overrides)
    return file_predictor(PredictSettings.of(plain(cfg)))


def test_answers_are_those_of_the_evaluation(run, videos, tmp_path):
    answers = predict(run, videos, tmp_path)
    scores = ClipScores.load(run / "clip_scores.npz")
    row = next(r for r in json.loads((run / "results.json").read_text()) if r["selection"] == "dsn")
    for video, answer in zip(scores.videos(), answers, strict=True):
        policy = softmax(video.policies["dsn"][2, 2])
        kept = [clip for clip in answer["clips"] if clip["selected"]]
        probabilities = np.array([clip["probability"] for clip in answer["clips"]]).reshape(2, 2)
        np.testing.assert_allclose(probabilities, policy, atol=1e-5)
        assert [clip["clip"] for clip in kept] == policy.argmax(-1).tolist()
        by_clip = softmax(video.logits_at("dsn", np.array([clip["start_frame"] for clip in kept])))
        np.testing.assert_allclose([clip["score"] for clip in kept], by_clip.max(-1), atol=1e-5)
        mean = by_clip.mean(0)
        assert answer["label"] == scores.classes[mean.argmax()]
        assert answer["score"] == pytest.approx(mean.max(), abs=1e-5)
        assert [entry["label"] for entry in answer["top5"]] == [str(scores.classes[i]) for i in np.argsort(-mean)[:5]]
        assert answer["gmacs"] == pytest.approx(row["gmacs"])
        assert answer["error"] is None


def test_a_sampler_that_keeps_nothing_of_a_section_saves_its_clip(needle_root, dsn_videos, tmp_path):
    """From the training to the answer of a file: both paths keep the same clips, and count them."""
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=2", "schedule.batch_size=4",
         "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.random_draws=2", "test.figures=false",
         "M=3", "N=2", "observation=r2d_tiny_shared", "observation.network.may_skip=true", "estimator=ppo",
         "reward=consensus_gain", "reward.price=0.02", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    run = tmp_path / "run"
    scores = ClipScores.load(run / "clip_scores.npz")
    row = next(r for r in json.loads((run / "results.json").read_text()) if r["selection"] == "dsn")
    assert (row["estimator"], row["reward"]) == ("PPO", "ConsensusGain")
    answers = [predictor(run)(video) for video in dsn_videos]
    kept = [[clip for clip in answer.clips if clip.selected] for answer in answers]
    selection = Policy("dsn", ("dsn",))
    for video, clips in zip(scores.videos(), kept, strict=True):
        chosen = selection.select(video, scores.scheme(3, 2), "dsn")[0]
        assert [clip.start_frame for clip in clips] == chosen.tolist()
    assert row["clips"] == pytest.approx(np.mean([len(clips) for clips in kept]))
    model = DSN.from_pretrained(run / "checkpoints" / "last.ckpt")
    assert [model.select(video).start_frame.tolist() for video in dsn_videos] == [
        [clip.start_frame for clip in clips] for clips in kept
    ]
    assert row["gmacs"] == pytest.approx(np.mean([answer.gmacs for answer in answers]))


def test_only_frames_that_a_network_sees_are_decoded(run, videos, monkeypatch):
    answer = predictor(run)
    read, asked = answer.predictor.reader.read, []

    def remember(video, indices, size):
        asked.extend(indices.tolist())
        return read(video, indices, size)

    object.__setattr__(answer.predictor.reader, "read", remember)
    for looked_at in (8, 2):  # all frames of a clip of 8, then as if the observation network saw the middle two
        answer.predictor.frames_looked_at = looked_at
        asked.clear()
        if looked_at == 2:
            monkeypatch.setattr(answer.predictor.model, "policy_logits", lambda clips: clips.float().mean((3, 4, 5, 6)))
        clips = answer(videos[0]).clips
        first = (8 - looked_at) // 2
        seen = {clip.start_frame + first + t for clip in clips for t in range(looked_at)}
        seen |= {clip.start_frame + t for clip in clips if clip.selected for t in range(8)}
        assert len(asked) == len(set(asked))
        assert set(asked) == seen


def test_confidence_classifies_the_most_certain_section_first_and_stops(run, videos):
    whole, early = predictor(run), predictor(run, "budget.confidence=0.01")
    for path in videos:
        all_clips, first = whole(path), early(path)
        kept = [clip for clip in all_clips.clips if clip.selected]
        certain = max(kept, key=lambda clip: clip.probability)
        (only,) = [clip for clip in first.clips if clip.selected]
        assert (only.section, only.clip) == (certain.section, certain.clip)
        assert (first.label, first.score) == (certain.label, pytest.approx(certain.score))
        assert first.gmacs < all_clips.gmacs
    never = predictor(run, "budget.confidence=1")(videos[0])
    assert never.score == pytest.approx(whole(videos[0]).score)
    assert len([clip for clip in never.clips if clip.selected]) == 2
    (only,) = [clip for clip in predictor(run, "budget.seconds=1e-9")(videos[0]).clips if clip.selected]


def test_a_budget_of_gmacs_is_the_most_sections_that_fit(run, videos):
    one = predictor(run, "M=1")(videos[0]).gmacs
    answer = predictor(run, f"budget.gmacs={3.5 * one}")(videos[0])
    assert answer.gmacs == pytest.approx(3 * one)
    assert {clip.section for clip in answer.clips} == {0, 1, 2}


def test_a_call_goes_on_where_it_was_stopped(run, videos, tmp_path):
    whole = predict(run, videos, tmp_path)
    file = tmp_path / "answers" / "predictions.jsonl"
    content = file.read_bytes()
    for end in (0, 100, content.index(b"\n") + 1, len(content) - 1):
        file.write_bytes(content[:end])
        assert without_times(predict(run, videos, tmp_path)) == without_times(whole)
    kept = lines(tmp_path / "answers")
    assert predict(run, videos, tmp_path) == kept  # nothing is left to do


@pytest.mark.slow
def test_killed_five_times(run, videos, tmp_path):
    many = []
    for copy in range(30):
        for path in videos:
            link = tmp_path / f"{copy}_{Path(path).name}"
            link.symlink_to(path)
            many.append(str(link))
    (tmp_path / "all.txt").write_text("\n".join(many))
    (tmp_path / "whole").mkdir()
    whole = predict(run, [str(tmp_path / "all.txt")], tmp_path / "whole")
    arguments = (f"checkpoint={run}", f"videos={tmp_path / 'all.txt'}", "output=answers", "progress=false")
    file = tmp_path / "answers" / "predictions.jsonl"
    for part in (0.1, 0.3, 0.45, 0.7, 0.9):
        process = start("dsn-predict", *arguments, cwd=tmp_path)
        while process.is_alive() and not (file.exists() and file.read_bytes().count(b"\n") >= part * len(many)):
            time.sleep(0.01)
        assert process.pid is not None
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    call("dsn-predict", *arguments, cwd=tmp_path)
    assert without_times(lines(tmp_path / "answers")) == without_times(whole)


def test_a_bad_file_is_a_line_with_an_error(run, videos, tmp_path):
    (tmp_path / "list.txt").write_text(f"gone.mp4\n{videos[0]}\nhttp://example.org/a.mp4\n")
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    answers = predict(run, ["list.txt", "broken.mp4", videos[1]], tmp_path, expect=1)
    assert [answer["error"] is None for answer in answers] == [False, True, False, False, True]
    for answer in answers:
        if answer["error"]:
            assert (answer["label"], answer["clips"], answer["gmacs"], answer["duration_seconds"]) == (
                None,
                [],
                None,
                None,
            )
    assert predict(run, ["list.txt", "broken.mp4", videos[1]], tmp_path, expect=1) == answers


def test_real_files(run, real_data, tmp_path):
    answers = predict(run, [str(real_data / "assets")], tmp_path, expect=1)
    failed = [Path(answer["video"]).name for answer in answers if answer["error"]]
    assert failed == ["corrupted.mp4"]
    assert len(answers) > 10


def test_windows_make_a_time_line(run, videos, tmp_path):
    (answer,) = predict(run, videos[:1], tmp_path, "window.seconds=2", "window.stride=1")
    duration = answer["duration_seconds"]
    starts = [window["start_seconds"] for window in answer["windows"]]
    assert starts == [float(k) for k in range(len(starts))]
    assert answer["windows"][-1]["end_seconds"] == pytest.approx(duration)
    assert starts[-1] + 2 >= duration > starts[-2] + 2
    alone = predictor(run, "M=2", "N=2", "window.seconds=1000")(videos[0])
    assert alone.label == predictor(run)(videos[0]).label
    (vtt,) = (tmp_path / "answers" / "time_lines").glob("*.vtt")
    assert vtt.read_text().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:0")
    table = vtt.with_suffix(".csv").read_text().splitlines()
    assert table[0] == "start_seconds,end_seconds,label,score"
    ends = [line.split(",")[1] for line in table[1:]]
    assert [line.split(",")[0] for line in table[2:]] == ends[:-1]  # no gap, no overlap
    assert float(ends[-1]) == pytest.approx(duration, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["videos=[VIDEO]", "output=x"], "checkpoint=null: give checkpoint=PATH"),
        (["checkpoint=RUN", "videos=[VIDEO]"], "output=null: give output=PATH"),
        (["checkpoint=RUN", "videos=[]", "output=x"], "videos=[]: give files, folders"),
        (["checkpoint=RUN", "videos=[gone.mp4]", "output=x"], "videos=gone.mp4: no such file or folder"),
        (["checkpoint=RUN", "videos=['http://a.b/c.mp4']", "output=x"], "videos=http://a.b/c.mp4: is a URL"),
        (["checkpoint=RUN", "videos=[empty]", "output=x"], "videos=empty: no video files in this folder"),
        (["checkpoint=RUN", "videos=['*.nothing']", "output=x"], "videos=*.nothing: no file matches"),
        (["checkpoint=RUN", "videos=[empty.txt]", "output=x"], "videos=empty.txt: the list is empty"),
        (["checkpoint=empty", "videos=[VIDEO]", "output=x"], "no such checkpoint file"),
        (["checkpoint=VIDEO", "videos=[VIDEO]", "output=x"], "checkpoint=VIDEO: "),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "N=3"], "N=3: this observation network was made for N=2"),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "M=0"], "M=0: must be a whole number of at least 1"),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "budget.confidence=2"], "budget.confidence=2: must be"),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "budget.gmacs=1e-9"], "one section of N=2 clips takes"),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "window.stride=1"], "needs window.seconds as well"),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=x", "device=nonsense"], "device=nonsense: "),
        (["checkpoint=RUN", "videos=[VIDEO]", "output=VIDEO"], "output=VIDEO: "),
        (["checkpoint=RUN", "videos=[VIDEO]", "outputs=x"], "outputs"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run, videos, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    known = {"RUN": str(run), "VIDEO": videos[0]}
    for name, value in known.items():
        arguments = [argument.replace(name, value) for argument in arguments]
        message = message.replace(name, value)
    done = call("dsn-predict", *arguments, cwd=tmp_path, expect=None)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    if "outputs" not in message:
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_baseline_does_not_choose(needle_root, videos, tmp_path):
    call("dsn-train", "algorithm=baseline", f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=1", "M=1",
         "test.enabled=false", "trainer.accelerator=cpu", "hydra.run.dir=base", cwd=tmp_path)  # fmt: skip
    done = call("dsn-predict", "checkpoint=base", f"videos={videos[0]}", "output=x", cwd=tmp_path, expect=2)
    assert "is a run of algorithm=baseline, which does not choose clips" in done.stderr


def test_answers_of_other_settings_are_not_mixed(run, videos, tmp_path):
    predict(run, videos[:1], tmp_path)
    done = call("dsn-predict", f"checkpoint={run}", f"videos={videos[0]}", "output=answers", "M=3", cwd=tmp_path,
                expect=2)  # fmt: skip
    assert "holds answers for M=None, not 3; use another folder" in done.stderr


def test_memory_does_not_grow(run, videos):
    answer = predictor(run)
    torch.set_num_threads(1)
    resident = []
    for count in range(120):
        answer(videos[count % len(videos)])
        if count in (40, 119):
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert resident[1] - resident[0] < 16 * 2**20


def probed(path: Path) -> VideoInfo | VideoError:
    try:
        return PyAV().probe(path)
    except VideoError as error:
        return error


def test_files_that_a_training_refuses_are_refused(dsn_run, real_data):
    """``on_damage=refuse`` counts every flag, as the index of a training does."""
    flagged = [path for path in sorted((real_data / "reading_faults").iterdir()) if path.suffix in VIDEO_EXTENSIONS]
    answer = replace(predictor(dsn_run), refuse_damage=True)
    infos = {path: probed(path) for path in flagged}
    refused = refuse_flagged(infos)
    assert any(isinstance(refused[path], VideoError) and isinstance(infos[path], VideoInfo) for path in flagged)
    for path in flagged:
        expected = refused[path]
        assert answer(str(path)).error == (expected.reason if isinstance(expected, VideoError) else None)
