"""`hogwild`: what several processes reach together, and that none is left behind.

A worker is a new Python that takes seconds to start, so one training serves several tests.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import psutil
import pytest
import torch

from mfhelpers import DivergenceError, Factors, History, hogwild, objective, rmse, sgd, simulate_ratings
from mfhelpers.algorithms import hogwild as parallel, loop

RATINGS, _ = simulate_ratings(60, 80, 1500)
TRAIN = RATINGS[(RATINGS.users > 2) & (RATINGS.items > 1)]  # users 0 to 2 and items 0 and 1 have no training rating
SETTINGS = dict(epochs=30, lr=0.01, reg=0.1, batch_size=64, progress=False)
LONG = {**SETTINGS, "epochs": 50_000}  # minutes
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")


def begun(train=TRAIN, k=3) -> Factors:
    rng = np.random.default_rng(3)
    shapes = (train.n_users,), (train.n_items,), (train.n_users, k), (train.n_items, k)
    return Factors(3.25, *(rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes))


def rated(train) -> dict[str, np.ndarray]:
    return {table: (train.user_counts if table.startswith("user") else train.item_counts) > 0 for table in TABLES}


def workers(of: int | None = None) -> list[psutil.Process]:
    """The processes below this or another one, but for Python's own that tidies up shared memory."""
    children = psutil.Process(of).children(recursive=True)
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def together():
    """A training by two, long enough for both to work at the same time: the ratings of a late one would weigh more."""
    whole, _ = simulate_ratings()
    train = whole[(whole.users > 2) & (whole.items > 1)]
    settings = {**SETTINGS, "batch_size": 1024, "start": begun(train, 5)}
    history = History()
    return train, settings, hogwild(train, 5, n_workers=2, history=history, **settings), history


# -- what they reach -------------------------------------------------------------------------------


