"""Samplers as tables of coefficients.

Ancestral sampling, DDIM and DPM-Solver++ all compute x_{t-1} as a linear combination of x_t, the
latest estimates of x_0 and fresh noise. A sampler here is the table of these coefficients, one row
per step, computed in float64; `sampling.sample` is the loop that runs any sampler.
"""

import dataclasses

import numpy as np

from rsfusion_jax.diffusion.schedules import Schedule
from rsfusion_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
    """Coefficients of n sampling steps, ordered from the noisiest step to the last.

    Attributes:
        schedule: schedule of n steps, in its own order: the noisiest last.
        x_t: (n,) coefficients of the current x_t.
        x0: (n, k) coefficients of the last k estimates of x_0, the newest first.
        noise: (n,) coefficients of standard normal noise.
    """

    schedule: Schedule
    x_t: np.ndarray
    x0: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.x_t)

    @property
    def is_random(self) -> bool:
        """Whether the sampler adds noise at any step."""
        return bool(self.noise.any())


def ancestral(schedule: Schedule) -> Sampler:
    """Return ancestral sampling: draw from q(x_{t-1} | x_t, x_0), at the last step take its mean.

    Reference: Ho et al. 2020, algorithm 2.
    """
    deviation = np.exp(0.5 * schedule.posterior_log_variance)
    deviation[0] = 0
    return _from_clean(schedule, schedule.posterior_xt, schedule.posterior_x0[:, None], deviation)


def ddim(schedule: Schedule, eta: float = 0.0) -> Sampler:
    """Return the DDIM sampler.

    Args:
        schedule: schedule of the sampler's steps, usually respaced.
        eta: share of the ancestral noise, in [0, 1]: 0 adds no noise (as in the published results
            of DDIF), 1 is ancestral sampling.

    Raises:
        UserError: eta outside [0, 1].

    Reference:
        J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, eq. 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise UserError(f"eta={eta} must lie between 0, no noise, and 1, ancestral sampling")
    remaining, before = schedule.alphas_cumprod, schedule.alphas_cumprod_prev
    deviation = eta * np.sqrt(schedule.posterior_variance)
    # x_{t-1} = sqrt(before) x_0 + direction * (x_t - sqrt(remaining) x_0), where the term in
    # parentheses is the noise in x_t times its standard deviation.
    direction = np.sqrt(np.maximum(1 - before - deviation**2, 0)) / schedule.sigma
    x0 = np.sqrt(before) - direction * np.sqrt(remaining)
    return _from_clean(schedule, direction, x0[:, None], deviation)


def dpm_solver(schedule: Schedule, order: int = 2) -> Sampler:
    """Return the multistep DPM-Solver++, which treats x_0 as a polynomial in the log SNR.

    With alpha = sqrt(a), sigma = sqrt(1 - a), l = log(alpha / sigma), the solution of the
    probability-flow equation from step s to t is (eq. 8)

        x_t = sigma_t / sigma_s x_s + sigma_t integral of exp(l) x_0(l) dl.

    Order 1 (which is DDIM) takes x_0 as constant, order 2 is the paper's algorithm 2 ("2M"), order
    3 integrates the parabola through the last three estimates exactly. The first steps, which have
    fewer estimates, and the last `order - 1` steps, the final one of which goes to infinite l, are
    of lower order.

    Args:
        schedule: schedule of the sampler's steps, usually respaced.
        order: 1, 2 or 3.

    Raises:
        UserError: another order.

    Reference:
        C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: Fast Solver for Guided
        Sampling of Diffusion Probabilistic Models", 2022.
    """
    if order not in (1, 2, 3):
        raise UserError(f"order={order} of DPM-Solver++ must be 1, 2 or 3")
    count = len(schedule)
    x_t, x0 = np.zeros(count), np.zeros((count, order))
    with np.errstate(divide="ignore"):
        # The first entry belongs to the clean image.
        level = np.append(np.inf, np.log(schedule.signal / schedule.sigma))
    sigma = np.append(0.0, schedule.sigma)
    signal = np.append(1.0, schedule.signal)
    for i in range(count):  # from entry i + 1 of `level` to entry i
        x_t[i] = sigma[i] / sigma[i + 1]
        # Levels of the available estimates, newest first. Only the oldest can stem from pure
        # noise; its level is minus infinity, so it is used only when it is the only estimate.
        known = level[i + 1 : i + 1 + min(order, i + 1)]
        known = known[: max(1, np.isfinite(known).sum())]
        x0[i, : len(known)] = signal[i] * _estimate_weights(level[i] - known[0], known)
    return _from_clean(schedule, x_t, x0, np.zeros(count))


def _estimate_weights(h: float, known: np.ndarray) -> np.ndarray:
    """Return the weights, divided by alpha_t, of the estimates at levels `known`.

    `h` is the length of the step in log SNR.
    """
    first = -np.expm1(-h)
    if len(known) == 1:
        return np.array([first])
    if len(known) == 2:
        slope = 0.5 * h / (known[0] - known[1])
        return first * np.array([1 + slope, -slope])
    # The moments are the integrals of exp(l - l_t) u^k dl over the step, with u = l - l_s from 0
    # to h. The inverse holds the Lagrange polynomials in u: 1 at one level, 0 at the others.
    moments = np.array([first, h - first, h**2 - 2 * (h - first)])
    powers = np.vander(known - known[0], increasing=True)
    return moments @ np.linalg.inv(powers)


def _from_clean(schedule: Schedule, x_t, x0, noise) -> Sampler:
    """Return the sampler whose coefficients are ordered by timestep, the cleanest first."""
    return Sampler(schedule, x_t[::-1], x0[::-1], noise[::-1])


SAMPLERS = {
    "ddim": ddim,
    "ddpm": ancestral,
    "dpm1": lambda schedule: dpm_solver(schedule, 1),
    "dpm2": lambda schedule: dpm_solver(schedule, 2),
    "dpm3": lambda schedule: dpm_solver(schedule, 3),
}
"""Samplers by name, each a function of the schedule. "ddim" has eta 0; "dpm1" is the same sampler
under another name, for which distilled students use other timesteps."""


def make_sampler(name: str, schedule: Schedule) -> Sampler:
    """Return a sampler by its name in `SAMPLERS`.

    Raises:
        UserError: unknown name.
    """
    if name not in SAMPLERS:
        raise UserError(f"sampler {name!r} is unknown; choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name](schedule)
