"""Section clips: label vectors, and how several labels and none are trained on and measured."""

from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader

from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.estimators.estimate import Estimate
from dsn_lightning.metrics import mean_average_precision, mean_class_accuracy, top_k_accuracy, video_metrics
from helpers.dataset_files import folder_of_lists, touch_videos
from helpers.training import fit, make_dsn, sgd


@pytest.fixture
def user_videos(tmp_path: Path) -> Path:
    return touch_videos(tmp_path / "data")


def test_several_labels_share_the_target():
    assert label_vector([1, 2], 4).tolist() == [0, 0.5, 0.5, 0]


def test_several_labels_share_the_loss_and_each_is_rewarded(user_videos):
    """A whole training step: targets are the normalised multi-hot vector; a clip is right when it gives any label."""
    train = "path,label\na.mp4,run;walk\nmore/b c.mp4,jump;walk\n"
    source = folder_of_lists(user_videos, train, "path,label\nd.avi,run\n", extension="csv")
    assert source.classes == ("jump", "run", "walk")
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "clips": torch.randint(256, (2, 4, 3, 2, 4, 4), dtype=torch.uint8, generator=generator),
            "targets": label_vector(video.labels, 3),
            "video_id": video.video_id,
        }
        for video in source.records("train")
    ]
    rewards = []

    def estimator(log_policy, *, uniforms, reward):
        action = torch.zeros(log_policy.shape[:2], dtype=torch.long)
        rewards.append(reward(action))
        return Estimate(log_policy.sum() * 0, action, rewards[-1], rewards[-1])

    model = make_dsn(estimator=estimator, classifier_optimizer=sgd(1e-12))
    torch.nn.init.zeros_(model.classifier.fc.weight)
    scores = torch.tensor([0.1, 0.7, 0.2])  # of jump, run, walk, for every clip: the answer is run
    model.classifier.fc.bias.data = scores.log()
    losses = []
    model.means.update = lambda name, value, weight=1.0: losses.append((name, float(value)))
    fit(model, epochs=1, loader=DataLoader(items, batch_size=2))
    log = scores.log()
    expected = -((log[1] + log[2]) / 2 + (log[0] + log[2]) / 2) / 2
    assert dict(losses)["train/classifier_loss"] == pytest.approx(float(expected), abs=1e-5)
    assert torch.allclose(rewards[0], torch.tensor([[0.7, 0.7], [-0.5, -0.5]]), atol=1e-5)


def test_a_background_video_is_a_negative_of_every_class():
    targets = torch.stack([label_vector(labels, 3) for labels in ((0,), (1, 2), (), (2,))])
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.2, 0.2, 0.6]])
    assert targets[2].tolist() == [0, 0, 0]
    assert top_k_accuracy(scores, targets, k=1) == pytest.approx(2 / 3)
    assert mean_class_accuracy(scores, targets) == pytest.approx((1 + 0 + 1 / 2) / 3)
    theirs = average_precision_score(targets.numpy() > 0, scores.numpy(), average="macro")
    assert mean_average_precision(scores, targets) == pytest.approx(theirs)
    assert mean_average_precision(scores, targets) < mean_average_precision(scores[[0, 1, 3]], targets[[0, 1, 3]])
    assert set(video_metrics(scores[2:3], targets[2:3]).values()) == {None}
