"""Loading weights: what fits, what is adapted, and what is refused with which message."""

import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from conftest import NEEDLE
from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.backbones.weights import WeightsError, load_into, read_weights, tensors_of
from dsn_lightning.config.build import build_classifier, build_observation, build_recognizer
from dsn_lightning.config.compose import names_in_group, settings_of
from dsn_lightning.config.initial_weights import _PUBLISHED, Head, start_from, take_weights
from dsn_lightning.config.shared_trainings import shared_settings
from dsn_lightning.config.stored_settings import check_stored_parts
from dsn_lightning.config.trained import RECORD_KEY, load_trained
from dsn_lightning.config.trust import refuse_foreign_code
from dsn_lightning.errors import UsageError
from helpers.own_networks import needed_by
from helpers.processes import call
from helpers.synthetic import composed, fresh, save_checkpoint


def mobilenet(num_classes: int = 3, **keys: object) -> MobileNetV2:
    return MobileNetV2(num_classes, **keys)


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    """The weights of a MobileNetV2 of torchvision with its 1000 classes."""
    return models.mobilenet_v2(weights=None).state_dict()


def same(network: nn.Module, state: dict[str, torch.Tensor], prefix: str) -> bool:
    return all(
        torch.equal(value, state[name]) for name, value in network.state_dict().items() if name.startswith(prefix)
    )


def test_the_networks_head_is_kept(source):
    network = mobilenet()
    head = network.fc.weight.clone()
    load_into(network, source)
    assert same(network, source, "features.")
    assert torch.equal(network.fc.weight, head)


@pytest.mark.parametrize("wrap", ["state_dict", "model", "module", "safetensors", "without counters"])
def test_weights_load_from_common_file_formats(source, tmp_path, wrap):
    file = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pt")
    if wrap == "safetensors":
        save_file({name: value.contiguous() for name, value in source.items()}, file)
    elif wrap == "module":
        torch.save({f"module.{name}": value for name, value in source.items()}, file)
    elif wrap == "without counters":
        torch.save({name: value for name, value in source.items() if "num_batches" not in name}, file)
    else:
        torch.save({wrap: source, "epoch": 3}, file)
    network = mobilenet()
    load_into(network, tensors_of(read_weights(file)))
    assert same(network, source, "features.")


def test_a_linear_layer_takes_the_kernel_of_a_convolution_of_size_1():
    """Other sizes and widths are refused."""
    weight = torch.randn(3, 1280)
    for axes in ((1, 1), (1, 1, 1)):
        network = mobilenet()
        state = {**network.state_dict(), "fc.weight": weight.reshape(3, 1280, *axes)}
        load_into(network, state, keep_head=False)
        assert torch.equal(network.fc.weight, weight)
    for shape in ((3, 1280, 2, 1), (3, 640, 1, 1), (3, 1280)[::-1]):
        with pytest.raises(WeightsError, match=r"wrong shapes: fc\.weight"):
            load_into(mobilenet(), {**network.state_dict(), "fc.weight": torch.ones(shape)}, keep_head=False)


def without(name: str, state: dict) -> dict:
    return {n: v for n, v in state.items() if n != name}


LAST = "features.18.0.weight"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: without(LAST, s), r"missing keys: features\.18\.0\.weight$"),
        (lambda s: s | {"features.19.weight": torch.ones(1)}, r"unexpected keys: features\.19\.weight$"),
        (
            lambda s: s | {LAST: s[LAST][:, :8]},
            r"wrong shapes: features\.18\.0\.weight \(expected \(1280, 320, 1, 1\), got \(1280, 8, 1, 1\)\)$",
        ),
        (
            lambda s: models.resnet18(weights=None).state_dict(),
            r"missing keys: features.* and \d+ more; unexpected keys: conv1\.weight",
        ),
        (lambda s: {}, "contains no weights"),
        (lambda s: {"a": 1}, "contains no weights"),
    ],
)
def test_misfits_are_refused_with_their_keys(source, change, complaint):
    network = mobilenet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=complaint) as caught:
        load_into(network, tensors_of(change(source)))
    assert "\n" not in str(caught.value)
    assert same(network, before, "")


