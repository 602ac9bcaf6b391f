"""The training of one recogniser, from its settings to its test: assemble, fit, test."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.weights import WeightsError, load_exactly, tensors_of
from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.cli.trainer_recipe import check_trainer_flags, make_callbacks, make_trainer
from dsn_lightning.config.build import (
    build_datamodule,
    build_recognizer,
    build_selections,
    check_holds_out,
    check_schedule,
)
from dsn_lightning.config.build_loggers import tracked
from dsn_lightning.config.build_part import build_source
from dsn_lightning.config.initial_weights import Start, start_from
from dsn_lightning.config.process_counts import check_processes, num_local_processes, num_processes
from dsn_lightning.config.resuming import START_AGAIN, content_to_resume, new_run_id, run_id_of
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import keys_left_to_auto, with_shared_trainings
from dsn_lightning.config.trained import (
    RECORD_KEY,
    Trained,
    check_algorithm,
    check_clips,
    check_clips_per_section,
    check_fits,
    check_shared_classifier,
    checkpoint_record,
    load_trained,
)
from dsn_lightning.config.video_counts import check_has_videos, video_counts
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.inventory import digests_of
from dsn_lightning.datasets.records import SUBSETS
from dsn_lightning.errors import UsageError
from dsn_lightning.files import remove_leftovers, write_atomically, write_json
from dsn_lightning.launch.process_rank import process_rank, started_as_one_of_many
from dsn_lightning.launch.processes import run_processes
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.machine_faults import fault_of
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.status import correct_exit_code, recorded_status, was_requeued
from dsn_lightning.selections import BASELINE_CLASSIFIER
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.training.announcements import (
    Step,
    Subject,
    missing_videos_messages,
    print_interruption,
    step_summary,
    subject_summary,
)
from dsn_lightning.training.checkpoints import LastCheckpoint, Stopped, is_restoring
from dsn_lightning.training.compilation import check_compiler, compiled
from dsn_lightning.training.lightning_advice import hide_lightning_advice
from dsn_lightning.training.seen_videos import check_held_out, hashes_of, joined
from dsn_lightning.training.tensor_cores import using_tf32
from dsn_lightning.training.weight_average import AveragedWeights

COMMAND = "dsn-train"


def train(settings: Settings) -> None:
    """Train what the settings describe, write checkpoints and metrics to the run's folder, and test it.

    One call is one training: in this process, or in those that ``trainer.devices`` sets.

    Raises:
        SystemExit: with the exit code of the process that failed, or 143 after SIGTERM, 130 after one Ctrl-C.
    """
    hide_lightning_advice()
    run = RunFolder(settings.folder)
    if not settings.resume and was_requeued(run):
        settings = settings.changed({"resume": True})
    if not settings.resume and run.was_saved():  # a job of Hydra's other launchers
        run.refuse_existing(where=f"run_dir={run.path}")
    began = datetime.now(UTC).replace(microsecond=0)
    check_schedule(settings.schedule)
    build_selections(settings.selection)  # what the test would refuse is refused before the training
    check_processes(settings)
    check_trainer_flags(settings)
    if settings.compile:
        check_compiler()
        if settings.backbone.network.get("checkpoint_activations"):
            raise UsageError("compile=true: does not go with backbone.network.checkpoint_activations=true")
    if settings.test.subset == "val":
        check_holds_out(build_source(settings.dataset), settings)
    if settings.trainer.num_nodes == 1 and not started_as_one_of_many():
        settings = with_shared_trainings(settings, train)
    elif left := keys_left_to_auto(settings):
        raise UsageError(
            f"{left[0]}=auto: on several nodes, or started by another program, a run cannot train what is missing; "
            "give the PATH"
        )
    if num_processes(settings.trainer) == 1 or started_as_one_of_many():
        _train_as_one_process(settings)
        return
    settings.folder.mkdir(parents=True, exist_ok=True)
    count, nodes = num_local_processes(settings.trainer), settings.trainer.num_nodes
    code = run_processes(_be_one_of_many, (settings,), count=count, folder=settings.folder, num_nodes=nodes)
    if code:
        correct_exit_code(RunFolder(settings.folder), code, since=began)
        sys.exit(code)


def _be_one_of_many(settings: Settings) -> None:
    with one_line_errors(COMMAND):
        _train_as_one_process(settings)


def _train_as_one_process(settings: Settings) -> None:
    """Be one of the processes of a training, or the only one. The first one holds the run's folder.

    It keeps the resolved configuration there, which ``resume=`` goes on with.
    """
    hide_lightning_advice()
    run = RunFolder(settings.folder)
    try:
        if process_rank():
            with tracked(settings, settings.logger, job_type="train") as tracker:
                assemble_fit_test(settings, tracker, {})
            return
        run.path.mkdir(parents=True, exist_ok=True)
        with (
            run.hold(),
            recorded_status(run) as status,
            tracked(settings, settings.logger, job_type="train") as tracker,
        ):
            remove_leftovers(run.path)
            if not settings.resume or not run.run_id.is_file():
                new_run_id(run)
            if not settings.resume:
                write_atomically(run.config_yaml, yaml.safe_dump(dict(settings.plain), sort_keys=False))
            write_json(run.config_json, settings.plain)
            assemble_fit_test(settings, tracker, status)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def assemble_fit_test(settings: Settings, tracker: Tracker, status: dict[str, Any]) -> None:
    """Do the whole of a training in this process; what its status records about the steps is added to ``status``."""
    parts = assemble(settings)
    try:
        trainer = fit(settings, parts, tracker)
    finally:
        if parts.recognizer.steps.skips:
            status["skipped_steps"] = {n: parts.recognizer.steps.skipped[n] for n in parts.recognizer.optimizer_names}
    if not settings.test.enabled:
        return

    from dsn_lightning.cli.evaluate_recipe import evaluate_trained  # evaluation is not needed to train

    path, classes = RunFolder(settings.folder).last_checkpoint, list(parts.data.classes)
    trained = Trained(parts.recognizer.eval(), settings, classes, path, parts.trained_on, parts.basis)
    runs = {settings.algorithm.name: trained, **parts.compared}
    device = trainer.strategy.root_device
    rows = evaluate_trained(runs, settings, parts.data, device=device, tracker=tracker)
    if rows and settings.test.linear_probe and settings.classifier.checkpoint is None:
        from dsn_lightning.cli.linear_probe_recipe import compare_with_linear_probe  # imports scikit-learn

        status["linear_probe"] = compare_with_linear_probe(rows, settings, parts.data, device=device)


@dataclass(frozen=True)
class TrainingParts:
    """What a training is made of."""

    data: SectionClipDataModule  # set up
    recognizer: Recognizer  # with the weights that it starts from
    trained_on: Tensor | None  # see `Trained`
    basis: Mapping[str, Any]  # likewise
    compared: Mapping[str, Trained]  # by its test, by name


def assemble(settings: Settings) -> TrainingParts:
    """Return the parts of a training, checked against each other."""
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    data = build_datamodule(settings)
    data.prepare_data()
    data.setup()
    recognizer = build_recognizer(settings, len(data.classes))
    check_clips(recognizer, settings)
    start = _resume_or_start(recognizer, settings, data)
    if not data.videos("train"):
        raise UsageError(f"dataset={settings.dataset.name}: has no training videos")
    if settings.test.enabled:
        check_has_videos(data, settings, remedy="; test.enabled=false trains without a test")
    trained_on = joined([start.seen, hashes_of(_ids(data, "train"))])
    if settings.test.subset == "val":
        check_held_out(trained_on, _ids(data, "val"), where="what this training starts from, or its own videos")
    compared = compared_runs(recognizer, settings, data) if settings.test.enabled else {}
    basis = video_counts(data, settings, "train") | {
        "classifier_from": start.classifier,
        "observation_from": start.observation,
    }
    return TrainingParts(data, recognizer, trained_on, basis, compared)


def _ids(data: SectionClipDataModule, subset: Any) -> list[str]:
    return [video.record.video_id for video in data.videos(subset)]


def _resume_or_start(recognizer: Recognizer, settings: Settings, data: SectionClipDataModule) -> Start:
    """Give a recogniser the weights of its last checkpoint, or those that it starts from; return what these were."""
    content = content_to_resume(settings) if settings.resume else None
    if content is None:
        return start_from(recognizer, settings, classes=data.classes)
    try:
        load_exactly(recognizer, tensors_of({"state_dict": content.get("state_dict")}))
    except WeightsError as error:
        raise UsageError(f"resume={settings.folder}: {RunFolder.last_checkpoint.name}: {error}") from error
    record = content.get(RECORD_KEY, {})
    basis = record.get("basis") or {}
    return Start(
        record.get("trained_on"), basis.get("classifier_from", "unknown weights"), basis.get("observation_from")
    )


def compared_runs(recognizer: Recognizer, settings: Settings, data: SectionClipDataModule) -> dict[str, Trained]:
    """Load what the run's test compares it with; what does not fit is refused before the training."""
    algorithm = settings.algorithm
    check_clips_per_section(recognizer, settings.test.N, where=f"algorithm={algorithm.name}")
    found: dict[str, Trained] = {}
    with isolate_rng():  # building networks draws numbers
        for name, path in settings.test.networks.items():
            if name == algorithm.name:
                continue
            key = f"test.{name}"
            trained = found[name] = load_trained(path, key=key, trusted=settings.trust)
            check_algorithm(trained, BASELINE_CLASSIFIER, key=key)
            check_fits(trained, classes=data.classes, settings=settings, key=key)
            if settings.test.subset == "val":
                check_held_out(trained.trained_on, _ids(data, "val"), where=f"{key}={trained.path}")
    if algorithm.freezes_classifier and BASELINE_CLASSIFIER in found:
        baseline, key = found[BASELINE_CLASSIFIER], f"test.{BASELINE_CLASSIFIER}"
        check_shared_classifier(recognizer, baseline, where="classifier.checkpoint", key=key)
    return found


