"""Video classifiers of transformers: the same answers, their own input, and no code but the installed package's."""

import json
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
from omegaconf.errors import InterpolationResolutionError
from safetensors.torch import load_file, save_file

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.huggingface_network import HuggingFaceNetwork, architecture, pretrained_state
from dsn_lightning.config.build import build_classifier, build_datamodule, build_recognizer
from dsn_lightning.config.huggingface_files import model_folder as found_folder
from dsn_lightning.config.initial_weights import start_from
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import shared_settings
from dsn_lightning.config.trained import check_clips
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from dsn_lightning.selections import BASELINE_CLASSIFIER, MaxResponse
from helpers.synthetic import composed
from helpers.video_models import CLASSES, FAMILIES, FRAMES, SIDE, change_json, model_folder, processor


def settings_for(folder, *overrides: str) -> Settings:
    return composed(
        "backbone=huggingface", "observation=r2d_tiny_shared", f"backbone.model={folder}", "dataset.root=nowhere",
        "observation.network.trunk.num_frames=2", *overrides,
    )  # fmt: skip


def started(folder, classes, *overrides: str) -> Recognizer:
    settings = settings_for(folder, *overrides)
    recognizer = build_recognizer(settings, len(classes))
    start_from(recognizer, settings, classes=classes)
    return recognizer.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_answers_as_in_transformers_from_pixels_to_logits(family):
    from transformers import AutoModelForVideoClassification

    folder = model_folder(family)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 60, 3)).astype(np.uint8)
    inputs = processor(family).from_pretrained(folder)([list(frames)], return_tensors="pt")
    with torch.no_grad():
        expected = AutoModelForVideoClassification.from_pretrained(folder).eval()(**inputs).logits[0]
    pixels = next(iter(inputs.values()))[0]
    recognizer = started(folder, CLASSES)
    backbone = settings_for(folder).backbone
    assert (backbone.frames_per_clip, backbone.crop_size, backbone.classes) == (FRAMES, SIDE, CLASSES)
    assert (backbone.resize, backbone.frame_size) == (
        ("squash", (34, 36)) if family == "timesformer" else ("short_side", (36, 48))
    )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    clip = ((pixels * std + mean) * 255).round().to(torch.uint8).transpose(0, 1)  # what the processor cut out
    assert clip.unique().numel() > 100
    with torch.no_grad():
        torch.testing.assert_close(recognizer.classify(clip[None])[0], expected, atol=1e-4, rtol=1e-4)


def test_the_layer_of_classes_is_kept_where_the_data_sets_are_among_them():
    folder = model_folder()
    state, count = pretrained_state(folder, json.loads((folder / "config.json").read_text()))
    assert count == 5
    network = started(folder, ["right hand", "Left_Hand"]).classifier.model
    torch.testing.assert_close(network.classifier.weight, state["classifier.weight"][[3, 1]])
    torch.testing.assert_close(network.classifier.bias, state["classifier.bias"][[3, 1]])
    other = started(folder, ["left hand", "walk"]).classifier.model
    assert not torch.equal(other.classifier.weight[0], state["classifier.weight"][1])
    name = "videomae.encoder.layer.0.attention.attention.query.weight"
    torch.testing.assert_close(dict(other.named_parameters())[name], state[name])


def test_a_model_without_a_layer_of_classes_gets_one(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    state = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in state.items() if not name.startswith("classifier.")},
              folder / "model.safetensors")  # fmt: skip
    network = started(folder, ["jump", "abseiling"]).classifier.model
    assert network.classifier.weight.shape == (2, 16)
    with pytest.raises(UsageError, match=r"has no layer of classes; fine-tune it with algorithm=baseline"):
        started(folder, ["jump", "abseiling"], "algorithm=dsn_fixed")
    save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(UsageError, match=r"its weights do not fit: missing keys: fc_norm"):
        started(folder, ["jump", "abseiling"])


def test_classes_that_are_given_count_in_place_of_the_models():
    named = settings_for(model_folder()).changed({"backbone.classes": ["a", "b", "c", "d", "e"]})
    recognizer = build_recognizer(named, 2)
    start_from(recognizer, named, classes=["e", "b"])
    theirs = load_file(model_folder() / "model.safetensors")["classifier.weight"]
    assert torch.equal(recognizer.classifier.model.classifier.weight, theirs[[4, 1]])


