"""What training minimises: functions (model, params, batch, key) -> (loss, scalars)."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from rsfusion_jax.diffusion.distillation import distillation_loss
from rsfusion_jax.diffusion.process import training_loss
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics import ssim
from rsfusion_jax.ops.resample import bicubic_corners, decimate
from rsfusion_jax.sensors import Sensor
from rsfusion_jax.training.consistency import SPATIAL, enlarged, inconsistency

_FINE_SHARE = 4
"""One patch in so many is fused at full resolution too: it has r^2 as many pixels there."""


def l1(fused, gt):
    """Mean absolute difference."""
    return jnp.abs(fused - gt).mean()


def mse(fused, gt):
    """Mean squared difference."""
    return jnp.square(fused - gt).mean()


def l1ssim(fused, gt):
    """L1 + 0.1 (1 - SSIM), images in [0, 1], windows continued by zeros: the loss of FeINFN."""
    similarity = functools.partial(ssim, data_range=1.0, zero_padding=True)
    return l1(fused, gt) + 0.1 * (1 - jax.vmap(similarity)(gt, fused).mean())


def relative(fused, gt):
    """Mean absolute difference in units of each band's mean, which ERGAS counts in too.

    A fiftieth of full scale is added to the means, so that the noise of a dark band counts little.
    """
    return (jnp.abs(fused - gt) / (gt.mean(axis=(-3, -2), keepdims=True) + 0.02)).mean()


_LOSSES = {"l1": l1, "mse": mse, "l1ssim": l1ssim, "relative": relative}


def supervised(loss: str) -> Callable:
    """Distance between the fused image and the truth, averaged over pixels and bands.

    Args:
        loss: "l1", "mse", "l1ssim" or "relative".
    """
    distance = _distance(loss)

    def objective(model, params, batch, key):
        if model.predicts != "fused":
            raise UserError(
                f"train.objective='supervised' needs a network that fuses in one pass, found "
                f"{model.title}; set it to 'diffusion'"
            )
        fused = _at_least_float32(_apply(model, params, batch, key)["fused"])
        return distance(fused, batch["gt"]), {}

    return objective


def full_resolution(sensor: Sensor) -> Callable:
    """What needs no truth: the fused full-resolution pair, of which `gt` is the MS, is consistent.

    Args:
        sensor: whose MTF degrades the fused image.
    """

    def objective(model, params, batch, key):
        if "pan_full" not in batch:
            raise UserError(
                "consistency at full resolution needs PAN as it is beside PAN as degraded, which "
                "only windows of a scene have; use `--adapt`, or train.full_resolution=0"
            )
        pan, ms = batch["pan_full"], batch["gt"]
        lms = enlarged(ms, model.ratio)
        given = {"pan": pan, "ms": decimate(lms, model.ratio), "lms": lms}
        fused = _at_least_float32(_apply(model, params, given, key)["fused"])
        reprojection, spatial = inconsistency(fused, pan, ms, lms, sensor)
        scalars = {"reprojection": reprojection, "spatial": spatial}
        return reprojection + SPATIAL * spatial, scalars

    return objective


def with_full_resolution(objective: Callable, weight: float, sensor: Sensor) -> Callable:
    """An objective plus `weight` times `full_resolution` on a quarter of its patches."""
    consistency = full_resolution(sensor)

    def both(model, params, batch, key):
        loss, scalars = objective(model, params, batch, key)
        some = jax.tree.map(lambda x: x[: -(-len(x) // _FINE_SHARE)], batch)
        further, fine = consistency(model, params, some, jax.random.fold_in(key, 1))
        return loss + weight * further, scalars | fine

    return both


def deep_supervision(loss: str) -> Callable:
    """The loss of networks that build the image from coarse to fine (MMAPP); L1 throughout.

    Args:
        loss: must be "l1".
    """
    if loss != "l1":
        raise UserError(f"train.loss={loss!r}: deep supervision is defined with l1; set it so")

    def objective(model, params, batch, key):
        if not hasattr(model, "stage_weights"):
            raise UserError(
                f"train.objective='deep_supervision' needs a network with stages (mmapp), found "
                f"{model.title}; set it to 'supervised'"
            )
        returned = jax.tree.map(_at_least_float32, _apply(model, params, batch, key))
        sizes = [stage.shape[-3:-1] for stage in returned["stages"]]
        truths = [*(bicubic_corners(batch["gt"], size) for size in sizes), batch["gt"]]
        return deep_supervision_loss(returned, truths, batch["lms"], model.stage_weights), {}

    return objective


def diffusion(loss: str, process) -> Callable:
    """What a denoiser of the residual gt - lms is trained with: `diffusion.process.training_loss`.

    Args:
        loss: "l1" (DDIF), "mse", or, where the network predicts x_0, "l1ssim" of the fused image.
        process: `inference.draw.Diffusion`, of which the schedule counts; None: no diffusion
            network.
    """
    distance = _distance(loss)

    def objective(model, params, batch, key):
        if process is None or model.predicts == "fused":
            raise UserError(
                f"train.objective='diffusion' needs a diffusion network (ddif), found "
                f"{model.title}; set it to 'supervised'"
            )
        if loss == "l1ssim" and model.predicts != "x0":
            raise UserError(
                f"train.loss='l1ssim' compares images, this network predicts {model.predicts!r}; "
                "set it to 'l1'"
            )
        pan, lms = batch["pan"], batch["lms"]

        def denoise(x_t, t, x_self, key):
            given = {"params": params}, x_t, t, pan, lms, x_self
            return _at_least_float32(model.apply(*given, train=True, rngs={"dropout": key}))

        def of_images(prediction, truth):
            return distance(lms + prediction, lms + truth)

        value = training_loss(
            denoise,
            make_schedule(process.schedule, process.steps),
            batch["gt"] - lms,
            key,
            predicts=model.predicts,
            distance=of_images if loss == "l1ssim" else distance,
            self_condition=model.self_condition,
        )
        return value, {}

    return objective


def distillation(loss: str, process, teacher_steps: int) -> Callable:
    """What a diffusion network with few steps learns from one with many: `distillation_loss`.

    Args:
        loss: "l1" or "mse".
        process: `inference.draw.Diffusion`: the schedule, and the student's sampler and steps.
        teacher_steps: of the teacher for one of the student.
    """
    distance = _distance(loss)

    def objective(model, params, batch, key, teacher=None):
        if process is None or model.predicts == "fused" or teacher is None:
            raise UserError(
                "train.objective='distillation' needs a diffusion network (ddif) that begins as "
                f"its teacher, found {model.title}; set init_from to a run of that network"
            )

        def network(params):
            return lambda x_t, t: _at_least_float32(
                model.apply({"params": params}, x_t, t, batch["pan"], batch["lms"])
            )

        value = distillation_loss(
            network(params),
            network(teacher),
            make_schedule(process.schedule, process.steps),
            process.make_sampler().schedule,
            batch["gt"] - batch["lms"],
            key,
            teacher_steps=teacher_steps,
            predicts=model.predicts,
            distance=distance,
        )
        return value, {}

    return objective


def deep_supervision_loss(returned, truths, lms, weights: Sequence[float]):
    """Weighted L1 of every stage against the truth at its size, and of the MS branch.

    Args:
        returned: "stages" from coarse to fine, "fused" and "ms_up" of the network.
        truths: `gt` at the size of every stage, then `gt`.
        lms: (B, H, W, C), what "ms_up" is compared with; it counts 0.01.
        weights: of the stages, then of the fused image.
    """
    images = (*returned["stages"], returned["fused"])
    total = 0.01 * jnp.abs(returned["ms_up"] - lms).mean()
    for image, truth, weight in zip(images, truths, weights, strict=True):
        total += weight * jnp.abs(image - truth).mean()
    return total


def _distance(loss: str) -> Callable:
    if loss not in _LOSSES:
        raise UserError(f"train.loss={loss!r} is unknown; choose one of {', '.join(_LOSSES)}")
    return _LOSSES[loss]


def _apply(model, params, batch, key):
    images = batch["pan"], batch["ms"], batch["lms"]
    return model.apply({"params": params}, *images, train=True, rngs={"dropout": key})


def _at_least_float32(image):
    # bfloat16 networks must not round the loss, nor float64 ones lose it.
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))


_OBJECTIVES = {
    "supervised": lambda loss, process, teacher_steps, sensor: supervised(loss),
    "deep_supervision": lambda loss, process, teacher_steps, sensor: deep_supervision(loss),
    "diffusion": lambda loss, process, teacher_steps, sensor: diffusion(loss, process),
    "distillation": lambda loss, process, teacher_steps, sensor: distillation(
        loss, process, teacher_steps
    ),
    "full_resolution": lambda loss, process, teacher_steps, sensor: full_resolution(sensor),
}


def make_objective(
    name: str,
    loss: str,
    process=None,
    teacher_steps: int = 8,
    *,
    full_resolution_weight: float = 0.0,
    sensor: Sensor | None = None,
) -> Callable:
    """Objective by name, as `config.train` gives it.

    Args:
        name: of the objective.
        loss: its distance.
        process, teacher_steps: as of `diffusion` and `distillation`.
        full_resolution_weight: of `full_resolution` beside it; 0 for none.
        sensor: whose pixels these are, for `full_resolution`.
    """
    if name not in _OBJECTIVES:
        raise UserError(
            f"train.objective={name!r} is unknown; choose one of {', '.join(_OBJECTIVES)}"
        )
    objective = _OBJECTIVES[name](loss, process, teacher_steps, sensor)
    if not full_resolution_weight:
        return objective
    return with_full_resolution(objective, full_resolution_weight, sensor)
