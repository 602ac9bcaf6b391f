"""engine=ray gives the lines of the plain engine, also when an actor is killed, and goes on where it was stopped."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from dsn_lightning.cli.predict_ray_recipe import block_answering, drawing, in_blocks
from dsn_lightning.cli.predict_recipe import predict
from dsn_lightning.config.compose import compose_anew, plain
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.errors import UsageError
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.parquet_shards import MOST_ENDS, MOST_ROWS, ParquetShards
from dsn_lightning.prediction.ray_actors import JobActor
from helpers.processes import call, start

TIMES = ("seconds", "decoding_seconds")


def settings(run: Path, videos: list[str], output: Path, *more: str) -> PredictSettings:
    given = f"checkpoint={run}", f"videos=[{','.join(videos)}]", f"output={output}", "progress=false"
    return PredictSettings.of(plain(compose_anew("predict", *given, *more)))


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return [{key: value for key, value in answer.items() if key not in TIMES} for answer in found]


def does(make: Any, job: Any) -> dict[str, Any]:
    """Return what an actor says to a job; it gets and gives what Ray's data sets hold."""
    (text,) = JobActor(make, os.getcwd())({"job": [json.dumps(job)]})["result"]
    return json.loads(text)


def test_an_actor_answers_for_a_block_once_and_its_lines_are_those_of_the_plain_engine(dsn_run, dsn_videos, tmp_path):
    bad = str(tmp_path / "caf\udce9.mp4")  # no UTF-8, and no video
    Path(bad).write_bytes(b"")
    asked = [*dsn_videos[:3], bad]
    (tmp_path / "list.txt").write_bytes("\n".join(asked).encode(errors="surrogateescape"))
    assert predict(settings(dsn_run, asked[:3], tmp_path / "plain", "pictures=false")) == 0
    given = settings(dsn_run, asked[:3], tmp_path / "ray", "engine=ray")
    output = OutputFolder(given.folder)
    output.create()
    shards, make = ParquetShards(output.shards), partial(block_answering, given)
    for block in (asked[2:], asked[:2]):
        assert does(make, block) == {"result": 2}
    written = {path: path.stat().st_mtime_ns for path in output.shards.iterdir()}
    assert len(written) == 2
    assert does(make, asked[:2]) == {"result": 2}  # as if the actor had been killed before it could say so
    assert {path: path.stat().st_mtime_ns for path in output.shards.iterdir()} == written
    table = parquet.read_table(shards.file(asked[2:])).to_pydict()
    assert table["video"] == [asked[2], str(tmp_path / "caf\\xe9.mp4")]
    assert [error is None for error in table["error"]] == [True, False]
    output.merge(asked, shards)
    assert [line["video"] for line in lines(output.path)] == asked
    assert lines(output.path)[:3] == lines(tmp_path / "plain")
    places = [(number, start) for number, (start, _) in enumerate(output.places(), start=1)]
    assert does(partial(drawing, given), places) == {"result": [4, []]}
    assert [path.name[:5] for path in sorted((output.path / "pictures").iterdir())] == ["00001", "00002", "00003"]


class ProcessEnds(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_video_that_ends_its_process_again_and_again_is_a_line_with_an_error(tmp_path):
    shards = ParquetShards(tmp_path)

    def answer(video: str) -> Prediction:
        if video == "b":
            raise ProcessEnds
        return Prediction(video, label="x", score=1.0)

    for _ in range(MOST_ENDS):
        with pytest.raises(ProcessEnds):
            shards.answer("abc", answer)
        assert shards.index() == {}
    shards.answer("abc", answer)
    found = {video: json.loads(shards.line(place)) for video, place in shards.index().items()}
    assert found["b"]["error"] == "the process that read it has ended 3 times"
    assert found["a"]["error"] is found["c"]["error"] is None
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    with pytest.raises(ProcessEnds):
        shards.answer("bc", answer)
    (log,) = tmp_path.glob(".*.begun")
    log.write_bytes(b"\xff\xfe" + log.read_bytes())
    with pytest.raises(ProcessEnds):
        shards.answer("bc", answer)
    partial_file = tmp_path / ".0a.parquet.17.parquet"
    partial_file.write_bytes(b"PAR1")  # as if a process had been killed while it wrote
    assert len(shards.index()) == 3
    shards.begin()  # a new call
    assert len(list(tmp_path.iterdir())) == 1


def test_blocks_keep_the_order_and_are_small_enough_for_all_actors():
    for count in (0, 1, 7, 100, 10_000):
        blocks = in_blocks(range(count), 3)
        assert [item for block in blocks for item in block] == list(range(count))
        assert max(map(len, blocks), default=0) <= 32
        assert len(blocks) >= min(count, 13)


def test_an_actor_reports_a_usage_error_as_a_result(dsn_run, dsn_videos, tmp_path):
    absent = settings(dsn_run, dsn_videos, tmp_path, "engine=ray", "device=nonsense")
    assert does(partial(block_answering, absent), dsn_videos)["error"].startswith("device=nonsense: ")
    actor = JobActor(partial(block_answering, absent), str(tmp_path / "gone"))
    assert "all machines need the same folders" in actor({"job": ["[]"]})["result"][0]


def test_a_damaged_shard_is_named(tmp_path):
    ParquetShards(tmp_path).write([Prediction("a", error="none")])
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (content[:-20], content[:-8] + bytes(4) + b"PAR1"):  # the second one's footer has no bytes
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=f"{path.name}: not a shard of dsn-predict"):
            ParquetShards(tmp_path).index()
    line = parquet.read_table(pa.BufferReader(content)).to_pylist()[0]["line"]
    for bad in ([line] * (MOST_ROWS + 1), ["[" * 100_000], ["{}"], [None]):
        parquet.write_table(pa.table({"line": pa.array(bad, pa.string())}), path)
        with pytest.raises(UsageError, match=f"{path.name}: not a shard of dsn-predict"):
            ParquetShards(tmp_path).index()


