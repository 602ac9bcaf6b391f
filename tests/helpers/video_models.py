"""Small random video classifiers of transformers, as folders in the layout of Hugging Face's hub."""

import atexit
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

FAMILIES = ("videomae", "timesformer", "vivit", "vjepa2")
SIDE, FRAMES = 32, 4
WIDTHS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CLASSES = ("Abseiling", "left hand", "jump", "Right_Hand", "juggling balls")


@cache
def scratch() -> Path:
    """A folder of this process."""
    folder = tempfile.TemporaryDirectory(prefix="video_models")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def model_folder(family: str = "videomae", classes: Sequence[str] | None = CLASSES) -> Path:
    """A random model with its processor's file; each family scales pixels in another way."""
    folder = scratch() / f"{family}-{'unnamed' if classes is None else len(classes)}"
    write_model(folder, family, classes)
    return folder


def write_model(folder: Path, family: str, classes: Sequence[str] | None) -> None:
    import transformers as hf

    torch.manual_seed(0)
    labels: dict[str, Any] = {"num_labels": 5} if classes is None else {"id2label": dict(enumerate(classes))}
    size = {"image_size": SIDE, "num_frames": FRAMES, "intermediate_size": 32, **WIDTHS, **labels}
    models = {
        "videomae": lambda: hf.VideoMAEForVideoClassification(
            hf.VideoMAEConfig(patch_size=8, decoder_num_hidden_layers=1, **size)
        ),
        "timesformer": lambda: hf.TimesformerForVideoClassification(hf.TimesformerConfig(patch_size=8, **size)),
        "vivit": lambda: hf.VivitForVideoClassification(hf.VivitConfig(tubelet_size=[2, 8, 8], **size)),
        "vjepa2": lambda: hf.VJEPA2ForVideoClassification(
            hf.VJEPA2Config(
                crop_size=SIDE, frames_per_clip=FRAMES, patch_size=8, mlp_ratio=2, pred_hidden_size=16,
                pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1, **WIDTHS, **labels,
            )
        ),
    }  # fmt: skip
    model = models[family]()
    with torch.no_grad():  # far from a uniform answer
        model.classifier.weight.normal_()
        model.classifier.bias.normal_()
    model.save_pretrained(folder)
    processor(family)(**processor_settings(family)).save_pretrained(folder)


def processor(family: str) -> Any:
    import transformers as hf

    return {
        "videomae": hf.VideoMAEImageProcessor,
        "timesformer": hf.TimesformerVideoProcessor,
        "vivit": hf.VivitImageProcessor,
        "vjepa2": hf.VJEPA2VideoProcessor,
    }[family]


def processor_settings(family: str) -> dict[str, Any]:
    size = {"height": 34, "width": 36} if family == "timesformer" else {"shortest_edge": 36}
    return {"size": size, "crop_size": {"height": SIDE, "width": SIDE}}


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
