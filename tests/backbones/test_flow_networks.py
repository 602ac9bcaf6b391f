"""Networks on optical flow: shapes, costs, normalisation, stems from RGB, and what is refused."""

import json
import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch.utils.data import DataLoader

from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.backbones.weights import WeightsError, across_modalities, load_into
from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.initial_weights import check_starts, start_from, take_classifier, take_trunk
from dsn_lightning.config.trained import Trained, check_fits
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.tracking.wandb_tables import clip_table
from helpers.synthetic import SyntheticData, composed, fresh

FLOW = "dataset.modality=flow"


def networks(in_channels: int) -> list[torch.nn.Module]:
    return [
        ResNet3D(3, in_channels=in_channels, stem_width=8, widths=(8, 16), blocks=(1, 1)),
        ResNet2D(3, num_frames=4, in_channels=in_channels, stem_width=8, widths=(8, 16), blocks=(1, 1)),
    ]


@pytest.mark.parametrize(
    ("network", "gmacs"), [(ResNet2D(0, in_channels=2), 1.853), (ResNet3D(0, in_channels=2), 20.112)]
)
def test_multiply_adds_of_networks_with_flow_stems(network, gmacs):
    assert count_macs(network, 1, 2, 8, 112, 112) / 1e9 == pytest.approx(gmacs, rel=5e-4)


@pytest.mark.parametrize("kind", [0, 1])
def test_an_adapted_network_gives_the_same_logits_for_grey(kind):
    """Its kernels are means over RGB: two channels of 1.5 g give what three channels g gave, for any image g."""
    torch.manual_seed(0)
    source, target = networks(3)[kind], networks(2)[kind]
    load_into(target, source.state_dict(), keep_head=False)
    source.train()(torch.randn(4, 3, 8, 32, 32))  # so batch statistics are not the initial ones
    for name, buffer in source.named_buffers():
        target.get_buffer(name).copy_(buffer)
    source.eval(), target.eval()
    grey = torch.randn(2, 1, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            target(1.5 * grey.expand(-1, 2, -1, -1, -1)), source(grey.expand(-1, 3, -1, -1, -1)), atol=1e-5, rtol=1e-5
        )
        both = torch.randn(2, 2, 8, 32, 32)
        torch.testing.assert_close(target(both), target(both.flip(1)), atol=1e-5, rtol=1e-5)  # u and v weigh the same
        turned = target(both.flip(2))
    assert not torch.allclose(turned, target(both), atol=1e-3)  # each frame has a separate kernel


def test_stacked_frames_keep_their_own_kernels():
    kernel = torch.arange(1.0, 13).reshape(1, 12, 1, 1)  # 4 frames of 3 channels
    assert across_modalities(kernel, frames=4, channels=2).flatten().tolist() == [2, 2, 5, 5, 8, 8, 11, 11]


def test_other_widths_are_refused():
    state = networks(3)[0].state_dict()
    wider = ResNet3D(3, in_channels=2, stem_width=16, widths=(8, 16), blocks=(1, 1))
    with pytest.raises(WeightsError, match=r"wrong shapes: stem\.0\.weight, stem\.1\.weight"):
        load_into(wider, state)


def test_normalised_flow_is_zero_without_motion():
    recognizer = build_recognizer(composed(FLOW), 2)
    still, fast = (torch.full((1, 2, 8, 4, 4), value, dtype=torch.uint8) for value in (128, 255))
    assert recognizer.normalize(still).abs().max() < 0.01
    torch.testing.assert_close(recognizer.normalize(fast), torch.full((1, 2, 8, 4, 4), 0.5 / 0.226))


def test_flow_is_divided_by_the_backbones_flow_std():
    fast = torch.full((1, 2, 4, 4, 4), 255, dtype=torch.uint8)
    for given, std in [((), [0.03, 0.03]), (("backbone.flow_std=[0.1,0.2]",), [0.1, 0.2])]:
        recognizer = build_recognizer(composed(FLOW, "backbone=mobilenet_v2", *given), 2)
        torch.testing.assert_close(recognizer.normalize(fast)[0, :, 0, 0, 0], 0.5 / torch.tensor(std))