def fit(settings: Settings, parts: TrainingParts, tracker: Tracker) -> pl.Trainer:
    """Train and return the Trainer, whose device the test uses; exit with 143 after SIGTERM, 130 after Ctrl-C."""
    run = RunFolder(settings.folder)
    saving = LastCheckpoint(
        run.last_checkpoint, every_n_batches=settings.checkpoint.every_n_batches, max_time=settings.trainer.max_seconds
    )
    record = checkpoint_record(
        settings,
        classes=parts.data.classes,
        trained_on=parts.trained_on,
        basis=parts.basis,
        run_id=run_id_of(run),
    )
    callbacks = [
        *make_callbacks(settings, parts.data, record, tracker),
        saving,
    ]  # behind the others, whose state it holds
    trainer = make_trainer(settings, parts.recognizer, callbacks, tracker)
    if settings.backbone.cache_activations:
        _use_frozen_features(settings, parts, trainer)
    starts_anew = settings.classifier.checkpoint is None and not settings.resume
    learns = not settings.algorithm.freezes_classifier  # a classifier that stays as it is keeps its layer of classes
    if settings.classifier.head == "logistic_regression" and starts_anew and learns:
        from dsn_lightning.cli.linear_probe_recipe import start_head  # imports scikit-learn

        start_head(parts.recognizer, parts.data, device=trainer.strategy.root_device)
    if settings.algorithm.rewards == "stored":
        _use_stored_rewards(settings, parts, trainer)
    if process_rank() == 0:
        _describe(settings, parts, trainer, tracker)
    device = trainer.strategy.root_device
    with compiled(_networks_to_compile(settings, parts.recognizer)), using_tf32(settings.trainer.tf32, device=device):
        stopped = _fit(trainer, parts, saving, resume=run.last_checkpoint if settings.resume else None)
    for callback in callbacks:
        if isinstance(callback, AveragedWeights):
            callback.copy_to(parts.recognizer)  # however the training ended
    if process_rank() == 0 and (stopped or saving.exit_code):
        epochs = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        print_interruption(epochs=epochs, max_epochs=settings.schedule.max_epochs, run_dir=settings.folder)
    if saving.exit_code:
        sys.exit(saving.exit_code)
    return trainer


