"""The zoo's table: `rsfusion models`."""

import math

import jax
from rich.console import Console
from rich.table import Table

from rsfusion_jax.models import abstract_params, create_model, input_shapes, list_models
from rsfusion_jax.models.catalogue import PUBLICATIONS
from rsfusion_jax.models.cost import multiply_adds

_SIDE = 64  # PAN pixels of the sample whose cost is counted


def print_models(num_bands: int = 8) -> None:
    """Prints every network: paper, year, tasks, parameters and their published count, cost."""
    table = Table()
    for name in ("name", "published in", "year", "tasks", "parameters", "GMAC"):
        table.add_column(name, justify="right" if name in ("parameters", "GMAC") else "left")
    notes = [
        f"GMAC: convolutions and matrix products of one pass over a PAN of {_SIDE} x {_SIDE}, at "
        f"{num_bands} bands, one guide band and ratio 4, as the parameters."
    ]
    for name in list_models():
        publication = PUBLICATIONS[name]
        parameters, cost = size_and_cost(name, num_bands)
        row = (publication.venue, str(publication.year), ", ".join(publication.tasks))
        table.add_row(name, *row, f"{parameters:,}", f"{cost / 1e9:.3f}")
        if publication.why:
            theirs = f"the authors' {publication.parameters}: " if publication.parameters else ""
            notes.append(f"{name}: {theirs}{publication.why}.")
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def size_and_cost(name: str, num_bands: int, ratio: int = 4) -> tuple[int, int]:
    """Parameters of a network at its published width, and multiply-adds of one 64 x 64 sample."""
    model = create_model(name, num_bands=num_bands, ratio=ratio)
    params = abstract_params(model)
    images = input_shapes(model, _SIDE // ratio, _SIDE // ratio)
    cost = multiply_adds(lambda p, *sample: model.apply({"params": p}, *sample), params, *images)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)), cost
