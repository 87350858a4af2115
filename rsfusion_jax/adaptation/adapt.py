"""`rsf.adapt`: arrays of one scene to a Fuser for it."""

import warnings
from collections.abc import Mapping

import numpy as np

from rsfusion_jax.adaptation.arrays import array_scene
from rsfusion_jax.adaptation.run import Wish, adapt_to
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
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
    """Trains a network on the scene that it shall sharpen: no training set is needed.

    Degraded by its own ratio, the scene's MS is the truth (Wald's protocol); what is learnt there
    is applied at full resolution. Windows are held out, 32 MS pixels from the others: the best
    weights on them are kept, and a formula that is better there is named in a warning.

    Args:
        pan: (r h, r w, G), or (r h, r w); any dtype, nodata as NaN or by `valid`.
        ms: (h, w, C) in the same units.
        sensor: whose pixels these are, for the MTF gains; None measures one gain against PAN.
        max_value: what stands for 1 in the weights; default the power of two (less one for
            counts) that holds all values.
        ms_phase: PAN index of the centre of MS pixel 0: default r // 2, where the Fuser expects
            it; (r - 1) / 2 for a pair whose corners coincide.
        valid: (h, w) bool: MS pixels that may be used.
        **wish: fields of `adaptation.run.Wish`: steps or seconds, network, init, mtf,
            pan_degradation, full_resolution, fine_tune, held_out, strict, keep, seed, quiet.

    Returns:
        A Fuser in the units of the input. The run, with its scores, stays in `keep`.

    Raises:
        UserError: arrays that do not fit each other, a scene too small to hold out, saturated or
            constant, or, where `strict`, a network that does not win.
    """
    unknown = sorted(set(wish) - set(Wish.__dataclass_fields__))
    if unknown:
        raise UserError(f"option {unknown[0]!r} of adapt is unknown; see its docstring")
    scene, ratio = array_scene(pan, ms, ms_phase, valid)
    if max_value is None:
        finite = [np.asarray(image)[np.isfinite(image)] for image in (pan, ms)]
        if not all(image.size for image in finite):
            raise UserError("pan or ms holds no finite value; give images with data")
        max_value = full_scale_from_values(finite)
    adaptation = adapt_to(
        scene, Wish(**wish), name="arrays", sensor=sensor, max_value=float(max_value), ratio=ratio
    )
    if adaptation.verdict is not None and not adaptation.verdict.network_wins:
        warnings.warn(adaptation.sentence, stacklevel=2)
    return adaptation.fuser
