"""A W&B server on the loopback interface: as much of its protocol as one run needs that is on-line, and resumed.

It keeps the lines that runs append to their history, and their files, and gives them back to programs that read the
project (`helpers.wandb_project`). Artifacts are acknowledged as if their content were there already.
"""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from helpers.wandb_project import PROJECT_QUERIES, project_answer

_OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")
_UPLOADS = "file"
_HISTORY, _SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
_FILES = {"history": _HISTORY, "events": "wandb-events.jsonl", "log": "output.log"}


@dataclass
class StoredRun:
    """What the server has of a run."""

    config: str = "{}"
    files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # lines by name
    exit_codes: list[int] = field(default_factory=list)
    project: str = ""
    group: str | None = None
    job_type: str | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    uploads: dict[str, bytes] = field(default_factory=dict)  # other files by name

    @property
    def lines(self) -> list[str]:
        """The rows as JSON, as they came."""
        return self.files[_HISTORY]

    @property
    def state(self) -> str:
        """W&B's name for how the run has ended."""
        return "running" if not self.exit_codes else "failed" if self.exit_codes[-1] else "finished"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows, as they came."""
        return [json.loads(line) for line in self.lines]

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of each figure."""
        return json.loads((self.files[_SUMMARY] or ["{}"])[-1])

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration, without what W&B keeps there for itself."""
        return {key: entry["value"] for key, entry in json.loads(self.config).items() if key != "_wandb"}

    @property
    def axes(self) -> dict[str, str | None]:
        """The x axis of each figure and pattern that was defined; W&B keeps them in the configuration, by number."""
        defined = json.loads(self.config)["_wandb"]["value"]["m"]
        names = [metric.get("1") or metric.get("2") for metric in defined]
        axes = [names[metric["5"] - 1] if "5" in metric else None for metric in defined]
        return dict(zip(names, axes, strict=True))


class StandInServer(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1; ``runs`` are those that it has seen, by id."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, StoredRun] = {}
        self.alerts: list[dict[str, Any]] = []
        self.views: dict[str, dict[str, Any]] = {}  # workspaces and reports, by id, as they came
        self.projects: list[str] = []
        self.sweep: dict[str, Any] = {}  # the search that agents work on, as it came
        self.asked: list[str] = []  # ids of the runs that agents were asked for

    @property
    def environment(self) -> dict[str, str | None]:
        """Variables with which W&B uses this server, and no other."""
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"))
        here = f"http://127.0.0.1:{self.server_port}"
        return proxies | {"WANDB_BASE_URL": here, "WANDB_API_KEY": "k" * 40, "WANDB_ERROR_REPORTING": "false"}

    def upload(self, folders: Iterable[Path]) -> None:
        """Upload off-line runs with ``wandb sync``."""
        env = {name: value for name, value in {**os.environ, **self.environment}.items() if value is not None}
        command = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
        subprocess.run(command, check=True, capture_output=True, env=env)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless W&B has just ended with a connection open."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a GraphQL operation; null where W&B can do without."""
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": "u", "entity": "me"}}
        if operation in ("GetProjects", "CreateProject"):
            return self._projects(variables)
        if operation in ("UpsertView2", "upsertView"):
            return self._saved_view(variables)
        if operation in ("View", "SpecificReport"):
            return self._found_view(variables)
        if operation in ("UpsertSweep", "SweepWithRuns", "CreateAgent", "Heartbeat"):
            return self._searched(operation, variables)
        if operation in PROJECT_QUERIES:
            return project_answer(self.runs, operation, variables, f"http://127.0.0.1:{self.server_port}/{_UPLOADS}")
        if operation == "RunResumeStatus":
            return {"model": self._resumed(variables["name"])}
        if operation == "UpsertBucket":
            return {"upsertBucket": self._upserted(variables)}
        if operation == "CreateRunFiles":
            url = f"http://127.0.0.1:{self.server_port}/{_UPLOADS}/{variables['run']}"
            files = [{"name": name, "uploadUrl": f"{url}/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        if operation == "NotifyScriptableRunAlert":
            self.alerts.append(variables)
            return {"notifyScriptableRunAlert": {"success": True}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}}}
        return dict.fromkeys(("project", "entity", "serverInfo"))

    def _projects(self, variables: dict[str, Any]) -> dict[str, Any]:
        if "input" in variables:
            self.projects.append(variables["input"]["name"])
        common = {"entityName": "me", "createdAt": "2026-01-31T12:00:00Z", "isBenchmark": False, "user": None}
        edges = [{"cursor": name, "node": {"id": name, "name": name, **common}} for name in self.projects]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def _saved_view(self, variables: dict[str, Any]) -> dict[str, Any]:
        if variables["entityName"] == "others":
            raise PermissionError("permission denied")
        identifier = variables.get("id") or b64encode(f"View:{len(self.views)}".encode()).decode()
        self.views[identifier] = variables
        return {"upsertView": {"view": self._view(identifier), "inserted": not variables.get("id")}}

    def _found_view(self, variables: dict[str, Any]) -> dict[str, Any]:
        if "reportId" in variables:
            return {"view": self._view(variables["reportId"])}
        found = [i for i, view in self.views.items() if view["name"] == variables["viewName"]]
        return {"project": {"allViews": {"edges": [{"node": self._view(identifier)} for identifier in found]}}}

    def _searched(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpsertSweep":
            self.sweep = yaml.safe_load(variables["config"])
            project = {"id": "p", "name": variables["projectName"], "entity": {"id": "e", "name": "me"}}
            return {"upsertSweep": {"sweep": {"name": "search7", "project": project}, "configValidationWarnings": []}}
        if operation == "SweepWithRuns":
            return {"project": {"sweep": {"name": "search7", "config": yaml.dump(self.sweep), "runs": {"edges": []}}}}
        if operation == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        commands = []
        if not self.asked:  # the smallest values of all, and no second run
            self.asked.append("run1")
            parameters = self.sweep["parameters"].items()
            args = {name: {"value": one["min"] if "min" in one else one["values"][0]} for name, one in parameters}
            commands.append({"type": "run", "run_id": "run1", "program": self.sweep["program"], "args": args})
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}

    def _view(self, identifier: str) -> dict[str, Any]:
        kept = self.views[identifier]
        view = {name: kept[name] for name in ("name", "displayName", "description", "type", "spec")}
        project = {"id": "p", "name": kept["projectName"], "entityName": kept["entityName"]}
        return {"id": identifier, **view, "project": project, "updatedAt": None, "createdAt": None}

    def _upserted(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(variables["name"], StoredRun())
        run.config = variables["config"] or run.config
        run.project = variables["project"]
        run.group, run.job_type = variables["groupName"] or run.group, variables["jobType"] or run.job_type
        project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "me"}}
        kept = {"id": "r", "name": variables["name"], "displayName": variables["displayName"], "config": run.config}
        return {"bucket": {**kept, "historyLineCount": len(run.history), "project": project}, "inserted": True}

    def _resumed(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        counts = {f"{kind}LineCount": len(run.files[file]) for kind, file in _FILES.items()}
        tails = {f"{kind}Tail": json.dumps(run.files[_FILES[kind]][-1:]) for kind in ("history", "events")}
        bucket = {"id": "r", "name": name, "summaryMetrics": json.dumps(run.summary), "config": run.config, "tags": []}
        bucket |= {"wandbConfig": json.dumps({"t": 1}), **counts, **tails}
        return {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": bucket}

    def append(self, name: str, content: dict[str, Any]) -> None:
        """Add what a run streams."""
        run = self.runs[name]
        for file, chunk in (content.get("files") or {}).items():
            del run.files[file][chunk["offset"] :]
            run.files[file] += chunk["content"]
        if content.get("complete"):
            run.exit_codes.append(content["exitcode"])


class _Handler(BaseHTTPRequestHandler):
    server: StandInServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        found: dict[str, Any] = {}
        if self.path == "/graphql":
            query = json.loads(body)
            operation = query.get("operationName") or _OPERATION.search(query["query"])[1]
            try:
                found = {"data": self.server.answer(operation, query.get("variables") or {})}
            except PermissionError as error:
                found = {"errors": [{"message": str(error)}]}
        elif self.path.endswith("/file_stream"):
            self.server.append(self.path.split("/")[-2], json.loads(body))
        self._send(json.dumps(found).encode())

    def do_PUT(self) -> None:
        run, name = self._file()
        self.server.runs[run].uploads[name] = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._send(b"{}")

    def do_GET(self) -> None:
        run, name = self._file()
        self._send(self.server.runs[run].uploads[name])

    def _file(self) -> tuple[str, str]:
        _, run, name = unquote(self.path).lstrip("/").split("/", 2)
        return run, name

    def _send(self, answer: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


_AXES = {
    **dict.fromkeys(("epoch", "trainer/global_step")),
    **dict.fromkeys(("train/*", "val/*", "time/*", "gradients/*", "parameters/*"), "epoch"),
    **dict.fromkeys(("val/top1_best", "val/map_best", "val/mean_class_best"), "epoch"),
    **dict.fromkeys(("test/*", "held_out/*"), "trainer/global_step"),
}


def assert_one_whole_run(server: StandInServer, run: Path, *, batches: int) -> StoredRun:
    """Check the only run that the server has against the folder of a training, and return it.

    Each epoch is there once, no axis steps back, the summary has the best and the last of each figure, and what a
    person filters by is at the top of the configuration.

    Args:
        server: after a training of needle with M:N = 2:2, however often it was stopped.
        run: its folder.
        batches: of an epoch.
    """
    ((run_id, stored),) = server.runs.items()
    assert run_id == (run / "wandb_id.txt").read_text().strip()
    table = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    epochs = [row for row in stored.history if "train/classifier_loss" in row]
    assert [row["epoch"] for row in epochs] == list(range(len(table)))
    assert [row["trainer/global_step"] for row in epochs] == [batches * (epoch + 1) for epoch in range(len(table))]
    steps = [row["_step"] for row in stored.history]
    assert steps == sorted(set(steps))
    for axis in ("epoch", "trainer/global_step"):
        values = [row[axis] for row in stored.history if axis in row]
        assert values == sorted(values)
    assert stored.axes == _AXES
    for name in ("val/top1", "val/map", "val/mean_class"):
        values = [float(line[name]) for line in table]
        assert [row[name] for row in epochs] == pytest.approx(values)
        assert stored.summary[name] == pytest.approx(values[-1])
        assert stored.summary[f"{name}_best"] == pytest.approx(max(values))
    settings, videos = stored.settings, json.loads((run / "videos.json").read_text())
    top = ("M", "N", "gamma", "seed", "algorithm_name", "dataset_name", "backbone_name")
    assert [settings[name] for name in top] == [2, 2, 0.5, 0, "dsn", "needle", "r3d_tiny"]
    assert settings["schedule"]["batch_size"] == 12 // batches
    assert settings["data_digest"] == {subset: part["digest"] for subset, part in videos.items()}
    return stored


@contextmanager
def stand_in_server(kind: type[StandInServer] = StandInServer) -> Iterator[StandInServer]:
    """Run a server while the block runs."""
    with kind() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
