"""Probes in parallel processes, where there is enough to do. The figures are the same, however many processes fit.

The process that asks is one of them: to start another one takes seconds, in which it would only wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

from joblib import cpu_count

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.leakage.scoring import Ask, Scored, fit_and_score
from mibias_cli.evaluation.leakage.worker import ANEW, ON
from mibias_cli.evaluation.probes.scaling import Sight

__all__ = ["ENOUGH", "Fitters", "n_processes", "probe_work"]

ENOUGH = 20_000_000
"""Samples × (features + 100) × classes, summed over probes, for which starting processes pays: a few seconds' work."""
# a fresh interpreter, not a fork: torch and its threads do not survive one; nor does it run the caller's script again,
# as multiprocessing's do
_START = "import json, sys; sys.path = json.loads(sys.argv[1]); from {0} import work; work()"
_WORKER = "mibias_cli.evaluation.leakage.worker"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def probe_work(*, n_probes: int, n_classes: int, n_rows: int, n_features: int) -> int:
    """What fitting so many probes on so many rows takes, in the unit of `ENOUGH`."""
    return n_probes * n_classes * n_rows * (n_features + 100)


def n_processes(jobs: int | None, work: int, n_asks: int) -> int:
    """How many processes to use of those allowed (None: one for each core), for so much work in so many parts.

    Example:
        >>> n_processes(4, ENOUGH, 10), n_processes(4, ENOUGH - 1, 10), n_processes(4, ENOUGH, 3)
        (4, 1, 3)
    """
    if work < ENOUGH:
        return 1
    # cores that this process may use, also where a container allows only some
    return max(1, min(cpu_count() if jobs is None else jobs, n_asks))


class _Process:
    """One that fits probes. It ends when its standard input does: so also with this process, however that ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-c", _START.format(_WORKER), json.dumps(sys.path)]
        # what is typed at the terminal is meant for this process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | _ONE_THREAD, start_new_session=True
        )
        self._sight: Sight | None = None
        self._pickler: pickle.Pickler | None = None

    def answer(self, ask: Ask) -> Scored:
        """What the probe found; waits for it."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        try:
            # what a pickler has sent it only names from then on: features, labels and folds go there once
            if self._pickler is None or self._sight is not ask.sight:
                self._sight, self._pickler = ask.sight, pickle.Pickler(to, pickle.HIGHEST_PROTOCOL)
                to.write(ANEW)
            else:
                to.write(ON)
            self._pickler.dump(ask)
            to.flush()
            found: Scored | Exception = pickle.load(back)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise EvaluationError(
                f"a process that fits probes was ended from outside, process {self._process.pid}; with too little "
                "memory the system does that: fit in one process (--jobs 1)"
            ) from error
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        """Whoever waits for an answer hears at once that there will be none."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let go of its pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            # what it did not take is lost with it
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


class Fitters:
    """Processes that fit probes, started when there is enough to do and ended with the block; else it is done here.

    `jobs` are as many as there may be; None: one for each core.
    """

    def __init__(self, jobs: int | None) -> None:
        self._jobs = jobs
        self._processes: list[_Process] = []
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Fitters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.end()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def fit_all(self, asks: Iterable[Ask], *, work: int, n_asks: int) -> Iterator[Scored]:
        """What every probe found, in the order of asking; few asks are made ready ahead of the answers.

        `work` is in the unit of `ENOUGH`, n_asks at least their number.
        """
        n = n_processes(self._jobs, work, n_asks)
        return map(fit_and_score, asks) if n == 1 else self._fit_by(n, asks)

    def expect(self, work: int, n_asks: int) -> None:
        """Start the processes for what is to come, so that they are there when it does."""
        self._start(n_processes(self._jobs, work, n_asks))

    def _start(self, n: int) -> None:
        while len(self._processes) < n - 1:
            self._processes.append(_Process())
            self._idle.put(self._processes[-1])
            # a thread for each, and no more: what a thread has taken is begun
            if self._threads is not None:
                self._threads.shutdown()
            self._threads = ThreadPoolExecutor(len(self._processes))

    def _fit_by(self, n: int, asks: Iterable[Ask]) -> Iterator[Scored]:
        self._start(n)
        assert self._threads is not None
        waiting: deque[tuple[Ask, Future[Scored]]] = deque()
        for ask in asks:
            waiting.append((ask, self._threads.submit(self._answer, ask)))
            # every process has work while this one is busy with an ask of its own
            if len(waiting) > 2 * n + 4:
                yield self._first(waiting)
        while waiting:
            yield self._first(waiting)

    def _first(self, waiting: deque[tuple[Ask, Future[Scored]]]) -> Scored:
        """What the first probe found; until that is known, probes that no process has begun are fitted here."""
        while not waiting[0][1].done():
            k = next((k for k, (_, future) in enumerate(waiting) if future.cancel()), None)
            if k is None:
                break
            ask, done = waiting[k][0], Future[Scored]()
            done.set_result(fit_and_score(ask))
            waiting[k] = ask, done
        return waiting.popleft()[1].result()

    def _answer(self, ask: Ask) -> Scored:
        process = self._idle.get()
        try:
            return process.answer(ask)
        finally:
            self._idle.put(process)
