"""One process at a time writes an output."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from rsfusion_jax.errors import UserError


@contextlib.contextmanager
def locked(out: Path, part: str = "", wait: bool = False) -> Iterator[None]:
    """Holds the lock of an output, the file `.OUT.lock` beside it.

    The operating system releases the lock of a process that dies in any way. Where a file system
    has no locks, nothing is locked.

    Args:
        out: the output.
        part: what tells the locks of several shards apart.
        wait: whether to wait for another process instead of refusing.

    Raises:
        UserError: another process writes this output.
    """
    path = out.with_name(f".{out.name}{part}.lock")
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        raise UserError(
            f"{out} is being written by another process; wait for it or choose another name"
        ) from None
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that and opens a new one.
        # Windows deletes no open files, so there it stays.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
