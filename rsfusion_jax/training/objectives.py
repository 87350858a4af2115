"""Training objectives: functions `(model, params, batch, key) -> (loss, scalars)`.

`batch` has "pan", "ms", "lms" (the upsampled MS) and "gt" (the ground truth), in [0, 1], and, if it
was cut from a scene with holes, "valid", 0 where there is no ground truth; `scalars` is a dict of
further values for the log. `objective.check(model, batch)` raises `UserError` for a network or
batch that it is not for. Loss and scalars are means over the images: on several devices each
computes them for its own images, and the training step averages them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from rsfusion_jax.diffusion.distillation import distillation_loss
from rsfusion_jax.diffusion.process import residual_to_x0, training_loss, x0_to_residual
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import bicubic_corners, decimate
from rsfusion_jax.sensors import Sensor
from rsfusion_jax.training.any_camera import any_camera
from rsfusion_jax.training.consistency import SPATIAL, enlarged, inconsistency
from rsfusion_jax.training.distances import distance_of

_FINE_SHARE = 4
"""Of the n patches that a device has of a batch, ceil(n / 4) are fused at full resolution as well;
there each has r^2 times as many pixels."""


def supervised(loss: str) -> Callable:
    """Make the objective that compares the fused image with the ground truth.

    Args:
        loss: a name of `distances.distance_of`.
    """
    distance = distance_of(loss)

    def check(model, batch):
        if model.predicts != "fused":
            raise UserError(
                f"train.objective='supervised' needs a network that fuses in one pass, found "
                f"{model.title}; set it to 'diffusion'"
            )

    def objective(model, params, batch, key):
        check(model, batch)
        fused = _at_least_float32(_apply(model, params, batch, key)["fused"])
        if "valid" in batch:  # other pixels count as right, so that they have no gradient
            fused = jnp.where(batch["valid"] > 0, fused, batch["gt"])
        return distance(fused, batch["gt"]), {}

    objective.check = check
    return objective


def full_resolution(sensor: Sensor) -> Callable:
    """Make the objective without ground truth: consistency at full resolution.

    The network fuses the full-resolution pair, whose PAN is `batch["pan_full"]` and whose MS is
    `batch["gt"]`; the loss is `consistency.inconsistency` of the result.

    Args:
        sensor: sensor with the MTF gains for the degradation of the fused image.
    """

    def check(model, batch):
        if "pan_full" not in batch:
            raise UserError(
                "consistency at full resolution needs PAN at full resolution as well as degraded, "
                "which only windows of a scene have; use `--adapt`, or train.full_resolution=0"
            )

    def objective(model, params, batch, key):
        check(model, batch)
        pan, ms = batch["pan_full"], batch["gt"]
        lms = enlarged(ms, model.ratio)
        inputs = {"pan": pan, "ms": decimate(lms, model.ratio), "lms": lms}
        fused = _at_least_float32(_apply(model, params, inputs, key)["fused"])
        reprojection, spatial = inconsistency(fused, pan, ms, lms, sensor)
        scalars = {"reprojection": reprojection, "spatial": spatial}
        return reprojection + SPATIAL * spatial, scalars

    objective.check = check
    return objective


def with_full_resolution(objective: Callable, weight: float, sensor: Sensor) -> Callable:
    """Add `weight` times `full_resolution` to an objective, on a quarter of the patches.

    These are the first ones; on several devices the first ones of each device, so that all have the
    same work and no patch is moved.
    """
    consistency = full_resolution(sensor)

    def check(model, batch):
        objective.check(model, batch)
        consistency.check(model, batch)

    def both(model, params, batch, key):
        loss, scalars = objective(model, params, batch, key)
        subset = jax.tree.map(lambda x: x[: -(-len(x) // _FINE_SHARE)], batch)
        extra_loss, extra_scalars = consistency(model, params, subset, jax.random.fold_in(key, 1))
        return loss + weight * extra_loss, scalars | extra_scalars

    both.check = check
    return both


def deep_supervision(loss: str) -> Callable:
    """Make the objective of networks that build the image from coarse to fine (MMAPP).

    Args:
        loss: must be "l1", the distance of every stage.
    """
    if loss != "l1":
        raise UserError(f"train.loss={loss!r}: deep supervision is defined with l1; set it so")

    def check(model, batch):
        if not hasattr(model, "stage_weights"):
            raise UserError(
                f"train.objective='deep_supervision' needs a network with stages (mmapp), found "
                f"{model.title}; set it to 'supervised'"
            )

    def objective(model, params, batch, key):
        check(model, batch)
        outputs = jax.tree.map(_at_least_float32, _apply(model, params, batch, key))
        sizes = [stage.shape[-3:-1] for stage in outputs["stages"]]
        truths = [*(bicubic_corners(batch["gt"], size) for size in sizes), batch["gt"]]
        return deep_supervision_loss(outputs, truths, batch["lms"], model.stage_weights), {}

    objective.check = check
    return objective


def diffusion(loss: str, process) -> Callable:
    """Make the objective of diffusion networks, which denoise the residual gt - lms.

    The loss is `diffusion.process.training_loss` of the residual divided by its scale.

    Args:
        loss: "l1" (DDIF), "mse", or, for a network that predicts x_0, "l1ssim" of the fused image.
        process: `inference.draw.Diffusion`, of which only the noise schedule and the scale of the
            residual are used; None for other networks, which this objective rejects.
    """
    distance = distance_of(loss)

    def check(model, batch):
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

    def objective(model, params, batch, key):
        check(model, batch)
        pan, lms, scale = batch["pan"], batch["lms"], process.residual_scale

        def denoise(x_t, t, x_self, key):
            inputs = {"params": params}, x_t, t, pan, lms, x_self
            return _at_least_float32(model.apply(*inputs, train=True, rngs={"dropout": key}))

        def image_distance(prediction, truth):
            images = (lms + x0_to_residual(x0, scale) for x0 in (prediction, truth))
            return distance(*images)

        value = training_loss(
            denoise,
            make_schedule(process.schedule, process.steps),
            residual_to_x0(batch["gt"] - lms, scale),
            key,
            predicts=model.predicts,
            distance=image_distance if loss == "l1ssim" else distance,
            self_condition=model.self_condition,
        )
        return value, {}

    objective.check = check
    return objective


def distillation(loss: str, process, teacher_steps: int) -> Callable:
    """Make the objective that distils a diffusion network into one with fewer sampler steps.

    The loss is `diffusion.distillation.distillation_loss`.

    Args:
        loss: "l1" or "mse".
        process: `inference.draw.Diffusion` with the noise schedule, the scale of the residual, and
            the student's sampler and number of steps.
        teacher_steps: number of teacher steps that one student step replaces.
    """
    distance = distance_of(loss)

    def check(model, batch, teacher=True):
        if process is None or model.predicts == "fused" or teacher is None:
            raise UserError(
                "train.objective='distillation' needs a diffusion network (ddif) that begins as "
                f"its teacher, found {model.title}; set init_from to a run of that network"
            )

    def objective(model, params, batch, key, teacher=None):
        check(model, batch, teacher)

        def network(params):
            return lambda x_t, t: _at_least_float32(
                model.apply({"params": params}, x_t, t, batch["pan"], batch["lms"])
            )

        value = distillation_loss(
            network(params),
            network(teacher),
            make_schedule(process.schedule, process.steps),
            process.make_sampler().schedule,
            residual_to_x0(batch["gt"] - batch["lms"], process.residual_scale),
            key,
            teacher_steps=teacher_steps,
            predicts=model.predicts,
            distance=distance,
        )
        return value, {}

    objective.check = check
    return objective


def deep_supervision_loss(returned, truths, lms, weights: Sequence[float]):
    """Compute the weighted sum of the L1 losses of all stages, the fused image and the MS branch.

    Args:
        returned: output of the network: "stages" (a sequence from coarse to fine), "fused" and
            "ms_up".
        truths: `gt` resampled to the size of each stage, then `gt` itself.
        lms: upsampled MS, (B, H, W, C), the target of "ms_up", with weight 0.01.
        weights: weight of each stage, then of the fused image.
    """
    images = (*returned["stages"], returned["fused"])
    total = 0.01 * jnp.abs(returned["ms_up"] - lms).mean()
    for image, truth, weight in zip(images, truths, weights, strict=True):
        total += weight * jnp.abs(image - truth).mean()
    return total


def _apply(model, params, batch, key):
    images = batch["pan"], batch["ms"], batch["lms"]
    return model.apply({"params": params}, *images, train=True, rngs={"dropout": key})


def _at_least_float32(image):
    # The loss of a bfloat16 network must not be rounded to bfloat16; float64 stays float64.
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))


_OBJECTIVES = {
    "supervised": lambda loss, process, teacher_steps, sensor: supervised(loss),
    "deep_supervision": lambda loss, process, teacher_steps, sensor: deep_supervision(loss),
    "diffusion": lambda loss, process, teacher_steps, sensor: diffusion(loss, process),
    "distillation": lambda loss, process, teacher_steps, sensor: distillation(
        loss, process, teacher_steps
    ),
    "full_resolution": lambda loss, process, teacher_steps, sensor: full_resolution(sensor),
    "any_camera": lambda loss, process, teacher_steps, sensor: any_camera(loss),
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
    """Make an objective by name, from the values in `config.train`.

    Args:
        name: "supervised", "deep_supervision", "diffusion", "distillation", "full_resolution" or
            "any_camera".
        loss: name of the distance, such as "l1".
        process: `inference.draw.Diffusion`, needed by "diffusion" and "distillation".
        teacher_steps: see `distillation`.
        full_resolution_weight: weight with which `full_resolution` is added; 0 adds nothing.
        sensor: sensor of the images, needed by `full_resolution`.

    Raises:
        UserError: the objective or the loss is unknown, or the two do not fit together.
    """
    if name not in _OBJECTIVES:
        raise UserError(
            f"train.objective={name!r} is unknown; choose one of {', '.join(_OBJECTIVES)}"
        )
    objective = _OBJECTIVES[name](loss, process, teacher_steps, sensor)
    if not full_resolution_weight:
        return objective
    return with_full_resolution(objective, full_resolution_weight, sensor)
