"""W&B objects: selected clips, confusion matrix, histograms of positions, gradients and parameters."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from dsn_lightning.evaluation.answers import confusion_matrix, kept_clips, predicted_classes, sheet_videos
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.video.modality import FLOW_LEGEND, as_pictures, is_flow

WATCHED = ("gradients", "parameters", "all")
"""What `ParameterHistograms` may be asked for."""

_MOST_CLASSES = 100  # W&B draws no larger confusion matrix
_SHARE = "train/position_share_"
_CLIP_COLUMNS = (
    *("video", "label", "answer", "section", "clip", "start_frame", "start_seconds"),
    *("probability", "probabilities", "shows_action", "frames"),
)


def position_histogram(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a histogram of the positions that the policy prefers in a section; empty without their shares."""
    shares = [metrics[f"{_SHARE}{n}"] for n in range(sum(name.startswith(_SHARE) for name in metrics))]
    if not shares:
        return {}
    import wandb  # takes seconds

    edges = np.arange(len(shares) + 1) - 0.5
    return {"train/selected_positions": wandb.Histogram(np_histogram=(np.array(shares, float), edges))}


def clip_table(evaluation: EvaluationDetails) -> Any:
    """Return a table of the selected clips of a few videos, the same ones each time."""
    import wandb

    selection, classifier = evaluation.main()
    scheme, scores = evaluation.schemes[0], evaluation.scores
    chosen = sheet_videos(len(evaluation.videos))
    answered = predicted_classes(scores, selection, scheme, classifier, consensus=evaluation.consensus)
    table = wandb.Table(columns=list(_CLIP_COLUMNS))
    for v, clips in zip(chosen, kept_clips(scores, selection, scheme, classifier, chosen), strict=True):
        labels = ", ".join(str(scores.classes[j]) for j in np.flatnonzero(scores.targets[v] > 0))
        starts = np.array([clip.start_frame for clip in clips], np.int64)
        frames = evaluation.reader(evaluation.videos[v], starts).permute(0, 2, 3, 4, 1).numpy()  # (K, T, H, W, C)
        shown = scores.shows_action(int(v), starts)
        for k, clip in enumerate(clips):
            pictures = as_pictures(frames[k][[0, len(frames[k]) // 2, -1]])  # (3, H, W, 3)
            strip = np.concatenate(list(pictures), axis=1)
            table.add_data(
                str(scores.video_id[v]),
                labels,
                str(scores.classes[answered[v]]),
                clip.section,
                clip.clip,
                clip.start_frame,
                clip.start_seconds,
                clip.probability,
                None if clip.policy is None else " ".join(f"{p:.4f}" for p in clip.policy),
                None if shown is None else bool(shown[k]),
                wandb.Image(strip, caption=FLOW_LEGEND if is_flow(frames) else None),
            )
    return table


def confusion_plot(evaluation: EvaluationDetails) -> dict[str, Any]:
    """Return the confusion matrix as a plot, or as a table if there are many classes; empty for multi-label videos."""
    selection, classifier = evaluation.main()
    scores = evaluation.scores
    answered = predicted_classes(scores, selection, evaluation.schemes[0], classifier, consensus=evaluation.consensus)
    counts = confusion_matrix(scores.targets, answered)
    if counts is None:
        return {}
    import wandb

    classes = [str(name) for name in scores.classes]
    if len(classes) <= _MOST_CLASSES:
        plot = wandb.plot.confusion_matrix(
            y_true=scores.targets.argmax(1).tolist(), preds=answered.tolist(), class_names=classes
        )
        return {f"{evaluation.prefix}/confusion_matrix": plot}
    cells: list[Any] = [[classes[i], classes[j], int(counts[i, j])] for i, j in np.argwhere(counts)]
    counted = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=cells)
    return {f"{evaluation.prefix}/confusion_matrix_table": counted}


class ParameterHistograms:
    """Histograms of a network's gradients and parameters, under the names that ``wandb.watch`` gives them.

    (``wandb.watch`` itself would put them into the row of the epoch before.)

    Args:
        watch: one of `WATCHED`, or None: no histograms.
    """

    def __init__(self, watch: str | None) -> None:
        self.watch = watch
        self.network: nn.Module | None = None
        self.gradients: dict[str, Any] = {}  # of the epoch

    def follow(self, network: nn.Module) -> None:
        """Take the network's gradients from now on."""
        self.network = network
        if self.watch in ("gradients", "all"):
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    parameter.register_hook(partial(self._keep_first, f"gradients/{name}"))

    def _keep_first(self, name: str, gradient: Tensor) -> None:
        if name not in self.gradients:
            self.gradients |= _histogram(name, gradient)

    def of_epoch(self) -> dict[str, Any]:
        """Return each parameter's first gradient since the last call, and the parameters as they are now."""
        found, self.gradients = self.gradients, {}
        if self.network is not None and self.watch in ("parameters", "all"):
            for name, parameter in self.network.named_parameters():
                found |= _histogram(f"parameters/{name}", parameter)
        return found


def _histogram(name: str, values: Tensor) -> dict[str, Any]:
    """Return a histogram of all finite values by its name; empty without any."""
    import wandb

    numbers = values.detach().float().flatten().cpu()
    numbers = numbers[numbers.isfinite()]
    return {name: wandb.Histogram(np_histogram=np.histogram(numbers.numpy(), bins=64))} if len(numbers) else {}
