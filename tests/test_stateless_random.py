"""Stateless random numbers."""

import torch

from dsn_lightning.stateless_random import stateless_rng, stateless_uniforms


def test_numbers_depend_on_every_part_of_the_key():
    keys = [(0, 1, "a", "x"), (1, 1, "a", "x"), (0, 2, "a", "x"), (0, 1, "b", "x"), (0, 1, "a", "y")]
    assert len({stateless_rng(*key).random() for key in keys}) == len(keys)


def test_uniforms_do_not_depend_on_the_batch_or_on_m():
    one = stateless_uniforms(["b"], 2, seed=0, epoch=3, purpose="p")
    two = stateless_uniforms(["a", "b"], 5, seed=0, epoch=3, purpose="p")
    assert torch.equal(one[0], two[1, :2])