@pytest.mark.parametrize("value", ["0.03", "null", "[0.03]", "[0.03,0.03,0.03]", "[0.03,0]", "[a,b]"])
def test_flow_std_must_be_two_positive_numbers(value):
    with pytest.raises(UsageError, match=r"backbone\.flow_std=.*must be two positive numbers"):
        build_recognizer(composed(FLOW, f"backbone.flow_std={value}"), 2)


def test_a_checkpoint_with_another_flow_std_is_refused(checkpoints):
    other = composed(FLOW, "backbone.flow_std=[0.1,0.1]")
    with pytest.raises(UsageError, match=r"expected a run of backbone\.flow_std=\[0.1, 0.1\], got \[0.226, 0.226\]"):
        check_fits(checkpoints["flow"], classes=["right", "left"], settings=other, key="dsn")
    check_starts(checkpoints["rgb"], other, classes=["right", "left"])


@pytest.mark.parametrize("observation", ["r2d_tiny", "r2d_tiny_shared"])
@pytest.mark.parametrize("backbone", ["r3d_tiny", "r2d_tiny"])
def test_all_networks_take_flow(backbone, observation):
    recognizer = build_recognizer(composed(FLOW, f"backbone={backbone}", f"observation={observation}"), 5)
    clips = torch.randint(0, 256, (2, 3, 4, 2, 8, 32, 32), dtype=torch.uint8)
    assert recognizer.classify(clips[:, :, 0]).shape == (2, 3, 5)
    assert recognizer.policy_logits(clips).shape == (2, 3, 4)


def test_only_flow_networks_are_given_in_channels():
    settings = composed().changed({"backbone.network": {"_target_": "conftest.MeanClassifier"}})
    assert build_recognizer(settings, 4).classifier.fc.weight.shape == (4, 3)
    settings = settings.changed({"dataset.modality": "flow"})
    assert build_recognizer(settings, 4).classifier.fc.weight.shape == (4, 2)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    runs = {"rgb": (), "flow": (FLOW,)}
    return {
        **{m: fresh(composed(*overrides, "algorithm=baseline"), root / f"{m}.ckpt") for m, overrides in runs.items()},
        **{
            f"{m}_2d": fresh(composed(*overrides, "algorithm=baseline", "backbone=r2d_tiny"), root / f"{m}_2d.ckpt")
            for m, overrides in runs.items()
        },
    }


