"""Noise schedules: how much of the signal is left after every step.

J. Ho, A. Jain, P. Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020; the cosine
schedule is A. Nichol, P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021,
eq. 17.

Everything is computed once on the host in float64; a compiled program holds the numbers as
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
    """What one number per step, `betas`, says of a process; two schedules are never equal.

    With a = alphas_cumprod, x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise.

    Attributes:
        betas: (T,) float64, variance of the noise that each step adds.
        timesteps: (T,) numbers of these steps in the schedule that the network was trained with:
            0..T-1 unless `respace` chose some of them.
    """

    betas: np.ndarray
    timesteps: np.ndarray

    def __len__(self) -> int:
        return len(self.betas)

    @functools.cached_property
    def alphas_cumprod(self) -> np.ndarray:
        """(T,) part of the variance that is still signal."""
        return np.cumprod(1 - self.betas)

    @functools.cached_property
    def alphas_cumprod_prev(self) -> np.ndarray:
        """(T,) the same one step earlier; 1 before the first."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @functools.cached_property
    def signal(self) -> np.ndarray:
        """(T,) sqrt(a), what x_0 is multiplied by."""
        return np.sqrt(self.alphas_cumprod)

    @functools.cached_property
    def sigma(self) -> np.ndarray:
        """(T,) sqrt(1 - a), what the noise is multiplied by."""
        return np.sqrt(1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_variance(self) -> np.ndarray:
        """(T,) variance of q(x_{t-1} | x_t, x_0); 0 at the first step."""
        return self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_log_variance(self) -> np.ndarray:
        """(T,) its logarithm, of at least 1e-20."""
        return np.log(np.maximum(self.posterior_variance, 1e-20))

    @functools.cached_property
    def posterior_x0(self) -> np.ndarray:
        """(T,) weight of x_0 in the mean of q(x_{t-1} | x_t, x_0)."""
        return self.betas * np.sqrt(self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @functools.cached_property
    def posterior_xt(self) -> np.ndarray:
        """(T,) weight of x_t in that mean."""
        remaining = (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        return remaining * np.sqrt(1 - self.betas)

    def p2_weight(self, gamma: float, k: float = 1.0) -> np.ndarray:
        """(T,) weights (k + SNR)^-gamma of the loss: J. Choi et al., CVPR 2022, eq. 8."""
        return (k + self.alphas_cumprod / (1 - self.alphas_cumprod)) ** -gamma


def from_betas(betas) -> Schedule:
    """A schedule of one's own.

    Args:
        betas: (T,) in (0, 1], 1 at most at the last step.

    Raises:
        UserError: no steps, or a value outside.
    """
    betas = np.array(betas, np.float64)
    inside = betas.ndim == 1 and betas.size and (betas > 0).all() and (betas[:-1] < 1).all()
    if not inside or betas[-1] > 1:
        raise UserError(
            "betas must be a list of numbers between 0 and 1, of which only the last may be 1"
        )
    return Schedule(betas, np.arange(len(betas)))


def _warmup(steps: int, fraction: float) -> np.ndarray:
    rising = int(steps * fraction)
    constant = np.full(steps - rising, _LAST)
    return np.concatenate([np.linspace(_FIRST, _LAST, rising), constant])


def _cosine(steps: int) -> np.ndarray:
    # The offset is added after the division: as in the paper, not as in every program.
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
    """Schedule by name; the same object for the same arguments.

    The linear ones run from 1e-4 to 2e-2 whatever the number of steps. `jsd` ends in pure noise,
    where a prediction of the noise says nothing: use it with "x0" or "v".

    Args:
        name: "cosine", "linear", "quad", "warmup10", "warmup50", "const" or "jsd".
        steps: T.

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
    """The process seen at some of its steps only; the same object for the same arguments.

    Args:
        schedule: of T steps.
        count: how many to keep, 1..T.
        spacing: "stride" keeps 0, s, 2s, .. with the integer s that gives `count` steps, as in
            DDIM and the published results of DDIF (25 of 500: 0, 20, .., 480); where there is no
            such s, the steps floor(i T / count). "ends" keeps the first and the last and rounds
            evenly between them. "logsnr" keeps both too, the others evenly spread in log(signal /
            sigma) from -4, below which nothing is left to see: for DPM-Solver++ in few steps.

    Returns:
        Schedule of `count` steps whose `timesteps` are those of the original.

    Raises:
        UserError: count or spacing out of range.
    """
    total = len(schedule)
    if not 1 <= count <= total:
        raise UserError(f"{count} sampling steps of a schedule of {total}: choose 1 to {total}")
    if spacing == "stride":
        strides = (s for s in range(1, total + 1) if len(range(0, total, s)) == count)
        stride = next(strides, None)
        kept = np.arange(count) * (stride or total) // (1 if stride else count)
    elif spacing == "ends":
        kept = np.rint(np.linspace(0, total - 1, count)).astype(int)
    elif spacing == "logsnr":
        kept = _even_in_log_snr(schedule, count)
    else:
        raise UserError(f"spacing={spacing!r} is unknown; choose stride, ends or logsnr")
    remaining = schedule.alphas_cumprod[kept]
    betas = 1 - remaining / np.append(1.0, remaining[:-1])
    return Schedule(betas, schedule.timesteps[kept])


def _even_in_log_snr(schedule: Schedule, count: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        level = np.log(schedule.signal / schedule.sigma)
    wanted = np.linspace(level[0], max(level[-1], _LOWEST_LEVEL), count)
    kept = np.abs(level - wanted[:, None]).argmin(axis=1)
    kept[-1] = len(schedule) - 1 if count > 1 else 0
    # Where the schedule is coarser than asked for, its steps are taken one after the other.
    order = np.arange(count)
    kept = np.maximum.accumulate(kept - order) + order
    return np.minimum(kept, len(schedule) - count + order)
