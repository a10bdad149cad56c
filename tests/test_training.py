"""`fit`: the loop that it says it is, and what is left after each way to end it."""

import copy
import dataclasses
import pickle
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    MatrixFactorization,
    Penalty,
    Ratings,
    evaluate,
    fit,
    global_mean,
    objective,
    random_split,
    rmse,
    sgd,
    simulate_ratings,
)
from mfhelpers.algorithms import devices
from mfhelpers.algorithms import fit as training
from mfhelpers.check import same
from mfhelpers.models import modules as models

BOTH = pytest.mark.parametrize("kind", [MatrixFactorization, BiasedMatrixFactorization])
RATINGS, _ = simulate_ratings(40, 30, 400, min_per_user=5)
# users 0 to 2 and item 0 are left without a training rating
TRAIN, VALID = random_split(RATINGS[(RATINGS.users > 2) & (RATINGS.items > 0)], 0.25)
VALID_ALONE = Ratings.from_arrays(VALID.users, VALID.items, VALID.values)  # numbered without the rest
SETTINGS = dict(epochs=4, batch_size=64, lr=0.02, progress=False, device="cpu")


def made(kind=BiasedMatrixFactorization, k=3, **options):
    return kind(40, 30, k, **options)


def assert_equal(model, other):
    """Bit for bit."""
    states = model.state_dict(), other.state_dict() if isinstance(other, torch.nn.Module) else other
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name


def at_step(n, action, optimizer=torch.optim.Adam):
    """An optimiser that does something right after its n-th step."""

    def ready(parameters, lr):
        stepper, steps = optimizer(parameters, lr=lr), []

        def count(*_):
            steps.append(0)
            if len(steps) == n:
                action(stepper)

        stepper.register_step_post_hook(count)
        return stepper

    return ready


def interrupt(_):
    raise KeyboardInterrupt


# -- the loop --------------------------------------------------------------------------------------