def _networks_to_compile(settings: Settings, recognizer: Recognizer) -> list[nn.Module]:
    """Return the networks of a training with ``compile=true``; one in a file has no layers of PyTorch's to compile."""
    if not settings.compile:
        return []
    networks: list[nn.Module] = [] if settings.backbone.is_exported else [recognizer.classifier]
    return [*networks, recognizer.observation] if settings.algorithm.has_sampler else networks


def _fit(trainer: pl.Trainer, parts: TrainingParts, saving: LastCheckpoint, *, resume: Any) -> bool:
    """Run Lightning's loop; return whether it was stopped before its end."""
    path = resume if resume is not None and resume.is_file() else None
    try:
        trainer.fit(parts.recognizer, datamodule=parts.data, ckpt_path=path, weights_only=True)
    except Stopped:
        return True
    except UsageError:
        raise
    except Exception as error:
        if path is not None and is_restoring(error) and fault_of(error) is None:
            reason = f"the state of the training cannot be restored ({type(error).__name__}: {error})"
            raise UsageError(f"resume={path.parent.parent}: {path.name}: {reason}; {START_AGAIN}") from error
        if "DataLoader timed out" not in str(error) or not isinstance(error, RuntimeError):
            raise
        raise UsageError(
            f"data loader timed out ({error}); raise dataset.reading.decoder.deadline or lower num_workers"
        ) from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
            raise end.__context__ from None
        raise
    finally:
        saving.restore_ctrl_c()
    return False