def test_two_workers_reach_what_one_process_does(together):
    train, settings, factors, history = together
    alone = sgd(train, 5, engine="minibatch", **settings)
    half = sgd(train[: len(train) // 2], 5, engine="minibatch", **settings)
    assert rmse(factors, train) == pytest.approx(rmse(alone, train), rel=0.02)
    assert objective(factors, train, 0.1) == pytest.approx(objective(alone, train, 0.1), rel=0.04)
    assert rmse(factors, train) < 0.95 * rmse(half, train)
    assert history.epochs == 30
    assert 0 < history.seconds[-1]
    assert history.train_rmse[-1] == pytest.approx(rmse(factors, train))
    assert (history.threads, history.threads_reason) == (2, "a thread a worker")


class AtOnce:
    """A context of multiprocessing whose processes are none: each does its work here when it is started."""

    def __init__(self, method):
        assert method == "spawn"

    class Process:
        pid = exitcode = None

        def __init__(self, target, args, daemon):
            self.target, self.args = target, args

        def start(self):
            engine, epochs, board, rank, allowed = self.args
            allowed[0] = epochs
            self.target(*self.args)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(parallel.torch.multiprocessing, "get_context", AtOnce)
    parent = types.SimpleNamespace(is_alive=lambda: True)
    monkeypatch.setattr(parallel.multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(parallel.signal, "signal", lambda *_: None)
    monkeypatch.setattr(parallel.torch, "set_num_threads", lambda _: None)


def test_one_worker_is_a_training_by_minibatches(at_once):
    alone = sgd(TRAIN, 3, engine="minibatch", **SETTINGS)
    factors = hogwild(TRAIN, 3, n_workers=1, **SETTINGS)
    assert objective(factors, TRAIN, 0.1) == pytest.approx(objective(alone, TRAIN, 0.1), rel=0.01)
    assert factors.mean == alone.mean == TRAIN.values.mean(dtype=np.float64)
    assert factors.rms_difference(alone) < 0.1 < 0.3 < factors.rms_difference(begun())
    for table, seen in rated(TRAIN).items():
        assert not getattr(factors, table)[~seen].any()


@pytest.mark.parametrize("n_workers", [1, 2, 7])
def test_workers_have_a_share_of_the_ratings_each_and_all_together(at_once, n_workers, monkeypatch):
    shares, work = [], parallel._work
    monkeypatch.setattr(parallel, "_work", lambda engine, *others: shares.append(engine) or work(engine, *others))
    hogwild(TRAIN, 3, n_workers=n_workers, seed=1, **SETTINGS)
    other, shares = shares, []
    hogwild(TRAIN, 3, n_workers=n_workers, **SETTINGS)
    assert (shares[0].columns[0][:50] != other[0].columns[0][:50]).any()
    columns = [torch.cat([share.columns[side] for share in shares]) for side in (0, 1)]
    assert sorted(zip(*map(torch.Tensor.tolist, columns), strict=True)) == sorted(
        zip(TRAIN.users.tolist(), TRAIN.items.tolist(), strict=True)
    )
    for share in shares:
        assert abs(share.n_ratings - len(TRAIN) / n_workers) < 1
        assert 48 < share.n_ratings / share.n_batches < 80  # 64 were asked for
        assert share.P.data_ptr() == shares[0].P.data_ptr()
    assert len({share.shuffling.bit_generator.state["state"]["state"] for share in shares}) == n_workers


def test_the_seed_reproduces_what_one_worker_does_and_another_differs(at_once):
    one, again, other = (hogwild(TRAIN, 3, n_workers=1, seed=seed, **SETTINGS) for seed in (1, 1, 2))
    for table in TABLES:
        np.testing.assert_array_equal(getattr(one, table), getattr(again, table))
        assert (getattr(one, table) != getattr(other, table)).any()


def test_a_start_keeps_its_mean_and_the_rows_without_a_rating(together):
    train, settings, factors, _ = together
    assert factors.mean == 3.25
    for table, seen in rated(train).items():
        before, after = getattr(settings["start"], table), getattr(factors, table)
        np.testing.assert_array_equal(after[~seen], before[~seen])
        assert (after[seen] != before[seen]).any(axis=-1).all()
        assert after.dtype == np.float32
        assert not seen[:2].any()


def test_no_process_is_left(together):
    assert workers() == []
    assert multiprocessing.active_children() == []


# -- workers that fail -----------------------------------------------------------------------------


def dies(code, engine, epochs, board, rank, allowed):
    """A worker: the last one ends by itself, with an error after an epoch or in peace before the first."""
    if rank == len(board) - 1:
        if code:
            parallel._work(engine, 1, board, rank, allowed)
        os._exit(code)
    parallel._work(engine, epochs, board, rank, allowed)


def slept(monkeypatch, sleep):
    """Let `hogwild` sleep in another way between two looks at its workers."""
    monkeypatch.setattr(parallel, "time", types.SimpleNamespace(sleep=sleep))


@pytest.mark.parametrize(("n_workers", "code"), [(2, 3), (1, 0)])
def test_a_worker_that_dies_is_reported_and_takes_the_others_along(n_workers, code, monkeypatch):
    looks = iter(range(100_000))  # rather than wait for ever
    slept(monkeypatch, lambda seconds: time.sleep(seconds + 0 * next(looks)))
    monkeypatch.setattr(parallel, "_work", functools.partial(dies, code))
    with pytest.raises(RuntimeError, match=rf"worker {n_workers - 1} ended with exit code {code}; its own message"):
        hogwild(TRAIN, 3, n_workers=n_workers, **LONG)
    assert workers() == []


def test_divergence_names_the_learning_rate(at_once):
    with pytest.raises(DivergenceError, match="diverged at learning rate 50: errors of"):
        hogwild(TRAIN, 3, **{**SETTINGS, "lr": 50, "batch_size": 4})


# -- interruption ----------------------------------------------------------------------------------


def test_an_interruption_before_the_workers_are_there_returns_the_start(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    slept(monkeypatch, interrupted)
    factors = hogwild(TRAIN, 3, start=begun(), **LONG)
    assert factors.mean == 3.25
    for table in TABLES:
        np.testing.assert_array_equal(getattr(factors, table), getattr(begun(), table))
    assert capsys.readouterr().out == "interrupted in epoch 1: the factors so far are kept\n"
    assert workers() == []


class Bar:
    """A progress bar that tells another process when the training goes on."""

    n = 0

    def update(self):
        self.n += 1
        print("epochs", self.n, flush=True)

    def close(self):
        pass


def until(script, epochs):
    while (line := script.stdout.readline()) and int(line.split()[1]) < epochs:
        pass


@pytest.fixture
def script():
    """This file as a script, of which the workers are at work; its process group ends with the test."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with subprocess.Popen([sys.executable, __file__], **pipes) as started:
        try:
            until(started, 40)
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


UNIX = pytest.mark.skipif(sys.platform == "win32", reason="there are no signals for groups of processes")


@UNIX
def test_ctrl_c_keeps_the_factors_so_far(script):
    for worker in workers(script.pid):  # a terminal interrupts all; workers leave it to the first process
        worker.send_signal(signal.SIGINT)
    until(script, 80)
    script.send_signal(signal.SIGINT)
    out, errors = script.communicate(timeout=120)
    assert (script.returncode, errors) == (0, "")
    *_, said, result = out.splitlines()
    assert said.startswith("interrupted in epoch ")
    assert int(said.split()[3].rstrip(":")) > 1
    assert float(result.split()[1]) < 0.9 * rmse(begun(), TRAIN)
    assert result.endswith("processes left: 0")


@UNIX
def test_workers_end_when_their_parent_is_killed(script):
    orphans = workers(script.pid)
    script.kill()
    assert len(orphans) == 1
    _, alive = psutil.wait_procs(orphans, timeout=120)
    assert alive == []


# -- where it is called ----------------------------------------------------------------------------

CALL = """
import mfhelpers as mf
ratings, _ = mf.simulate_ratings(60, 80, 1500)
factors = mf.hogwild(ratings, 3, n_workers=1, epochs=2, progress=False)
print(factors, "__file__" in globals())
"""


def test_it_works_where_there_is_no_file_as_in_a_notebook():
    done = subprocess.run([sys.executable, "-c", CALL], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Factors(60 users × 80 items, k = 3")
    assert done.stdout.endswith("False\n")


def test_a_script_without_the_line_that_it_needs_ends_and_names_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CALL, encoding="utf8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: worker 0 ended with exit code 1; its own message")
    assert done.stderr.splitlines()[-1].endswith('the call belongs below `if __name__ == "__main__":`')


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_workers=0), "n_workers=0: from 1 to"),
        (dict(n_workers=-1), "n_workers=-1: from 1 to"),
        (dict(n_workers=1414), "n_workers=1414: from 1 to"),
        (dict(n_workers=2.0), r"n_workers=2\.0: give a whole number"),
        (dict(epochs=0), "epochs=0: it must be at least 1"),
        (dict(n_factors=-1), "n_factors=-1"),
        (dict(batch_size=0), "batch_size=0: it must be at least 1"),
        (dict(lr=float("nan")), "lr=nan: it must be finite"),
        (dict(reg=-1), "reg=-1: it must be at least 0"),
        (dict(seed="1"), "seed='1': give a whole number"),
        (dict(n_factors=2, start=begun()), "start=.*k = 3.* does not fit .* with n_factors=2"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_a_process_is_started(options, message, monkeypatch):
    def refused(*_):
        raise AssertionError("a process")

    monkeypatch.setattr(parallel.torch.multiprocessing, "get_context", refused)
    with pytest.raises(ValueError, match=message):
        hogwild(TRAIN, **{"n_factors": 3, "progress": False, **options})


if __name__ == "__main__":  # the script that tests above interrupt and kill
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
    loop.progress_bar = lambda **options: Bar()
    interrupted_factors = hogwild(TRAIN, 3, n_workers=1, start=begun(), **LONG)
    print("rmse", rmse(interrupted_factors, TRAIN), "processes left:", len(workers()))
