"""dsn-dashboard: specifications name the keys that real runs have logged, and reach W&B's server as they are."""

import csv
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from dsn_lightning.cli import dashboard
from dsn_lightning.runs.stored_configs import flat
from dsn_lightning.tracking.dashboards import build_dashboard
from dsn_lightning.tracking.logged_keys import LoggedKeys, logged_keys, named_keys
from dsn_lightning.tracking.stored_views import check_view
from helpers.processes import call
from helpers.wandb_files import read_all
from helpers.wandb_server import StandInServer, stand_in_server

SECTIONS = [
    *("Accuracy and cost", "Training", "Held-out videos", "The sampler", "Selected clips", "Mistakes", "The sweep")
]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run dsn-dashboard without an account in this process; return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, expect: int = 0) -> str:
        code = 0
        try:
            dashboard.main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert code == expect, out + err
        return err if code else out

    return run


def sections(workspace: dict) -> dict[str, list[dict]]:
    found = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def grids(report: dict) -> list[dict]:
    return [block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]


def end_of(sweep: Path) -> set[str]:
    """Return what the sweep's own run has logged."""
    (found,) = read_all(sweep)
    assert found.run.job_type == "sweep"
    return {name for row in found.history for name in row}


def test_every_key_is_one_that_the_runs_have_logged(logged_sweep, command, tmp_path):
    out = command(str(logged_sweep), "project=clips", "output=made")
    assert "runs: 2 (2 with logger=wandb), sweeps: 1\n" in out
    assert "left out" not in out
    workspace, report = (
        json.loads((tmp_path / "made" / name).read_text()) for name in ("workspace.json", "report_M_2.json")
    )
    assert (workspace["url"], workspace["project"], report["project"]["name"]) == (None, "clips", "clips")
    (first,), (second,) = (read_all(logged_sweep / job) for job in "01")
    history = [{name for row in found.history for name in row} for found in (first, second)]
    logged = LoggedKeys(frozenset(history[0] & history[1] | end_of(logged_sweep)), frozenset(flat(first.config)))
    for content in (workspace, report):
        named = named_keys(content)
        assert len(named) > 25
        assert [key for key in named if not logged.has(key)] == []
    assert list(sections(workspace)) == SECTIONS
    assert [[p["config"] for p in grid["panelBankSectionConfig"]["panels"]] for grid in grids(report)] == [
        [panel["config"] for panel in panels] for panels in sections(workspace).values()
    ]


def test_what_folders_tell_is_what_wandb_has(logged_sweep):
    (found,) = read_all(logged_sweep / "0")
    keys, history = logged_keys(logged_sweep), {name for row in found.history for name in row}
    others = {name for name in history - keys.metrics if not name.startswith(("_", "trainer/"))}
    assert keys.metrics <= history | end_of(logged_sweep)
    assert all(name.count("/") == 3 for name in others), others  # test/dsn/M2/top1: of each method, shown as a table


def test_runs_are_grouped_by_setting_and_those_of_a_sweep_are_chosen(logged_sweep, command, tmp_path):
    command(str(logged_sweep))
    (runs,) = json.loads((tmp_path / "dashboard" / "workspace.json").read_text())["spec"]["section"]["runSets"]
    groups = [{"section": "config", "name": f"{name}.value"} for name in ("M", "N", "gamma")]
    (job_type,) = [(f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]]
    assert (runs["grouping"], job_type) == (groups, ("jobType", "IN", ["train", "sweep"]))
    (found,) = read_all(logged_sweep / "0")
    for grid in grids(json.loads((tmp_path / "dashboard" / "report_M_2.json").read_text())):
        (runs,) = grid["runSets"]
        chosen = {f["key"]["name"]: f["value"] for f in runs["filters"]["filters"]}
        assert chosen == {"jobType": ["train", "sweep"], "group": found.run.run_group} == chosen | {"group": "M=2"}
        assert found.run.job_type in chosen["jobType"]
        assert runs["grouping"] == groups


def test_panels_draw_the_frontier_and_the_spread_over_seeds(logged_sweep, command, tmp_path):
    command(str(logged_sweep))
    panels = sections(json.loads((tmp_path / "dashboard" / "workspace.json").read_text()))
    frontier = panels["Accuracy and cost"][0]
    assert frontier["viewType"] == "Scatter Plot"
    assert frontier["config"]["showMaxYAxisLine"]
    assert (frontier["config"]["xAxis"], frontier["config"]["yAxis"]) == ("summary:test/gmacs", "summary:test/top1")
    (parallel,) = [p for p in panels["Accuracy and cost"] if p["viewType"] == "Parallel Coordinates Plot"]
    axes = [column["accessor"] for column in parallel["config"]["columns"]]
    assert axes == [
        *(f"config:{name}.value" for name in ("M", "N", "gamma", "seed")),
        *(f"summary:{name}" for name in ("val/top1_best", "test/top1", "test/map", "test/gmacs")),
    ]
    curves = [panel["config"] for panel in panels["Training"] + panels["Held-out videos"]]
    assert len(curves) == 10
    assert {(c["xAxis"], c["groupAgg"], c["groupArea"]) for c in curves} == {("epoch", "mean", "stddev")}
    (matrix,) = panels["Mistakes"]
    (found,) = read_all(logged_sweep / "0")
    own = found.config["_wandb"]["visualize"]["test/confusion_matrix"]["panel_config"]  # what W&B itself would show
    assert matrix["config"]["panelDefId"] == own["panelDefId"]
    assert matrix["config"]["fieldSettings"] == own["fieldSettings"]


