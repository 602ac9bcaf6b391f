"""The trained runs that a run's own test compares it with."""

from omegaconf import DictConfig
from pytorch_lightning.utilities.seed import isolate_rng

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.commands import build, trained_on
from dsn_lightning.commands.held_out import evaluated
from dsn_lightning.data.datamodule import SectionClipDataModule


def tested_beside(recognizer: Recognizer, cfg: DictConfig, data: SectionClipDataModule) -> dict[str, build.Trained]:
    """Load what the run's own test compares it with; what does not fit is refused before the training, not behind it.

    Returns:
        ``baseline``, ``max_response`` -> trained run, where ``cfg.test`` names one.

    Raises:
        UsageError: says what does not fit.
    """
    build.check_tested(recognizer, cfg, where=f"algorithm={cfg.algorithm.name}")
    given = {}
    with isolate_rng():  # building networks draws numbers
        for role in ("baseline", "max_response"):
            if cfg.test[role] is None or role == cfg.algorithm.name:
                continue
            key = f"test.{role}"
            own = given[role] = build.load_trained(cfg.test[role], role=key, trusted=cfg.get("trust", ()))
            build.check_role(own, "baseline", key=key)
            build.check_fits(own, classes=list(data.classes), cfg=cfg, role=key)
            if evaluated(cfg) == "val":
                held_out = [video.record.video_id for video in data.videos("val")]
                trained_on.check_held_out(own.trained_on, held_out, where=f"{key}={own.path}")
    if cfg.algorithm.name == "dsn_fixed" and "baseline" in given:
        build.check_shared(recognizer, given["baseline"], fixed="classifier.checkpoint", key="test.baseline")
    return given
