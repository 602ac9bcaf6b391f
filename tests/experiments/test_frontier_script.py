"""Accuracy against cost, from runs that were trained here."""

import json
import shutil

import pytest

import frontier


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["frontier.py", *map(str, arguments)])
    return frontier.main()


def test_methods_have_the_costs_of_their_rows_and_measured_seconds(small_sweep, tmp_path, monkeypatch, capsys):
    runs = [small_sweep / "0", small_sweep / "1"]
    rows = [row for run in runs for row in json.loads((run / "results.json").read_text())]
    out = tmp_path / "out"
    options = ["--run", runs[0], "--selections=dsn,uniform", "--repeats=1", "--output", out]
    assert call(monkeypatch, *runs, *options) == 0
    content = json.loads((out / "frontier.json").read_text())
    assert {method["selection"] for method in content["methods"]} == {"dsn", "uniform"}
    for method in content["methods"]:
        same = [row for row in rows if all(row[k] == method[k] for k in ("selection", "classifier", "M", "N"))]
        assert method["seeds"] == [row["map"] for row in same]
        assert len(same) == 2
        assert method["gmacs"] == same[0]["gmacs"]
    by_name = {method["selection"]: method for method in content["methods"]}
    assert by_name["dsn"]["seconds"] > by_name["uniform"]["seconds"] > 0  # as many clips, and the sampler
    assert (out / "frontier.png").stat().st_size > 10_000
    assert "| dsn" in (out / "frontier.md").read_text()


def test_what_cannot_be_compared_is_said_in_one_line(small_sweep, tmp_path, monkeypatch, capsys):
    run = small_sweep / "0"
    shutil.copytree(run, tmp_path / "changed", ignore=shutil.ignore_patterns("checkpoints"))
    (tmp_path / "changed" / "results.json").write_text('[{"dataset": "needle"}]')
    for arguments, complaint in (
        ([tmp_path, "--run", run], "has no results; expected the folder of a dsn-evaluate"),
        ([tmp_path / "changed", "--run", run], "has no results; expected the folder of a dsn-evaluate"),
        ([run, "--run", tmp_path], "no such checkpoint file"),
        ([run, "--run", run, "--selections=dsn,none"], "--selections none: not in"),
    ):
        with pytest.raises(SystemExit, match="2"):
            call(monkeypatch, *arguments, "--output", tmp_path / "out")
        message = capsys.readouterr().err
        assert complaint in message
        assert "Traceback" not in message
    assert not (tmp_path / "out").exists()
