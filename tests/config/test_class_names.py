"""Finding a data set's classes among those of a classifier."""

import pytest
import torch
from torchvision import models

from dsn_lightning.backbones.torchvision_network import published_classes
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.class_names import class_rows, refuse_other_classes
from dsn_lightning.config.initial_weights import start_from
from dsn_lightning.errors import UsageError
from helpers.synthetic import composed

KNOWN = ["playing guitar", "running on treadmill", "Playing_Piano", "playing piano"]


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (["Playing_Guitar"], [0]),
        (["playing piano", "playing guitar"], [3, 0]),  # a name as it is comes before one that is alike
        (["PLAYINGPIANO"], [2]),
        (["running"], None),
        (["Playing Guitar", "playing_guitar"], None),
        (["playing-guitar"], None),
    ],
)
def test_names_match_without_case_spaces_and_underscores(wanted, rows):
    assert class_rows(wanted, KNOWN) == rows


def test_a_missing_class_is_named_with_those_that_share_its_words():
    with pytest.raises(UsageError) as caught:
        refuse_other_classes(["running", "walk", "playing guitar"], KNOWN, where="weights=x")
    message = str(caught.value)
    assert message.startswith("weights=x: 'running' and 1 more classes of the data set are not among its 4 classes")
    assert "(nearest: running on treadmill, " in message
    refuse_other_classes(["playing guitar"], KNOWN, where="weights=x")


def test_torchvisions_weights_know_their_classes():
    kinetics = published_classes("https://download.pytorch.org/models/r3d_18-b3b3357e.pth")
    assert (len(kinetics), kinetics[0]) == (400, "abseiling")
    assert published_classes("https://example.org/other.pth") is None


def test_a_fixed_classifier_of_torchvision_keeps_the_rows_of_the_data_sets_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = models.video.r3d_18(weights=None).state_dict()
    torch.save(state, tmp_path / "checkpoints" / "r3d_18-b3b3357e.pth")
    settings = composed("backbone=r3d_18", "observation=r2d_tiny", "weights=kinetics400", "algorithm=dsn_fixed")
    recognizer = build_recognizer(settings, 2)
    start_from(recognizer, settings, classes=["archery", "Abseiling"])
    rows = [published_classes(settings.backbone.weights_from["kinetics400"]).index(n) for n in ("archery", "abseiling")]
    assert torch.equal(recognizer.classifier.fc.weight, state["fc.weight"][rows])
    with pytest.raises(UsageError, match=r"weights=kinetics400: 'walk'.* 400 classes"):
        start_from(recognizer, settings, classes=["archery", "walk"])
    torch.save(state, tmp_path / "own.pth")
    named = settings.changed({"weights": str(tmp_path / "own.pth")})
    with pytest.raises(UsageError, match=r"own.pth: has no names of its classes; give them .* \+backbone.classes="):
        start_from(recognizer, named, classes=["a", "b"])
    start_from(recognizer, named.changed({"backbone.classes": [*"abcdef"]}), classes=["f", "b"])
    assert torch.equal(recognizer.classifier.fc.bias, state["fc.bias"][[5, 1]])
