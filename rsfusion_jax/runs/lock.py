"""One live process per run folder: the file `lock` says which, and its age that it lives."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import warnings
from pathlib import Path

from rsfusion_jax.errors import UserError

_BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 45.0  # of a holder on another host, after which it counts as dead


class RunLock:
    """Holds a run folder until closed or dead.

    A holder on this host is looked up by its process id. One on another host cannot be: its lock is
    touched every ten seconds, so one that nobody touches while we watch belongs to a dead process
    (no clocks are compared). What a dead process left is taken over with a warning.

    Args:
        workdir: the run folder, which exists.
        silence: seconds without a touch after which a holder on another host counts as dead.

    Raises:
        UserError: a live process holds the folder.
    """

    def __init__(self, workdir: Path, silence: float = _SILENCE_SECONDS):
        self._path = workdir / "lock"
        self._me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": _start_time(os.getpid()),
        }
        self._closed = threading.Event()
        self._take(silence)
        threading.Thread(target=self._beat, name="run folder lock", daemon=True).start()

    def close(self) -> None:
        """Gives the folder free."""
        self._closed.set()
        with contextlib.suppress(OSError), _exclusive(self._path) as file:
            if _holder(file) == self._me:
                _write(file, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, silence: float) -> None:
        seen = None
        while True:
            with _exclusive(self._path) as file:
                holder = _holder(file)
                if holder is not None and holder["host"] != self._me["host"] and seen is None:
                    seen = holder, self._path.stat().st_mtime_ns
                else:
                    touched = seen and seen != (holder, self._path.stat().st_mtime_ns)
                    if holder is not None and (touched or _lives(holder, self._me["host"])):
                        raise UserError(
                            f"run folder {self._path.parent} is in use by process "
                            f"{holder['pid']} on {holder['host']}; wait for it, stop it, or "
                            "choose another --workdir"
                        )
                    if holder is not None:
                        warnings.warn(
                            f"run folder {self._path.parent} was left by process {holder['pid']} "
                            f"on {holder['host']}, which is dead; it is taken over",
                            stacklevel=4,
                        )
                    _write(file, self._me)
                    return
            print(
                f"{self._path.parent} is held by process {seen[0]['pid']} on {seen[0]['host']}: "
                f"waiting {silence:g} s to see whether that one lives",
                flush=True,
            )
            time.sleep(silence)

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)


@contextlib.contextmanager
def _exclusive(path: Path):
    """The lock file, opened while nobody else looks at it."""
    with path.open("a+") as file:
        # A file system without flock leaves only the chance of two starts in one millisecond.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _holder(file) -> dict | None:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return holder if {"pid", "host", "started"} <= set(holder) else None
    except (json.JSONDecodeError, TypeError):
        return None  # free, or cut off by a kill while it was taken


def _write(file, holder: dict | None) -> None:
    file.seek(0)
    file.truncate()
    file.write("" if holder is None else json.dumps(holder) + "\n")
    file.flush()


def _lives(holder: dict, host: str) -> bool:
    if holder["host"] != host:
        return False  # watched in silence
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    # A number that the system has given to another process since.
    return _start_time(holder["pid"]) == holder["started"]


def _start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where /proc does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
