"""engine=lightning gives the lines of the plain engine, each video once, and goes on where it was stopped."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.answer_parts import LineParts
from dsn_lightning.prediction.output_folder import OutputFolder
from helpers.processes import call, start

TWO = ("engine=lightning", "trainer.devices=2", "trainer.accelerator=cpu")
TIMES = ("seconds", "decoding_seconds")


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return [{key: value for key, value in answer.items() if key not in TIMES} for answer in found]


def arguments(run: Path, videos: list[str], output: str, *more: str) -> list[str]:
    return [f"checkpoint={run}", f"videos=[{','.join(videos)}]", f"output={output}", *more]


def many_links(videos: list[str], folder: Path, copies: int) -> list[str]:
    links = []
    for copy in range(copies):
        for path in videos:
            links.append(str(folder / f"{copy:03d}_{Path(path).name}"))
            Path(links[-1]).symlink_to(path)
    (folder / "all.txt").write_text("\n".join(links))
    return links


def test_two_processes_give_the_lines_and_drawings_of_one(dsn_run, dsn_videos, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    videos = [*dsn_videos[:3], "broken.mp4", *dsn_videos[3:]]
    window = ("window.seconds=2", "overlay=true")
    call("dsn-predict", *arguments(dsn_run, videos, "one", *window), cwd=tmp_path, expect=1)
    done = call("dsn-predict", *arguments(dsn_run, videos, "two", *window, *TWO), cwd=tmp_path, expect=1)
    assert "broken.mp4: " in done.stdout
    assert lines(tmp_path / "two") == lines(tmp_path / "one")
    names = [{p.relative_to(tmp_path / f) for p in (tmp_path / f).rglob("*")} for f in ("one", "two")]
    assert names[1] - names[0] == {Path("process_1.txt")}
    assert names[0] - names[1] == set()
    kept = (tmp_path / "two" / "predictions.jsonl").read_bytes()
    call("dsn-predict", *arguments(dsn_run, videos, "two", *window, *TWO), cwd=tmp_path, expect=1)  # nothing is left
    assert (tmp_path / "two" / "predictions.jsonl").read_bytes() == kept


def test_more_processes_than_videos_and_answers_of_an_earlier_call(dsn_run, dsn_videos, tmp_path):
    call("dsn-predict", *arguments(dsn_run, dsn_videos[1:2], "x", "pictures=false"), cwd=tmp_path)
    three = ("engine=lightning", "trainer.devices=3", "trainer.strategy=ddp", "pictures=false")
    done = call("dsn-predict", *arguments(dsn_run, dsn_videos[:3], "x", *three), cwd=tmp_path)
    assert "1 of 3 videos have an answer already" in done.stdout
    assert [Path(line["video"]).name for line in lines(tmp_path / "x")] == [
        Path(dsn_videos[number]).name for number in (1, 0, 2)
    ]


@pytest.mark.parametrize(("number", "code", "target"), [(signal.SIGKILL, 137, 1), (signal.SIGINT, 130, None)])
def test_a_stopped_call_goes_on_where_it_was(dsn_run, dsn_videos, tmp_path, number, code, target):
    links = many_links(dsn_videos, tmp_path, 12)
    given = arguments(dsn_run, [str(tmp_path / "all.txt")], "x", "pictures=false", "progress=false", *TWO)
    process = start("dsn-predict", *given, cwd=tmp_path)
    parts = LineParts(tmp_path / "x" / "parts")
    while process.is_alive() and not all(p.is_file() and p.stat().st_size for p in map(parts.file, (0, 1))):
        time.sleep(0.01)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 2
    os.kill(process.pid if target is None else children[target], number)
    process.join(30)
    assert process.exitcode == code
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    stored = parts.index()
    assert 2 <= len(stored) < len(links)
    kept = {video: parts.line(place) for video, place in stored.items()}
    with open(parts.file(1), "ab") as file:
        file.write(b'{"video": ')  # as if it had been killed while it wrote
    done = call("dsn-predict", *given, cwd=tmp_path)
    assert f"{len(stored)} of {len(links)} videos have an answer already" in done.stdout
    found = (tmp_path / "x" / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["video"] for line in found] == links
    assert {video: line for video, line in zip(links, found, strict=True) if video in kept} == kept
    assert not parts.folder.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["trainer.devices=2"], "trainer.devices=2: needs engine=lightning, got engine=plain"),
        (["engine=lightning", "trainer.devices=none"], "trainer.devices=none: must be a number"),
        (["engine=lightning", "trainer.num_nodes=2"], "trainer.num_nodes=2: NODE_RANK, MASTER_ADDR, MASTER_PORT not"),
        (["engine=lightning", "trainer.accelerator=abacus"], "trainer.accelerator=abacus trainer.devices=1: "),
        (["engine=lightning", "device=cpu"], "device=cpu: does not apply to engine=lightning; use trainer.accelerator"),
        ([*TWO, "output=VIDEO"], "output=VIDEO: "),
        ([*TWO, "N=3"], "N=3: this observation network was made for N=2"),
    ],
)
def test_bad_input_is_one_line(dsn_run, dsn_videos, tmp_path, given, message):
    given = [text.replace("VIDEO", dsn_videos[0]) for text in given]
    output = [] if any(text.startswith("output=") for text in given) else ["output=x"]
    given = [f"checkpoint={dsn_run}", f"videos={dsn_videos[0]}", *output, *given]
    done = call("dsn-predict", *given, cwd=tmp_path, expect=2)
    assert message.replace("VIDEO", dsn_videos[0]) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize("name", ["parts", "parts/00001.jsonl", "process_1.txt"])
def test_nothing_is_written_through_a_link(dsn_run, dsn_videos, tmp_path, name):
    call("dsn-predict", *arguments(dsn_run, dsn_videos[:1], "x"), cwd=tmp_path)
    OutputFolder(tmp_path / "x").mark_unfinished("lightning")  # else parts were removed
    link, elsewhere = tmp_path / "x" / name, tmp_path / "elsewhere"
    link.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.write_text("")
    link.symlink_to(elsewhere)
    done = call("dsn-predict", *arguments(dsn_run, dsn_videos, "x", "progress=false", *TWO), cwd=tmp_path, expect=2)
    assert f"x/{name}: is a link" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert elsewhere.read_text() == ""


def test_merging_can_be_killed_and_repeated(tmp_path):
    output, parts = OutputFolder(tmp_path), LineParts(tmp_path / "parts")
    for rank, names in enumerate(("ca", "bx")):
        parts.begin(rank)
        for name in names:
            parts.add(rank, Prediction(name, error="none"))
    output.add(Prediction("old", error="none"))
    output.add(Prediction("a", error="none"))  # as if merging had been killed after its first line
    output.merge("abc", parts)
    assert [answer.video for answer in output.answers()] == ["old", "a", "b", "c", "x"]
    assert not parts.folder.exists()


def test_another_engine_does_not_go_on_with_unmerged_answers(tmp_path):
    output = OutputFolder(tmp_path)
    output.begin({"M": 2}, engine="lightning")
    output.mark_unfinished("lightning")
    with pytest.raises(UsageError, match="a call with engine=lightning has not ended; go on with that engine"):
        output.begin({"M": 2}, engine="plain")
    with pytest.raises(UsageError, match="holds answers for M=2, not 3"):
        output.begin({"M": 3}, engine="lightning")
    output.begin({"M": 2}, engine="lightning")
