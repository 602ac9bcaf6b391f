"""A trained DSN in Python: `dsn_lightning.DSN`.

from dsn_lightning import DSN

model = DSN.from_pretrained("runs/dsn")
print(model.predict("clip.mp4"))
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self, TypeAlias

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from dsn_lightning.config.load_predictor import device_named, load_sampler, predictor_of, sections_within
from dsn_lightning.config.saved_folder import write_folder
from dsn_lightning.config.trained import Trained, check_clips_per_section, checkpoint_record
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.row_check import is_row
from dsn_lightning.files import user_path
from dsn_lightning.model_card import model_card
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.frames import frames_as_video
from dsn_lightning.prediction.predictor import PRECISIONS, Effort, Predictor
from dsn_lightning.prediction.video_files import FilePredictor, Windows
from dsn_lightning.prediction.video_strip import read_strip
from dsn_lightning.report.answer_picture import STRIP_HEIGHT, STRIP_WIDTH, answer_figure
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError

Videos: TypeAlias = str | os.PathLike[str] | IO[bytes] | NDArray[np.uint8] | Tensor | Iterable[NDArray[np.uint8]]
"""A path, an open binary file, frames uint8 (T, H, W, 3), or an iterator of frames (H, W, 3)."""


@dataclass(frozen=True)
class ChosenClips:
    """The clips that the sampler chose, for a classifier of your own.

    Attributes:
        frames: uint8 (K, T, H, W, 3), at the size of the video; K is M, or less if the sampler skips sections.
        start_frame: first frame of each clip, (K,).
        start_seconds: when each begins, (K,).
        probability: of each in its section, (K,).
    """

    frames: NDArray[np.uint8]
    start_frame: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    probability: NDArray[np.float64]


class PretrainedDSN(nn.Module):
    """A trained observation network and classifier, from a run of ``dsn-train`` or a folder of `save_pretrained`.

    Attributes:
        classes: names of the classes, in the order of the outputs.
        num_sections: M, as the run was tested.
        clips_per_section: N, as the run was tested.
    """

    def __init__(self, trained: Trained, *, device: torch.device, precision: str) -> None:
        super().__init__()
        self.network = trained.recognizer
        self.classes = list(trained.classes)
        self.num_sections, self.clips_per_section = trained.settings.test.M[0], trained.settings.test.N
        self._trained = trained
        self._predictor: Predictor = predictor_of(
            trained, clips_per_section=self.clips_per_section, device=device, precision=precision
        )

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: str = "32-true",
        trust: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    ) -> Self:
        """Load a trained DSN; nothing that the files say is executed.

        Args:
            path: a run's folder, its checkpoint, or a folder that `save_pretrained` wrote.
            device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes the GPU if there is one.
            precision: what the networks compute in: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
            trust: your own packages that the networks may be built from, or files of exported classifiers; a text or
                a path is one of them.

        Raises:
            UsageError: there is no such file, it is damaged or of a run without a sampler, or an argument is wrong.
        """
        if precision not in PRECISIONS:
            raise UsageError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
        names = [trust] if isinstance(trust, str | os.PathLike) else list(trust)
        if not all(isinstance(name, str | os.PathLike) for name in names):
            raise UsageError(f"trust={trust!r}: must be the name of a package, or a list of names")
        trusted = tuple(name if isinstance(name, str) else os.path.abspath(name) for name in names)  # a path is a file
        trained = load_sampler(Path(path), key="from_pretrained", trusted=trusted)
        return cls(trained, device=device_named(device), precision=precision)

    def forward(self, clips: Tensor) -> Tensor:
        """Map uint8 section clips (B, M, N, C, T, H, W) to log-probabilities of the classes (B, J)."""
        scores: Tensor = self.network.predict({"clips": clips})
        return scores

    def predict(
        self,
        video: Videos,
        *,
        M: int | None = None,
        N: int | None = None,
        fps: float = 25.0,
        gmacs: float | None = None,
        confidence: float | None = None,
        seconds: float | None = None,
        window: tuple[float, float] | None = None,
    ) -> Prediction:
        """Return the answer for one video.

        Args:
            video: a path, an open binary file, frames uint8 (T, H, W, 3), or an iterator of frames.
            M, N: sections, and candidates in each; None: as the run was tested.
            fps: frame rate of frames that are given as arrays.
            gmacs: take the largest M that stays within this cost, in 10^9 multiply-adds.
            confidence: stop when the averaged answer has this probability, in (0, 1].
            seconds: begin with no further section after this time.
            window: (length, stride) in seconds of windows, for a long file; `Prediction.windows` has their answers.

        Raises:
            UsageError: an argument is wrong.
            VideoError: the video cannot be read.
        """
        effort = self._effort(M, N, gmacs=gmacs, confidence=confidence, seconds=seconds)
        dataset = self._trained.settings.dataset
        with self._video_of(video) as given:
            if isinstance(given, np.ndarray):
                if window is not None:
                    raise UsageError("window: needs a file; cut frames into windows yourself")
                placed, read = frames_as_video(given, fps, dataset.fps)
                predictor = self._predictor.reading(read)
                return predictor(placed, effort, name="frames")
            answer = FilePredictor(
                self._predictor,
                PyAV(),
                effort,
                fps=dataset.fps,
                refuse_damage=dataset.reading.on_damage == "refuse",
                windows=None if window is None else Windows(*window),
            )
            name = os.fspath(video) if isinstance(video, str | os.PathLike) else "file"
            return replace(answer.answer(str(given)), video=str(name))

    def predict_all(self, videos: Iterable[Videos], **arguments: Any) -> Iterator[Prediction]:
        """Yield the answer for each video; one that cannot be read has `Prediction.error` set.

        ``arguments`` are those of `predict`.
        """
        for video in videos:
            name = os.fspath(video) if isinstance(video, str | os.PathLike) else type(video).__name__
            try:
                yield self.predict(video, **arguments)
            except VideoError as error:
                yield Prediction(str(name), error=error.reason)

    def select(self, video: Videos, *, M: int | None = None, N: int | None = None, fps: float = 25.0) -> ChosenClips:
        """Return the clips that the sampler chooses, at the video's own size, without classifying them.

        See `predict` for the arguments and errors.
        """
        effort = self._effort(M, N)
        dataset = self._trained.settings.dataset
        with self._video_of(video) as given:
            read = self._predictor.reader.read
            if isinstance(given, np.ndarray):
                placed, read = frames_as_video(given, fps, dataset.fps)
            else:
                placed = FilePredictor(self._predictor, PyAV(), effort, fps=dataset.fps).placed(str(given))
            predictor = self._predictor.reading(read)
            starts, policy, sections = predictor.look(placed, effort)
            kept = policy.argmax(-1)[sections]
            chosen = starts[sections, kept]
            wanted, position = np.unique(predictor.reader.plan(placed, chosen), return_inverse=True)
            frames = read(placed, wanted, (placed.info.height, placed.info.width))
        clips = frames[position.reshape(len(chosen), -1)]
        times = placed.info.times[placed.source[chosen]]
        return ChosenClips(clips, chosen, np.asarray(times, np.float64), policy[sections, kept])

    def figure(self, answer: Prediction) -> Figure:
        """Draw an answer of `predict` for a file: a strip of the video, the policy over it, the selected clips.

        Raises:
            UsageError: the answer is not that of a file, or says that the video could not be read.
            VideoError: the video cannot be read any more.
        """
        if answer.error is not None or not Path(answer.video).is_file():
            raise UsageError(f"figure: expected the answer for a video file, got {answer.error or answer.video}")
        video = FilePredictor(
            self._predictor, PyAV(), self._effort(None, None), fps=self._trained.settings.dataset.fps
        ).placed(answer.video)
        span = self._predictor.reader.clip_span
        size = {"width": STRIP_WIDTH, "height": STRIP_HEIGHT}
        return answer_figure(answer, read_strip(video, PyAV(), answer.clips, clip_span=span, **size))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card (``README.md``), and return the folder.

        The layout is that of Hugging Face's hub: `push_to_hub` sends it, and so does ``hf upload``.

        Raises:
            UsageError: the folder holds something else.
        """
        trained, target = self._trained, user_path(folder)
        run = RunFolder(trained.path.parent.parent)
        rows, statistics = read_json(run.results_json), read_json(run.statistics_json)
        card = model_card(
            trained.settings.plain,
            trained.classes,
            basis=trained.basis or {},
            rows=[row for row in rows if is_row(row)] if isinstance(rows, list) else [],
            statistics=statistics if isinstance(statistics, dict) else {},
        )
        record = checkpoint_record(trained.settings, classes=trained.classes, trained_on=None, basis=trained.basis)
        write_folder(target, record, self.network.state_dict(), card=card)
        return target

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes to Hugging Face's hub, and return the address.

        Needs the package ``huggingface_hub`` and an account; ``token`` is that of the account, None: that which
        ``hf auth login`` has stored.
        """
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise UsageError(
                "push_to_hub: needs the package huggingface_hub: pip install 'dsn-lightning[hub]'"
            ) from None
        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder, "model"))
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=Path(folder, "model"))
        return str(address)

    def _effort(self, M: int | None, N: int | None, *, gmacs: float | None = None, **limits: float | None) -> Effort:
        for name, value in {"M": M, "N": N}.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"{name}={value}: must be a whole number of at least 1")
        clips_per_section = N or self.clips_per_section
        check_clips_per_section(self.network, clips_per_section, where="predict", key="N")
        if gmacs is not None:
            if M is not None:
                raise UsageError(f"gmacs={gmacs}: chooses M; leave out M={M}")
            M = sections_within(gmacs, self._predictor.costs, clips_per_section=clips_per_section)
        confidence, seconds = limits.get("confidence"), limits.get("seconds")
        if confidence is not None and not 0 < confidence <= 1:
            raise UsageError(f"confidence={confidence}: must be above 0 and at most 1")
        return Effort(M or self.num_sections, clips_per_section, confidence, seconds)

    @contextmanager
    def _video_of(self, video: Videos) -> Iterator[Path | NDArray[np.uint8]]:
        """Yield the path of a file, or the frames of one that is given as frames."""
        if isinstance(video, str | os.PathLike):
            yield user_path(os.fspath(video))
        elif isinstance(video, np.ndarray | Tensor):
            yield np.asarray(video)
        elif hasattr(video, "read"):
            with tempfile.NamedTemporaryFile(suffix=".video") as file:
                while block := video.read(2**20):
                    file.write(block)
                file.flush()
                yield Path(file.name)
        else:
            frames = list(video)
            yield np.stack(frames) if frames else np.empty((0, 1, 1, 3), np.uint8)
