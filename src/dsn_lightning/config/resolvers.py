"""What configurations may ask for in ${...}."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import ListConfig, OmegaConf

from dsn_lightning.config.exported_files import exported_preset
from dsn_lightning.config.huggingface_files import huggingface_preset
from dsn_lightning.config.plain_values import refuse_nodes
from dsn_lightning.errors import UsageError

_ASPECT = 4 / 3  # width / height of most videos
_DATA_SETS = {"kinetics400": "KINETICS400", "imagenet": "IMAGENET1K"}


def torchvision_preset(model: str, what: str) -> Any:
    """Return what torchvision's default weights of a classifier were made for; an unknown ``model`` is refused.

    ``what`` is ``crop_size``, ``frame_size``, ``resize`` (as in `Crop`), ``mean`` or ``std``; ``frames`` a clip or
    their ``fps``, as its accuracy is stated for (networks of images: 8 and None); or a data set's name, for the address
    of the weights trained on it (None if there are none).
    """
    from torchvision import models  # takes seconds

    known = models.list_models(module=models) + models.list_models(module=models.video)
    if model not in known:
        raise UsageError(
            f"model={model}: torchvision has no such classifier; it has {', '.join(known[:4])}, ... "
            "(torchvision.models.list_models)"
        )
    weights = models.get_model_weights(model)
    if what in _DATA_SETS:
        found = [entry for entry in weights if entry.name.startswith(_DATA_SETS[what])]
        default = [entry for entry in found if entry == weights.DEFAULT]
        return (default or found)[0].url if found else None
    if what in ("frames", "fps"):
        stated = weights.DEFAULT.meta.get("_docs", "")
        if model not in models.list_models(module=models.video):
            return 8 if what == "frames" else None
        match = re.search(r"clip_len=(\d+)" if what == "frames" else r"frame_rate=([\d.]+)", stated)
        number = float(match[1]) if match else {"frames": 16, "fps": 15}[what]
        return int(number) if number == int(number) else number
    preset = weights.DEFAULT.transforms()
    if what == "crop_size":
        return preset.crop_size[0]
    size = list(preset.resize_size)
    if what == "resize":
        return "squash" if len(size) == 2 else "short_side"
    if what == "frame_size":
        return ListConfig(size if len(size) == 2 else [size[0], round(_ASPECT * size[0])])
    return ListConfig([float(value) for value in getattr(preset, what)])


def share(fraction: str, whole: int) -> int:
    """Return a fraction of a whole number, rounded: the epochs of a warm-up, whatever the training's length.

    >>> share("1/3", 8), share("1/3", 70)
    (3, 23)
    """
    return round(Fraction(fraction) * whole)


def sweep_name() -> str | None:
    """Return the name of the folder of the sweep that the running application is a job of, whatever launched it."""
    running = HydraConfig.instance().cfg
    if running is None or running.hydra.mode != RunMode.MULTIRUN:
        return None
    return Path(str(running.hydra.sweep.dir)).absolute().name


def _of_file(preset: Callable[..., Any]) -> Callable[..., Any]:
    """Return a resolver for what files say of a model: plain values, which are neither resolved nor built."""

    def resolver(model: str | None, what: str, *more: Any) -> Any:
        found = preset(model, what, *more)
        try:
            refuse_nodes(found, what)
        except UsageError as error:
            raise UsageError(f"backbone.model={model}: its files: {error}") from error
        return found

    return resolver


def register() -> None:
    """Make the resolvers of the configurations known to OmegaConf.

    They are ``${torchvision:MODEL,WHAT}``, ``${huggingface:MODEL,WHAT}``, ``${exported:FILE,WHAT}``,
    ``${share:FRACTION,NUMBER}`` and ``${sweep_name:}``.
    """
    OmegaConf.register_new_resolver("exported", _of_file(exported_preset), replace=True)
    OmegaConf.register_new_resolver("huggingface", _of_file(huggingface_preset), replace=True)
    OmegaConf.register_new_resolver("share", share, replace=True)
    OmegaConf.register_new_resolver("torchvision", torchvision_preset, replace=True)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
