"""Attacks by someone who did not write the checks: on what a file may name, on pickles, playlists, lists and reports.

An attack would make the file ``canary``, write into the folder ``elsewhere``, read the file ``private`` in it, or copy
the environment variable ``SECRET``.
"""

import io
import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from PIL import Image
from pyarrow import parquet
from rich.console import Console
from rich.panel import Panel

import dsn_lightning
from dsn_lightning import DSN
from dsn_lightning.backbones.weights import WeightsError, read_weights, tensors_of
from dsn_lightning.cli.application import stop
from dsn_lightning.cli.predict_output import time_line_csv
from dsn_lightning.cli.report import report
from dsn_lightning.cli.trainer_recipe import configured_callbacks, make_trainer
from dsn_lightning.config.arguments import begin_job, continue_run, sweep_to_resume
from dsn_lightning.config.build_loggers import tracked
from dsn_lightning.config.build_part import build_decoder, build_part
from dsn_lightning.config.compose import config_folder, settings_of
from dsn_lightning.config.initial_weights import take_weights
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import AUTO, shared_settings, train_once
from dsn_lightning.config.stored_data import datamodule_of
from dsn_lightning.config.stored_places import lies_here
from dsn_lightning.config.stored_settings import check_stored_parts, stored_settings
from dsn_lightning.config.trained import RECORD_KEY, load_trained
from dsn_lightning.config.trust import refuse_foreign_code
from dsn_lightning.datasets import ActivityNet, Folder, Kinetics, Needle
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.evaluation.array_archive import open_arrays
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.files import UnreadableFileError
from dsn_lightning.prediction.answer import WindowAnswer
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.parquet_shards import ParquetShards
from dsn_lightning.prediction.windows import webvtt
from dsn_lightning.prepare.video_index import index_videos, prepare_source
from dsn_lightning.text_tables import PrintableConsole, TextTable, csv_records
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.video import ImageFolder, PyAV, VideoError
from helpers.clip_scores import scored
from helpers.encoded_videos import encode
from helpers.synthetic import composed, fresh

