"""Registration of a pair: the residual shift of MS against PAN, measured and perhaps corrected."""

import dataclasses
import math

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.image import Image
from rsfusion_jax.scenes.pair.local_shift import ShiftField, as_shift, measure_field
from rsfusion_jax.scenes.pair.parts import read_parts
from rsfusion_jax.scenes.pair.relate import Relation, make_scene
from rsfusion_jax.scenes.pair.shift import Shift, estimate_shift

_SIDE = 128
"""MS pixels along a side of the parts on which a residual shift is measured."""
_PARTS = 9
_LEAST = 0.3
"""Share of valid pixels of such a part, where no part is complete."""


@dataclasses.dataclass(frozen=True)
class Registration:
    """Residual shift of a pair.

    Attributes:
        shift: (rows, columns) in PAN pixels that are corrected.
        measured: the shift that was measured; None where none was.
        notices: messages for the user.
        field: a shift that varies over the scene, which is corrected; None.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    measured: Shift | None = None
    notices: tuple[str, ...] = ()
    field: ShiftField | None = None

    def corrected(self, ms):
        """MS, moved by the field where there is one."""
        return ms if self.field is None else ms.displaced(self.field)


def register(
    pan: Image, ms: Image, relation: Relation, shift: str | tuple[float, float]
) -> Registration:
    """Measures the residual shift of a pair, or takes the user's.

    Args:
        pan, ms: the images.
        relation: where MS lies by the geotransforms.
        shift: "report" measures it, "auto" also corrects it, "local" measures one that varies and
            corrects it, "none" does nothing; or (rows, columns) in PAN pixels to correct.
    """
    if not isinstance(shift, str):
        rows, columns = map(float, shift)
        if not (abs(rows) <= pan.size[0] and abs(columns) <= pan.size[1]):
            raise UserError(
                f"--shift={rows:g},{columns:g} must be PAN pixels within the image of "
                f"{pan.size[0]} x {pan.size[1]}"
            )
        return Registration((rows, columns))
    if shift == "none":
        return Registration()
    if shift == "local":
        return _register_locally(pan, ms, relation)
    measured = measure_shift(pan, ms, relation)
    if measured is None:
        notice = "residual shift: too little structure or too few valid pixels to measure"
        return Registration(notices=(notice,))
    corrects = shift == "auto"
    notice = (
        f"residual shift of MS against PAN: {measured.rows:+.2f} rows, "
        f"{measured.columns:+.2f} columns in PAN pixels (R2 {measured.explained:.4f}, at 0 "
        f"{measured.before:.4f})" + ("; corrected" if corrects else "")
    )
    corrected = (measured.rows, measured.columns) if corrects else (0.0, 0.0)
    return Registration(corrected, measured, (notice,))


def measure_shift(pan: Image, ms: Image, relation: Relation) -> Shift | None:
    """The residual shift of a pair; None where nothing can be said."""
    ratio, scene = relation.ratio, _unshifted(pan, ms, relation)
    parts = read_parts(scene, _SIDE * ratio, _PARTS, least=_LEAST)
    scale = math.sqrt(relation.axes[0][1] * relation.axes[1][1])
    samples = [(p.pan.mean(axis=-1), p.raw, p.place, p.valid, p.raw_valid) for p in parts]
    return estimate_shift(samples, scale)


def _register_locally(pan: Image, ms: Image, relation: Relation) -> Registration:
    """Measures a shift that varies over the scene."""
    scene = _unshifted(pan, ms, relation)
    field = measure_field(scene, relation.axes)
    if field is None:
        notice = "residual shift: too little structure or too few valid pixels to measure"
        return Registration(notices=(notice,))
    measured = as_shift(field, scene)
    ends = [(span.start, span.start + span.size) for span in (scene.rows, scene.columns)]
    corners = field.at(np.array([(row, column) for row in ends[0] for column in ends[1]]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    notice = (
        f"residual shift of MS against PAN in PAN pixels: rows {measured.rows:+.2f} (corners "
        f"{low[0]:+.2f} to {high[0]:+.2f}), columns {measured.columns:+.2f} ({low[1]:+.2f} to "
        f"{high[1]:+.2f}), by {field.windows} windows that deviate by {field.residual:.2f}; "
        "corrected"
    )
    return Registration((0.0, 0.0), measured, (notice,), field)


def _unshifted(pan: Image, ms: Image, relation: Relation):
    ratio = relation.ratio
    return make_scene(
        pan,
        ms,
        relation,
        phase=ratio // 2,
        shift=(0.0, 0.0),
        extent="intersection",
        align=ratio,
    )
