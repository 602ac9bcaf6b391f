"""The comparison of selection methods, from checkpoints and videos to files: plan, score, write, show."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.progress import track

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.cli.evaluation_output import draw_contact_sheets, show_results, wide_console, write_rows
from dsn_lightning.cli.frozen_features_recipe import share_frozen_blocks, use_frozen_features
from dsn_lightning.config.build import build_datamodule, build_selections, check_holds_out
from dsn_lightning.config.build_loggers import tracked
from dsn_lightning.config.compose import names_in_group
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.loader_workers import loader_workers
from dsn_lightning.config.row_description import RowDescription
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_places import refuse_lists, refuse_places
from dsn_lightning.config.stored_settings import DATASET_PARTS, check_stored_parts
from dsn_lightning.config.trained import (
    Trained,
    check_algorithm,
    check_clips_per_section,
    check_fits,
    check_shared_classifier,
    load_trained,
)
from dsn_lightning.config.video_counts import check_has_videos, results_basis
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.inventory import digests_of
from dsn_lightning.datasets.annotations import LIST_ARGUMENTS
from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.clip_loading import Loading
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.evaluation.learning_checks import policy_messages
from dsn_lightning.evaluation.outcomes import evaluation_of
from dsn_lightning.evaluation.results import Row, evaluate_rows
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.scores_file import SCORES_DIGEST, digest_of_scores
from dsn_lightning.evaluation.scoring import Networks, ScoringPlan, score_videos
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.evaluation.stopwatch import Stopwatch
from dsn_lightning.files import write_json
from dsn_lightning.launch.process_rank import process_rank, started_as_one_of_many
from dsn_lightning.launch.processes import run_processes
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.exit_codes import STOPPED_BY_CTRL_C
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.selections import BASELINE_CLASSIFIER, MaxResponse, Scheme
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.training.lightning_advice import hide_lightning_advice
from dsn_lightning.training.seen_videos import among, check_held_out
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

COMMAND = "dsn-evaluate"


def evaluate(settings: EvaluationSettings) -> None:
    """Load the runs that are named, compare all methods and write the results; in several processes if asked."""
    folder, devices = settings.folder, settings.devices
    folder.mkdir(parents=True, exist_ok=True)
    if 0 < torch.cuda.device_count() < devices:
        raise UsageError(f"devices={devices}: this machine has {torch.cuda.device_count()} GPUs")
    if devices > 1 and not started_as_one_of_many():
        code = run_processes(_be_one_of_many, (settings,), count=devices, folder=folder)
        if code == STOPPED_BY_CTRL_C:
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
        return
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1 and started_as_one_of_many()
    if several:
        torch.distributed.init_process_group("nccl" if torch.cuda.device_count() else "gloo")
    try:
        with nullcontext() if process_rank() else RunFolder(folder).hold():
            _evaluate(settings)
    finally:
        if several:
            torch.distributed.destroy_process_group()


def _be_one_of_many(settings: EvaluationSettings) -> None:
    with one_line_errors(COMMAND):
        evaluate(settings)


def _evaluate(given: EvaluationSettings) -> None:
    hide_lightning_advice()
    runs = load_runs(given)
    leader = next(iter(runs.values()))
    if not given.replaces_dataset:
        check_stored_parts(leader.settings, DATASET_PARTS, where=str(leader.path), trusted=given.trust)
    settings = given.completed_by(leader.settings)
    device = torch.device("cpu")
    if torch.cuda.device_count():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    with tracked(settings, settings.logger, job_type="evaluate", runs=runs) as tracker:
        refuse_lists(settings, where=str(leader.path), given=_given_keys(given))
        data = build_datamodule(settings)
        check_stored_places(given, settings, data.source, where=str(leader.path))
        data.prepare_data()
        check_holds_out(data.source, settings)
        data.setup("validate" if settings.test.subset == "val" else "test")
        data.check_processes_agree()
        tracker.add_to_config(data_digest=digests_of(data.inventory()))
        evaluate_trained(runs, settings, data, device=device, keys=given.networks, seed=settings.seed, tracker=tracker)


def check_stored_places(given: EvaluationSettings, settings: Settings, source: VideoSource, *, where: str) -> None:
    """Refuse a checkpoint that would make files in places which neither the command line nor this folder leads to.

    See `refuse_places`.

    Raises:
        UsageError: such a folder is named by the checkpoint alone, and does not exist already.
    """
    remedy = "give {key}=DIR to use it"
    refuse_places(settings, where=where, remedy=remedy, source=source, given=_given_keys(given))


def _given_keys(given: EvaluationSettings) -> list[str]:
    """Return those keys of the data set that name files or folders and that the command line gives."""
    paths = [("root",), ("reading", "prepared"), *((name,) for name in LIST_ARGUMENTS)]
    return [f"dataset.{'.'.join(path)}" for path in paths if given.gives_dataset(*path)]


def load_runs(given: EvaluationSettings) -> dict[str, Trained]:
    """Load the checkpoints that are named; the one given as ``checkpoint`` goes by its algorithm and comes first."""
    named = {name: path for name, path in given.networks.items() if path is not None}
    if given.checkpoint is None and not named:
        keys = ", ".join(f"{key}=PATH" for key in ("checkpoint", *given.networks))
        raise UsageError(f"nothing to evaluate: give at least one of {keys}")
    runs: dict[str, Trained] = {}
    if given.checkpoint is not None:
        trained = load_trained(given.checkpoint, key="checkpoint", trusted=given.trust)
        name = trained.settings.algorithm.name
        if name in named:
            raise UsageError(f"checkpoint={trained.path}: is a run of algorithm={name}, and {name}= is given as well")
        runs[name] = trained
    for name, path in named.items():
        runs[name] = load_trained(path, key=name, trusted=given.trust)
        if name in names_in_group("algorithm"):
            check_algorithm(runs[name], name, key=name)
        elif name == MaxResponse.sampler:
            check_algorithm(runs[name], BASELINE_CLASSIFIER, key=name)
    return runs


@dataclass(frozen=True)
class EvaluationPlan:
    """What is scored, by the networks of which runs."""

    runs: Mapping[str, Trained]
    networks: Networks
    scoring: ScoringPlan
    settings: Settings


@dataclass(frozen=True)
class Scored:
    """What one pass of the networks over the videos gave."""

    scores: ClipScores
    videos: Sequence[Video]  # that could be read
    watch: Stopwatch | None  # None where stored activations stood in for the first blocks
    failures: Mapping[str, VideoError]  # of the others, by video id


def evaluate_trained(
    runs: Mapping[str, Trained],
    settings: Settings,
    data: SectionClipDataModule,
    *,
    device: torch.device,
    keys: Collection[str] | None = None,
    seed: int = 0,
    tracker: Tracker | None = None,
) -> list[Row]:
    """Compare all selection methods that the runs allow; write the results to the run's folder and print them.

    In several processes the first one writes and prints.

    Args:
        runs: by the name under which selection methods and rows know them.
        settings: data set, tests and selection methods.
        data: set up for them.
        device: where the networks run.
        keys: of the command that name a run; None if it gives only this run's rows.
        seed: seed of the random draws.
        tracker: gets the results as well.
    """
    first = process_rank() == 0
    console = wide_console(quiet=not first)
    evaluation = plan(runs, settings, data, seed=seed)
    if keys is not None:
        console.print(test_summary(evaluation.scoring, list(runs), settings.dataset.name), soft_wrap=True, markup=False)
    announce_missing_rows(evaluation, console, keys=keys)
    check_seen_videos(evaluation, console)
    scored = score(evaluation, data, device=device)
    if not first:
        return []
    rows = write_scores(evaluation, scored, data, console)
    dataset, selections = rows[0]["dataset"], evaluation.scoring.selections
    title = f"{dataset}, {len(scored.videos)} {kind_of_videos(dataset)} (rates in %)"
    outcomes = evaluation_of(str(settings.folder), rows, scored.scores, selections)
    outcomes = replace(outcomes, policy_messages=tuple(policy_messages(scored.scores)))
    show_results(rows, outcomes, settings, console, title=title)
    details = _details(evaluation, scored, data, rows)
    if settings.test.figures:
        draw_contact_sheets(details, evaluation.networks.samplers, settings.folder)
    if tracker is not None and tracker.loggers:
        tracker.log_evaluation(details)
    console.print(f"written: {settings.folder}")
    return rows


def plan(
    runs: Mapping[str, Trained], settings: Settings, data: SectionClipDataModule, *, seed: int = 0
) -> EvaluationPlan:
    """Return what is to be scored; runs that do not fit the test or each other are refused."""
    for name, trained in runs.items():
        check_fits(trained, classes=data.classes, settings=settings, key=name)
        if trained.settings.algorithm.has_sampler:
            check_clips_per_section(trained.recognizer, settings.test.N, where=f"{name}={trained.path}")
    check_has_videos(data, settings)
    test, reading = settings.test, settings.dataset.reading
    how = (data.reader.clip_span, reading.dense_clips, test.random_draws, seed, reading.placement)
    schemes = [Scheme(m, test.N, *how) for m in test.M]
    scoring = ScoringPlan(
        videos=data.videos(test.subset),
        selections=build_selections(settings.selection),
        schemes=schemes,
        classes=data.classes,
        consensus=next(iter(runs.values())).settings.algorithm.consensus,
        crops=test.crops,
    )
    return EvaluationPlan(runs, networks_of(runs), scoring, settings)


def test_summary(scoring: ScoringPlan, runs: Sequence[str], dataset: str) -> str:
    """Return a line that says what an evaluation compares on which videos."""
    methods = ", ".join(selection.name for selection in scoring.selections)
    schemes = ", ".join(f"{scheme.num_sections}:{scheme.clips_per_section}" for scheme in scoring.schemes)
    return f"{dataset}: {len(scoring.videos)} videos, M:N {schemes}; runs: {', '.join(runs)}; methods: {methods}"


def networks_of(runs: Mapping[str, Trained]) -> Networks:
    """Return the classifiers and samplers of the runs; a frozen classifier stands for the baseline's."""
    runs = dict(sorted(runs.items()))
    classifiers = {name: run.recognizer for name, run in runs.items() if not run.settings.algorithm.freezes_classifier}
    samplers = {name: run.recognizer for name, run in runs.items() if isinstance(run.recognizer, DSN)}
    for name, run in runs.items():
        if run.settings.algorithm.freezes_classifier:
            if baseline := runs.get(BASELINE_CLASSIFIER):
                check_shared_classifier(run.recognizer, baseline, where=f"{name}={run.path}", key=BASELINE_CLASSIFIER)
            classifiers.setdefault(BASELINE_CLASSIFIER, run.recognizer)
    return Networks(classifiers, samplers)


