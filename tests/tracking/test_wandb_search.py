"""The ready search file: W&B's own agent runs the command in it, against a stand-in for W&B's server."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import NEEDLE
from dsn_lightning.runs import read_configs
from helpers.wandb_server import stand_in_server

FILE = Path(__file__).resolve().parents[2] / "experiments" / "wandb_search.yaml"
AGENT = """
import sys, wandb
from wandb import wandb_agent
from wandb.sdk.launch.sweeps.utils import load_sweep_config
search = load_sweep_config(sys.argv[1])  # as `wandb sweep FILE` reads it
search["command"][1:1] = sys.argv[2:]  # as its comment says
wandb_agent.Agent.POLL_INTERVAL = 0.2  # seconds, instead of 5
wandb.agent(wandb.sweep(search, project="clips"), count=1)
"""
TINY = [
    "schedule.max_epochs=1",
    "schedule.batch_size=4",
    "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=0",
    "trainer.accelerator=cpu",
    "test.enabled=false",
]


@pytest.fixture(scope="module")
def searched(needle_root: Path, tmp_path_factory: pytest.TempPathFactory):
    """A folder in which an agent has run one training of the search, and the server that asked for it."""
    folder = tmp_path_factory.mktemp("search")
    with stand_in_server() as server:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where dsn-train is
        env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")} | {"PATH": path}
        env = {name: value for name, value in (env | server.environment).items() if value is not None}
        words = [str(FILE), f"dataset.root={needle_root}", *NEEDLE, *TINY]
        done = subprocess.run(
            [sys.executable, "-c", AGENT, *words], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield folder, server, done


def test_an_agent_trains_with_the_values_that_it_is_given(searched):
    folder, server, done = searched
    (configs,) = [read_configs(folder / "outputs" / "searches" / "search7")]
    assert configs["run"].tolist() == ["run1"], done.stderr
    assert configs["state"].tolist() == ["finished"]
    keys = ["M", "N", "gamma", "schedule.lr", "schedule.sampler_lr"]
    assert configs[keys].values.tolist() == [[1, 3, 0.0, 0.001, 0.001]]
    assert list(server.sweep["parameters"]) == keys
    stored = server.runs["run1"]
    assert stored.exit_codes == [0]
    sent = json.loads(stored.config)
    assert (sent["M"]["value"], sent["N"]["value"]) == (1, 3)
    assert sent["logger"]["value"]["wandb"]["group"] == "search7"


def test_the_metric_that_the_search_maximises_is_logged_each_epoch(searched):
    folder, server, _ = searched
    metric = yaml.safe_load(FILE.read_text())["metric"]
    rows = [row for row in server.runs["run1"].history if metric["name"] in row]
    run = folder / "outputs" / "searches" / "search7" / "run1"
    (line,) = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    assert [row[metric["name"]] for row in rows] == [pytest.approx(float(line["val/top1"]))]
    assert metric["goal"] == "maximize"
