"""Runs of several processes: connect them, and end all of them when one is lost."""

import atexit
import contextlib
import os
import socket
import sys
import threading
from typing import NoReturn

import jax
import numpy as np

from rsfusion_jax.errors import RESTART_STATUS, UserError

_HEARTBEAT_SECONDS = 30
# At the end of a run the other processes wait while the first one scores the test set.
_REPORT_SECONDS = 24 * 3600
_BYE, _ERROR = b".", b"!"
_LAUNCHERS = {
    "SLURM": "SLURM_JOB_ID SLURM_STEP_NODELIST SLURM_NTASKS SLURM_PROCID SLURM_LOCALID",
    "Open MPI": "OMPI_MCA_orte_hnp_uri OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK "
    "OMPI_COMM_WORLD_LOCAL_RANK",
}
"""The variables that JAX reads from the environment of each launcher."""


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    detect: bool = False,
) -> None:
    """Connect the processes of one run; must come before any other use of jax.

    Args:
        coordinator: host:port on which process 0 listens; the port must be free on that host.
        num_processes: number of processes of the run.
        process_id: index of this process, from 0.
        detect: whether JAX reads these three from the environment of the launcher (SLURM, Open MPI,
            Kubernetes).

    Raises:
        UserError: some of the three are missing, or the processes did not connect.
    """
    flags = {
        "--coordinator": coordinator,
        "--num-processes": num_processes,
        "--process-id": process_id,
    }
    missing = [name for name, value in flags.items() if value is None]
    if len(missing) == 3 and not detect:
        return
    if missing and not detect:
        raise UserError(
            f"{' and '.join(missing)} missing: several processes need --coordinator, "
            "--num-processes and --process-id together, or --distributed under a launcher"
        )
    if not detect and not 0 <= process_id < num_processes:
        raise UserError(
            f"--process-id={process_id} must lie in 0..{num_processes - 1} "
            f"(--num-processes={num_processes})"
        )
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_REPORT_SECONDS,
        )
    except (ValueError, RuntimeError, KeyError) as error:
        if detect and (incomplete := _incomplete_launcher()):
            raise UserError(
                f"--distributed: {incomplete}; start every process with the launcher itself (srun, "
                "mpirun), or give --coordinator, --num-processes and --process-id"
            ) from error
        raise UserError(
            f"the processes of this run did not find each other ({str(error).splitlines()[0]}); "
            "start as many as --num-processes says, with one --coordinator that all can reach"
        ) from error
    if jax.process_count() > 1:
        host = coordinator.rpartition(":")[0] if coordinator else None
        watch = _Watch.current = _Watch(host)
        atexit.register(watch.say, _BYE)  # runs before jax waits for the other processes


def _incomplete_launcher() -> str:
    """Name the variables that a launcher which is there in part has not set; empty if none is."""
    for launcher, names in _LAUNCHERS.items():
        missing = [name for name in names.split() if not os.environ.get(name)]
        if missing and len(missing) < len(names.split()):
            return f"the environment of {launcher} has no {' and no '.join(missing)}"
    return ""


def is_first() -> bool:
    """Tell whether this process is the one that writes logs and reports."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process has called this; does nothing in a run of one process."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def leave(status: int) -> NoReturn:
    """Exit the program with a status.

    In a run of several processes, one with an error ends without a regular shutdown, in which JAX
    would wait for the others while they wait for this one.
    """
    if _Watch.current is None or status == RESTART_STATUS:  # All processes exit with this one.
        sys.exit(status)
    _Watch.current.say(_ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Watch:
    """End this process when another one is lost.

    A process in a collective operation with a killed process waits for ever, or until JAX aborts it
    without a helpful message. Each process therefore has a connection to process 0, which the
    operating system closes when a process dies in any way.
    """

    current: "_Watch | None" = None

    def __init__(self, host: str | None):
        from jax.experimental import multihost_utils

        self._peers: list[socket.socket] = []
        index, count = jax.process_index(), jax.process_count()
        server = socket.create_server(("", 0)) if index == 0 else None
        address = f"{host or socket.gethostname()} {server.getsockname()[1] if server else 0}"
        buffer = np.zeros(256, np.uint8)
        buffer[: len(address)] = np.frombuffer(address.encode()[:256], np.uint8)
        buffer = np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8)
        host, port = buffer.tobytes().rstrip(b"\0").decode().split()
        try:
            if server:
                server.settimeout(60)
                for _ in range(count - 1):
                    peer, _ = server.accept()
                    peer.settimeout(60)
                    self._follow(peer, int.from_bytes(peer.recv(4)))
                server.close()
            else:
                peer = socket.create_connection((host, int(port)), timeout=60)
                peer.sendall(index.to_bytes(4))
                self._follow(peer, 0)
        except OSError as error:
            print(
                f"warning: process {index} has no connection to watch the others by ({error}); if "
                f"one is lost, jax ends this one after {_HEARTBEAT_SECONDS} s",
                file=sys.stderr,
                flush=True,
            )

    def say(self, word: bytes) -> None:
        """Tell the connected processes once how this one ends."""
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sendall(word)
        self._peers = []

    def _follow(self, peer: socket.socket, index: int) -> None:
        # A host that goes down does not close its connections. Keep-alive probes are sent after
        # 10 s of silence, and the connection is closed after 3 probes without an answer.
        peer.settimeout(None)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._peers.append(peer)
        threading.Thread(target=self._listen, args=(peer, index), daemon=True).start()

    def _listen(self, peer: socket.socket, index: int) -> None:
        try:
            word = peer.recv(1)
        except OSError:
            word = b""
        if word == _BYE:
            return
        how = "stopped with an error, which it printed" if word == _ERROR else "is gone"
        print(
            f"error: process {index} of {jax.process_count()} {how}; start all processes again to "
            "go on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1 if word == _ERROR else RESTART_STATUS)