def announce_missing_rows(evaluation: EvaluationPlan, console: Console, *, keys: Collection[str] | None) -> None:
    """Print which rows are left out and which of ``keys`` gives each; it is an error if none is left."""
    networks = evaluation.networks
    rows = [(method, classifier) for method in evaluation.scoring.selections for classifier in method.classifiers]
    left_out: dict[str, list[str]] = {}  # missing run -> rows
    for selection, classifier in rows:
        if not networks.can(selection, classifier):
            one = len(selection.classifiers) == 1
            row = selection.name if one else f"{selection.name} with the {classifier} classifier"
            left_out.setdefault(networks.missing(selection, classifier), []).append(row)
    if keys is not None:
        for name, without in left_out.items():
            of_algorithm = "checkpoint" if name in names_in_group("algorithm") else f"networks.{name}"
            key, which = name if name in keys else of_algorithm, "this row" if len(without) == 1 else "these rows"
            line = f"{', '.join(without)}: give {key}=CHECKPOINT for {which}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    elif left_out:
        console.print("these are the rows that this run gives by itself; dsn-evaluate compares several runs")
    if not any(networks.can(selection, classifier) for selection, classifier in rows):
        raise UsageError("no selection method can be evaluated with the given runs; see the lines above")


def check_seen_videos(evaluation: EvaluationPlan, console: Console) -> None:
    """Refuse runs that were trained on held-out videos, and warn of those that were trained on test videos."""
    ids = [video.record.video_id for video in evaluation.scoring.videos]
    for name, trained in evaluation.runs.items():
        where = f"{name}={trained.path}"
        if evaluation.settings.test.subset == "val":
            check_held_out(trained.trained_on, ids, where=where)
        elif seen := among(trained.trained_on, ids):
            console.print(
                f"warning: {where}: was trained on {len(seen)} of the {len(ids)} test videos, or started from a run "
                f"that was ({seen[0]}{', ...' if len(seen) > 1 else ''}); was it trained for this split?",
                soft_wrap=True,
                markup=False,
            )