def test_a_fixed_classifier_needs_its_own_classes():
    folder = model_folder()
    fixed = started(folder, ["jump", "abseiling"], "algorithm=dsn_fixed")
    assert not any(parameter.requires_grad for parameter in fixed.classifier.parameters())
    with pytest.raises(
        UsageError, match=r"'jumping balls' is not among its 5 classes .nearest: juggling balls, "
    ) as one:
        started(folder, ["jump", "jumping balls"], "algorithm=dsn_fixed")
    assert "fine-tune it with algorithm=baseline" in str(one.value)
    with pytest.raises(UsageError, match=r"'jump' and 'Jump' of the data set are the same class"):
        started(folder, ["jump", "Jump"], "algorithm=dsn_fixed")
    with pytest.raises(UsageError, match=r"has no names of its classes; give them"):
        started(model_folder(classes=None), ["jump", "abseiling"], "algorithm=dsn_fixed")


@pytest.mark.parametrize("family", FAMILIES)
def test_only_some_take_other_numbers_of_frames(family):
    settings = settings_for(model_folder(family), f"backbone.frames_per_clip={2 * FRAMES}")
    recognizer = build_recognizer(settings, 2)
    if family in ("timesformer", "vjepa2"):
        check_clips(recognizer, settings)
    else:
        with pytest.raises(UsageError, match=f"does not take clips of {2 * FRAMES} frames"):
            check_clips(recognizer, settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_but_the_unused_ones_learn(family):
    settings = settings_for(model_folder(family), "dataset.modality=flow")
    network = build_classifier(settings.backbone, num_classes=2, modality="flow")
    network(torch.randn(2, 2, FRAMES, SIDE, SIDE)).square().sum().backward()
    without = {n for n, p in network.named_parameters() if p.grad is None}
    assert all("predictor" in name or "pooler" in name for name in without), without


def test_a_checkpoint_needs_no_folder_of_the_model(tmp_path):
    from helpers.synthetic import fresh

    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    settings = settings_for(folder)
    before = fresh(settings, tmp_path / "run.ckpt")
    shutil.rmtree(folder)
    from dsn_lightning.config.trained import load_trained

    after = load_trained(tmp_path / "run.ckpt", key="checkpoint")
    clips = torch.randint(0, 256, (1, 3, FRAMES, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(before.recognizer.classify(clips), after.recognizer.classify(clips))


def test_a_data_set_reads_what_the_model_takes():
    data = build_datamodule(settings_for(model_folder()))
    assert (data.scheme.frames_per_clip, data.scheme.frame_stride) == (FRAMES, 64 // FRAMES)
    assert (data.crop.frame_size, data.crop.crop_size) == ((36, 48), SIDE)


def test_what_is_no_such_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"backbone.model=null: give backbone.model=PATH"):
        found_folder(None)
    with pytest.raises(UsageError, match=r"neither a folder with config.json nor in the cache.*hf download org/name"):
        found_folder("org/name")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(Exception, match=r"model_type=bert: is not a video classifier"):
        settings_for("bert")
    shutil.copytree(model_folder(), "other")
    (tmp_path / "other" / "preprocessor_config.json").unlink()
    with pytest.raises(
        Exception, match=r"has no video_preprocessor_config.json or preprocessor_config.json; give backb"
    ):
        settings_for("other")
    for wrong in ({"hidden_size": "wide"}, {"hidden_size": 15}, {"hidden_act": "none"}, {"image_size": [1, "x"]}):
        with pytest.raises(UsageError, match=r"does not describe a videomae"):
            HuggingFaceNetwork(2, config={**architecture({"model_type": "videomae"}), **wrong})
    with pytest.raises(UsageError, match=r"config._attn_implementation: videomae has no such setting"):
        HuggingFaceNetwork(2, config={"model_type": "videomae", "_attn_implementation": "org/kernel"})
    monkeypatch.setitem(sys.modules, "transformers.models.videomae.modeling_videomae", None)
    with pytest.raises(UsageError, match=r"needs the package transformers: pip install"):
        HuggingFaceNetwork(2, config={"model_type": "videomae"})


class Canary:
    def __reduce__(self):
        return (open, ("canary", "w"))


def test_nothing_in_the_folder_of_a_model_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder(), "model")
    folder = tmp_path / "model"
    change_json(
        folder / "config.json", auto_map={"AutoModelForVideoClassification": "evil.Evil", "AutoConfig": "evil.Evil"},
        _attn_implementation="org/kernel", attn_implementation="org/kernel", quantization_config={"quant_method": "x"},
    )  # fmt: skip
    (folder / "evil.py").write_text("open('canary', 'w')")
    started(folder, CLASSES)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"classifier.weight": Canary()}))
    with pytest.raises(UsageError, match=r"its weights cannot be loaded"):
        started(folder, CLASSES)
    torch.save({"classifier.weight": Canary()}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"its weights cannot be loaded"):
        started(folder, CLASSES)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_act", {"_target_": "os.mkdir", "path": "canary"}, "would run os.mkdir"),
        ("layer_norm_eps", [[{"_target_": "os.mkdir", "path": "canary"}]], "would run os.mkdir"),
        ("hidden_act", "${oc.env:HOME}", r"config\.hidden_act=.* a reference"),
        ("layer_norm_eps", {"${oc.env:HOME}": 1}, r"config\.layer_norm_eps.* a reference"),
        ("id2label", {"0": "${oc.env:HOME}", "1": "b"}, r"classes\[0\]=.* a reference"),
    ],
)
def test_the_configuration_of_a_model_holds_plain_values(key, value, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder(), "model")
    change_json(tmp_path / "model" / "config.json", **{key: value})
    with pytest.raises(InterpolationResolutionError, match=message):
        build_recognizer(settings_for("model"), 2)
    assert not (tmp_path / "canary").exists()


