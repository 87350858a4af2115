"""Lock a run folder for one process: a file lock, and a note that names the holder."""

import contextlib
import json
import os
import socket
import threading
import time
import warnings
from pathlib import Path

import filelock

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import write_text
from rsfusion_jax.runs.stored_json import BadJSONError, read_object

_NOTE, _LOCK = "lock", ".lock"
# Other processes cannot read a locked file on Windows, so the note is a separate file.
FILES = frozenset({_NOTE, _LOCK})
"""Names of the files that a lock leaves in a run folder."""
_BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 45.0


class RunLock:
    """Context manager for exclusive use of a run folder.

    The operating system releases the file lock of a process that dies in any way. Some network file
    systems have no file locks, or none that other hosts see. There the note decides: its holder
    touches it every ten seconds, so a note whose time does not change for `silence` seconds is that
    of a dead process. No clocks of different hosts are compared. The folder of a dead process is
    taken over with a warning.

    Args:
        workdir: the run folder; it must exist.
        silence: number of seconds for which to watch a note where file locks are not reliable.

    Raises:
        UserError: a live process uses the folder.
    """

    def __init__(self, workdir: Path, silence: float = _SILENCE_SECONDS):
        self._workdir, self._note = workdir, workdir / _NOTE
        self._lock = filelock.FileLock(workdir / _LOCK)
        self._me = {"pid": os.getpid(), "host": socket.gethostname()}
        self._closed = threading.Event()
        locked = self._lock_folder()
        try:
            self._replace_note(locked, silence)
        except BaseException:
            self._lock.release()
            raise
        threading.Thread(target=self._beat, name="run folder lock", daemon=True).start()

    def close(self) -> None:
        """Release the folder."""
        self._closed.set()
        with contextlib.suppress(OSError):
            if self._holder() == self._me:  # another host may have taken over
                self._note.unlink()
        self._lock.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _lock_folder(self) -> bool:
        """Take the file lock; return False if the file system has none."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise self._in_use(self._holder()) from None
        except (OSError, NotImplementedError):
            return False
        return True

    def _replace_note(self, locked: bool, silence: float) -> None:
        """Write the note of this process, replacing that of a dead process.

        Args:
            locked: whether the file lock was taken, so that an earlier holder on this host is dead.
            silence: see the class.
        """
        previous = self._holder()
        if previous is not None and not (locked and previous["host"] == self._me["host"]):
            self._watch(previous, silence)
            previous = self._holder()  # None if it ended in the meantime
        if previous is not None:
            warnings.warn(
                f"run folder {self._workdir} was left by process {previous['pid']} "
                f"on {previous['host']}, which is dead; it is taken over",
                stacklevel=4,
            )
        write_text(self._note, json.dumps(self._me) + "\n")

    def _watch(self, previous: dict, silence: float) -> None:
        before = previous, self._note.stat().st_mtime_ns
        print(
            f"{self._workdir} is held by process {previous['pid']} on {previous['host']}: "
            f"waiting {silence:g} s to see whether that process is alive",
            flush=True,
        )
        time.sleep(silence)
        try:
            after = self._holder(), self._note.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if after != before:
            raise self._in_use(after[0])

    def _in_use(self, holder: dict | None) -> UserError:
        # A process that is just starting or ending has the lock, but no note.
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
        return UserError(
            f"run folder {self._workdir} is in use by {who}; wait for it, stop it, or choose "
            "another --workdir"
        )

    def _holder(self) -> dict | None:
        """Return who wrote the note; None if there is no note or it is incomplete."""
        try:
            holder = read_object(self._note.read_bytes(), {"pid": int, "host": str})
            return {key: holder[key] for key in ("pid", "host")}
        except (OSError, BadJSONError):
            return None

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._note)
