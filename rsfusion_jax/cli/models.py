"""`rsfusion models`: the table of networks."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "the networks: where they were published, their sizes and costs"
_NUM_BANDS = 8


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    return Parser(prog, "", description=HELP)


def run(arguments: argparse.Namespace) -> None:
    """Print every network: paper, year, tasks, parameters and their published count, cost."""
    from rich.console import Console
    from rich.table import Table

    from rsfusion_jax.models import list_models
    from rsfusion_jax.models.catalogue import PUBLICATIONS
    from rsfusion_jax.models.cost import SIDE, size_and_cost

    table = Table()
    for name in ("name", "published in", "year", "tasks", "parameters", "GMAC"):
        table.add_column(name, justify="right" if name in ("parameters", "GMAC") else "left")
    notes = [
        f"GMAC: convolutions and matrix products of one pass over a PAN of {SIDE} x {SIDE}, at "
        f"{_NUM_BANDS} bands, one guide band and ratio 4, as the parameters."
    ]
    for name in list_models():
        publication = PUBLICATIONS[name]
        parameters, cost = size_and_cost(name, _NUM_BANDS)
        row = (publication.venue, str(publication.year), ", ".join(publication.tasks))
        table.add_row(name, *row, f"{parameters:,}", f"{cost / 1e9:.3f}")
        if publication.why:
            theirs = f"the authors' {publication.parameters}: " if publication.parameters else ""
            notes.append(f"{name}: {theirs}{publication.why}.")
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
