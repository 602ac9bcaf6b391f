"""An export, from a checkpoint to a folder for other programs."""

from typing import Any

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.config.export_settings import ExportSettings
from dsn_lightning.config.load_predictor import load_sampler
from dsn_lightning.config.network_costs import clip_shape
from dsn_lightning.config.trained import Trained
from dsn_lightning.prediction.exported import export_model


def export(settings: ExportSettings) -> None:
    """Write both networks, and say how far they are from those of the checkpoint."""
    trained = load_sampler(str(settings.checkpoint), trusted=settings.trust)
    model, modality = trained.recognizer, trained.settings.dataset.modality
    assert isinstance(model, DSN)
    differences = export_model(
        model,
        settings.folder,
        settings.format,
        clip=clip_shape(trained.settings.backbone, modality=modality),
        clips_per_section=trained.settings.test.N,
        record={"format": settings.format, **input_record(trained), "consensus": model.consensus},
    )
    console = wide_console()
    for name, difference in differences.items():
        console.print(f"{name}: differs by at most {difference:.1e} from the checkpoint's network", soft_wrap=True)
    console.print(f"written: {settings.folder}", soft_wrap=True)


def input_record(trained: Trained) -> dict[str, Any]:
    """Return the classes of a run, and which pixels its networks are given, as plain values."""
    settings, backbone, dataset = trained.settings, trained.settings.backbone, trained.settings.dataset
    return {
        "classes": trained.classes,
        "M": settings.test.M[0],
        "N": settings.test.N,
        "T": backbone.frames_per_clip,
        "stride": backbone.frame_stride,
        "placement": dataset.reading.placement,
        "fps": dataset.fps,
        "resize": dataset.reading.resize,
        "frame_size": list(backbone.frame_size),
        "crop_size": backbone.crop_size,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
    }
