"""`run`: what it does for any stepper, whatever its arithmetic."""

import signal

import numpy as np
import pytest
import torch

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    Factors,
    History,
    Penalty,
    als,
    average_biases,
    choose,
    fit,
    global_mean,
    hogwild,
    objective,
    random_split,
    rmse,
    sgd,
    simulate_ratings,
    soft_impute,
    svdpp,
)
from mfhelpers.algorithms.loop import Monitor, Stepper, interruptions, run
from mfhelpers.check import numerical_gradient

RATINGS, _ = simulate_ratings(40, 30, 400, min_per_user=5)
TRAIN, VALID = random_split(RATINGS, 0.25)


class TowardsTheMean(Stepper):
    """An algorithm of ten lines: one number for everybody, half-way to the mean in each step."""

    def __init__(self, train, guess=0.0, share=0.5):
        self.train, self.guess, self.share = train, guess, share

    def step(self):
        self.guess += self.share * (self.train.values.mean(dtype=np.float64) - self.guess)

    def predictor(self):
        biases = np.zeros(self.train.n_users), np.zeros(self.train.n_items)
        return Factors(self.guess, *biases, np.zeros((self.train.n_users, 1)), np.zeros((self.train.n_items, 1)))


def test_a_new_algorithm_is_its_arithmetic_and_gets_everything_else(tmp_path):
    history, seen = History(), []
    toy = TowardsTheMean(TRAIN)
    settings = {"history": history, "watch": seen.append, "log_dir": tmp_path / "toy", "progress": True}
    assert run(toy, 6, Monitor(TRAIN, VALID, **settings)) is history
    assert (history.epochs, history.stopped, history.n_train) == (6, "finished", len(TRAIN))
    assert [factors.mean for factors in seen] == pytest.approx(
        [toy.guess * (1 - 0.5**n) / (1 - 0.5**6) for n in range(1, 7)]
    )
    assert history.train_rmse[1:] == [rmse(factors, TRAIN) for factors in seen]
    assert history.valid_rmse[1:] == [rmse(factors, VALID) for factors in seen]
    assert toy.result().mean == seen[-1].mean
    assert sum(path.stat().st_size for path in (tmp_path / "toy").iterdir()) > 1000


def test_patience_keeps_the_best_step():
    history, toy = History(), TowardsTheMean(TRAIN, share=1.9)  # beyond the mean, each time a little nearer
    fives = TRAIN[TRAIN.values == 5]
    run(toy, 100, Monitor(TRAIN, fives, patience=4, history=history))
    assert history.stopped == "early"
    assert history.epochs == history.best_epoch + 4
    assert rmse(toy.result(), fives) == pytest.approx(min(history.valid_rmse))


def test_what_has_converged_takes_no_more_steps():
    class Settled(TowardsTheMean):
        def step(self):
            super().step()
            self.converged = True

    assert run(Settled(TRAIN), 100, Monitor(TRAIN)).stopped == "converged"


@pytest.mark.parametrize("judged", [True, False])
def test_a_divergence_is_named_and_the_history_ends_one_step_before(judged):
    class Leaping(TowardsTheMean):
        setting, remedy = " at share 3", "Take a smaller share."

        def step(self):
            self.guess = 1e9
            return None if judged else 1e9

    history = History() if judged else None
    with pytest.raises(
        DivergenceError, match=r"diverged in epoch 1 at share 3: training RMSE 1e\+09. Take a smaller share"
    ):
        run(Leaping(TRAIN), 5, Monitor(TRAIN, history=history))
    assert not judged or history.epochs == 0


def test_an_interruption_is_kept_and_told_to_whoever_runs_several(capsys):
    def interrupted():
        signal.raise_signal(signal.SIGINT)

    class Interrupted(TowardsTheMean):
        def step(self):
            super().step()
            interrupted() if self.guess > 3 else None

    toy = Interrupted(TRAIN)
    with interruptions() as noticed:
        history = run(toy, 50, Monitor(TRAIN, history=History()))
    assert history.stopped == "interrupted"
    assert noticed == [history.epochs + 1]
    assert capsys.readouterr().out == f"interrupted in epoch {noticed[0]}: the factors so far are kept\n"
    assert toy.result().mean > 3


