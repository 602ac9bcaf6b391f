"""A small random classifier of clips (3, 4, 32, 32) as TorchScript, torch.export and ONNX files."""

from functools import cache
from pathlib import Path

import torch
from torch import nn

from helpers.video_models import scratch

CLIP = (3, 4, 32, 32)
CLASSES = ("walk", "left hand", "jump", "Right_Hand", "run")
INPUT = ["backbone.frames_per_clip=4", "backbone.crop_size=32", "backbone.mean=[0.5,0.5,0.5]",
         "backbone.std=[0.25,0.25,0.25]"]  # fmt: skip


@cache
def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, kernel_size=3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(4, len(CLASSES)),
    ).eval()  # fmt: skip


MACS = 4 * (2 * 16 * 16) * (3 * 27) + 4 * len(CLASSES)
KINDS = ("pt", "ts", "pt2", "onnx")


@cache
def exported_file(kind: str, *, batches: bool = True) -> Path:
    """One file of each kind; without ``batches`` it takes a single clip at once."""
    file = scratch() / f"clips{'' if batches else '_single'}.{kind}"
    write_exported(file, batches=batches)
    return file


def write_exported(file: Path, *, batches: bool = True) -> None:
    clips = torch.zeros(2 if batches else 1, *CLIP)
    if file.suffix in (".pt", ".ts"):
        torch.jit.trace(classifier(), clips).save(str(file))
        return
    shapes = {"input": {0: torch.export.Dim("clips", min=1)}} if batches else None
    program = torch.export.export(classifier(), (clips,), dynamic_shapes=shapes)
    if file.suffix == ".pt2":
        torch.export.save(program, file)
    else:
        torch.onnx.export(program, f=file, external_data=False, verbose=False)
