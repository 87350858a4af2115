"""The engine of a classical method: fitted to a scene, or with coefficients of a resumed run."""

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.registry import get_method
from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.engines import Engine, classical_engine
from rsfusion_jax.scenes.work.fit import fit_scene, from_plain, to_plain
from rsfusion_jax.scenes.work.program import WindowSpec

_SIDE = 512
"""PAN pixels along a side of the windows in which statistics are taken."""


def fitted_engine(
    spec: WindowSpec,
    setting: Setting,
    scene: ScenePair,
    budget: int,
    *,
    resumed: dict | None = None,
    quiet: bool = True,
) -> tuple[Engine, dict]:
    """The engine of a classical method, and its coefficients as JSON holds them.

    Args:
        spec: windows of the method.
        setting: what the method needs to know of the pair.
        scene: the pair.
        budget: bytes of memory for methods that need all pixels at once.
        resumed: coefficients of an interrupted run; None to fit them.
        quiet: no progress on the screen.

    Raises:
        UserError: a method that needs the whole scene at once, and a scene beyond the budget.
    """
    if resumed is not None:
        return classical_engine(spec, setting, from_plain(resumed)), resumed
    readings = get_method(spec.name).readings(spec.num_bands)
    total = readings * scene.size[0] * scene.size[1]
    with ProgressBar("statistics", total, unit=MEGAPIXELS, quiet=quiet) as stage:
        coefficients = fit_scene(spec.name, setting, scene, _SIDE, budget, stage.advance)
    return classical_engine(spec, setting, coefficients), to_plain(coefficients)