def by_hand(model, train, optimizer, epochs, batch_size, lr, seed=0, steps=None):
    """The loop in its plainest form; stops after `steps` steps."""
    if getattr(model, "mean_from_train", False):
        model.mean.fill_(float(np.mean(train.values, dtype=np.float64)))
        model.mean_from_train.fill_(False)
    seen = {"user": set(train.users.tolist()), "item": set(train.items.tolist())}
    for name, weight in model.named_parameters():
        for row in set(range(len(weight))) - seen[name[:4]]:
            weight.data[row] = 0
        getattr(model, f"trained_{name[:4]}s")[sorted(seen[name[:4]])] = True
    stepper = optimizer(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    users, items, values = train.to_tensors()
    done = 0
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for start in range(0, len(train), batch_size):
            if done == steps:
                return
            batch = order[start : start + batch_size]
            loss = (model(users[batch], items[batch]) - values[batch]).square().mean()
            model.zero_grad()
            loss.backward()
            stepper.step()
            done += 1


@BOTH
@pytest.mark.parametrize(
    ("optimizer", "sparse"),
    [
        (None, False),
        (torch.optim.SGD, False),
        (partial(torch.optim.AdamW, weight_decay=0.1), False),
        (None, True),
        (torch.optim.SGD, True),
    ],
    ids=["Adam", "SGD", "a function", "SparseAdam", "sparse SGD"],
)
def test_fit_is_the_plain_loop_bit_for_bit(kind, optimizer, sparse):
    model, plain = made(kind, sparse=sparse), made(kind, sparse=sparse)
    start = copy.deepcopy(model.state_dict())
    fit(model, TRAIN, optimizer=optimizer, seed=5, **SETTINGS)
    default = torch.optim.SparseAdam if sparse else torch.optim.Adam
    by_hand(plain, TRAIN, optimizer or default, epochs=4, batch_size=64, lr=0.02, seed=5)
    assert_equal(model, plain)
    assert not torch.equal(model.user_factors.weight[3:], start["user_factors.weight"][3:])


def test_a_ready_optimiser_and_the_default_learning_rate():
    model, ready, plain = made(), made(), made()
    settings = {name: value for name, value in SETTINGS.items() if name != "lr"}
    fit(model, TRAIN, **settings)
    fit(ready, TRAIN, optimizer=torch.optim.Adam(ready.parameters(), lr=0.005), **settings)
    by_hand(plain, TRAIN, torch.optim.Adam, 4, 64, lr=0.005)
    assert_equal(model, plain)
    assert_equal(ready, plain)


def test_a_function_keeps_its_own_learning_rate_unless_one_is_given():
    settings = {name: value for name, value in SETTINGS.items() if name != "lr"}
    for given, wanted in (({}, 0.3), (dict(lr=0.02), 0.02)):
        model, plain = made(), made()
        fit(model, TRAIN, optimizer=lambda parameters, lr=0.3: torch.optim.SGD(parameters, lr=lr), **settings, **given)
        by_hand(plain, TRAIN, torch.optim.SGD, 4, 64, lr=wanted)
        assert_equal(model, plain)


def test_another_seed_gives_another_order():
    one, other = made(), made()
    fit(one, TRAIN, seed=1, **SETTINGS)
    fit(other, TRAIN, seed=2, **SETTINGS)
    assert not torch.equal(one.user_factors.weight, other.user_factors.weight)


def test_validation_data_are_judged_and_never_trained_on():
    with_valid, without = made(), made()
    fit(with_valid, TRAIN, VALID, **SETTINGS)
    fit(without, TRAIN, **SETTINGS)
    assert_equal(with_valid, without)


@BOTH
def test_it_learns(kind):
    train, test = random_split(simulate_ratings(200, 150, 8000, noise=0.2)[0])
    model = kind(200, 150, 3, **({} if kind is BiasedMatrixFactorization else dict(mean=global_mean(train).mean)))
    fit(model, train, epochs=12, batch_size=256, lr=0.02, progress=False)
    assert rmse(model, test) < 0.8 * rmse(global_mean(train), test)


def test_no_global_generator_is_moved():
    torch.manual_seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fit(made(), TRAIN, VALID, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


@BOTH
@pytest.mark.parametrize(
    ("optimizer", "sparse"), [(None, False), (None, True), (partial(torch.optim.SGD, momentum=0.9), False)]
)
def test_rows_without_a_rating_are_zero_afterwards(kind, optimizer, sparse):
    model = made(kind, sparse=sparse)
    fit(model, TRAIN, optimizer=optimizer, **SETTINGS)
    factors = model.to_factors()
    assert not factors.user_factors[:3].any()
    assert not factors.user_biases[:3].any()
    assert not factors.item_factors[0].any()
    assert not factors.item_biases[0].any()
    assert factors.user_factors[3:].all()
    assert evaluate(model, RATINGS).n_cold == ((RATINGS.users < 3) | (RATINGS.items == 0)).sum()


def test_a_model_may_be_larger_than_the_ratings():
    larger, fitting = BiasedMatrixFactorization(50, 35, 3, init_std=0), BiasedMatrixFactorization(40, 30, 3, init_std=0)
    for model in (larger, fitting):
        fit(model, TRAIN, **SETTINGS)
    assert torch.equal(larger.user_biases.weight[:40], fitting.user_biases.weight)
    assert not larger.item_biases.weight[30:].any()


# -- models of one's own ---------------------------------------------------------------------------


class Doubled(MatrixFactorization):
    """Only forward is another."""

    def forward(self, user, item):
        return 2 * super().forward(user, item)


def test_a_model_is_trained_and_judged_by_its_own_forward():
    model, plain = made(Doubled), made(Doubled)
    history = fit(model, TRAIN, VALID, **SETTINGS)
    by_hand(plain, TRAIN, torch.optim.Adam, 4, 64, 0.02)
    assert_equal(model, plain)
    assert history.valid_rmse[-1] == pytest.approx(rmse(model, VALID), rel=1e-6)
    assert rmse(model, VALID) != pytest.approx(rmse(model.to_factors(), VALID), rel=1e-3)


@pytest.mark.parametrize("shaped", [lambda p: p[:, None], lambda p: p.mean(), lambda p: p[None]])
def test_predictions_of_another_shape_are_refused_before_anything_is_trained(shaped):
    class Shaped(MatrixFactorization):
        def forward(self, user, item):
            return shaped(super().forward(user, item))

    model = made(Shaped, mean=3.0)
    seen = model.user_factors.weight[3:].clone()
    n = len(TRAIN)
    with pytest.raises(ValueError, match=rf"forward returned shape \(.*\) for {n} pairs, expected \({n},\)"):
        fit(model, TRAIN, **SETTINGS)
    assert torch.equal(model.user_factors.weight[3:], seen)


@pytest.mark.parametrize("training", [True, False])
def test_epochs_are_in_training_mode_and_judged_in_evaluation_mode(training, capsys):
    class Watched(MatrixFactorization):
        def forward(self, user, item):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(user, item)

    for optimizer in (torch.optim.Adam, at_step(7, interrupt)):
        modes, model = [], made(Watched)
        model.train(training)
        model.item_factors.train(not training)
        fit(model, TRAIN, VALID, optimizer=optimizer, **SETTINGS)
        assert set(modes) == {(True, True), (False, False)}
        assert (model.training, model.item_factors.training) == (training, not training)


@BOTH
def test_ids_are_checked_once_and_by_others_as_before(kind, monkeypatch, capsys):
    def refused(*_):
        raise AssertionError("a check in a step")

    model = made(kind)
    monkeypatch.setattr(models, "_check_range", refused)
    fit(model, TRAIN, VALID, optimizer=at_step(7, interrupt), **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="user numbers 40"):
        model(torch.tensor([40]), torch.tensor([0]))


def test_nan_in_the_model_is_not_called_divergence():
    model = made(mean=float("nan"))
    with pytest.raises(ValueError, match="the model's first predictions are not finite"):
        fit(model, TRAIN, **SETTINGS)


# -- a second training -----------------------------------------------------------------------------


def test_a_second_training_keeps_what_the_first_learned():
    first, second = TRAIN[TRAIN.users < 20], TRAIN[TRAIN.users >= 20]
    model = made()
    fit(model, first, **SETTINGS)
    learned = copy.deepcopy(model.state_dict())
    fit(model, second, **SETTINGS)
    assert torch.equal(model.mean, learned["mean"])
    assert model.mean.item() == pytest.approx(first.values.mean())
    assert learned["user_factors.weight"][3:20].all()
    for table in ("user_factors", "user_biases"):
        assert torch.equal(getattr(model, table).weight[:20], learned[f"{table}.weight"][:20])
        assert getattr(model, table).weight[20:].all()
    assert not model.user_factors.weight[:3].any()


# -- history ---------------------------------------------------------------------------------------


def test_history_tells_how_it_went():
    start, model = made(), made()
    history = fit(model, TRAIN, VALID, **SETTINGS)
    start.mean.fill_(float(TRAIN.values.mean(dtype=np.float64)))
    start.forget_unseen(TRAIN)
    assert history.epochs == 4
    assert len(history.train_rmse) == len(history.valid_rmse) == len(history.seconds) == 5
    for judged, part in ((history.train_rmse, TRAIN), (history.valid_rmse, VALID)):
        assert judged[0] == pytest.approx(rmse(start, part), rel=1e-6)
        assert judged[-1] == pytest.approx(rmse(model, part), rel=1e-6)
    assert history.train_rmse[-1] < history.train_rmse[0]
    assert history.seconds[0] == 0
    assert (np.diff(history.seconds) > 0).all()
    assert (history.n_train, history.stopped) == (len(TRAIN), "finished")
    assert (history.device, history.device_reason) == ("cpu", "it was asked for")
    assert history.best_epoch == np.argmin(history.valid_rmse)
    assert history.ratings_per_second == len(TRAIN) * 4 / history.seconds[-1]
    assert repr(history).startswith(f"History(finished after 4 epochs: RMSE {history.train_rmse[-1]:.3f}, validation")


def test_history_without_validation_judges_by_training():
    history = fit(made(), TRAIN, **SETTINGS)
    assert history.valid_rmse == []
    assert history.best_epoch == np.argmin(history.train_rmse)
    assert "validation" not in repr(history)


def test_rmse_is_pooled_over_chunks(monkeypatch):
    whole = fit(made(), TRAIN, **SETTINGS).train_rmse
    monkeypatch.setattr(training, "EVALUATION_CHUNK", 17)
    assert fit(made(), TRAIN, **SETTINGS).train_rmse == pytest.approx(whole, rel=1e-6)


def test_nothing_is_shown_for_a_short_training(capsys):
    fit(made(), TRAIN, **{**SETTINGS, "progress": True})
    assert capsys.readouterr() == ("", "")


# -- early stopping --------------------------------------------------------------------------------

EARLY = {**SETTINGS, "epochs": 200, "lr": 0.1}


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_restores_the_best_epoch(patience):
    model, until_best = made(), made()
    history = fit(model, TRAIN, VALID, patience=patience, **EARLY)
    assert history.stopped == "early"
    assert 0 < history.best_epoch == history.epochs - patience
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": history.best_epoch})
    assert_equal(model, until_best)


def test_the_best_epoch_is_restored_when_the_epochs_run_out_too():
    model, until_best = made(), made()
    best = fit(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = fit(model, TRAIN, VALID, patience=3, **{**EARLY, "epochs": best + 2})
    assert (history.stopped, history.best_epoch, history.epochs) == ("finished", best, best + 2)
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": best})
    assert_equal(model, until_best)


def test_patience_may_end_with_the_last_epoch():
    best = fit(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = fit(made(), TRAIN, VALID, patience=3, **{**EARLY, "epochs": best + 3})
    assert (history.stopped, history.epochs) == ("early", best + 3)


def test_the_start_is_restored_where_every_epoch_is_worse():
    items = np.arange(10)
    fives, ones = (Ratings(np.full(10, 0), items + n, np.full(10, v), 1, 20, (1, 5, 1)) for n, v in ((0, 5), (10, 1)))
    model = BiasedMatrixFactorization(1, 20, 2, mean=1.0)
    start = copy.deepcopy(model)
    start.forget_unseen(fives)
    history = fit(model, fives, ones, patience=2, **SETTINGS)
    assert (history.stopped, history.best_epoch, history.epochs) == ("early", 0, 2)
    assert_equal(model, start)


# -- divergence ------------------------------------------------------------------------------------


def test_divergence_is_named_and_leaves_the_model_of_one_epoch_before(tmp_path):
    n_batches = -(-len(TRAIN) // 64)

    def explode(optimizer):
        optimizer.param_groups[0]["params"][0].data.mul_(1e6)

    model, before = made(), made()
    path = tmp_path / "checkpoint"
    message = r"diverged in epoch 3 at learning rate 0\.02: training RMSE .*e\+.* Try a tenth"
    with pytest.raises(DivergenceError, match=message):
        fit(model, TRAIN, optimizer=at_step(3 * n_batches, explode), checkpoint=path, **SETTINGS)
    fit(before, TRAIN, **{**SETTINGS, "epochs": 2})
    assert_equal(model, before)
    assert (
        torch.load(path)["history"]["train_rmse"][1:] == fit(made(), TRAIN, **{**SETTINGS, "epochs": 2}).train_rmse[1:]
    )


@BOTH
@pytest.mark.parametrize("sparse", [False, True])
def test_too_large_a_learning_rate_leaves_finite_parameters(kind, sparse):
    model = made(kind, sparse=sparse)
    with pytest.raises(DivergenceError, match="diverged in epoch 1 at learning rate 500: training RMSE (nan|inf)"):
        fit(model, TRAIN, optimizer=torch.optim.SGD, **{**SETTINGS, "lr": 500})
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


# -- interruption ----------------------------------------------------------------------------------


def test_an_interruption_keeps_the_model_as_it_is(capsys):
    model, plain = made(), made()
    history = fit(model, TRAIN, VALID, optimizer=at_step(7, interrupt), **SETTINGS)  # 5 steps an epoch
    by_hand(plain, TRAIN, torch.optim.Adam, 4, 64, 0.02, steps=7)
    assert_equal(model, plain)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert "interrupted in epoch 2: the model so far is kept" in capsys.readouterr().out
    assert "interrupted after 1 epochs" in repr(history)


def test_an_interruption_in_the_first_epoch_leaves_a_history(capsys):
    history = fit(made(), TRAIN, optimizer=at_step(1, interrupt), **SETTINGS)
    assert history.epochs == 0
    assert "0 epochs" in repr(history)


def test_an_interruption_with_patience_restores_the_best_epoch(capsys):
    model, until_best = made(), made()
    best = fit(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = fit(model, TRAIN, VALID, patience=3, optimizer=at_step(5 * best + 8, interrupt), **EARLY)
    assert (history.stopped, history.epochs) == ("interrupted", best + 1)
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": best})
    assert_equal(model, until_best)


def test_an_interruption_while_an_epoch_is_judged_leaves_lists_of_one_length(monkeypatch, capsys):
    judge, calls = training._pooled_rmse, []

    def interrupted(*arguments):
        calls.append(0)
        if len(calls) == 6:  # the validation RMSE of the second epoch
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(training, "_pooled_rmse", interrupted)
    history = fit(made(), TRAIN, VALID, **SETTINGS)
    assert [len(judged) for judged in (history.train_rmse, history.valid_rmse, history.seconds)] == [2, 2, 2]


# -- checkpoints -----------------------------------------------------------------------------------


def assert_same_course(resumed, whole):
    for field in ("train_rmse", "valid_rmse", "n_train", "stopped", "epochs", "best_epoch"):
        assert getattr(resumed, field) == getattr(whole, field)
    assert (np.diff(resumed.seconds) > 0).all()


@pytest.mark.parametrize("optimizer", [None, torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, optimizer, sparse):
    options = {**SETTINGS, "optimizer": optimizer, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(sparse=sparse), made(sparse=sparse, seed=9)  # the seed of the start is overwritten
    course = fit(whole, TRAIN, VALID, **{**options, "checkpoint": tmp_path / "another"})
    fit(made(sparse=sparse), TRAIN, VALID, **{**options, "epochs": 2})
    assert_same_course(fit(resumed, TRAIN, VALID, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("step", [1, 5, 6, 13])
def test_an_interrupted_training_resumes_from_the_last_whole_epoch(tmp_path, capsys, step):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint"}
    whole, resumed = made(), made()
    course = fit(whole, TRAIN, **SETTINGS)
    assert fit(made(), TRAIN, optimizer=at_step(step, interrupt), **options).stopped == "interrupted"
    assert_same_course(fit(resumed, TRAIN, resume=True, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("epochs", [1, 6, 200])
def test_early_stopping_survives_a_resume(tmp_path, epochs):
    options = dict(patience=3, checkpoint=tmp_path / "checkpoint", resume=True)
    whole, resumed = made(), made()
    course = fit(whole, TRAIN, VALID, patience=3, **EARLY)
    fit(made(), TRAIN, VALID, **{**EARLY, "epochs": epochs}, **options)
    assert_same_course(fit(resumed, TRAIN, VALID, **EARLY, **options), course)
    assert_equal(resumed, whole)


def test_a_killed_training_resumes(tmp_path):
    path = tmp_path / "checkpoint"
    child = subprocess.Popen([sys.executable, __file__, str(path)])
    try:
        deadline, versions = time.monotonic() + 60, set()
        while len(versions) < 4 and child.poll() is None and time.monotonic() < deadline:  # epochs 0 to 3
            versions |= {path.stat().st_mtime_ns} if path.exists() else set()
            time.sleep(0.005)
    finally:
        child.kill()
        child.wait()
    if sys.platform != "win32":
        assert child.returncode == -signal.SIGKILL
    done = len(torch.load(path)["history"]["train_rmse"]) - 1
    assert done >= 2
    options = {**SETTINGS, "epochs": done + 2}
    whole, resumed = made(), made()
    course = fit(whole, TRAIN, **options)
    assert_same_course(fit(resumed, TRAIN, checkpoint=path, resume=True, **options), course)
    assert_equal(resumed, whole)


def test_the_checkpoint_is_replaced_only_when_whole(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    fit(made(), TRAIN, checkpoint=path, **{**SETTINGS, "epochs": 2})
    kept = path.read_bytes()

    def full_disk(state, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        fit(made(), TRAIN, checkpoint=path, resume=True, **SETTINGS)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("place", ["below a file", "a folder"])
def test_a_checkpoint_that_cannot_be_written_is_named_before_anything_is_trained(tmp_path, monkeypatch, place, resume):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "checkpoint" if place == "below a file" else tmp_path
    monkeypatch.setattr(training, "_epoch", lambda *_: pytest.fail("it trained"))
    error = ValueError if resume and place == "a folder" else OSError
    with pytest.raises(error, match=f"{path}.*(cannot be written|is not a checkpoint)"):
        fit(made(), TRAIN, checkpoint=path, resume=resume, **SETTINGS)


def test_the_best_epoch_is_restored_when_a_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    best = fit(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    model, until_best, saved = made(), made(), []
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": best})

    def fills_up(state, file):
        saved.append(0)
        if len(saved) > best + 2:
            raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(OSError, match=f"the checkpoint {tmp_path / 'full'} cannot be written .*PytorchStreamWriter"):
        fit(model, TRAIN, VALID, patience=3, checkpoint=tmp_path / "full", **EARLY)
    assert_equal(model, until_best)


def test_data_are_only_hashed_for_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_identity", lambda *_: pytest.fail("hashed"))
    fit(made(), TRAIN, **SETTINGS)


def test_numpys_numbers_do_as_pythons_and_survive_a_checkpoint(tmp_path):
    whole, resumed = made(), made()
    fit(whole, TRAIN, seed=3, **SETTINGS)
    options = {**SETTINGS, "seed": np.int64(3), "batch_size": np.int32(64), "lr": np.float64(0.02)}
    options |= {"checkpoint": tmp_path / "checkpoint", "resume": True, "patience": None}
    options["optimizer"] = partial(torch.optim.Adam, eps=np.float64(1e-8))
    fit(made(), TRAIN, **{**options, "epochs": np.int8(2)})
    fit(resumed, TRAIN, **options)
    assert_equal(resumed, whole)


def test_resume_starts_anew_where_there_is_no_file_and_without_resume_always(tmp_path):
    first, again = made(), made()
    for model, resume in ((first, True), (again, False)):
        assert fit(model, TRAIN, checkpoint=tmp_path / "checkpoint", resume=resume, **SETTINGS).epochs == 4
    assert_equal(first, again)


def test_nothing_is_left_to_do_after_the_last_epoch(tmp_path):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(), made()
    course = fit(whole, TRAIN, **options)
    assert_same_course(fit(resumed, TRAIN, **{**options, "epochs": 2}), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (dict(model=made(MatrixFactorization)), "model"),
        (dict(model=made(k=4)), "shapes"),
        (dict(train=TRAIN[1:]), "data"),
        (dict(train=TRAIN[::-1]), "data"),
        (dict(train=dataclasses.replace(TRAIN, users=39 - TRAIN.users)), "data"),
        (dict(train=dataclasses.replace(TRAIN, items=29 - TRAIN.items)), "data"),
        (dict(train=dataclasses.replace(TRAIN, values=6 - TRAIN.values)), "data"),
        (dict(valid=None), "data"),
        (dict(batch_size=65), "batch_size"),
        (dict(seed=1), "seed"),
        (dict(optimizer=torch.optim.SGD), "optimizer"),
        (dict(lr=0.01), r"lr is \[0\.02\], here it is \[0\.01\]"),
        (dict(optimizer=partial(torch.optim.Adam, weight_decay=0.1)), "weight_decay"),
        (dict(patience=3), "early stopping"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, changes, key):
    path = tmp_path / "checkpoint"
    options = {**SETTINGS, "train": TRAIN, "valid": VALID, "checkpoint": path}
    fit(made(), **options)
    kept = path.read_bytes()
    options = {**options, "model": made(), "resume": True, **changes}
    start = copy.deepcopy(options["model"].state_dict())
    with pytest.raises(ValueError, match=f"checkpoint belongs to another training: its {key}"):
        fit(**options)
    assert_equal(options["model"], start)
    assert path.read_bytes() == kept


class Planted:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def rewrite(path, key, value):
    """Put another value in a checkpoint, or None: take the key out."""
    state = torch.load(path)
    state.pop(key)
    torch.save(state | ({} if value is None else {key: value}), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("epoch,rmse\n1,2\n"),
        lambda path: torch.save(made().state_dict(), path),
        lambda path: torch.save({"identity": Planted(path.with_name("planted"))}, path),
        lambda path: path.write_bytes(pickle.dumps(Planted(path.with_name("planted")))),
        *(partial(rewrite, key=key, value=None) for key in ("model", "optimizer", "shuffling", "history", "best")),
        partial(rewrite, key="model", value=made(k=2).state_dict()),
        partial(rewrite, key="history", value={"epochs": 3}),
        partial(rewrite, key="history", value={}),
        partial(rewrite, key="shuffling", value=torch.zeros(3, dtype=torch.uint8)),
    ],
    ids=[
        "cut early",
        "cut late",
        "empty",
        "text",
        "a model",
        "planted code",
        "planted pickle",
        "no model",
        "no optimizer",
        "no shuffling",
        "no history",
        "no best",
        "other shapes",
        "another history",
        "empty history",
        "a short state",
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path, write):
    path = tmp_path / "checkpoint"
    fit(made(), TRAIN, checkpoint=path, **SETTINGS)
    write(path)
    model = made()
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="checkpoint is not a checkpoint of fit, or is damaged"):
        fit(model, TRAIN, checkpoint=path, resume=True, **SETTINGS)
    assert_equal(model, start)
    assert list(tmp_path.iterdir()) == [path]


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epochs=0), "epochs=0, batch_size=64: both must be at least 1"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(epochs=1.5), r"epochs=1\.5: give a whole number"),
        (dict(batch_size=128.0), r"batch_size=128\.0: give a whole number"),
        (dict(seed=0.5), r"seed=0\.5: give a whole number"),
        (dict(patience=1.5, valid=VALID), r"patience=1\.5: give a whole number"),
        (dict(lr=0), r"lr=0\.0: the learning rate must be above 0"),
        (dict(lr=float("nan")), "lr=nan"),
        (dict(patience=2), "patience=2: early stopping needs validation"),
        (dict(patience=0, valid=VALID), "patience=0"),
        (dict(resume=True), "resume=True needs checkpoint="),
        (dict(optimizer=torch.optim.Adam(made().parameters()), lr=0.1), "contradict"),
        (dict(optimizer=torch.optim.Adam(made().parameters()), lr=None), "none of the model's parameters"),
        (dict(train=simulate_ratings(41, 30, 400, min_per_user=5)[0]), "n_users=41, the model only 40"),
        (dict(valid=simulate_ratings(40, 31, 400, min_per_user=5)[0]), "n_items=31, the model only 30"),
        (
            dict(valid=dataclasses.replace(VALID, user_ids=VALID.user_ids[::-1])),
            r"not parts of the same ratings: user_ids\[0\] is 1 in one and 40 in the other",
        ),
        (dict(valid=VALID_ALONE), r"not parts of the same ratings: user_ids\[0\] is 1 in one and 3 in the other"),
        (dict(device="gpu"), "device='gpu' is no device"),
        (dict(device=None), "device=None is no device; choose 'auto'"),
        (dict(device="meta"), "device='meta' is not available here; device='auto' or 'cpu'"),
        (dict(device="xla"), "device='xla' is not available here"),
        (dict(device="cuda:99"), "device='cuda:99' is not available here"),
    ],
)
def test_bad_settings_are_refused_before_anything_changes(changes, message):
    model = made()
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        fit(**{"model": model, "train": TRAIN, **SETTINGS, **changes})
    assert_equal(model, start)


# -- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "batch_size", "sparse", "device", "reason"),
    [
        (False, False, 1 << 20, False, "cpu", "there is no GPU here"),
        (True, False, 1024, False, "cpu", "1024 ratings × k is 20,480 values a step: too little to keep a GPU busy"),
        (True, False, 1 << 16, False, "cuda", "a step of 1,310,720 values is enough work for a GPU"),
        (True, True, 1 << 16, True, "cuda", "enough work"),
        (False, True, 1 << 16, False, "mps", "enough work"),
        (False, True, 1 << 16, True, "cpu", "MPS has no sparse gradients"),
    ],
)
def test_auto_takes_a_gpu_for_large_steps(monkeypatch, cuda, mps, batch_size, sparse, device, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    chosen, why = devices.choose_device("auto", batch_size, made(k=20, sparse=sparse))
    assert chosen == torch.device(device)
    assert reason in why


def test_a_step_has_no_more_ratings_than_there_are(monkeypatch):
    # seen by the choice alone: PyTorch's optimizers would turn to the driver
    monkeypatch.setattr(
        devices, "torch", SimpleNamespace(device=torch.device, cuda=SimpleNamespace(is_available=lambda: True))
    )
    history = fit(made(), TRAIN, **{**SETTINGS, "batch_size": 1 << 20, "device": "auto"})
    assert history.device_reason.startswith(f"{len(TRAIN)} ratings × k is {3 * len(TRAIN)} values")


@pytest.mark.parametrize(("device", "there"), [("cuda", True), ("cuda:1", True), ("cuda:2", False), ("mps", False)])
def test_a_device_is_taken_if_asked_for_and_there(monkeypatch, device, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if there:
        assert devices.choose_device(device, 1, made()) == (torch.device(device), "it was asked for")
    else:
        with pytest.raises(ValueError, match=f"device='{device}' is not available here; device='auto' or 'cpu'"):
            devices.choose_device(device, 1, made())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
@BOTH
@pytest.mark.parametrize("sparse", [False, True])
def test_gpu_and_cpu_reach_the_same_objective(tmp_path, kind, sparse):
    options = {**SETTINGS, "epochs": 30, "checkpoint": tmp_path / "checkpoint", "resume": True}
    on_cpu, on_gpu = made(kind, sparse=sparse), made(kind, sparse=sparse)
    wanted = fit(on_cpu, TRAIN, VALID, **{**options, "checkpoint": None, "resume": False})
    fit(made(kind, sparse=sparse), TRAIN, VALID, **{**options, "device": "cuda", "epochs": 10})
    history = fit(on_gpu, TRAIN, VALID, **{**options, "device": "cuda"})  # resumed on the GPU
    assert history.device.startswith("cuda")
    assert history.train_rmse == pytest.approx(wanted.train_rmse, abs=1e-3)
    assert history.valid_rmse == pytest.approx(wanted.valid_rmse, abs=1e-3)
    assert on_gpu.to_factors().rms_difference(on_cpu.to_factors()) < 1e-2


def test_what_a_ready_optimiser_keeps_follows_parameters_that_changed():
    """In type here, where there may be no second device."""
    model = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    fit(model, TRAIN, optimizer=optimizer, **{**SETTINGS, "lr": None})
    model.double()
    training._ready_optimizer(model, optimizer, None, moved=True)
    kept = [optimizer.state[weight]["momentum_buffer"] for weight in model.parameters()]
    assert {momentum.dtype for momentum in kept} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_what_a_ready_optimiser_keeps_moves_with_the_model():
    model, plain = made(), made()
    for trained, places in ((model, ("cpu", "cuda", "cpu")), (plain, ("cpu", "cpu", "cpu"))):
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.02, momentum=0.9)
        for device in places:
            fit(trained, TRAIN, optimizer=optimizer, **{**SETTINGS, "lr": None, "device": device})
    assert model.to_factors().rms_difference(plain.to_factors()) < 1e-2


# -- penalties -------------------------------------------------------------------------------------

FULL = {**SETTINGS, "epochs": 1, "batch_size": len(TRAIN), "optimizer": torch.optim.SGD}  # one step with all ratings
SPARSE = pytest.mark.parametrize("sparse", [False, True])
CHARGED = pytest.mark.parametrize(
    "reg",
    [0.05, Penalty(0.05, power=0.5), Penalty(0.05, power=0), Penalty(0.05, 0.5, biases=0.3), Penalty(0.0, biases=0.3)],
    ids=str,
)


def scattered(kind, sparse=False):
    """Biases too that are not zero, and rows of zeros where there is no training rating."""
    model = made(kind, sparse=sparse, init_std=0.5, mean=3.0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "biases" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    model.forget_unseen(TRAIN)
    return model


def objective_gradients(model, penalty):
    """Of `objective` by autograd, written out in float64."""
    users, items, values = TRAIN.to_tensors()
    tables = {name[:-7]: weight.detach().double().requires_grad_() for name, weight in model.named_parameters()}
    rows = {name: users if name.startswith("user") else items for name in tables}
    p, q, *biases = (weight[rows[name]] for name, weight in tables.items())
    total = (values.double() - model.mean.double() - (p * q).sum(1) - sum(b[:, 0] for b in biases)).square().sum()
    for name, weight in tables.items():
        counts = torch.bincount(rows[name], minlength=len(weight))
        price = torch.where(counts > 0, counts.double() ** penalty.power, 0)
        reg = penalty.biases if name.endswith("biases") else penalty.reg
        total = total + reg * (price * weight.square().sum(1)).sum()
    assert total.item() == pytest.approx(objective(model.to_factors(), TRAIN, penalty), rel=1e-6)
    return dict(zip(tables, torch.autograd.grad(total, list(tables.values())), strict=True))


@BOTH
@SPARSE
@CHARGED
def test_a_full_batch_step_goes_down_the_objective_per_rating(kind, sparse, reg):
    model = scattered(kind, sparse).double()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gradients = objective_gradients(model, Penalty.of(reg))
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": 0.5})
    for name, weight in model.named_parameters():
        wanted = start[name] - 0.5 / len(TRAIN) * gradients[name[:-7]]
        same(weight.detach(), wanted, 1e-9, what=name)


@BOTH
@CHARGED
def test_the_batches_of_an_epoch_add_up_to_the_objective(kind, reg):
    """Steps so small that all start from nearly the same place."""
    model = scattered(kind).double()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gradients, n_batches = objective_gradients(model, Penalty.of(reg)), 6
    assert len(TRAIN) % n_batches == 0  # else the ratings of the last batch weigh more
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": 1e-6, "batch_size": len(TRAIN) // n_batches})
    for name, weight in model.named_parameters():
        moved = (start[name] - weight.detach()) / 1e-6
        same(moved, n_batches / len(TRAIN) * gradients[name[:-7]], 1e-5, what=name)


@BOTH
@CHARGED
def test_a_full_batch_step_is_that_of_sgd_by_hand(kind, reg):
    """fit takes the mean and the factor 2 of e²; `sgd` the sum without it."""
    model = scattered(kind)
    start, lr = model.to_factors(), 0.01  # below 0.5 / ratings of a row, from where sgd steps less
    options = dict(epochs=1, lr=lr, reg=reg, engine="minibatch", batch_size=len(TRAIN), progress=False)
    wanted = sgd(TRAIN, 3, start=start, biased=kind is BiasedMatrixFactorization, **options)
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": lr * len(TRAIN) / 2})
    assert start.rms_difference(wanted) > 0.03
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(model.to_factors(), name), getattr(wanted, name), 1e-5, what=name)


def strays(optimizer, sparse=False, **options):
    """In each step, how many rows moved that the step's batch did not look up."""

    class Noted(BiasedMatrixFactorization):
        def forward(self, user, item):
            looked_up.update(user=user, item=item)
            return super().forward(user, item)

    def watched(parameters, lr):
        stepper = optimizer(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: kept.update(copy.deepcopy(model.state_dict())))
        stepper.register_step_post_hook(lambda *_: counts.append(sum(map(strayed, model.named_parameters()))))
        return stepper

    def strayed(named):
        moved = (named[1] != kept[named[0]]).any(dim=1)
        moved[looked_up[named[0][:4]]] = False
        return int(moved.sum())

    looked_up, kept, counts, model = {}, {}, [], made(Noted, sparse=sparse)
    fit(model, TRAIN, optimizer=watched, **{**SETTINGS, "batch_size": 16, **options})
    return counts


@pytest.mark.parametrize(
    ("optimizer", "sparse"), [(torch.optim.SGD, False), (torch.optim.SGD, True), (torch.optim.SparseAdam, True)]
)
def test_a_penalty_does_not_move_rows_that_a_batch_does_not_look_up(optimizer, sparse):
    counts = strays(optimizer, sparse, reg=0.5)
    assert len(counts) > 50
    assert not any(counts)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_weight_decay_moves_rows_that_a_penalty_leaves(optimizer):
    """The first step tells: in later ones Adam goes on by its momentum, penalty or none."""
    assert strays(optimizer, reg=0.5)[0] == 0
    assert strays(partial(optimizer, weight_decay=0.5))[0] > 0


@BOTH
@pytest.mark.parametrize(
    ("dense", "sparse"),
    [
        (torch.optim.SGD, torch.optim.SGD),
        # ε is the one thing that they understand differently
        (partial(torch.optim.Adam, eps=1e-12), partial(torch.optim.SparseAdam, eps=1e-12)),
    ],
    ids=["SGD", "Adam"],
)
def test_sparse_gradients_pay_the_same_penalty(kind, dense, sparse):
    """With all ratings in a batch all rows are looked up, and SparseAdam is Adam."""
    one, other, free = scattered(kind), scattered(kind, sparse=True), scattered(kind)
    options = {**FULL, "epochs": 5, "lr": 0.05}
    fit(one, TRAIN, reg=0.5, **{**options, "optimizer": dense})
    fit(other, TRAIN, reg=0.5, **{**options, "optimizer": sparse})
    fit(free, TRAIN, **{**options, "optimizer": dense})
    assert one.to_factors().rms_difference(other.to_factors()) < 1e-5
    assert one.to_factors().rms_difference(free.to_factors()) > 5e-3


@BOTH
@pytest.mark.parametrize("reg", [0, np.float32(0), Penalty(0.0), Penalty(0.0, power=0.5, biases=0)], ids=str)
def test_a_penalty_of_zero_changes_no_bit(kind, reg):
    model, plain = made(kind), made(kind)
    fit(model, TRAIN, reg=reg, **SETTINGS)
    fit(plain, TRAIN, **SETTINGS)
    assert_equal(model, plain)


class Popularity(torch.nn.Module):
    """A number for each item, in a table of any name, and on demand one for each user."""

    def __init__(self, name, by_user=False):
        super().__init__()
        self.name = name
        self.add_module(name, torch.nn.Embedding.from_pretrained(torch.full((30, 1), 2.0), freeze=False))
        self.user_biases = torch.nn.Embedding.from_pretrained(torch.ones(40, 1), freeze=False) if by_user else None

    def forward(self, user, item):
        popularity = getattr(self, self.name)(item)[..., 0]
        return popularity if self.user_biases is None else popularity + self.user_biases(user)[..., 0]


@pytest.mark.parametrize("name", ["item_biases", "popularity"])
def test_a_model_of_ones_own_pays_for_tables_of_four_names(name):
    charged, free = Popularity(name, by_user=True), Popularity(name, by_user=True)
    for model, reg in ((charged, Penalty(9.0, biases=0.1)), (free, 0.0)):
        fit(model, TRAIN, reg=reg, **FULL)
    paid = {what: weight - dict(charged.named_parameters())[what] for what, weight in free.named_parameters()}
    step = 0.02 * 2 * 0.1 / len(TRAIN)
    same(paid["user_biases.weight"].detach()[:, 0], step * TRAIN.user_counts, 1e-6)
    same(paid[f"{name}.weight"].detach()[:, 0], (name == "item_biases") * step * 2 * TRAIN.item_counts, 1e-6)


@pytest.mark.parametrize("reg", [0.1, Penalty(0.0, biases=0.1)], ids=str)
def test_a_penalty_on_a_model_with_nothing_to_charge_for_is_refused_before_anything_is_trained(reg):
    model = Popularity("popularity")
    with pytest.raises(ValueError, match=r"reg=.*: Popularity has no embedding named user_factors, item_factors"):
        fit(model, TRAIN, reg=reg, **SETTINGS)
    assert (model.popularity.weight == 2).all()
    assert fit(model, TRAIN, reg=0.0, **SETTINGS).epochs == 4


@pytest.mark.parametrize("step", [7, 10_000], ids=["interrupted", "to the end"])
def test_a_penalty_leaves_no_hook_behind(capsys, step):
    model = made()
    fit(model, TRAIN, reg=0.1, optimizer=at_step(step, interrupt), **SETTINGS)
    assert not any(part._forward_hooks for part in model.modules())
    assert_equal(pickle.loads(pickle.dumps(model)), model)


# -- schedules -------------------------------------------------------------------------------------

N_BATCHES = -(-len(TRAIN) // 64)
HALVED = partial(StepLR, step_size=3, gamma=0.5)
COSINE = partial(CosineAnnealingLR, T_max=4)
ONE_CYCLE = partial(OneCycleLR, max_lr=0.1, total_steps=4 * N_BATCHES)
NEVER_GOOD = partial(ReduceLROnPlateau, patience=1, threshold=9, threshold_mode="abs")  # lowers in the third epoch
SCHEDULED = pytest.mark.parametrize(
    ("schedule", "every"),
    [(HALVED, "epoch"), (COSINE, "epoch"), (HALVED, "batch"), (ONE_CYCLE, "batch")],
    ids=["StepLR", "CosineAnnealingLR", "StepLR by batch", "OneCycleLR by batch"],
)


def noting(rates, optimizer=torch.optim.Adam):
    """An optimiser that notes with which rates, one for each group, it makes its steps."""

    def ready(parameters, lr):
        stepper = optimizer(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in stepper.param_groups]))
        return stepper

    return ready


def rates_by_torch(schedule, every, n_epochs=4, metrics=None, lr=0.02):
    """What PyTorch's optimiser and scheduler do on their own."""
    stepper, rates = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=lr), []
    scheduler = schedule(stepper)
    for epoch in range(n_epochs):
        for _ in range(N_BATCHES):
            rates.append([stepper.param_groups[0]["lr"]])
            stepper.step()
            if every == "batch":
                scheduler.step()
        if every == "epoch":
            scheduler.step(*() if metrics is None else (metrics[epoch],))
    return rates


@SCHEDULED
def test_rates_are_those_of_pytorchs_scheduler(schedule, every):
    rates = []
    fit(made(), TRAIN, optimizer=noting(rates), schedule=schedule, schedule_every=every, **SETTINGS)
    assert rates == rates_by_torch(schedule, every)
    assert len({rate for (rate,) in rates}) > 1


def test_a_scheduler_steps_after_each_epoch_unless_batches_are_asked_for():
    by_epoch, by_batch = [], []
    fit(made(), TRAIN, optimizer=noting(by_epoch), schedule=HALVED, **SETTINGS)
    fit(made(), TRAIN, optimizer=noting(by_batch), schedule=HALVED, schedule_every="batch", **SETTINGS)
    assert by_epoch == [[0.02]] * 3 * N_BATCHES + [[0.01]] * N_BATCHES
    assert by_batch[:7] == [[0.02]] * 3 + [[0.01]] * 3 + [[0.005]]


@SCHEDULED
def test_fit_with_a_schedule_is_the_plain_loop_with_it(schedule, every):
    def scheduled(parameters, lr):
        stepper, steps = torch.optim.Adam(parameters, lr=lr), []
        scheduler = schedule(stepper)

        def count(*_):
            steps.append(0)
            if every == "batch" or len(steps) % N_BATCHES == 0:
                scheduler.step()

        stepper.register_step_post_hook(count)
        return stepper

    model, plain, constant = made(), made(), made()
    fit(model, TRAIN, schedule=schedule, schedule_every=every, **SETTINGS)
    by_hand(plain, TRAIN, scheduled, epochs=4, batch_size=64, lr=0.02)
    fit(constant, TRAIN, **SETTINGS)
    assert_equal(model, plain)
    assert not torch.equal(model.user_factors.weight, constant.user_factors.weight)


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "no validation"])
def test_a_plateau_is_one_of_the_validation_rmse_or_else_of_the_training_rmse(valid):
    class Noted(ReduceLROnPlateau):
        def step(self, metrics, **options):
            seen.append(metrics)
            super().step(metrics, **options)

    seen, rates = [], []
    course = dict(epochs=15, lr=0.1, optimizer=noting(rates), schedule=partial(Noted, patience=0, threshold=0.01))
    history = fit(made(), TRAIN, valid, **{**SETTINGS, **course})
    judged = history.train_rmse if valid is None else history.valid_rmse
    assert seen == judged[1:]
    plateau = partial(ReduceLROnPlateau, patience=0, threshold=0.01)
    by_torch = partial(rates_by_torch, plateau, "epoch", n_epochs=15, lr=0.1)
    assert rates == by_torch(metrics=judged[1:])
    if valid is not None:
        assert rates != by_torch(metrics=history.train_rmse[1:])


@SCHEDULED
def test_rates_for_each_table_keep_their_ratio(schedule, every):
    def each(parameters, lr):
        factors, biases = zip(*[(p, None) if p.shape[1] > 1 else (None, p) for p in parameters], strict=True)
        factors, biases = ([p for p in group if p is not None] for group in (factors, biases))
        return torch.optim.Adam([{"params": factors}, {"params": biases, "lr": 4 * lr}], lr=lr)

    rates = []
    if schedule is ONE_CYCLE:  # it sets the rates itself
        schedule = partial(schedule, max_lr=[0.1, 0.4])
    fit(made(), TRAIN, optimizer=noting(rates, each), schedule=schedule, schedule_every=every, **SETTINGS)
    for low, high in rates:
        assert high == pytest.approx(4 * low, rel=1e-12)
    assert len({low for low, _ in rates}) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(reg=-0.1), r"reg=-0\.1: a penalty needs finite numbers from 0"),
        (dict(reg=float("nan")), "reg=nan: a penalty needs finite numbers"),
        (dict(reg=float("inf")), "reg=inf: a penalty needs finite numbers"),
        (dict(schedule=HALVED, schedule_every="step"), "schedule_every='step': choose 'epoch' or 'batch'"),
        (dict(schedule=HALVED, schedule_every=None), "schedule_every=None"),
        (dict(schedule_every="epochs"), "schedule_every='epochs'"),
        (dict(schedule=ReduceLROnPlateau, schedule_every="batch"), "'batch': ReduceLROnPlateau steps by the RMSE of"),
    ],
    ids=str,
)
def test_bad_penalties_and_schedules_are_refused_before_anything_changes(tmp_path, changes, message):
    model, path = made(), tmp_path / "checkpoint"
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        fit(model, TRAIN, VALID, checkpoint=path, **{**SETTINGS, **changes})
    assert_equal(model, start)
    assert not path.exists()


# -- dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_drawn_from_the_seed(dropout):
    """With all ratings in a batch their order hardly matters, and what differs are the draws."""
    one, again, other = (made(dropout=dropout, init_std=0.5) for _ in range(3))
    for model, seed in ((one, 1), (again, 1), (other, 2)):
        fit(model, TRAIN, seed=seed, **{**FULL, "epochs": 4, "lr": 5.0})
    assert_equal(one, again)
    apart = one.to_factors().rms_difference(other.to_factors())
    assert apart > 1e-2 if dropout else apart < 1e-5


@BOTH
def test_each_step_draws_anew_and_judging_draws_nothing(kind):
    kept = []
    for seed in (1, 2):
        model = made(kind, dropout=0.3)
        model.dropout.register_forward_hook(lambda part, _, output: kept.append((part.training, output != 0)))
        fit(model, TRAIN, VALID, seed=seed, **SETTINGS)
    masks = [mask[: len(TRAIN) % 64] for trained, mask in kept if trained]  # the last batch is small
    assert len({mask.numpy().tobytes() for mask in masks}) == len(masks) == 2 * 4 * N_BATCHES
    assert 0.65 < torch.cat(masks).float().mean() < 0.75
    # the rows of users and items without a training rating are zero
    warm = (VALID.users > 2) & (VALID.items > 0) & ~model.cold(VALID.users, VALID.items)
    judged = [mask for trained, mask in kept if not trained and len(mask) == len(VALID)]
    assert len(judged) == 2 * 5
    assert all(mask[warm].all() for mask in judged)


def test_history_judges_without_dropout():
    model = made(dropout=0.5)
    history = fit(model, TRAIN, VALID, **SETTINGS)
    assert history.train_rmse[-1] == pytest.approx(rmse(model, TRAIN), rel=1e-6)
    assert history.valid_rmse[-1] == pytest.approx(rmse(model, VALID), rel=1e-6)


def test_validation_data_move_no_draw():
    with_valid, without = made(dropout=0.5), made(dropout=0.5)
    fit(with_valid, TRAIN, VALID, **SETTINGS)
    fit(without, TRAIN, **SETTINGS)
    assert_equal(with_valid, without)


@pytest.mark.parametrize("optimizer", [None, at_step(7, interrupt)], ids=["to the end", "interrupted"])
def test_dropout_neither_reads_nor_moves_the_global_generator(capsys, optimizer):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        models.append(made(dropout=0.5))
        fit(models[-1], TRAIN, VALID, optimizer=optimizer, **SETTINGS)
        assert torch.equal(torch.get_rng_state(), state)
    assert_equal(*models)


def test_the_generators_of_devices_that_do_not_train_are_left_alone(monkeypatch):
    for device in ("cuda", "mps", "xpu"):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(getattr(torch, device), name):
                monkeypatch.setattr(getattr(torch, device), name, lambda *_: pytest.fail("a seed for another device"))
    fit(made(dropout=0.5), TRAIN, **SETTINGS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_dropout_on_a_gpu_neither_reads_nor_moves_its_generator():
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states = torch.get_rng_state(), torch.cuda.get_rng_state()
        models.append(made(dropout=0.5))
        fit(models[-1], TRAIN, VALID, **{**SETTINGS, "device": "cuda"})
        assert torch.equal(torch.get_rng_state(), states[0])
        assert torch.equal(torch.cuda.get_rng_state(), states[1])
    assert models[0].to_factors().rms_difference(models[1].to_factors()) < 1e-2


@pytest.mark.parametrize("seed", [-1, 2**40, 2**63])
def test_any_seed_that_a_generator_takes_will_do(seed):
    one, again = made(dropout=0.5), made(dropout=0.5)
    for model in (one, again):
        fit(model, TRAIN, seed=seed, **SETTINGS)
    assert_equal(one, again)


@BOTH
def test_without_dropout_fit_trains_the_bare_formula_bit_for_bit(kind):
    class Bare(kind):
        def forward(self, user, item):
            dots = self.mean + (self.user_factors(user) * self.item_factors(item)).sum(-1)
            if kind is MatrixFactorization:
                return dots
            return dots + (self.user_biases(user)[..., 0] + self.item_biases(item)[..., 0])

    model, bare, dropped = made(kind, dropout=0.0), made(Bare), made(kind, dropout=0.5)
    for trained in (model, bare, dropped):
        fit(trained, TRAIN, **SETTINGS)
    assert_equal(model, bare)
    assert not torch.equal(dropped.user_factors.weight, bare.user_factors.weight)


# -- checkpoints with penalties, schedules and dropout ---------------------------------------------

RESUMED = pytest.mark.parametrize(
    ("dropout", "changes"),
    [
        (0.0, dict(schedule=HALVED)),
        (0.0, dict(schedule=COSINE)),
        (0.0, dict(schedule=NEVER_GOOD)),
        (0.0, dict(schedule=partial(StepLR, step_size=7), schedule_every="batch")),
        (0.0, dict(schedule=ONE_CYCLE, schedule_every="batch")),
        (0.0, dict(schedule=partial(LambdaLR, lr_lambda=lambda step: 1 / np.sqrt(1 + step)))),
        (0.5, dict()),
        (0.5, dict(reg=Penalty(0.1, 0.5, biases=0.3), schedule=ONE_CYCLE, schedule_every="batch")),
    ],
    ids=["StepLR", "Cosine", "Plateau", "StepLR by batch", "OneCycle by batch", "LambdaLR", "dropout", "all"],
)


@RESUMED
def test_a_training_with_extras_resumes_bit_for_bit(tmp_path, dropout, changes):
    options = {**SETTINGS, **changes, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(dropout=dropout), made(dropout=dropout, seed=9)
    rates, rest = [], []
    course = fit(whole, TRAIN, VALID, **{**options, "checkpoint": tmp_path / "another", "optimizer": noting(rates)})
    fit(made(dropout=dropout), TRAIN, VALID, **{**options, "epochs": 2})
    torch.manual_seed(5)
    assert_same_course(fit(resumed, TRAIN, VALID, **options, optimizer=noting(rest)), course)
    assert rest == rates[2 * N_BATCHES :]
    assert_equal(resumed, whole)


@RESUMED
@pytest.mark.parametrize("step", [1, N_BATCHES + 2, 3 * N_BATCHES])
def test_an_interrupted_training_with_extras_resumes_bit_for_bit(tmp_path, capsys, dropout, changes, step):
    options = {**SETTINGS, **changes, "checkpoint": tmp_path / "checkpoint"}
    whole, resumed = made(dropout=dropout), made(dropout=dropout)
    course = fit(whole, TRAIN, VALID, **{**options, "checkpoint": None})
    stopped = fit(made(dropout=dropout), TRAIN, VALID, optimizer=at_step(step, interrupt), **options)
    assert stopped.stopped == "interrupted"
    assert_same_course(fit(resumed, TRAIN, VALID, resume=True, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("first", "changes", "key"),
    [
        (dict(reg=0.1), dict(reg=0.2), r"reg is \(0\.1, 1\.0, 0\.1\), here it is \(0\.2, 1\.0, 0\.2\)"),
        (dict(reg=0.1), dict(), r"reg is .* here it is \(0\.0, 1\.0, 0\.0\)"),
        (dict(), dict(reg=0.1), "reg"),
        (dict(reg=0.1), dict(reg=Penalty(0.1, power=0.5)), "reg"),
        (dict(reg=0.1), dict(reg=Penalty(0.1, biases=0.2)), "reg"),
        (dict(schedule=HALVED), dict(schedule=COSINE), "schedule is StepLR, here it is CosineAnnealingLR"),
        (dict(schedule=HALVED), dict(), "schedule is StepLR, here it is NoneType"),
        (dict(), dict(schedule=HALVED), "schedule is NoneType, here it is StepLR"),
        (dict(schedule=HALVED), dict(schedule=HALVED, schedule_every="batch"), "schedule_every is epoch, here it is b"),
        (
            dict(schedule=HALVED),
            dict(schedule=partial(HALVED, gamma=0.9)),
            r"schedule's gamma is 0\.5, here it is 0\.9",
        ),
        (dict(schedule=COSINE), dict(schedule=partial(COSINE, T_max=8)), "schedule's T_max is 4, here it is 8"),
        (dict(model=made(dropout=0.5)), dict(model=made(dropout=0.2)), r"dropout is \[0\.5\], here it is \[0\.2\]"),
        (dict(model=made(dropout=0.5)), dict(), "dropout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_with_other_extras_is_refused(tmp_path, first, changes, key):
    path = tmp_path / "checkpoint"
    fit(**{**SETTINGS, "model": made(), "train": TRAIN, "checkpoint": path, **first})
    kept = path.read_bytes()
    options = {**SETTINGS, "model": made(), "train": TRAIN, "checkpoint": path, "resume": True, **changes}
    start = copy.deepcopy(options["model"].state_dict())
    with pytest.raises(ValueError, match=f"checkpoint belongs to another training: its {key}"):
        fit(**options)
    assert_equal(options["model"], start)
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    "changes",
    [
        dict(reg=Penalty(np.float64(0.1), biases=np.float32(0.25))),
        dict(schedule=partial(StepLR, step_size=np.int64(1), gamma=np.float64(0.5))),
        dict(schedule=partial(MultiStepLR, milestones=np.array([1, 3]))),
        dict(schedule=partial(ONE_CYCLE, max_lr=np.float64(0.1)), schedule_every="batch"),
        dict(optimizer=partial(torch.optim.Adam, betas=(np.float64(0.8), np.float64(0.9)))),
    ],
    ids=["reg", "StepLR", "MultiStepLR", "OneCycleLR", "betas"],
)
def test_numpys_numbers_survive_a_checkpoint_in_extras_too(tmp_path, changes):
    options = {**SETTINGS, **changes}
    whole, resumed = made(), made()
    fit(whole, TRAIN, **options)
    options |= {"checkpoint": tmp_path / "checkpoint", "resume": True}
    fit(made(), TRAIN, **{**options, "epochs": 2})
    fit(resumed, TRAIN, **options)
    assert_equal(resumed, whole)


if __name__ == "__main__":  # the child that test_a_killed_training_resumes kills

    def slow(parameters, lr):
        optimizer = torch.optim.Adam(parameters, lr=lr)
        optimizer.register_step_post_hook(lambda *_: time.sleep(0.02))
        return optimizer

    fit(made(), TRAIN, optimizer=slow, checkpoint=sys.argv[1], **{**SETTINGS, "epochs": 10_000})


def test_a_penalty_that_forward_gives_nothing_to_charge_for_is_refused():
    class Past(BiasedMatrixFactorization):
        def forward(self, user, item):
            return self.user_biases.weight[user, 0] + self.item_biases.weight[item, 0]

    model = Past(TRAIN.n_users, TRAIN.n_items, 2)
    with pytest.raises(ValueError, match="cannot charge for item_biases, item_factors, user_biases, user_factors"):
        fit(model, TRAIN, reg=0.1, epochs=1)


def test_a_table_looked_up_by_keyword_and_several_times_a_rating_is_charged_for_each_time():
    class Pairs(BiasedMatrixFactorization):
        def forward(self, user, item):
            rows = self.user_factors(input=user[:, None].expand(-1, 3))
            others = self.item_factors(item).sum(1) + self.user_biases(user)[:, 0] + self.item_biases(item)[:, 0]
            return self.mean + 0 * rows.sum((1, 2)) + 0 * others

    model = Pairs(TRAIN.n_users, TRAIN.n_items, 2, mean=0.0)
    before = model.user_factors.weight.detach().clone()
    fit(model, TRAIN, reg=0.5, epochs=1, batch_size=len(TRAIN), optimizer=torch.optim.SGD, lr=0.1)
    counts = torch.tensor(TRAIN.user_counts)[:, None]
    expected = before * (1 - 0.1 * 2 * 0.5 * 3 * counts / len(TRAIN))
    assert torch.allclose(model.user_factors.weight.detach()[counts[:, 0] > 0], expected[counts[:, 0] > 0], atol=1e-6)


def test_a_refused_penalty_leaves_model_and_disk_as_they_were(tmp_path):
    class Half(BiasedMatrixFactorization):
        def forward(self, user, item):
            return self.mean + self.user_biases(user)[:, 0] + 0.0 * item

    model = Half(TRAIN.n_users, TRAIN.n_items, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="cannot charge for item_biases"):
        fit(model, TRAIN, reg=0.1, epochs=1, checkpoint=tmp_path / "file")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("schedule", [lambda optimizer: None, StepLR(torch.optim.SGD([torch.zeros(1)]), 1)])
def test_a_schedule_that_makes_no_scheduler_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items, 2), TRAIN, schedule=schedule, epochs=1)


def test_a_truth_value_is_no_number_of_epochs():
    with pytest.raises(ValueError, match="epochs=True"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items, 2), TRAIN, epochs=True)
