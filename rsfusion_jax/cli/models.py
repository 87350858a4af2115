"""`rsfusion models`: the table of networks."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "the networks: where they were published, their sizes and costs"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    return Parser(prog, "", description=HELP)


def run(arguments: argparse.Namespace) -> None:
    """Print every network: paper, year, tasks, parameters and their published count, cost."""
    from rich.console import Console
    from rich.table import Table

    from rsfusion_jax.models import list_models
    from rsfusion_jax.models.catalogue import COSTS, PUBLICATIONS

    table = Table()
    for name in ("name", "published in", "year", "tasks", "parameters", "GMAC"):
        table.add_column(name, justify="right" if name in ("parameters", "GMAC") else "left")
    notes = [
        "Parameters and GMAC are those of 8 bands, one guide band and ratio 4. GMAC: billions of "
        "multiplications in the convolutions and matrix products for a PAN of 64 x 64 pixels."
    ]
    for name in list_models():
        if name not in PUBLICATIONS or name not in COSTS:
            # A network of the user's own, whose file is all that there needs to be.
            table.add_row(name, *("-",) * 5)
            continue
        publication = PUBLICATIONS[name]
        parameters, cost = COSTS[name]
        row = (publication.venue, str(publication.year), ", ".join(publication.tasks))
        table.add_row(name, *row, f"{parameters:,}", f"{cost / 1e9:.3f}")
        if publication.why:
            theirs = f"the authors' {publication.parameters}: " if publication.parameters else ""
            notes.append(f"{name}: {theirs}{publication.why}.")
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
