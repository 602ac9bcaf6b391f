"""Parsers of stored searches and of runs that W&B has stored, for the fuzz tests."""

import json
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
from wandb.proto.wandb_internal_pb2 import Record

from dsn_lightning.config.arguments import sweep_to_resume
from dsn_lightning.config.stored_search import search_to_resume
from dsn_lightning.launch.objectives import Objective, objectives_of
from dsn_lightning.launch.trial_study import TrialStudy
from dsn_lightning.runs import SweepFolder, read_configs, read_histories, read_results, read_trials
from dsn_lightning.runs.search_plan import SearchPlan, read_search_plan
from dsn_lightning.runs.sweep_folder import SweepJob, SweepRecord
from dsn_lightning.runs.tolerant_files import noted_problems
from dsn_lightning.text_tables import csv_text
from helpers.fuzzed_parser import Parser
from helpers.wandb_server import StandInServer, StoredRun, stand_in_server

CHOICES = (1, 3)
SPACE = {"M": CategoricalDistribution(CHOICES), "gamma": FloatDistribution(0, 1)}
PLAN = SearchPlan(
    arguments=["M=1,3", "gamma=interval(0,1)", "test.M='${M}'", "schedule=tiny"],
    config_name="train",
    space={name: distribution_to_json(distribution) for name, distribution in SPACE.items()},
    metric=["best"],
    sampler="tpe",
    pruner="none",
    seed=0,
    trials=4,
)


def write_search(root: Path) -> None:
    """A search with a trial of each state."""
    root.mkdir(exist_ok=True)
    sweep = SweepFolder(root)
    PLAN.write(sweep.search_json)
    study = TrialStudy(sweep.search_journal, PLAN, [Objective("best")], at_once=1)
    for number, values in enumerate(([0.5], None, [0.75], None)):
        study.ask()
        study.report(number, {0: 0.25})
        if number < 3:
            study.finish(number, values)
    jobs = [SweepJob([f"M={number}"], str(number), "done", 0) for number in range(4)]
    sweep.write(SweepRecord(jobs))


def read_search(root: Path) -> None:
    """Go on with a search up to where Hydra composes its trials."""
    sweep = SweepFolder(root)
    stored = sweep_to_resume([f"sweep.resume={root}"])
    assert stored is not None
    arguments = search_to_resume(stored)
    plan = read_search_plan(sweep.search_json)
    assert plan is not None
    assert arguments is not None
    given = arguments[: len(plan.arguments)]
    assert not any(key in a for a in given for key in ("hydra", "trust", "_target_", "\\", "@"))
    objectives = objectives_of(plan.metric, subset="test", tested=True)
    study = TrialStudy(sweep.search_journal, plan, objectives, at_once=1)
    for row, trial in zip(study.rows(), study.trials(), strict=True):
        assert row["state"] in ("done", "failed", "pruned", "running", "waiting")
        assert set(trial.params) == set(plan.space)
        assert all(math.isfinite(value) for value in (row[name] for name in plan.metric) if value is not None)
    study.ask()


CONFIG = {"M": 3, "N": 4, "gamma": 0.5, "seed": 1, "schedule": {"max_epochs": 2}, "_wandb": {"t": 1}}
HISTORY = [{"epoch": 0, "val/top1": 0.25, "_step": 1}, {"epoch": 1, "val/top1": 0.5, "_step": 2}]
OFFLINE = "offline-run-20260131_120000-abc"
TABLE_FILE = "media/table/rows.table.json"
SUMMARY = {"test/rows": {"_type": "table-file", "path": TABLE_FILE}, "_wandb": {"runtime": 3}}
TABLE = {"columns": ["selection", "classifier", "top1"], "data": [["dsn", "dsn", 0.5], ["uniform", "dsn", 0.25]]}


def record_of(line: str, kind: str) -> Record:
    """A record with an item for each key of a mapping; its values are whatever text follows the key."""
    record = Record()
    place = {"run": record.run.config.update, "history": record.history.item, "summary": record.summary.update}[kind]
    for part in line.split("\t"):
        item = place.add()
        name, _, item.value_json = part.partition(" ")
        if kind == "history":
            item.nested_key.extend(name.split("."))
        else:
            item.key = name
    return record


def wandb_file(records: list[Record]) -> bytes:
    """The records as W&B writes them."""
    content = b":W&B" + bytes(3)
    for record in records:
        part = b"\1" + record.SerializeToString()  # \1: a whole record
        content += struct.pack("<IH", zlib.crc32(part), len(part) - 1) + part
    return content


def items(content: dict[str, Any]) -> str:
    return "\t".join(f"{name} {json.dumps(value)}" for name, value in content.items())


def write_offline_run(root: Path) -> None:
    """An offline run, and its texts as lines: kind, keys and values as JSON."""
    folder = root / OFFLINE
    (folder / "files" / "media" / "table").mkdir(parents=True)
    (folder / "files" / TABLE_FILE).write_text(json.dumps(TABLE))
    rows = [("run", CONFIG), *(("history", row) for row in HISTORY), ("summary", SUMMARY)]
    (root / "items").write_text("".join(f"{kind}\n{items(content)}\n" for kind, content in rows))
    (folder / "run-abc.wandb").write_bytes(wandb_file([record_of(items(content), kind) for kind, content in rows]))