def test_without_ray_there_is_one_line(dsn_run, dsn_videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"engine=ray: needs ray: pip install 'dsn-lightning\[ray\]'"):
        predict(settings(dsn_run, dsn_videos, tmp_path / "x", "engine=ray"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("engine.actors=0", "engine.actors=0: must be a whole number of at least 1"),
        ("engine.cpus=0", "engine.cpus=0: must be a number above 0"),
        ("engine.gpus=-1", "engine.gpus=-1: must be a number of at least 0"),
        ("engine.address=127.0.0.1:1", "engine.address=127.0.0.1:1: cannot connect to this Ray cluster"),
    ],
)
def test_bad_input_is_one_line(dsn_run, dsn_videos, tmp_path, given, message):
    arguments = (f"checkpoint={dsn_run}", f"videos=[{dsn_videos[0]}]", "output=x", "engine=ray", given)
    done = call("dsn-predict", *arguments, cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "x" / ".unfinished").exists()


def descendants(pid: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            yield int(folder.name)
            yield from descendants(int(folder.name))


def is_actor(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapWorker")
    except OSError:
        return False


def listening_addresses(pids: list[int]) -> set[str]:
    """Return the addresses, as hexadecimal numbers, at which processes accept connections over TCP."""
    addresses = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            addresses |= {f"socket:[{inode}]": local.partition(":")[0]} if state == "0A" else {}
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
            found |= {addresses[link] for link in links if link in addresses}
    return found


@pytest.mark.slow
def test_with_an_actor_killed_and_the_call_stopped_nothing_is_lost_or_twice(dsn_run, dsn_videos, tmp_path):
    links = []
    for copy in range(30):
        for path in dsn_videos:
            links.append(str(tmp_path / f"{copy:03d}_{Path(path).name}"))
            Path(links[-1]).symlink_to(path)
    (tmp_path / "all.txt").write_text("\n".join([*links, "gone.mp4"]))
    (tmp_path / "av.py").write_text("open('canary', 'w')\n")  # the actors import no module of the working folder
    given = (f"checkpoint={dsn_run}", "videos=[all.txt]", "progress=false", "pictures=false")
    call("dsn-predict", *given, "output=plain", cwd=tmp_path, expect=1)
    shards = ParquetShards(tmp_path / "ray" / "shards")

    def started(at_least: int) -> tuple[Any, list[int]]:
        process = start("dsn-predict", *given, "output=ray", "engine=ray", cwd=tmp_path)
        while process.is_alive() and len(shards.files()) < at_least:
            time.sleep(0.01)
        assert process.is_alive(), (tmp_path / "err").read_text()
        return process, list(descendants(process.pid))

    process, ours = started(1)
    assert listening_addresses([process.pid, *ours]) == {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert "the same call goes on from there" in (tmp_path / "err").read_text()
    time.sleep(1)
    assert not [pid for pid in ours if Path(f"/proc/{pid}").exists()]
    stored = {path: path.stat().st_mtime_ns for path in shards.files()}
    assert 1 <= len(shards.index()) < len(links)

    process, ours = started(len(stored) + 1)
    actors = [pid for pid in ours if is_actor(pid)]
    assert len(actors) == 2
    os.kill(actors[0], signal.SIGKILL)
    process.join(200)
    assert process.exitcode == 1, (tmp_path / "err").read_text()  # of gone.mp4
    assert lines(tmp_path / "ray") == lines(tmp_path / "plain")
    assert {path: path.stat().st_mtime_ns for path in stored} == stored  # not done again
    rows = [row for path in shards.files() for row in parquet.read_table(path).to_pylist()]
    assert sorted(row["video"] for row in rows) == sorted([*links, "gone.mp4"])
    assert not [path for path in shards.folder.iterdir() if path.suffix != ".parquet"]
    assert not list(tmp_path.rglob("canary"))
