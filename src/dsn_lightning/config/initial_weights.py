"""What a training starts from: other runs' networks, and weights that are public or in a file."""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.backbones.exported_network import ExportedNetwork
from dsn_lightning.backbones.huggingface_network import pretrained_state
from dsn_lightning.backbones.torchvision_network import published_classes
from dsn_lightning.backbones.weights import State, WeightsError, check_tensors, load_into, read_weights, tensors_of
from dsn_lightning.config.class_names import class_rows, refuse_other_classes
from dsn_lightning.config.huggingface_files import is_model_folder, model_classes, read_model_config
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import RECORD_KEY, Trained, check_classes, check_same_clips, load_trained
from dsn_lightning.datasets.annotations import read_lines
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import replaced, user_path
from dsn_lightning.training.seen_videos import hashes_of, joined
from dsn_lightning.video.modality import CHANNELS

_ARGUMENTS_WITHOUT_WEIGHTS = {"channels_last", "checkpoint_activations", "frozen_blocks", "dropout"}
"""Arguments of networks with which the same weights fit."""
_PUBLISHED = re.compile(
    r"https://(download\.pytorch\.org/models"
    r"|github\.com/moabitcoin/ig65m-pytorch/releases/download/v1\.0\.0"
    r"|dl\.fbaipublicfiles\.com/pytorchvideo/model_zoo/kinetics"
    r"|github\.com/Atze00/MoViNet-pytorch/raw/main/weights)/[\w-]{1,200}(\.pth|\.pyth)?",
    re.ASCII,
)
"""The addresses in conf/backbone, whose files the cache of torch.hub keeps under their names."""
_ADDRESS = re.compile(r"[!-~]{1,1000}")
_OWN_CACHE = Path("~/.cache/dsn_lightning/weights")


class Origin(NamedTuple):
    """Where the weights of one network come from."""

    seen: Tensor | None  # the videos that they were trained on (`seen_videos.hashes_of`), as far as runs of ours say
    text: str  # for people


_RANDOM = "random weights"


@dataclass(frozen=True)
class Head:
    """The classification layer of weights that were made elsewhere.

    Attributes:
        classes: those of the data set, whose rows are taken if all of them are there.
        known: those that the configuration names, in the order of the rows; None where it does not.
        own: whether these are the network's own weights, whose classes the configuration names.
        required: whether it is an error if they are not; otherwise the network gets a new layer.
    """

    classes: Sequence[str]
    known: Sequence[str] | None = None
    own: bool = False
    required: bool = False


class _Found(NamedTuple):
    """Weights, before they are loaded into a network."""

    state: State
    whose: str  # for messages
    channels: int  # of a frame
    classes: (
        Sequence[str] | None
    )  # of their classification layer, in the order of its rows; None: unknown; []: no layer
    origin: Origin


@dataclass(frozen=True)
class Start:
    """What a recogniser starts from.

    Attributes:
        seen: the videos that this was trained on (`seen_videos.hashes_of`), as far as runs of ours say; None where one
            does not say.
        classifier: what the classifier starts from, for people.
        observation: likewise, of the observation network; None without one.
    """

    seen: Tensor | None
    classifier: str
    observation: str | None = None


def start_from(recognizer: Recognizer, settings: Settings, *, classes: Sequence[str]) -> Start:
    """Give a recogniser what the settings say it starts from, and return what that is."""
    classifier = _start_classifier(recognizer, settings, classes)
    if not isinstance(recognizer, DSN):
        return Start(classifier.seen, classifier.text)
    observation = _start_observation(recognizer, settings, classes)
    return Start(joined([classifier.seen, observation.seen]), classifier.text, observation.text)