def test_choose_stops_where_a_training_kept_an_interruption_to_itself_in_any_thread(capsys):
    """No handler of signals takes part: only the main thread has one."""
    import threading

    calls = iter(range(10))

    def fit_one(part, n):
        def watch(_):
            if next(calls) == 4:
                raise KeyboardInterrupt

        return als(part, n, sweeps=1, watch=watch, progress=False)

    found = []
    work = threading.Thread(target=lambda: found.append(choose(TRAIN, {"n": [1, 2, 3]}, fit_one, progress=False)))
    work.start()
    work.join()
    assert len(found[0].log) == 1
    assert "interrupted after 1 of 3 settings" in capsys.readouterr().out


@pytest.mark.parametrize("n", [0, -1])
def test_bad_monitors_are_refused(n):
    with pytest.raises(ValueError, match=f"patience={n}"):
        Monitor(TRAIN, VALID, patience=n)
    with pytest.raises(ValueError, match="train is list: give Ratings"):
        Monitor([1, 2])


def test_an_empty_history_says_what_it_is_for():
    assert "hand it to a training" in repr(History())
    assert History().epochs == History().best_epoch == 0


# -- what goes wrong --------------------------------------------------------------------------------


def fails(_):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("options", "error", "stopped"),
    [
        ({"lr": 1e9, "optimizer": torch.optim.SGD}, DivergenceError, "diverged"),
        ({"watch": fails}, ZeroDivisionError, "failed"),
        ({"checkpoint": "/proc/nowhere/c.pt"}, OSError, "failed"),
    ],
)
def test_a_history_says_that_a_training_failed(options, error, stopped):
    history = History()
    with pytest.raises(error):
        fit(BiasedMatrixFactorization(40, 30, 2), TRAIN, epochs=3, history=history, progress=False, **options)
    assert history.stopped == stopped
    if "checkpoint" in options:  # nothing was trained, so the history is as new
        fit(BiasedMatrixFactorization(40, 30, 2), TRAIN, epochs=1, history=history, progress=False)
        assert history.epochs == 1


def test_watching_als_does_not_change_what_it_makes_of_a_start_that_is_far_off():
    options = {"init_std": 20.0, "sweeps": 6, "progress": False}
    blind, seen = als(TRAIN, 4, **options), als(TRAIN, 4, valid=VALID, history=History(), **options)
    assert np.array_equal(blind.item_factors, seen.item_factors)