SECRET = "a-secret-of-the-environment"
TOUCH = "touch canary"
PRIVATE = "a private text"
MARKUP = "<script>canary</script><img src=x onerror=1>"
ESCAPES = "a\x1b]0;canary\x07\x1b[2J\x9b2J\u202eb"

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of the checkpoint of a small DSN."""
    file = tmp_path_factory.mktemp("honest") / "run.ckpt"
    fresh(composed("backbone=r2d_tiny", "dataset.root=nowhere"), file)
    return torch.load(file, weights_only=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; ``elsewhere`` beside it must stay as it is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "private").write_text(f"{PRIVATE}\n")
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SECRET", SECRET)
    return folder


def unharmed(place: Path, text: str = "") -> None:
    """Nothing has run, nothing was written elsewhere, and neither secret was copied."""
    elsewhere = place.parent / "elsewhere"
    assert [path.name for path in elsewhere.iterdir()] == ["private"]
    assert (elsewhere / "private").read_text() == f"{PRIVATE}\n"
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if path.name == "canary"]
    assert SECRET not in text
    assert PRIVATE not in text
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert PRIVATE.encode() not in content, path


def put(values: Mapping[str, Any]) -> Change:
    """Return a change of a configuration: values at dotted keys."""

    def change(config: dict[str, Any]) -> None:
        for key, value in values.items():
            *path, last = key.split(".")
            node = config
            for part in path:
                node = node[part]
            node[last] = value

    return change


def changed(honest: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    content = deepcopy(dict(honest))
    put(values)(content[RECORD_KEY]["config"])
    return content


def part(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"_target_": name, **arguments}


def test_a_shared_training_stays_in_the_folder_of_shared_trainings(place):
    names = [f"{part}.name=x/../../../elsewhere/y" for part in ("backbone", "observation")]
    settings = composed("backbone=r2d_tiny", "dataset.root=nowhere", "shared.folder=shared", *names)
    for role in AUTO.values():
        assert shared_settings(settings, role).folder.parent == place / "shared"


@pytest.mark.parametrize("target", ["model.pt.Part", "torch.onnx.export"])
def test_a_trusted_file_is_no_package_of_that_name(target, honest, place, monkeypatch):
    (place / "model").mkdir()
    (place / "model/pt.py").write_text("open('canary', 'w')\nclass Part: ...\n")
    monkeypatch.syspath_prepend(place)  # as in a notebook
    torch.save(changed(honest, {"estimator": part(target)}), "run.ckpt")
    with pytest.raises(UsageError, match=rf"estimator: would run {target}, which is not part"):
        load_trained("run.ckpt", key="checkpoint", trusted=(target.rpartition(".")[0],))
    unharmed(place)


@pytest.mark.parametrize("given", ["model.PT", "model.pt ", "model.pth", "model.safetensors", "trusted_package"])
def test_what_is_given_to_trust_allows_no_other_module(given, honest, place, monkeypatch):
    (place / "model").mkdir()
    for module in ("model/PT.py", "model/pt .py", "model/pth.py", "model/safetensors.py", "t.py"):
        (place / module).write_text("open('canary', 'w')\nclass Part: ...\n")
    monkeypatch.syspath_prepend(place)  # as in a notebook
    target = "t.Part" if given == "trusted_package" else f"{given}.Part"
    torch.save(changed(honest, {"estimator": part(target)}), "run.ckpt")
    for trust in (given, Path(given), [Path(given)], Path("t")):
        with pytest.raises(UsageError, match=rf"estimator: would run {target}, which is not part"):
            DSN.from_pretrained("run.ckpt", device="cpu", trust=trust)
    unharmed(place)


@pytest.mark.parametrize(
    ("part_of", "target"),
    [
        ("schedule", "dsn_lightning.schedules.Cosine.x"),
        ("estimator", "dsn_lightning.estimators.reinforce.x"),
        ("estimator", "dsn_lightning.estimators.exact.x"),  # a module and a function of one name
        ("logger", "dsn_lightning.tracking.WandbRun.x"),
    ],
)
def test_what_lies_in_a_class_is_no_part(part_of, target):
    with pytest.raises(UsageError, match=rf"would run {target}, which is not part"):
        refuse_foreign_code({part_of: part(target)}, "run.ckpt")


def test_the_data_of_a_foreign_run_are_known_parts(honest, place):
    torch.save(changed(honest, {"dataset.num_train": part("os.system", command="touch canary")}), "run.ckpt")
    with pytest.raises(UsageError, match=r"dataset\.num_train: would run os\.system"):
        datamodule_of(load_trained("run.ckpt", key="RUN"))
    unharmed(place)


def test_a_foreign_run_has_its_data_below_the_working_folder(honest, place):
    torch.save(changed(honest, {"dataset.root": str(place.parent / "elsewhere" / "data")}), "run.ckpt")
    with pytest.raises(UsageError, match=r"dataset\.root=.* does not hold the data set"):
        datamodule_of(load_trained("run.ckpt", key="RUN"))


def test_a_python_that_would_ignore_where_modules_are_from_is_refused(place):
    (place / "multiprocessing.py").write_text("open('canary', 'w')\n")
    program = "import sys; sys.path.remove(''); from dsn_lightning.cli.train import main; main()"
    done = subprocess.run([sys.executable, "-E", "-c", program, "gamma=1"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 2
    assert "dsn-train: error: python -E: the processes that this command starts would import" in done.stderr
    assert "add -P" in done.stderr
    unharmed(place)


@pytest.mark.parametrize("given", [b"my_package", [b"my_package"]])
def test_what_is_given_to_trust_is_text(given):
    with pytest.raises(UsageError, match=r"trust=.*: must be the name of a package, or a list of names"):
        DSN.from_pretrained("run.ckpt", device="cpu", trust=given)


def _weights_and_archive(file: Path, inside: object) -> None:
    """Write weights as torch did before 1.6, and behind them an archive, which torch.hub unpacks and unpickles."""
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    torch.save(inside, "inside.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(file, "a") as archive:
        archive.write("inside.pth")


@pytest.mark.parametrize("write", [lambda file, content: torch.save(content, file), _weights_and_archive])
def test_the_cache_of_public_weights_gets_nothing_but_weights(write, place, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(place / "home"))
    write(place / "public.pth", {"a": Runs()})
    network = composed("backbone=r2d_tiny", "dataset.root=nowhere").backbone.network
    published = {"named": (place / "public.pth").as_uri()}
    with pytest.raises(UsageError, match=r"weights=named: file:.*public\.pth: .*not loaded"):
        take_weights(build_part(network, "backbone", num_classes=2), "named", published, key="weights")
    assert not [path for path in (place / "home").rglob("*") if path.is_file()]
    unharmed(place)


def test_what_a_foreign_address_holds_stays_out_of_the_cache_of_torch_hub(place, monkeypatch):
    """Other programs unpickle what is there, and may read other parts of a file than this package."""
    monkeypatch.setenv("TORCH_HOME", str(place / "home"))
    monkeypatch.setenv("HOME", str(place / "user"))
    network = build_part(
        composed("backbone=r2d_tiny", "dataset.root=nowhere").backbone.network, "backbone", num_classes=2
    )
    torch.save(network.state_dict(), "public.pth")
    for folder in ("", "other/../"):
        published = {"named": f"{place.as_uri()}/{folder}public.pth"}
        (place / "other").mkdir(exist_ok=True)
        take_weights(network, "named", published, key="weights")
    assert not [path for path in (place / "home").rglob("*") if path.is_file()]
    kept = [path.relative_to(place / "user/.cache") for path in (place / "user").rglob("*") if path.is_file()]
    assert [(path.parts[:2], path.name) for path in kept] == [(("dsn_lightning", "weights"), "weights.pth")] * 2


@pytest.mark.parametrize("file", ["network.pth", "network"])
def test_no_trust_is_advised_for_a_file_that_is_no_exported_classifier(file):
    node = part("dsn_lightning.backbones.ExportedNetwork", file=file, digest="0" * 64)
    with pytest.raises(UsageError, match=r"its name does not end in \.onnx"):
        refuse_foreign_code({"backbone": {"network": node}}, "run.ckpt")


@pytest.mark.parametrize("address", [5, "file:///x\0.pth", "file:///x\ud800.pth", f"file:///{'p' * 5000}.pth"])
def test_an_address_of_weights_is_a_text(address, place):
    network = composed("backbone=r2d_tiny", "dataset.root=nowhere").backbone.network
    with pytest.raises(UsageError, match="weights=named: expected an address of at most 1000 characters, got"):
        take_weights(build_part(network, "backbone", num_classes=2), "named", {"named": address}, key="weights")


TORCHVISION = {"model": "resnet18", "num_classes": None}
RUN_INFO = part(
    "dsn_lightning.tracking.RunInfo",
    folder="../elsewhere/$SECRET",
    config={},
    job_type="train",
    name="x",
    tags=[],
    commit=None,
)
NODES: dict[str, dict[str, Any]] = {
    "another logger": {"estimator": part("dsn_lightning.tracking.loggers.TensorBoardRun", info=None)},
    "W&B in the network": {
        "backbone.network.blocks": part(
            "dsn_lightning.tracking.WandbRun",
            mode="offline",
            info=RUN_INFO,
        )
    },
    "a partial of a partial": {
        "algorithm.module.classifier_optimizer": part("functools.partial", _partial_=True, func=part("os.system"))
    },
    "a schedule of torch": {"schedule.rule": part("torch.optim.lr_scheduler.LambdaLR", lr_lambda="os.system")},
    "a module of torch.optim": {"estimator": part("torch.optim.swa_utils")},
    "a base class of torch.optim": {"estimator": part("torch.optim.Optimizer", params=[], defaults={})},
    "a name in wide letters": {"estimator": part("dsn_lightning.estimators.\uff52einforce")},
    "a name with a null character": {"estimator": part("dsn_lightning.estimators.reinforce\0os.system")},
    "TensorBoard in the network": {
        "backbone.network.blocks": part("dsn_lightning.tracking.TensorBoardRun", info=RUN_INFO)
    },
    "TensorBoard as the estimator": {"estimator": part("dsn_lightning.tracking.TensorBoardRun", info=RUN_INFO)},
    "a data set in the network": {
        "backbone.network.blocks": part("dsn_lightning.datasets.Needle", root="../elsewhere")
    },
    "a decoder in a schedule": {"schedule.rule": part("dsn_lightning.video.PyAV", _partial_=True)},
    "a selection in the observation network": {"observation.network.trunk": part("dsn_lightning.selections.Uniform")},
    "a number as an argument's name": {"estimator": part("dsn_lightning.estimators.reinforce") | {3: 1}},
    "a module that is an optimizer": {"algorithm.module": part("torch.optim.Adam", _partial_=True)},
    "a module that is a network": {"algorithm.module._target_": "dsn_lightning.backbones.ClipNetwork"},
    "a Trainer in the network": {
        "backbone.network.blocks": part("pytorch_lightning.Trainer", accelerator="cpu", default_root_dir="../elsewhere")
    },
    "a list of videos in the network": {"backbone.network.blocks": part("dsn_lightning.datasets.VideoRecord")},
    "weights that torchvision downloads": {
        "backbone.network": part("dsn_lightning.backbones.TorchvisionNetwork", **TORCHVISION, weights="DEFAULT")
    },
    "a detector that downloads a backbone": {
        "backbone.network": part(
            "dsn_lightning.backbones.TorchvisionNetwork",
            model="fasterrcnn_resnet50_fpn",
            num_classes=None,
            weights_backbone="DEFAULT",
        )
    },
    "a layer of torchvision that is an optimizer": {
        "backbone.network": part(
            "dsn_lightning.backbones.TorchvisionNetwork",
            **TORCHVISION,
            norm_layer=part("torch.optim.SGD", _partial_=True),
        )
    },
    "a block of torchvision by name": {
        "backbone.network": part("dsn_lightning.backbones.TorchvisionNetwork", **TORCHVISION, block="os.system")
    },
    "an infinite mean": {"backbone.mean": [float("inf"), 1, 1]},
    "no number of sections": {"test.M": []},
    "frames of no size": {"backbone.frame_size": [-5, -5]},
    "frames of parts of pixels": {"backbone.frame_size": [40.5, 40.5]},
    "frames of a terapixel": {"backbone.frame_size": [10**6, 10**6]},
    "a standard deviation of zero": {"backbone.std": [0, 1, 1]},
    "nodes in place of numbers": {"test.M": [part("os.system", command=TOUCH)]},
}


@pytest.mark.parametrize("values", NODES.values(), ids=NODES)
def test_a_checkpoint_that_names_other_parts_is_refused(values, honest, place):
    torch.save(changed(honest, values), "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: ") as caught:
        load_trained("foreign.ckpt", key="checkpoint")
    assert "\n" not in str(caught.value)
    unharmed(place, str(caught.value))


class Disguised:
    """Pickles into a dict whose attributes take the place of its methods, which `weights_only` allows."""

    def __init__(self, content: Mapping[str, Any], *, kind: type = OrderedDict, **attributes: Any) -> None:
        self.content, self.kind, self.attributes = content, kind, attributes

    def __reduce__(self) -> tuple:
        return self.kind, (), self.attributes, None, iter(self.content.items())


def on_weights(make: Callable[[Any], Any]) -> Change:
    """Return a change of a checkpoint: its first weight is replaced by what is made of it."""

    def change(content: dict[str, Any]) -> None:
        name = next(iter(content["state_dict"]))
        content["state_dict"] = content["state_dict"] | {name: make(content["state_dict"][name])}

    return change


CONTENTS: dict[str, Change] = {
    "batches that are a mapping": lambda c: c.update(batches_seen={"x": 1}),
    "weights that are a list": lambda c: c.update(state_dict=[1, 2]),
    "weights that are a text": lambda c: c.update(state_dict="x"),
    "a weight that is a text": on_weights(lambda value: "x"),
    "a weight whose name is a number": lambda c: c["state_dict"].update({1: torch.zeros(1)}),
    "a sparse weight": on_weights(lambda value: value.to_sparse()),
    "a complex weight": on_weights(lambda value: value.to(torch.complex64)),
    "a weight of whole numbers": on_weights(lambda value: value.to(torch.int8)),
    "weights with other methods": lambda c: c.update(
        state_dict=Disguised(c["state_dict"] | {next(iter(c["state_dict"])): "x"}, items=OrderedDict)
    ),
    "a record with other methods": lambda c: c.update(
        {RECORD_KEY: Disguised(c[RECORD_KEY] | {"format": 0}, get=torch.device)}
    ),
    "a weight without values": on_weights(lambda value: value.to("meta")),
    "a quantized weight": on_weights(lambda value: torch.quantize_per_tensor(value, 1.0, 0, torch.qint8)),
    "a format that is true": lambda c: c[RECORD_KEY].update(format=True),
    "a format that is a tensor": lambda c: c[RECORD_KEY].update(format=torch.ones(3)),
    "videos that are a text": lambda c: c[RECORD_KEY].update(trained_on="x"),
    "videos that are a matrix": lambda c: c[RECORD_KEY].update(trained_on=torch.zeros(2, 2)),
    "videos that are a sparse vector": lambda c: c[RECORD_KEY].update(trained_on=torch.arange(3).to_sparse()),
    "a basis that is a list": lambda c: c[RECORD_KEY].update(basis=["x"]),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("change", CONTENTS.values(), ids=CONTENTS)
def test_a_checkpoint_of_other_contents_is_refused_in_one_line(change, honest, place):
    content = deepcopy(honest)
    change(content)
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: ") as caught:
        load_trained("foreign.ckpt", key="checkpoint")
    assert "\n" not in str(caught.value)


def disguise(key: str, more: Mapping[str, Any], **attributes: Any) -> Change:
    """Return a change of a configuration: the node at a dotted key gets more values, and other methods."""

    def change(config: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for name in path:
            config = config[name]
        config[last] = Disguised(config[last] | more, **attributes)

    return change


COMMAND = part("os.system", command=TOUCH)
DISGUISED: dict[str, Change] = {
    "a network without items": disguise("backbone.network", {"blocks": COMMAND}, items=OrderedDict),
    "a part without items": disguise("algorithm", {"module": part("os.system")}, items=OrderedDict),
    "a network without keys": disguise("backbone.network", {"blocks": COMMAND}, items=OrderedDict, keys=OrderedDict),
    "an optimizer without items": disguise(
        "algorithm.module", {"classifier_optimizer": COMMAND}, items=OrderedDict, get=OrderedDict
    ),
}


@pytest.mark.parametrize("change", DISGUISED.values(), ids=DISGUISED)
def test_a_node_of_a_pickle_is_not_hidden_by_attributes_of_a_dict(change, honest, place):
    content = deepcopy(honest)
    change(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: .*would run os\.system"):
        load_trained("foreign.ckpt", key="checkpoint")
    config = torch.load("foreign.ckpt", weights_only=True)[RECORD_KEY]["config"]
    with pytest.raises(UsageError, match=r"would run os\.system"):
        check_stored_parts(stored_settings(config, where="x"), None, where="x")
    unharmed(place)


def test_a_crop_beyond_the_frames_is_refused_in_one_line(honest, place):
    torch.save(changed(honest, {"backbone.crop_size": 10**6}), "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^backbone\.crop_size=1000000: a window of 1000000 pixels does not fit"):
        DSN.from_pretrained("foreign.ckpt")


@pytest.mark.parametrize("network", ["classifier.fc.bias", "observation.fc.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_no_answer(network, value, honest, place):
    content = deepcopy(honest)
    content["state_dict"][network][:] = value
    torch.save(content, "foreign.ckpt")
    model, frames = DSN.from_pretrained("foreign.ckpt", device="cpu"), np.zeros((20, 48, 64, 3), np.uint8)
    with pytest.raises(VideoError, match="scores are not finite"):
        model.predict(frames)
    (answer,) = model.predict_all([frames])
    assert answer.label is None
    assert answer.error is not None


@pytest.mark.parametrize("kind", [OrderedDict, Counter])
def test_what_is_known_of_a_checkpoint_has_the_methods_of_a_dict(kind, honest, place):
    content = deepcopy(honest)
    content[RECORD_KEY]["basis"] = Disguised({"classifier_from": "weights of mine"}, kind=kind, get=torch.device)
    content[RECORD_KEY] = Disguised(content[RECORD_KEY], kind=kind, get=torch.device)
    torch.save(Disguised(content, kind=kind, get=torch.device), "foreign.ckpt")
    assert load_trained("foreign.ckpt", key="checkpoint").origin == "weights of mine, then needle"


@pytest.mark.parametrize("kind", [OrderedDict, Counter])
def test_no_weight_is_hidden_by_attributes_of_a_dict(kind, honest, place):
    content = deepcopy(honest)
    hidden = content["state_dict"] | {"classifier.conv1.weight": {"x": 1}}
    content["state_dict"] = Disguised(hidden, kind=kind, items=OrderedDict)
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: classifier\.conv1\.weight: expected a tensor"):
        load_trained("foreign.ckpt", key="checkpoint")


def test_weights_have_the_methods_of_tensors(honest, place):
    content = deepcopy(honest)
    weight = content["state_dict"]["classifier.conv1.weight"]
    weight.is_floating_point = weight.dim = weight.copy_ = torch.Size
    torch.save(content, "foreign.ckpt")
    loaded = load_trained("foreign.ckpt", key="checkpoint").recognizer.state_dict()["classifier.conv1.weight"]
    assert torch.equal(loaded, honest["state_dict"]["classifier.conv1.weight"])


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """A group of this process alone."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/group", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def test_weights_whose_operations_are_code_are_refused(honest, place):
    distributed = pytest.importorskip("torch.distributed.tensor")  # allowed in a pickle once it is imported
    content = deepcopy(honest)
    weight = content["state_dict"]["classifier.conv1.weight"]
    with one_process(place):
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        content["state_dict"]["classifier.conv1.weight"] = distributed.DTensor.from_local(weight, mesh)
        torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: expected plain tensors and values, got a DT"):
        load_trained("foreign.ckpt", key="checkpoint")
    with one_process(place):
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        torch.save({**honest, "more": [{mesh}]}, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign\.ckpt: expected plain tensors and values, got a De"):
        load_trained("foreign.ckpt", key="checkpoint")


def in_itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["model"] = content
    return content


def in_many() -> dict[str, Any]:
    content: dict[str, Any] = {"weight": torch.zeros(1)}
    for _ in range(100):
        content = {"model": content}
    return content


@pytest.mark.parametrize("make", [in_itself, in_many])
def test_weights_in_many_containers_are_refused_in_one_line(make, place):
    torch.save(make(), "foreign.pt")
    with pytest.raises(WeightsError, match=r"^contains no weights$"):
        tensors_of(read_weights(Path("foreign.pt")))


@pytest.mark.parametrize("node", [{}, {"x": 1}, part("dsn_lightning.datasets.VideoRecord", path="x")])
def test_a_decoder_that_is_none_is_refused_in_one_line(node, place):
    with pytest.raises(UsageError, match=r"^dataset\.reading\.decoder: (dict does not follow|cannot be built)"):
        build_decoder(node)


def program(module: str, name: str, arguments: bytes = b"X\x0c\x00\x00\x00touch canary\x85") -> bytes:
    """A pickle that calls a function."""
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R."


FOREIGN_FUNCTION = b"(cposix\nsystem\nctorch\nTensor\nX\x0c\x00\x00\x00touch canary\x85Nt"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x0a\x00\x00\x00../privateX\x03\x00\x00\x00cpuK\x01tQ."
PICKLES = {
    "a call": program("posix", "system"),
    "an attribute of a class": program("__builtin__", "getattr", b"ctorch\nTensor\nX\x09\x00\x00\x00__class__\x86"),
    "a tensor made by a foreign function": program("torch._tensor", "_rebuild_from_type_v2", FOREIGN_FUNCTION),
    "another file of torch": program("torch", "load"),
    "another reader of torch": program("torch.serialization", "load"),
    "TorchScript": program("torch.jit._script", "unpackage_script_module"),
    "an array of NumPy": program("numpy.core.multiarray", "_reconstruct", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87"),
    "a storage that is no storage": b"\x80\x02X\x04\x00\x00\x00evilQ.",
    "a storage whose name is a path": b"\x80\x02" + STORAGE,
    "a registered extension": b"\x80\x02\x82\x01.",
    "an instance of the oldest protocol": b"(X\x0c\x00\x00\x00touch canaryiposix\nsystem\n.",
    "a name from the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
}


@pytest.mark.parametrize("name", ["foreign.ckpt", "foreign.safetensors"])
@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES)
def test_a_pickle_in_an_archive_calls_nothing(content, name, place):
    whole = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(name, "w") as result:
        for entry in archive.namelist():
            result.writestr(entry, content if entry.endswith("data.pkl") else archive.read(entry))
    with pytest.raises(WeightsError) as caught:
        read_weights(Path(name))
    unharmed(place, str(caught.value))


def write_run(folder: Path, values: Mapping[str, Any], *, name: str = "config.yaml", more: str = "") -> None:
    """Write the configuration of a run, changed, followed by other text."""
    config: dict[str, Any] = json.loads(json.dumps(settings_of("run_dir=x", "dataset.root=nowhere").plain))
    put(values)(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(config) + more)


RUN_TEXTS = {
    "a key twice": "estimator: {_target_: dsn_lightning.estimators.reinforce, _target_: os.system}\n",
    "a second document": "---\nhydra: {}\n",
    "a merged mapping": "<<: {hydra: {run: {dir: elsewhere}}}\n",
    "an alias": "note: &a [x]\nother: *a\n",
    "bytes": "note: !!binary aGVsbG8=\n",
    "a set": "note: !!set {a, b}\n",
    "a date": "note: 2020-01-01\n",
}


@pytest.mark.parametrize("more", RUN_TEXTS.values(), ids=RUN_TEXTS)
def test_yaml_that_says_more_than_plain_values_is_not_resumed(more, place):
    write_run(place / "run", {}, more=more)
    with pytest.raises(UsageError, match=r"run(: |/)config\.yaml: ") as caught:
        continue_run(["resume=run"])
    unharmed(place, str(caught.value))


RUN_VALUES = {
    "a target that is missing": {"estimator._target_": "???"},
    "a group that is missing": {"logger": "???"},
    "a Trainer that is a callback": {"trainer._target_": "pytorch_lightning.callbacks.EarlyStopping"},
    "a data set that is a video": {"dataset._target_": "dsn_lightning.datasets.VideoRecord"},
    "a data set that is a logger": {"dataset._target_": "dsn_lightning.tracking.TensorBoardRun"},
    "a logger that is a data set": {"logger": {"mine": part("dsn_lightning.datasets.Needle", root="../elsewhere")}},
    "a selection that is a logger": {"selection": {"mine": part("dsn_lightning.tracking.WandbRun", info=RUN_INFO)}},
    "a callback that is a logger": {
        "callbacks": {"mine": part("dsn_lightning.tracking.TensorBoardRun", info=RUN_INFO)}
    },
    "a network in another place": {"test.baseline_network": part("dsn_lightning.backbones.ResNet2D")},
    "a logger of another folder": {"logger": {"mine": part("dsn_lightning.tracking.TensorBoardRun", info=RUN_INFO)}},
    "a bound logger of another folder": {
        "logger": {
            "mine": part("dsn_lightning.tracking.TensorBoardRun", _partial_=True, info={"folder": "../elsewhere"})
        }
    },
    "a logger in a logger": {
        "logger": {
            "mine": part(
                "dsn_lightning.tracking.WandbRun",
                tags=[part("dsn_lightning.tracking.TensorBoardRun", _partial_=True)],
            )
        }
    },
    "a list of loggers": {
        "logger": {"mine": part("dsn_lightning.tracking.Tracker", loggers=[])},
    },
    "a run in place of a logger": {"logger": {"mine": RUN_INFO}},
    "a logger in the list of loggers": {"logger": {"mine": [part("dsn_lightning.tracking.WandbRun", _partial_=True)]}},
    "a Trainer that is a callback's argument": {
        "callbacks": {
            "mine": part("pytorch_lightning.callbacks.EarlyStopping", monitor=part("pytorch_lightning.Trainer"))
        }
    },
    "a Trainer as a callback": {"callbacks": {"mine": part("pytorch_lightning.Trainer")}},
    "a Trainer in the Trainer": {"trainer.profiler": part("pytorch_lightning.Trainer")},
    "plug-ins of the Trainer": {"trainer.plugins": ["os.system"]},
    "a folder of the Trainer": {"trainer.default_root_dir": "../elsewhere"},
}


@pytest.mark.parametrize("values", RUN_VALUES.values(), ids=RUN_VALUES)
def test_a_run_with_other_parts_is_not_resumed(values, place):
    write_run(place / "run", values)
    with pytest.raises(UsageError, match=r"run: config\.yaml: ") as caught:
        continue_run(["resume=run"])
    unharmed(place, str(caught.value))


PLACES = {
    "a data set": ("dataset.root", "does not hold the data set"),
    "an index": ("dataset.reading.prepared", "holds no index"),
    "shared trainings": ("shared.folder", "no such folder"),
}


@pytest.mark.parametrize("folder", ["../elsewhere/new", "/dsn_new", "~/new"])
@pytest.mark.parametrize(("key", "message"), PLACES.values(), ids=PLACES)
def test_a_run_makes_no_files_in_new_places_elsewhere(key, message, folder, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place.parent / "elsewhere"))
    write_run(place / "run", {key: folder, "classifier.checkpoint": "auto"})
    with pytest.raises(UsageError, match=rf"run: config\.yaml: {key}={folder}:? {message}") as caught:
        continue_run(["resume=run"])
    assert "\n" not in str(caught.value)
    sweep = write_sweep(place, "0")
    write_run(sweep / "0", {key: folder, "classifier.checkpoint": "auto"}, name="composed.yaml")
    with pytest.raises(UsageError, match=rf"composed\.yaml: {key}={folder}:? {message}"):
        begin_job(sweep / "0", sweep, [])
    unharmed(place, str(caught.value))