class Code:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_damaged_files_and_code_are_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(source, "whole.pt")
    content = Path("whole.pt").read_bytes()
    Path("half.pt").write_bytes(content[: len(content) // 2])
    Path("empty.pt").touch()
    Path("junk.pt").write_bytes(b"junk" * 100)
    Path("code.pt").write_bytes(pickle.dumps(Code()))
    torch.save({"w": torch.ones(2), "x": Code()}, "hidden.pt")
    torch.save([1, 2], "list.pt")
    torch.save({"w": torch.ones(1).expand(2**40)}, "repeated.pt")  # 4 TiB, if it were copied
    save_file({"w": torch.ones(500)}, "whole.safetensors")
    Path("half.safetensors").write_bytes(Path("whole.safetensors").read_bytes()[:300])
    for name, complaint in {
        "half.pt": "cannot be read as weights|is damaged",
        "empty.pt": "cannot be read as weights",
        "junk.pt": "cannot be read as weights",
        "code.pt": "perhaps code",
        "hidden.pt": "perhaps code",
        "list.pt": "expected weights by name, got a list",
        "repeated.pt": "has a tensor of more values than it stores",
        "half.safetensors": "cannot be read as weights",
        "none.pt": "no such file",
    }.items():
        with pytest.raises(WeightsError, match=complaint) as caught:
            read_weights(Path(name))
        assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fc.weight": torch.ones(3, 1280).to_sparse()}, r"fc\.weight: expected a dense tensor"),
        ({"fc.bias": torch.tensor(1.0)}, "with a row for each of its classes"),
    ],
)
def test_a_layer_of_classes_without_rows_is_refused(source, tmp_path, change, complaint):
    layer = {"fc.weight": torch.ones(3, 1280), "fc.bias": torch.ones(3)}
    torch.save({**source, **layer, **change}, tmp_path / "odd.pt")
    head = Head(classes=["a", "b"], known=["a", "b", "c"], own=True)
    with pytest.raises(UsageError, match=rf"^weights=.*odd\.pt: .*{complaint}"):
        take_weights(mobilenet(2), str(tmp_path / "odd.pt"), {}, key="weights", head=head)


def test_the_stem_gives_the_same_for_a_still_clip_and_its_image():
    images = models.resnet18(weights=None)
    network = ResNet2D(0)
    load_into(network, images.state_dict())
    frame = torch.randn(2, 3, 32, 32)
    stacked = frame[:, :, None].expand(-1, -1, 8, -1, -1).transpose(1, 2).flatten(1, 2)
    with torch.no_grad():
        torch.testing.assert_close(network.conv1(stacked), images.conv1(frame), rtol=1e-4, atol=1e-5)
    assert torch.equal(network.layer4[1].conv2.weight, images.layer4[1].conv2.weight)


def test_image_weights_are_adapted_to_flow(source):
    network = mobilenet(in_channels=2)
    load_into(network, source)
    kernel = network.features[0][0].weight
    assert torch.allclose(kernel, source["features.0.0.weight"].mean(1, keepdim=True).expand_as(kernel))
    stacked = ResNet2D(0, in_channels=2)
    images = models.resnet18(weights=None).state_dict()
    load_into(stacked, images)
    assert torch.allclose(stacked.conv1.weight, images["conv1.weight"].mean(1, keepdim=True).expand(-1, 16, -1, -1) / 8)


@pytest.mark.parametrize("backbone", ["r3d_18", "r2plus1d_18", "torchvision"])
def test_torchvisions_weights_fit(backbone):
    settings = composed(f"backbone={backbone}")
    name = {"torchvision": "resnet50"}.get(backbone, backbone)
    network = build_classifier(settings.backbone, num_classes=4, modality="rgb")
    theirs = models.get_model(name, weights=None).state_dict()
    load_into(network, theirs)
    inner = network.model if backbone == "torchvision" else network
    assert same(inner, theirs | {"fc.weight": inner.fc.weight, "fc.bias": inner.fc.bias}, "")


def test_a_runs_classifier_initialises_another_runs_trunk(tmp_path):
    """A run on many classes, such as Kinetics, initialises an observation network on few."""
    trained = fresh(composed("algorithm=baseline", "backbone=r2d_tiny"), tmp_path / "kinetics.ckpt")
    target = build_observation(composed().observation, num_classes=4, modality="rgb")
    take_weights(target.trunk, str(trained.path), {}, key="observation.weights")
    assert same(target.trunk, trained.recognizer.classifier.state_dict(), "")
    classifier = build_classifier(composed().backbone, num_classes=2, modality="rgb")
    with pytest.raises(UsageError, match=r"^weights=.*: its r2d_tiny does not fit this network: missing keys: stem"):
        take_weights(classifier, str(trained.path), {}, key="weights")


