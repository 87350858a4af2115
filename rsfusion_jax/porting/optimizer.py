"""Convert the state of PyTorch's Adam to optax, to continue the training of a network's authors."""

from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rsfusion_jax.errors import UserError
from rsfusion_jax.porting.convert import porting_table
from rsfusion_jax.porting.tensors import Constant, Live
from rsfusion_jax.porting.torch_file import read_adam_moments, read_state_dict


def with_adam_moments(opt_state, model: nn.Module, path: str | Path):
    """Copy the moments and the step count of a `.pth` checkpoint into the state of an optimiser.

    The position in the learning-rate schedule does not change.

    Args:
        opt_state: state of an Adam optimiser from `training.optimizer.make_optimizer`.
        model: the network.
        path: checkpoint of the authors' training program.

    Returns:
        `opt_state` with its `optax.ScaleByAdamState` replaced.

    Raises:
        UserError: the file has no state of Adam or that of another network, or `opt_state` is that
            of another optimiser.
    """
    steps, moments = read_adam_moments(path)
    table = {tensor.name: tensor for tensor in porting_table(model)}
    # PyTorch numbers parameters in the order of the state dict, which also has buffers.
    names = [name for name in read_state_dict(path) if name in table]
    parameters = [table[name] for name in names if not isinstance(table[name], Constant)]
    if len(parameters) != len(moments):
        raise UserError(
            f"{path} holds Adam's state for {len(moments)} parameters, {model.title} has "
            f"{len(parameters)}; name a checkpoint of this network"
        )
    trees = {"exp_avg": {}, "exp_avg_sq": {}}
    for tensor, state in zip(parameters, moments, strict=True):
        if isinstance(tensor, Live):
            for key, tree in trees.items():
                tree[tensor.path] = jnp.asarray(tensor.to_flax(state[key]))
    mu, nu = (flax.traverse_util.unflatten_dict(tree) for tree in trees.values())
    replaced = []

    def replace(state):
        if not isinstance(state, optax.ScaleByAdamState):
            return state
        replaced.append(state)
        return optax.ScaleByAdamState(jnp.asarray(steps, state.count.dtype), mu, nu)

    opt_state = jax.tree.map(
        replace, opt_state, is_leaf=lambda state: isinstance(state, optax.ScaleByAdamState)
    )
    if not replaced:
        raise UserError("init_optimizer needs optim.name to be adam or adamw")
    return opt_state