@pytest.mark.parametrize(("key", "message"), PLACES.values(), ids=PLACES)
def test_a_run_makes_no_files_elsewhere_through_a_link_in_the_working_folder(key, message, place):
    (place / "data").symlink_to("../elsewhere")
    write_run(place / "run", {key: "data/new", "classifier.checkpoint": "auto"})
    with pytest.raises(UsageError, match=rf"run: config\.yaml: {key}=data/new:? {message}"):
        continue_run(["resume=run"])
    (place / "run" / "new").symlink_to(place.parent / "elsewhere")
    assert not lies_here(str(place / "run" / "new" / "x"), place / "run")
    unharmed(place)


def test_an_embedded_data_set_is_not_written_into_a_folder_that_exists(place):
    write_run(place / "run", {"dataset.root": "../elsewhere"})
    with pytest.raises(UsageError, match=r"dataset\.root=\.\./elsewhere does not hold the data set"):
        continue_run(["resume=run"])
    unharmed(place)


def test_a_run_goes_on_with_the_places_that_it_has_used(place):
    (place / "prepared").mkdir()
    (place / "prepared" / "index.json").touch()
    (place / "shared").mkdir()
    own = {"classifier.checkpoint": "auto", "shared.folder": str(place / "shared")}
    own |= {"dataset.reading.prepared": str(place / "prepared"), "dataset.root": str(place / "run" / "data")}
    write_run(place / "run", own)
    assert continue_run(["resume=run"])


