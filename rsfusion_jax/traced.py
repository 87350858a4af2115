"""Programs as jax traced them, kept between runs beside those that XLA compiled.

A start with compiled programs at hand spends most of its time on tracing: a network is called once
so that jax can see its operations, only to find that XLA has compiled them before. What was traced
is therefore stored too, as StableHLO by `jax.export`, under a name that depends on everything that
enters a trace: the package's own source, the versions of what it builds on, jax's settings, and
what the caller says of the program.
"""

import functools
import hashlib
import platform as machine
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import new_files

_PACKAGES = ("jax", "jaxlib", "flax", "numpy")
_DIGEST = 16
"""Bytes of the digest in front of a stored program."""
_folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Keep traced programs in a folder, which must exist; None, the default, keeps none."""
    global _folder
    _folder = folder


def lower(
    function: Callable, arguments: tuple, identity: str | None, platform: str
) -> jax.stages.Lowered:
    """Lower a function as `jax.jit(function).lower(*arguments)` does, or read what was kept.

    Programs are kept on CPUs only: others may call libraries of which jax does not promise that an
    exported program will find them again.

    Args:
        function: of these arguments; it returns arrays.
        arguments: trees of `jax.ShapeDtypeStruct`.
        identity: which function it is, and with which constants; None where that cannot be said.
        platform: where the program will run, as `compilation.platform_of` names it.

    Returns:
        The lowered function of the leaves of `arguments`, in their order; it returns a list of the
        leaves of the result.
    """
    leaves, structure = jax.tree.flatten(arguments)

    def of_leaves(*leaves):
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))

    if identity is None or _folder is None or platform != "cpu":
        return jax.jit(of_leaves).lower(*leaves)
    path = _folder / _name(identity, leaves, structure)
    try:
        exported = jax.export.deserialize(bytearray(_read(path)))
    except Exception:  # not there, damaged, or of a format that this jax does not read
        exported = jax.export.export(jax.jit(of_leaves), platforms=[platform])(*leaves)
        _write(path, exported)
    # The first run compiles the stored form as well, so that later ones find what it compiled.
    return jax.jit(exported.call).lower(*leaves)


def _read(path: Path) -> bytes:
    """Read what `_write` stored; a changed bit could give another program."""
    content = path.read_bytes()
    digest, program = content[:_DIGEST], content[_DIGEST:]
    if hashlib.blake2b(program, digest_size=_DIGEST).digest() != digest:
        raise ValueError("damaged")
    return program


def _write(path: Path, exported) -> None:
    program = exported.serialize()
    digest = hashlib.blake2b(program, digest_size=_DIGEST).digest()
    try:
        with new_files([path], overwrite=True) as unfinished:
            unfinished[path].write_bytes(digest + program)
    except UserError:
        pass  # a full disk or a folder that is gone: the next start traces again


def _name(identity: str, leaves, structure) -> str:
    # Attributes, unlike `values`, know what a context manager has set.
    settings = sorted(
        f"{name}={getattr(jax.config, name, value)}" for name, value in jax.config.values.items()
    )
    told = (_source(), identity, str(structure), str(leaves), *settings)
    return hashlib.sha256("\n".join(told).encode()).hexdigest() + ".stablehlo"


@functools.cache
def _source() -> str:
    """Digest of the package's source and of the versions of what it builds on."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    for name in _PACKAGES:
        digest.update(f"{name} {version(name)}\n".encode())
    digest.update(f"{machine.python_version()} {machine.machine()}".encode())
    return digest.hexdigest()
