"""A student that takes in one step what its teacher takes in several.

T. Salimans, J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022.
From a noisy x_t the teacher goes k steps of DDIM; the student learns the x_0 with which one step of
DDIM ends where the teacher has. There k is 2 and is repeated; here it is whatever is asked for, in
one go or repeated, as a student can be the next one's teacher.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.diffusion.process import l1, x0_of
from rsfusion_jax.diffusion.schedules import Schedule
from rsfusion_jax.errors import UserError


def distillation_loss(
    student: Callable,
    teacher: Callable,
    schedule: Schedule,
    steps: Schedule,
    x_start,
    key,
    *,
    teacher_steps: int,
    predicts: str = "x0",
    distance: Callable = l1,
):
    """Distance between the student's estimate of x_0 and the one that its teacher amounts to.

    Args:
        student, teacher: `(x_t, t) -> prediction`; no gradient goes through the teacher.
        schedule: the whole one.
        steps: `schedule` respaced to the student's steps.
        x_start: (B, H, W, C) clean images; which of the student's steps they are noised for, and
            the noise, are drawn.
        key: PRNG key.
        teacher_steps: k, steps of the teacher for one of the student.
        predicts: "x0" or "v"; of both networks.
        distance: (prediction, truth) -> scalar.

    Returns:
        Scalar.

    Raises:
        UserError: k < 1, or networks that predict the noise, which says nothing of x_0 where the
            student begins.
    """
    if predicts == "noise":
        raise UserError("distillation needs a network that predicts x0 or v, found 'noise'")
    if teacher_steps < 1:
        raise UserError(f"{teacher_steps} steps of the teacher for one of the student: at least 1")
    times, signal, sigma = _teacher_path(schedule, steps, teacher_steps)
    step_key, noise_key = jax.random.split(key)
    chosen = jax.random.randint(step_key, x_start.shape[:1], 0, len(steps))
    times = jnp.asarray(times, jnp.int32)[chosen].T  # (k + 1, B)
    signal, sigma = (
        jnp.asarray(values, x_start.dtype)[chosen].T[..., None, None, None]
        for values in (signal, sigma)
    )
    noise = jax.random.normal(noise_key, x_start.shape, x_start.dtype)
    x_t = signal[0] * x_start + sigma[0] * noise

    def teach(x, row):
        t, (a, s), (next_a, next_s) = row
        x0 = x0_of(predicts, teacher(x, t).astype(x.dtype), x, a, s)
        return next_s / s * x + (next_a - next_s / s * a) * x0, None

    path = times[:-1], (signal[:-1], sigma[:-1]), (signal[1:], sigma[1:])
    arrived, _ = jax.lax.scan(teach, x_t, path)
    kept = sigma[-1] / sigma[0]
    truth = (arrived - kept * x_t) / (signal[-1] - kept * signal[0])
    x0 = x0_of(predicts, student(x_t, times[0]), x_t, signal[0], sigma[0])
    return distance(x0, jax.lax.stop_gradient(truth))


def _teacher_path(schedule: Schedule, steps: Schedule, count: int):
    """Timesteps, signal and sigma (n, k + 1) that the teacher passes for every student's step.

    They are even in the timestep; the student's last step ends in the clean image, to which the
    teacher has only one step of its own.
    """
    ends = steps.timesteps
    between = [
        np.rint(np.linspace(start, stop, count + 1)).astype(int)
        for start, stop in zip(ends[1:], ends[:-1], strict=True)
    ]
    times = np.array([[ends[0]] * (count + 1), *between])
    signal, sigma = schedule.signal[times], schedule.sigma[times]
    signal[0, -1], sigma[0, -1] = 1.0, 0.0
    return times, signal, sigma
