"""Random numbers of a batch that is spread over devices."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rsfusion_jax.ops.by_device import draw_rows
from rsfusion_jax.training.sharding import BATCH_AXES, make_mesh


@pytest.mark.parametrize("fsdp", [1, 2])
def test_rows_are_those_that_one_device_draws(fsdp):
    images = np.zeros((16, 3, 5), np.float32)

    def noise(key, images):
        return draw_rows(functools.partial(jax.random.normal, key), images.shape)

    key = jax.random.key(3)
    with jax.set_mesh(make_mesh(8, fsdp)):
        assert draw_rows(lambda shape: shape, (8, 2)) == (8, 2)
        spread = jax.shard_map(
            noise, in_specs=(P(), P(BATCH_AXES)), out_specs=P(BATCH_AXES), check_vma=False
        )
        drawn = jax.jit(spread)(key, images)
    np.testing.assert_array_equal(drawn, jax.random.normal(key, images.shape))
