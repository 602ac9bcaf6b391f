"""Classifiers in files: the answers of the network that was exported, its cost, and who may load them."""

import json
import shutil

import pytest
import torch

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.exported_network import ExportedNetwork
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.exported_files import exported_preset, file_digest
from dsn_lightning.config.initial_weights import start_from
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import check_clips, load_trained
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from helpers.exported_models import CLASSES, CLIP, INPUT, KINDS, MACS, classifier, exported_file, write_exported
from helpers.synthetic import composed, save_checkpoint


def settings_for(file, *overrides: str) -> Settings:
    return composed(
        "backbone=exported", "algorithm=dsn_fixed", "observation=r2d_tiny_shared", *INPUT, f"backbone.model={file}",
        f"backbone.classes=[{','.join(CLASSES)}]", "observation.network.trunk.num_frames=2", *overrides,
    )  # fmt: skip


def started(settings: Settings, classes) -> Recognizer:
    recognizer = build_recognizer(settings, len(classes))
    start_from(recognizer, settings, classes=classes)
    return recognizer.eval()


def random_clips(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, *CLIP), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_answers_as_the_network_for_the_data_sets_classes(kind, batches):
    settings = settings_for(exported_file(kind, batches=batches))
    recognizer = started(settings, ["right hand", "Walk"])
    check_clips(recognizer, settings)
    network, clips = recognizer.classifier, random_clips()
    assert network.batched == (batches or kind in ("pt", "ts"))
    with torch.no_grad():
        expected = classifier()((clips / 255 - 0.5) / 0.25)[:, [3, 0]]
        torch.testing.assert_close(recognizer.classify(clips), expected, atol=1e-5, rtol=1e-4)
    assert count_macs(network, 2, *CLIP) == 2 * MACS


def test_our_own_export_is_used_with_nothing_given(tmp_path):
    from helpers.processes import call
    from helpers.synthetic import CLASSES as OURS
    from helpers.synthetic import fresh

    trained = fresh(composed("observation=r2d_tiny_shared"), tmp_path / "run.ckpt")
    for form, suffix in (("onnx", "onnx"), ("torch_export", "pt2")):
        call("dsn-export", "checkpoint=run.ckpt", f"format={form}", f"output={form}", cwd=tmp_path)
        file = tmp_path / form / f"classifier.{suffix}"
        settings = composed(
            "backbone=exported", "algorithm=dsn_fixed", "observation=r2d_tiny_shared", f"backbone.model={file}"
        )
        backbone, before = settings.backbone, trained.settings.backbone
        for name in ("frames_per_clip", "frame_stride", "frame_size", "crop_size", "mean", "std"):
            assert getattr(backbone, name) == getattr(before, name)
        assert list(backbone.classes) == OURS
        recognizer = started(settings, OURS)
        size = (backbone.frames_per_clip, backbone.crop_size, backbone.crop_size)
        clips = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(
                recognizer.classify(clips), trained.recognizer.classify(clips), atol=1e-4, rtol=1e-4
            )


def test_a_file_of_classes_and_what_does_not_fit(tmp_path):
    file = exported_file("ts")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    named = settings_for(file).changed({"backbone.classes": str(tmp_path / "names.txt")})
    assert started(named, ["jump"]).classifier.outputs.tolist() == [2]
    for classes, chosen, message in (
        (["jump", "skip"], settings_for(file), "'skip' is not among its 5 classes"),
        (
            ["jump"],
            named.changed({"backbone.classes": None}),
            "has 5 outputs, and the data set has 1 classes; give the",
        ),
        (["jump"], named.changed({"backbone.classes": ["jump"]}), "has 5 outputs, and backbone.classes has 1 names"),
        (["jump"], named.changed({"backbone.classes": "none.txt"}), "backbone.classes=none.txt: no such file"),
        (["jump"], named.changed({"weights": "x.pt"}), "weights=x.pt: .* has its own weights"),
    ):
        with pytest.raises(UsageError, match=message):
            started(chosen, classes)
    in_order = started(named.changed({"backbone.classes": None}), ["a", "b", "c", "d", "e"])
    assert in_order.classifier.outputs.tolist() == [0, 1, 2, 3, 4]


