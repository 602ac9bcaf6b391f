"""Imports point one way, and every plug-in is found through its YAML alone."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dsn_lightning"

LAYERS = (  # what a part may import: itself and everything above it in this list
    {"errors", "files", "paper", "run_configs"},
    {"runs", "splits"},
    {"keyed", "metrics", "schedules", "finetuning", "cost", "speed", "weights", "data.sections", "data.records"},
    {"data"},
    {"backbones", "estimators", "selection"},
    {"monitor", "recognizer"},
    {"dsn"},
    {"baseline"},
    {"evaluation", "averaging", "callbacks", "checkpoints", "visualize", "tracking", "wandb_account", "wandb_tables"},
    {"jobs", "processes", "report"},
    {"commands"},
)


def layer_of(module: str) -> int:
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        for i, layer in enumerate(LAYERS):
            if name in layer:
                return i
    raise AssertionError(f"{module} stands in no layer")


def imports() -> list[tuple[str, str]]:
    found = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else (
                [a.name for a in node.names] if isinstance(node, ast.Import) else []
            )  # fmt: skip
            found += [(own, name) for name in names if name]
    return found


def test_imports_point_one_way():
    wrong = [
        (own, name)
        for own, name in imports()
        if name.startswith("dsn_lightning.") and own != "__init__"
        and layer_of(name.removeprefix("dsn_lightning.")) > layer_of(own)
    ]  # fmt: skip
    assert wrong == []


def test_data_and_models_do_not_know_each_other():
    models = (
        "dsn_lightning.backbones",
        "dsn_lightning.dsn",
        "dsn_lightning.baseline",
        "dsn_lightning.recognizer",
    )
    assert [(o, n) for o, n in imports() if o.startswith("data") and n.startswith(models)] == []
    assert [
        (o, n) for o, n in imports() if o in ("dsn", "baseline", "recognizer") and n.startswith("dsn_lightning.data")
    ] == []


def test_only_commands_know_hydra():
    assert {o for o, n in imports() if n.split(".")[0] in ("hydra", "omegaconf")} <= {
        o for o, _ in imports() if o.startswith("commands")
    }


def test_dsn_stays_short():
    assert len((SOURCE / "dsn.py").read_text().splitlines()) <= 200


@pytest.mark.parametrize("group", ["dataset", "backbone", "observation", "estimator", "selection"])
def test_every_plug_in_has_a_target_that_exists(group):
    from hydra import compose, initialize_config_dir
    from hydra.utils import get_class, get_method
    from omegaconf import OmegaConf

    from dsn_lightning.commands import resolvers

    resolvers.register()
    conf = SOURCE.parents[1] / "conf"
    for path in sorted((conf / group).glob("*.yaml")):
        value = f"[{path.stem}]" if group == "selection" else path.stem
        own = ["backbone.network._target_=conftest.MeanClassifier"] if path.stem == "custom" else []  # the user's
        with initialize_config_dir(str(conf), version_base="1.3"):
            cfg = compose("train", [f"{group}={value}", "run_dir=x", *own])
        part = OmegaConf.to_container(cfg[group], resolve=True)
        if group == "selection":
            part = part[path.stem]
        target = part.get("_target_") or part["network"]["_target_"]
        assert (get_method if group == "estimator" else get_class)(target)
