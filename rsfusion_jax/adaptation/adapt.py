"""`rsf.adapt`: train a network on the arrays of the scene that it will sharpen."""

import warnings
from collections.abc import Mapping

import numpy as np

from rsfusion_jax.adaptation.run import Wish, adapt_to
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.sensors import Sensor


def adapt(
    pan,
    ms,
    *,
    sensor: str | Mapping | Sensor | None = None,
    max_value: float | None = None,
    ms_phase: float | None = None,
    valid=None,
    **wish,
) -> Fuser:
    """Train a network on the scene that it will sharpen, without any other training data.

    The pair is degraded by its own ratio, so that the original MS is the ground truth (Wald's
    protocol); the trained network is then applied at full resolution. Some windows are held out, at
    least 32 MS pixels from the training windows. The weights with the best score on them are
    selected, and a warning names the classical method that scores better there, if there is one.

    Args:
        pan: PAN image, (r h, r w, G) or (r h, r w), of any dtype. Mark nodata as NaN or by `valid`.
        ms: MS image, (h, w, C).
        sensor: sensor of the images, which has their MTF gains; None estimates one gain for all
            bands by comparing MS with PAN.
        max_value: full scale, which the network sees as 1; by default the smallest power of two
            (less one for counts) that holds all values, or, where PAN and MS have different units,
            one for each.
        ms_phase: PAN index of the centre of MS pixel 0: by default r // 2, which the Fuser expects;
            (r - 1) / 2 for a pair whose outer corners coincide.
        valid: boolean mask of the MS pixels that may be used, (h, w).
        **wish: fields of `adaptation.run.Wish`: steps or seconds, network, init, mtf,
            pan_degradation, full_resolution, fine_tune, held_out, strict, keep, seed, quiet.

    Returns:
        A Fuser in the units of the input. If `keep` names a folder, the run and its scores are
        stored there.

    Raises:
        UserError: the arrays do not fit each other; the scene is too small to hold out a part, or
            saturated or constant; or, with `strict`, a classical method scores better.
    """
    unknown = sorted(set(wish) - set(Wish.__dataclass_fields__))
    if unknown:
        raise UserError(f"option {unknown[0]!r} of adapt is unknown; see its docstring")
    scene, ratio = array_scene(pan, ms, ms_phase, valid)
    pan_value = None
    if max_value is None:
        finite = [np.asarray(image)[np.isfinite(image)] for image in (pan, ms)]
        if not all(image.size for image in finite):
            raise UserError("pan or ms holds no finite value; give images with data")
        max_value, pan_value = scene_scales(finite, full_scale_from_values(finite), None)
    adaptation = adapt_to(
        scene,
        Wish(**wish),
        name="arrays",
        sensor=sensor,
        max_value=float(max_value),
        pan_value=pan_value,
        ratio=ratio,
    )
    if adaptation.verdict is not None and not adaptation.verdict.network_wins:
        warnings.warn(adaptation.sentence, stacklevel=2)
    return adaptation.fuser
