"""Where a pixel attends: the attention weights of networks whose pixels attend to others."""

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import mmapp, rsanet, u2net
from rsfusion_jax.ops.resample import interp23

_WINDOWED = (rsanet.SelfAttention, mmapp.ACmix)
_GLOBAL = u2net.SpatialSpectralAttention
_HALVINGS = 4


def attention_weights(
    fuser: Fuser, pan, ms, pixel: tuple[int, int]
) -> dict[str, tuple[np.ndarray, tuple[int, int]]]:
    """Compute where a pixel attends, in each attention of RSANet, MMAPP or U2Net.

    The softmax is that of the paper, formed of the queries and keys that the network computes. The
    attentions of RSANet and MMAPP see the 7x7 pixels around a pixel; beyond the border they see
    the image's reflection, whose weights are added to those of the pixels reflected.

    Args:
        fuser: the network.
        pan: (1, H, W, G) in [0, 1].
        ms: (1, H/r, W/r, C), likewise.
        pixel: row and column, on the grid of PAN.

    Returns:
        By the path of the attention, in the order of computation, empty for other networks: the
        weights, (heads, h, w), with a sum of 1 for each head, on a grid that may be coarser than
        PAN's; and the row and column of the attending pixel on it.
    """
    model = fuser.model
    attentions = []  # path of each, and whether it sees all pixels

    def needed(module, method: str) -> bool:
        if method != "__call__":
            return False
        if isinstance(module, (*_WINDOWED, _GLOBAL)):
            attentions.append((module.path, isinstance(module, _GLOBAL)))
        return isinstance(module, u2net.S2Block) or isinstance(module.parent, (*_WINDOWED, _GLOBAL))

    @jax.jit
    @jax.default_matmul_precision("highest")
    def run(variables, pan, ms):
        capture = {"capture_intermediates": needed, "mutable": ["intermediates"]}
        _, state = model.apply(variables, pan, ms, interp23(ms, model.ratio), **capture)
        return state.get("intermediates", {})

    blocks = run(fuser.variables, jnp.asarray(pan), jnp.asarray(ms))
    found = {}
    for path, sees_all in attentions:
        parts = _find(blocks, path)
        image = _output(_find(blocks, path[:-1]) if sees_all else parts["q"])
        place = _on_grid(pixel, image.shape[:2], pan.shape[1:3])
        if sees_all:
            weights = _of_all_pixels(parts, model.dim_head, image.shape[:2], place)
        else:
            weights = _of_window(parts, place)
        found["/".join(path)] = weights, place
    return found


def _of_all_pixels(parts, dim_head, grid, place) -> np.ndarray:
    """Weights of U2Net's spatial attention, softmax(y1 y2^T / sqrt(d))."""
    query, key = (_output(parts[name]) for name in ("sa1", "sa2"))  # (h w, heads d)
    query, key = (x.reshape(*grid, -1, dim_head) for x in (query, key))
    logits = np.einsum("nd,hwnd->nhw", query[place], key) / dim_head**0.5
    return _softmax(logits)


def _of_window(parts, place) -> np.ndarray:
    """Weights of `rsanet.windowed_attention`."""
    query, key = (_output(parts[name]) for name in ("q", "k"))  # (h, w, heads d)
    query, key = (x.reshape(*x.shape[:2], rsanet.HEADS, -1) for x in (query, key))
    key = key - _output(parts["position"])[:, :, None]
    reach = rsanet.WINDOW // 2
    seen = np.ix_(
        *(
            np.pad(np.arange(side), reach, "reflect")[first : first + rsanet.WINDOW]
            for side, first in zip(key.shape, place, strict=False)
        )
    )
    logits = np.einsum("nd,hwnd->nhw", query[place], key[seen]) / query.shape[-1] ** 0.5
    weights = np.zeros((rsanet.HEADS, *key.shape[:2]), np.float32)
    for of_head, softmax in zip(weights, _softmax(logits), strict=True):
        np.add.at(of_head, seen, softmax)
    return weights


def _softmax(logits: np.ndarray) -> np.ndarray:
    """(heads, h, w), over h and w."""
    weights = np.exp(logits - logits.max((1, 2), keepdims=True))
    return weights / weights.sum((1, 2), keepdims=True)


def _on_grid(pixel, grid, full) -> tuple[int, int]:
    """Return the pixel that holds a pixel of PAN on a grid that was halved, and padded before."""
    steps = (2**halvings for halvings in range(_HALVINGS))
    step = next(s for s in steps if grid[0] * s >= full[0] and grid[1] * s >= full[1])
    return pixel[0] // step, pixel[1] // step


def _find(blocks: dict, path) -> dict:
    for name in path:
        blocks = blocks[name]
    return blocks


def _output(block) -> np.ndarray:
    """What a block returned for the only image."""
    return np.asarray(block["__call__"][0][0])
