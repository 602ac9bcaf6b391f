"""What the stand-in for W&B's server answers to programs that read a project: what runs have sent to it.

W&B writes the histories of finished runs into Parquet files after a while; here they stay rows.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

PROJECT_QUERIES = ("Runs", "RunHistoryKeys", "RunParquetHistory", "HistoryPage", "RunFiles")
"""Those of ``wandb.Api().runs``, ``Run.scan_history`` and ``Run.files``."""

_LAST_PAGE = {"endCursor": None, "hasNextPage": False}
_Json = dict[str, Any]


class SentRun(Protocol):
    """What is needed of a run; see `StoredRun`."""

    config: str
    project: str
    group: str | None
    job_type: str | None
    created: str
    uploads: dict[str, bytes]

    @property
    def state(self) -> str: ...

    @property
    def summary(self) -> _Json: ...

    @property
    def lines(self) -> list[str]: ...


def project_answer(runs: Mapping[str, SentRun], operation: str, variables: _Json, url: str) -> _Json:
    """Return the data of one of `PROJECT_QUERIES`.

    Args:
        runs: those of the server, by id.
        operation: name of the query.
        variables: of the query.
        url: from which files are served, as ``URL/ID/NAME``.
    """
    if operation == "Runs":
        return {"project": _page_of_runs(runs, variables)}
    name = variables.get("runName") or variables.get("run") or variables["name"]
    run = runs[name]
    if operation == "RunHistoryKeys":
        steps = [json.loads(line)["_step"] for line in run.lines]
        return {"project": {"run": {"historyKeys": {"lastStep": max(steps, default=-1)}}}}
    if operation == "RunParquetHistory":
        return {"project": {"run": {"parquetHistory": {"liveData": [], "parquetUrls": []}}}}
    if operation == "HistoryPage":
        steps = range(variables["minStep"], variables["maxStep"])
        found = [line for line in run.lines if json.loads(line)["_step"] in steps]
        return {"project": {"run": {"history": found[: variables["pageSize"]]}}}
    files = [_file(path, run.uploads[path], f"{url}/{name}") for path in variables["fileNames"] if path in run.uploads]
    return {"project": {"run": {"fileCount": len(files), "files": {"edges": files, "pageInfo": _LAST_PAGE}}}}


def _page_of_runs(runs: Mapping[str, SentRun], variables: _Json) -> _Json | None:
    """Return one page, oldest first; None: no such project."""
    nodes = [_node(name, run) for name, run in runs.items() if run.project == variables["project"]]
    if not nodes or variables["entity"] != "me":
        return None
    chosen = json.loads(variables["filters"]).get("$or", [{}])
    nodes = [node for node in nodes if any(node.items() >= one.items() for one in map(dict, chosen))]
    start, size = int(variables["cursor"] or 0), variables["perPage"]
    edges = [{"node": node, "cursor": str(start + i + 1)} for i, node in enumerate(nodes[start : start + size])]
    more = {"endCursor": None, "hasNextPage": start + size < len(nodes)}
    return {"internalId": "1", "runCount": len(nodes), "readOnly": False, "runs": {"edges": edges, "pageInfo": more}}


def _node(name: str, run: SentRun) -> _Json:
    sent = {"config": run.config, "summaryMetrics": json.dumps(run.summary), "historyLineCount": len(run.lines)}
    known = {"state": run.state, "group": run.group, "jobType": run.job_type, "createdAt": run.created}
    empty = dict.fromkeys(("sweepName", "commit", "description", "notes", "historyKeys", "systemMetrics"))
    user = {"name": "me", "username": "me"}
    common = {"id": "r", "projectId": "1", "tags": [], "readOnly": False, "heartbeatAt": run.created, "user": user}
    return {"name": name, "displayName": name, **sent, **known, **empty, **common}


def _file(path: str, content: bytes, url: str) -> _Json:
    empty = dict.fromkeys(("mimetype", "updatedAt", "md5", "directUrl"))
    return {"node": {"id": path, "name": path, "url": f"{url}/{path}", "sizeBytes": str(len(content)), **empty}}
