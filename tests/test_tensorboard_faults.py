"""A log of a training that is refused, resumed or cut short: nothing is lost, and no run is mixed with another."""

import copy
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from fitting import history_of
from logs import (
    EPOCHS,
    LEAST_SQUARES,
    N_BATCHES,
    SETTINGS,
    SWEEPS,
    TRAIN,
    VALID,
    assert_equal,
    files,
    float32,
    histograms,
    hparams,
    made,
    most_rated,
    opened,
    projected,
    scalars,
)
from torch.optim.lr_scheduler import LambdaLR, StepLR

from mfhelpers import DivergenceError, History, als, fit
from mfhelpers.algorithms import als as least_squares, fit as training, svdpp as implicit_sides

pytest.importorskip("tensorboard")

from tensorboard.summary.writer import event_file_writer

pytestmark = pytest.mark.usefixtures("_no_thread_is_left")


def interrupt(*_):
    raise KeyboardInterrupt


def fails(*_):
    raise ZeroDivisionError("mine")


def at_step(n, action):
    """An optimiser that does something right after its n-th step."""

    def ready(parameters, lr):
        stepper, steps = torch.optim.Adam(parameters, lr=lr), []

        def count(*_):
            steps.append(0)
            if len(steps) == n:
                action(stepper)

        stepper.register_step_post_hook(count)
        return stepper

    return ready


def explode(optimizer):
    optimizer.param_groups[0]["params"][0].data.mul_(1e6)


def in_epoch(n, action):
    """A schedule that does something after the n-th epoch."""

    def rate(step):
        return action() if step == n else 1.0

    return partial(LambdaLR, lr_lambda=rate)


# -- refused before anything is trained ------------------------------------------------------------


def below_a_file(folder):
    (folder / "file").write_text("in the way")
    return folder / "file" / "run"


def a_file(folder):
    (folder / "file").write_text("in the way")
    return folder / "file"


def with_a_run(folder):
    als(TRAIN, log_dir=folder / "run", **SWEEPS)
    return folder / "run"


REFUSED = pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (with_a_run, ValueError, "holds a run already, .*: name a new folder, or delete this one"),
        (a_file, OSError, "cannot be written .*: name another folder"),
        (below_a_file, OSError, "cannot be written .*: name another folder"),
    ],
    ids=["a run", "a file", "below a file"],
)


@REFUSED
def test_a_log_dir_that_will_not_do_is_refused_before_fit_trains(tmp_path, monkeypatch, place, error, message):
    log_dir = place(tmp_path)
    before, model = files(tmp_path), made()
    monkeypatch.setattr(training._Training, "step", lambda *_: pytest.fail("it trained"))
    with pytest.raises(error, match=f"log_dir='{log_dir}' {message}"):
        fit(model, TRAIN, VALID, log_dir=log_dir, **SETTINGS)
    assert files(tmp_path) == before


@REFUSED
def test_a_log_dir_that_will_not_do_leaves_the_model_as_it_was(tmp_path, place, error, message):
    log_dir, model = place(tmp_path), made()
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(error):
        fit(model, TRAIN, VALID, log_dir=log_dir, **SETTINGS)
    assert_equal(model, start)


@pytest.mark.parametrize("place", [a_file, below_a_file])
def test_a_log_dir_that_will_not_do_leaves_a_model_to_be_resumed_as_it_was(tmp_path, place):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint"}
    fit(made(), TRAIN, **options)
    model, log_dir = made(seed=9), place(tmp_path)
    start, before = copy.deepcopy(model.state_dict()), files(tmp_path)
    with pytest.raises(OSError, match="cannot be written .*: name another folder"):
        fit(model, TRAIN, resume=True, log_dir=log_dir, **options)
    assert files(tmp_path) == before
    assert_equal(model, start)


