"""From settings to objects: data sets, data modules, networks, recognisers, selection methods."""

from collections.abc import Mapping
from typing import Any

from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.config.build_part import build_decoder, build_part, build_source
from dsn_lightning.config.loader_workers import loader_workers, trains_on_gpu
from dsn_lightning.config.setting_rules import Node
from dsn_lightning.config.settings import BackboneSettings, ObservationSettings, ScheduleSettings, Settings
from dsn_lightning.data.datamodule import BatchLoading, ClipScheme, SectionClipDataModule
from dsn_lightning.data.inventory import BadVideoPolicy, Reading
from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import check_estimator
from dsn_lightning.observations.observation_network import ObservationNetwork, check_observation_network, may_skip
from dsn_lightning.prepare.video_index import prepare_source
from dsn_lightning.rewards.reward import check_reward
from dsn_lightning.selections import Selection, check_selection
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.modality import CHANNELS, FLOW_MEAN


def build_datamodule(settings: Settings) -> SectionClipDataModule:
    """Return the data module that the settings describe."""
    reading, backbone = settings.dataset.reading, settings.backbone
    scales = [s for s in reading.scales if round(s * backbone.crop_size) <= min(backbone.frame_size)]
    if not scales:
        raise UsageError(
            f"dataset.reading.scales={list(reading.scales)}: none of these times backbone.crop_size="
            f"{backbone.crop_size} fits into backbone.frame_size={list(backbone.frame_size)}"
        )
    train_n = settings.algorithm.train_N
    resize = "squash" if settings.dataset.modality == "flow" else reading.resize  # flow is stored at one size
    if reading.crop_on_device and (backbone.cache_activations or resize == "short_side"):
        stored = "stored activations have no windows to cut; set backbone.cache_activations=false"
        sizes = "the frames of all videos must have one size; set dataset.reading.resize=squash or letterbox"
        raise UsageError(f"dataset.reading.crop_on_device=true: {stored if backbone.cache_activations else sizes}")
    return SectionClipDataModule(
        build_source(settings.dataset),
        crop=Crop(backbone.frame_size, backbone.crop_size, tuple(scales), reading.flip, reading.corners, resize=resize),
        scheme=ClipScheme(
            num_sections=settings.M,
            clips_per_section=train_n,
            test_num_sections=settings.test.M[0],
            test_clips_per_section=1 if train_n == 1 else settings.test.N,
            frames_per_clip=backbone.frames_per_clip,
            frame_stride=backbone.frame_stride,
            placement=reading.placement,
            warmup_epochs=settings.algorithm.warmup_epochs,
        ),
        loading=BatchLoading(
            settings.schedule.batch_size,
            *loader_workers(settings),
            pin_memory=trains_on_gpu(settings.trainer),
            crop_on_device=reading.crop_on_device,
            same_batches=settings.trainer.overfit_batches > 0,
        ),
        reading=Reading(
            decoder=build_decoder(reading.decoder),
            fps=settings.dataset.fps,
            modality=settings.dataset.modality,
            copies=reading.copies or None,
            cache_frames=reading.cache_frames,
        ),
        bad_videos=BadVideoPolicy(reading.on_bad_video, reading.max_bad, reading.max_missing, reading.on_damage),
        prepared=reading.prepared,
        seed=settings.seed,
    )


def build_classifier(backbone: BackboneSettings, *, num_classes: int, modality: str) -> ClipNetwork:
    """Return the classifier with fresh weights, checked against its contract; it is told the channels unless RGB's."""
    key = "backbone.network"
    network: ClipNetwork = build_part(backbone.network, key, num_classes=num_classes, **_channels(modality))
    check_clip_network(network, key=key)
    return network


def build_observation(observation: ObservationSettings, *, num_classes: int, modality: str) -> ObservationNetwork:
    """Return the checked observation network with fresh weights; a trunk that classifies gets ``num_classes``."""
    arguments = _channels(modality)
    if observation.classifies:
        arguments["num_classes"] = num_classes
    nested: dict[str, Any] = {"trunk": arguments} if arguments and observation.trunk is not None else arguments
    key = "observation.network"
    network: ObservationNetwork = build_part(observation.network, key, **nested)
    check_observation_network(network, key=key)
    return network