def test_what_is_no_classifier_of_such_clips_is_refused(tmp_path):
    other = tmp_path / "other.pt2"
    other.write_bytes(b"not an archive")
    text = tmp_path / "text.txt"
    text.write_text("x")
    given = {"mean": [0.5] * 3, "std": [0.5] * 3, "clip": CLIP}
    for file, digest, changes, message in (
        (other, file_digest(other), {}, "other.pt2: cannot be loaded"),
        (text, file_digest(text), {}, r"expected TorchScript \(.pt, .ts\)"),
        (tmp_path / "none.pt", "00" * 32, {}, "none.pt: no such file"),
        (exported_file("onnx"), "00" * 32, {}, "its content is not that with which the run was trained; not loaded"),
        (exported_file("onnx"), None, {"clip": (3, 4, 16, 8)}, r"does not take clips \(3, 4, 16, 8\)"),
        (exported_file("pt"), None, {"in_channels": 2}, "takes RGB videos"),
        (exported_file("pt"), None, {"num_classes": 0}, "cannot be the trunk of an observation network"),
    ):
        with pytest.raises(UsageError, match=message):
            ExportedNetwork(
                file=str(file), digest=digest or file_digest(file), **{"num_classes": 2, **given, **changes}
            )
    with pytest.raises(UsageError, match="expected clips of shape"):
        ExportedNetwork(2, file=str(exported_file("pt")), digest=file_digest(exported_file("pt")), **given)(
            torch.zeros(1, 3, 2, 32, 32)
        )


@pytest.mark.parametrize("algorithm", ["dsn", "baseline"])
def test_only_a_fixed_classifier_can_be_a_file(algorithm):
    with pytest.raises(UsageError, match=f"^algorithm={algorithm}: .*cannot be trained; use algorithm=dsn_fixed"):
        settings_for(exported_file("pt"), f"algorithm={algorithm}")


def test_what_the_file_does_not_say_must_be_given():
    from omegaconf.errors import OmegaConfBaseException

    with pytest.raises(OmegaConfBaseException, match=r"there is no export.json; give backbone.crop_size="):
        composed("backbone=exported", "algorithm=dsn_fixed", f"backbone.model={exported_file('pt')}",
                 "backbone.frames_per_clip=4")  # fmt: skip
    with pytest.raises(OmegaConfBaseException, match=r"backbone.model=null: give backbone.model=FILE"):
        composed("backbone=exported", "algorithm=dsn_fixed")


class LoadedError(Exception):
    """A file was given to a reader that may run it."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_loads_a_file_only_if_it_is_named(kind, tmp_path, monkeypatch):
    file = tmp_path / f"mine.{kind}"
    write_exported(file)
    settings = settings_for(file)
    recognizer = started(settings, ["right hand", "walk"])
    path = save_checkpoint(recognizer, settings, tmp_path / "run.ckpt")
    for trusted in ([], ["my_package"], [str(path)], [str(exported_file(kind, batches=False))]):
        with pytest.raises(UsageError, match=r"would load the file .*/mine.*, which can hold code; .* trust=\[FILE\]"):
            load_trained(path, key="checkpoint", trusted=trusted)
    moved = tmp_path / "elsewhere" / f"renamed.{kind}"
    moved.parent.mkdir()
    shutil.move(file, moved)
    again = load_trained(path, key="checkpoint", trusted=[str(moved)]).recognizer
    assert torch.equal(again.classify(random_clips()), recognizer.classify(random_clips()))

    def refuse(*_: object, **__: object) -> None:
        raise LoadedError

    for reader in ("torch.jit.load", "torch.export.load", "onnxruntime.InferenceSession"):
        monkeypatch.setattr(reader, refuse)
    moved.write_bytes(moved.read_bytes() + b"x")
    with pytest.raises(UsageError, match="would load the file"):
        load_trained(path, key="checkpoint", trusted=[str(moved)])


@pytest.mark.parametrize("given", [{}, {"input": {}}, {"input": "uint8"}, {"input": {"type": 8}}])
def test_a_record_that_does_not_say_the_input_is_refused_in_one_line(given, tmp_path):
    file = tmp_path / "classifier.onnx"
    file.touch()
    record = {"networks": {"classifier": {"file": file.name, **given}}}
    (tmp_path / "export.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"export\.json: cannot be read \((KeyError|TypeError): "):
        exported_preset(str(file), "pixels")
    record["networks"]["classifier"]["file"] = "another.onnx"
    (tmp_path / "export.json").write_text(json.dumps(record))
    assert exported_preset(str(file), "pixels") is False
