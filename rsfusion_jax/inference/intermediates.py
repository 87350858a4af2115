"""What the blocks of a network compute on the way to the fused image."""

import fnmatch
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from rsfusion_jax.compilation import jit
from rsfusion_jax.diffusion.noise import noise_field
from rsfusion_jax.diffusion.process import q_sample, residual_to_x0
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.models import abstract_params, input_shapes

_CALL = "__call__"
_SIDE = 16  # of the MS whose shapes tell the blocks


@functools.lru_cache
def list_blocks(model) -> list[str]:
    """List the blocks of a network whose outputs are images, by path, such as "fscfm1/fda".

    A block that is called more than once has its later calls as "block, call 2", one that returns
    several images "block, image 1". Nothing is computed.

    Args:
        model: the network.
    """
    variables = {"params": abstract_params(model)}
    run = functools.partial(_captured, model, lambda path: True)
    return list(jax.eval_shape(run, variables, *input_shapes(model, _SIDE, _SIDE)))


def parse_blocks(text: str, model) -> tuple[str, ...]:
    """Find the blocks that patterns name.

    Args:
        text: patterns between commas, such as "fd2r,fscfm*"; "" for none. `*` and `?` stand for any
            characters but "/". A pattern without "/" names outer blocks, or, where it fits none of
            them, the last part of any path.
        model: the network.

    Returns:
        Paths of the blocks, sorted.

    Raises:
        UserError: a pattern names no block whose output is an image.
    """
    patterns = [pattern.strip() for pattern in text.split(",") if pattern.strip()]
    blocks = list_blocks(model) if patterns else []
    found = set()
    for pattern in patterns:
        matching = [block for block in blocks if _matches(block, pattern)]
        found.update([block for block in matching if "/" not in block] or matching)
        if not matching:
            outer = dict.fromkeys(block.partition("/")[0] for block in blocks)
            raise UserError(
                f"{model.title} has no block {pattern!r} whose output is an image; its outer "
                f"blocks are {', '.join(outer)}"
            )
    return tuple(block for block in blocks if block in found)


@functools.partial(jit, static_argnames=("model", "diffusion", "blocks"))
@jax.default_matmul_precision("highest")
def feature_maps(
    model, variables, pan, ms, lms, *, blocks: Sequence[str], diffusion: Diffusion | None = None
) -> dict[str, jax.Array]:
    """Compute what blocks return for a batch of images.

    Of a diffusion network it is one call of the denoiser, in the middle of the schedule, on the
    residual that it draws itself, with seed 0.

    Args:
        model: the network.
        variables: {"params": ...}.
        pan: (B, H, W, G) in [0, 1].
        ms: (B, H/r, W/r, C), likewise.
        lms: (B, H, W, C), likewise.
        blocks: from `parse_blocks`.
        diffusion: process of a diffusion network.

    Returns:
        By block: (B, h, w, c), in the network's own units.
    """
    inputs = pan, ms, lms
    if diffusion is not None:
        inputs = _in_the_middle(model, variables, pan, lms, diffusion)
    outputs = _captured(model, {_path(block) for block in blocks}.__contains__, variables, *inputs)
    return {block: outputs[block] for block in blocks}


def _in_the_middle(model, variables, pan, lms, diffusion: Diffusion):
    """Inputs of the denoiser: x_t, t, PAN and LMS."""
    schedule = make_schedule(diffusion.schedule, diffusion.steps)
    key = jax.random.key(0)
    fused, _ = draw(model, variables, key, pan, lms, diffusion=diffusion)
    t = jnp.full(len(lms), len(schedule) // 2, jnp.int32)
    noise = jnp.broadcast_to(noise_field(key, (1, *lms.shape[1:]), lms.dtype), lms.shape)
    x0 = residual_to_x0(fused - lms, diffusion.residual_scale)
    return q_sample(schedule, x0, t, noise), t, pan, lms


def _captured(model, wanted: Callable, variables, *inputs) -> dict[str, jax.Array]:
    """Run a network and return the outputs of its blocks, by name."""

    def captured(module, method: str) -> bool:
        return method == _CALL and bool(module.path) and wanted("/".join(module.path))

    _, state = model.apply(
        variables, *inputs, capture_intermediates=captured, mutable=["intermediates"]
    )
    outputs = {}
    for path, value in jax.tree_util.tree_leaves_with_path(state.get("intermediates", {})):
        keys = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
        called = keys.index(_CALL)
        call, images = keys[called + 1], keys[called + 2 :]
        name = "/".join(keys[:called])
        name += f", call {call + 1}" if call else ""
        name += "".join(
            f", {image}" if isinstance(image, str) else f", image {image + 1}" for image in images
        )
        batch = len(inputs[0])
        if value.ndim == 4 and len(value) % batch == 0:
            # Blocks that see every band as an image of its own: bands beside channels.
            apart = value.reshape(batch, -1, *value.shape[1:])
            outputs[name] = jnp.moveaxis(apart, 1, 3).reshape(batch, *value.shape[1:3], -1)
    return outputs


def _path(block: str) -> str:
    return block.partition(",")[0]


def _matches(block: str, pattern: str) -> bool:
    """Part by part, so that "*" stands for no "/"."""
    parts, patterns = _path(block).split("/"), pattern.split("/")
    parts = parts[-1:] if len(patterns) == 1 else parts
    matches = map(fnmatch.fnmatchcase, parts, patterns)
    return len(parts) == len(patterns) and all(matches)
