"""Activations instead of pixels: the same answers, computed once, and refused where they would differ."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from conftest import grey_ramp, write_video
from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.weights import load_into
from dsn_lightning.cli.frozen_features_recipe import share_frozen_blocks, use_frozen_features
from dsn_lightning.config.build import build_datamodule, build_recognizer
from dsn_lightning.config.settings import Settings
from dsn_lightning.data.batches import Draw
from dsn_lightning.data.inventory import BadVideoPolicy
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.video.video_info import VideoError
from helpers.processes import call
from helpers.synthetic import composed

CPU = torch.device("cpu")
NEARLY = {"rtol": 5e-3, "atol": 5e-3}  # 16 bits, and batch norms folded into convolutions
SMALL = (
    "backbone=mobilenet_v2",
    "dataset=folder",
    "backbone.crop_size=32",
    "backbone.frame_size=[32, 44]",
    "dataset.reading.resize=squash",
    "progress=false",
    "dataset.test_fraction=0.5",
    "M=2",
    "N=2",
    "dataset.fps=10",
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of three coloured videos of 24 to 29 frames."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(("walk", "run")):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for i in range(3):
            ramp = grey_ramp(24 + 3 * c + i, 48)
            noise = rng.integers(0, 80, (len(ramp), 48, 48, 3)).astype(np.uint8)
            write_video(tmp_path / "videos" / name / f"{i}.mp4", ramp + noise)
    return tmp_path


def configured(folder: Path, *more: str) -> Settings:
    return composed(*SMALL, f"dataset.root={folder}/videos", f"dataset.reading.prepared={folder}/prepared", *more)


def seeing_weights() -> dict[str, torch.Tensor]:
    """Weights whose batch statistics fit them, so that what is seen reaches the last layer."""
    torch.manual_seed(0)
    network = MobileNetV2(0)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(32, 3, 1, 64, 64))
    return network.state_dict()


def set_up(settings: Settings):
    data = build_datamodule(settings)
    data.setup()
    torch.manual_seed(0)
    recognizer = build_recognizer(settings, 2)
    for network in (recognizer.classifier, recognizer.observation.trunk):
        load_into(network, seeing_weights())
    torch.nn.init.normal_(recognizer.observation.fc.weight)
    return data, recognizer.eval()


def stored(folder: Path) -> dict[str, tuple[float, bytes]]:
    files = (folder / "prepared" / "activations").rglob("*.npy")
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_networks_answer_as_they_do_for_pixels(folder):
    settings = configured(folder)
    data, recognizer = set_up(settings)
    pixels = data.section_clips("test")
    clips = [pixels[Draw(0, i)]["clips"] for i in range(len(pixels))]
    use_frozen_features(settings, data, [recognizer], device=CPU)
    with torch.no_grad():
        assert recognizer.classify(torch.stack(clips)).std() > 0.02
        assert recognizer.policy_logits(torch.stack(clips)).std() > 0.02
    for item, clip in zip([data.section_clips("test")[Draw(0, i)] for i in range(len(pixels))], clips, strict=True):
        assert item["clips"].shape == (2, 2, 160, 4, 1, 1)
        assert item["clips"].dtype == torch.float16
        with torch.no_grad():
            torch.testing.assert_close(
                recognizer.classify(item["clips"]), recognizer.classify(clip), rtol=5e-3, atol=5e-3
            )
            torch.testing.assert_close(
                recognizer.policy_logits(item["clips"][None]),
                recognizer.policy_logits(clip[None]),
                rtol=5e-3,
                atol=5e-3,
            )


def test_training_sees_mirror_images_with_probability_flip(folder):
    settings = configured(folder, "dataset.reading.flip=0.5")
    data, recognizer = set_up(settings)
    use_frozen_features(settings, data, [recognizer], device=CPU)
    reader, video = data.network_reader, data.videos("train")[0]
    starts = np.array([3])
    one = reader(video, starts)
    views = [reader(video, starts, np.random.default_rng(i)) for i in range(200)]
    as_it_is = sum(torch.equal(view, one) for view in views)
    assert 70 < as_it_is < 130  # flip is 0.5
    other = next(view for view in views if not torch.equal(view, one))
    frames = data.reader.read(video, reader.plan(video, starts)[0], (32, 44))
    mirrored = torch.from_numpy(frames[:, :, ::-1].copy())[:, :, 6:38].permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = recognizer.classifier.frozen(recognizer.normalize(mirrored.unsqueeze(2)).squeeze(2))
    torch.testing.assert_close(other[0].transpose(0, 1).float(), wanted, **NEARLY)


def test_only_missing_and_changed_activations_are_computed(folder):
    settings = configured(folder)
    data, recognizer = set_up(settings)
    use_frozen_features(settings, data, [recognizer], device=CPU)
    first = stored(folder)
    assert len(first) == 6
    (next((folder / "prepared" / "activations").iterdir()) / "killed.partial").touch()
    victim = data.network_reader.read.file(data.videos("test")[0])
    victim.unlink()
    use_frozen_features(settings, data, [recognizer], device=CPU)
    again = stored(folder)
    assert {name for name in first if again[name][0] != first[name][0]} == {str(victim)}
    assert {name: content for name, (_, content) in again.items()} == {name: c for name, (_, c) in first.items()}
    assert not list((folder / "prepared" / "activations").rglob("*.partial"))
    write_video(data.videos("test")[0].record.path, grey_ramp(30, 48))
    data, recognizer = set_up(settings)
    use_frozen_features(settings, data, [recognizer], device=CPU)
    assert len(stored(folder)) == 7
    settings = settings.changed({"dataset.fps": 5})
    data, recognizer = set_up(settings)
    use_frozen_features(settings, data, [recognizer], device=CPU)
    assert len(stored(folder)) == 13
    with torch.no_grad():
        recognizer.classifier.features[3].conv[0][0].weight[0] *= 2
        recognizer.observation.trunk.features[3].conv[0][0].weight[0] *= 2
    use_frozen_features(settings, data, [recognizer], device=CPU)
    assert len(stored(folder)) == 19


def test_a_damaged_file_counts_as_a_bad_video(folder):
    settings = configured(folder, "dataset.reading.on_bad_video=skip")
    data, recognizer = set_up(settings)
    use_frozen_features(settings, data, [recognizer], device=CPU)
    file = data.network_reader.read.file(data.videos("test")[0])
    archive = io.BytesIO()
    np.savez(archive, np.load(file))
    for damaged in (file.read_bytes()[:100], archive.getvalue()):
        file.write_bytes(damaged)
        item = data.section_clips("test")[Draw(0, 0)]
        assert item["counted"] is False
        assert item["clips"].shape == (2, 2, 160, 4, 1, 1)
        assert "activations cannot be read" in item["bad_videos"][0][1]


@pytest.mark.parametrize(
    "change", ["observation.network.trunk.frozen_blocks=10", "other weights", "observation=r2d_18"]
)
def test_other_frozen_blocks_are_refused(folder, change):
    overrides = [change] if "=" in change else []
    settings = configured(folder, *overrides)
    data, _ = set_up(configured(folder))
    torch.manual_seed(0)
    recognizer = build_recognizer(settings, 2)
    assert not share_frozen_blocks([recognizer])
    with pytest.raises(UsageError, match=r"backbone\.cache_activations=true: .* same frozen\s+blocks"):
        use_frozen_features(settings, data, [recognizer], device=CPU)


def test_too_little_disk_space_is_refused_beforehand(folder, monkeypatch):
    settings = configured(folder)
    data, recognizer = set_up(settings)
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    with pytest.raises(UsageError, match=r"Activations of 6 videos .* do not fit in .* dataset\.reading\.prepared=DIR"):
        use_frozen_features(settings, data, [recognizer], device=CPU)
    assert stored(folder) == {}


def test_a_video_that_cannot_be_read_keeps_its_reason(folder):
    settings = configured(folder, "dataset.reading.on_bad_video=raise")
    data, recognizer = set_up(settings)
    data.videos("test")[0].file.write_bytes(b"gone bad")
    with pytest.raises(VideoError, match=str(data.videos("test")[0].file.name)):
        use_frozen_features(settings, data, [recognizer], device=CPU)
    data.bad_video_policy = BadVideoPolicy("skip")
    use_frozen_features(settings, data, [recognizer], device=CPU)
    assert len(stored(folder)) == 5
    item = data.section_clips("test")[Draw(0, 0)]
    assert "no activations: it could not be read" in item["bad_videos"][0][1]


def test_other_scales_of_the_input_are_refused(folder):
    settings = configured(folder)
    _, recognizer = set_up(settings)
    settings = settings.changed({"backbone.mean": [0.1, 0.1, 0.1]})
    _, other = set_up(settings)
    assert share_frozen_blocks([recognizer, recognizer])
    assert not share_frozen_blocks([recognizer, other])


@pytest.mark.slow
def test_activations_and_pixels_give_the_same_evaluation(folder):
    """Through the command line: train, evaluate with both; a crop of three needs pixels."""
    torch.save(seeing_weights(), folder / "w.pt")
    common = [
        *SMALL[:1],
        "dataset=folder",
        "recipe=none",
        f"dataset.root={folder}/videos",
        *SMALL[2:],
        "trainer.accelerator=cpu",
        "schedule.max_epochs=2",
        "algorithm.warmup_epochs=1",
        "schedule.batch_size=2",
        f"dataset.reading.prepared={folder}/prepared",
        "weights=w.pt",
        "test.random_draws=2",
        "test.figures=false",
    ]
    common = [c.replace(", ", ",") for c in common]
    call("dsn-train", *common, "hydra.run.dir=run", cwd=folder)
    assert len(stored(folder)) == 6
    rows = OmegaConf.create(Path(folder / "run/results.json").read_text())
    assert {row.seconds_per_video for row in rows} == {None}
    content = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)
    content["dsn_lightning"]["config"]["backbone"]["cache_activations"] = False
    torch.save(content, folder / "pixels.ckpt")
    call("dsn-evaluate", "checkpoint=pixels.ckpt", "test.random_draws=2", "run_dir=pixels", cwd=folder)
    cached, pixels = (ClipScores.load(folder / name / "clip_scores.npz") for name in ("run", "pixels"))
    assert cached.clip_logits.std() > 0.01
    for field in ("clip_logits", "section_logits"):
        np.testing.assert_allclose(getattr(cached, field), getattr(pixels, field), **NEARLY)
    call("dsn-evaluate", "checkpoint=run/checkpoints/last.ckpt", "test.random_draws=2", "run_dir=again", cwd=folder)
    again = OmegaConf.create(Path(folder / "again/results.json").read_text())
    assert [row.map for row in again] == [row.map for row in rows]
    call(
        "dsn-evaluate",
        "checkpoint=run/checkpoints/last.ckpt",
        "test.random_draws=2",
        "test.crops=3",
        "run_dir=three",
        cwd=folder,
    )
    three = OmegaConf.create(Path(folder / "three/results.json").read_text())
    assert all(row.seconds_per_video is not None for row in three if not row.selection.startswith("oracle"))
    assert len(stored(folder)) == 6
