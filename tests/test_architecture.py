"""The rules of the house: which folder may import which, what a name may be, and how long a function is."""

import ast
import importlib.metadata
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from helpers.own_networks import needed_by

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "dsn_lightning"

FOLDERS = {  # a folder, or a module of the top level -> what it may import of the package
    "child_process": set(),
    "current_folder": set(),
    "errors": set(),
    "files": {"errors"},
    "paper": set(),
    "metrics": set(),
    "model_card": {"text_tables"},
    "schedules": {"errors"},
    "stateless_random": set(),
    "text_tables": {"errors"},
    "datasets": {"errors", "files", "stateless_random"},
    "video": {"errors", "files", "datasets"},
    "consensus": set(),
    "estimators": {"errors"},
    "rewards": {"errors", "consensus"},
    "backbones": {"errors"},
    "observations": {"errors", "backbones"},
    "selections": {"errors", "video", "stateless_random"},
    "cost": {"text_tables", "errors", "paper"},
    "prepare": {"child_process", "current_folder", "text_tables", "errors", "files", "datasets", "video"},
    "data": {"child_process", "errors", "stateless_random", "datasets", "video", "prepare"},
    "algorithms": {
        *("backbones", "consensus", "errors", "estimators", "metrics", "observations", "rewards", "schedules"),
        "stateless_random",
    },
    "runs": {"errors", "files", "cost", "text_tables"},
    "launch": {"child_process", "current_folder", "text_tables", "errors", "files", "runs", "evaluation"},
    "training": {"consensus", "text_tables", "errors", "files", "algorithms", "data", "runs"},
    "evaluation": {
        *("algorithms", "consensus", "cost", "data", "datasets", "errors", "files", "metrics", "paper", "runs"),
        *("selections", "stateless_random", "text_tables", "video"),
    },
    "prediction": {"algorithms", "consensus", "datasets", "errors", "files", "observations", "video"},
    "tracking": {"text_tables", "errors", "files", "evaluation", "runs", "video"},
    "report": {"text_tables", "errors", "files", "evaluation", "paper", "prediction", "runs", "selections"},
}
PAPER_IS_SHOWN_IN = {"report", "evaluation/headroom.py", "cost/paper_tables.py"}
KNOW_HYDRA = {"config", "cli", "hydra_plugins"}
NAMED_ELSEWHERE = {
    ("training/callbacks.py", "baseline"),
    ("runs/reading.py", "folder"),
    ("runs/sweep_folder.py", "folder"),
    ("launch/search.py", "folder"),
    ("launch/trial_study.py", "random"),
    ("report/collect.py", "folder"),
    ("tracking/logged_keys.py", "folder"),
}
"""Strings that only look like the name of a method or data set: a statistic of the policy, a column, a sampler."""
PLUG_INS = ("dataset", "backbone", "observation", "estimator", "reward", "selection")


