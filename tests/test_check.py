"""The checks that lessons make: they pass what is right and fail what is wrong. And each comes to an end."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from mfhelpers import Ratings
from mfhelpers.check import feedback, numerical_gradient, on_movielens, same, stated

REAL = Ratings([0], [0], [3], 1, 1, (1, 5, 1), source="movielens")


@pytest.mark.parametrize(
    ("value", "text"), [(0.94349, "0.943"), (0.944, "0.943"), (0.942, "0.943"), (100_001, "100,000"), (-1.5, "-1.5")]
)
def test_stated_permits_one_in_the_last_place(value, text):
    stated(REAL, value, text)


@pytest.mark.parametrize(("value", "text"), [(0.9441, "0.943"), (100_002, "100,000"), (float("nan"), "1.0")])
def test_stated_refuses_another_number_and_names_both(value, text):
    with pytest.raises(AssertionError, match=f"the text says {text}, this machine measured {value:.6g}"):
        stated(REAL, value, text)


@pytest.mark.parametrize("source", ["simulated", "arrays"])
def test_stated_compares_nothing_on_other_data(source):
    stated(dataclasses.replace(REAL, source=source), 2.0, "1.0")


@pytest.mark.parametrize("source", ["movielens", "simulated"])
@pytest.mark.parametrize("text", ["1e-5", "1,5", "0.9 ", "", ".9", "1.", "19,83", "−0.5", "nan"])
def test_stated_refuses_what_is_no_number_of_a_text(source, text):
    with pytest.raises(ValueError, match="must be a number as a text states it"):
        stated(dataclasses.replace(REAL, source=source), 0.9, text)


def test_on_movielens_requires_a_statement_of_movielens_alone():
    on_movielens(REAL, True)
    on_movielens(dataclasses.replace(REAL, source="simulated"), False)
    with pytest.raises(AssertionError, match="the order does not hold here"):
        on_movielens(REAL, False, "the order")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_numerical_gradient_of_a_polynomial(shape):
    at = np.asarray(np.random.default_rng(0).normal(size=shape))
    at.flags.writeable = False  # as the arrays of Factors are
    gradient = numerical_gradient(lambda x: float((x**3).sum() + x.sum() ** 2), at)
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient, 3 * at**2 + 2 * at.sum(), atol=1e-8)


def test_numerical_gradient_takes_integers_as_float64():
    np.testing.assert_allclose(numerical_gradient(lambda x: float(x @ x), [1, 2]), [2, 4], atol=1e-8)


def test_same_returns_the_largest_difference():
    assert same(torch.tensor([1.0, 100.0]), np.array([1.0, 100.5]), tolerance=0.01) == 0.5
    assert same([], []) == 0


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        ([1.0, 2.0], [1.0, 2.1], r"the two differ at \(1,\): 2 and 2.1, 1.0e-01 apart"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], r"the two differ at \(1, 0\): nan and 2"),
        ([1.0], 1.0, r"the two: shapes \(1,\) and \(\)"),
    ],
)
def test_same_names_the_place(got, expected, message):
    with pytest.raises(AssertionError, match=message):
        same(got, expected)


def test_same_is_relative_for_large_numbers_and_absolute_for_small():
    same(1e6, 1e6 + 0.5)
    same(1e-9, 0)
    with pytest.raises(AssertionError, match="the ranks"):
        same(1e6, 1e6 + 2, what="the ranks")


# -- an answer that does not end -------------------------------------------------------------------


@feedback.exercise(8, "for this test")
def calls_the_answer(answer, seed=0):
    answer()
    return "it came back"


def runs_on():
    n = 0
    while n >= 0:
        n += 1


def catches_all_errors():
    while True:
        with contextlib.suppress(Exception):
            runs_on()


def sleeps():
    time.sleep(60)


def waits_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


WAITS = pytest.mark.skipif(sys.platform == "win32", reason="nothing wakes a call that waits there")


@pytest.mark.parametrize(
    "answer",
    [runs_on, catches_all_errors, pytest.param(sleeps, marks=WAITS), pytest.param(waits_for_a_lock, marks=WAITS)],
)
def test_an_answer_that_does_not_end_is_stopped_and_nothing_stays_behind(answer):
    handler, threads, began = signal.getsignal(signal.SIGINT), threading.active_count(), time.monotonic()
    with pytest.raises(feedback.NotYet) as caught:
        calls_the_answer(answer, seconds=0.2)
    assert time.monotonic() - began < 10
    said = str(caught.value)
    assert said.startswith("Exercise 8, not yet: your answer does not end in the line `")
    assert "within 0.2 seconds" in said
    assert "Does its loop ever end?" in said
    assert signal.getsignal(signal.SIGINT) is handler
    assert threading.active_count() == threads
    assert sum(range(100_000)) == 4_999_950_000  # no exception is on its way any more
    calls_the_answer(lambda: 1)


@WAITS
def test_a_wait_is_woken_where_a_library_lets_waits_go_on_after_a_signal():
    """As polars does, once it is imported."""
    signal.siginterrupt(signal.SIGINT, False)
    try:
        with pytest.raises(feedback.NotYet, match="your answer does not end in the line `lock.acquire"):
            calls_the_answer(waits_for_a_lock, seconds=0.2)
    finally:
        signal.siginterrupt(signal.SIGINT, True)


def test_an_answer_that_does_not_end_is_stopped_in_another_thread_as_well():
    said = []

    def ask():
        try:
            calls_the_answer(runs_on, seconds=0.2)
        except feedback.NotYet as lacking:
            said.append(str(lacking))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(20)
    assert "does not end" in said[0]


@feedback.exercise(7, "for this test")
def takes_its_time(answer, seed=0):
    sum(range(10_000_000))  # the check's own work
    answer()
    return "it came back"


def test_the_work_of_the_check_itself_does_not_count(monkeypatch):
    code = takes_its_time.__wrapped__.__code__
    monkeypatch.setattr(takes_its_time.__wrapped__, "__code__", code.replace(co_filename=feedback.__file__))
    takes_its_time(lambda: 1, seconds=0.02)
    with pytest.raises(feedback.NotYet, match="does not end"):
        takes_its_time(runs_on, seconds=0.02)


def test_the_readers_own_interruption_is_not_taken_for_a_loop():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calls_the_answer(interrupted, seconds=5)


IN_A_KERNEL = '''
import threading
from jupyter_client.manager import start_new_kernel

kernel, client = start_new_kernel()

def said(code):
    reply = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)["content"]
    return "\\n".join(reply["traceback"]) if reply["status"] == "error" else "nothing"

define = """
from mfhelpers.check import feedback

@feedback.exercise(8, "for this test")
def ask(answer, seed=0):
    answer()
    return "it came back"

def runs_on():
    while True:
        pass
"""
try:
    print(said(define), said("ask(runs_on, seconds=0.3)"), said("1 + 1"), sep="|")
    threading.Timer(1.0, kernel.interrupt_kernel).start()
    print(said("ask(runs_on, seconds=60)"))
finally:
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
'''


def test_a_kernel_goes_on_after_an_answer_that_did_not_end_and_can_be_interrupted():
    pytest.importorskip("jupyter_client")
    done = subprocess.run([sys.executable, "-c", IN_A_KERNEL], capture_output=True, text=True, timeout=120, check=True)
    first, hung, after = done.stdout.split("|", 2)
    assert first == "nothing"
    assert hung.startswith("Exercise 8, not yet: your answer does not end in the line `while True:`")
    assert after.startswith("nothing\n")
    assert "KeyboardInterrupt" in after
