"""Comparing all selection methods of trained recognisers: from networks and videos to the files of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.commands import build
from dsn_lightning.commands.activations import share_frozen_blocks, use_activations
from dsn_lightning.commands.comparing import write_statistics
from dsn_lightning.commands.held_out import evaluated, name_in_results
from dsn_lightning.commands.networks import modality
from dsn_lightning.commands.trained_on import among, check_held_out
from dsn_lightning.cost.macs import VideoCost, macs_per_clip
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.clip_loading import Loading
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.evaluation.figures import class_figure, contact_sheets, cost_figure, sheet_videos
from dsn_lightning.evaluation.outcomes import evaluation_of
from dsn_lightning.evaluation.results import FIELDS, Row, evaluate_rows, results_table
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.scoring import Networks, ScoringPlan, crops_seen, score_videos
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.evaluation.stopwatch import Stopwatch
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.environment import environment
from dsn_lightning.selections import Scheme, Selection
from dsn_lightning.text_tables import csv_text
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.video.modality import CHANNELS


def evaluate_trained(
    given: Mapping[str, build.Trained],
    cfg: DictConfig,
    data: SectionClipDataModule,
    run_dir: Path,
    *,
    device: torch.device,
    announce: bool = True,
    seed: int = 0,
    tracker: Tracker | None = None,
) -> list[Row]:
    """Compare all selection methods that the trained recognisers allow; write and print the results.

    Args:
        given: ``dsn``, ``baseline``, ``dsn_fixed``, ``max_response`` -> trained run.
        cfg: data set, tests and selections.
        data: set up for ``cfg``.
        run_dir: gets ``results.json``, ``results.csv``, ``clip_scores.npz``, ``statistics.json`` and ``figures/``.
        device: where the networks run. In several processes the first one writes and prints.
        announce: name each row that is left out and what is lacking for it.
        seed: of the random draws.
        tracker: gets the results as well.
    """
    first = process_rank() == 0
    console = Console(width=max(Console().width, 110), quiet=not first)  # tables stay whole in files and narrow windows
    for role, trained in given.items():
        build.check_fits(trained, classes=list(data.classes), cfg=cfg, role=role)
    networks = _networks(given)
    sections = cfg.test.M if OmegaConf.is_list(cfg.test.M) else [cfg.test.M]
    schemes = [
        Scheme(
            int(m),
            int(cfg.test.N),
            data.reader.clip_span,
            cfg.dataset.reading.dense_clips,
            cfg.test.random_draws,
            seed,
        )
        for m in sections
    ]
    selections: list[Selection] = [instantiate(s, _convert_="all") for s in cfg.selection.values() if s is not None]
    left_out: dict[str, list[str]] = {}  # what is lacking -> rows
    for selection in selections:
        for classifier in selection.classifiers:
            if not networks.can(selection, classifier):
                row = f"{selection.name} with the {classifier} classifier"
                left_out.setdefault(str(networks.missing(selection, classifier)), []).append(row)
    for lacking, rows_left in left_out.items():
        if announce:
            console.print(f"left out (no {lacking} given): {', '.join(rows_left)}", soft_wrap=True)
    if left_out and not announce:
        console.print("these are the rows that this run gives by itself; dsn-evaluate compares several runs")
    if not any(networks.can(selection, classifier) for selection in selections for classifier in selection.classifiers):
        raise UsageError("no selection method can be evaluated with what was given; see the lines 'left out' above")
    subset = evaluated(cfg)
    videos = data.videos(subset)
    if not videos:
        raise UsageError(f"dataset={cfg.dataset.name}: has no {kind_of_videos(name_in_results(cfg))}")
    video_ids = [video.record.video_id for video in videos]
    for role, trained in given.items():
        if subset == "val":
            check_held_out(trained.trained_on, video_ids, where=f"{role}={trained.path}")
        elif seen := among(trained.trained_on, video_ids):
            console.print(
                f"warning: {role}={trained.path}: was trained on {len(seen)} of the {len(videos)} test videos, or "
                f"began from what was ({seen[0]}{', ...' if len(seen) > 1 else ''}); was it trained for this split?",
                soft_wrap=True, markup=False,
            )  # fmt: skip
    consensus = next(iter(given.values())).cfg.algorithm.consensus
    recognizers = [trained.recognizer for trained in given.values()]
    cached = cfg.backbone.get("cache_activations") and cfg.test.crops == 1 and share_frozen_blocks(recognizers)
    if cached:
        use_activations(cfg, data, recognizers, device=device, subsets=(subset,))
    scores, watch, failed = score_videos(
        ScoringPlan(videos, selections, schemes, data.classes, consensus, cfg.test.crops),
        data.network_reader if cached else data.reader,
        networks,
        device=device,
        loading=Loading(cfg.num_workers, data.loader_timeout(), cfg.get("start_workers"), data.bad_video_policy.skip),
        track=lambda loop: track(
            loop, f"Scoring {len(videos)} videos", len(loop), console=Console(stderr=True, quiet=not first)
        ),
    )
    if not first:
        return []
    videos = [video for video in videos if video.record.video_id not in failed]
    failures = {**data.bad[subset], **failed}
    for video_id, error in failures.items():
        console.print(f"counted as failed: {video_id} ({error})", soft_wrap=True, markup=False)
    run_dir.mkdir(parents=True, exist_ok=True)
    run = RunFolder(run_dir)
    scores.save(run.clip_scores)
    stock = data.inventory()
    stock[subset]["failed"] = {video_id: str(error) for video_id, error in failures.items()}
    write_json(run.videos_json, stock)
    describe = _Describe(
        given, networks, cfg, watch, selections, num_videos=len(videos), num_missing=len(data.missing[subset]),
        num_failed=len(failures), timed=not cached,
    )  # fmt: skip
    rows = evaluate_rows(
        scores,
        selections,
        schemes,
        can=networks.can,
        describe=describe,
        consensus=consensus,
    )
    write_json(run.results_json, rows)
    write_atomically(run.results_csv, csv_text(rows, FIELDS))
    if not run.environment_json.is_file():
        write_json(run.environment_json, environment())
    dataset = rows[0]["dataset"]
    title = f"{dataset}, {len(videos)} {kind_of_videos(dataset)} (rates in %)"
    console.print(results_table(rows, title=title).terminal())
    statistics = None
    if number := cfg.test.get("bootstrap", 0):
        found = evaluation_of(str(run_dir), rows, scores, selections)
        statistics = write_statistics(found, run_dir, number=number, console=console)
    if cfg.test.get("figures", True):
        _figures(rows, statistics, scores, videos, data, networks, schemes[0], run.figures)
    if tracker is not None and tracker.loggers:
        role, leader = next(iter(given.items()))
        step = leader.recognizer.global_step
        tracker.log_evaluation(
            EvaluationDetails(rows, scores, selections, schemes, consensus, videos, data.reader, role, step, subset)
        )
    console.print(f"written: {run_dir}")
    return rows


def _networks(given: Mapping[str, build.Trained]) -> Networks:
    classifiers = {role: given[role].recognizer for role in ("baseline", "dsn", "max_response") if role in given}
    samplers = {}
    for role in ("dsn", "dsn_fixed"):
        if role in given:
            recognizer = given[role].recognizer
            if not isinstance(recognizer, DSN):
                raise UsageError(f"{role}={given[role].path}: has no observation network; it is a baseline")
            samplers[role] = recognizer
    if "dsn_fixed" in samplers:  # DSN-f shares the baseline's classifier
        if "baseline" in given:
            fixed = f"dsn_fixed={given['dsn_fixed'].path}"
            build.check_shared(samplers["dsn_fixed"], given["baseline"], fixed=fixed, key="baseline")
        classifiers.setdefault("baseline", samplers["dsn_fixed"])
    return Networks(classifiers, samplers)


class _Describe:
    """Fills a row's fields that are no metrics."""

    def __init__(
        self,
        given: Mapping[str, build.Trained],
        networks: Networks,
        cfg: DictConfig,
        watch: Stopwatch,
        selections: Sequence[Selection],
        *,
        num_videos: int,
        num_missing: int,
        num_failed: int,
        timed: bool,
    ) -> None:
        self.given = given
        self.timed = timed  # the networks' whole time, not that behind stored activations
        self.cfg = cfg
        self.watch = watch
        self.counts = {"videos": num_videos, "videos_missing": num_missing, "videos_failed": num_failed}
        b = cfg.backbone
        clip = (CHANNELS[modality(cfg)], b.frames_per_clip, b.crop_size, b.crop_size)
        self.macs = {  # of a clip, all the windows that are looked at
            n: macs_per_clip(r.classifier, clip) * crops_seen(n, selections, cfg.test.crops)
            for n, r in networks.classifiers.items()
        }
        self.macs |= {
            f"{n} sampler": macs_per_clip(s.observation, clip, clips_per_section=cfg.test.N)
            for n, s in networks.samplers.items()
        }

    def __call__(self, selection: Selection, scheme: Scheme, classifier: str, num_clips: int) -> Row:
        """Return the fields of `table.FIELDS` that `table.measure` does not."""
        source = selection.sampler or classifier  # whose run decides what is seen
        answering = self.given.get(classifier) or self.given["dsn_fixed"]  # which shares the baseline's classifier
        trained = self.given.get(source) or answering
        learned = selection.sampler in ("dsn", "dsn_fixed")
        watcher = None if selection.sampler is None else f"{source} sampler" if learned else source
        candidates = scheme.num_sections * scheme.clips_per_section
        oracle = selection.name.startswith("oracle")  # knows the label: its cost means nothing
        cost = None if oracle else VideoCost.of(
            clips=num_clips, classifier=self.macs[classifier],
            candidates=candidates, observation=self.macs[watcher] if watcher else 0.0,
        )  # fmt: skip
        seconds = num_clips * (self.watch.per_clip(classifier) or 0.0)
        if watcher:
            seconds += candidates * (self.watch.per_clip(watcher) or 0.0)
        return {
            "dataset": name_in_results(self.cfg),
            "split": self.cfg.dataset.get("split"),
            "modality": modality(self.cfg),
            "selection": selection.name,
            "classifier": classifier,
            "algorithm": trained.cfg.algorithm.name,
            "backbone": answering.cfg.backbone.name,
            "observation": trained.cfg.observation.name if learned else None,
            "estimator": trained.cfg.estimator["_target_"].rsplit(".", 1)[-1] if learned else None,
            "seed": trained.cfg.seed,
            "gamma": trained.cfg.gamma if learned else None,
            "train_M": trained.cfg.M,
            "train_N": trained.cfg.N if learned else None,
            "M": scheme.num_sections,
            "N": scheme.clips_per_section,
            "crops": self.cfg.test.crops,
            "gmacs_classifier": cost and cost.classifier,
            "gmacs_observation": cost and cost.observation,
            "gmacs": cost and cost.total,
            **self.counts,
            "seconds_per_video": None if oracle or not self.timed else seconds,
        }


def _figures(
    rows: Sequence[Row],
    statistics: dict[str, Any] | None,
    scores: ClipScores,
    videos: Sequence[Any],
    data: SectionClipDataModule,
    networks: Networks,
    scheme: Scheme,
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cost_figure(rows, folder / "accuracy_vs_gmacs.png")
    if statistics is not None:
        class_figure(statistics, folder / "classes.png")
    if networks.samplers:
        sampler = next(iter(networks.samplers))
        chosen = sheet_videos(len(videos))
        contact_sheets(scores, sampler, scheme, videos, chosen, data.reader, folder / f"clips_{sampler}.png")
