"""What a training starts from: other runs' networks, and weights that are public or in a file."""

import re
import warnings
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.backbones.weights import State, WeightsError, load_into, read_weights, tensors_of
from dsn_lightning.commands.build import RECORD_KEY, Trained, check_classes, check_fits, load_trained
from dsn_lightning.commands.networks import classifies, modality, observation_weights
from dsn_lightning.commands.trained_on import hashes_of, joined
from dsn_lightning.errors import UsageError
from dsn_lightning.video.modality import CHANNELS

_FREE = ("channels_last", "frozen_blocks", "dropout")
"""Arguments of networks with which the same weights fit."""


def start_from(recognizer: Recognizer, cfg: DictConfig, *, classes: list[str]) -> Tensor | None:
    """Give a recogniser the weights that ``cfg`` says it starts from: ``weights``, ``classifier.checkpoint`` and so on.

    Returns:
        The videos that these were trained on (`trained_on.hashes_of`), as far as runs of ours say; None where one does
        not.

    Raises:
        UsageError: they cannot be had, or do not fit; or DSN-f is given no classifier.
    """
    trusted = cfg.get("trust", ())
    seen: list[Tensor | None] = [hashes_of([])]
    if cfg.classifier.checkpoint is not None:
        source = load_trained(cfg.classifier.checkpoint, role="classifier.checkpoint", trusted=trusted)
        check_fits(source, classes=classes, cfg=cfg, role="classifier.checkpoint")
        take_classifier(recognizer.classifier, source, cfg=cfg)
        seen.append(source.trained_on)
    elif cfg.algorithm.name == "dsn_fixed":
        raise UsageError("algorithm=dsn_fixed keeps a trained classifier: give it with classifier.checkpoint=PATH")
    elif cfg.get("weights") is not None:
        published = cfg.backbone.weights_from
        seen.append(take_weights(recognizer.classifier, cfg.weights, published, key="weights", trusted=trusted))
    else:
        _refuse_random_frozen_blocks(recognizer.classifier, "weights")
    if not isinstance(recognizer, DSN):
        return joined(seen)
    trunk = recognizer.observation.trunk
    weights = observation_weights(cfg)
    if cfg.observation.checkpoint is not None:
        source = load_trained(cfg.observation.checkpoint, role="observation.checkpoint", trusted=trusted)
        take_trunk(trunk, source, classes=classes if classifies(cfg) else None)
        seen.append(source.trained_on)
    elif weights is not None:
        published = cfg.observation.weights_from
        seen.append(take_weights(trunk, weights, published, key="observation.weights", trusted=trusted))
    else:
        _refuse_random_frozen_blocks(trunk, "observation.weights")
    return joined(seen)


def _refuse_random_frozen_blocks(network: ClipNetwork, key: str) -> None:
    if network.frozen_blocks:
        raise UsageError(
            f"{key}=null: the first {network.frozen_blocks} blocks of this network are frozen and would stay random; "
            f"give {key}=imagenet or PATH, or train them too: backbone.network.frozen_blocks=0 "
            "backbone.cache_activations=false"
        )


def take_classifier(target: ClipNetwork, trained: Trained, *, cfg: DictConfig) -> None:
    """Copy a trained run's classifier into ``target``, from RGB to flow if need be; see `weights.across_modalities`.

    Raises:
        UsageError: it is another network, or of another modality in a way that cannot be bridged.
    """
    where = f"classifier.checkpoint={trained.path}"
    own, asked = trained.cfg.backbone.network, cfg.backbone.network
    differing = [k for k in {**own, **asked} if own.get(k) != asked.get(k) and k not in _FREE]
    if differing:
        what = ", ".join(f"{key}={own.get(key)}" for key in sorted(differing))
        raise UsageError(
            f"{where}: holds a {trained.cfg.backbone.name} with {what}, asked for is backbone={cfg.backbone.name} with "
            + ", ".join(f"{key}={asked.get(key)}" for key in sorted(differing))
        )
    if modality(trained.cfg) != modality(cfg) and cfg.algorithm.name == "dsn_fixed":
        raise UsageError(
            f"{where}: was trained on {modality(trained.cfg)}, and algorithm=dsn_fixed keeps the classifier as it is; "
            f"give one that was trained with dataset.modality={modality(cfg)}"
        )
    _take(target, trained, where=where, keep_head=False)


