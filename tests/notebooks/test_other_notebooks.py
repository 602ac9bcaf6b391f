"""The notebooks about clips, one run, cost, choices and own videos: their numbers are those of the files they read."""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from dsn_lightning.cli.cost_recipe import paper_rows
from dsn_lightning.evaluation.scores import ClipScores

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
MAGIC = "%matplotlib inline"


@pytest.fixture
def run_cells(monkeypatch, capsys):
    """Run the cells of a notebook in this process; return what they print and define, and the values they show."""
    monkeypatch.chdir(FOLDER)
    plt.switch_backend("agg")

    def run(name: str, **environment: Any) -> tuple[str, dict[str, Any], list[Any]]:
        for key, value in environment.items():
            monkeypatch.setenv(key, str(value))
        values: list[Any] = []
        names: dict[str, Any] = {"display": values.append}
        for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                *body, last = ast.parse(cell.source.replace(MAGIC, "")).body
                exec(compile(ast.Module(body, []), name, "exec"), names)
                if isinstance(last, ast.Expr):
                    values.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
                else:
                    exec(compile(ast.Module([last], []), name, "exec"), names)
        for value in values:
            if hasattr(value, "_repr_html_"):
                value._repr_html_()  # tables are formatted when they are shown
            if isinstance(value, plt.Figure):
                value.canvas.draw()
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        return capsys.readouterr().out, names, values

    yield run
    plt.close("all")


def test_the_clips_of_a_video_are_those_of_a_test(run_cells, dsn_run, dsn_videos):
    text, names, _ = run_cells("01_sections_and_clips", DSN_VIDEO=dsn_videos[0])
    scores = ClipScores.load(dsn_run / "clip_scores.npz")
    num_frames = int(scores.num_frames[0])
    assert f"test_0000.mp4: {num_frames} frames of 34x34, 25 a second" in text
    assert names["starts"].tolist() == scores.scheme(3, 4).grid(num_frames).tolist()
    edges = names["edges"] * 25
    inside = names["epochs"].reshape(40, 12)
    assert ((inside >= edges[:-1] - 0.5) & (inside <= edges[1:] - 0.5)).all()
    assert names["pictures"].shape == (3, 4, 3, 80, 80, 3)


def test_a_run_is_shown_with_its_failures(run_cells, dsn_run):
    text, names, values = run_cells("02_one_run", DSN_RUN=dsn_run)
    assert "run: finished, 2 epochs" in text
    assert "algorithm=dsn M=2 N=2 gamma=0.5 seed=0, needle" in text
    answers = pd.read_csv(dsn_run / "predictions.csv").query("selection == 'dsn' and classifier == 'dsn'")
    wrong = answers[answers["correct"] == 0]
    assert f"{len(wrong)} of 6 videos are answered wrongly" in text
    assert set(names["failures"].index) == set(wrong["video"])
    assert len(names["clips"]) == 6 * 2
    starts = [tuple(round(clip.start_seconds, 3) for clip in of_video) for of_video in names["kept"]]
    assert starts == [tuple(map(float, text.split(";"))) for text in answers["starts_seconds"]]
    drawn = [value for value in values if isinstance(value, plt.Figure)]
    assert len(drawn) == min(3, len(wrong))


def test_costs_are_those_of_the_commands(run_cells, dsn_run):
    text, names, _ = run_cells("04_cost_and_accuracy", DSN_EVALUATION=dsn_run)
    assert names["rows"]["gmacs"].tolist() == [row.gmacs for row in paper_rows(3)]
    assert "not evaluated here: random, uniform, max response, DSN-f" in text
    (top1,) = (row["top1"] for row in json.loads((dsn_run / "results.json").read_text()) if row["selection"] == "dsn")
    assert names["curves"] == {"DSN": [(2, top1, None)]}
    assert re.search(r"measured on .+, \d+ threads, GPUs: ", text)


def test_the_choices_of_a_sampler_add_up(run_cells, dsn_run):
    text, names, values = run_cells("05_what_the_sampler_chose", DSN_RUN=dsn_run)
    candidates = names["candidates"]
    sections = candidates.groupby(["video", "section"])
    assert len(candidates) == 6 * 2 * 2
    np.testing.assert_allclose(sections["probability"].sum(), 1)
    assert (sections["kept"].sum() == 1).all()
    assert candidates[candidates["kept"]]["probability"].min() >= 0.5
    share = 100 * candidates[candidates["kept"]]["action"].mean()
    assert f"show the action: {share:.1f} % of the kept clips" in text
    sheet = next(value for value in values if isinstance(value, plt.Figure))
    assert sum(bool(axes.images) for axes in sheet.axes) == 5 * 4  # two most and two least probable clips
    assert "warning: " in text  # two epochs on twelve videos teach nothing


def test_own_videos_are_answered_and_damaged_ones_named(run_cells, dsn_run, dsn_videos, tmp_path):
    for number, video in enumerate(dsn_videos[:2]):
        shutil.copy(video, tmp_path / f"{number}.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    text, names, _ = run_cells("06_predict_on_own_videos", DSN_RUN=dsn_run, DSN_VIDEOS=tmp_path)
    assert "2 sections of 2 clips; 3 videos" in text
    table = names["table"]
    assert table.index[table["error"].notna()].tolist() == ["broken.mp4"]
    efforts = pd.DataFrame(names["lines"]).groupby("effort")[["clips", "gmacs"]].mean()
    assert efforts.loc["as trained", "clips"] == 2
    assert efforts.loc["M=1", "clips"] == 1
    assert efforts.loc["M=1", "gmacs"] == pytest.approx(efforts.loc["as trained", "gmacs"] / 2)
