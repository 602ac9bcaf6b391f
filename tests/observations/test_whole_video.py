"""An observation network that looks at the whole video, from its checkpoint to its first policy."""

import numpy as np
import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.commands.build import load_trained
from dsn_lightning.commands.pretrained import take_trunk
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from helpers.processes import call


def test_a_sampler_that_agrees_with_the_video_starts_as_its_checkpoint(needle_root, tmp_path):
    """Its policy before any reward, from what the max-response network gave for each clip."""
    arguments = [f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=1", "schedule.batch_size=6",
                 "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "progress=false",
                 "algorithm=dsn_fixed", "observation=r2d_tiny_video",
                 "classifier.checkpoint=auto", "observation.checkpoint=auto", "test.max_response=auto", "M=2", "N=3",
                 "schedule.sampler_lr=1e-12", "schedule.batch_norm=frozen", "shared.folder=shared"]  # fmt: skip
    call("dsn-train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    scores = ClipScores.load(tmp_path / "run" / "clip_scores.npz")
    logits = {(v, s): row for v, s, n, row in zip(scores.clip_video, scores.clip_start, scores.clip_network,
                                                  scores.clip_logits, strict=True) if n == "max_response"}  # fmt: skip
    scheme = scores.scheme(2, 3)
    for v, num_frames in enumerate(scores.num_frames):
        p = torch.tensor(np.stack([logits[v, int(s)] for s in scheme.grid(int(num_frames)).ravel()])).softmax(-1)
        agreement = (p @ p.mean(0)).reshape(2, 3) ** 2
        own = torch.tensor(scores.section_logits[scores.section_video == v])
        torch.testing.assert_close(own.softmax(-1), agreement / agreement.sum(-1, keepdim=True), rtol=1e-3, atol=1e-4)

    checkpoint = next((tmp_path / "shared").glob("needle_r2d_tiny_*")) / "checkpoints" / "last.ckpt"
    trained = load_trained(str(checkpoint), role="observation.checkpoint")
    with pytest.raises(UsageError, match=r"observation\.checkpoint=.*was trained for 4 classes .* the data set has 1"):
        take_trunk(trained.recognizer.classifier, trained, classes=["walk"])