@REFUSED
@LEAST_SQUARES
def test_a_log_dir_that_will_not_do_is_refused_before_least_squares_solve(
    tmp_path, monkeypatch, place, error, message, solve
):
    log_dir, history = place(tmp_path), History()
    before = files(tmp_path)
    monkeypatch.setattr(least_squares.Sides, "step", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(implicit_sides.ImplicitSides, "step", lambda *_: pytest.fail("it trained"))
    with pytest.raises(error, match=f"log_dir='{log_dir}' {message}"):
        solve(TRAIN, log_dir=log_dir, watch=lambda _: pytest.fail("it trained"), history=history, **SWEEPS)
    assert files(tmp_path) == before
    assert history.epochs < 1


def test_a_refused_log_dir_leaves_the_history_of_als_empty_for_the_next_try(tmp_path):
    history = History()
    with pytest.raises(OSError, match="name another folder"):
        als(TRAIN, log_dir=a_file(tmp_path), history=history, **SWEEPS)
    als(TRAIN, log_dir=tmp_path / "another", history=history, **SWEEPS)
    assert list(scalars(tmp_path / "another")["RMSE/train"].values()) == list(float32(history.train_rmse).values())


def test_settings_that_are_refused_leave_no_log(tmp_path):
    for wrong in ({"epochs": 0}, {"schedule": 3}, {"patience": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fit(made(), TRAIN, log_dir=tmp_path / "run", **{**SETTINGS, **wrong})
    with pytest.raises(ValueError, match="solver"):
        als(TRAIN, solver="guess", log_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_runs_beside_each_other_and_in_an_empty_folder_are_welcome(tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "notes.txt").write_text("mine")
    courses = {
        name: history_of(made(seed=n), TRAIN, log_dir=tmp_path / name, **SETTINGS)
        for n, name in enumerate(("one", "two"))
    }
    als(TRAIN, log_dir=tmp_path, **SWEEPS)  # a folder of runs may be one too
    for name, history in courses.items():
        assert scalars(tmp_path / name)["RMSE/train"] == float32(history.train_rmse)
    assert (tmp_path / "two" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("missing", ["tensorboard", "torch.utils.tensorboard"])
def test_without_tensorboard_the_error_names_the_remedy_before_anything_is_trained(tmp_path, monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(training._Training, "step", lambda *_: pytest.fail("it trained"))
    remedy = r"log_dir needs TensorBoard: pip install -c constraints\.txt tensorboard"
    with pytest.raises(ImportError, match=remedy):
        fit(made(), TRAIN, log_dir=tmp_path / "run", **SETTINGS)
    with pytest.raises(ImportError, match=remedy):
        als(TRAIN, log_dir=tmp_path / "run", watch=lambda _: pytest.fail("it trained"), **SWEEPS)
    assert list(tmp_path.iterdir()) == []


# -- continued -------------------------------------------------------------------------------------


def assert_as_uninterrupted(folder, history):
    assert history.epochs == 3
    told, shown = scalars(folder), histograms(folder)
    assert told["RMSE/train"] == float32(history.train_rmse)
    assert told["RMSE/validation"] == float32(history.valid_rmse)
    assert list(told["learning rate"]) == EPOCHS
    assert told["result/RMSE"][3] == np.float32(min(history.valid_rmse))
    assert all(list(epochs) == EPOCHS for epochs in shown.values())


@pytest.fixture
def counted_anew(monkeypatch):
    """TensorBoard sorts the files of a folder by name, which has the second, then a count as text: 100 before 99."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_resumed_training_goes_on_in_the_same_log(tmp_path, counted_anew, epochs):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    options["schedule"] = partial(StepLR, step_size=1, gamma=0.5)
    fit(made(), TRAIN, VALID, **{**options, "epochs": epochs})
    assert list(scalars(tmp_path / "run")["RMSE/train"]) == EPOCHS[: epochs + 1]
    resumed = history_of(made(seed=9), TRAIN, VALID, **options)
    assert_as_uninterrupted(tmp_path / "run", resumed)
    fit(made(), TRAIN, VALID, **{**options, "checkpoint": None, "resume": False, "log_dir": tmp_path / "whole"})
    told, whole = scalars(tmp_path / "run"), scalars(tmp_path / "whole")
    for name in ("RMSE/train", "RMSE/validation", "learning rate"):
        assert told[name] == whole[name]
    assert histograms(tmp_path / "run") == histograms(tmp_path / "whole")
    assert np.array_equal(projected(tmp_path / "run")[0], projected(tmp_path / "whole")[0])


def test_what_was_logged_beyond_the_checkpoint_no_longer_counts(tmp_path, counted_anew):
    """As if the process had been killed before the checkpoints of the second and third epoch."""
    options = {**SETTINGS, "log_dir": tmp_path / "run"}
    fit(made(), TRAIN, VALID, checkpoint=tmp_path / "early", **{**SETTINGS, "epochs": 1})
    fit(made(), TRAIN, VALID, checkpoint=tmp_path / "late", **options)
    history = history_of(made(), TRAIN, VALID, checkpoint=tmp_path / "early", resume=True, **options)
    assert_as_uninterrupted(tmp_path / "run", history)
    assert len(list((tmp_path / "run").glob("events*"))) == 2


@pytest.mark.parametrize("step", [1, N_BATCHES + 1, 3 * N_BATCHES], ids=["first epoch", "second", "third"])
def test_an_interrupted_training_goes_on_in_the_same_log(tmp_path, counted_anew, capsys, step):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    stopped = history_of(made(), TRAIN, VALID, optimizer=at_step(step, interrupt), **options)
    assert stopped.stopped == "interrupted"
    history = history_of(made(), TRAIN, VALID, **options)
    assert_as_uninterrupted(tmp_path / "run", history)


def test_a_training_of_which_nothing_is_left_to_do_leaves_a_readable_log(tmp_path, counted_anew, capsys):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    fit(made(), TRAIN, VALID, **options)
    history = history_of(made(), TRAIN, VALID, **options)
    assert [event.step for event in opened(tmp_path / "run").Scalars("RMSE/train")] == EPOCHS
    assert {event.value for event in opened(tmp_path / "run").Scalars("result/epoch")} == {history.best_epoch}
    assert capsys.readouterr().out == ""


def test_resume_without_a_checkpoint_file_does_not_mix_two_runs(tmp_path):
    log_dir = with_a_run(tmp_path)
    before = files(log_dir)
    with pytest.raises(ValueError, match="holds a run already"):
        fit(made(), TRAIN, checkpoint=tmp_path / "none", resume=True, log_dir=log_dir, **SETTINGS)
    assert files(log_dir) == before


def test_the_learning_rate_among_the_settings_of_a_resumed_training_is_the_one_it_began_with(tmp_path):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True}
    options["schedule"] = partial(StepLR, step_size=1, gamma=0.5)
    fit(made(), TRAIN, **{**options, "epochs": 2})
    fit(made(), TRAIN, log_dir=tmp_path / "run", **options)
    assert hparams(tmp_path / "run")[0]["lr"] == 0.02
    assert list(scalars(tmp_path / "run")["RMSE/train"]) == [3]


# -- cut short -------------------------------------------------------------------------------------


def assert_whole_until(folder, epochs):
    """All that is written for each epoch, and the end."""
    told, shown = scalars(folder), histograms(folder)
    wanted = list(range(epochs + 1))
    assert list(told["RMSE/train"]) == list(told["seconds"]) == wanted
    assert all(list(values) == wanted for values in shown.values())
    assert hparams(folder)[1] == ["result/RMSE", "result/epoch"]
    assert len(told["result/RMSE"]) == 1
    assert len(projected(folder)[0]) == len(most_rated(TRAIN))


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"optimizer": at_step(1, interrupt)}, 0),
        ({"optimizer": at_step(N_BATCHES + 2, interrupt)}, 1),
        ({"schedule": in_epoch(2, interrupt)}, 2),
        ({"schedule": in_epoch(3, interrupt)}, 3),
    ],
    ids=["first step", "second epoch", "after the second", "after the last"],
)
def test_an_interrupted_fit_leaves_the_log_of_all_epochs_done(tmp_path, capsys, options, epochs):
    model, options = made(), {**SETTINGS, **options}
    history = history_of(model, TRAIN, VALID, log_dir=tmp_path, **options)
    assert (history.stopped, history.epochs) == ("interrupted", epochs)
    assert_whole_until(tmp_path, epochs)
    shown = most_rated(TRAIN)
    assert np.array_equal(projected(tmp_path)[0], model.item_factors.weight.detach().double().numpy()[shown])


def test_an_interruption_while_the_log_is_written_leaves_it_readable(tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    add, calls = SummaryWriter.add_histogram, []

    def interrupted(*arguments, **options):
        calls.append(0)
        return interrupt() if len(calls) == 7 else add(*arguments, **options)

    monkeypatch.setattr(SummaryWriter, "add_histogram", interrupted)
    history = history_of(made(), TRAIN, VALID, log_dir=tmp_path, **SETTINGS)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert list(scalars(tmp_path)["RMSE/train"]) == [0, 1]
    assert hparams(tmp_path)[0]["epochs"] == 3


@pytest.mark.parametrize("sweep", [1, 2, 3])
@LEAST_SQUARES
def test_interrupted_least_squares_leave_the_log_of_all_sweeps_done(tmp_path, capsys, solve, sweep):
    seen, history = [], History()

    def watch(factors):
        seen.append(factors)
        if len(seen) == sweep:
            interrupt()

    factors = solve(TRAIN, history=history, watch=watch, log_dir=tmp_path, **SWEEPS)
    assert (history.stopped, history.epochs) == ("interrupted", sweep)
    assert_whole_until(tmp_path, sweep)
    assert np.array_equal(projected(tmp_path)[0], factors.item_factors[most_rated(TRAIN)].astype(np.float64))


def test_the_map_of_als_interrupted_within_a_sweep_is_that_of_the_factors_that_come_back(tmp_path, monkeypatch, capsys):
    look = least_squares.Sides.check

    def interrupted(self, done, calls=[]):  # noqa: B006
        calls.append(0)
        look(self, done) if len(calls) != 3 else interrupt()

    monkeypatch.setattr(least_squares.Sides, "check", interrupted)
    factors = als(TRAIN, log_dir=tmp_path, **SWEEPS)
    assert np.array_equal(projected(tmp_path)[0], factors.item_factors[most_rated(TRAIN)].astype(np.float64))


def test_a_divergence_in_fit_is_the_error_and_the_log_ends_one_epoch_before(tmp_path):
    model = made()
    with pytest.raises(DivergenceError, match="diverged in epoch 3 at learning rate 0.02"):
        fit(model, TRAIN, VALID, optimizer=at_step(2 * N_BATCHES + 1, explode), log_dir=tmp_path, **SETTINGS)
    assert_whole_until(tmp_path, 2)
    shown = most_rated(TRAIN)
    assert np.array_equal(projected(tmp_path)[0], model.item_factors.weight.detach().double().numpy()[shown])


def test_a_divergence_to_what_is_no_number_is_the_error_too(tmp_path):
    options = {**SETTINGS, "optimizer": torch.optim.SGD, "lr": 500}
    with pytest.raises(DivergenceError, match="diverged in epoch 1 at learning rate 500"):
        fit(made(), TRAIN, VALID, log_dir=tmp_path, **options)
    assert_whole_until(tmp_path, 0)


@pytest.mark.parametrize("factor", [5, np.nan])
def test_a_divergence_in_als_is_the_error_and_the_log_ends_one_sweep_before(tmp_path, monkeypatch, factor):
    solve, halves = least_squares.exact_half, iter(range(100))

    def spoiled(*size):
        half = solve(*size)
        return lambda *sides: half(*sides) * (factor if next(halves) >= 5 else 1)  # from the items of the third

    monkeypatch.setattr(least_squares, "exact_half", spoiled)
    with pytest.raises(DivergenceError, match="by sweep 3"):
        als(TRAIN, log_dir=tmp_path, **SWEEPS)
    assert_whole_until(tmp_path, 2)


def test_any_other_error_is_raised_as_it_was_and_the_log_is_closed(tmp_path):
    with pytest.raises(ZeroDivisionError, match="mine"):
        fit(made(), TRAIN, VALID, schedule=in_epoch(2, fails), log_dir=tmp_path / "fit", **SETTINGS)
    assert_whole_until(tmp_path / "fit", 2)
    with pytest.raises(ZeroDivisionError, match="mine"):
        als(TRAIN, watch=fails, log_dir=tmp_path / "als", **SWEEPS)
    assert_whole_until(tmp_path / "als", 1)


def test_a_checkpoint_that_cannot_be_written_is_the_error_and_the_log_is_closed(tmp_path):
    with pytest.raises(OSError, match="the checkpoint .* cannot be written"):
        fit(made(), TRAIN, checkpoint=below_a_file(tmp_path), log_dir=tmp_path / "run", **SETTINGS)
    assert not list((tmp_path / "run").iterdir())
    fit(made(), TRAIN, log_dir=tmp_path / "run", **SETTINGS)  # with the mistake mended the folder can be taken
    assert hparams(tmp_path / "run")[0]["epochs"] == 3


def test_two_trainings_at_once_leave_what_is_printed_alone(tmp_path, capsys):
    work = [threading.Thread(target=als, args=(TRAIN,), kwargs={**SWEEPS, "log_dir": tmp_path / name}) for name in "ab"]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    print("still here")
    assert capsys.readouterr().out == "still here\n"