@cache
def sources() -> dict[str, ast.Module]:
    """Return every module of the package and the plug-in by its path below src/."""
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def imports() -> list[tuple[str, str]]:
    """Return (path, imported module) of every import statement, those inside functions included."""
    names = {module_name(path) for path in sources()}
    found = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(path, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                submodules = [f"{node.module}.{alias.name}" for alias in node.names]
                found += [(path, name if name in names else node.module) for name in submodules]
    return list(dict.fromkeys(found))


def folder_of(module: str) -> str:
    """Return the folder, or the module of the top level, that a dotted name of the package lies in."""
    return module.split(".")[1] if "." in module else ""


def test_a_folder_imports_only_what_the_layout_allows():
    wrong = []
    for path, name in imports():
        home, target = folder_of(module_name(path)), folder_of(name)
        if home in FOLDERS and name.startswith("dsn_lightning.") and target not in FOLDERS[home] | {home}:
            wrong.append(f"{path}: {name}")
    assert wrong == []


def test_no_import_circle():
    names = {module_name(path): path for path in sources()}
    edges = defaultdict(set)
    for path, name in imports():
        home = module_name(path)
        if name in names and name != home and not home.startswith(f"{name}."):  # a folder's __init__ comes first anyway
            edges[home].add(name)
    state: dict[str, int] = {}
    circles = []

    def visit(name: str, trail: list[str]) -> None:
        state[name] = 1
        for other in sorted(edges[name]):
            if state.get(other) == 1:
                circles.append([*trail[trail.index(other) :], other] if other in trail else [name, other])
            elif other not in state:
                visit(other, [*trail, other])
        state[name] = 2

    for name in sorted(names):
        if name not in state:
            visit(name, [name])
    assert circles == []


def test_only_config_and_cli_know_hydra():
    hydra = {path for path, name in imports() if name.split(".")[0] in ("hydra", "omegaconf")}
    assert {path for path in hydra if not set(path.split("/")) & KNOW_HYDRA} == set()


def test_data_and_models_do_not_know_each_other():
    models, data = (
        {"algorithms", "backbones", "observations", "estimators", "rewards"},
        {"data", "datasets", "video", "prepare"},
    )
    for path, name in imports():
        if name.startswith("dsn_lightning."):
            home, target = folder_of(module_name(path)), folder_of(name)
            assert not (home in models and target in data), (path, name)
            assert not (home in data and target in models), (path, name)


def test_the_paper_is_known_only_where_it_is_shown():
    users = {path.removeprefix("dsn_lightning/") for path, name in imports() if folder_of(name) == "paper"}
    assert {path for path in users if not {path, path.split("/")[0]} & {"paper", *PAPER_IS_SHOWN_IN}} == set()


def test_no_method_or_data_set_is_known_by_name():
    groups = ("selection", "dataset", "algorithm")
    names = {path.stem for group in groups for path in (ROOT / "conf" / group).glob("*.yaml")}
    found = set()
    for path, tree in sources().items():
        place = path.removeprefix("dsn_lightning/")
        if place.split("/")[0] not in ("selections", "datasets", "algorithms", "paper"):
            strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            found |= {(place, name) for name in names & strings}
    assert found - NAMED_ELSEWHERE == set()


def test_no_class_name_twice():
    classes = Counter(
        node.name for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_no_module_name_twice_and_none_that_hides_another_package():
    stems = Counter(Path(path).stem for path in sources() if not path.endswith("__init__.py"))
    assert [name for name, count in stems.items() if count > 1] == []
    distributions = set(importlib.metadata.packages_distributions())
    assert [name for name in stems if name in sys.stdlib_module_names or name in distributions] == []


def test_functions_are_short_and_take_few_parameters():
    long, wide = [], []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([a for a in arguments if a.arg not in ("self", "cls")])
            if lines > 60:
                long.append(f"{path}: {node.name} ({lines} lines)")
            if count > 8 and node.name != "__init__":
                wide.append(f"{path}: {node.name} ({count} parameters)")
    assert long == []
    assert wide == []


def test_no_formatting_is_skipped():
    assert [path for path in sources() if "# fmt: " in (SOURCE / path).read_text()] == []


@pytest.mark.parametrize("group", PLUG_INS)
def test_every_plug_in_targets_a_public_name_that_exists(group):
    from hydra import compose, initialize_config_dir
    from hydra.utils import get_class, get_method
    from omegaconf import OmegaConf

    from dsn_lightning.config import resolvers

    resolvers.register()
    conf = ROOT / "conf"
    for path in sorted((conf / group).glob("*.yaml")):
        value = f"[{path.stem}]" if group == "selection" else path.stem
        changes = needed_by(path.stem) if group == "backbone" else []
        with initialize_config_dir(str(conf), version_base="1.3"):
            cfg = compose("train", [f"{group}={value}", "run_dir=x", *changes])
        part = OmegaConf.to_container(cfg[group], resolve=True)
        if group == "selection":
            part = part[path.stem]
        target = part.get("_target_") or part["network"]["_target_"]
        assert (get_method if target.rpartition(".")[2].islower() else get_class)(target)  # a function or a class
        if path.stem != "custom":
            package, folder, _ = target.split(".")  # no file's name
            assert (package, (PACKAGE / folder).is_dir()) == ("dsn_lightning", True)
