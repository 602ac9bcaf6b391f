"""Finding runs and results: what cannot be read becomes a note."""

import shutil

from helpers.report_files import write_rows


def test_unreadable_files_become_notes(runs, command):
    shutil.rmtree(runs / "seed0/evaluate/figures")
    (runs / "seed1/evaluate/clip_scores.npz").write_bytes(b"PK\x03\x04 cut off")
    write_rows(runs / "damaged", {"dataset": "x"})
    (runs / "half").mkdir()
    (runs / "half/results.json").write_text('[{"dataset": "nee')
    out, page = command(runs)
    assert "no contact sheet for this sampler: dsn-evaluate draws one" in page.text
    assert "no time line: cannot read clip_scores.npz" in page.text
    assert "half/results.json: not read: incomplete, or not JSON" in page.text
    assert "damaged/results.json" in out
    assert len(page.rows("results-table")) > 8
