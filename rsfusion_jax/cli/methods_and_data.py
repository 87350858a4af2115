"""The options that say which methods see which images, for every command that compares methods."""

from rsfusion_jax.cli.parser import Parser


def add_methods_and_data(parser: Parser) -> None:
    """Add the arguments of `evaluation.evaluate.choose`, all but `wrap`."""
    parser.add_argument("--workdir", metavar="RUN", help="run folder or checkpoint")
    parser.add_argument(
        "--methods",
        type=_names,
        default=[],
        metavar="A,B,...",
        help="run folders, network:file.pth, classical methods; LABEL=METHOD for a label of your "
        "own",
    )
    parser.add_argument(
        "--key",
        help="entry of every file.pth that holds the weights; default as of `rsfusion port`",
    )
    parser.add_argument("--data", help=".h5 or .mat set, or a folder of them or of SEN12MS-CR")
    parser.add_argument("--sensor", help="sensor of --data; default the run's")
    parser.add_argument("--max-value", type=float, help="divisor of --data; default its full scale")
    parser.add_argument("--ratio", type=int, help="PAN pixels per MS pixel; default the sensor's")
    parser.add_argument("--axes", help="order of --data's axes, such as NCHW; default what fits")


def _names(text: str) -> list[str]:
    from rsfusion_jax.evaluation.specs import split_specs

    return split_specs(text)