@pytest.mark.parametrize("more", [{"hydra.run.dir": "../elsewhere"}, {"override hydra/launcher": "joblib"}])
def test_keys_that_look_like_overrides_are_values(more, place):
    write_run(place / "run", {}, more=yaml.safe_dump(more))
    assert f"hydra.run.dir='{place / 'run'}'" in continue_run(["resume=run"])


def test_the_run_goes_on_in_the_folder_that_is_given(place):
    write_run(place / "run", {"run_dir": "../elsewhere"})
    (place / "run" / ".hydra").mkdir()
    (place / "run" / ".hydra" / "hydra.yaml").write_text("hydra: {searchpath: [file://../elsewhere]}\n")
    (place / "run" / ".hydra" / "overrides.yaml").write_text("- hydra.run.dir=../elsewhere\n")
    given = continue_run(["resume=run"])
    assert f"hydra.run.dir='{place / 'run'}'" in given
    assert not [argument for argument in given if "elsewhere" in argument]


@pytest.mark.parametrize("name", [".lock", "config.json", "metrics.csv", "status.json", "log.txt", "wandb_id.txt"])
@pytest.mark.parametrize("target", ["private", "new"])
def test_a_run_is_not_resumed_through_links(name, target, place):
    write_run(place / "run", {})
    (place / "run" / name).symlink_to(place.parent / "elsewhere" / target)
    with pytest.raises(UsageError, match=f"{name} is a link") as caught:
        continue_run(["resume=run"])
    unharmed(place, str(caught.value))


LINKS = ["checkpoints", "figures", "tensorboard", "wandb", "checkpoints/last.ckpt", "checkpoints/.last.ckpt.partial"]


@pytest.mark.parametrize("name", [*LINKS, "wandb/run/files/x"])
@pytest.mark.parametrize("target", ["", "private", "new"])
def test_a_run_is_not_resumed_through_links_in_subfolders(name, target, place):
    write_run(place / "run", {})
    write_run(write_sweep(place, "0") / "0", {})
    for folder in ("run", "sweep/0"):
        link = place / folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(place.parent / "elsewhere" / target)
    with pytest.raises(UsageError, match=f"^resume=.*{name} is a link"):
        continue_run(["resume=run"])
    with pytest.raises(UsageError, match=f"^sweep.resume=.*{name} is a link"):
        sweep_to_resume(["sweep.resume=sweep"])
    with pytest.raises(UsageError, match=f"{name} is a link"):
        train_once(settings_of(f"run_dir={place / 'run'}", "dataset.root=nowhere"), lambda settings: None)
    unharmed(place)


def test_links_of_wandb_in_its_own_folder_are_accepted(place):
    write_run(place / "run", {})
    (place / "run" / "wandb" / "run-1" / "logs").mkdir(parents=True)
    (place / "run" / "wandb" / "run-1" / "logs" / "debug.log").touch()
    (place / "run" / "wandb" / "run-1" / "logs" / "debug-core.log").symlink_to(place.parent / "cache" / "core.log")
    (place / "run" / "wandb" / "latest-run").symlink_to("run-1")
    (place / "run" / "wandb" / "debug.log").symlink_to("run-1/logs/debug.log")
    assert continue_run(["resume=run"])