def test_a_folder_with_an_adapter_is_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "megatron_core": "evil", "megatron_config": {}}')
    with pytest.raises(UsageError, match=r"model: has an adapter \(adapter_config\.json\), which is not loaded; merge"):
        started(folder, CLASSES)


def test_multiply_adds_of_videomae_base_are_those_of_its_layers():
    """12 blocks on 8 * 14 * 14 tokens of width 768; the paper (Tong et al., 2022) has 180 GFLOPs of this kind."""
    network = HuggingFaceNetwork(400, config={"model_type": "videomae"})
    tokens, width = 8 * 14 * 14, 768
    block = 4 * tokens * width**2 + 8 * tokens * width**2 + 2 * tokens**2 * width
    patches = tokens * width * (3 * 2 * 16 * 16)
    expected = 12 * block + patches + 400 * width
    assert count_macs(network, 1, 3, 16, 224, 224) == expected
    assert expected / 1e9 == pytest.approx(180, rel=0.01)


def test_the_cost_of_a_model_is_counted_from_its_folder(capsys, tmp_path):
    from helpers.processes import call

    done = call(
        "dsn-cost", "backbone=huggingface", f"backbone.model={model_folder()}", "observation=r2d_tiny_shared",
        "observation.network.trunk.num_frames=2", "num_classes=5", "format=json", cwd=tmp_path,
    )  # fmt: skip
    assert "videomae-5" in done.stdout


def test_a_model_in_the_hubs_cache_is_found_by_its_name(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--org--a-model"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0123")
    shutil.copytree(model_folder(), place / "snapshots" / "0123")
    settings = settings_for("org/a-model")
    assert (settings.backbone.name, settings.backbone.frames_per_clip) == ("a-model", FRAMES)
    recognizer = build_recognizer(settings, 2)
    start = start_from(recognizer, settings, classes=["jump", "left hand"])
    assert start.classifier == "a-model"


def test_the_trunk_that_several_runs_share_is_not_the_model():
    settings = settings_for(model_folder(), "algorithm=dsn")
    trunk = shared_settings(settings, MaxResponse.name).backbone
    assert (trunk.name, trunk.weights, trunk.classes) == ("r2d_tiny", None, None)
    own = shared_settings(settings, BASELINE_CLASSIFIER).backbone
    assert (own.weights, own.classes) == (str(model_folder()), CLASSES)
