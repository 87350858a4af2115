"""The zoo's table."""

import importlib
import math

import jax
from rich.console import Console
from rich.table import Table

from rsfusion_jax.models import abstract_params, create_model, list_models


def print_models(num_bands: int = 8) -> None:
    """Prints every network with its paper and its parameter count."""
    table = Table()
    table.add_column("name", no_wrap=True)
    table.add_column("paper")
    table.add_column(f"parameters at {num_bands} bands", justify="right")
    for name in list_models():
        module = importlib.import_module(f"rsfusion_jax.models.{name}")
        leaves = jax.tree.leaves(abstract_params(create_model(name, num_bands=num_bands)))
        count = sum(math.prod(leaf.shape) for leaf in leaves)
        table.add_row(name, module.__doc__.splitlines()[0], f"{count:,}")
    Console().print(table)
