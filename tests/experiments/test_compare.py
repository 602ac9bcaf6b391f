"""The command line of experiments/compare.py."""

import json
from pathlib import Path

import pytest

import compare
from dsn_lightning.evaluation import comparison_table
from helpers.evaluations import write_evaluations


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
