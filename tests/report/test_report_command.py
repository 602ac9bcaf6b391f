"""dsn-report: arguments."""

from helpers.report_files import row_of, write_rows


def test_wrong_arguments_are_one_line(tmp_path, command):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["empty"], "empty: no run, sweep or results.json in it or below"),
        (["nowhere"], "nowhere: no such folder"),
        ([], "no folder given"),
        (["empty", "sheets=many"], "sheets: expected an integer >= 0, got many"),
        (["empty", "colour=red"], "colour: no such key"),
        (["empty", "--colour"], "--colour: no such option"),
    ):
        err, _ = command(*arguments, expect=2)
        assert err.startswith(f"dsn-report: error: {message}")
        assert err.count("\n") == 1
    write_rows(tmp_path / "some", row_of())
    (tmp_path / "taken").write_text("")
    err, _ = command("some", "output=taken", expect=2)
    assert "output=taken: cannot be written to" in err
    out, page = command("some", "empty")
    assert "empty: no run and no results" in out
    assert len(page.rows("results-table")) == 1
