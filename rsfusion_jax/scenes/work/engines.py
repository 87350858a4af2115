"""Engines: a network or a classical method that fuses windows in one pass."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.registry import get_method
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.enlarge import enlarge
from rsfusion_jax.scenes.work.batch import WindowBatch
from rsfusion_jax.scenes.work.program import FieldReader, State, WindowSpec


@dataclasses.dataclass(frozen=True)
class Engine:
    """A method that fuses windows in one pass.

    Attributes:
        spec: its windows.
        call: `(state, pan, ms, lms)` -> fused (B, H, W, C), full scale 1; where
            the batch has a field, it takes that too.
        state: weights or coefficients.
        field: source of the batches' `field`; None.
        identity: which computation it is, for programs that are kept between runs; None where
            `call` has code from elsewhere.
    """

    spec: WindowSpec
    call: Callable[..., jax.Array]
    state: State
    field: FieldReader | None = None
    identity: str | None = None

    def run(self, state: State, batch: WindowBatch) -> tuple[jax.Array, jax.Array]:
        """Fuses a batch of windows.

        Args:
            state: the engine's own.
            batch: windows in counts.

        Returns:
            fused (B, P, Q, C) in counts, and lms_sum (B, h, C): per row of `batch.ms`, what it
            contributes to the sum of `lms` over the pixels that are written and valid.
        """
        fused, _ = self.spec.compute(functools.partial(self.call, state), batch)
        fused = fused * self.spec.max_value
        if self.spec.ms_level:
            fused = fused + self.spec.ms_level

        def enlarged(image):
            return enlarge(image[..., None], batch.rows_fine, batch.columns_fine)[..., 0]

        # How often each pixel of MS counts in that sum; not every method needs `lms` itself.
        shape = jax.ShapeDtypeStruct(batch.ms.shape[:3], batch.weight.dtype)
        (counts,) = jax.linear_transpose(enlarged, shape)(batch.weight)
        lms_sum = jnp.einsum("bhwc,bhw->bhc", batch.ms, counts, precision="highest")
        return fused, lms_sum


def network_engine(fuser: Fuser, spec: WindowSpec) -> Engine:
    """The engine of a network that fuses in one pass.

    Raises:
        UserError: a diffusion network.
    """
    model = fuser.model
    if model.predicts != "fused":
        raise UserError(
            f"{model.title} predicts {model.predicts!r} step by step, and no window is "
            "fused without its neighbours; use `rsfusion fuse` or another network"
        )
    # A network of the user's own may change without its name or its fields doing so.
    is_ours = type(model).__module__.startswith("rsfusion_jax.models.")
    return Engine(
        spec,
        functools.partial(_network, model),
        fuser.variables,
        identity=f"{type(model)} {model} {spec}" if is_ours else None,
    )


def classical_spec(name: str, setting: Setting, bands: int, guide_bands: int = 1) -> WindowSpec:
    """The windows of a classical method for `bands` MS bands and `guide_bands` sharp ones."""
    method, ratio = get_method(name), setting.ratio
    return WindowSpec(
        name=name,
        ratio=ratio,
        phase=float(method.phase(ratio)),
        num_bands=bands,
        guide_bands=guide_bands,
        max_value=1.0,
        reach=method.apply_reach(ratio),
        align=method.align(ratio),
    )


def classical_engine(spec: WindowSpec, setting: Setting, coefficients) -> Engine:
    """A classical method with its coefficients, which `fit.fit_scene` finds."""
    return Engine(
        spec,
        call=functools.partial(_classical, get_method(spec.name), setting),
        state=jax.tree.map(lambda value: np.asarray(value, np.float32), coefficients),
        identity=f"{spec} {setting}",
    )


@jax.default_matmul_precision("highest")
def _network(model, variables, pan, ms, lms, **inner):
    return model.apply(variables, pan, ms, lms, **inner)["fused"]


def _classical(method, setting, coefficients, pan, ms, lms):
    return jax.vmap(lambda *images: method.apply(coefficients, *images, setting))(pan, ms, lms)
