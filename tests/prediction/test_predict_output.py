"""dsn-predict draws each answer once, makes what is missing, and keeps the answers where a drawing fails."""

import json
import os
import shutil
from pathlib import Path

import av
import pytest

from dsn_lightning.cli.predict_recipe import predict
from dsn_lightning.config.compose import compose_anew, plain
from dsn_lightning.config.load_predictor import file_predictor
from dsn_lightning.config.predict_settings import PredictSettings


def settings(run: Path, videos: list[str], output: Path, *more: str) -> PredictSettings:
    given = f"checkpoint={run}", f"videos=[{','.join(videos)}]", f"output={output}", "progress=false"
    return PredictSettings.of(plain(compose_anew("predict", *given, *more)))


def drawn(output: Path, kind: str) -> dict[str, int]:
    """Return the files of a kind, with the time at which each was written."""
    return {path.name: path.stat().st_mtime_ns for path in sorted((output / kind).glob("*"))}


def test_missing_drawings_are_made_and_others_stay(dsn_run, dsn_videos, tmp_path, capsys):
    videos, output = dsn_videos[:2], tmp_path / "answers"
    assert predict(settings(dsn_run, videos, output)) == 0
    names = [f"{number:05d}_{Path(video).stem}" for number, video in enumerate(videos, 1)]
    first = drawn(output, "pictures")
    assert list(first) == [f"{name}.png" for name in names]
    assert list(drawn(output, "thumbnails")) == [f"{name}.jpg" for name in names]
    assert drawn(output, "overlays") == {}
    (output / "pictures" / f"{names[1]}.png").unlink()
    answers = (output / "predictions.jsonl").read_bytes()
    assert predict(settings(dsn_run, videos, output, "overlay=true")) == 0
    second = drawn(output, "pictures")
    assert second[f"{names[0]}.png"] == first[f"{names[0]}.png"]
    assert list(second) == list(first)
    assert list(drawn(output, "overlays")) == [f"{name}.mp4" for name in names]
    assert (output / "predictions.jsonl").read_bytes() == answers
    for video, name in zip(videos, names, strict=True):
        with av.open(video) as before, av.open(str(output / "overlays" / f"{name}.mp4")) as after:
            assert sum(1 for _ in after.decode(video=0)) == sum(1 for _ in before.decode(video=0))
    page = (output / "index.html").read_text()
    assert all(f'href="{kind}/{name}' in page for name in names for kind in ("pictures", "overlays"))
    assert f"to look at: {output / 'index.html'}" in capsys.readouterr().out


def test_a_drawing_that_fails_loses_no_answer(dsn_run, dsn_videos, tmp_path, capsys):
    video, output = tmp_path / "a.mp4", tmp_path / "answers"
    shutil.copy(dsn_videos[0], video)
    output.mkdir()
    (output / "overlays").touch()  # no folder can be made
    assert predict(settings(dsn_run, [str(video)], output, "overlay=true", "pictures=false")) == 1
    assert f"{video}: no overlay: " in capsys.readouterr().out
    (line,) = (output / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["error"] is None
    (output / "overlays").unlink()
    video.write_bytes(b"")  # the answer stays, but nothing can be drawn any more
    assert predict(settings(dsn_run, [str(video)], output, "overlay=true")) == 2
    said = capsys.readouterr().out
    assert f"{video}: no overlay: cannot be decoded" in said
    assert f"{video}: no picture: cannot be decoded" in said
    assert (output / "predictions.jsonl").read_text().splitlines() == [line]
    assert "a.mp4" in (output / "index.html").read_text()


def test_windows_are_drawn_as_a_time_line_and_errors_not_at_all(dsn_run, dsn_videos, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    output = tmp_path / "answers"
    more = "window.seconds=1", "overlay=true"
    assert predict(settings(dsn_run, [str(tmp_path / "broken.mp4"), dsn_videos[0]], output, *more)) == 1
    name = f"00002_{Path(dsn_videos[0]).stem}"
    assert list(drawn(output, "time_lines")) == [f"{name}{extension}" for extension in (".csv", ".json", ".vtt")]
    assert list(drawn(output, "pictures")) == [f"{name}.png"]
    assert list(drawn(output, "overlays")) == [f"{name}.mp4"]
    (output / "time_lines" / f"{name}.vtt").unlink()  # as if the call had been killed before it was written
    assert predict(settings(dsn_run, [dsn_videos[0]], output, *more)) == 0
    assert f"{name}.vtt" in drawn(output, "time_lines")


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_is_indexed_once_unless_it_changes(dsn_run, dsn_videos, tmp_path, monkeypatch, changed):
    video = tmp_path / "a.mp4"
    shutil.copy(dsn_videos[0], video)
    answer = file_predictor(settings(dsn_run, [str(video)], tmp_path / "x"))
    probe, probed = type(answer.decoder).probe, []
    monkeypatch.setattr(type(answer.decoder), "probe", lambda self, path: probed.append(path) or probe(self, path))
    answer(str(video))
    if changed:
        os.utime(video, (1, 1))
    answer.placed(str(video))
    assert len(probed) == 1 + changed