def _start_classifier(recognizer: Recognizer, settings: Settings, classes: Sequence[str]) -> Origin:
    key = "classifier.checkpoint"
    if settings.classifier.checkpoint is not None:
        source = load_trained(settings.classifier.checkpoint, key=key, trusted=settings.trust)
        check_starts(source, settings, classes=classes)
        take_classifier(recognizer.classifier, source, settings)
        return Origin(source.trained_on, source.origin)
    if isinstance(recognizer.classifier, ExportedNetwork):
        _choose_outputs(recognizer.classifier, settings, classes)
        return Origin(hashes_of([]), settings.backbone.name)
    if (given := settings.weights or settings.backbone.weights) is not None:
        own = settings.weights is None  # the weights belong to the network that was chosen
        fixed = settings.algorithm.freezes_classifier
        origin = take_weights(
            recognizer.classifier,
            given,
            settings.backbone.weights_from,
            key="backbone.weights" if own else "weights",
            trusted=settings.trust,
            head=Head(classes, _known_classes(settings), own=own, required=fixed) if own or fixed else None,
        )
        trained_on = settings.backbone.weights_trained_on or {}
        return origin._replace(text=settings.backbone.name if own else trained_on.get(given, origin.text))
    if settings.algorithm.freezes_classifier:
        raise UsageError(
            f"algorithm={settings.algorithm.name} keeps a trained classifier: give it with {key}=PATH, or choose one "
            "that has the data set's classes (backbone=huggingface, or weights=NAME with its layer of classes)"
        )
    _refuse_random_frozen_blocks(recognizer.classifier, "weights")
    return Origin(hashes_of([]), _RANDOM)


def _known_classes(settings: Settings) -> Sequence[str] | None:
    """Return the classes of the classifier that one already has, in the order of its outputs; None if unknown."""
    classes = settings.backbone.classes
    if not isinstance(classes, str):
        return classes
    if not (file := user_path(classes)).is_file():
        raise UsageError(f"backbone.classes={classes}: no such file")
    return read_lines(file)


def _choose_outputs(network: ExportedNetwork, settings: Settings, classes: Sequence[str]) -> None:
    """Let an exported classifier answer with the data set's classes."""
    where = f"backbone={settings.backbone.name}"
    if settings.weights is not None:
        raise UsageError(f"weights={settings.weights}: {where} is a file, which has its own weights")
    known = _known_classes(settings)
    if known is None:
        if network.num_outputs != len(classes):
            raise UsageError(
                f"{where}: has {network.num_outputs} outputs, and the data set has {len(classes)} classes; give the "
                "names of its classes with backbone.classes=FILE, in the order of its outputs"
            )
        return
    if network.num_outputs != len(known):
        raise UsageError(f"{where}: has {network.num_outputs} outputs, and backbone.classes has {len(known)} names")
    refuse_other_classes(classes, known, where=where)
    network.keep_outputs(class_rows(classes, known) or [])


def _start_observation(recognizer: DSN, settings: Settings, classes: Sequence[str]) -> Origin:
    trunk = recognizer.observation.trunk
    observation, weights = settings.observation, settings.observation_weights
    if observation.checkpoint is not None:
        source = load_trained(observation.checkpoint, key="observation.checkpoint", trusted=settings.trust)
        take_trunk(trunk, source, classes=classes if observation.classifies else None)
        return Origin(source.trained_on, source.origin)
    if weights is not None:
        published = observation.weights_from
        return take_weights(trunk, weights, published, key="observation.weights", trusted=settings.trust)
    _refuse_random_frozen_blocks(trunk, "observation.weights")
    return Origin(hashes_of([]), _RANDOM)


def check_starts(source: Trained, settings: Settings, *, classes: Sequence[str]) -> None:
    """Refuse a run whose classifier cannot start this training; it may be of RGB where this one is of flow."""
    where = f"classifier.checkpoint={source.path}"
    check_classes(source, classes, where=where)
    check_same_clips(source, settings, where=where)
    fps, expected = source.settings.dataset.fps, settings.dataset.fps
    if fps != expected:
        raise UsageError(f"{where}: expected a run of dataset.fps={expected}, got {fps}")


def _refuse_random_frozen_blocks(network: ClipNetwork, key: str) -> None:
    if blocks := network.frozen_blocks:
        raise UsageError(
            f"{key}=null: the first {blocks} blocks of this network are frozen and would stay random; give "
            f"{key}=imagenet or PATH, or train them too: backbone.network.frozen_blocks=0 "
            "backbone.cache_activations=false"
        )