def test_keys_that_no_run_logs_are_named_and_their_panels_left_out(logged_sweep, command, tmp_path):
    sweep = Path(shutil.copytree(logged_sweep, tmp_path / "copy"))
    for job in "01":
        (sweep / job / "results.json").unlink()
        rows = list(csv.DictReader((sweep / job / "metrics.csv").read_text().splitlines()))
        with (sweep / job / "metrics.csv").open("w", newline="") as file:
            names = [name for name in rows[0] if "sampler" not in name and "policy" not in name and "share" not in name]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    out = command(str(sweep))
    (line,) = [line for line in out.splitlines() if line.startswith("left out, as no run logs it: ")]
    missing = line.partition(": ")[2].split(", ")
    assert {"test/top1", "train/sampler_lr", "train/selected_positions", r"train/position_share_\d+"} <= {*missing}
    workspace = json.loads((tmp_path / "dashboard" / "workspace.json").read_text())
    named = {key.partition(":")[2] for key in named_keys(workspace)}
    assert named.isdisjoint(missing)
    found = sections(workspace)
    assert list(found) == ["Accuracy and cost", "Training", "Held-out videos", "The sweep"]
    (rates,) = [p["config"] for p in found["Training"] if p["config"]["chartTitle"] == "Learning rates"]
    assert rates["metrics"] == ["train/classifier_lr"]


def test_a_specification_with_another_key_is_refused(logged_sweep):
    workspace = build_dashboard([logged_sweep], entity="me", project="clips").workspace
    keys = logged_keys(logged_sweep)
    check_view(workspace, keys)
    for key in ("val/top1_best", "test/gmacs", "test/rows", "test/confusion_matrix_table", "train/policy_entropy"):
        with pytest.raises(AssertionError, match=key):
            check_view(workspace, LoggedKeys(keys.metrics - {key}, keys.config))
    for key in ("gamma", "seed"):
        with pytest.raises(AssertionError, match=key):
            check_view(workspace, LoggedKeys(keys.metrics, keys.config - {key}))


def test_the_report_has_means_and_spread_over_seeds(logged_sweep, command, tmp_path):
    command(str(logged_sweep))
    blocks = json.loads((tmp_path / "dashboard" / "report_M_2.json").read_text())["spec"]["blocks"]
    assert [b["children"][0]["text"] for b in blocks if b["type"] == "heading"] == ["Results", *SECTIONS]
    assert "2 jobs: 2 finished" in [b["children"][0]["text"] for b in blocks if b["type"] == "paragraph"]
    (table,) = [block["content"].splitlines() for block in blocks if block["type"] == "markdown-block"]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    header, lines = rows[0], {row[3]: row for row in rows[2:]}
    stored = [row for job in "01" for row in json.loads((logged_sweep / job / "results.json").read_text())]
    assert set(lines) == {row["selection"] for row in stored}
    for name, line in lines.items():
        shown = dict(zip(header, line, strict=True))
        maps = [100 * row["map"] for row in stored if row["selection"] == name]
        assert shown["mAP (%)"] == f"{statistics.mean(maps):.1f} ± {statistics.stdev(maps):.1f}"
        assert (shown["trained M:N"], shown["tested M:N"], shown["gamma"], shown["seeds"]) == ("2:2", "2:2", "0.5", "2")


def test_rows_that_are_no_results_are_left_out_of_the_report(logged_sweep, command, tmp_path):
    sweep = Path(shutil.copytree(logged_sweep, tmp_path / "copy"))
    rows = json.loads((sweep / "0" / "results.json").read_text())
    damaged = [rows[0] | {"M": [2]}, rows[0] | {"top1": "all"}, {"selection": "mine|<b>"}, {"top1": 0.5, "dataset": {}}]
    config = json.loads((sweep / "0" / "config.json").read_text())
    for job, group in (("0", "\ud800"), ("1", {"of": "others"})):
        (sweep / job / "results.json").write_text(json.dumps(damaged))
        config["logger"]["wandb"]["group"] = config["sweep"]["group"] = group
        (sweep / job / "config.json").write_text(json.dumps(config))
    command(str(sweep))
    blocks = json.loads((tmp_path / "dashboard" / "report__ud800.json").read_text())["spec"]["blocks"]
    (table,) = [block["content"].splitlines()[2:] for block in blocks if block["type"] == "markdown-block"]
    (own, named) = sorted(table, key=lambda line: "mine" in line)
    assert f"| {rows[0]['selection']} |" in own
    assert "mine\\|&lt;b&gt;" in named


