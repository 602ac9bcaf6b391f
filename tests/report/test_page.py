"""The report's page: well-formed, self-contained, safe, complete."""

import base64
import hashlib
import re
import shutil
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from filelock import FileLock
from py_mini_racer import MiniRacer

from dsn_lightning.evaluation.scores import ClipScores
from helpers.report_files import row_of, write_rows, write_run

NASTY = ["<script>alert(1)</script>", "\"quoted\" & 'so' | <b>"]


def test_page_is_well_formed_and_loads_nothing(runs, command):
    write_run(runs / "dsn")
    _, page = command(runs)
    assert page.open == []
    html = Path("report/report.html").read_text()
    assert not re.search(r"https?://|url\((?!#)|@import|\bsrcset=", html)
    for tag, attributes in page.tags:
        for key in ("src", "href", "data", "action"):
            assert key not in attributes or attributes[key].startswith(("data:", "#")), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    ids = Counter(attributes["id"] for _, attributes in page.tags if attributes.get("id"))
    assert max(ids.values()) == 1
    references = {attributes["href"][1:] for tag, attributes in page.tags if tag in ("a", "use")}
    assert references | set(re.findall(r'="url\(#(\w+)\)"', html)) <= set(ids)
    assert sum(tag == "svg" for tag, _ in page.tags) > 15  # frontier, curves, twelve time lines, legends
    for tag, attributes in page.tags:
        assert tag != "svg" or attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        assert tag != "img" or attributes["alt"]


def test_only_the_script_of_the_page_may_run(runs, command):
    _, page = command(runs)
    policy = next(each["content"] for _, each in page.tags if each.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_names_from_users_appear_as_text(runs, command):
    folder = runs / "<img src=x onerror=alert(1)>&amp;"
    (runs / "seed0").rename(folder)
    shutil.rmtree(runs / "seed1")
    scores = ClipScores.load(folder / "evaluate/clip_scores.npz")
    names = np.array([f"{name}_<i>" for name in scores.video_id])
    replace(scores, classes=np.array(NASTY), video_id=names).save(folder / "evaluate/clip_scores.npz")
    for name in ("statistics.json", "environment.json"):  # of the scores before
        (folder / "evaluate" / name).unlink(missing_ok=True)
    write_run(runs / "'\"><script>x", state="failed", error="</script><script>alert(2)</script>")
    _, page = command(runs)
    for text in (*NASTY, f"{folder.name}/evaluate", "'\"><script>x", "</script><script>alert(2)</script>", names[0]):
        assert text in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert "<script" not in Path("report/report.md").read_text()


def test_runs_in_every_state_are_listed(tmp_path, command):
    top = tmp_path / "runs"
    for state in ("finished", "failed", "stopped"):
        write_run(top / state, state=state, error="gamma=-1: is a penalty" if state == "failed" else None)
    write_run(top / "killed", state="running")
    write_run(top / "at work", state="running")
    (top / "stopped/metrics.csv").write_text("epoch,train/classifier_loss\n0,inf\n1,1.5\n2,nan\n3,1.2\n")
    (top / "at work/metrics.csv").write_text("epoch,train/classifier_loss\n0,1.5\n1,0.")  # in the middle of a line
    with FileLock(top / "at work/.lock"):
        _, page = command(top)
    states = {row["run"][0]: row["state"][0] for row in page.rows("runs-table")}
    assert states == {name: name.replace("at work", "running") for name in states}
    assert len(states) == 5
    assert "No results yet" in page.text
    assert "gamma=-1: is a penalty" in page.text
    assert sum(attributes.get("data-run") == "at work" for _, attributes in page.tags) == 1  # the loss of one epoch
    assert "dsn, killed" in page.text


def test_warnings_of_a_training_are_beside_its_run(tmp_path, command):
    kept = [{"epoch": 2, "text": "the policy has collapsed"}, {"epoch": 8, "text": "the classifier has not learned"}]
    for seed in range(3):
        write_run(tmp_path / f"out/{seed}", seed=seed, warnings=kept if seed else ())
    _, page = command(tmp_path / "out")
    text = "epoch 2: the policy has collapsed; epoch 8: the classifier has not learned"
    assert [row["warnings"][0] for row in page.rows("runs-table")] == ["-", text, text]
    assert Path("report/report.md").read_text().count(text) == 2


def test_a_sweep_of_300_runs(tmp_path, command):
    for i in range(300):
        folder = write_run(tmp_path / f"sweep/{i}", seed=i % 3, gamma=i // 3)
        write_rows(folder, row_of(seed=i % 3, gamma=i // 3, top1=i / 300))
    _, page = command("sweep")
    assert len(page.rows("runs-table")) == 300
    assert [row["run"][0] for row in page.rows("runs-table")][:3] == ["0", "1", "2"]
    assert len(page.rows("results-table")) == 100
    assert "dsn (300 runs)" in page.text


def test_columns_sort_naturally():
    engine = MiniRacer()
    engine.eval((files("dsn_lightning.report") / "page_files/page.js").read_text())

    def order(values: list[str], direction: int) -> list[str]:
        return [values[i] for i in engine.call("orderOf", values, direction)]

    assert order(["10", "2", "", "-1.5", "1e-3"], 1) == ["-1.5", "1e-3", "2", "10", ""]
    assert order(["10", "2", "", "-1.5"], -1) == ["10", "2", "-1.5", ""]  # missing values stay last
    assert order(["run 10", "run 2", "a"], 1) == ["a", "run 2", "run 10"]
    assert list(engine.call("orderOf", ["1", "2", "1", "2"], -1)) == [1, 3, 0, 2]  # equals keep their order


def test_cells_name_their_column_where_rows_are_shown_as_cards(runs, command):
    """Narrow screens have no room for a table: each cell is shown behind its column's title."""
    _, page = command(runs)
    heads = [head for rows in page.tables.values() for row in rows[1:] for head, _ in rows[0][1 : len(row)]]
    cells = [attributes for tag, attributes in page.tags if tag == "td"]
    assert [attributes["data-head"] for attributes in cells] == heads
    assert any("data-empty" in attributes for attributes in cells)
