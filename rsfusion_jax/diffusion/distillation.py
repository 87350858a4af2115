"""Progressive distillation: a student learns to do in one step what its teacher does in several.

T. Salimans, J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022.
From a noisy x_t the teacher takes k DDIM steps; the student learns the x_0 with which a single DDIM
step ends at the same image. The paper uses k = 2 and repeats the distillation with the student as
the next teacher; here k is an argument, so that one distillation can skip more steps at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.diffusion.process import l1, x0_of
from rsfusion_jax.diffusion.schedules import Schedule
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.by_device import draw_rows


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
    """Compute the distance between the student's estimate of x_0 and its target from the teacher.

    Args:
        student, teacher: networks `(x_t, t) -> prediction`; the teacher receives no gradient.
        schedule: full schedule, not respaced.
        steps: `schedule` respaced to the student's steps.
        x_start: (B, H, W, C) clean images. For each of them one of the student's steps and the
            noise are drawn at random.
        key: PRNG key.
        teacher_steps: k, number of teacher steps per student step, at least 1.
        predicts: "x0" or "v": the quantity that both networks predict.
        distance: function (prediction, truth) -> scalar.

    Returns:
        Scalar loss.

    Raises:
        UserError: k < 1, or networks that predict the noise: at the student's first step x_t is
            nearly pure noise, from which a prediction of the noise cannot recover x_0.
    """
    if predicts == "noise":
        raise UserError("distillation needs a network that predicts x0 or v, found 'noise'")
    if teacher_steps < 1:
        raise UserError(f"{teacher_steps} steps of the teacher for one of the student: at least 1")
    times, signal, sigma = _teacher_path(schedule, steps, teacher_steps)
    step_key, noise_key = jax.random.split(key)
    chosen = draw_rows(lambda n: jax.random.randint(step_key, n, 0, len(steps)), x_start.shape[:1])
    times = jnp.asarray(times, jnp.int32)[chosen].T  # (k + 1, B)
    signal, sigma = (
        jnp.asarray(values, x_start.dtype)[chosen].T[..., None, None, None]
        for values in (signal, sigma)
    )
    noise = draw_rows(lambda n: jax.random.normal(noise_key, n, x_start.dtype), x_start.shape)
    x_t = signal[0] * x_start + sigma[0] * noise

    def teach(x, row):
        t, (a, s), (next_a, next_s) = row
        x0 = x0_of(predicts, teacher(x, t).astype(x.dtype), x, a, s)
        return next_s / s * x + (next_a - next_s / s * a) * x0, None

    path = times[:-1], (signal[:-1], sigma[:-1]), (signal[1:], sigma[1:])
    x_end, _ = jax.lax.scan(teach, x_t, path)
    noise_ratio = sigma[-1] / sigma[0]
    truth = (x_end - noise_ratio * x_t) / (signal[-1] - noise_ratio * signal[0])
    x0 = x0_of(predicts, student(x_t, times[0]), x_t, signal[0], sigma[0])
    return distance(x0, jax.lax.stop_gradient(truth))


def _teacher_path(schedule: Schedule, steps: Schedule, count: int):
    """Return timesteps, signal and sigma, each (n, k + 1), of the teacher for every student step.

    The teacher's timesteps are evenly spaced within a student step. The student's last step ends
    in the clean image; its row repeats one timestep, so that only the last entry removes noise.
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
