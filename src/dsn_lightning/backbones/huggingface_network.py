"""Video classifiers of Hugging Face's transformers as clip networks.

Nothing is downloaded, and no code but that of the installed package transformers is run.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.errors import UsageError


class _Family(NamedTuple):
    """What the classes of a family of models are called, in ``transformers.models.<model_type>``."""

    prefix: str
    input: str = "pixel_values"
    frames: str = "num_frames"
    side: str = "image_size"
    channels: str = "num_channels"


_FAMILIES = {
    "timesformer": _Family("Timesformer"),
    "videomae": _Family("VideoMAE"),
    "vivit": _Family("Vivit"),
    "vjepa2": _Family("VJEPA2", "pixel_values_videos", "frames_per_clip", "crop_size", "in_chans"),
}
_HEAD = "classifier"
_ADAPTER = "adapter_config.json"
_PROBLEMS = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError, OSError)


class HuggingFaceNetwork(ClipNetwork):
    """A video classifier of transformers: VideoMAE, TimeSformer, ViViT or V-JEPA 2.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns its input (B, D).
        config: ``model_type`` and what `architecture` keeps of the model's ``config.json``.
        in_channels: C, channels of a frame.

    Raises:
        UsageError: transformers is not installed, or ``config`` does not describe such a model.
    """

    stacked_frames = 1
    frozen_blocks = 0
    head = f"model.{_HEAD}"

    def __init__(self, num_classes: int, *, config: Mapping[str, Any], in_channels: int = 3) -> None:
        super().__init__()
        family = family_of(config)
        model = _built(config, num_labels=max(1, num_classes), channels=in_channels)
        self.in_channels, self._input = in_channels, family.input
        head = model.get_submodule(_HEAD)
        assert isinstance(head, nn.Linear)
        self.num_features = head.in_features
        if not num_classes:
            model.set_submodule(_HEAD, nn.Identity())
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D)."""
        logits: Tensor = self.model(**{self._input: clips.transpose(1, 2)}).logits
        return logits


def family_of(config: Mapping[str, Any]) -> _Family:
    """Return how the classes of a model are called; another ``model_type`` is a `UsageError`."""
    kind = config.get("model_type")
    if kind not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise UsageError(f"config.model_type={kind}: is not a video classifier that can be used; expected {known}")
    return _FAMILIES[str(kind)]


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``model_type`` and those keys of a model's ``config.json`` that its architecture depends on.

    Others, such as the choice of an attention kernel, may name code to load and are left out.
    """
    names = _keys(config)
    return {"model_type": config["model_type"], **{name: config[name] for name in sorted(names & config.keys())}}


def pretrained_state(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Tensor], int]:
    """Return the weights in a model's folder by name, and the number of its classes.

    Weights of the classification layer are left out, and the number is 0, where the folder has none.

    Args:
        folder: has ``model.safetensors``, its parts, or ``pytorch_model.bin`` (read as weights only).
        config: content of its ``config.json``.

    Raises:
        UsageError: weights are missing, damaged, or more than weights; or the folder has an adapter of the package
            peft, which transformers would load: its file names modules to import.
    """
    if (folder / _ADAPTER).exists():
        raise UsageError(f"has an adapter ({_ADAPTER}), which is not loaded; merge it into the weights and save these")
    num_labels = len(config["id2label"]) if config.get("id2label") else 2  # the default of transformers
    try:
        with _quiet():
            made = _class_of(config, "ForVideoClassification").from_pretrained(
                folder,
                config=_configured(architecture(config), num_labels=num_labels),
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=torch.float32,
                attn_implementation=_attention(config),
                output_loading_info=True,
            )
    except Exception as error:  # the readers raise anything on damaged files
        raise UsageError(f"its weights cannot be loaded ({_first_line(error)})") from error
    model, info = made
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(f"{_HEAD}."))
    if missing:
        raise UsageError(f"its weights do not fit: missing keys: {', '.join(missing[:3])} ({len(missing)} in all)")
    state: dict[str, Tensor] = model.state_dict()
    if any(name.startswith(f"{_HEAD}.") for name in info["missing_keys"]):
        return {name: value for name, value in state.items() if not name.startswith(f"{_HEAD}.")}, 0
    return state, num_labels


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing progress and a report: what is missing is an error or said elsewhere."""
    logging = _transformers("utils.logging")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _built(config: Mapping[str, Any], *, num_labels: int, channels: int) -> nn.Module:
    """Return a model with fresh weights."""
    if unknown := sorted(config.keys() - _keys(config) - {"model_type"}):
        raise UsageError(f"config.{unknown[0]}: {config['model_type']} has no such setting")
    values = {**config, family_of(config).channels: channels}
    try:
        model: nn.Module = _class_of(config, "ForVideoClassification")._from_config(
            _configured(values, num_labels=num_labels), attn_implementation=_attention(config), dtype=torch.float32
        )
    except _PROBLEMS as error:
        raise UsageError(f"config: does not describe a {config['model_type']} ({_first_line(error)})") from error
    return model


def _attention(config: Mapping[str, Any]) -> str:
    """Return the implementation of attention that is built into PyTorch."""
    return "sdpa" if _class_of(config, "ForVideoClassification")._supports_sdpa else "eager"


def _configured(values: Mapping[str, Any], *, num_labels: int) -> Any:
    from huggingface_hub.errors import StrictDataclassError

    arguments = {name: value for name, value in values.items() if name != "model_type"}
    try:
        return _class_of(values, "Config")(**arguments, num_labels=num_labels)
    except (*_PROBLEMS, StrictDataclassError) as error:
        raise UsageError(f"config: does not describe a {values['model_type']} ({_first_line(error)})") from error


def _keys(config: Mapping[str, Any]) -> set[str]:
    """Return the settings that the models of a family have, without those that all models of transformers have."""
    made = _class_of(config, "Config")
    return set(made().to_dict()) - set(_transformers("configuration_utils").PretrainedConfig().to_dict())


def _class_of(config: Mapping[str, Any], kind: str) -> Any:
    family = family_of(config)
    module = "configuration" if kind == "Config" else "modeling"
    name = config["model_type"]
    return getattr(_transformers(f"models.{name}.{module}_{name}"), f"{family.prefix}{kind}")


def _transformers(module: str) -> Any:
    try:
        return import_module(f"transformers.{module}")
    except ImportError as error:
        raise UsageError(
            "backbone=huggingface: needs the package transformers: pip install 'dsn-lightning[huggingface]'"
        ) from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
