"""The trials of a search as a table."""

import math
import os

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError
from dsn_lightning.runs import read_trials
from dsn_lightning.text_tables import csv_text
from helpers.fuzzed_searches import TRIALS


def test_the_table_is_what_was_written(tmp_path):
    (tmp_path / "trials.csv").write_text(csv_text(TRIALS))
    trials = read_trials(tmp_path)
    expected = list(TRIALS)
    found = [
        {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in row.items()}
        for row in trials.to_dict("records")
    ]
    assert found == expected
    kinds = {name: trials[name].dtype.kind for name in ("trial", "+M", "gamma", "val/top1", "on_frontier")}
    assert kinds == {"trial": "i", "+M": "i", "gamma": "f", "val/top1": "f", "on_frontier": "b"}


def test_a_grid_has_no_trials(tmp_path):
    assert read_trials(tmp_path).empty
    with pytest.raises(UsageError, match="none: no such folder"):
        read_trials(tmp_path / "none")
    (tmp_path / "trials.csv").touch()
    assert read_trials(tmp_path).empty
    (tmp_path / "trials.csv").unlink()
    os.mkfifo(tmp_path / "trials.csv")
    with pytest.raises(UnreadableFileError, match=r"trials\.csv: not a regular file$"):
        read_trials(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("trial,", "trial;", "expected the columns trial, state"),
        ("0,done", "0,don", "trial 0: unknown state 'don'"),
        ("1,pruned", "2,pruned", "expected trial 1, got '2'"),
        ("True", "true", "trial 2: expected on_frontier to be True or False"),
        ("0.125,", "0,125,", "expected 7 cells in each line"),
        ("gamma", "state", "a column occurs twice"),
        (",2\n", ",2", "its last line is incomplete"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path, old, new, complaint):
    text = csv_text(TRIALS)
    assert text.count(old) == 1
    (tmp_path / "trials.csv").write_text(text.replace(old, new))
    with pytest.raises(UnreadableFileError, match=complaint) as caught:
        read_trials(tmp_path)
    assert "resuming the sweep writes it again" in str(caught.value)
    assert "\n" not in str(caught.value)
