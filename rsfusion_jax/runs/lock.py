"""One live process per run folder: the system's lock, and a note that names the holder."""

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

_NOTE, _LOCK = "lock", ".lock"
# On Windows nobody else can read a file that is locked: the note is a file of its own.
FILES = frozenset({_NOTE, _LOCK})
"""Names of the files that a lock leaves in a run folder."""
_BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 45.0


class RunLock:
    """Exclusive use of a run folder, until it is closed or its process ends.

    The system releases the lock of a process that died, however it died. Some network file systems
    have no locks, or none that other hosts see. There the holder's note decides: its holder touches
    it every ten seconds, so a note that nobody touches while we watch was left by a dead process
    (no clocks are compared). A folder that a dead process left is taken over with a warning.

    Args:
        workdir: the run folder, which exists.
        silence: seconds for which a note is watched where the system's lock decides nothing.

    Raises:
        UserError: a live process uses the folder.
    """

    def __init__(self, workdir: Path, silence: float = _SILENCE_SECONDS):
        self._workdir, self._note = workdir, workdir / _NOTE
        self._lock = filelock.FileLock(workdir / _LOCK)
        self._me = {"pid": os.getpid(), "host": socket.gethostname()}
        self._closed = threading.Event()
        decides = self._lock_folder()
        try:
            self._replace_note(decides, silence)
        except BaseException:
            self._lock.release()
            raise
        threading.Thread(target=self._beat, name="run folder lock", daemon=True).start()

    def close(self) -> None:
        """Release the folder."""
        self._closed.set()
        with contextlib.suppress(OSError):
            if self._holder() == self._me:  # on a network another host may have taken over
                self._note.unlink()
        self._lock.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _lock_folder(self) -> bool:
        """Take the system's lock; return False where the file system has none."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise self._in_use(self._holder()) from None
        except (OSError, NotImplementedError):
            return False
        return True

    def _replace_note(self, decides: bool, silence: float) -> None:
        """Write this process's note in place of a dead one's.

        Args:
            decides: whether the system's lock proves that processes of this host are dead.
            silence: as of the class.
        """
        previous = self._holder()
        if previous is not None and not (decides and previous["host"] == self._me["host"]):
            self._watch(previous, silence)
            previous = self._holder()  # None where it ended meanwhile
        if previous is not None:
            warnings.warn(
                f"run folder {self._workdir} was left by process {previous['pid']} "
                f"on {previous['host']}, which is dead; it is taken over",
                stacklevel=4,
            )
        self._note.write_text(json.dumps(self._me) + "\n")

    def _watch(self, previous: dict, silence: float) -> None:
        before = previous, self._note.stat().st_mtime_ns
        print(
            f"{self._workdir} is held by process {previous['pid']} on {previous['host']}: "
            f"waiting {silence:g} s to see whether that one lives",
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
        # A process that has the lock and no note yet, or no more, starts or ends just now.
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
        return UserError(
            f"run folder {self._workdir} is in use by {who}; wait for it, stop it, or choose "
            "another --workdir"
        )

    def _holder(self) -> dict | None:
        """Who wrote the note; None without a note or where a kill cut it off."""
        try:
            holder = json.loads(self._note.read_text())
            return {key: holder[key] for key in ("pid", "host")}
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._note)