def take_classifier(target: ClipNetwork, trained: Trained, settings: Settings) -> None:
    """Copy a trained run's classifier into ``target``, from RGB to flow if need be; see `weights.across_modalities`."""
    where = f"classifier.checkpoint={trained.path}"
    found, expected = trained.settings.backbone, settings.backbone
    arguments = {**found.network, **expected.network}
    counting = sorted(arguments.keys() - _ARGUMENTS_WITHOUT_WEIGHTS)
    differing = [name for name in counting if found.network.get(name) != expected.network.get(name)]
    if differing:
        raise UsageError(
            f"{where}: expected backbone={expected.name} with {_arguments(expected.network, differing)}, got "
            f"{found.name} with {_arguments(found.network, differing)}"
        )
    modality, expected_modality = trained.settings.dataset.modality, settings.dataset.modality
    if modality != expected_modality and settings.algorithm.freezes_classifier:
        raise UsageError(
            f"{where}: algorithm={settings.algorithm.name} freezes the classifier; expected a run of "
            f"dataset.modality={expected_modality}, got {modality}"
        )
    _take(target, trained, where=where, keep_head=False)


def _arguments(network: Mapping[str, object], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={network.get(name)}" for name in names)


def take_trunk(trunk: ClipNetwork, trained: Trained, *, classes: Sequence[str] | None = None) -> None:
    """Copy a baseline's clip network into an observation network's trunk, RGB to flow if need be.

    ``classes`` are those of the trunk's classification layer, which is copied too; None if it has none.
    """
    where = f"observation.checkpoint={trained.path}"
    if classes is not None:
        check_classes(trained, classes, where=where)
    _take(trunk, trained, where=where, keep_head=classes is None)


def _take(network: ClipNetwork, trained: Trained, *, where: str, keep_head: bool) -> None:
    channels = CHANNELS[trained.settings.dataset.modality]
    _check_channels(network, channels, where=where)
    state = trained.recognizer.classifier.state_dict()
    _load(network, state, channels, where=f"{where}: its {trained.settings.backbone.name}", keep_head=keep_head)


def _check_channels(network: ClipNetwork, channels: int, *, where: str) -> None:
    if channels == CHANNELS["flow"] != network.in_channels:
        raise UsageError(f"{where}: was trained on flow, which cannot start a run of dataset.modality=rgb")


def _load(network: ClipNetwork, state: State, channels: int, *, where: str, keep_head: bool) -> None:
    """Load weights, of frames with ``channels`` channels, into a network."""
    try:
        load_into(network, state, source_channels=channels, keep_head=keep_head)
    except WeightsError as error:
        raise UsageError(f"{where} {error}") from error
    blocks = network.frozen_blocks
    if blocks and network.in_channels != channels:
        warnings.warn(
            f"flow: the first {blocks} blocks were trained on pictures and are frozen, so little is learned; lower "
            "schedule.lr (0.002 has done better than 0.01), or train them, too: backbone.network.frozen_blocks=0 "
            "backbone.cache_activations=false schedule.batch_norm=trained",
            stacklevel=2,
        )


def take_weights(
    network: ClipNetwork,
    weights: str,
    published: Mapping[str, str | None],
    *,
    key: str,
    trusted: Sequence[str] = (),
    head: Head | None = None,
) -> Origin:
    """Load pretrained weights into a clip network.

    Args:
        network: takes them.
        weights: a name in ``published``, a file of weights by name, a checkpoint, whose classifier is taken, or the
            folder of a model of transformers.
        published: name -> address; None where there are no public ones.
        key: the key of ``weights``, for messages.
        trusted: the user's packages that a checkpoint may build from.
        head: what is taken of their classification layer; None: nothing.

    Returns:
        Where they come from; the videos are known as far as it is a checkpoint of ``dsn-train``.
    """
    where = f"{key}={weights}"
    found = _find_weights(weights, published, key=key, trusted=trusted)
    _check_channels(network, found.channels, where=where)
    rows = None if head is None else _rows(head, found, network, where=where)
    state = found.state if rows is None else _with_rows(found.state, network, rows, where=where)
    _load(network, state, found.channels, where=f"{where}:{found.whose}", keep_head=rows is None)
    return found.origin


def _find_weights(weights: str, published: Mapping[str, str | None], *, key: str, trusted: Sequence[str]) -> _Found:
    """Return what `take_weights` takes."""
    where, unknown = f"{key}={weights}", hashes_of([])
    file = user_path(weights)
    if weights in published:
        file = _download(published[weights], where)
    elif is_model_folder(file):
        try:
            config = read_model_config(file)
            state, count = pretrained_state(file, config)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        classes = model_classes(config) if count else []
        return _Found(state, "", CHANNELS["rgb"], classes, Origin(unknown, file.name))
    elif file.suffix == "" and not file.exists():
        known = ", ".join(str(name) for name in published) or "none"
        raise UsageError(f"{where}: no such file, and no name of public weights for this network (known: {known})")
    try:
        content = read_weights(file)
        if RECORD_KEY in content:
            trained = load_trained(file, key=key, trusted=trusted)
            return _Found(
                trained.recognizer.classifier.state_dict(),
                f" its {trained.settings.backbone.name}",
                CHANNELS[trained.settings.dataset.modality],
                trained.classes,
                Origin(trained.trained_on, trained.origin),
            )
        classes = published_classes(str(published[weights])) if weights in published else None
        origin = Origin(unknown, weights if weights in published else file.name)
        return _Found(tensors_of(content), "", CHANNELS["rgb"], classes, origin)
    except WeightsError as error:
        raise UsageError(f"{where}: {file}: {error}" if weights in published else f"{where}: {error}") from error


def _rows(head: Head, found: _Found, network: ClipNetwork, *, where: str) -> list[int] | None:
    """Return the rows of weights' classification layer that the data set's classes have; None for a new layer."""
    known = head.known if head.own else found.classes or head.known
    if found.classes is not None and not found.classes:
        if head.required:
            raise UsageError(f"{where}: has no layer of classes; fine-tune it with algorithm=baseline")
        return None
    if head.required and found.channels != network.in_channels:
        raise UsageError(f"{where}: was trained on RGB, and a fixed classifier cannot change to flow")
    if not known:
        if head.required:
            raise UsageError(
                f"{where}: has no names of its classes; give them in the order of its outputs with "
                "+backbone.classes=[NAME,...], or fine-tune it with algorithm=baseline"
            )
        return None
    if head.required:
        refuse_other_classes(head.classes, known, where=where)
    return class_rows(head.classes, known)


def _with_rows(state: State, network: ClipNetwork, rows: Sequence[int], *, where: str) -> State:
    """Return weights with these rows alone of the classification layer."""
    head = network.head.removeprefix("model.") + "."
    names = [name for name in state if name.removeprefix("model.").startswith(head)]
    try:
        check_tensors({name: state[name] for name in names})
    except WeightsError as error:
        raise UsageError(f"{where}: {error}") from error
    if not names or any(state[name].dim() == 0 or len(state[name]) <= max(rows) for name in names):
        raise UsageError(f"{where}: its weights have no layer {network.head} with a row for each of its classes")
    return {**state, **{name: state[name][list(rows)] for name in names}}


def _hash_in(name: str) -> str | None:
    """Return the start of its content's SHA-256 that a public file's name ends with.

    >>> _hash_in("r3d_18-b3b3357e"), _hash_in("model")
    ('b3b3357e', None)
    """
    match = re.search(r"-([0-9a-f]{8,})$", name)
    return match[1] if match else None


def _download(address: object, where: str) -> Path:
    """Return the file of public weights; it is kept once it has been read as weights.

    A stored configuration names addresses, too, and other programs load what the cache of torch.hub holds as code. So
    only files of the package's own addresses are kept there. Others are in a folder of this package, by their address.
    """
    if address is None:
        raise UsageError(
            f"{where}: no such weights are public; train them on that data set with algorithm=baseline and give PATH, "
            "the run's checkpoints/last.ckpt"
        )
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise UsageError(f"{where}: expected an address of at most 1000 characters, got {str(address)[:60]!r}")
    name, file = address.rpartition("/")[2], _kept(address)
    if not file.is_file():
        try:
            print(f"downloading {printable(address)}", flush=True)
            with replaced(file) as partial:
                torch.hub.download_url_to_file(address, str(partial), hash_prefix=_hash_in(name.rpartition(".")[0]))
                read_weights(partial)
        except WeightsError as error:
            raise UsageError(f"{where}: {printable(address)}: {error}") from error
        except (OSError, RuntimeError, HTTPException) as error:
            raise UsageError(
                f"{where}: {name} could not be downloaded ({error}); fetch {address} elsewhere and save it as {file}"
            ) from error
    return file


def _kept(address: str) -> Path:
    """Return where the file of an address is kept."""
    name = address.rpartition("/")[2]
    if _PUBLISHED.fullmatch(address):
        return Path(torch.hub.get_dir()) / "checkpoints" / name
    digest = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return _OWN_CACHE.expanduser() / digest / f"weights{Path(name).suffix[:16]}"
