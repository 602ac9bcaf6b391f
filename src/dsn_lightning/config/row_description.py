"""What a row of results says of the runs behind it, besides what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.config.network_costs import clip_shape
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import Trained
from dsn_lightning.cost.macs import VideoCost, macs_per_clip
from dsn_lightning.evaluation.results import Row
from dsn_lightning.evaluation.scores import sampler_network
from dsn_lightning.evaluation.scoring import Networks, crops_seen
from dsn_lightning.evaluation.stopwatch import Stopwatch
from dsn_lightning.selections import Scheme, Selection


class RowDescription:
    """Fills in a row's fields that are not metrics.

    Args:
        runs: trained runs by name; one of them freezes the classifier that another name stands for.
        networks: their networks.
        settings: settings of the evaluation.
        selections: its methods.
        watch: seconds that the networks took; None where they do not stand for the whole networks.
        counts: the fields of a row that count videos.
    """

    def __init__(
        self,
        runs: Mapping[str, Trained],
        networks: Networks,
        settings: Settings,
        selections: Sequence[Selection],
        *,
        watch: Stopwatch | None,
        counts: Mapping[str, int],
    ) -> None:
        self.runs = runs
        self.networks = networks
        self.settings = settings
        self.watch = watch
        self.counts = counts
        clip, crops = clip_shape(settings.backbone, modality=settings.dataset.modality), settings.test.crops
        self.macs = {  # of a clip, with all the windows that are seen
            name: macs_per_clip(recognizer.classifier, clip) * crops_seen(name, selections, crops)
            for name, recognizer in networks.classifiers.items()
        }
        self.sampler_macs = {  # of a candidate, by the network's name and M
            (sampler_network(name), m): macs_per_clip(
                dsn.observation, clip, num_sections=m, clips_per_section=settings.test.N
            )
            for name, dsn in networks.samplers.items()
            for m in settings.test.M
        }

    def __call__(self, selection: Selection, scheme: Scheme, classifier: str, num_clips: float) -> Row:
        """Return the fields of `results.FIELDS` that `results.measure` does not."""
        answering = self.runs.get(classifier) or self._keeper()
        trained = self.runs.get(selection.sampler or classifier) or answering
        learned = selection.sampler in self.networks.samplers
        return {
            "dataset": self.settings.dataset_in_results,
            "split": self.settings.plain["dataset"].get("split"),
            "modality": self.settings.dataset.modality,
            "selection": selection.name,
            "classifier": classifier,
            "algorithm": trained.settings.algorithm.name,
            "backbone": answering.settings.backbone.name,
            "observation": trained.settings.observation.name if learned else None,
            "estimator": trained.settings.estimator["_target_"].rsplit(".", 1)[-1] if learned else None,
            "reward": trained.settings.reward["_target_"].rsplit(".", 1)[-1] if learned else None,
            "seed": trained.settings.seed,
            "gamma": trained.settings.gamma if learned else None,
            "train_M": trained.settings.M,
            "train_N": trained.settings.N if learned else None,
            "M": scheme.num_sections,
            "N": scheme.clips_per_section,
            "crops": self.settings.test.crops,
            **self._cost(selection, scheme, classifier, num_clips),
            **self.counts,
        }

    def _keeper(self) -> Trained:
        """Return the run that keeps the baseline's classifier, where the baseline itself is not given."""
        return next(run for run in self.runs.values() if run.settings.algorithm.freezes_classifier)

    def _cost(self, selection: Selection, scheme: Scheme, classifier: str, num_clips: float) -> dict[str, Any]:
        """Return multiply-adds (10^9) and seconds of a video; None for a method that knows the label."""
        if selection.kind == "upper_bound":
            return dict.fromkeys(("gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video"))
        watcher, observed = selection.sampler, 0.0
        if watcher is not None and watcher in self.networks.samplers:
            watcher = sampler_network(watcher)
            observed = self.sampler_macs[watcher, scheme.num_sections]
        elif watcher is not None:
            observed = self.macs[watcher]
        candidates = scheme.num_sections * scheme.clips_per_section if watcher else 0
        cost = VideoCost.of(
            clips=num_clips,
            classifier=self.macs[classifier],
            candidates=candidates,
            observation=observed,
        )
        seconds = None
        if self.watch is not None:
            seconds = num_clips * (self.watch.per_clip(classifier) or 0.0)
            seconds += candidates * (self.watch.per_clip(watcher) or 0.0) if watcher else 0.0
        return {
            "gmacs_classifier": cost.classifier,
            "gmacs_observation": cost.observation,
            "gmacs": cost.total,
            "seconds_per_video": seconds,
        }