@pytest.mark.parametrize("name", ["sweep/.lock", "sweep/log.txt"])
def test_a_sweep_is_not_resumed_through_links(name, place):
    write_run(write_sweep(place, "0") / "0", {})
    (place / name).symlink_to(place.parent / "elsewhere" / "new")
    with pytest.raises(UsageError, match=f"{name} is a link"):
        sweep_to_resume(["sweep.resume=sweep"])
    unharmed(place)


@pytest.mark.parametrize("name", ["shared/run", "shared/.run.lock"])
def test_a_shared_training_is_not_made_through_links(name, place):
    (place / "shared").mkdir()
    (place / name).symlink_to(place.parent / "elsewhere" / "new")
    with pytest.raises(UsageError, match=f"{name}: is a link"):
        train_once(settings_of(f"run_dir={place / 'shared' / 'run'}", "dataset.root=nowhere"), lambda settings: None)
    unharmed(place)


@pytest.mark.parametrize("name", [".index.lock", ".index.journal"])
@pytest.mark.parametrize("target", ["private", "new"])
def test_an_index_is_not_written_through_links(name, target, place):
    (place / name).symlink_to(place.parent / "elsewhere" / target)
    (place / "a.mp4").touch()
    with pytest.raises(UsageError, match=f"{name}: is a link") as caught:
        index_videos([place / "a.mp4"], place, root=place, decoder=PyAV(), num_threads=1, show=False)
    assert "\n" not in str(caught.value)
    unharmed(place)


def test_a_data_set_is_not_prepared_through_links(place):
    (place / ".source.lock").symlink_to(place.parent / "elsewhere" / "new")
    with pytest.raises(UsageError, match=r"\.source\.lock: is a link"):
        prepare_source(Needle(str(place / "data")), place)
    unharmed(place)


def test_an_embedded_data_set_is_not_written_through_links(place):
    data = Needle(str(place / "data"))
    data.root.parent.mkdir()
    data.root.with_suffix(".lock").symlink_to(place.parent / "elsewhere" / "new")
    with pytest.raises(UsageError, match=r"\.lock: is a link"):
        data.prepare()
    unharmed(place)


@pytest.mark.parametrize("name", [".lock", "predictions.jsonl", "pictures", "thumbnails", "overlays", "time_lines"])
@pytest.mark.parametrize("target", ["", "private", "new"])
def test_answers_are_not_written_through_links(name, target, place):
    (place / "out").mkdir()
    (place / "out" / name).symlink_to(place.parent / "elsewhere" / target)
    with pytest.raises(UsageError, match=f"{name}: is a link"), OutputFolder(place / "out").hold():
        pass
    unharmed(place)


def test_a_logger_of_no_run_is_refused_in_one_line(place):
    settings = settings_of("run_dir=run", "dataset.root=nowhere")
    logger = {"mine": part("dsn_lightning.tracking.TensorBoardRun")}
    with (
        pytest.raises(UsageError, match=r"^logger\.mine: cannot be built"),
        tracked(settings, logger, job_type="train"),
    ):
        pass


FLAGS = [
    ("accelerator", ESCAPES),
    ("benchmark", "x"),
    ("check_val_every_n_epoch", "x"),
    ("devices", ["x"]),
    ("limit_train_batches", "x"),
    ("precision", "x"),
    ("precision", "transformer-engine"),  # which is not installed
    ("profiler", ["x"]),
    ("strategy", {"x": 1}),
    ("strategy", "ddp_spawn"),
    ("strategy", "ddp_notebook"),
]


@pytest.mark.parametrize(("flag", "value"), FLAGS)
def test_a_flag_that_lightning_refuses_ends_in_one_line(flag, value, honest, place):
    plain = json.loads(json.dumps(settings_of("run_dir=x", "dataset.root=nowhere").plain))
    plain["trainer"][flag] = value
    torch.save(honest, "run.ckpt")
    recognizer = load_trained("run.ckpt", key="checkpoint").recognizer
    with pytest.raises(UsageError, match=r"^trainer") as caught:
        make_trainer(Settings.of(plain), recognizer, [], Tracker())
    assert "\n" not in str(caught.value)
    assert not obeyed(str(caught.value))


@pytest.mark.parametrize("key", ["batches_seen", "skipped_steps"])
def test_counts_of_a_checkpoint_are_whole_numbers(key, honest, place):
    torch.save(honest, "run.ckpt")
    recognizer = load_trained("run.ckpt", key="checkpoint").recognizer
    counts = {"batches_seen": 1, "skipped_steps": {"classifier": 1}, "epoch_sums": {}}
    with pytest.raises(ValueError, match="expected whole numbers in batches_seen and skipped_steps"):
        recognizer.on_load_checkpoint(counts | {key: {"x": COMMAND}})


@pytest.mark.parametrize("duration", ["x", [1], {"x": 1}])
def test_a_timer_of_no_time_is_refused_in_one_line(duration, place):
    plain = json.loads(json.dumps(settings_of("run_dir=x", "dataset.root=nowhere").plain))
    plain["callbacks"] = {"timer": part("pytorch_lightning.callbacks.Timer", duration=duration)}
    with pytest.raises(UsageError, match=r"^callbacks\.timer: cannot be built"):
        configured_callbacks(Settings.of(plain), has_val=False)


def write_sweep(place: Path, folder: str) -> Path:
    job = {"overrides": [], "folder": folder, "state": "waiting", "exit_code": None}
    (place / "sweep").mkdir()
    (place / "sweep" / "sweep.json").write_text(json.dumps({"format": 1, "jobs": [job]}))
    return place / "sweep"


def test_a_job_that_is_a_link_out_of_the_sweep_is_refused(place):
    (write_sweep(place, "0") / "0").symlink_to(place.parent / "elsewhere")
    with pytest.raises(UsageError, match="lies elsewhere"):
        sweep_to_resume(["sweep.resume=sweep"])
    unharmed(place)


