"""The candidate clips of a data set as numbers: the classifier's logits and the features of the sampler's trunk."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.array_archive import open_arrays
from dsn_lightning.files import UnreadableFileError, refuse_link, replaced

if TYPE_CHECKING:
    from dsn_lightning.config.trained import Trained
    from dsn_lightning.data.datamodule import SectionClipDataModule
    from dsn_lightning.datasets import Subset

_AT_ONCE = 64  # clips
_LARGEST = 1e30  # of a number


@dataclass(frozen=True)
class StoredClips:
    """The M:N candidates of V videos, at the positions of a test.

    Attributes:
        video_id: (V,).
        targets: labels, (V, J).
        logits: of the classifier, (V, M, N, J).
        uniform: of the classifier, for one clip in the middle of each section, (V, M, J).
        dense: of the classifier, for the clips of dense sampling, (V, K, J).
        features: input of the classification layer of the clip network that the sampler starts from, (V, M, N, D).
        responses: class logits of that network, (V, M, N, J).
        shows: whether a clip shows the labelled action, (V, M, N); all False where that is not annotated.
    """

    video_id: NDArray[np.str_]
    targets: NDArray[np.float32]
    logits: NDArray[np.float32]
    uniform: NDArray[np.float32]
    dense: NDArray[np.float32]
    features: NDArray[np.float32]
    responses: NDArray[np.float32]
    shows: NDArray[np.bool_]

    def save(self, file: Path) -> None:
        """Write the file; it appears whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as partial:
            np.savez(partial, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, file: Path) -> "StoredClips":
        """Read a file of `save`; `UnreadableFileError` if it is damaged."""
        try:
            with open_arrays(file) as content:
                found = cls(**{field.name: content[field.name] for field in fields(cls)})
            found.check()
        except (UnreadableFileError, ValueError) as error:
            reason = error.reason if isinstance(error, UnreadableFileError) else error
            raise UnreadableFileError(file, f"{reason}; remove it to have it written again") from error
        return found

    def check(self) -> None:
        """Raise ValueError if kinds or shapes do not fit together, or numbers are not finite."""
        dimensions = {"targets": 2, "shows": 3, "dense": 3, "features": 4, "responses": 4}
        if wrong := [name for name, count in dimensions.items() if getattr(self, name).ndim != count]:
            raise ValueError(f"{wrong[0]}: expected {dimensions[wrong[0]]} dimensions")
        (videos, classes), (sections, clips) = self.targets.shape, self.shows.shape[1:]
        shapes = {
            "video_id": (videos,),
            "targets": (videos, classes),
            "logits": (videos, sections, clips, classes),
            "uniform": (videos, sections, classes),
            "dense": (videos, self.dense.shape[1], classes),
            "features": (videos, sections, clips, self.features.shape[-1]),
            "responses": (videos, sections, clips, self.responses.shape[-1]),
            "shows": (videos, sections, clips),
        }
        kinds = {"video_id": "U", "shows": "b"}
        for name, shape in shapes.items():
            values = getattr(self, name)
            is_right = values.dtype.kind == kinds[name] if name in kinds else values.dtype == np.float32
            if values.shape != shape or not is_right or not values.size:
                raise ValueError(f"{name}: {values.dtype} {values.shape} does not fit")
            if name not in kinds and not (np.abs(values) < _LARGEST).all():  # also NaN
                raise ValueError(f"{name}: expected finite numbers")
        if (self.targets < 0).any() or (self.targets > 1).any() or not self.targets.any():
            raise ValueError("targets: expected shares of the labels")


