"""What the files of a model of transformers say about its input, its classes and its architecture.

The model is a folder, or a model of Hugging Face's hub that is in its cache on this machine. Nothing is downloaded.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import UnreadableFileError, parse_json, read_bounded, user_path

_PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")
_FRAMES_COVERED = 64  # 16 frames at every 4th, 32 at every 2nd: what VideoMAE and ViViT were trained on for Kinetics
_ASPECT = 4 / 3  # width / height of most videos
_KEY = "backbone.model"


def huggingface_preset(model: str | None, what: str) -> Any:
    """Return what a model's files say.

    Args:
        model: the folder, or a model's name on the hub.
        what: ``name``, ``weights`` (its folder), ``config`` (its architecture), ``classes`` (None where they have no
            names), or, of its clips, ``frames``, ``stride``, ``frame_size``, ``resize`` (as in `Crop`), ``crop_size``,
            ``mean``, ``std``.

    Raises:
        UsageError: there is no such model on this machine, or its files do not say.
    """
    from dsn_lightning.backbones.huggingface_network import architecture, family_of  # takes seconds

    folder = model_folder(model)
    if what == "weights":
        return str(folder)
    if what == "name":
        return printable(str(model).rstrip("/").rpartition("/")[2])
    try:
        config = read_model_config(folder)
        if what == "config":
            return architecture(config)
        if what == "classes":
            return model_classes(config)
        family = family_of(config)
        if what in ("frames", "stride"):
            frames = int(config[family.frames])
            return frames if what == "frames" else max(1, _FRAMES_COVERED // frames)
        return _input(folder, offset=config["model_type"] == "vivit")[what]
    except UsageError as error:
        raise UsageError(f"{_KEY}={model}: {error}") from error
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UsageError(
            f"{_KEY}={model}: its files do not say its {what} ({type(error).__name__}: {error}); give it with a key of "
            "backbone"
        ) from error


def model_folder(model: str | None) -> Path:
    """Return the folder of a model: itself, or where the cache of Hugging Face's hub has it."""
    if model is None:
        raise UsageError(
            f"{_KEY}=null: give {_KEY}=PATH, a folder with a video classifier of transformers, or the name of one that "
            "is in the cache of Hugging Face's hub"
        )
    folder = user_path(model)
    if is_model_folder(folder):
        return folder.absolute()
    if not folder.exists() and model.count("/") == 1:
        try:
            from huggingface_hub import try_to_load_from_cache

            found = try_to_load_from_cache(model, "config.json")
        except (ImportError, ValueError):  # no such package; not a name of the hub
            found = None
        if isinstance(found, str):
            return Path(found).parent
    raise UsageError(
        f"{_KEY}={model}: is neither a folder with config.json nor in the cache of Hugging Face's hub; nothing is "
        f"downloaded; fetch it with: hf download {model if model.count('/') == 1 else 'NAME'}"
    )


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has a configuration of a model, in the layout of Hugging Face's hub."""
    return (folder / "config.json").is_file()


@lru_cache(maxsize=8)
def read_model_config(folder: Path) -> dict[str, Any]:
    """Return the content of a model's ``config.json``."""
    return _read(folder / "config.json")


def model_classes(config: dict[str, Any]) -> list[str] | None:
    """Return the names of the classes in the order of the outputs; None where they are LABEL_0, LABEL_1, ..."""
    named = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    names = [printable(named[number]) for number in range(len(named))]
    return None if all(name == f"LABEL_{number}" for number, name in enumerate(names)) else names


def _input(folder: Path, *, offset: bool) -> dict[str, Any]:
    """Return the size and the scale of a model's frames."""
    file = next((folder / name for name in _PROCESSORS if (folder / name).is_file()), None)
    if file is None:
        raise UsageError(
            f"has no {' or '.join(_PROCESSORS)}; give backbone.frame_size, backbone.resize, backbone.crop_size, "
            "backbone.mean and backbone.std"
        )
    said = _read(file)
    size, crop = _sides(said.get("size")), _sides(said.get("crop_size"))
    if crop is None or not said.get("do_center_crop", True):
        crop = size
    if crop is None or size is None or crop[0] != crop[-1]:
        raise UsageError(f"{file.name}: expected frames that are cut to a square; give the keys of backbone")
    squash = len(size) == 2
    return {
        "resize": "squash" if squash else "short_side",
        "frame_size": size if squash else [size[0], round(_ASPECT * size[0])],
        "crop_size": crop[0],
        **_scale(said, offset=bool(said.get("offset", offset))),
    }


def _sides(size: Any) -> list[int] | None:
    """Return [short side] or [height, width] of a size in a processor's file; None without one."""
    if isinstance(size, int):
        return [size, size]
    if not size:
        return None
    return [int(size["shortest_edge"])] if "shortest_edge" in size else [int(size["height"]), int(size["width"])]


def _scale(said: dict[str, Any], *, offset: bool) -> dict[str, list[float]]:
    """Return mean and standard deviation, on pixel values in [0, 1], that stand for all that a processor computes.

    It computes (pixel * factor - offset - mean) / std of pixel values in [0, 255].
    """
    factor = 255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255.0
    shift = 1.0 if offset and said.get("do_rescale", True) else 0.0
    normalized = said.get("do_normalize", True)
    mean = [float(value) for value in said["image_mean"]] if normalized else [0.0] * 3
    std = [float(value) for value in said["image_std"]] if normalized else [1.0] * 3
    return {"mean": [(shift + value) / factor for value in mean], "std": [value / factor for value in std]}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_bounded(file))
    except (UnreadableFileError, ValueError) as error:
        raise UsageError(f"{file.name}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file.name}: expected a mapping, got a {type(content).__name__}")
    return content
