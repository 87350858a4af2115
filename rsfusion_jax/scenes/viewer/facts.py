"""What a finished scene and its report say about the run: figures, notices, indices."""

from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.runs.stored_json import BadJSONError, read_object
from rsfusion_jax.scenes.product.quality import doubts
from rsfusion_jax.scenes.viewer.layers import Layer, stored_object

_PREFIX = "RSFUSION_"
_FIGURES = {
    "r_ergas": "R-ERGAS",
    "d_rho": "D_rho",
    "d_rho_exp": "D_rho of EXP",
    "valid": "valid pixels",
    "clipped": "clipped values",
    "mean_drift": "mean drift per band",
    "residual_shift": "residual shift in PAN pixels (rows, columns)",
}
_SHARES = ("valid", "clipped")


def run_facts(fused: Layer) -> list[tuple[str, str]]:
    """Return what the scene's tags say about the run, as pairs of a name and a text."""
    tags = {
        key.removeprefix(_PREFIX): value
        for key, value in fused.tags.items()
        if key.startswith(_PREFIX)
    }
    figures = stored_object(tags.pop("FIGURES", None))
    rows = []
    for key, value in tags.items():
        name = key.lower().replace("_", " ").replace("sha256", "(SHA-256)")
        listed = stored_object(value)
        rows.append((name, ", ".join(f"{k} {v}" for k, v in listed.items()) if listed else value))
    rows = [(name, text) for name, text in rows if text not in ("", "{}")]
    for key, name in _FIGURES.items():
        if figures.get(key) is not None:
            rows.append((name, _text(figures[key], key in _SHARES)))
    return rows


def run_notices(layers: list[Layer]) -> list[str]:
    """Return what the user should know: doubts about the figures, and how images were placed."""
    notices = [f"{layer.title}: {layer.place.note}" for layer in layers if layer.place.note]
    figures = stored_object(layers[0].tags.get(f"{_PREFIX}FIGURES"))
    try:
        return [*doubts(figures), *notices]
    except (KeyError, TypeError, ValueError):
        return notices  # not a scene of this program, or of another version


def read_report(path: str | Path) -> dict[str, dict[str, float]]:
    """Read the mean indices that `rsfusion fuse --report` wrote, by "fused" and "EXP".

    Raises:
        UserError: no such report.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{not_a_file(path)}; give the file of rsfusion fuse --report")
    try:
        means = read_object(path.read_bytes(), {"mean": Mapping})["mean"]
        return {
            label: {name: float(value) for name, value in dict(row).items()}
            for label, row in means.items()
        }
    except (BadJSONError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no report ({error}); give the file of rsfusion fuse --report"
        ) from error


def _text(value, share: bool) -> str:
    if isinstance(value, list):
        return ", ".join("none" if one is None else _text(one, False) for one in value)
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.2%}" if share else f"{value:.4g}"
