"""The notebook of a sweep, and what all notebooks have in common."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from dsn_lightning.runs import SweepFolder
from dsn_lightning.runs.sweep_folder import SweepJob
from helpers.trained_runs import metrics_of
from run_notebooks import execute

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SWEEP = FOLDER / "03_sweep_over_M_N_gamma.ipynb"


def shown(path: Path) -> tuple[str, list[bytes]]:
    """Return the text and the pictures of an executed notebook."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    text = "".join(o.text if o.output_type == "stream" else o.data.get("text/plain", "") for o in outputs)
    return text, [base64.b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


@pytest.fixture
def run_cells(monkeypatch, capsys):
    """Run the cells of the sweep's notebook in this process, on a folder; return what they print and define."""
    monkeypatch.chdir(FOLDER)
    plt.switch_backend("agg")

    def run(folder: Path, **settings: Any) -> tuple[str, dict[str, Any]]:
        monkeypatch.setenv("DSN_SWEEP", str(folder))
        names: dict[str, Any] = {"display": print}
        for cell in nbformat.read(SWEEP, as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source.replace("%matplotlib inline", ""), names)
                names |= settings if "SWEEP =" in cell.source else {}
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        return capsys.readouterr().out, names

    yield run
    plt.close("all")


@pytest.fixture
def sweep(small_sweep: Path, tmp_path: Path) -> Path:
    """A copy of the real sweep to change; the configuration of its runs is in Hydra's config.yaml alone."""
    ignored = shutil.ignore_patterns("checkpoints", "figures", "*.npz", "config.json")
    return Path(shutil.copytree(small_sweep, tmp_path / "sweep", ignore=ignored))


def texts(figure: int) -> list[str]:
    return [text.get_text() for axes in plt.figure(figure).axes for text in axes.texts]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_outputs_are_committed(path):
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_it_opens_with_a_question_and_ends_with_what_to_do_next(path):
    first, *_, last = nbformat.read(path, as_version=4).cells
    assert re.search(r"^# .+\n\*\*[^*]+\?\*\*\n", first.source)
    assert last.source.startswith("## What next\n- ")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_tables_escape_the_texts_of_files(path):
    """Frames do; with their ``style`` only if they are told to."""
    for cell in nbformat.read(path, as_version=4).cells:
        for call in cell.source.split(".style")[1:]:
            assert call.startswith(".format(")
            assert 'escape="html"' in call.partition(".hide")[0]


def test_a_real_sweep_is_shown(small_sweep, tmp_path):
    execute(SWEEP, tmp_path / "executed.ipynb", inputs={"DSN_SWEEP": str(small_sweep)})
    text, pictures = shown(tmp_path / "executed.ipynb")
    assert "2 finished, 2 failed" in text
    for seed in (0, 1):
        assert f"gamma=-1 seed={seed}  failed with exit code 2: gamma=-1: is a penalty" in text
    rows = [metrics_of(small_sweep / job)[-1] for job in "01"]
    top1 = 100 * np.array([float(row["val/top1"]) for row in rows])
    assert "ranked by top-1 on the held-out videos\n" in text
    assert "with 6 held-out videos: " in text
    assert f"highest top-1: M=2 N=2 gamma=0.5  {top1.mean():.1f} ± {top1.std(ddof=1):.1f} %, 2 seed(s)" in text
    assert len(pictures) == 3
    assert all(picture[:4] == b"\x89PNG" for picture in pictures)


def test_cells_without_a_figure_are_marked(sweep, run_cells):
    (sweep / "1" / "results.json").unlink()
    text, names = run_cells(sweep)
    assert "1  gamma=0.5 seed=1  finished, but has no results.json" in text
    top1 = names["settings"]["top1"].item()
    assert texts(1) == ["failed", f"{top1:.1f}\n1 of 2"]
    assert [axes.get_title() for axes in plt.figure(1).axes] == ["gamma = -1\nno figures", "gamma = 0.5\n1 seed"]


def test_no_mean_includes_unfinished_runs(sweep, run_cells):
    content = {
        "format": 1,
        "state": "running",
        "exit_code": None,
        "error": None,
        "started": None,
        "ended": None,
        "seconds": None,
    }
    (sweep / "1" / "status.json").write_text(json.dumps(content))
    text, names = run_cells(sweep)
    assert "1  gamma=0.5 seed=1  killed" in text
    assert "1 row(s) of dsn/dsn left out" in text
    assert names["settings"]["seeds"].tolist() == [1]
    assert "one seed" not in text  # there is no second setting to compare


def edit(run: Path, changes: dict[str, str]) -> None:
    """Replace text in the run's configuration."""
    file = run / ".hydra" / "config.yaml"
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def add_setting(
    sweep: Path,
    name: str,
    *,
    gamma: float,
    top1: tuple[float, float],
    videos: int,
    held_out: tuple[float, float] | None = None,
) -> None:
    """Two more runs, seeds 0 and 1, with this top-1 on the test videos, and on the held-out ones."""
    record = SweepFolder(sweep).read()
    jobs = list(record.jobs)
    for seed, value in enumerate(top1):
        folder = Path(shutil.copytree(sweep / "0", sweep / f"{name}{seed}"))
        edit(folder, {"gamma: 0.5\n": f"gamma: {gamma}\n", "\nseed: 0\n": f"\nseed: {seed}\n"})
        rows = json.loads((folder / "results.json").read_text())
        for row in rows:
            row.update(top1=value, videos=videos)
        (folder / "results.json").write_text(json.dumps(rows))
        logged = f"epoch,val/top1\n0,0.1\n1,{held_out[seed]}\n" if held_out else "epoch,train/reward\n0,1\n"
        (folder / "metrics.csv").write_text(logged)
        jobs.append(SweepJob([f"gamma={gamma}", f"seed={seed}"], folder.name, "done", exit_code=0))
    SweepFolder(sweep).write(replace(record, jobs=jobs))


def test_differences_are_compared_with_seeds_and_videos(sweep, run_cells):
    for name, gamma, top1 in (("a", 1, (0.9, 0.92)), ("b", 2, (0.89, 0.91)), ("c", 3, (0.86, 0.86))):
        add_setting(sweep, name, gamma=gamma, top1=top1, videos=100)
    text, _ = run_cells(sweep, ONLY={"gamma": [1, 2, 3]})
    lines = {line.split()[2]: line for line in text.splitlines() if "points behind" in line}
    assert lines.keys() == {"gamma=2", "gamma=3"}
    assert "1.0 points behind, within the spread over seeds (1.4); within the test videos'" in lines["gamma=2"]
    assert "5.0 points behind, more than the spread over seeds (1.4); more than the test videos'" in lines["gamma=3"]


def test_settings_are_ranked_by_held_out_videos_if_all_have_them(sweep, run_cells):
    add_setting(sweep, "a", gamma=1, top1=(0.9, 0.92), videos=100, held_out=(0.6, 0.64))
    add_setting(sweep, "b", gamma=2, top1=(0.5, 0.5), videos=100, held_out=(0.7, 0.74))
    text, names = run_cells(sweep, ONLY={"gamma": [1, 2, 3]})
    assert "ranked by top-1 on the held-out videos\n" in text
    assert "highest top-1: M=2 N=2 gamma=2  72.0 ± 2.8 %, 2 seed(s)" in text
    assert "gamma=1  10.0 points behind, more than the spread over seeds (2.8); within the held-out videos'" in text
    assert names["shown"]["held-out top1"].tolist() == pytest.approx([72, 62])
    assert names["shown"]["top1"].tolist() == pytest.approx([50, 91])

    add_setting(sweep, "c", gamma=3, top1=(0.7, 0.7), videos=100)
    text, _ = run_cells(sweep, ONLY={"gamma": [1, 2, 3]})
    assert "ranked by top-1 on the test videos: not all settings have held-out ones\n" in text
    assert "highest top-1: M=2 N=2 gamma=1  91.0 ± 1.4 %" in text


def test_other_keys_that_are_averaged_over_are_named(sweep, run_cells):
    text, _ = run_cells(sweep)
    assert "differ in more than the seed" not in text
    edit(sweep / "1", {"sampler_lr: 0.03\n": "sampler_lr: 0.1\n"})
    text, _ = run_cells(sweep)
    assert "differ in more than the seed: " in text
    assert "schedule.sampler_lr" in text


def test_a_single_run_and_a_sweep_without_any_figures(sweep, run_cells):
    text, names = run_cells(sweep / "0")
    assert "1 finished" in text
    assert len(names["settings"]) == 1
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    for job in "01":
        shutil.rmtree(sweep / job)
    text, _ = run_cells(sweep)
    assert "No run has a metrics.csv." in text
    assert "No finished run has results." in text
    assert texts(1) == ["failed", "no result"]


def test_many_values_of_gamma_are_drawn_over_gamma(sweep, run_cells):
    for number in range(6):
        add_setting(sweep, f"s{number}_", gamma=number / 10, top1=(0.5, 0.5 + number / 20), videos=8)
    run_cells(sweep)
    (axes,) = plt.figure(1).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gamma", "top-1 of dsn (%)")
    drawn = {round(x, 2): y for container in axes.containers for x, y in zip(*container[0].get_data(), strict=True)}
    assert drawn[0.4] == pytest.approx(60)
    assert len(drawn) >= 6


TRIALS = """trial,state,gamma,val/top1,gmacs,on_frontier,folder
0,done,0.1,0.5,0.02,False,0
1,pruned,0.2,,,False,1
2,done,0.3,0.75,0.02,True,2
3,done,0.4,0.8,0.03,True,3
"""


def test_the_trials_of_a_search_are_shown(sweep, run_cells):
    text, _ = run_cells(sweep)
    assert "No trials.csv: not an adaptive search." in text
    (sweep / "trials.csv").write_text(TRIALS)
    text, names = run_cells(sweep)
    assert "3 done, 1 pruned" in text
    assert names["values"] == ["val/top1", "gmacs"]
    assert (axes := plt.figure(plt.get_fignums()[-1]).axes[0]).get_xlabel() == "gmacs"
    assert [line.get_ydata().tolist() for line in axes.lines][1] == [0.75, 0.8]
    assert re.findall(r"^\d +(\d) +done", text, re.MULTILINE) == ["2", "3"]


def test_a_search_for_one_value_shows_the_best_so_far(sweep, run_cells):
    rows = [line.split(",") for line in TRIALS.splitlines()]
    rows[3][5] = "False"
    (sweep / "trials.csv").write_text("".join(",".join(row[:4] + row[5:]) + "\n" for row in rows))
    foreign = (sweep / "trials.csv").read_bytes().replace(b"gamma", b"'+gamma").replace(b"False,0", b"False,\xff")
    (sweep / "trials.csv").write_bytes(foreign)  # an added key as csv_text writes it, and a folder that is not UTF-8
    _, names = run_cells(sweep)
    assert names["values"] == ["val/top1"]
    assert names["trials"]["folder"][0] == "\ufffd"
    lines = [line.get_ydata() for line in plt.figure(plt.get_fignums()[-1]).axes[0].lines]
    assert lines[1].tolist() == [0.8]
    np.testing.assert_equal(lines[2], [0.5, np.nan, 0.75, 0.8])
