"""dsn-report on files that nobody should have written: each is named with the reason, and everything else is shown."""

import json
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.files import MAX_BYTES, UnreadableFileError
from dsn_lightning.runs import RunFolder
from helpers.pictures import png_of
from helpers.report_files import row_of, write_basis, write_rows, write_run

DEEP = "[" * 100_000 + "]" * 100_000
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
REFERENCES = "a0: xx\n" + "".join(f"a{i}: {f'${{a{i - 1}}}' * 40}\n" for i in range(1, 9))
NESTED_REFERENCES = "a0:\n  x: 1\n" + "".join(
    f"a{i}:\n" + "".join(f"  k{k}: ${{a{i - 1}}}\n" for k in range(40)) for i in range(1, 9)
)


def change_array(file: Path, name: str, content: bytes) -> None:
    """Replace an array in an archive; the archive's own sums stay right."""
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == f"{name}.npy" else old)


def header_of(shape: tuple[int, ...]) -> bytes:
    """Return a .npy file without data."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


def write_sweep(folder: Path, *jobs: object, version: object = 1) -> None:
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps({"format": version, "jobs": jobs}))


RESULTS = {  # content of a results.json -> reason
    DEEP: "not JSON (nested deeper than 64)",
    '[{"dataset": "nee': "not JSON",
    "[" + "9" * 5000 + "]": "not JSON",
    f"[{10**30}]": "an integer beyond 64 bits",
    "{}": "expected a list of rows",
    json.dumps([row_of(top1="0.5")]): "expected a list of rows",
    json.dumps([row_of(top1=1e308)]): "expected a list of rows",
    json.dumps([row_of(gmacs=float("nan"))]): "expected a list of rows",
    json.dumps([row_of(M=10**9, N=10**9)]): "expected a list of rows",
    json.dumps([row_of(seed=[1])]): "expected a list of rows",
    json.dumps([row_of(classifier={})]): "expected a list of rows",
    json.dumps([row_of(), "row"]): "some entries are not rows",
}


def test_unexpected_results_are_named(tmp_path, command):
    write_rows(tmp_path / "all/good", row_of(dataset="hmdb51"))
    for i, content in enumerate(RESULTS):
        (tmp_path / "all" / f"bad{i}").mkdir()
        (tmp_path / "all" / f"bad{i}" / "results.json").write_text(content)
    out, page = command("all")
    for i, reason in enumerate(RESULTS.values()):
        assert re.search(rf"note: bad{i}/results\.json: not read: .*{re.escape(reason)}", out), (i, out)
    assert len(page.rows("results-table")) == 1


def test_files_that_never_end_are_named(tmp_path, command):
    names = (
        "results.json",
        "status.json",
        "config.json",
        "metrics.csv",
        "environment.json",
        "statistics.json",
        "log.txt",
    )
    for name in ("pipe", "zeros", "large"):
        write_run(tmp_path / "all" / name, state="failed")
        write_rows(tmp_path / "all" / name, row_of(seed=len(name)))
    for name in names:
        for folder in ("pipe", "zeros", "large"):
            (tmp_path / "all" / folder / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "all/pipe" / name)
        (tmp_path / "all/zeros" / name).symlink_to("/dev/zero")
        with open(tmp_path / "all/large" / name, "wb") as file:
            file.truncate(MAX_BYTES + 1)
    write_run(tmp_path / "all/run")
    write_rows(tmp_path / "all/run", row_of())
    out, page = command("all")
    assert "note: pipe/results.json: not read: not a regular file" in out
    assert "note: zeros/results.json: not read: a link out of the given folders" in out
    for name in ("results.json", "status.json", "config.json", "metrics.csv"):
        assert f"note: large/{name}: not read: larger than 32 MiB" in out
    assert len(page.rows("results-table")) == 1
    assert "run" in [row["run"][0] for row in page.rows("runs-table")]


def test_configurations_that_expand_without_bounds_are_named(tmp_path, command):
    contents = {
        "aliases": (ALIASES, "aliases are not read"),
        "references": (REFERENCES, "its references expand to more than 100000 values and characters"),
        "mappings": (NESTED_REFERENCES, "its references expand to more than 100000 values and characters"),
        "deep": ("a: " + DEEP + "\n", "nested deeper than 64"),
        "number": ("a: " + "1:1" * 10_000 + "\n", "a number of more than 100 digits"),
        "tag": ('a: !!int ""\n', "not plain YAML"),
        "keys": ("".join(f"k{i}: 1\n" for i in range(10_001)), "has more than 10000 keys"),
    }
    for name, (content, _) in contents.items():
        (write_run(tmp_path / "all" / name) / "config.json").unlink()
        (tmp_path / "all" / name / ".hydra").mkdir()
        (tmp_path / "all" / name / ".hydra" / "config.yaml").write_text(content)
    write_run(tmp_path / "all/good", M=7)
    out, page = command("all")
    for name, (_, reason) in contents.items():
        assert re.search(rf"note: {name}/\.hydra/config\.yaml: not read: .*{reason}", out), out
    assert len(page.rows("runs-table")) == len(contents) + 1
    assert "M 7 (where it applies)" in page.text


def test_records_of_other_formats_and_types_are_named(tmp_path, command):
    write_run(tmp_path / "all/good")
    job = {"overrides": [], "folder": "0", "state": "done", "exit_code": 0}
    write_sweep(tmp_path / "all/above", job | {"folder": "../good"})
    write_sweep(tmp_path / "all/absolute", job | {"folder": "/etc"})
    write_sweep(tmp_path / "all/surrogate", job | {"folder": "\ud800"})
    write_sweep(tmp_path / "all/null", job | {"folder": "a\0b"})
    write_sweep(tmp_path / "all/number", job | {"overrides": 5})
    write_sweep(tmp_path / "all/text", "job")
    write_sweep(tmp_path / "all/fields", {"overrides": []})
    write_sweep(tmp_path / "all/version", version=7)
    old = write_rows(write_run(tmp_path / "all/old"), row_of())
    RunFolder(old).status_json.write_text('{"format": 9, "state": "finished"}')
    odd = write_run(tmp_path / "all/odd")
    status = {"format": 1, "state": ["x"], "seconds": "long", "exit_code": True, "started": [1], "error": {"a": 1}}
    RunFolder(odd).status_json.write_text(json.dumps(status))
    RunFolder(odd).progress_json.write_text('{"epoch": "a"}')
    out, page = command("all")
    for name in ("above", "absolute", "surrogate", "null"):
        assert f"note: {name}/sweep.json: not read: job 0: expected a folder inside the sweep's" in out
    assert "note: number/sweep.json: not read: job 0: expected overrides to be a list of texts" in out
    for name in ("text", "fields"):
        assert f"note: {name}/sweep.json: not read: job 0: expected an object with overrides" in out
    assert "note: version/sweep.json: not read: expected sweep format 1, got 7" in out
    assert "note: old/status.json: not read: expected run format 1, got 9" in out
    assert [row["run"][0] for row in page.rows("runs-table")] == ["good", "odd"]


def test_unexpected_environments_are_named(tmp_path, command):
    contents = (
        '{"networks": []}',
        '{"networks": {"dsn": {}, "a": {"videos": 1}}}',
        "[]",
        '{"tested_on": 5}',
        '{"gpus": 3}',
        '{"tested_on": {"videos": "9", "videos_of": 9, "classes": 2, "classes_of": 2}}',
    )
    for i, content in enumerate(contents):
        write_rows(tmp_path / "all" / f"e{i}", row_of(seed=i))
        (tmp_path / "all" / f"e{i}" / "environment.json").write_text(content)
    write_basis(write_rows(tmp_path / "all/good", row_of(seed=10)), classes=12)
    out, page = command("all")
    for i in range(len(contents)):
        assert f"note: e{i}/environment.json: not read: " in out
    assert page.rows("results-table")[0]["seeds"][0] == "0, 1, 2, 3, 4, 5, 10"


def test_texts_that_cannot_be_shown_become_escapes(tmp_path, command):
    odd = "a\ud800\0\x1b[31m\ufffe"
    write_rows(
        tmp_path / "all/odd", row_of(dataset=odd, selection=odd), row_of(dataset=odd, selection="dense", gmacs=3.0)
    )
    write_run(tmp_path / "all/run", error=odd, state="failed", dataset={"name": odd}, **{odd: odd})
    (tmp_path / "all" / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "all" / os.fsdecode(b"caf\xe9") / "results.json").write_text("{}")
    out, page = command("all")
    assert r"note: caf\xe9/results.json: not read: expected a list of rows" in out
    assert r"a\ud800\x00\x1b[31m\ufffe" in page.text
    for name in ("html", "md", "csv"):
        assert not re.search("[\0\x1b\ufffe]", Path(f"report/report.{name}").read_text(encoding="utf-8"))


def test_figures_and_scores_are_read_within_limits(runs, command):
    (runs / "seed0/evaluate/figures/clips_dsn.png").write_bytes(png_of(60_000, 60_000))
    (runs / "seed1/evaluate/figures/clips_dsn.png").unlink()
    os.mkfifo(runs / "seed1/evaluate/figures/clips_dsn.png")
    change_array(runs / "seed0/evaluate/clip_scores.npz", "clip_logits", header_of((2**40, 3)))
    out, page = command(runs)
    assert "cannot read figures/clips_dsn.png (" in page.text
    assert "cannot read figures/clips_dsn.png (not a regular file)" in page.text
    assert (
        "no time line: cannot read clip_scores.npz (array clip_logits is damaged: its header announces another"
        in page.text
    )
    assert "its header announces another size); evaluate it again" in out
    assert len(page.rows("results-table")) > 8


BAD_COLUMNS = {
    "clip_video": lambda column: column + 10**6,
    "section_scheme": lambda column: np.full_like(column, 10**9),
    "section_video": lambda column: column - 10**6,
    "num_frames": lambda column: column * 0,
    "fps": lambda column: column * 0,
    "span_seconds": lambda column: np.full((0, 3), np.nan),
    "targets": lambda column: column[:-1],
    "clip_network": lambda column: np.zeros(len(column)),
    "video_id": lambda column: np.full(len(column), b"\xff\xff\xff\x7f").view("<U1"),
    "random_draws": lambda column: np.int64(10**12),
    "consensus": lambda column: np.str_("mean"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_columns_that_contradict_each_other_are_refused(evaluations, tmp_path, name):
    with np.load(evaluations / "seed0/evaluate/clip_scores.npz") as file:
        columns = dict(file)
    np.savez(tmp_path / "scores.npz", **columns | {name: BAD_COLUMNS[name](columns[name])})
    with pytest.raises(UnreadableFileError, match=r"scores\.npz: (unexpected content|array video_id is damaged)"):
        ClipScores.load(tmp_path / "scores.npz")


def test_an_archive_that_expands_without_bounds_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "scores.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as a,
    ):
        for _ in range(300):
            a.write(bytes(2**20))
    with pytest.raises(UnreadableFileError, match=r"its 0\.\d+ MiB expand to 0\.293 GiB"):
        ClipScores.load(tmp_path / "scores.npz")