def test_a_flow_run_starts_from_rgb_networks(checkpoints):
    settings = composed(FLOW)
    recognizer = build_recognizer(settings, 2)
    check_starts(checkpoints["rgb"], settings, classes=["right", "left"])
    take_classifier(recognizer.classifier, checkpoints["rgb"], settings)
    take_trunk(recognizer.observation.trunk, checkpoints["rgb_2d"])
    rgb, rgb_2d = (checkpoints[name].recognizer.classifier for name in ("rgb", "rgb_2d"))
    grey = torch.randn(2, 1, 8, 32, 32)
    recognizer.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            recognizer.classifier(1.5 * grey.expand(-1, 2, -1, -1, -1)),
            rgb(grey.expand(-1, 3, -1, -1, -1)),
            atol=1e-4,
            rtol=1e-4,
        )
        features = recognizer.observation.trunk(1.5 * grey.expand(-1, 2, -1, -1, -1))
        torch.testing.assert_close(rgb_2d.fc(features), rgb_2d(grey.expand(-1, 3, -1, -1, -1)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("frozen", "modality", "warned"), [(15, "flow", 1), (0, "flow", 0), (15, "rgb", 0)])
def test_frozen_rgb_blocks_on_flow_raise_a_warning(frozen, modality, warned, tmp_path):
    torch.save(MobileNetV2(7).state_dict(), tmp_path / "rgb.pt")
    settings = composed(
        f"dataset.modality={modality}",
        "algorithm=baseline",
        "backbone=mobilenet_v2",
        f"weights={tmp_path / 'rgb.pt'}",
        f"backbone.network.frozen_blocks={frozen}",
        f"backbone.cache_activations={frozen > 0}",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start_from(build_recognizer(settings, 2), settings, classes=["left", "right"])
    assert sum("trained on pictures and are frozen" in str(w.message) for w in caught) == warned


def test_a_flow_run_starts_from_flow_networks_bit_for_bit(checkpoints):
    settings = composed(FLOW)
    recognizer = build_recognizer(settings, 2)
    take_classifier(recognizer.classifier, checkpoints["flow"], settings)
    ours, theirs = recognizer.classifier.state_dict(), checkpoints["flow"].recognizer.classifier.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_checkpoints_of_the_other_modality_are_refused(checkpoints):
    rgb, flow = composed(), composed(FLOW)
    classes = ["right", "left"]
    for role in ("dsn", "baseline", "max_response"):
        with pytest.raises(UsageError, match=r"expected a run of dataset\.modality=rgb, got flow"):
            check_fits(checkpoints["flow"], classes=classes, settings=rgb, key=role)
        with pytest.raises(UsageError, match=r"expected a run of dataset\.modality=flow, got rgb"):
            check_fits(checkpoints["rgb"], classes=classes, settings=flow, key=role)
    recognizer = build_recognizer(rgb, 2)
    with pytest.raises(UsageError, match="was trained on flow, which cannot start"):
        take_classifier(recognizer.classifier, checkpoints["flow"], rgb)
    with pytest.raises(UsageError, match="was trained on flow, which cannot start"):
        take_trunk(recognizer.observation.trunk, checkpoints["flow_2d"])
    fixed = composed(FLOW, "algorithm=dsn_fixed")
    with pytest.raises(UsageError, match="dsn_fixed freezes the classifier; expected a run of"):
        take_classifier(build_recognizer(fixed, 2).classifier, checkpoints["rgb"], fixed)
    with pytest.raises(UsageError, match="its r3d_tiny does not fit this network: missing keys: conv1"):
        take_trunk(build_recognizer(flow, 2).observation.trunk, checkpoints["rgb"])


@pytest.mark.parametrize("value", ["depth", "RGB", "null"])
def test_unknown_modalities_are_refused(value):
    with pytest.raises(UsageError, match=r"dataset\.modality=.*must be rgb or flow"):
        composed(f"dataset.modality={value}")


class Recording(Tracker):
    """Keeps the evaluation that a logger would get."""

    def __init__(self) -> None:
        super().__init__([Logger])

    def log_evaluation(self, evaluation) -> None:
        self.evaluation = evaluation


def test_training_and_testing_on_flow(tmp_path):
    """A DSN learns the sign of the motion, and its results name the modality."""
    settings = composed(
        FLOW,
        "M=2",
        "N=2",
        "algorithm.warmup_epochs=0",
        "dataset.name=synthetic",
        "test.random_draws=2",
        f"run_dir={tmp_path}",
    )
    data = SyntheticData("flow", settings)
    pl.seed_everything(0, verbose=False)
    recognizer = build_recognizer(settings, 2)
    batches = [data.batch(settings, start) for start in range(0, 24, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(recognizer, DataLoader(batches, batch_size=None))
    trained = Trained(recognizer.eval(), settings, data.classes, tmp_path / "none.ckpt")
    tracker = Recording()
    rows = evaluate_trained({"dsn": trained}, settings, data, device=torch.device("cpu"), tracker=tracker)
    assert rows == json.loads((tmp_path / "results.json").read_text())
    by = {(row["selection"], row["classifier"]): row for row in rows}
    assert {row["modality"] for row in rows} == {"flow"}
    assert by["dsn", "dsn"]["top1"] == 1.0
    clip = (1, 2, 8, 32, 32)
    assert by["dsn", "dsn"]["gmacs_classifier"] == 2 * count_macs(recognizer.classifier, *clip) / 1e9
    assert by["dsn", "dsn"]["gmacs_observation"] == 2 * count_macs(recognizer.observation, 1, 2, *clip[1:]) / 1e9
    assert (tmp_path / "figures" / "clips_dsn.png").read_bytes()[:4] == b"\x89PNG"
    for line in clip_table(tracker.evaluation).data:  # of W&B: three frames, colours show the motion
        picture = np.asarray(line[-1].image).astype(int)
        assert picture.shape == (32, 96, 3)
        deepest = picture.reshape(-1, 3)[picture.min(2).argmin()]
        assert deepest.argmax() == 0 if line[1] == "right" else deepest.argmin() == 0