def test_a_folder_without_trainings_has_no_curves(logged_sweep, command, tmp_path):
    run = Path(shutil.copytree(logged_sweep / "0", tmp_path / "run"))
    for name in ("metrics.csv", "config.json", "config.yaml"):
        (run / name).unlink()
    (run / ".hydra" / "config.yaml").write_text("{}\n")
    (run / ".hydra" / "overrides.yaml").write_text("[]\n")
    assert "gamma" in command(str(run))
    assert list(sections(json.loads((tmp_path / "dashboard" / "workspace.json").read_text()))) == ["The sweep"]


def test_without_folders_all_panels_are_made_and_without_a_sweep_no_report(logged_sweep, command, tmp_path):
    assert command("output=all") == "written: all/workspace.json\n"
    everything = json.loads((tmp_path / "all" / "workspace.json").read_text())
    assert list(sections(everything)) == SECTIONS
    command(str(logged_sweep))
    of_runs = json.loads((tmp_path / "dashboard" / "workspace.json").read_text())
    assert everything == of_runs | {"project": "dsn_lightning"}  # and twice the same
    single = Path(shutil.copytree(logged_sweep / "0", tmp_path / "run"))
    config = json.loads((single / "config.json").read_text())
    config["logger"]["wandb"]["group"] = config["sweep"]["group"] = None
    (single / "config.json").write_text(json.dumps(config))
    assert "runs: 1 (1 with logger=wandb), sweeps: 0\n" in command(str(single), "output=one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["workspace.json"]


@pytest.fixture
def server():
    with stand_in_server() as running:
        yield running


READ_BACK = """
import sys, wandb_workspaces.workspaces as ws, wandb_workspaces.reports.v2 as wr
print([section.name for section in ws.Workspace.from_url(sys.argv[1]).sections])
print([block.text for block in wr.Report.from_url(sys.argv[2]).blocks if isinstance(block, wr.H1)])
"""


def test_with_an_account_both_are_published_and_can_be_read_back(server: StandInServer, logged_sweep, tmp_path):
    env = server.environment | {"WANDB_MODE": None, "WANDB_ENTITY": None, "WANDB_PROJECT": None}
    for _ in range(2):
        done = call("dsn-dashboard", str(logged_sweep), cwd=tmp_path, env=env)
        assert "wandb:" not in done.stderr
    assert server.projects == ["dsn_lightning"]
    workspace, *reports = server.views.values()  # a second call replaces the workspace, and adds a draft
    assert (workspace["type"], [report["type"] for report in reports]) == ("project-view", ["runs/draft"] * 2)
    urls = []
    for name, sent in (("workspace.json", workspace), ("report_M_2.json", reports[-1])):
        written = json.loads((tmp_path / "dashboard" / name).read_text())
        assert json.loads(sent["spec"]) == written["spec"]
        assert sent["entityName"] == "me"
        assert written["url"].startswith(f"{env['WANDB_BASE_URL']}/me/dsn_lightning")
        assert written["url"] in done.stdout
        urls.append(written["url"])
    given = {name: value for name, value in env.items() if value is not None} | {"WANDB_SILENT": "true"}
    read = subprocess.run([sys.executable, "-c", READ_BACK, *urls], env=given, capture_output=True, text=True)
    assert read.stdout.splitlines() == [str(SECTIONS), str(["Results", *SECTIONS])], read.stderr

    server.views.clear()
    call("dsn-dashboard", "entity=team", "project=other", cwd=tmp_path, env=env)
    (other,) = server.views.values()
    assert (other["entityName"], other["projectName"]) == ("team", "other")


def test_what_cannot_be_done_is_one_line(logged_sweep, command, monkeypatch, tmp_path):
    assert command("nowhere", expect=2) == "dsn-dashboard: error: nowhere: no such folder\n"
    on_server = "wandb:me/clips: expected a folder of runs or sweeps"
    assert command("wandb:me/clips", expect=2) == f"dsn-dashboard: error: {on_server}\n"
    assert command("colour=red", expect=2).startswith("dsn-dashboard: error: colour: no such key; expected one of")
    (tmp_path / "taken").write_text("")
    assert "output=taken: cannot be written to" in command("output=taken", expect=2)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert "pip install 'dsn-lightning[dashboard]'" in command(expect=2)


def test_what_the_server_refuses_is_one_line(tmp_path, server: StandInServer):
    env = server.environment | {"WANDB_MODE": None}
    done = call("dsn-dashboard", "entity=others", cwd=tmp_path, env=env, expect=2)
    assert done.stderr.startswith("dsn-dashboard: error: W&B: ")
    assert "permission denied" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "dashboard" / "workspace.json").exists()
