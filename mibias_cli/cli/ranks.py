"""`--devices N` of `mibias train` and `embed`: the processes that work together, from the one that the user started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence

import typer

from mibias_cli.cli.guard import EXIT_ERROR
from mibias_cli.errors import RunError
from mibias_cli.ranks.place import BY_MIBIAS, Place, find_place

__all__ = ["joined", "run_ranks"]

_SHOW_CURSOR = "\x1b[?25h"
"""A progress bar hides it, and a rank that is killed does not bring it back."""
_LOOK_SECONDS = 0.1
_STOPPED = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""By exit code: the signal that has stopped a rank, which leaves it to this process to say so."""


def run_ranks(arguments: Sequence[str], *, devices: int, nodes: int) -> int:
    """Start the ranks of this machine, wait until they have ended, and give the exit code of the run.

    The first rank that fails ends all others. They are not of this terminal's session: Ctrl-C reaches this process
    alone. Ranks end with this process, however it ends.

    Args:
        arguments: Of `mibias`, with which each rank is started.
        devices, nodes: Ranks on each machine, and machines.

    Raises:
        RunError: Of several machines, the environment does not say which this is, and where the first one is.
    """
    shared = _meeting(os.environ, devices, nodes)
    # they share the cores, as torch would not know
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // devices))}
    # the ranks read from it: it is at its end when this process is
    watched, held = os.pipe()
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for local in range(devices):
            rank = int(shared["NODE_RANK"]) * devices + local
            own = {
                **threads,
                **os.environ,
                **shared,
                "LOCAL_RANK": str(local),
                "RANK": str(rank),
                BY_MIBIAS: str(watched),
            }
            command = [sys.executable, "-m", "mibias_cli.cli", *arguments]
            # standard input is the terminal's, of which no rank is to read
            ranks.append(
                subprocess.Popen(
                    command, env=own, stdin=subprocess.DEVNULL, pass_fds=(watched,), start_new_session=True
                )
            )
        return _exit_code(ranks, first=int(shared["NODE_RANK"]) * devices)
    finally:
        # what counts is on the disk whole or not at all
        for one in ranks:
            one.kill()
        for one in ranks:
            one.wait()
        if sys.stderr.isatty():
            sys.stderr.write(_SHOW_CURSOR)
        os.close(watched)
        os.close(held)


def _exit_code(ranks: Sequence[subprocess.Popen[bytes]], *, first: int) -> int:
    """Wait for all ranks, or for the first that fails."""
    while True:
        codes = [one.poll() for one in ranks]
        for number, code in enumerate(codes, start=first):
            if code is not None and (code < 0 or code in _STOPPED):
                # one that was killed could say nothing
                name = signal.Signals(_STOPPED.get(code, -code)).name
                why = "; SIGKILL often means that memory ran out" if name == "SIGKILL" else ""
                typer.echo(f"error: rank {number} was ended by {name}, and with it the run{why}", err=True)
                return EXIT_ERROR
            if code:
                return code
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_LOOK_SECONDS)


def _meeting(environment: Mapping[str, str], devices: int, nodes: int) -> dict[str, str]:
    """Where the ranks meet, and which machine this is, as environment variables."""
    known = {name: environment[name] for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name in environment}
    if nodes == 1:
        known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    elif len(known) < 3:
        raise RunError(
            f"training.num_nodes is {nodes}: set MASTER_ADDR and MASTER_PORT (a host name and a free port of the first "
            "machine) and NODE_RANK (0, 1, …) on each, or start it with torchrun or srun"
        )
    return known | {"WORLD_SIZE": str(devices * nodes), "LOCAL_WORLD_SIZE": str(devices)}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def joined(devices: int | None, num_nodes: int | None = None) -> Place | None:
    """This process's place among the ranks that were started; None where it is alone, or is to start them.

    Raises:
        RunError: The environment does not say all.
        typer.BadParameter: An option says another number than were started.
    """
    place = find_place(os.environ)
    if place is None:
        return None
    for option, given, there in (("--devices", devices, place.devices), ("--num-nodes", num_nodes, place.nodes)):
        if given is not None and given != there:
            raise typer.BadParameter(f"{option} is {given}, but {place.by} has started {there}; leave it out")
    _end_with_parent(os.environ)
    if place.rank != 0:
        # rank 0 gives the same ones
        warnings.simplefilter("ignore")
    return place


def _end_with_parent(environment: Mapping[str, str]) -> None:
    """In a rank that `run_ranks` started: end it when the process that started it has ended."""
    if BY_MIBIAS not in environment:
        return
    watched = int(environment[BY_MIBIAS])

    def watch() -> None:
        os.read(watched, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