def stored_clips(baseline: Path, max_response: Path, subset: "Subset", *, folder: Path) -> StoredClips:
    """Return the clips of a subset of the data set that two runs of ``algorithm=baseline`` were trained on.

    The classifier is that of ``baseline``. ``max_response`` has the clip network that the sampler starts from. M and N
    are those of the baseline's run. They are computed once, and kept in ``folder`` under the digests of the networks
    and of the videos.

    Raises:
        UsageError: a run cannot be read, builds something else than known parts, or has no videos in this subset.
    """
    from dsn_lightning.config.stored_data import datamodule_of
    from dsn_lightning.config.trained import load_trained
    from dsn_lightning.data.inventory import digests_of
    from dsn_lightning.evaluation.scores import weights_hash

    classifier, trunk = (load_trained(run / "checkpoints/last.ckpt", key="run") for run in (baseline, max_response))
    data = datamodule_of(classifier)  # the run may be somebody else's
    data.prepare_data()
    data.setup()
    digest = digests_of(data.inventory()).get(subset)
    if digest is None:
        raise UsageError(f"{baseline}: its data set has no {subset} videos")
    hashes = [weights_hash(run.recognizer.classifier) for run in (classifier, trunk)]
    settings = classifier.settings
    file = folder / f"{'_'.join([*hashes, digest])}_{settings.M}x{settings.N}_{subset}.npz"
    refuse_link(folder)
    refuse_link(file)
    if not file.is_file():
        _compute(classifier, trunk, data, subset).save(file)
    found = StoredClips.load(file)
    if found.logits.shape[1:] != (settings.M, settings.N, len(data.classes)):
        raise UnreadableFileError(file, "is of other clips; remove it to have it written again")
    return found


@torch.inference_mode()
def _compute(classifier: "Trained", trunk: "Trained", data: "SectionClipDataModule", subset: "Subset") -> StoredClips:
    from dsn_lightning.backbones.clip_network import classification_layer
    from dsn_lightning.cli.frozen_features_recipe import share_frozen_blocks, use_frozen_features
    from dsn_lightning.data.section_clips import label_vector
    from dsn_lightning.evaluation.clip_loading import Loading, clip_loader
    from dsn_lightning.selections import Scheme

    settings, recognizers = classifier.settings, [classifier.recognizer, trunk.recognizer]
    if share_frozen_blocks(recognizers):
        use_frozen_features(settings, data, recognizers, device=torch.device("cpu"), subsets=[subset])
    videos, reader = data.videos(subset), data.network_reader
    dense = 10 if settings.M == 1 else 20
    scheme = Scheme(settings.M, settings.N, reader.clip_span, dense, 1, placement=data.scheme.placement)
    grids = [scheme.grid(video.num_frames) for video in videos]
    others = [(scheme.uniform(v.num_frames, settings.M), scheme.uniform(v.num_frames, dense)) for v in videos]
    starts = [np.unique(np.concatenate([grid.ravel(), *more])) for grid, more in zip(grids, others, strict=True)]
    seen: list[Tensor] = []
    layer = classification_layer(trunk.recognizer.classifier)
    layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].flatten(1)))
    columns: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(StoredClips)}
    for v, clips in track(clip_loader(videos, starts, reader, crops=1, loading=Loading()), subset, len(videos)):
        parts = clips.split(_AT_ONCE)
        logits = torch.cat([classifier.recognizer.classify(part) for part in parts]).numpy()
        responses = torch.cat([trunk.recognizer.classify(part) for part in parts]).numpy()
        index, uniform, all_dense = (np.searchsorted(starts[v], at) for at in (grids[v], *others[v]))
        columns["video_id"].append(np.array(videos[v].record.video_id))
        columns["targets"].append(label_vector(videos[v].record.labels, len(data.classes)).numpy())
        columns["logits"].append(logits[index])
        columns["uniform"].append(logits[uniform])
        columns["dense"].append(logits[all_dense])
        columns["features"].append(torch.cat(seen).numpy()[index])
        columns["responses"].append(responses[index])
        columns["shows"].append(_shows(grids[v], reader.clip_span, videos[v].spans(), videos[v].fps))
        seen.clear()
    return StoredClips(**{name: np.stack(column) for name, column in columns.items()})


def _shows(starts: NDArray[np.int64], span: int, spans: Iterable[tuple[float, float]], fps: float) -> NDArray[np.bool_]:
    """Return whether at least half of each clip lies in a span of the action."""
    overlap = np.zeros(starts.shape)
    for first, last in spans:
        overlap += (np.minimum(starts + span, last * fps) - np.maximum(starts, first * fps)).clip(min=0)
    return np.asarray(overlap >= span / 2 - 1e-6)
