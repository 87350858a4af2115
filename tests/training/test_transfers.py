"""The training step gets everything from the devices: nothing is sent to them unasked."""

import jax
import pytest
from tiny_runs import tiny_config

from rsfusion_jax.training import loop
from rsfusion_jax.training.loop import train


def test_a_batch_that_the_host_still_holds_is_refused(tmp_path, monkeypatch):
    config = tiny_config()
    config.data.valid = config.data.test = ""
    monkeypatch.setattr(loop.sharding, "put_batch", lambda mesh, batch: batch)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(config, tmp_path / "run")