def test_unavailable_public_weights_get_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    published = {"kinetics400": "http://127.0.0.1:9/net-0123abcd.pth", "imagenet": None}
    with pytest.raises(UsageError) as caught:
        take_weights(mobilenet(), "kinetics400", published, key="weights")
    for part in (
        "weights=kinetics400",
        "net-0123abcd.pth",
        "http://127.0.0.1:9/net-0123abcd.pth",
        str(tmp_path / ".cache" / "dsn_lightning" / "weights"),
    ):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match="weights=imagenet: no such weights are public; train them"):
        take_weights(mobilenet(), "imagenet", published, key="weights")
    with pytest.raises(UsageError, match=r"weights=imagenett: no such file.*\(known: kinetics400, imagenet\)"):
        take_weights(mobilenet(), "imagenett", published, key="weights")


def test_public_weights_are_found_in_the_cache_folder(source, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(source, tmp_path / "checkpoints" / "net.pth")
    network = mobilenet()
    published = {"imagenet": "https://download.pytorch.org/models/net.pth", "other": "http://127.0.0.1:9/net.pth"}
    take_weights(network, "imagenet", published, key="weights")
    assert same(network, source, "features.")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="save it as") as caught:  # a file of that name from elsewhere is another one
        take_weights(mobilenet(), "other", published, key="weights")
    place = Path(str(caught.value).rpartition("save it as ")[2])
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(source, place)
    network = mobilenet()
    take_weights(network, "other", published, key="weights")
    assert same(network, source, "features.")


def test_the_addresses_of_the_package_are_those_whose_files_torch_hub_keeps():
    files = sorted((Path(__file__).parents[2] / "conf" / "backbone").glob("*.yaml"))
    addresses = [word for file in files for word in file.read_text().split() if word.startswith("https://")]
    assert len(addresses) >= 8
    assert all(_PUBLISHED.fullmatch(address) for address in addresses)
    for other in ("../../../../a/b/x.pth", "%2e%2e/x.pth", "x.pth?/y.pth", "x.pth#/y.pth", "a/x.pth", "x.pth\n"):
        assert not any(_PUBLISHED.fullmatch(f"{address.rpartition('/')[0]}/{other}") for address in addresses)


def test_imagenet_features_of_one_video_are_alike(real_data):
    """Features of the same video are closer to each other than to those of other videos."""
    file = real_data.parent / "weights" / "mobilenet_v2_imagenet_features.pt"
    if not file.is_file():
        pytest.skip(f"{file} is missing: no ImageNet weights to test with")
    from dsn_lightning.video.pyav_decoder import PyAV

    network = mobilenet(0).eval()
    load_into(network, tensors_of(read_weights(file)))
    backbone = composed("backbone=mobilenet_v2").backbone
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (backbone.mean, backbone.std))
    features = []
    for path in sorted((real_data / "ucf101").rglob("*.avi"))[:12:3]:
        info = PyAV().probe(path)
        frames = PyAV().read(path, [10, info.num_frames - 10], (112, 112), info)
        clips = (torch.from_numpy(frames).permute(3, 0, 1, 2) / 255 - mean) / std
        with torch.no_grad():
            features.append(torch.stack([network(clips[None, :, i : i + 1])[0] for i in (0, 1)]))
    features = nn.functional.normalize(torch.stack(features), dim=-1)  # (videos, 2, D)
    alike = features[:, 0] @ features[:, 1].T
    assert (alike.argmax(1) == torch.arange(len(alike))).all()


@pytest.mark.parametrize("change", ["missing", "extra", "misshaped", "architecture", "half", "code", "record"])
def test_a_damaged_checkpoint_is_refused_with_one_line(change, tmp_path):
    trained = fresh(composed(), tmp_path / "run.ckpt")
    content = torch.load(trained.path, weights_only=True)
    state, name = content["state_dict"], "classifier.layer2.0.conv1.0.weight"
    complaint = name
    match change:
        case "missing":
            del state[name]
        case "extra":
            complaint = "classifier.layer9.weight"
            state[complaint] = torch.ones(2)
        case "misshaped":
            state[name] = state[name][:1]
        case "architecture":
            other = composed("backbone=r2d_tiny")
            save_checkpoint(trained.recognizer, other, trained.path)
            content, complaint = (
                torch.load(trained.path, weights_only=True),
                "does not fit this network: missing keys: classifier.conv1",
            )
        case "record":
            content[RECORD_KEY], complaint = {"format": 1, "config": {}, "classes": []}, "missing keys: M, N"
        case "code":
            content["state_dict"], complaint = Code(), "perhaps code"
        case "half":
            complaint = "cannot be read as weights|is damaged"
    torch.save(content, trained.path)
    if change == "half":
        trained.path.write_bytes(trained.path.read_bytes()[:9000])
    with pytest.raises(UsageError, match=complaint) as caught:
        load_trained(trained.path, key="checkpoint")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"checkpoint={trained.path}: ")


