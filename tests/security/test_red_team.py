"""Attempts to run code, read the environment or reach other files through what others may have written.

Each path that docs/security.md names is tried. An attempt would make the file ``canary`` or copy the environment
variable ``SECRET``; it must end in one line that names the file, with exit code 2.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conftest import NEEDLE
from dsn_lightning.backbones.weights import WeightsError, read_weights
from dsn_lightning.config.arguments import begin_job
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.shared_trainings import finished_trainings, with_shared_trainings
from dsn_lightning.config.trained import RECORD_KEY, load_trained
from dsn_lightning.errors import UsageError
from dsn_lightning.training.checkpoints import AtomicCheckpointIO
from helpers.processes import call
from helpers.synthetic import composed, fresh

SECRET = "a-secret-of-the-environment"
TOUCH = "touch canary"


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a checkpoint as dsn-train writes it."""
    file = tmp_path_factory.mktemp("honest") / "run.ckpt"
    fresh(composed("backbone=r2d_tiny", "dataset.root=nowhere"), file)
    return torch.load(file, weights_only=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which no canary may appear."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", SECRET)
    return tmp_path


def unharmed(place: Path, text: str = "") -> None:
    """No attempt has run, and the environment is neither printed nor in any file."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name == "canary"]
    assert SECRET not in text
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def refused(place: Path, command: str, *arguments: str, code: int = 2) -> str:
    """Return the one line with which a command has refused."""
    done = call(command, *arguments, cwd=place, expect=code, env={"SECRET": SECRET})
    unharmed(place, done.stdout + done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("Indexing")]  # progress
    return line


def os_system(**more: Any) -> dict[str, Any]:
    return {"_target_": "os.system", "command": TOUCH, **more}


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a configuration: a value at a dotted key."""

    def change(config: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for part in path:
            config = config[part]
        config[last] = value

    return change


DECODE = "${oc.decode:'{_target_: os.system, command: touch canary}'}"
HUB = "${oc.decode:'{_target_: torch.hub.load, repo_or_dir: ., model: m, source: local}'}"
REFERENCES = {
    "oc.decode": put("backbone.network", {"_target_": "dsn_lightning.backbones.ResNet2D", "widths": DECODE}),
    "oc.decode in place of a node": put("backbone.network.blocks", [HUB]),
    "oc.decode of a target": put("estimator._target_", "${oc.decode:os.system}"),
    "oc.create": put("observation.network.trunk.widths", "${oc.create:{_target_: os.system, command: touch canary}}"),
    "oc.env": put("backbone.name", "${oc.env:SECRET}"),
    "oc.env inside a text": put("dataset.name", "ucf101 ${oc.env:SECRET,none}"),
    "a reference made of two": put("note", {"a": "{_target_: os", "b": ".system}", "c": "${oc.decode:${.a}${.b}}"}),
    "a reference to a key": put("schedule.rule.epochs", "${...M}"),
    "a reference in a key": put("weights_from", {"${oc.env:SECRET}": 1}),
    "a reference in a target": put("algorithm.module._target_", "os.${algorithm.name}"),
    "a resolver of the package": put("backbone.mean", "${torchvision:resnet18,mean}"),
    "a resolver of Hydra": put("dataset.name", "${hydra:runtime.cwd}"),
    "an unknown resolver": put("dataset.name", "${no_such_resolver:1}"),
    "an escaped reference": put("dataset.name", "\\${oc.env:SECRET}"),
    "an open reference": put("dataset.name", "${oc.env:SECRET"),
    "a reference at the end of a list": put("trainer.devices", [0, [1, {"x": ["${oc.env:SECRET}"]}]]),
}


@pytest.mark.parametrize("change", REFERENCES.values(), ids=REFERENCES)
def test_a_reference_in_a_checkpoint_is_refused(change, honest, place):
    content = deepcopy(honest)
    change(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign.ckpt: .*expected a plain value") as caught:
        load_trained("foreign.ckpt", key="checkpoint", trusted=["os", "torch"])
    assert "\n" not in str(caught.value)
    unharmed(place, str(caught.value))


PYTHONS = """
    builtins.eval builtins.exec builtins.__import__ builtins.open os.system os.popen posix.system subprocess.run
    subprocess.Popen runpy.run_path importlib.import_module pickle.load shutil.rmtree pathlib.Path.write_text
    functools.partial operator.methodcaller numpy.load torch.load torch.save torch.hub.load torch.jit.load
    torch.utils.cpp_extension.load hydra.utils.instantiate hydra.utils.get_method hydra._internal.utils._locate
    omegaconf.OmegaConf.create pytorch_lightning.Trainer.fit pytorch_lightning.callbacks.ModelCheckpoint
"""
IMPORTED = """
    dsn_lightning.launch.jobs.os.system dsn_lightning.cli.train.os.system dsn_lightning.backbones.weights.torch.load
    dsn_lightning.runs.environment.subprocess.run dsn_lightning.backbones.weights.pickle.load
    dsn_lightning.backbones.resnet2d.torch.hub.load torchvision.models.resnet.load_state_dict_from_url
    torch.optim.sgd.torch.load torch.optim.optimizer.torch.hub.load
"""
THE_PACKAGES = """
    dsn_lightning.files.write_atomically dsn_lightning.cli.train.main dsn_lightning.launch.jobs.Job
    dsn_lightning.config.build_part.build_part dsn_lightning.config.build_part.located
    dsn_lightning.runs.run_folder.moved_aside dsn_lightning.backbones.ResNet2D.load_state_dict
    dsn_lightning.backbones.ResNet2D.__init__.__globals__ dsn_lightning.backbones.ResNet2D.__subclasses__
    dsn_lightning.backbones.__loader__.load_module dsn_lightning.backbones.check_clip_network
"""
NO_NAMES = [
    *(" os.system", "os.system ", "os..system", ".os.system", "os.system\n", "", "ResNet2D", "dsn_lightning.backbones"),
    *("dsn_lightning/backbones/ResNet2D", "DSN_LIGHTNING.backbones.ResNet2D", "dsn_lightning.backbones.ResNet2D "),
]
TARGETS = [*PYTHONS.split(), *IMPORTED.split(), *THE_PACKAGES.split(), *NO_NAMES]


@pytest.mark.parametrize("target", TARGETS)
def test_a_foreign_target_in_a_checkpoint_is_refused(target, honest, place):
    (place / "evil.py").write_text("import os\nos.system('touch canary')\n")
    content = deepcopy(honest)
    content[RECORD_KEY]["config"]["trust"] = ["os", "builtins", "torch", "hydra", "subprocess"]  # of no account
    content[RECORD_KEY]["config"]["backbone"]["network"]["blocks"] = [{"_target_": target, "command": TOUCH}]
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign.ckpt: backbone.network.blocks.0.: would run") as caught:
        load_trained("foreign.ckpt", key="checkpoint")
    unharmed(place, str(caught.value))


HIDDEN = {
    "a list of lists": put("observation.network.trunk.blocks", [[[os_system()]]]),
    "an argument of an argument": put("backbone.network.widths", {"a": {"b": [{"c": os_system()}]}}),
    "a partial call": put("estimator", os_system(_partial_=True)),
    "the optimiser": put("algorithm.module.classifier_optimizer", os_system()),
    "a schedule": put("schedule.rule", os_system()),
    "another schedule": put("schedule.sampler_rule", os_system()),
    "positional arguments": put("backbone.network._args_", [os_system()]),
    "the recursion turned off": put("backbone.network._recursive_", False),
    "another conversion": put("backbone.network._convert_", "all"),
    "a target that is a node": put("backbone.network._target_", os_system()),
    "a target that is a list": put("backbone.network._target_", ["os.system", TOUCH]),
    "a target that is a number": put("backbone.network._target_", 3),
    "no target": put("backbone.network._target_", None),
    "an argument that the class lacks": put("backbone.network.forward", os_system()),
    "a flag that is no flag": put("estimator._partial_", "yes"),
    "arguments of other types": put("backbone.network.widths", "touch canary"),
    "no network": put("backbone.network", {}),
    "a network that is a text": put("backbone.network", "os.system"),
}


@pytest.mark.parametrize("change", HIDDEN.values(), ids=HIDDEN)
def test_a_hidden_node_in_a_checkpoint_is_refused(change, honest, place):
    content = deepcopy(honest)
    change(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    with pytest.raises(UsageError, match=r"^checkpoint=foreign.ckpt: ") as caught:
        load_trained("foreign.ckpt", key="checkpoint")
    unharmed(place, str(caught.value))


class Code:
    """Pickles into a call."""

    def __reduce__(self) -> tuple:
        return os.system, (TOUCH,)


def zipped(honest: dict[str, Any], name: str, content: bytes) -> bytes:
    """A checkpoint in whose archive a file is replaced or added."""
    whole, changed = io.BytesIO(), io.BytesIO()
    torch.save(honest, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(changed, "w") as result:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
        folder = next(iter(files)).partition("/")[0]
        for entry, data in {**files, f"{folder}/{name}": content}.items():
            result.writestr(entry, data)
    return changed.getvalue()


def saved(content: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


def scripted() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


FILES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "a pickle": lambda honest: pickle.dumps(Code()),
    "a pickle of an honest one": lambda honest: pickle.dumps({**honest, "more": Code()}),
    "code among the weights": lambda honest: saved({**honest, "state_dict": {"weight": Code()}}),
    "code in the configuration": lambda honest: saved({**honest, RECORD_KEY: Code()}),
    "code as a key": lambda honest: saved({**honest, "more": [(Code(), 1)]}),
    "code in the old format": lambda honest: saved({**honest, "more": Code()}, _use_new_zipfile_serialization=False),
    "a whole module": lambda honest: saved({**honest, "state_dict": torch.nn.Linear(2, 2)}),
    "an archive with another pickle": lambda honest: zipped(honest, "data.pkl", pickle.dumps(Code())),
    "an archive that looks like TorchScript": lambda honest: zipped(honest, "constants.pkl", pickle.dumps(Code())),
    "TorchScript": lambda honest: scripted(),
    "nothing": lambda honest: b"",
    "a script": lambda honest: b"#!/bin/sh\ntouch canary\n",
}


@pytest.mark.parametrize("name", ["foreign.ckpt", "foreign.pt", "foreign.safetensors"])
@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_code_in_a_checkpoint_or_in_weights_is_not_run(make, name, honest, place):
    (place / name).write_bytes(make(honest))
    with pytest.raises(WeightsError) as caught:
        read_weights(place / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=f"^weights={name}: "):
        load_trained(name, key="weights")
    unharmed(place)


def test_further_pickles_in_an_archive_are_not_read(honest, place):
    (place / "foreign.ckpt").write_bytes(zipped(honest, "more/evil.pkl", pickle.dumps(Code())))
    load_trained("foreign.ckpt", key="checkpoint")
    unharmed(place)


def test_lightning_loads_no_code_and_removes_no_file_that_a_checkpoint_names(place):
    (place / "code.ckpt").write_bytes(saved({"state_dict": Code()}))
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint("code.ckpt", weights_only=True)
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({}, place / "run" / "checkpoints" / "last.ckpt")
    (place / "precious.ckpt").touch()
    (place / "run" / "checkpoints" / "notes.txt").touch()
    for path in ("precious.ckpt", "run/checkpoints/../../precious.ckpt", f"local://{place}/precious.ckpt", "run"):
        writer.remove_checkpoint(path)
    writer.remove_checkpoint(place / "run" / "checkpoints" / "notes.txt")
    assert (place / "precious.ckpt").is_file()
    assert {path.name for path in (place / "run" / "checkpoints").iterdir()} == {"last.ckpt", "notes.txt"}
    writer.remove_checkpoint(place / "run" / "checkpoints" / "last.ckpt")
    assert not (place / "run" / "checkpoints" / "last.ckpt").exists()
    unharmed(place)


COMMANDS = {
    "checkpoint": (put("estimator._target_", DECODE), "dsn-evaluate", "checkpoint=foreign.ckpt"),
    "predict": (put("estimator", os_system()), "dsn-predict", "checkpoint=foreign.ckpt", "videos=a.mp4", "output=out"),
    "export": (put("estimator", os_system()), "dsn-export", "checkpoint=foreign.ckpt", "output=out"),
    "networks": (put("estimator", os_system()), "dsn-evaluate", "networks.mine=foreign.ckpt"),
    "classifier": (put("estimator", os_system()), "dsn-train", "classifier.checkpoint=foreign.ckpt", *NEEDLE),
    "weights": (put("backbone.name", "${oc.env:SECRET}"), "dsn-train", "weights=foreign.ckpt", *NEEDLE),
}


@pytest.mark.parametrize("attempt", COMMANDS.values(), ids=COMMANDS)
def test_a_command_refuses_a_foreign_checkpoint_with_one_line(attempt, honest, place, needle_root):
    change, command, *arguments = attempt
    content = deepcopy(honest)
    change(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    (place / "a.mp4").touch()
    own = [f"dataset.root={needle_root}", "backbone=r2d_tiny"] if command == "dsn-train" else []
    line = refused(place, command, *arguments, *own)
    assert "foreign.ckpt: " in line
    assert "would run os.system" in line or "expected a plain value" in line


@pytest.mark.parametrize("key", ["dataset", "dataset.reading.decoder"])
def test_the_data_set_of_a_foreign_checkpoint_is_refused(key, honest, place):
    content = deepcopy(honest)
    put(f"{key}._target_", "os.system")(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    assert f"{key}: would run os.system" in refused(place, "dsn-evaluate", "checkpoint=foreign.ckpt")


@pytest.mark.parametrize("lists", [{"train_list": "private", "test_list": "private"}, {"classes": "private"}])
def test_a_foreign_checkpoint_reads_no_list_outside_of_its_data_set(lists, honest, place):
    (place / "private").write_text("a-private-text label\n")
    (place / "data").mkdir()
    (place / "data" / "train.txt").write_text("a.mp4 x\n")
    own = {"train_list": "data/train.txt", "test_list": "data/train.txt", "classes": None}
    dataset = settings_of("dataset=folder", "dataset.root=data", "run_dir=x").plain["dataset"]
    content = deepcopy(honest)
    put("dataset", {**dataset, **own, **lists})(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    (key, *_) = sorted(lists, reverse=True)
    line = refused(place, "dsn-evaluate", "checkpoint=foreign.ckpt")
    assert f"foreign.ckpt: dataset.{key}=private is outside of dataset.root=data; give +dataset.{key}=PATH" in line
    assert "a-private-text" not in line
    line = refused(place, "dsn-evaluate", "checkpoint=foreign.ckpt", *(f"+dataset.{name}=private" for name in lists))
    assert "is outside of" not in line  # none of the videos exists
    put("dataset", {**dataset, **own, key: "~nobody/x"})(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    assert f"dataset.{key}=~nobody/x is outside of" in refused(place, "dsn-evaluate", "checkpoint=foreign.ckpt")
    (place / "data" / "link").symlink_to(place / "private")
    put("dataset", {**dataset, **own, key: "data/link"})(content[RECORD_KEY]["config"])
    torch.save(content, "foreign.ckpt")
    line = refused(place, "dsn-evaluate", "checkpoint=foreign.ckpt")
    assert f"dataset.{key}=data/link, a link to {place / 'private'}, is outside of dataset.root=data" in line


def stored(changes: list[Callable[[dict[str, Any]], None]], folder: Path, name: str = "config.yaml") -> None:
    """Write a run's folder whose configuration is changed."""
    config: dict[str, Any] = json.loads(json.dumps(settings_of("run_dir=x", "dataset.root=nowhere").plain))
    for change in changes:
        change(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(config))


HANDLER = {"version": 1, "handlers": {"h": {"()": "os.system", "command": TOUCH}}, "root": {"handlers": ["h"]}}
RUNS = {
    "a reference": put("dataset.name", "${oc.env:SECRET}"),
    "oc.decode": put("callbacks", {"mine": DECODE}),
    "a callback": put("callbacks", {"mine": os_system()}),
    "a callback that writes files": put(
        "callbacks", {"mine": {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "elsewhere"}}
    ),
    "a logger": put("logger", {"mine": os_system(_partial_=True)}),
    "a selection": put("selection", {"mine": os_system()}),
    "a data set": put("dataset._target_", "os.system"),
    "a decoder": put("dataset.reading.decoder", os_system()),
    "a Trainer": put("trainer._target_", "os.system"),
    "a network, with trust in the file": lambda config: config.update(trust=["os"], estimator=os_system()),
    "Hydra's log handlers": put("hydra", {"job_logging": HANDLER, "hydra_logging": HANDLER}),
    "Hydra's callbacks": put("hydra", {"callbacks": {"mine": os_system()}}),
    "Hydra's environment": put("hydra", {"job": {"env_set": {"PYTHONSTARTUP": "evil.py"}}}),
    "a list of defaults": put("defaults", ["evil", "_self_"]),
}


@pytest.mark.parametrize("change", RUNS.values(), ids=RUNS)
def test_a_foreign_run_is_not_resumed(change, place):
    stored([change], place / "run")
    (place / "run" / "evil.yaml").write_text(yaml.safe_dump({"hydra": {"job_logging": HANDLER}}))
    assert "config.yaml: " in refused(place, "dsn-train", "resume=run")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch canary']\n",
        "M: !!python/object/new:os.system ['touch canary']\n",
        "M: !!python/name:os.system\n",
        "hydra: {run: {dir: elsewhere}}\n",
        "- M\n",
        "{\n",
    ],
)
def test_a_configuration_that_is_no_plain_yaml_is_not_resumed(text, place):
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text(text)
    assert "config.yaml: " in refused(place, "dsn-train", "resume=run")


def test_a_foreign_run_does_not_write_through_links(place):
    stored([], place / "run")
    (place / "profile").write_text("")
    (place / "run" / "metrics.csv").symlink_to(place / "profile")
    assert "metrics.csv is a link" in refused(place, "dsn-train", "resume=run")
    assert (place / "profile").read_text() == ""


def test_the_name_of_a_folder_is_not_resolved(place):
    stored([], place / "run_${oc.env:SECRET}")
    assert "must not contain ${" in refused(place, "dsn-train", r"resume=run_${oc.env:SECRET}")


def sweep(place: Path, folder: str = "0") -> None:
    """Write a sweep of one job that has not begun."""
    job = {"overrides": ["estimator._target_=os.system"], "folder": folder, "state": "waiting", "exit_code": None}
    (place / "sweep" / "0").mkdir(parents=True, exist_ok=True)
    (place / "sweep" / "sweep.json").write_text(json.dumps({"format": 1, "jobs": [job]}))


@pytest.mark.parametrize("folder", ["../elsewhere", "/tmp", ".", "0/../../elsewhere"])
def test_a_foreign_sweep_has_no_jobs_elsewhere(folder, place):
    sweep(place, folder)
    line = refused(place, "dsn-train", "sweep.resume=sweep")
    assert "sweep.json" in line


SWEEPS = {
    "a reference": ([put("dataset.name", "${oc.env:SECRET}")], "dataset.name=.*expected a plain value"),
    "a target": ([put("estimator", os_system())], "estimator: would run os.system"),
    "trust in the file": ([put("trust", ["os"]), put("estimator", os_system())], "estimator: would run os.system"),
    "a list of defaults": ([put("defaults", ["evil"])], "defaults: a run does not store this key"),
    "no settings of the sweep": ([put("sweep", None)], "missing keys"),
}


@pytest.mark.parametrize(("changes", "message"), SWEEPS.values(), ids=SWEEPS)
def test_a_job_of_a_foreign_sweep_is_not_begun(changes, message, place):
    stored(changes, place / "sweep" / "0", "composed.yaml")
    with pytest.raises(UsageError, match=f"composed.yaml: {message}") as caught:
        begin_job(place / "sweep" / "0", place / "sweep", [])
    assert "\n" not in str(caught.value)
    unharmed(place, str(caught.value))


def test_settings_of_hydra_in_a_foreign_sweep_have_no_effect(place):
    """Those of its own jobs are in the same file. The job begins, and finds no data set."""
    sweep(place)
    dataset = settings_of("dataset=folder", "dataset.root=nowhere", "run_dir=x").plain["dataset"]
    hydra = {"job_logging": HANDLER, "callbacks": {"mine": os_system()}, "searchpath": ["file://."]}
    hydra |= {"job": {"env_set": {"LD_PRELOAD": "evil.so"}}, "run": {"dir": "elsewhere"}}
    stored([put("dataset", dataset), put("hydra", hydra)], place / "sweep" / "0", "composed.yaml")
    done = call("dsn-train", "sweep.resume=sweep", cwd=place, expect=1, env={"SECRET": SECRET})
    unharmed(place, done.stdout + done.stderr)
    log = (place / "sweep" / "0" / "log.txt").read_text().splitlines()
    (line,) = [line for line in log if "error" in line]
    assert line.startswith("dsn-train: error: dataset.root=nowhere: no such folder")
    assert {path.name for path in place.iterdir()} == {"sweep"}


def test_a_shared_training_is_read_as_plain_values(place):
    run = place / "shared" / "other"
    stored([put("dataset.name", "${oc.env:SECRET}")], run)
    (run / "config.json").write_text(json.dumps(yaml.safe_load((run / "config.yaml").read_text())))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "status.json").write_text(json.dumps({"format": 1, "state": "finished"}))
    (run / "progress.json").write_text(json.dumps({"epoch": 1, "max_epochs": 1}))
    with pytest.raises(UsageError, match=r"config.json: dataset.name=\$\{oc.env:SECRET\}: expected a plain value"):
        finished_trainings([place / "shared"])
    own = settings_of(f"run_dir={run}", "dataset.root=nowhere", "classifier.checkpoint=auto").changed({"resume": True})
    with pytest.raises(UsageError, match=r"config.json: dataset.name=\$\{oc.env:SECRET\}: expected a plain value"):
        with_shared_trainings(own, lambda settings: None)
    unharmed(place)


@pytest.mark.parametrize("root", ["a\0b", ["a"], {"_target_": "os.system"}, 3])
def test_a_stored_folder_that_is_no_path_is_refused_in_one_line(root, place):
    run = place / "shared" / "other"
    config = finished_run(run)
    config["dataset"]["root"] = root
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"expected a (path, got|text without null)") as caught:
        finished_trainings([place / "shared"])
    assert str(caught.value).startswith(f"{run / 'config.json'}: ")
    assert "\n" not in str(caught.value)
    unharmed(place)


def test_trainings_that_start_from_each_other_end(place):
    """Their records may be damaged, or made by somebody."""
    for name, other in (("a", "b"), ("b", "a"), ("c", "c")):
        config = finished_run(place / "shared" / name)
        config["classifier"]["checkpoint"] = str(place / "shared" / other / "checkpoints" / "last.ckpt")
        (place / "shared" / name / "config.json").write_text(json.dumps(config))
    assert len(finished_trainings([place / "shared"])) == 3


def finished_run(run: Path) -> dict[str, Any]:
    """Write the folder of a finished training, and return its configuration."""
    config = dict(settings_of(f"run_dir={run}", "algorithm=baseline", "dataset.root=nowhere").plain)
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.json").write_text(json.dumps(config))
    (run / "status.json").write_text(json.dumps({"format": 1, "state": "finished"}))
    (run / "progress.json").write_text(json.dumps({"epoch": 1, "max_epochs": 1}))
    return json.loads((run / "config.json").read_text())


def test_a_report_shows_a_foreign_run_as_text(place):
    script = "<script>fetch('canary')</script>"
    run = place / "run"
    stored([put("dataset.name", "${oc.env:SECRET}"), put("backbone.name", script)], run)
    (run / "config.json").write_text(json.dumps(yaml.safe_load((run / "config.yaml").read_text())))
    (run / ".hydra").mkdir()
    (run / ".hydra" / "config.yaml").write_text("!!python/object/apply:os.system ['touch canary']\n")
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["dataset.name=${oc.env:SECRET}", DECODE]))
    failed = {"format": 1, "state": "failed", "exit_code": 1, "error": script, "started": script, "seconds": 1}
    (run / "status.json").write_text(json.dumps(failed))
    done = call("dsn-report", "run", "output=report", cwd=place, expect=None, env={"SECRET": SECRET})
    unharmed(place, done.stdout + done.stderr)
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 0:
        assert script not in (place / "report" / "report.html").read_text()
    else:
        assert len(done.stderr.splitlines()) == 1


def test_what_the_user_types_is_resolved_as_before(place):
    settings = settings_of("run_dir=x", "dataset.name=${oc.env:SECRET}")
    assert settings.dataset.name == SECRET
