"""What commands answer before they load PyTorch."""

import itertools
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from dsn_lightning.cli.help_text import help_text
from dsn_lightning.config.compose import compose_anew
from helpers.processes import call

NODES = ("network", "module", "weights_from")
COMMANDS = ["dsn-train", "dsn-evaluate", "dsn-predict", "dsn-prepare", "dsn-export", "dsn-cost"]


def keys_of(text: str) -> Any:
    return yaml.safe_load(text.partition("== Keys")[2].partition("\n")[2].rpartition("Completion of keys")[0])


def without_partial(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: without_partial(value) for key, value in node.items() if key != "_partial_"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_the_groups_and_all_keys_with_their_values(command):
    text = help_text(command, ["--help"])
    assert "dataset/reading/decoder: frames, pyav, torchcodec\n" in text
    given = ["dataset=folder"] if command == "dsn-prepare" else []
    composed = OmegaConf.to_container(compose_anew(command.removeprefix("dsn-"), *given))
    assert keys_of(text) == without_partial(composed)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_each_key(command):
    text = help_text(command, ["--help", *(["logger=wandb"] if command == "dsn-train" else [])])
    lines = text.partition("== Keys")[2].splitlines()
    unexplained, inside = [], None
    for above, line in itertools.pairwise(lines):
        key, _, value = line.strip().partition(":")
        indent = len(line) - len(line.lstrip())
        if inside is not None and indent > inside:
            continue  # what a constructor gets
        inside = indent if not value.partition("#")[0].strip() and key in NODES else None
        is_setting = re.fullmatch("[A-Za-z]\\w*", key) and value.partition("#")[0].strip() and key != "name"
        if is_setting and "#" not in value and not above.strip().startswith("#"):
            unexplained.append(line)
    assert unexplained == []


@pytest.mark.parametrize("command", ["dsn-train", "dsn-predict"])
def test_a_shell_completes_keys_and_names(command, tmp_path):
    assert "COMP_LINE=$COMP_LINE" in call(command, "-sc", "install=bash", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dsn-train dataset=need", "dataset=needle dataset=needle_everywhere"),
        ("dsn-train schedule.max_", "schedule.max_epochs="),
    ],
)
def test_what_is_typed_is_completed(typed, offered, tmp_path):
    environment = {"COMP_LINE": typed, "COMP_POINT": str(len(typed)), "COMP_CWORD": "1"}
    assert call("dsn-train", "-sc", "query=bash", cwd=tmp_path, env=environment).stdout.strip() == offered


def test_help_of_prepare_needs_no_data_set(tmp_path):
    assert call("dsn-prepare", "--help", cwd=tmp_path).stdout.startswith("dsn-prepare: checks a data set")


def test_help_shows_what_is_given(tmp_path):
    shown = call("dsn-train", "--help", "gamma=0.75", cwd=tmp_path).stdout
    assert "\ngamma: 0.75  # penalty for a wrong prediction (Eq. 6)" in shown
    done = call("dsn-train", "--help", "gama=1", cwd=tmp_path, expect=2)
    assert "gama: there is no such key; did you mean gamma?" in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        ("train", ["--help"], 0),
        ("train", ["gama=1"], 2),
        ("train", ["schedule.lr=-1", "dataset=needle"], 2),
        ("evaluate", ["baseline=/no/run.ckpt"], 2),
        ("predict", ["checkpoint=/no/run.ckpt", "videos=[x.mp4]", "output=out"], 2),
        ("export", ["checkpoint=/no/run.ckpt", "output=out"], 2),
        ("dashboard", ["--help"], 0),
        ("dashboard", ["colour=red"], 2),
    ],
)
def test_help_and_refused_settings_do_not_load_pytorch(command, arguments, code, tmp_path):
    program = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        f"from dsn_lightning.cli.{command} import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert ("/no/run.ckpt: no such checkpoint file" in done.stderr) == ("/no/run.ckpt" in "".join(arguments))
