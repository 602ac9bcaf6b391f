"""The record of a sweep."""

import json

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.runs import SweepFolder, find_runs
from dsn_lightning.runs.sweep_folder import SWEEP_FORMAT, SweepJob, SweepRecord
from helpers.processes import call


def test_what_is_written_is_read_again(tmp_path):
    sweep = SweepFolder(tmp_path)
    jobs = [SweepJob(("seed=0",), "0", "done", exit_code=0), SweepJob(("seed=1",), "1")]
    sweep.write(SweepRecord(jobs))
    assert sweep.read() == SweepRecord(jobs)
    assert sweep.run(jobs[1]).path == tmp_path / "1"
    with pytest.raises(UsageError, match="already holds a sweep"):
        sweep.refuse_existing()


@pytest.mark.parametrize(("content", "found"), [([], "none"), ({"format": 2}, "2")])
def test_a_sweep_of_another_format_is_neither_read_nor_resumed(content, found, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(content))
    message = f"expected sweep format {SWEEP_FORMAT}, got {found}"
    with pytest.raises(UsageError, match=message):
        find_runs(tmp_path)
    done = call("dsn-train", "sweep.resume=sweep", cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
