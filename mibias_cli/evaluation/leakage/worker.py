"""A process that fits probes: asks by standard input, what they found by standard output, one after the other."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from queue import SimpleQueue

from threadpoolctl import threadpool_limits

from mibias_cli.evaluation.leakage.scoring import Ask, Scored, fit_and_score

__all__ = ["ANEW", "ON", "work"]

ANEW, ON = b"a", b"o"
"""Before each ask: whether it names what asks before it held."""


def work() -> None:
    """Answer asks until there are no more."""
    # cluster managers tell all processes to stop: whoever asks decides what that means, and ends this one by its end
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # what libraries print must not get between the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    asks: SimpleQueue[Ask] = SimpleQueue()
    threading.Thread(target=_listen, args=(asks,), daemon=True).start()
    with threadpool_limits(limits=1), contextlib.suppress(BrokenPipeError):
        while True:
            pickle.dump(_found(asks.get()), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _listen(asks: SimpleQueue[Ask]) -> None:
    """Hear at once when nobody asks any more, also in the middle of a fit."""
    unpickler = pickle.Unpickler(sys.stdin.buffer)
    try:
        while mark := sys.stdin.buffer.read(1):
            if mark == ANEW:
                unpickler = pickle.Unpickler(sys.stdin.buffer)
            asks.put(unpickler.load())
    finally:
        # also where memory ran out while an ask was read: whoever waits for the answer hears that there will be none
        os._exit(0)


def _found(ask: Ask) -> Scored | Exception:
    try:
        return fit_and_score(ask)
    except Exception as error:
        # the text alone would not say where
        error.add_note(traceback.format_exc())
        return error