def _use_frozen_features(settings: Settings, parts: TrainingParts, trainer: pl.Trainer) -> None:
    from dsn_lightning.cli.frozen_features_recipe import use_frozen_features

    tested = settings.test.enabled and settings.test.subset == "test"
    subsets = SUBSETS if tested else tuple(subset for subset in SUBSETS if subset != "test")
    use_frozen_features(settings, parts.data, [parts.recognizer], device=trainer.strategy.root_device, subsets=subsets)


def _use_stored_rewards(settings: Settings, parts: TrainingParts, trainer: pl.Trainer) -> None:
    from dsn_lightning.cli.stored_rewards_recipe import use_stored_rewards

    assert isinstance(parts.recognizer, DSN)
    use_stored_rewards(settings, parts.data, parts.recognizer, trainer)


def _describe(settings: Settings, parts: TrainingParts, trainer: pl.Trainer, tracker: Tracker) -> None:
    """Write what a figure depends on besides the configuration, and print what a step is made of."""
    run, data, schedule = RunFolder(settings.folder), parts.data, settings.schedule
    facts = environment(
        effective_batch_size=schedule.batch_size * schedule.accumulate,
        processes=trainer.world_size,
        fps=settings.dataset.fps or "native",
        frame_stride=settings.backbone.frame_stride,
        copies=data.copies_made_with,
        videos={subset: len(data.videos(subset)) for subset in SUBSETS},
        trained_on=dict(parts.basis),
    )
    write_json(run.environment_json, facts)
    inventory = data.inventory()
    write_json(run.videos_json, inventory)
    tracker.add_to_config(data_digest=digests_of(inventory))
    if settings.progress:
        sampled = settings.algorithm.has_sampler
        step = Step(
            batch_size=schedule.batch_size,
            accumulate=schedule.accumulate,
            processes=trainer.world_size,
            lr=schedule.lr,
            head_lr=schedule.head_lr,
            sampler_lr=schedule.sampler_lr if sampled else None,
            sampler_head_lr=schedule.sampler_head_lr if sampled else None,
        )
        subject = Subject(
            algorithm=settings.algorithm.name,
            dataset=settings.dataset.name,
            videos={subset: len(data.videos(subset)) for subset in SUBSETS},
            num_classes=len(data.classes),
            classifier=settings.backbone.name,
            num_sections=settings.M,
            sampler=settings.observation.name if sampled else None,
            clips_per_section=settings.N,
        )
        print(subject_summary(subject), step_summary(step), sep="\n")
        print(
            f"{schedule.max_epochs} epochs on {trainer.strategy.root_device}, {trainer.precision}; folder: {run.path}"
        )
        for line in missing_videos_messages(data):
            print(line)
