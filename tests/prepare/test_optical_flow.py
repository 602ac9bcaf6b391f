"""Optical flow: quantisation, and a single frame."""

import numpy as np

from dsn_lightning.prepare.optical_flow import flow_frames, quantise
from helpers.small_videos import moving


def test_a_single_frame_has_no_motion():
    (only,) = flow_frames(moving(1), bound=20)
    assert (only == 128).all()


def test_quantised_flow_is_within_half_a_step():
    flow = np.linspace(-20, 20, 1001)
    assert np.abs(quantise(flow, bound=20) / 255 * 40 - 20 - flow).max() <= 20 / 255 + 1e-9
    assert quantise(np.array([-1e9, 1e9]), bound=20).tolist() == [0, 255]
