"""`rsfusion sensors`: the table of sensors."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "the sensors: bands, wavelengths, bit depth, MTF gains and where these numbers come from"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    return Parser(prog, "", description=HELP)


def run(arguments: argparse.Namespace) -> None:
    """Print the record of every sensor."""
    from rich.console import Console
    from rich.table import Table

    from rsfusion_jax.errors import UserError
    from rsfusion_jax.sensors import get_sensor, list_sensors

    table = Table()
    table.add_column("name", no_wrap=True)
    for name in ("bands, centres in nm", "PAN in nm", "ratio", "bits", "MTF gain of MS", "of PAN"):
        table.add_column(name, justify="right" if name in ("ratio", "bits") else "left")
    table.add_column("source")
    broken = []
    for name in list_sensors():
        try:
            sensor = get_sensor(name)
        except UserError as error:  # of a user's own package
            broken.append(str(error))
            continue
        table.add_row(
            name,
            _bands(sensor),
            "-" if sensor.pan_range is None else "{:g}-{:g}".format(*sensor.pan_range),
            str(sensor.ratio),
            str(sensor.bit_depth),
            _gains(sensor.mtf_ms),
            "-" if sensor.mtf_pan is None else f"{sensor.mtf_pan:g}",
            sensor.source,
        )
    console = Console()
    console.print(table)
    for sentence in broken:
        console.print(sentence, highlight=False)
    console.print("MTF gain: modulation transfer function at the Nyquist frequency.")
    console.print(
        "A sensor of your own: --sensor=sensor.json in every command, --config.data.own_sensor="
        "sensor.json in training; docs/deliveries.md has an example."
    )


def _bands(sensor) -> str:
    centres = sensor.wavelengths
    if sensor.num_bands > 13:
        return f"{sensor.num_bands}, {centres[0]:.0f} to {centres[-1]:.0f}"
    if centres is None:
        return ", ".join(sensor.bands)
    return ", ".join(f"{name} {c:g}" for name, c in zip(sensor.bands, centres, strict=True))


def _gains(gains) -> str:
    if gains is None:
        return "-"
    return f"{gains[0]:g}" if len(set(gains)) == 1 else ", ".join(f"{gain:g}" for gain in gains)
