"""The command line of experiments/compare.py."""

import json
from pathlib import Path

import pytest

import compare
from dsn_lightning.evaluation import comparison_table
from helpers.evaluations import write_evaluations
from reproduce.configurations import compare_folders


@pytest.fixture
def folders(tmp_path):
    """Two evaluations on disk, of two seeds."""
    return write_evaluations(tmp_path)


@pytest.fixture
def run_script(monkeypatch):
    """Calls the script with arguments."""

    def run(*arguments) -> int:
        monkeypatch.setattr("sys.argv", ["compare.py", *map(str, arguments)])
        return compare.main()

    return run


def test_the_script_writes_what_it_shows(run_script, folders, tmp_path, capsys):
    output = tmp_path / "compared"
    assert run_script(*folders, "--output", output, "--resamples", "200") == 0
    statistics = json.loads((output / "statistics.json").read_text())
    assert statistics["about"]["resamples"] == 200
    assert [Path(name).name for name in statistics["about"]["evaluations"]] == ["seed0", "seed1"]
    shown, written = capsys.readouterr().out, (output / "statistics.md").read_text()
    for difference in comparison_table.main_differences(statistics):
        assert comparison_table.points(difference["top1"]) in written
        assert comparison_table.points(difference["top1"]) in shown
    for line in comparison_table.gap_lines(statistics) + comparison_table.headroom_lines(statistics):
        assert line in shown
        assert line in written
    assert (output / "classes.png").read_bytes()[:4] == b"\x89PNG"


def test_differences_of_a_network_at_chance_are_no_findings(folders, tmp_path, capsys):
    statistics = compare_folders(folders, number=200)
    assert statistics["at_chance"] == {}
    compare._show(statistics, tmp_path / "above", every_pair=True)
    assert statistics["headroom"][0]["verdict"] in capsys.readouterr().out

    message = "baseline's classifier is at chance: 50.0% of 2 classes on 24 videos"
    guessing = statistics | {"at_chance": {"baseline": 0.5}, "warnings": [message]}
    compare._show(guessing, tmp_path / "at_chance", every_pair=True)
    texts = capsys.readouterr().out, (tmp_path / "at_chance" / "statistics.md").read_text()
    assert all(f"warning: {message}" in text for text in texts)
    assert not any(line in text for line in comparison_table.headroom_lines(statistics) for text in texts)
    assert not any(comparison_table.points(d["top1"]) in text for d in statistics["differences"] for text in texts)
    assert json.loads((tmp_path / "at_chance" / "statistics.json").read_text()) == guessing


def test_the_script_refuses_in_one_line(run_script, folders, capsys):
    for arguments, message in (
        ([folders[0], folders[0]], "evaluate the same networks"),
        ([folders[0].parent], "no results.json"),
        ([folders[0], "--resamples", "5"], "--resamples 5"),
        ([folders[0], "--beside", "control"], "--beside control: expected NAME=DIR"),
        ([folders[0], "--beside", f"control={folders[0]},{folders[1]}"], "expected one evaluation per seed, 1, got 2"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run_script(*arguments)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
