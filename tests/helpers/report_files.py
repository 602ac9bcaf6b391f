"""Runs and results for dsn-report, written without training, and a parser for its page."""

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from dsn_lightning.report.collect import collect
from dsn_lightning.report.differences import evaluations_of
from dsn_lightning.report.result_rows import results_of
from dsn_lightning.runs.run_folder import RUN_FORMAT

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page's elements; `text` is the visible text, without script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.text = ""
        self.scripts: list[str] = []
        self._table = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = attributes["id"]
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("th", "td"):
            self.tables[self._table][-1].append(("", attributes.get("data-value")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data
            if "th" in self.open or "td" in self.open:
                text, value = self.tables[self._table][-1][-1]
                self.tables[self._table][-1][-1] = (text + data, value)

    def rows(self, table: str) -> list[dict[str, tuple[str, str | None]]]:
        head, *rows = self.tables[table]
        assert all(len(row) == len(head) for row in rows)
        return [dict(zip((name for name, _ in head), row, strict=True)) for row in rows]


def write_run(
    folder: Path,
    *,
    state: str = "finished",
    seed: int = 0,
    error: str | None = None,
    warnings: Sequence[dict] = (),
    **config,
) -> Path:
    """Write the files of dsn-train, without its results."""
    folder.mkdir(parents=True)
    status = {"format": RUN_FORMAT, "state": state, "error": error, "seconds": 90.0, "warnings": [*warnings]}
    (folder / "status.json").write_text(json.dumps(status) + "\n")
    defaults = {"algorithm": {"name": "dsn"}, "dataset": {"name": "needle"}, "M": 2, "N": 2, "gamma": 0.5, "seed": seed}
    (folder / "config.json").write_text(json.dumps(defaults | config))
    lines = [f"{epoch},{1 / (epoch + 1)},{'' if epoch < 1 else 0.1 * epoch}" for epoch in range(4)]
    (folder / "metrics.csv").write_text("epoch,train/classifier_loss,train/policy_reward\n" + "\n".join(lines) + "\n")
    return folder


def row_of(**fields) -> dict:
    """Return a row of results of DSN on HMDB51, with other values for some fields."""
    row = {
        "dataset": "hmdb51",
        "split": 1,
        "modality": "rgb",
        "selection": "dsn",
        "classifier": "dsn",
        "algorithm": "dsn",
        "backbone": "r3d_18",
        "observation": "r2d_18",
        "estimator": None,
        "reward": None,
        "seed": 0,
        "gamma": 0.5,
        "train_M": 1,
        "train_N": 3,
        "M": 1,
        "N": 3,
        "clips": 1,
        "crops": 1,
        "top1": 0.5,
        "top5": 0.8,
        "mean_class": 0.5,
        "map": 0.5,
        "hit_rate": None,
        "gmacs_classifier": 20.0,
        "gmacs_observation": 5.0,
        "gmacs": 25.0,
        "videos": 1530,
        "videos_missing": 0,
        "videos_failed": 0,
        "seconds_per_video": None,
    }
    return row | fields


def reference_row(selection: str = "dense", **fields) -> dict:
    """Return a row of a method without a sampler, answered by the baseline's classifier."""
    defaults = {"classifier": "baseline", "algorithm": "baseline", "train_N": None, "observation": None}
    return row_of(selection=selection, **defaults | {"gmacs_observation": 0.0} | fields)


def write_rows(folder: Path, *rows: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


def write_basis(folder: Path, *, classes: int, started_from: str = "kinetics400", **more: object) -> Path:
    """Write an ``environment.json`` that says what the results in a folder stand on: equal counts for all networks."""
    facts = {"videos": 84, "videos_of": 3570, "classes": classes, "classes_of": 51, **more}
    network = {**facts, "classifier_from": started_from, "observation_from": None}
    sampled = {**network, "observation_from": "imagenet"}
    networks = {"baseline": network, "dsn": sampled, "dsn_fixed": sampled}
    (folder / "environment.json").write_text(json.dumps({"tested_on": facts, "networks": networks}))
    return folder


def groups_of(folder: Path) -> list[list[Path]]:
    """Return the folders of the evaluations that the report compares together."""
    collected = collect([str(folder)])
    groups = evaluations_of(results_of(collected), collected.sources)
    return [[source.folder for source in group] for group in groups]
