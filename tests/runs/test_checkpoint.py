"""Checkpoints of a run folder that is named by a relative path."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rsfusion_jax.models import create_model
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints, abstract_like
from rsfusion_jax.runs.state import create_state


class _Position:
    """An iterator that is nothing but its position."""

    def __init__(self, taken):
        self.taken = taken

    def get_state(self):
        return {"next_index": self.taken}

    def set_state(self, state):
        self.taken = state["next_index"]


def test_a_relative_folder_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3)}}
    state = create_state(params, optax.adam(0.1), jax.random.key(1), ema=True)
    state = state.replace(step=jnp.asarray(7, jnp.int32))
    model = create_model("pnn", num_bands=3)
    card = network_card(model, {"name": "pnn"}, sensor=None, max_value=1, ms_phase=2)
    run = Checkpoints(Path("runs/mine"))
    run.save(state, _Position(taken=7), card)
    run.close()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = abstract_like(state, jax.tree.map(lambda leaf: here, state))
    run, position = Checkpoints(Path("runs/mine")), _Position(taken=0)
    restored = run.restore(abstract, card, position)
    run.close()
    assert position.taken == 7 and int(restored.step) == 7
    np.testing.assert_array_equal(restored.params["layer"]["kernel"], params["layer"]["kernel"])