def score(evaluation: EvaluationPlan, data: SectionClipDataModule, *, device: torch.device) -> Scored:
    """Run every network once over every clip that some method may need."""
    settings, scoring = evaluation.settings, evaluation.scoring
    recognizers = [trained.recognizer for trained in evaluation.runs.values()]
    stored = settings.backbone.cache_activations and scoring.crops == 1 and share_frozen_blocks(recognizers)
    if stored:
        use_frozen_features(settings, data, recognizers, device=device, subsets=(settings.test.subset,))
    progress, workers = PrintableConsole(stderr=True, quiet=process_rank() != 0), loader_workers(settings)
    scores, watch, failed = score_videos(
        scoring,
        data.network_reader if stored else data.reader,
        evaluation.networks,
        device=device,
        loading=Loading(
            num_workers=workers.number,
            start_method=workers.start,
            timeout=data.loader_timeout(),
            skip_bad=data.bad_video_policy.skip,
        ),
        track=lambda loop: track(loop, f"Scoring {len(scoring.videos)} videos", len(loop), console=progress),
    )
    videos = [video for video in scoring.videos if video.record.video_id not in failed]
    failures = {**data.bad[settings.test.subset], **failed}
    return Scored(scores, videos, None if stored else watch, failures)


def write_scores(
    evaluation: EvaluationPlan, scored: Scored, data: SectionClipDataModule, console: Console
) -> list[Row]:
    """Write clip scores, the inventory of videos and the rows of results; returns the rows."""
    settings, scoring = evaluation.settings, evaluation.scoring
    run, subset = RunFolder(settings.folder), settings.test.subset
    for video_id, error in scored.failures.items():
        console.print(f"counted as failed: {video_id} ({error})", soft_wrap=True, markup=False)
    run.path.mkdir(parents=True, exist_ok=True)
    run.remove_results()
    scored.scores.save(run.clip_scores)
    inventory = data.inventory()
    inventory[subset]["failed"] = {video_id: str(error) for video_id, error in scored.failures.items()}
    write_json(run.videos_json, inventory)
    describe = RowDescription(
        evaluation.runs,
        evaluation.networks,
        settings,
        scoring.selections,
        watch=scored.watch,
        counts={
            "videos": len(scored.videos),
            "videos_missing": len(data.missing[subset]),
            "videos_failed": len(scored.failures),
        },
    )
    rows = evaluate_rows(
        scored.scores,
        scoring.selections,
        scoring.schemes,
        can=evaluation.networks.can,
        describe=describe,
        consensus=scoring.consensus,
    )
    facts = read_json(run.environment_json) or environment()
    basis = results_basis(evaluation.runs, evaluation.networks.classifiers, data, settings)
    write_json(run.environment_json, {**facts, **basis, SCORES_DIGEST: digest_of_scores(run.clip_scores)})
    write_rows(rows, run)
    return rows


def _details(
    evaluation: EvaluationPlan, scored: Scored, data: SectionClipDataModule, rows: Sequence[Row]
) -> EvaluationDetails:
    name, leader = next(iter(evaluation.runs.items()))
    scoring = evaluation.scoring
    return EvaluationDetails(
        rows=rows,
        scores=scored.scores,
        selections=scoring.selections,
        schemes=scoring.schemes,
        consensus=scoring.consensus,
        videos=scored.videos,
        reader=data.reader,
        role=name,
        step=leader.recognizer.batches_seen,
        subset=evaluation.settings.test.subset,
    )