def take_trunk(trunk: ClipNetwork, trained: Trained, *, classes: list[str] | None = None) -> None:
    """Copy a clip network trained as a baseline into an observation network's trunk.

    One of RGB is made one of flow if need be.

    Args:
        trunk: takes the weights.
        trained: the baseline.
        classes: of the trunk's classification layer, which is copied too; None if it has none.

    Raises:
        UsageError: it is another network, has other classes, or is of flow where the trunk is of RGB.
    """
    where = f"observation.checkpoint={trained.path}"
    if classes is not None:
        check_classes(trained, classes, where=where)
    _take(trunk, trained, where=where, keep_head=classes is None)


def _take(network: ClipNetwork, trained: Trained, *, where: str, keep_head: bool) -> None:
    own = modality(trained.cfg)
    if own == "flow" and network.in_channels != CHANNELS[own]:
        raise UsageError(f"{where}: was trained on flow, which cannot start a run of dataset.modality=rgb")
    state, channels = trained.recognizer.classifier.state_dict(), CHANNELS[own]
    where = f"{where}: holds a {trained.cfg.backbone.name}, which"
    _fit(network, state, channels, where=where, keep_head=keep_head)


def _fit(network: ClipNetwork, state: State, channels: int, *, where: str, keep_head: bool) -> None:
    """Load weights, of frames of so many channels, into a network."""
    try:
        load_into(network, state, source_channels=channels, keep_head=keep_head)
    except WeightsError as error:
        raise UsageError(f"{where} {error}") from error
    if network.frozen_blocks and network.in_channels != channels:
        warnings.warn(
            f"flow: the first {network.frozen_blocks} blocks were trained on pictures and are frozen, so little is "
            "learned; lower schedule.lr (0.002 has done better than 0.01), or train them, too: "
            "backbone.network.frozen_blocks=0 backbone.cache_activations=false schedule.batch_norm=trained",
            stacklevel=2,
        )


def take_weights(
    network: ClipNetwork, weights: str, published: DictConfig, *, key: str, trusted: Sequence[str] = ()
) -> Tensor | None:
    """Load pretrained weights into a clip network, but for its classification layer.

    Returns:
        The videos that they were trained on, as far as it is a checkpoint of `dsn-train` (see `start_from`).

    Args:
        network: takes them.
        weights: a name in ``published``; or a file of weights by name, or of `dsn-train`, whose classifier is taken.
        published: name -> address; null where there are none in public.
        key: that ``weights`` was given with, for messages.
        trusted: the user's packages that a checkpoint may build from.

    Raises:
        UsageError: they cannot be had, or do not fit.
    """
    where = f"{key}={weights}"
    if weights in published:
        file = _download(published[weights], where)
    elif (file := Path(weights).expanduser()).suffix == "" and not file.exists():
        known = ", ".join(str(name) for name in published) or "none"
        raise UsageError(f"{where}: no such file, and no name of public weights for this network (there are: {known})")
    try:
        content = read_weights(file)
        if RECORD_KEY in content:
            trained = load_trained(file, role=key, trusted=trusted)
            _take(network, trained, where=where, keep_head=True)
            return trained.trained_on
        _fit(network, tensors_of(content), CHANNELS["rgb"], where=f"{where}:", keep_head=True)
        return hashes_of([])
    except WeightsError as error:
        raise UsageError(f"{where}: {file}: {error}" if weights in published else f"{where}: {error}") from error


def _hash_in(name: str) -> str | None:
    """Return the start of its content's SHA-256 that a public file's name ends with.

    >>> _hash_in("r3d_18-b3b3357e"), _hash_in("model")
    ('b3b3357e', None)
    """
    match = re.search(r"-([0-9a-f]{8,})$", name)
    return match[1] if match else None


def _download(address: str | None, where: str) -> Path:
    """Return the file of public weights, which torch.hub keeps."""
    if address is None:
        raise UsageError(
            f"{where}: no such weights are public; train them on that data set with algorithm=baseline and give PATH, "
            "the run's checkpoints/last.ckpt"
        )
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / address.rpartition("/")[2]
    if not file.is_file():
        try:
            print(f"downloading {address}", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(file), hash_prefix=_hash_in(file.stem))
        except (OSError, RuntimeError, HTTPException) as error:
            raise UsageError(
                f"{where}: {file.name} could not be downloaded ({error}); fetch {address} elsewhere and put it into "
                f"{folder}"
            ) from error
    return file