def test_an_interrupted_step_that_went_too_far_is_not_kept(capsys):
    def one_step_too_far(optimizer, *_):
        optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))
        raise KeyboardInterrupt

    model = BiasedMatrixFactorization(40, 30, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    optimizer.register_step_post_hook(one_step_too_far)
    fit(model, TRAIN, optimizer=optimizer, progress=False)
    assert "that epoch diverged, and the model of the epoch before is kept" in capsys.readouterr().out
    assert np.isfinite(rmse(model, TRAIN))


def test_with_patience_an_interruption_says_which_step_is_kept(capsys):
    seen = []

    def third(_):
        seen.append(0)
        if len(seen) == 3:
            raise KeyboardInterrupt

    history = History()
    als(TRAIN, 4, valid=VALID, patience=9, watch=third, history=history, progress=False)
    assert f"sweep {history.best_epoch}, the best, is kept" in capsys.readouterr().out


def test_what_only_predicts_can_be_logged(tmp_path):
    class Alone:
        def predict(self, users, items):
            return np.full(len(users), 3.0)

    class Bare(TowardsTheMean):
        def predictor(self):
            return Alone()

    assert run(Bare(TRAIN), 2, Monitor(TRAIN, log_dir=tmp_path / "bare")).stopped == "finished"


# -- threads ---------------------------------------------------------------------------------------

ALGORITHMS = {
    "als": lambda **options: als(TRAIN, 3, sweeps=3, **options),
    "svdpp": lambda **options: svdpp(TRAIN, 3, sweeps=3, **options),
    "sgd": lambda **options: sgd(TRAIN, 3, epochs=3, **options),
    "minibatch": lambda **options: sgd(TRAIN, 3, epochs=3, engine="minibatch", **options),
    "soft_impute": lambda **options: soft_impute(TRAIN, 3, threshold=0.5, sweeps=3, tolerance=0, **options),
    "fit": lambda **options: fit(BiasedMatrixFactorization(40, 30, 3), TRAIN, epochs=3, **options),
}
EVERY = pytest.mark.parametrize("train", ALGORITHMS.values(), ids=ALGORITHMS)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@EVERY
def test_small_steps_take_one_thread_and_give_the_callers_setting_back(train, three_threads):
    seen, history = [], History()
    train(watch=lambda _: seen.append(torch.get_num_threads()), history=history, progress=False)
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == 3
    assert history.threads == 1
    assert "over before a second thread is of use" in history.threads_reason


@EVERY
def test_threads_may_be_asked_for(train, three_threads):
    seen, history = [], History()
    train(watch=lambda _: seen.append(torch.get_num_threads()), history=history, threads=2, progress=False)
    assert seen == [2, 2, 2]
    assert torch.get_num_threads() == 3
    assert (history.threads, history.threads_reason) == (2, "it was asked for")


@EVERY
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_the_callers_threads_come_back_whatever_happens(train, error, three_threads, capsys):
    def fails(_):
        raise error

    try:
        train(watch=fails, progress=False)
    except ZeroDivisionError:
        assert error is ZeroDivisionError
    assert torch.get_num_threads() == 3


@EVERY
@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_a_number_of_threads_that_cannot_be_is_refused(train, threads):
    with pytest.raises(ValueError, match=f"threads={threads!r}"):
        train(threads=threads, progress=False)


def test_large_steps_take_what_the_process_has(three_threads, monkeypatch):
    monkeypatch.setattr("mfhelpers.algorithms.resources.LARGE_STEP", 100)
    history = History()
    als(TRAIN, 3, sweeps=1, history=history, progress=False)
    assert history.threads == 3
    assert "enough work for each" in history.threads_reason


# -- one meaning of the penalty ----------------------------------------------------------------------


@pytest.mark.parametrize("reg", [0.3, Penalty(1.4, 0.5), Penalty(2.0, 0, biases=0.5)], ids=str)
@pytest.mark.parametrize("name", ["als", "cg", "sgd", "fit"])
def test_the_gradient_of_the_objective_with_the_same_reg_is_zero_at_the_end(name, reg):
    """The same number, or the same penalty, in training and in `objective`: it is a minimum."""
    if name in ("als", "cg"):
        options = {"solver": "exact" if name == "als" else "cg", "dtype": "float64", "sweeps": 1000}
        ended, bound = als(TRAIN, 2, reg=reg, progress=False, **options), 1e-6
    elif name == "sgd":
        far = sgd(TRAIN, 2, reg=reg, epochs=200, lr=0.02, engine="minibatch", batch_size=300, progress=False)
        ended, bound = sgd(TRAIN, 2, reg=reg, epochs=100, lr=0.0005, engine="loop", start=far, progress=False), 0.6
    else:
        model, full = BiasedMatrixFactorization(40, 30, 2), {"batch_size": len(TRAIN), "progress": False}
        for lr in (0.02, 0.002, 0.0002):
            fit(model, TRAIN, epochs=300, lr=lr, reg=reg, **full)
        ended, bound = model.to_factors(), 0.6
    for table in ("user_factors", "item_factors", "user_biases", "item_biases"):
        tables = {name: getattr(ended, name).astype(np.float64) for name in
                  ("user_biases", "item_biases", "user_factors", "item_factors")}  # fmt: skip

        def at(values, table=table, tables=tables):
            return objective(Factors(ended.mean, **(tables | {table: values})), TRAIN, reg)

        slope = np.abs(numerical_gradient(at, tables[table])).max()
        assert slope < bound, (table, slope)


def test_folding_in_with_the_same_reg_finds_the_same_users():
    for reg in (0.3, Penalty(1.4, 0.5)):
        ended = als(TRAIN, 2, reg=reg, dtype="float64", sweeps=2000, progress=False)
        assert ended.fold_in(TRAIN, reg=reg).rms_difference(ended) < 1e-6


@pytest.mark.parametrize("name", ["fold_in", "objective"])
def test_the_penalty_that_was_trained_with_must_be_said(name):
    factors = average_biases(TRAIN)
    with pytest.raises(TypeError, match="reg"):
        factors.fold_in(TRAIN) if name == "fold_in" else objective(global_mean(TRAIN), TRAIN)


def test_every_algorithm_takes_what_watches_a_training_by_the_same_names():
    import inspect

    names = ["valid", "patience", "watch", "history", "log_dir", "progress"]
    for algorithm in (fit, sgd, als, svdpp, soft_impute, hogwild):
        assert set(names) <= set(inspect.signature(algorithm).parameters), algorithm.__name__
