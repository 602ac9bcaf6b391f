"""From a file to an answer: probe it, place it on its time line, predict; a bad file is an answer with an error."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import printable
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.predictor import Effort, Predictor
from dsn_lightning.prediction.windows import Span, predict_windows, window_spans
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.time_line import Video, place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo, check_unflagged


@dataclass(frozen=True)
class Windows:
    """Windows of a long recording, in seconds."""

    seconds: float  # length
    stride: float  # from one to the next


@dataclass(frozen=True)
class FilePredictor:
    """Answers for video files.

    Attributes:
        predictor: the networks.
        decoder: reads the files.
        effort: what a video, or each of its windows, may cost.
        fps: frame rate of the time line, as in training; None: the file's.
        refuse_damage: whether a file with damage that loses no frame is refused.
        windows: ask for each window instead of the whole video; None: the whole.
    """

    predictor: Predictor
    decoder: Decoder
    effort: Effort
    fps: float | None = None
    refuse_damage: bool = False
    windows: Windows | None = None
    _last: dict[Any, VideoInfo] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, path: str) -> Prediction:
        """Return the answer for a file; if it cannot be read, `Prediction.error` says why."""
        if "://" in path:
            return Prediction(path, error="is a URL; download the video and give its file")
        try:
            return self.answer(path)
        except VideoError as error:
            return Prediction(path, error=printable(error.reason))

    def answer(self, path: str) -> Prediction:
        """Return the answer for a file.

        Raises:
            VideoError: it cannot be read.
        """
        started = time.perf_counter()
        file = Path(path).absolute()
        info = self._probed(file)
        if self.windows is None:
            video = self._part(path, file, info, None)
            return self.predictor(video, self.effort, name=path, started=started)
        try:
            spans = window_spans(info.duration, seconds=self.windows.seconds, stride=self.windows.stride)
        except ValueError as error:
            raise VideoError(file, str(error)) from error
        return predict_windows(
            self.predictor,
            lambda span: self._part(path, file, info, span),
            spans,
            self.effort,
            name=path,
            started=started,
        )

    def placed(self, path: str) -> Video:
        """Return a file on its time line.

        Raises:
            VideoError: it cannot be read.
        """
        file = Path(path).absolute()
        return self._part(path, file, self._probed(file), None)

    def _probed(self, file: Path) -> VideoInfo:
        """Return what indexing a file finds; the last file is not indexed twice."""
        try:
            key = (file, *self.decoder.fingerprint(file)) if file.exists() else None
            info = self._last.get(key)
            if info is None:
                info = self.decoder.probe(file)
                self._last.clear()
                self._last[key] = info
        except OSError as error:
            raise VideoError(file, error.strerror or str(error)) from None
        if self.refuse_damage:
            check_unflagged(file, info)
        return info

    def _part(self, name: str, file: Path, info: VideoInfo, segment: Span | None) -> Video:
        return place_on_time_line(VideoRecord(name, file, (), segment=segment), info, self.fps)