def _channels(modality: str) -> dict[str, Any]:
    return {} if modality == "rgb" else {"in_channels": CHANNELS[modality]}


def build_recognizer(settings: Settings, num_classes: int) -> Recognizer:
    """Return the recogniser that the settings describe, with fresh weights."""
    modality, backbone = settings.dataset.modality, settings.backbone
    networks: dict[str, Any] = {"classifier": build_classifier(backbone, num_classes=num_classes, modality=modality)}
    if settings.algorithm.has_sampler:
        networks["observation"] = build_observation(settings.observation, num_classes=num_classes, modality=modality)
        networks["estimator"] = build_part(settings.estimator, "estimator")
        check_estimator(networks["estimator"], key="estimator")
        networks["reward"] = check_reward(build_part(settings.reward, "reward"), key="reward")
        _check_skipping(settings, networks["observation"], networks["estimator"])
    flow = modality == "flow"
    recognizer: Recognizer = build_part(settings.algorithm.module, "algorithm.module")(
        **networks,
        schedule=build_part(settings.schedule.rule, "schedule.rule"),
        mean=list(FLOW_MEAN if flow else backbone.mean),
        std=list(backbone.flow_std if flow else backbone.std),
        seed=settings.seed,
        gradient_clip=settings.schedule.gradient_clip,
        accumulate=settings.schedule.accumulate,
        finetuning=finetuning_of(settings.schedule),
        on_nonfinite=settings.schedule.on_nonfinite,
    )
    return recognizer


def _check_skipping(settings: Settings, observation: ObservationNetwork, estimator: object) -> None:
    """Refuse a price of kept clips, or the choice to skip sections, that would have no effect."""
    price = settings.reward.get("price", 0)
    if not may_skip(observation):
        if isinstance(price, int | float) and price > 0:
            raise UsageError(
                f"reward.price={price}: this sampler keeps a clip of every section, whatever the price; allow it to "
                "skip sections with observation.network.may_skip=true"
            )
        return
    if settings.M == 1:
        raise UsageError(
            "observation.network.may_skip=true: at least one clip is kept, so M must be at least 2, got M=1"
        )
    if getattr(estimator, "ignores_reward", False):
        raise UsageError(
            "observation.network.may_skip=true: this estimator does not optimise the reward, so it would not learn "
            "which sections to skip; choose another estimator"
        )


def finetuning_of(schedule: ScheduleSettings) -> FineTuning:
    """Return what a schedule freezes and how it makes parameter groups."""
    return FineTuning(
        batch_norm=schedule.batch_norm,
        decay_norm_and_bias=schedule.decay_norm_and_bias,
        head_lr=schedule.head_lr,
        sampler_head_lr=schedule.sampler_head_lr,
    )


def check_schedule(schedule: ScheduleSettings) -> None:
    """Refuse a schedule that cannot be followed, before anything costly starts."""
    build_part(schedule.rule, "schedule.rule")
    if schedule.sampler_rule is not None:
        build_part(schedule.sampler_rule, "schedule.sampler_rule")


def check_holds_out(source: VideoSource, settings: Settings) -> None:
    """Refuse a data set without the videos held out of training that ``test.subset=val`` is to evaluate on."""
    if settings.test.subset != "val":
        return
    prepare_source(source, settings.dataset.reading.prepared)
    if not source.records("val"):
        raise UsageError(
            f"test.subset=val: dataset={settings.dataset.name} has no held-out videos; use dataset.val_fraction=0.2"
        )


def build_selections(nodes: Mapping[str, Node | None]) -> list[Selection]:
    """Return the selection methods of a configuration, in its order, each checked against its contract."""
    found = [build_part(node, f"selection.{name}") for name, node in nodes.items() if node is not None]
    return [check_selection(selection) for selection in found]
