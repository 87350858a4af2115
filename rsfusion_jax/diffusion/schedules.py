"""Noise schedules: how much signal remains and how much noise is added at every step.

J. Ho, A. Jain, P. Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020; the cosine
schedule is A. Nichol, P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021,
eq. 17.

Schedules are computed once on the host in float64; compiled programs contain their values as
constants in the precision of the images.
"""

import dataclasses
import functools

import numpy as np

from rsfusion_jax.errors import UserError

_FIRST, _LAST = 1e-4, 2e-2
_COSINE_OFFSET = 8e-3
_LARGEST_COSINE_BETA = 0.999
_LOWEST_LEVEL = -4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule of T steps, defined by its `betas`; compared and hashed by identity.

    With a = alphas_cumprod, x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise.

    Attributes:
        betas: (T,) float64 in (0, 1], variance of the noise that each step adds.
        timesteps: (T,) index of each step in the schedule that the network was trained with:
            0..T-1, or a subset of the original indices in a schedule made by `respace`.
    """

    betas: np.ndarray
    timesteps: np.ndarray

    def __len__(self) -> int:
        return len(self.betas)

    @functools.cached_property
    def alphas_cumprod(self) -> np.ndarray:
        """Product of (1 - beta) up to each step, (T,): the share of the variance that is signal."""
        return np.cumprod(1 - self.betas)

    @functools.cached_property
    def alphas_cumprod_prev(self) -> np.ndarray:
        """`alphas_cumprod` of the previous step, (T,); 1 for the first step."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @functools.cached_property
    def signal(self) -> np.ndarray:
        """Factor sqrt(a) of x_0 in x_t, (T,)."""
        return np.sqrt(self.alphas_cumprod)

    @functools.cached_property
    def sigma(self) -> np.ndarray:
        """Factor sqrt(1 - a) of the noise in x_t, (T,)."""
        return np.sqrt(1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_variance(self) -> np.ndarray:
        """Variance of q(x_{t-1} | x_t, x_0), (T,); 0 at the first step."""
        return self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_log_variance(self) -> np.ndarray:
        """Logarithm of the posterior variance, clamped to at least 1e-20, (T,)."""
        return np.log(np.maximum(self.posterior_variance, 1e-20))

    @functools.cached_property
    def posterior_x0(self) -> np.ndarray:
        """Weight of x_0 in the mean of q(x_{t-1} | x_t, x_0), (T,)."""
        return self.betas * np.sqrt(self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_xt(self) -> np.ndarray:
        """Weight of x_t in the mean of q(x_{t-1} | x_t, x_0), (T,)."""
        remaining = (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        return remaining * np.sqrt(1 - self.betas)

    def p2_weight(self, gamma: float, k: float = 1.0) -> np.ndarray:
        """Return the loss weights (k + SNR)^-gamma, (T,): J. Choi et al., CVPR 2022, eq. 8."""
        return (k + self.alphas_cumprod / (1 - self.alphas_cumprod)) ** -gamma


def from_betas(betas) -> Schedule:
    """Return a schedule with the given betas.

    Args:
        betas: (T,) variance of the noise per step, in (0, 1); the last may be 1.

    Raises:
        UserError: no steps, or a value outside this range.
    """
    betas = np.array(betas, np.float64)
    in_range = betas.ndim == 1 and betas.size and (betas > 0).all() and (betas[:-1] < 1).all()
    if not in_range or betas[-1] > 1:
        raise UserError(
            "betas must be a list of numbers between 0 and 1, of which only the last may be 1"
        )
    return Schedule(betas, np.arange(len(betas)))


def _warmup(steps: int, fraction: float) -> np.ndarray:
    rising = int(steps * fraction)
    constant = np.full(steps - rising, _LAST)
    return np.concatenate([np.linspace(_FIRST, _LAST, rising), constant])


def _cosine(steps: int) -> np.ndarray:
    # The offset is added after the division, as in the paper; some implementations add it before.
    angle = (np.arange(steps + 1) / steps + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2
    remaining = np.cos(angle) ** 2
    return np.minimum(1 - remaining[1:] / remaining[:-1], _LARGEST_COSINE_BETA)


_BETAS = {
    "cosine": _cosine,
    "linear": lambda steps: np.linspace(_FIRST, _LAST, steps),
    "quad": lambda steps: np.linspace(_FIRST**0.5, _LAST**0.5, steps) ** 2,
    "warmup10": functools.partial(_warmup, fraction=0.1),
    "warmup50": functools.partial(_warmup, fraction=0.5),
    "const": lambda steps: np.full(steps, _LAST),
    "jsd": lambda steps: 1 / np.arange(steps, 0, -1.0),
}


@functools.cache
def make_schedule(name: str, steps: int) -> Schedule:
    """Return a schedule by name; equal arguments return the same object.

    The betas of "linear" and "quad" run from 1e-4 to 2e-2 whatever the number of steps. "jsd" ends
    in pure noise, where a prediction of the noise does not determine x_0: use it with networks
    that predict "x0" or "v".

    Args:
        name: "cosine", "linear", "quad", "warmup10", "warmup50", "const" or "jsd".
        steps: T, number of steps, at least 1.

    Raises:
        UserError: unknown name, or no steps.
    """
    if name not in _BETAS:
        raise UserError(f"schedule {name!r} is unknown; choose one of {', '.join(_BETAS)}")
    if steps < 1:
        raise UserError(f"a schedule of {steps} steps is empty; give at least 1")
    return from_betas(_BETAS[name](steps))


@functools.cache
def respace(schedule: Schedule, count: int, spacing: str = "stride") -> Schedule:
    """Return the schedule of a subset of the steps; equal arguments return the same object.

    Args:
        schedule: schedule of T steps.
        count: number of steps to select, 1..T.
        spacing: how the steps are selected.
            "stride": 0, s, 2s, .. with the integer s that gives `count` steps, as in DDIM and the
                published results of DDIF (25 of 500: 0, 20, .., 480); where there is no such s,
                the steps floor(i T / count).
            "ends": the first, the last, and evenly spaced steps between them, rounded.
            "logsnr": the first, the last, and steps between them that are evenly spaced in
                log(signal / sigma), not below -4, where hardly any signal remains; for
                DPM-Solver++ with few steps.

    Returns:
        Schedule of `count` steps whose `timesteps` are indices into the original.

    Raises:
        UserError: count or spacing out of range.
    """
    total = len(schedule)
    if not 1 <= count <= total:
        raise UserError(f"{count} sampling steps of a schedule of {total}: choose 1 to {total}")
    if spacing == "stride":
        strides = (s for s in range(1, total + 1) if len(range(0, total, s)) == count)
        stride = next(strides, None)
        indices = np.arange(count) * (stride or total) // (1 if stride else count)
    elif spacing == "ends":
        indices = np.rint(np.linspace(0, total - 1, count)).astype(int)
    elif spacing == "logsnr":
        indices = _even_in_log_snr(schedule, count)
    else:
        raise UserError(f"spacing={spacing!r} is unknown; choose stride, ends or logsnr")
    remaining = schedule.alphas_cumprod[indices]
    betas = 1 - remaining / np.append(1.0, remaining[:-1])
    return Schedule(betas, schedule.timesteps[indices])


def _even_in_log_snr(schedule: Schedule, count: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        level = np.log(schedule.signal / schedule.sigma)
    targets = np.linspace(level[0], max(level[-1], _LOWEST_LEVEL), count)
    indices = np.abs(level - targets[:, None]).argmin(axis=1)
    indices[-1] = len(schedule) - 1 if count > 1 else 0
    # Where the schedule is coarser than the target spacing, consecutive steps are taken, so that
    # no step is selected twice.
    order = np.arange(count)
    indices = np.maximum.accumulate(indices - order) + order
    return np.minimum(indices, len(schedule) - count + order)