@pytest.mark.parametrize(
    "part",
    [
        {"_target_": "dsn_lightning.files.write_atomically", "path": {"_target_": "pathlib.Path"}, "text": "x"},
        {"_target_": "dsn_lightning.backbones.weights.torch.load", "f": "code.pt", "weights_only": False},
        {"_target_": "dsn_lightning.prepare.copies.write_copy"},
        {"_target_": "dsn_lightning.prepare.video_index.Path", "_args_": ["x"]},
        {"_target_": "dsn_lightning.backbones.resnet2d.torch.hub.load"},
        {"_target_": "torchvision.models.resnet.load_state_dict_from_url"},
        {"_target_": "subprocess.run", "args": "touch ran"},
        {"_target_": "conftest.MeanClassifier"},
        {"_target_": "conftest.torch.hub.load"},
        {"_target_": "conftest.call"},
        {"_target_": "dsn_lightning.selections.Selection"},
        {"_target_": "dsn_lightning.training.weight_average.AveragedWeights"},
        {"_target_": "torch.optim.Optimizer.register_optimizer_step_pre_hook"},
        {"_target_": "torchvision.models.resnet18"},
        {"_target_": ["os.system"]},
        {"_target_": ""},
    ],
)
def test_a_checkpoint_builds_nothing_but_parts_of_the_package(part, tmp_path):
    trained = fresh(composed(), tmp_path / "run.ckpt")
    content = torch.load(trained.path, weights_only=True)
    content[RECORD_KEY]["config"]["backbone"]["network"]["blocks"] = [part]
    torch.save(content, trained.path)
    with pytest.raises(UsageError, match=re.escape(f"would run {part['_target_']}, which is not part of dsn_")):
        load_trained(trained.path, key="checkpoint")
    if part["_target_"] == "conftest.MeanClassifier":
        refuse_foreign_code({"estimator": part}, "here", trusted=["conftest"])
    elif str(part["_target_"]).startswith("conftest"):  # which it has imported
        with pytest.raises(UsageError, match="would run conftest"):
            refuse_foreign_code({"estimator": part}, "here", trusted=["conftest"])


def test_all_targets_in_conf_are_allowed():
    groups = ("backbone", "observation", "dataset", "schedule", "algorithm", "trainer", "logger", "callbacks")
    names = {group: [n for n in names_in_group(group) if n not in ("custom", "none")] for group in groups}
    for number in range(max(map(len, names.values()))):
        chosen = [f"{group}={values[number % len(values)]}" for group, values in names.items()]
        needed = needed_by(names["backbone"][number % len(names["backbone"])])
        files = [argument.partition("=")[2] for argument in needed if argument.startswith("backbone.model=")]
        needed += ["schedule.max_epochs=3", "run_dir=x"]  # some schedules leave it to the videos
        check_stored_parts(settings_of(*chosen, *needed), None, where="conf", trusted=files)


def test_a_checkpoint_gives_no_other_arguments(tmp_path):
    trained = fresh(composed(), tmp_path / "run.ckpt")
    for key, value in (("hidden", 1), ("_args_", []), ("_recursive_", False), ("_convert_", "all")):
        content = torch.load(trained.path, weights_only=True)
        content[RECORD_KEY]["config"]["backbone"]["network"][key] = value
        torch.save(content, tmp_path / "changed.ckpt")
        with pytest.raises(UsageError, match=rf"network.{key}: dsn_lightning.backbones.* has no such argument"):
            load_trained(tmp_path / "changed.ckpt", key="checkpoint")


def test_random_frozen_blocks_are_refused():
    settings = composed("backbone=mobilenet_v2", "algorithm=baseline")
    recognizer = build_recognizer(settings, 2)
    with pytest.raises(UsageError, match="weights=null: the first 15 blocks of this network are frozen and would stay"):
        start_from(recognizer, settings, classes=["a", "b"])


@pytest.mark.parametrize("key", ["mean", "fps", "network.widths"])
def test_a_classifier_for_other_clips_is_refused(key, tmp_path):
    path, value = {"fps": ("dataset.fps", 5), "mean": ("backbone.mean", [0.1, 0.1, 0.1])}.get(
        key, ("backbone.network.widths", [8, 16, 32, 32])
    )
    other = composed("algorithm=baseline").changed({path: value})
    target = composed(f"classifier.checkpoint={fresh(other, tmp_path / 'a.ckpt').path}")
    with pytest.raises(UsageError, match=key.split(".")[-1] + "="):
        start_from(build_recognizer(target, 2), target, classes=["right", "left"])
    same_weights = composed("algorithm=baseline", "backbone.network.channels_last=false")
    target = composed(f"classifier.checkpoint={fresh(same_weights, tmp_path / 'b.ckpt').path}")
    start_from(build_recognizer(target, 2), target, classes=["right", "left"])


