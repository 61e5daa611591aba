from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage import jobs, scoring
from mibias_cli.evaluation.leakage.scoring import Ask, Scored, fit_and_score
from mibias_cli.evaluation.probes.families import FittedProbe
from mibias_cli.progress import Silent

SETTINGS = AuditSettings(probes=("logistic", "gradient_boosting"), n_bootstrap=100, n_permutations=49)


def make_inputs(d: int, channels: tuple[str, ...] = ("red",)) -> AuditInput:
    g = np.random.default_rng(0)
    y, c = g.integers(0, 2, (2, 400))
    z = g.normal(size=(400, d))
    z[:, 0] += 2 * c
    attribute = AuditedAttribute(
        name="colour", channels=channels, class_names=(("dark", "light"),) * len(channels),
        c=np.tile(c[:, None], len(channels)), known=np.ones(400, dtype=bool),
    )  # fmt: skip
    after = Features(train=z[:100], audit=z)
    return AuditInput(
        before=None, after=after, train_y=y[:100], audit_y=y, class_names=("a", "b"), attributes=(attribute,)
    )


def run(inputs: AuditInput, n: int = 1) -> AuditFindings:
    return audit(inputs, SETTINGS, seed=0, progress=Silent(), fitters=jobs.Fitters(n))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Ask]:
    """All that probes are asked in this process."""
    asks: list[Ask] = []

    def told(ask: Ask) -> Scored:
        asks.append(ask)
        return fit_and_score(ask)

    monkeypatch.setattr(jobs, "fit_and_score", told)
    return asks


def test_the_area_under_the_curve_is_that_of_two_normals() -> None:
    """Means two apart, unit variance: P(z₁ > z₀) is Φ(2 / √2)."""
    found = run(make_inputs(1)).attributes["colour"].after
    logistic = found.marginal.probes["logistic"]
    assert logistic.auroc == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.04)
    assert found.conditional is not None
    assert found.conditional.probes["logistic"].auroc is None


def test_little_work_is_done_in_this_process(asked: list[Ask]) -> None:
    run(make_inputs(5), 8)
    assert len(asked) == 4  # two questions, two families


def test_channels_with_the_same_labels_are_asked_about_once(asked: list[Ask]) -> None:
    found = run(make_inputs(5, ("red", "green"))).attributes["colour"]
    assert len(asked) == 4
    red, green = (found.channels[name].after for name in ("red", "green"))
    assert red.leakage_bits == green.leakage_bits
    assert (red.marginal.headline_channel, green.marginal.headline_channel) == ("red", "green")


def test_features_left_as_they_were_are_asked_about_once(asked: list[Ask]) -> None:
    inputs = make_inputs(5)
    same = Features(train=inputs.after.train.copy(), audit=inputs.after.audit.copy())
    found = run(replace(inputs, before=same)).attributes["colour"]
    assert len(asked) == 4
    assert found.before == found.after
    assert found.change is not None
    assert found.change.leakage_bits.estimate == 0


def test_an_error_in_a_process_is_raised_here_and_says_where() -> None:
    ask = Ask(family="logistic", task=None, question=None, sight=None, scored=None, seed=0)  # type: ignore[arg-type]
    process = jobs._Process()
    try:
        with pytest.raises(AttributeError, match="c_fit") as caught:
            process.answer(ask)
    finally:
        process.end()
        process.close()
    assert "in score_probe" in caught.value.__notes__[0]


class Unreadable:
    """What cannot be read by whoever is sent it."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("no number",)


def test_an_ask_that_a_process_cannot_read_ends_it() -> None:
    """As where memory runs out in reading: nobody waits for its answer."""
    ask = Ask(family="logistic", task=Unreadable(), question=None, sight=None, scored=None, seed=0)  # type: ignore[arg-type]
    process = jobs._Process()
    try:
        with pytest.raises(EvaluationError, match=r"was ended from outside"):
            process.answer(ask)
    finally:
        process.end()
        process.close()


def test_what_no_process_has_begun_is_fitted_here(monkeypatch: pytest.MonkeyPatch, asked: list[Ask]) -> None:
    """The other process is not there before this one has fitted its share, and answers come in the order of asking."""
    inputs = make_inputs(1000)
    alone = run(inputs)
    n_alone = len(asked)
    monkeypatch.setattr(jobs, "ENOUGH", 0)
    assert run(inputs, 2) == alone
    assert 0 < len(asked) - n_alone < n_alone


def test_processes_are_started_ahead_for_much_work_alone() -> None:
    with jobs.Fitters(2) as fitters:
        fitters.expect(jobs.ENOUGH - 1, 10)
        assert not fitters._processes
        fitters.expect(jobs.ENOUGH, 10)
        (process,) = fitters._processes
        assert process._process.poll() is None
    assert process._process.poll() is not None


def test_a_flag_that_a_processor_sets_in_a_fit_is_no_warning(monkeypatch: pytest.MonkeyPatch, asked: list[Ask]) -> None:
    """Warnings are errors in these tests."""
    run(make_inputs(5))
    fit_probe = scoring.fit_probe

    def flagged(*arguments: object, **named: object) -> FittedProbe:
        np.subtract(np.float32(np.inf), np.float32(np.inf))  # sets it
        return fit_probe(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "fit_probe", flagged)
    assert fit_and_score(asked[0]).gains.shape == asked[0].task.c_score.shape


def test_a_process_that_was_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ENOUGH", 0)
    monkeypatch.setattr(jobs, "_START", "")  # it ends at once, without a word
    with pytest.raises(EvaluationError, match=r"ended from outside, process [0-9]+; .*--jobs 1"):
        run(make_inputs(5), 2)


LONG_AUDIT = """
import signal
import numpy as np
from mibias_cli import audit
from mibias_cli.evaluation.leakage import jobs
jobs.ENOUGH = 0
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background has it ignored
g = np.random.default_rng(0)
print("begun", flush=True)
while True:
    audit(g.normal(size=(3000, 60)), {"colour": g.integers(0, 8, 3000)}, jobs=3)
"""


@pytest.mark.skipif(shutil.which("ps") is None, reason="processes are listed by ps")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_asks(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends; and a script needs no guard against being run again by its processes."""
    script, said = tmp_path / "long_audit.py", tmp_path / "stderr"
    script.write_text(LONG_AUDIT)
    with said.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    fitting: list[int] = []
    try:
        # two that are at work, after both have been started
        waited_for(lambda: len(children(process.pid)) == 2)
        fitting = children(process.pid)
        time.sleep(2)
        process.send_signal(number)
        assert process.wait(120) != 0
        waited_for(lambda: not [pid for pid in fitting if is_alive(pid)])
    finally:
        for pid in filter(is_alive, fitting):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
    assert rest == b""
    # the script's own traceback is all that is said
    assert said.read_text().count("Traceback") == (number == signal.SIGINT)
    assert "leaked" not in said.read_text()


def children(parent: int) -> list[int]:
    """Processes that a process has started and that are alive."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, ppid, state in rows if int(ppid) == parent and not state.startswith("Z")]


def is_alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(found) and not found.startswith("Z")


def waited_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
