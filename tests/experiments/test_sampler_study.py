"""Samplers on stored clips: references, training, and the gradients of the estimators, on clips made here."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import estimators
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.trained import checkpoint_record
from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError
from estimators import STUDIES, classifier_of, variants
from reproduce.sampler_study import gradients, references, train, what_rewards_tell
from reproduce.stored_clips import StoredClips, stored_clips


def clips_of(num_videos: int, seed: int) -> StoredClips:
    """Videos of four classes and 2:3 clips, of which one a section shows the class, which the features say."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=num_videos)
    shows = np.eye(3, dtype=bool)[rng.integers(3, size=(num_videos, 2))]
    others = (labels[:, None, None] + rng.integers(1, 4, size=shows.shape)) % 4
    logits = 4 * np.eye(4)[np.where(shows, labels[:, None, None], others)]
    features = np.concatenate([logits, shows[..., None], rng.normal(size=(*shows.shape, 2))], -1)
    layer = rng.normal(size=(features.shape[-1], 4))
    return StoredClips(
        video_id=np.array([f"video {v}" for v in range(num_videos)]),
        targets=np.eye(4, dtype=np.float32)[labels],
        logits=logits.astype(np.float32),
        uniform=logits[:, :, 1].astype(np.float32),
        dense=logits.reshape(num_videos, -1, 4).astype(np.float32),
        features=features.astype(np.float32),
        responses=(features @ layer + 0.5).astype(np.float32),
        shows=shows,
    )


def test_the_references_are_the_methods_of_their_names(tmp_path):
    clips = clips_of(40, 0)
    clips.save(tmp_path / "clips.npz")
    found = references(StoredClips.load(tmp_path / "clips.npz"), clips_of(60, 1))
    assert found["oracle"].correct.all()
    assert found["oracle"].hit_rate == 1
    right = [label in (a, b) for label, (a, b) in zip(clips.targets.argmax(1), clips.uniform.argmax(-1), strict=True)]
    assert found["uniform"].correct.sum() <= sum(right)
    assert (found["uniform"].clips, found["dense"].clips) == (2, 6)
    assert found["told where"].hit_rate == 1
    assert found["told where"].correct.all()
    assert found["taught where"].hit_rate > 0.95  # the features say it
    nowhere = replace(clips, shows=np.zeros_like(clips.shows))
    assert set(references(nowhere, nowhere)) == {"uniform", "dense", "max response", "oracle"}


def test_rewards_tell_clips_apart_where_some_are_right():
    clips = clips_of(40, 0)
    assert what_rewards_tell(clips) == {"clips_right": pytest.approx(1 / 3), "sections_with_both": 1}
    all_right = replace(clips, logits=np.broadcast_to(clips.targets[:, None, None], clips.logits.shape))
    assert what_rewards_tell(all_right) == {"clips_right": 1, "sections_with_both": 0}
    half = clips.logits.copy()
    half[:, 0], half[:, 1] = clips.targets[:, None], np.roll(clips.targets, 1, 1)[:, None]
    found = what_rewards_tell(replace(clips, logits=half))  # a section of right clips beside one of wrong ones
    assert found == {"clips_right": 0.5, "sections_with_both": 0}


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_of_a_study_trains(study):
    for variant in variants(study):
        run = train(replace(variant, epochs=1), clips_of(32, 0), clips_of(16, 1), seed=0)
        assert len(run) == 1
        assert run[0].classified >= (32 if study == "prices" else 2 * 32)
        assert np.isfinite(run[0].probabilities).all()


def test_a_sampler_learns_where_the_class_shows():
    variant = replace(variants("estimators")[0], epochs=15, lr=0.1)
    clips, others = clips_of(64, 0), clips_of(64, 1)
    last = train(variant, clips, others, seed=0)[-1]
    assert last.correct.mean() > references(others, clips)["uniform"].correct.mean() + 0.2
    assert last.hit_rate > 0.9


def test_a_dear_clip_is_left_out():
    cheap, *_, dear = variants("prices")[1:]
    kept = [train(replace(v, epochs=10, lr=0.1), clips_of(64, 0), clips_of(32, 1), seed=0)[-1] for v in (cheap, dear)]
    assert kept[0].clips >= kept[1].clips >= 1


def test_the_exact_gradient_has_neither_bias_nor_variance_and_a_biased_one_has_bias():
    by_name = {variant.name: variant for variant in variants("estimators")}
    clips = clips_of(16, 0)
    assert gradients(by_name["exact"], clips, seed=0, draws=5) == (0, 0)
    bias, variance = gradients(by_name["greedy_baseline"], clips, seed=0, draws=400)
    assert variance > 0
    assert bias < 4 * np.sqrt(variance / 400)
    assert gradients(by_name["distill"], clips, seed=0, draws=5)[0] > 0.1


def test_the_layer_of_the_max_response_network_is_found_again():
    clips = clips_of(40, 0)
    network = classifier_of(clips)
    features = clips.features.reshape(-1, clips.features.shape[-1])
    found = features @ network.fc.weight.detach().numpy().T + network.fc.bias.detach().numpy()
    np.testing.assert_allclose(found, clips.responses.reshape(len(found), -1), atol=1e-4)


def test_a_foreign_run_builds_nothing_but_known_parts(tmp_path):
    """Its data set and decoder are checked as those of a run whose results are read."""
    settings = settings_of("algorithm=baseline", "backbone=r2d_tiny", "dataset.root=nowhere", "run_dir=none")
    recognizer = build_recognizer(settings, 2)
    record = checkpoint_record(settings, classes=["a", "b"], trained_on=None)
    ran = tmp_path / "ran"
    record["config"] = json.loads(json.dumps(record["config"]))
    record["config"]["dataset"]["reading"]["decoder"] = {"_target_": "os.system", "command": f"touch {ran}"}
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    torch.save({"dsn_lightning": record, "state_dict": recognizer.state_dict()}, file)
    with pytest.raises(UsageError, match=r"would run os\.system"):
        stored_clips(tmp_path / "run", tmp_path / "run", "train", folder=tmp_path / "clips")
    assert not ran.exists()


def test_damaged_clips_and_runs_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "clips.npz"
    clips = clips_of(8, 0)
    for damaged in (
        replace(clips, logits=clips.logits[:, :1]),
        replace(clips, features=clips.features + np.inf),
        replace(clips, shows=clips.shows.astype(np.float32)),
    ):
        damaged.save(file)
        with pytest.raises(UnreadableFileError, match=r"clips\.npz: (logits|features|shows): .*remove it"):
            StoredClips.load(file)
    clips.save(file)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UnreadableFileError, match=r"damaged.*remove it"):
        StoredClips.load(file)
    runs = f"{tmp_path}/none:{tmp_path}/none"
    for arguments, complaint in (
        (["--seeds=0", f"--found={runs}"], r"checkpoints/last\.ckpt: no such checkpoint file"),
        (["--seeds=0,1", f"--found={runs}"], "expected a pair of runs for each of the 2 seeds, got 1"),
        (["--seeds=x"], "expected whole numbers"),
    ):
        monkeypatch.setattr("sys.argv", ["estimators.py", f"--output={tmp_path}/out", *arguments])
        with pytest.raises(SystemExit, match="2"):
            estimators.main()
        assert re.search(complaint, (message := capsys.readouterr().err)), message
        assert "Traceback" not in message