def test_weights_load_from_files_of_densenets():
    """Their names differ from the layers'; torchvision renames them on loading."""
    theirs = models.densenet121(weights=None).state_dict()
    in_files = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): v for name, v in theirs.items()}
    assert in_files.keys() != theirs.keys()
    network = TorchvisionNetwork(4, model="densenet121")
    load_into(network, in_files)
    assert torch.equal(
        network.model.features.denseblock1.denselayer1.conv1.weight,
        theirs["features.denseblock1.denselayer1.conv1.weight"],
    )


def test_same_weights_apply_only_to_networks_of_one_class():
    assert composed("backbone=mobilenet_v2", "weights=imagenet").observation_weights == "imagenet"
    other = composed("backbone=r3d_18", "observation=mobilenet_v2", "weights=kinetics400")
    assert other.observation_weights is None


def test_dsn_train_refuses_weights_in_one_line(needle_root, tmp_path):
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Code()))
    done = call(
        "dsn-train",
        f"dataset.root={needle_root}",
        *NEEDLE,
        "weights=code.pt",
        "progress=false",
        "hydra.run.dir=run",
        cwd=tmp_path,
        expect=2,
    )
    *_, last = done.stderr.strip().split("\n")
    assert last.startswith("dsn-train: error: weights=code.pt: contains more than weights (perhaps code)")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert not (tmp_path / "ran").exists()


def keep_as_public(content: dict, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put weights where `torch.hub` keeps downloaded files."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    (folder / "checkpoints").mkdir(exist_ok=True)
    torch.save(content, folder / "checkpoints" / name)


@pytest.mark.parametrize(("name", "text"), [("kinetics400", "IG-65M, then Kinetics-400"), ("ig65m", "IG-65M")])
def test_the_weights_of_r2plus1d_34_are_named_by_what_they_were_trained_on(name, text, tmp_path, monkeypatch):
    """A smaller network stands in: the name is the file's, whatever its size."""
    small = {"backbone.network.blocks": [1, 1, 1, 1]}
    settings = composed("algorithm=baseline", "backbone=r2plus1d_34", f"weights={name}").changed(small)
    recognizer = build_recognizer(settings, 2)
    address = settings.backbone.weights_from[name]
    keep_as_public(recognizer.classifier.state_dict(), address.rpartition("/")[2], tmp_path, monkeypatch)
    assert start_from(recognizer, settings, classes=["a", "b"]).classifier == text


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_the_papers_observation_network_starts_from_imagenet(modality, tmp_path, monkeypatch):
    """A still clip gives it the first features of ResNet-18; the network for max response starts from the same file."""
    settings = settings_of("experiment=table1/dsn", f"dataset.modality={modality}", "run_dir=none")
    settings = settings.changed({"observation.checkpoint": None, "weights": None})
    theirs = models.resnet18(weights=None)
    address = settings.observation.weights_from["imagenet"]
    keep_as_public(theirs.state_dict(), address.rpartition("/")[2], tmp_path, monkeypatch)
    recognizer = build_recognizer(settings, 2)
    start = start_from(recognizer, settings, classes=["a", "b"])
    assert (start.classifier, start.observation) == ("random weights", "imagenet")
    image = torch.rand(1, 1, 32, 32).expand(1, 3, 32, 32)  # grey, so that the channels' mean kernel gives the same
    channels = recognizer.observation.trunk.in_channels
    still = image[:, :1].repeat(1, 8 * channels, 1, 1)
    expected = theirs.conv1(image) * (channels / 3)
    torch.testing.assert_close(recognizer.observation.trunk.conv1(still), expected, rtol=1e-4, atol=1e-4)
    response = shared_settings(settings, "max_response")
    assert (response.backbone.name, response.weights) == ("r2d_18", "imagenet")


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_kinetics_weights_for_it_can_be_trained(modality):
    settings = settings_of("experiment=paper/kinetics_r2d_18", f"dataset.modality={modality}", "run_dir=none")
    assert (settings.algorithm.name, settings.dataset.name, settings.weights) == ("baseline", "kinetics", "imagenet")
    trained = {key: value for key, value in settings.backbone.network.items() if key != "num_classes"}
    observation = settings_of("experiment=table1/dsn", "run_dir=none").observation
    expected = {key: value for key, value in observation.trunk.items() if key != "num_classes"}
    assert trained == expected
