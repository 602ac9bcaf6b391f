"""Dense sampling with the classifier of a DSN."""

from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

import reproduce
from dsn_lightning.selections import check_selection
from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.selections.uniform import Dense
from reproduce.own_dense import OwnDense


def test_it_keeps_the_clips_of_dense_sampling_for_the_classifier_of_dsn():
    own, dense = check_selection(OwnDense()), Dense()
    assert own.classifiers == ("dsn",)
    assert own.name != dense.name
    scheme = Scheme(3, 2, clip_span=8, dense_clips=20, random_draws=1)
    scores = VideoScores("v", 100, np.array([1.0, 0.0], np.float32))
    assert own.select(scores, scheme, "dsn").tolist() == dense.select(scores, scheme, "baseline").tolist()
    assert len(own.select(scores, scheme, "dsn")[0]) == 20


def test_its_configuration_is_a_plug_in():
    file = Path(reproduce.__file__).parent / "conf/selection/own_dense.yaml"
    target = OmegaConf.load(file)[OwnDense.name]["_target_"]
    assert target == f"{OwnDense.__module__}.{OwnDense.__qualname__}"