@pytest.mark.parametrize("folder", ["file", "file/0"])
def test_a_job_whose_folder_is_a_file_is_refused(folder, place):
    (write_sweep(place, folder) / "file").touch()
    with pytest.raises(UsageError, match=rf"sweep\.json: folder '{folder}' is a file, or lies in one"):
        sweep_to_resume(["sweep.resume=sweep"])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\x1b[2J", b"a\nb"])
def test_the_id_of_a_run_in_wandb_is_a_text(content, place):
    (place / "run").mkdir()
    (place / "run" / "wandb_id.txt").write_bytes(content)
    settings = settings_of("run_dir=run", "dataset.root=nowhere", "logger=wandb", "logger.wandb.mode=disabled")
    with (
        pytest.raises(UsageError, match=r"wandb_id\.txt: expected the id of a W&B run") as caught,
        tracked(settings, settings.logger, job_type="train"),
    ):
        pass
    assert "\n" not in str(caught.value)


STARTS = {
    "a command": """
        import multiprocessing
        from dsn_lightning.cli.application import run_hydra

        def application():
            process = multiprocessing.get_context("forkserver").Process(target=print, args=("started",))
            process.start()
            process.join()

        if __name__ == "__main__":
            run_hydra("dsn-train", application, [], stopped="")
    """,
    "jobs, as of sweep.resume=": """
        from pathlib import Path
        from rich.console import Console
        from dsn_lightning.launch.jobs import Job, run_jobs

        if __name__ == "__main__":
            run_jobs([Job("job", print, ("started",), Path("job"))], at_once=1, console=Console(stderr=True))
            print(Path("job/log.txt").read_text(), end="")
    """,
}


@pytest.mark.parametrize("empty", [False, True], ids=["PYTHONSAFEPATH not set", "PYTHONSAFEPATH empty"])
@pytest.mark.parametrize("program", STARTS.values(), ids=STARTS)
def test_processes_of_a_command_import_no_module_of_the_working_folder(program, empty, place):
    (place / "multiprocessing.py").write_text("open('canary', 'w')\n")
    (place.parent / "bin").mkdir()
    script = place.parent / "bin" / "program.py"
    script.write_text(textwrap.dedent(program))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment |= {"PYTHONSAFEPATH": ""} if empty else {}
    done = subprocess.run([sys.executable, script], cwd=place, env=environment, capture_output=True, text=True)
    unharmed(place)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


@pytest.mark.parametrize("folder", ["${oc.env:SECRET}", "a/${oc.env:SECRET}"])
def test_a_job_is_not_begun_in_a_folder_that_is_a_reference(folder, place):
    sweep = write_sweep(place, folder)
    write_run(sweep / folder, {}, name="composed.yaml")
    with pytest.raises(UsageError, match="must not contain"):
        begin_job(sweep / folder, sweep, [])


@pytest.mark.parametrize("folder", ["0\\','hydra.sweep.dir=x", "0'", "0\nhydra.sweep.dir=x", "~"])
def test_the_name_of_a_jobs_folder_is_one_argument(folder, place):
    sweep = write_sweep(place, folder)
    write_run(sweep / folder, {}, name="composed.yaml")
    given = begin_job(sweep / folder, sweep, [])
    assert not [argument for argument in given if argument.startswith(("hydra.sweep", "x"))]
    (own,) = [argument for argument in given if argument.startswith("hydra.run.dir=")]
    assert own.startswith(f"hydra.run.dir='{place}")


def on_config(change: Change) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        change(content)
        (folder / "config.json").write_text(json.dumps(content))

    return make


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def linked(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder.parent.parent / "elsewhere" / "private")

    return make


def fifo(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


SAVED = {
    "a target": on_config(lambda c: put({"estimator": part("os.system", command=TOUCH)})(c["config"])),
    "a reference": on_config(lambda c: put({"backbone.name": "${oc.env:SECRET}"})(c["config"])),
    "trust in the file": on_config(lambda c: put({"trust": ["os"], "estimator": part("os.system")})(c["config"])),
    "an infinite number": on_config(lambda c: put({"gamma": float("inf")})(c["config"])),
    "classes that are nodes": on_config(lambda c: c.update(classes=[part("os.system")])),
    "a list": replaced("config.json", b"[]"),
    "a link to a private file": linked("config.json"),
    "a pipe": fifo,
    "a pickle as weights": replaced("model.safetensors", b"cposix\nsystem\n(S'touch canary'\ntR."),
    "weights that are a link": linked("model.safetensors"),
    "a header of exabytes": replaced("model.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
}


@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_a_saved_folder_runs_nothing(make, honest, place):
    torch.save(honest, "run.ckpt")
    DSN.from_pretrained("run.ckpt").save_pretrained("saved")
    make(place / "saved")
    with pytest.raises(UsageError, match=r"^from_pretrained=") as caught:
        DSN.from_pretrained("saved")
    assert "\n" not in str(caught.value)
    unharmed(place, str(caught.value))


def test_remote_code_of_a_saved_folder_is_not_looked_for(honest, place):
    torch.save(honest, "run.ckpt")
    DSN.from_pretrained("run.ckpt").save_pretrained("saved")
    on_config(lambda c: c.update(auto_map={"AutoModel": "evil.Model"}))(place / "saved")
    (place / "saved" / "evil.py").write_text("import os\nos.system('touch canary')\n")
    DSN.from_pretrained("saved")
    unharmed(place)


@pytest.mark.parametrize("name", ["someone/repository", "http://127.0.0.1:9/x.ckpt", "file:///etc/passwd"])
def test_a_name_is_no_address(name, place):
    with pytest.raises(UsageError, match="no such checkpoint file"):
        DSN.from_pretrained(name)


def saved(content: Mapping[str, Any], place: Path) -> str:
    """Return the model card of a checkpoint in ``place``/run/checkpoints."""
    (place / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(content, place / "run" / "checkpoints" / "last.ckpt")
    return (DSN.from_pretrained("run/checkpoints/last.ckpt").save_pretrained("saved") / "README.md").read_text()


HOSTILE = f"x|y {MARKUP}\n\n# Heading [a](javascript:canary) {ESCAPES}"


def test_a_model_card_shows_names_and_results_as_texts(honest, place):
    content = changed(honest, {"backbone.name": HOSTILE, "dataset.name": HOSTILE})
    content[RECORD_KEY] |= {
        "classes": [f"{HOSTILE}{i}" for i in range(len(content[RECORD_KEY]["classes"]))],
        "basis": {"classifier_from": HOSTILE, "observation_from": HOSTILE, "videos": HOSTILE},
    }
    row = {"dataset": HOSTILE, "selection": HOSTILE, "classifier": HOSTILE, "M": 1, "N": 2, "clips": HOSTILE, "top1": 1}
    (place / "run").mkdir()
    (place / "run" / "results.json").write_text(json.dumps([row]))
    (place / "run" / "statistics.json").write_text(json.dumps({"about": {"videos": HOSTILE}}))
    card = saved(content, place)
    assert card.count("&lt;script&gt;canary") >= 8
    assert "<script" not in card
    assert "[a](javascript" not in card
    assert not obeyed(card)
    assert [line for line in card.splitlines() if line.startswith("#")][1:] == ["## Results", "## Limits"]
    for line in card.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        assert cells in (-1, 2, 6), line


WRONG_RESULTS: dict[str, tuple[Any, Any]] = {
    "rows that are none": ([{"selection": "x"}, 1, None, {"dataset": "x", "selection": [1]}], {}),
    "a row that has only what it needs": ([{"dataset": "x", "selection": "x"}], {}),
    "methods that are numbers": ([], {"methods": [1, None], "about": 1}),
    "methods that are a number": ([], {"methods": 1}),
    "lists as names": ([], {"methods": [{"selection": ["x"], "M": {}}]}),
    "intervals that are texts": (
        [{"dataset": "x", "selection": "x", "classifier": "x", "M": 1, "N": 1, "clips": 1, "top1": 0.5}],
        {"methods": [{"selection": "x", "classifier": "x", "M": 1, "N": 1, "top1": {"low": "x", "high": []}}]},
    ),
    "an interval that is a number": (
        [{"dataset": "x", "selection": "x", "classifier": "x", "M": 1, "N": 1, "clips": 1, "top1": 0.5}],
        {"methods": [{"selection": "x", "classifier": "x", "M": 1, "N": 1, "top1": 1}]},
    ),
}


@pytest.mark.parametrize(("rows", "statistics"), WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_a_model_card_leaves_out_results_of_wrong_types(rows, statistics, honest, place):
    (place / "run").mkdir()
    (place / "run" / "results.json").write_text(json.dumps(rows))
    (place / "run" / "statistics.json").write_text(json.dumps(statistics))
    card = saved(honest, place)
    assert "## Limits" in card
    assert ("Not evaluated." in card) == (not any(isinstance(row, dict) and row.get("dataset") for row in rows[:1]))


MLV = b"MLVI" + (52).to_bytes(4, "little") + b"v2.0\0\0\0\0" + bytes(8) + b"\0\0\2\0" + bytes(4)
MLV += b"\1\0\0\0" + (1).to_bytes(4, "little") + bytes(4) + (25).to_bytes(4, "little") + (1).to_bytes(4, "little")
"""The header of a video of Magic Lantern, which may go on in ``.m00``, ``.m01``, ..."""

PLAYLISTS = {
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n",
    "FFmpeg's": b"ffconcat version 1.0\nfile other.mp4\n",
    "DASH": b'<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
    b"<BaseURL>other.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "IMF": b'<?xml version="1.0"?><CompositionPlaylist></CompositionPlaylist>',
    "ASX": b'<asx version="3.0"><entry><ref href="other.mp4"/></entry></asx>',
    "an address": b"rtsp://127.0.0.1:9/x\n",
    "metadata": b";FFMETADATA1\ntitle=x\n",
    "AviSynth": b'DirectShowSource("other.mp4")',
    "a filter": b"movie=other.mp4",
    "subtitles": b"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
    "a reference movie": b"\0\0\0\x35moov\0\0\0\x2drmra\0\0\0\x25rmda\0\0\0\x1drdrf\0\0\0\0url \0\0\0\x09other.mp4",
}


@pytest.mark.parametrize("content", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_named_as_a_video_is_no_video(content, place, needle_root):
    shutil.copy(next(needle_root.rglob("*.mp4")), place / "other.mp4")
    (place / "video.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"cannot be decoded|is no video file|no video stream"):
        PyAV().probe(place / "video.mp4")


def test_files_beside_a_video_of_magic_lantern_are_not_opened(place):
    os.mkfifo("video.m00")
    opened, stop_watching = [], threading.Event()

    def watch() -> None:
        while not stop_watching.wait(0.01):
            with suppress(OSError):  # nobody reads the pipe
                os.close(os.open("video.m00", os.O_WRONLY | os.O_NONBLOCK))
                opened.append(True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    Path("video.mp4").write_bytes(MLV)
    try:
        with pytest.raises(VideoError):
            PyAV().probe(place / "video.mp4")
    finally:
        stop_watching.set()
        watcher.join()
    assert not opened


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.4\n", b"SIMPLE  =                    T", b"<svg/>"]
)
def test_an_image_of_a_format_that_runs_programs_is_no_frame(content, place):
    (place / "video").mkdir()
    (place / "video" / "img_00001.jpg").write_bytes(content)
    with pytest.raises(VideoError, match="not an image"):
        ImageFolder().probe(place / "video")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "a/../../x.mp4"])
def test_a_list_names_no_video_outside_of_the_root(path, place):
    (place / "root").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (place / "root" / name).touch()
    (place / "train.txt").write_text(f"a.mp4 x\n{path} y\n")
    (place / "test.txt").write_text("b.mp4 x\n")
    with pytest.raises(UsageError, match=r"is outside of dataset\.root"):
        Folder(str(place / "root"), train_list="train.txt", test_list="test.txt")


@pytest.mark.parametrize(
    "path", ["$SECRET/x.mp4", "${oc.env:SECRET}", "~/x.mp4", "|touch canary", "file:/x", "http:/x"]
)
def test_a_path_in_a_list_is_only_a_path(path, place):
    (place / "root").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (place / "root" / name).touch()
    (place / "train.txt").write_text(f"a.mp4 x\n{path} y\n")
    (place / "test.txt").write_text("b.mp4 x\n")
    videos = Folder(str(place / "root"), train_list="train.txt", test_list="test.txt").records("train")
    assert [video.path for video in videos] == [place / "root" / "a.mp4", place / "root" / path]
    unharmed(place)


@pytest.mark.parametrize("video", ["../../../elsewhere/private", "/etc/passwd", "a/../../../x"])
def test_a_table_of_kinetics_names_no_video_outside_of_the_root(video, place):
    for subset in ("train", "val"):
        (place / subset).mkdir()
        row = f"x,{video},0,10,{subset}\n"
        (place / f"{subset}.csv").write_text("label,youtube_id,time_start,time_end,split\n" + row)
    with pytest.raises(UsageError, match=r"is outside of dataset\.root"):
        Kinetics(str(place), annotations=str(place))


@pytest.mark.parametrize("video", ["../../../elsewhere/private", "\ud800", "a\0b"])
def test_annotations_of_activitynet_name_no_video_outside_of_the_root(video, place):
    of_video = {"annotations": [{"label": "x", "segment": [0, 1]}], "duration": 9, "resolution": "", "url": ""}
    database = {video: {**of_video, "subset": "training"}, "b": {**of_video, "subset": "validation"}}
    taxonomy = [{"nodeName": "x", "nodeId": 1, "parentId": 0, "parentName": "Root"}]
    (place / "a.json").write_text(json.dumps({"database": database, "taxonomy": taxonomy, "version": ""}))
    with pytest.raises(UsageError, match=r"is outside of dataset\.root"):
        ActivityNet(str(place), annotations=str(place / "a.json"))


HEADER = b"{'descr': __import__('os').system('touch canary'), 'fortran_order': False, 'shape': (1,), }"
MEMBERS = {
    "an expression as a header": ("a.npy", b"\x93NUMPY\x01\0\x76\0" + HEADER.ljust(117) + b"\n"),
    "a pickle beside the arrays": ("a.pkl", b"cposix\nsystem\n(S'touch canary'\ntR."),
    "a member elsewhere": ("../../elsewhere/x.npy", b"x"),
}


@pytest.mark.parametrize(("name", "content"), MEMBERS.values(), ids=MEMBERS)
def test_an_archive_of_arrays_runs_and_unpacks_nothing(name, content, place):
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr(name, content)
    with pytest.raises(UnreadableFileError), open_arrays(place / "a.npz") as arrays:
        dict(arrays)
    unharmed(place)


def test_an_array_of_objects_is_refused(place):
    np.savez(place / "a.npz", a=np.array([Path("/")], dtype=object))
    with pytest.raises(UnreadableFileError), open_arrays(place / "a.npz") as arrays:
        dict(arrays)


def on_json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(change(content) or content))

    return make


def on_rows(**values: Any) -> Callable[[Path], None]:
    return on_json("results.json", lambda rows: [{**row, **values} for row in rows])


def on_scores(**values: Any) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        with np.load(run / "clip_scores.npz") as file:
            arrays = {**file, **values}
        np.savez(run / "clip_scores.npz", **arrays)

    return make


REPORTED = {
    "a data set": on_rows(dataset=MARKUP + ESCAPES),
    "a method": on_rows(selection=MARKUP + ESCAPES),
    "a classifier": on_rows(classifier=MARKUP + ESCAPES),
    "an environment": on_json(
        "environment.json", lambda c: c.update(cpu=MARKUP, gpus=[MARKUP], versions={MARKUP: "1"})
    ),
    "an error": on_json("status.json", lambda c: c.update(state="failed", error=MARKUP + ESCAPES, started=MARKUP)),
    "a warning": on_json("status.json", lambda c: c.update(warnings=[{"epoch": MARKUP, "text": MARKUP}])),
    "a setting": on_json("config.json", lambda c: c.update({MARKUP: ESCAPES})),
    "classes": on_scores(classes=[MARKUP, "b", "c", "d"]),
    "video ids": on_scores(video_id=[f"{MARKUP}{i}" for i in range(6)]),
    "a figure": lambda run: (run / "metrics.csv").write_text(f'epoch,"{MARKUP}"\n0,1\n') and None,
    "a picture": lambda run: None,
    "a job": lambda run: (
        (run / "sweep.json").write_text(
            json.dumps({"format": 1, "jobs": [{"overrides": [MARKUP], "folder": "../../elsewhere", "state": "done"}]})
        )
        and None
    ),
}


@pytest.mark.parametrize("make", REPORTED.values(), ids=REPORTED)
def test_a_report_shows_texts_of_a_run_as_texts(make, place, dsn_run, capsys):
    shutil.copytree(dsn_run, place / "runs" / "run")
    make(place / "runs" / "run")
    report(["runs", "output=report", "statistics=0"])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    for name in ("report.html", "report.md"):
        text = (place / "report" / name).read_text()
        assert "<script>canary" not in text
        assert "<img src=x" not in text
        assert "\x1b" not in text
    unharmed(place, said.out + said.err)


def obeyed(text: str) -> list[str]:
    """The characters that a terminal obeys, or that reorder a line."""
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_a_table_shows_control_characters_as_escapes():
    table = TextTable([ESCAPES, "M"], [[ESCAPES, "1"]], title=ESCAPES)
    console = Console(file=io.StringIO(), width=200)
    table.print(console)
    for text in (console.file.getvalue(), table.markdown()):
        assert r"a\x1b]0;canary\x07\x1b[2J\x9b2J\u202eb" in text
        assert not obeyed(text)


def test_a_console_shows_control_characters_as_escapes():
    console = PrintableConsole(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(f"job {ESCAPES}", markup=False)
    console.print(f"[bold]{ESCAPES}")
    console.print(Panel(ESCAPES))
    assert not obeyed(console.file.getvalue())


def test_every_console_of_the_package_is_one_that_shows_control_characters():
    files = {file.name: file.read_text() for file in Path(dsn_lightning.__file__).parent.rglob("*.py")}
    assert "PrintableConsole(" in files["evaluation_output.py"]
    assert not [name for name, text in files.items() if re.search(r"(?<!\w)Console\((?!\)\.width)", text)]


def test_an_error_line_shows_control_characters_as_escapes(capsys):
    with pytest.raises(SystemExit):
        stop("dsn-train", ESCAPES)
    assert not obeyed(capsys.readouterr().err)
    assert not obeyed(str(UsageError(f"checkpoint={ESCAPES}: x")))
    assert not obeyed(printable(Path(ESCAPES)))


def test_a_report_shows_names_of_folders_and_warnings_without_control_characters(place, dsn_run, capsys):
    shutil.copytree(dsn_run, place / "runs" / ESCAPES)
    (place / "runs" / f"{ESCAPES}2").mkdir()
    (place / "runs" / f"{ESCAPES}2" / "results.json").write_text("x")
    on_json("status.json", lambda c: c.update(warnings=[{"epoch": 1, "text": ESCAPES}]))(place / "runs" / ESCAPES)
    report(["runs", "output=report", "statistics=0"])
    said = capsys.readouterr()
    texts = [(place / "report" / name).read_text() for name in ("report.html", "report.md", "report.csv")]
    assert not [found for text in (said.out, said.err, *texts) if (found := obeyed(text))]
    assert r"\x9b2J\u202eb" in texts[1].replace(r"\\", "\\")  # Markdown's own escapes


def linked_file(name: str) -> Callable[[Path], None]:
    """Return a change of a run: a file or folder is moved to another run, which a link leads to."""

    def make(run: Path) -> None:
        other = run.parent.parent / "other" / name
        other.parent.mkdir(parents=True, exist_ok=True)
        if (run / name).exists():
            (run / name).rename(other)
        (run / name).symlink_to(other)

    return make


def linked_log(run: Path) -> None:
    linked_file("log.txt")(run)
    (run.parent.parent / "other" / "log.txt").write_text(f"Traceback (most recent call last)\n{PRIVATE}\n")
    on_json("status.json", lambda c: c.update(state="failed", error=None))(run)


def linked_results(run: Path) -> None:
    on_rows(selection=PRIVATE)(run)
    linked_file("results.json")(run)


def linked_figures(run: Path) -> None:
    (run / "figures").mkdir(exist_ok=True)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    (run / "figures" / f"clips_{PRIVATE}.png").write_bytes(picture.getvalue())
    linked_file("figures")(run)


LINKS = {"log.txt": linked_log, "results.json": linked_results, "figures": linked_figures}


@pytest.mark.parametrize(("name", "make"), LINKS.items(), ids=LINKS)
def test_a_report_does_not_follow_links_out_of_the_folders(name, make, place, dsn_run):
    shutil.copytree(dsn_run, place / "runs" / "run")
    shutil.copytree(dsn_run, place / "runs" / "good")
    make(place / "runs" / "run")
    report(["runs", "output=report", "statistics=0"])
    text = (place / "report" / "report.md").read_text()
    assert f"{name}: not read: a link out of the given folders" in text
    for file in (place / "report").iterdir():
        assert PRIVATE not in file.read_text(), file


@pytest.mark.parametrize("name", ["link", "link/run"])
def test_a_report_reads_the_folder_that_is_named_through_a_link(name, place, dsn_run):
    shutil.copytree(dsn_run, place / "kept" / "run")
    (place / "link").symlink_to(place / "kept")
    report([name, "output=report", "statistics=0"])
    text = (place / "report" / "report.md").read_text()
    assert "not read" not in text
    assert "- Runs: 1 (1 finished)" in text


def test_a_report_replaces_links_in_its_folder(place, dsn_run):
    (place / "report").mkdir()
    (place / "report" / "report.html").symlink_to(place.parent / "elsewhere" / "private")
    report([str(dsn_run), "output=report", "statistics=0"])
    assert not (place / "report" / "report.html").is_symlink()
    unharmed(place)


ANSWER: dict[str, Any] = {
    "video": "a.mp4",
    "label": "x",
    "score": 0.5,
    "top5": [{"label": "x", "score": 0.5}],
    "duration_seconds": 1.0,
    "clips": [
        {"section": 0, "clip": 0, "start_frame": 0, "start_seconds": 0.0, "probability": 1.0, "selected": True}
        | {"label": "x", "score": 0.5}
    ],
    "gmacs": 1.0,
    "seconds": 1.0,
    "decoding_seconds": 0.1,
    "error": None,
}
ANSWERS: dict[str, Any] = {
    "a number": 5,
    "a list": [],
    "null": None,
    "a video that is a list": ANSWER | {"video": ["a"]},
    "a video that is a number": ANSWER | {"video": 5},
    "a label that is an object": ANSWER | {"label": {"a": 1}},
    "a score that is a text": ANSWER | {"score": "x"},
    "a score that is NaN": ANSWER | {"score": float("nan")},
    "a score of a million": ANSWER | {"score": 1e6},
    "a negative probability": ANSWER | {"clips": [ANSWER["clips"][0] | {"probability": -0.5}]},
    "no score": ANSWER | {"score": None},
    "a class that is a list": ANSWER | {"top5": [{"label": ["x"], "score": 0.5}] * 3},
    "an infinite probability": ANSWER | {"top5": [{"label": "x", "score": float("inf")}]},
    "a time that is a text": ANSWER | {"clips": [ANSWER["clips"][0] | {"start_seconds": "x"}]},
    "a window of texts": ANSWER | {"windows": [{"start_seconds": "a", "end_seconds": {}, "label": 1, "score": 1}]},
    "an error that is a list": ANSWER | {"error": ["x"]},
    "a duration that is a text": ANSWER | {"duration_seconds": "x"},
}


@pytest.mark.parametrize("line", ANSWERS.values(), ids=ANSWERS)
def test_a_line_that_is_no_answer_is_named_in_one_line(line, place):
    output = OutputFolder(place)
    output.lines.write_text(f"{json.dumps(ANSWER)}\n{json.dumps(line)}\n")
    with pytest.raises(UsageError, match=r"predictions\.jsonl, line 2: not an answer of dsn-predict") as caught:
        output.done()
    assert "\n" not in str(caught.value)


def test_a_time_line_shows_labels_as_texts():
    parts = [WindowAnswer(0, 1, label, 0.5) for label in (f"=1+1{ESCAPES}", f"a\n\n--> {MARKUP}", "\ud800")]
    table, subtitles = time_line_csv(parts), webvtt(parts)
    assert next(line["label"] for line in csv_records(table)).startswith("=1+1a")
    assert "'=1+1" in table
    for text in (table, subtitles):
        assert not obeyed(text)
        assert text.encode()
    assert "<script>" not in subtitles
    assert subtitles.count("-->") == 3


class Runs:
    """Unpickling it makes the canary."""

    def __reduce__(self) -> tuple:
        return os.system, (TOUCH,)


def test_a_shard_that_names_types_of_arrow_is_refused(place):
    from ray.data.extensions import ArrowPythonObjectType  # of which each value is a pickle

    kind = ArrowPythonObjectType()
    values = kind.wrap_array(pa.array([pickle.dumps(Runs())], pa.large_binary()))
    shards = ParquetShards(place / "shards")
    shards.folder.mkdir()
    for name in ("line", "other"):
        table = pa.table({"line": ["{}"], name: values})
        parquet.write_table(table, shards.folder / "foreign.parquet")
        with pytest.raises(
            UsageError, match=r"foreign\.parquet: not a shard of dsn-predict \(names types of Arrow"
        ) as caught:
            shards.index()
        assert "\n" not in str(caught.value)
    unharmed(place)


def test_git_is_not_asked_about_the_folder_that_the_package_is_installed_in(place):
    package = Path(dsn_lightning.__file__).parent
    installed = place / ".venv" / "site-packages" / "dsn_lightning"
    shutil.copytree(package, installed, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(config_folder(), installed / "conf", dirs_exist_ok=True)
    canary = shlex.quote(str(place / "canary"))
    for command in (["init", "-q"], ["add", ".venv/site-packages/dsn_lightning/errors.py"],
                    ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
                    ["config", "core.fsmonitor", f"touch {canary}; false"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=place, check=True)
    program = "import dsn_lightning.runs.environment as e; print(e.__file__, e.git_commit(), e.git_diff())"
    environment = os.environ | {"PYTHONPATH": str(installed.parent)}
    done = subprocess.run([sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(installed / "runs" / "environment.py"), "None", "None"], done.stderr
    assert not (place / "canary").exists()


WRONG_INFOS = {
    "more frames than a video has": {"num_frames": 2**40, "stamps": "", "key_frames": ""},
    "another frame rate": {"fps": 1e-300},
    "another time base": {"time_base": [2**62, 1]},
}


@pytest.mark.parametrize("wrong", WRONG_INFOS.values(), ids=WRONG_INFOS)
def test_what_an_index_says_of_a_video_that_cannot_be_is_found_again(wrong, place, needle_root):
    (place / "root").mkdir()
    video = Path(shutil.copy(next(needle_root.rglob("*.mp4")), place / "root" / "a.mp4"))

    def index() -> Any:
        return index_videos([video], place, root=place / "root", decoder=PyAV(), num_threads=1, show=False)[video]

    honest = index()
    content = json.loads((place / "index.json").read_text())
    content["videos"]["a.mp4"]["info"] |= wrong
    (place / "index.json").write_text(json.dumps(content))
    assert index() == honest


def test_a_video_of_endless_windows_is_a_bad_video(honest, place):
    torch.save(honest, "run.ckpt")
    encode(place / "a.mkv", "mjpeg", {}, {}, stamps=[0, 4, 8, 2**30])
    model = DSN.from_pretrained("run.ckpt", device="cpu")
    with pytest.raises(VideoError, match=r"a\.mkv: its .* s have more than 1000000 windows"):
        model.predict("a.mkv", window=(1.0, 1.0))


def without_last(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda columns: {name: columns[name][:-1] for name in columns if name.startswith(prefix)}


SCORES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a section is missing": without_last("section_"),
    "a section is there twice": lambda c: {"section_scheme": np.concatenate([c["section_scheme"][:-1], [[2, 2, 0]]])},
    "a video is there twice": lambda c: {"video_id": np.array([*c["video_id"][:-1], c["video_id"][0]])},
    "a target is negative": lambda c: {"targets": -c["targets"]},
    "a target is NaN": lambda c: {"targets": c["targets"] * np.nan},
    "there are no classes": lambda c: {name: c[name][..., :0] for name in ("classes", "targets", "clip_logits")},
    "there are no videos": lambda c: {
        name: column[:0] for name, column in c.items() if column.ndim and name != "classes"
    },
}


@pytest.mark.parametrize("change", SCORES.values(), ids=SCORES)
def test_scores_from_which_no_results_follow_are_refused_in_one_line(change, place):
    scores, _, _ = scored(0)
    scores.save(place / "clip_scores.npz")
    with np.load("clip_scores.npz") as file:
        columns = dict(file)
    np.savez("clip_scores.npz", **columns | change(columns))
    with pytest.raises(UnreadableFileError, match=r"unexpected content: (a|it)") as caught:
        ClipScores.load(place / "clip_scores.npz")
    assert "\n" not in str(caught.value)
