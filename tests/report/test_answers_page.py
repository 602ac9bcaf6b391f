"""The page of answers holds all of them, escaped, and loads nothing; its thumbnails fit a limit."""

import base64
import io
import json
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from py_mini_racer import MiniRacer

from dsn_lightning.prediction.answer import Clip, Prediction, WindowAnswer
from dsn_lightning.prediction.output_folder import OVERLAYS, PICTURES, THUMBNAILS, TIME_LINES, OutputFolder
from dsn_lightning.report.answers_page import LIMIT, MOST_ROWS, write_answers_page


class Page(HTMLParser):
    """The rows of the page's table as texts, and all attributes that name something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.groups: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.options: dict[str, str] = {}
        self._option = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self.addresses += [named[name] for name in ("src", "href") if name in named]
        self._inside = tag if tag in ("th", "td", "option", "script", "style") else self._inside
        if tag == "tr" and "data-group" in named:
            self.rows.append([])
            self.groups.append(named["data-group"])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")
        elif tag == "option":
            self._option = named["value"]
            self.options[self._option] = ""

    def handle_endtag(self, tag):
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data):
        if self._inside in ("th", "td") and self.rows:
            self.rows[-1][-1] += data
        elif self._inside == "option":
            self.options[self._option] += data


def answered(video: str, label: str, score: float, **more: object) -> Prediction:
    clips = Clip(0, 0, 10, 0.4, 0.7, True, label, score), Clip(0, 1, 30, 1.2, 0.3, False)
    top5 = (label, score), ("other", 0.05)
    values = {"duration_seconds": 4.0, "clips": clips, "gmacs": 2.5, "seconds": 1.0, "decoding_seconds": 0.5, **more}
    return Prediction(video, label, score, top5, **values)


def page_of(folder: Path, *answers: Prediction) -> Page:
    output = OutputFolder(folder)
    folder.mkdir(exist_ok=True)
    for answer in answers:
        output.add(answer)
    write_answers_page(output)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def thumbnail(path: Path, side: int = 120) -> None:
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=60)


def test_a_row_has_the_answer_and_the_page_its_labels(tmp_path):
    page = page_of(
        tmp_path,
        answered("clips/a.mp4", "walk", 0.873),
        answered("b.mp4", "run", 0.5, clips=(), windows=(WindowAnswer(0, 4, "run", 0.5),)),
        Prediction("c.mp4", error="is damaged"),
        answered("d.mp4", "walk", 0.3),
    )
    assert [text.strip() for text in page.rows[0]] == [
        "a.mp4clips",
        "walk then other 5.0%",
        "87.3%",
        "0.4",
        "4.0",
        "2.5",
        "",
    ]
    assert page.rows[1][3] == "1 window"
    assert page.rows[2][1] == "is damaged"
    assert page.groups[0] == page.groups[3] != page.groups[1]
    shown = {page.options[group]: page.groups.count(group) for group in page.options if group}
    assert shown == {"run (1)": 1, "walk (2)": 2, "cannot be read (1)": 1}


def test_names_are_escaped(tmp_path):
    bad = "<script>alert(1)</script>\"'&\udcff"
    tags = page_of(tmp_path / "good", answered("good.mp4", "good", 0.5), Prediction("x", error="good")).tags
    page = page_of(tmp_path / "bad", answered(f"{bad}.mp4", bad, 0.5), Prediction(bad, error=bad))
    assert page.tags == tags
    assert "<script>alert(1)</script>\"'&\\xff" in page.rows[0][1]


def test_links_lead_to_what_was_drawn_and_nothing_is_loaded(tmp_path):
    output = OutputFolder(tmp_path)
    for kind, extension in ((PICTURES, ".png"), (OVERLAYS, ".mp4"), (TIME_LINES, ".csv"), (TIME_LINES, ".vtt")):
        path = output.drawing(kind, 2, "ä b#?.mp4", extension)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    thumbnail(output.drawing(THUMBNAILS, 2, "ä b#?.mp4", ".jpg"))
    page = page_of(tmp_path, answered("a.mp4", "walk", 0.5), answered("ä b#?.mp4", "walk", 0.5))
    local = {address for address in page.addresses if not address.startswith("data:")}
    assert local == {
        "pictures/00002_%C3%A4_b_.png",
        "overlays/00002_%C3%A4_b_.mp4",
        "time_lines/00002_%C3%A4_b_.csv",
        "time_lines/00002_%C3%A4_b_.vtt",
    }
    assert "default-src 'none'" in (tmp_path / "index.html").read_text()
    (image,) = [address for address in page.addresses if address.startswith("data:image")]
    assert Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))).size == (120, 120)


@pytest.mark.parametrize("most", [200, pytest.param(MOST_ROWS, marks=pytest.mark.slow)])
def test_five_thousand_videos_fit(tmp_path, most, monkeypatch):
    limit = LIMIT * most // MOST_ROWS
    monkeypatch.setattr("dsn_lightning.report.answers_page.LIMIT", limit)
    monkeypatch.setattr("dsn_lightning.report.answers_page.MOST_ROWS", most)
    output = OutputFolder(tmp_path)
    first = output.drawing(THUMBNAILS, 1, "a.mp4", ".jpg")
    thumbnail(first, side=160)  # noise, the largest there is
    line = json.dumps(answered("a.mp4", "walk", 0.5).to_json())
    output.lines.write_text(f"{line}\n" * (most + 7))
    for number in range(2, most + 8):
        output.drawing(THUMBNAILS, number, "a.mp4", ".jpg").hardlink_to(first)
    write_answers_page(output)
    assert output.page.stat().st_size < 1.4 * limit  # 28 MB for 5,000
    text = output.page.read_text()
    assert text.count("<tr data-group") == text.count("data:image/jpeg") == text.count('loading="lazy"') == most
    assert f"The first {most} answers are shown; predictions.jsonl has all." in text


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff" + bytes(2000)])
def test_a_damaged_thumbnail_does_not_end_the_page(tmp_path, content, monkeypatch):
    monkeypatch.setattr("dsn_lightning.report.answers_page.LIMIT", 8)  # so that it is decoded
    path = OutputFolder(tmp_path).drawing(THUMBNAILS, 1, "a.mp4", ".jpg")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert page_of(tmp_path, answered("a.mp4", "walk", 0.5)).rows


def test_the_script_filters_by_words_and_by_label():
    engine = MiniRacer()
    engine.eval((files("dsn_lightning.report") / "page_files/page.js").read_text())
    engine.eval("""
        const rows = [["walk a.mp4", "0"], ["run a.mp4", "1"], ["walk b.mp4", "0"], ["is damaged", "-"]].map(
          ([textContent, group]) => ({ textContent, dataset: { group }, hidden: false }));
        const count = {};
        globalThis.document = { getElementById: (id) => id === "t" ? { tBodies: [{ rows }] } : count };
        const listeners = [];
        const control = (localName) => ({ localName, value: "", addEventListener: (_, call) => listeners.push(call) });
        const input = control("input"), select = control("select");
        filterRows("t", [input, select]);
        function shown(words, group) {
          input.value = words; select.value = group;
          listeners[0]();
          return rows.flatMap((row, i) => row.hidden ? [] : [i]).join() + ";" + count.textContent;
        }""")
    assert engine.eval('shown("", "")') == "0,1,2,3;4 of 4 rows"
    assert engine.eval('shown("", "0")') == "0,2;2 of 4 rows"
    assert engine.eval('shown("A.MP4", "0")') == "0;1 of 4 rows"
    assert engine.eval('shown("a.mp4 run", "")') == "1;1 of 4 rows"
    assert engine.eval('shown("", "-")') == "3;1 of 4 rows"
    assert engine.eval("listeners.length") == 2
