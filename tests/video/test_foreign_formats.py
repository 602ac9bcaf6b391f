"""Files named as videos that would pull in other files: playlists, descriptions of streams, patterns of names."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import grey_ramp, write_video
from dsn_lightning.video import pyav_decoder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError
from helpers.encoded_videos import need_torchcodec

TEXTS = {
    "ffconcat.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
    "ffconcat with a path.mkv": "ffconcat version 1.0\nfile 'file:{folder}/secret.mp4'\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder}/secret.ts\n#EXT-X-ENDLIST\n",
    "hls over http.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
    "dash.mp4": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>secret.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>\n",
    "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "metadata.mp4": ";FFMETADATA1\ntitle=x\n",
    "secret%02d.png": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A video, in two containers, and pictures that the texts lead to."""
    write_video(tmp_path / "secret.mp4", grey_ramp(30))
    write_video(tmp_path / "secret.ts", grey_ramp(30))
    for i in range(3):
        Image.fromarray(np.full((34, 34, 3), 50 * i, np.uint8)).save(tmp_path / f"secret{i:02d}.png")
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text.format(folder=tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", TEXTS)
def test_no_file_pulls_in_another(folder, name):
    path = folder / name
    for read in (
        lambda: PyAV().probe(path),
        lambda: PyAV().read(path, [0], (16, 16)),
        lambda: next(PyAV().frames(path)),
    ):
        with pytest.raises(VideoError, match=r"is no video file, but a playlist|cannot be decoded") as caught:
            read()
        assert not caught.value.transient


@pytest.mark.parametrize("name", ["ffconcat.mp4", "hls.m3u8", "secret%02d.png"])
def test_without_the_limit_ffmpeg_pulls_in_the_neighbour(folder, name, monkeypatch):
    """What the texts would give is the neighbour's picture, so that the test above can fail."""
    monkeypatch.setattr(pyav_decoder, "ONLY_THIS_FILE", {"allowed_extensions": "ALL", "extension_picky": "0"})
    assert PyAV().read(folder / name, [0], (16, 16)).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("name", TEXTS)
def test_torchcodec_is_given_only_files_of_the_indexed_format(folder, name):
    need_torchcodec()
    path, decoder = folder / name, TorchCodec()
    with pytest.raises(VideoError):
        decoder.read(path, [0], (16, 16))
    info = decoder.probe(folder / "secret.mp4")
    with pytest.raises(VideoError):  # replaced since it was indexed
        decoder.read(path, [0], (16, 16), info)


def test_torchcodec_is_not_given_a_file_of_another_container(folder):
    need_torchcodec()
    decoder = TorchCodec()
    info = decoder.probe(folder / "secret.mp4")
    shutil.copy(folder / "secret.ts", folder / "secret.mp4")
    expected = PyAV().read(folder / "secret.ts", [0, 3], (34, 34))
    assert np.array_equal(decoder.read(folder / "secret.mp4", [0, 3], (34, 34), replace(info, key_frames="")), expected)
    assert np.array_equal(decoder.read(folder / "secret.mp4", [0, 3], (34, 34), info), expected)