def read_offline_run(root: Path) -> list[pd.DataFrame]:
    """Return the tables."""
    with noted_problems():
        tables = [read(root) for read in (read_configs, read_histories, read_results)]
    assert all(len(table) <= 20 for table in tables)
    return tables


def read_whole_run(root: Path) -> None:
    """Read a file whose checksums tell what was changed."""
    configs, histories, results = read_offline_run(root)
    assert set(configs["gamma"].dropna()) <= {0.5}
    assert list(histories.get("val/top1", ())) in ([], [0.25], [0.25, 0.5])
    assert list(results["top1"]) in ([], [0.5, 0.25])


def read_items(root: Path) -> None:
    """Put changed texts into a file whose checksums are right."""
    lines = (root / "items").read_bytes().decode(errors="replace").split("\n")
    pairs = zip(lines[::2], lines[1::2], strict=False)
    records = [record_of(line, kind) for kind, line in pairs if kind in ("run", "history", "summary")]
    (file,) = root.glob("*/run-abc.wandb")
    file.write_bytes(wandb_file(records))
    read_offline_run(root)


PROJECT = "wandb:me/clips"


class AnsweringServer(StandInServer):
    """Has a run of which it says what is in the folder ``root``, whether that is JSON or not."""

    root: Path

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a GraphQL operation."""
        content = (self.root / "answers").read_bytes().decode("utf-8", "surrogateescape")
        table, config, summary, state, created, *rows = content.split("\n") + [""] * 5
        self.runs["abc"].uploads = {TABLE_FILE: table.encode("utf-8", "surrogateescape")}
        if operation == "HistoryPage":
            return {"project": {"run": {"history": [row for row in rows if row] if variables["minStep"] == 0 else []}}}
        answer = super().answer(operation, variables)
        if operation == "Runs":
            (edge,) = answer["project"]["runs"]["edges"]
            edge["node"] |= {"config": config, "summaryMetrics": summary, "state": state, "createdAt": created}
        return answer


@contextmanager
def answering_server() -> Iterator[None]:
    """Let W&B use a server that answers with the texts of a folder."""
    with stand_in_server(AnsweringServer) as running, pytest.MonkeyPatch.context() as patch:
        running.runs["abc"] = StoredRun(project="clips", job_type="train")
        running.runs["abc"].files["wandb-history.jsonl"] = [json.dumps(row) for row in HISTORY]
        for name, value in (dict.fromkeys(("WANDB_MODE", "WANDB_ENTITY")) | running.environment).items():
            patch.delenv(name, raising=False)
            if value is not None:
                patch.setenv(name, value)
        wandb.teardown()  # it has the environment of the tests before
        yield
        wandb.teardown()


def write_answers(root: Path) -> None:
    root.mkdir(exist_ok=True)
    config = {name: {"value": value} for name, value in CONFIG.items()}
    lines = [json.dumps(config), json.dumps(SUMMARY), "finished", "2026-01-31T12:00:00Z", *map(json.dumps, HISTORY)]
    (root / "answers").write_text("".join(f"{line}\n" for line in [json.dumps(TABLE), *lines]))


def read_answers(root: Path) -> None:
    AnsweringServer.root = root
    with noted_problems():
        for read in (read_configs, read_histories, read_results):
            assert len(read(PROJECT)) <= 20


TRIALS = (
    {"trial": 0, "state": "done", "+M": 1, "gamma": 0.5, "val/top1": 0.25, "on_frontier": False, "folder": "0"},
    {"trial": 1, "state": "pruned", "+M": 3, "gamma": 1e-05, "val/top1": None, "on_frontier": False, "folder": "=1"},
    {"trial": 2, "state": "done", "+M": 3, "gamma": 0.125, "val/top1": 0.75, "on_frontier": True, "folder": "2"},
)


def write_trials(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "trials.csv").write_text(csv_text(TRIALS))


def read_trial_table(root: Path) -> None:
    trials = read_trials(root)
    assert list(trials.get("trial", ())) == list(range(len(trials)))
    assert not len(trials) or trials["on_frontier"].dtype == bool


PARSERS = {
    "trials": Parser("trials.csv", write_trials, read_trial_table, 2),
    "search plan": Parser("search.json", write_search, read_search),
    "search journal": Parser("search.journal", write_search, read_search),
    "wandb file": Parser(f"{OFFLINE}/run-abc.wandb", write_offline_run, read_whole_run),
    "wandb items": Parser("items", write_offline_run, read_items),
    "wandb table": Parser(f"{OFFLINE}/files/{TABLE_FILE}", write_offline_run, read_offline_run, 2),
    "wandb server": Parser("answers", write_answers, read_answers, 1, answering_server),
}
