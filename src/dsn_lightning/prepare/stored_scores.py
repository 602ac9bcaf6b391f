"""Class scores of fixed clips as files: with a classifier that is not trained, they are the same in every epoch."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.files import replaced
from dsn_lightning.prepare.stored_array import open_array
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError


@dataclass(frozen=True)
class StoredScores:
    """The classifier's logits of clips, one file per video and choice of clips.

    Attributes:
        folder: stands for the classifier and for how clips are read.
        num_classes: J.
    """

    folder: Path
    num_classes: int

    def file(self, video: Video, starts: IntArray) -> Path:
        """Return the file of the clips of a video at these first frames, whatever their order."""
        info = video.info
        content = f"{video.record.video_id} {info.digest or info.made_with} {info.num_frames}".encode()
        key = hashlib.blake2b(content + video.source.tobytes() + b" " + np.unique(starts).tobytes(), digest_size=12)
        return self.folder / f"{key.hexdigest()}.npy"

    def write(self, video: Video, starts: IntArray, logits: NDArray[np.float32]) -> None:
        """Store the logits (K, J) of the clips at the first frames (K,), which are distinct and ascending."""
        assert logits.shape == (len(starts), self.num_classes)
        with replaced(self.file(video, starts)) as partial, partial.open("wb") as file:
            np.save(file, logits)

    def read(self, video: Video, starts: IntArray) -> NDArray[np.float32]:
        """Return the logits of the clips at the first frames (...,), float32 (..., J).

        Raises:
            VideoError: they have not been computed, or the file is damaged.
        """
        file, distinct = self.file(video, starts), np.unique(starts)
        if not file.is_file():
            raise VideoError(video.record.path, "no clip scores: it could not be read when they were computed")
        try:
            logits = open_array(file, shape=(len(distinct), self.num_classes), dtype=np.float32)
        except (OSError, ValueError) as error:
            reason = f"its clip scores in {file} cannot be read ({error}); remove this file"
            raise VideoError(video.record.path, reason) from error
        return np.asarray(logits[np.searchsorted(distinct, starts)])
