"""New files appear whole or not at all, and nothing else is touched: the one way to write a file.

They are written in a folder of their own beside their place and renamed at the end. The folder has
a name that nobody can predict and is made for this purpose, so that no link that lies there is
followed. A process that is killed leaves its folder behind; the next one that writes the same file
removes it.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from rsfusion_jax.errors import UserError, check_name


@contextlib.contextmanager
def new_files(paths: Sequence[Path], overwrite: bool = False) -> Iterator[dict[Path, Path]]:
    """Yield temporary paths of files that are renamed when the block ends without an error.

    Args:
        paths: final paths of the files.
        overwrite: whether existing files are replaced.

    Yields:
        Temporary paths by final path; the names of the files are the same.

    Raises:
        UserError: a file exists already, its folder does not exist, or it cannot be written.
    """
    for path in paths:
        if "\0" in str(path):
            check_name(path)
        # A link that leads nowhere is in the way too.
        if (path.exists() or path.is_symlink()) and not (overwrite and path.is_file()):
            raise UserError(f"{path} exists already; choose another name or delete it")
        if not path.parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; create it first")
    with contextlib.ExitStack() as stack:
        try:
            folders = {path: stack.enter_context(_own_folder(path)) for path in paths}
            unfinished = {path: folder / path.name for path, folder in folders.items()}
            yield unfinished
            for path, temporary in unfinished.items():
                temporary.replace(path)
        except Exception as error:
            if not isinstance(error, OSError) and not is_full_disk(error):
                raise
            reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
            raise UserError(
                f"{paths[0]} cannot be written ({reason[:200]}); expected a writable folder with "
                "enough space"
            ) from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed when the block ends without an error.

    Args:
        path: the final folder.

    Folders above it are made, and removed again if the block ends with an error.

    Raises:
        UserError: something of that name exists already, or it cannot be written.
    """
    check_name(path)
    with contextlib.ExitStack() as stack:
        for folder in [f for f in reversed(path.parents) if not f.exists()]:
            try:
                folder.mkdir()
            except OSError as error:
                raise UserError(
                    f"{path} cannot be written ({folder}: {error.strerror}); choose another folder"
                ) from error
            stack.callback(_remove_empty, folder)
        with new_files([path]) as unfinished:
            unfinished[path].mkdir()
            yield unfinished[path]


def _remove_empty(folder: Path) -> None:
    """Remove a folder in which there is nothing."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def check_room(folder: Path, needed: int) -> None:
    """Raise `UserError` where a file system has less room than is needed.

    Libraries that find out in the middle of a file do not all survive it.

    Args:
        folder: a folder of the file system.
        needed: bytes that will be written.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the disk of the output has {free / 2**30:.2f} GB free, writing takes up to "
            f"{needed / 2**30:.2f} GB; free some or choose another folder"
        )


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error, or one that caused it, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file at once, in place of an older one.

    Raises:
        OSError: the file cannot be written.
    """
    with _own_folder(path) as folder:
        (folder / path.name).write_text(text)
        (folder / path.name).replace(path)


def open_own(path: Path, mode: str, **options):
    """Open a file of this program's own for writing, as `open` does, but never through a link.

    Raises:
        UserError: a link lies there.
        OSError: it cannot be opened.
    """
    without_links = getattr(os, "O_NOFOLLOW", 0)  # Windows has links for privileged users only
    try:
        return open(
            path,
            mode,
            opener=lambda name, flags: os.open(name, flags | without_links, 0o666),
            **options,
        )
    except OSError as error:
        if path.is_symlink():
            raise UserError(
                f"{path} is a link, where a file of this program belongs; delete the link"
            ) from error
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what dead processes of this host left when they were writing a file."""
    name = re.escape(_owner(path))
    for folder in path.parent.glob(".*.unfinished"):
        match = re.fullmatch(name + r"(\d+)\..*\.unfinished", folder.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _own_folder(path: Path) -> Iterator[Path]:
    """Make a private folder beside a file that is to be written; remove it with what is left."""
    remove_leftovers(path)
    owner = f"{_owner(path)}{os.getpid()}."
    folder = tempfile.mkdtemp(prefix=owner, suffix=".unfinished", dir=path.parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(path: Path) -> str:
    """Begin the name of a private folder; file systems take names of up to 255 bytes."""
    return f".{path.name[:60]}.{socket.gethostname()[:60]}-"
