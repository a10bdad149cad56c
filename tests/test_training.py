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

import numpy as np
import pytest
import torch

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    MatrixFactorization,
    Ratings,
    evaluate,
    fit,
    global_mean,
    models,
    random_split,
    rmse,
    simulate_ratings,
    training,
)

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
    chosen, why = training.choose_device("auto", batch_size, made(k=20, sparse=sparse))
    assert chosen == torch.device(device)
    assert reason in why


def test_a_step_has_no_more_ratings_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    history = fit(made(), TRAIN, **{**SETTINGS, "batch_size": 1 << 20, "device": "auto"})
    assert history.device_reason.startswith(f"{len(TRAIN)} ratings × k is {3 * len(TRAIN)} values")


@pytest.mark.parametrize(("device", "there"), [("cuda", True), ("cuda:1", True), ("cuda:2", False), ("mps", False)])
def test_a_device_is_taken_if_asked_for_and_there(monkeypatch, device, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if there:
        assert training.choose_device(device, 1, made()) == (torch.device(device), "it was asked for")
    else:
        with pytest.raises(ValueError, match=f"device='{device}' is not available here; device='auto' or 'cpu'"):
            training.choose_device(device, 1, made())


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
    for trained, devices in ((model, ("cpu", "cuda", "cpu")), (plain, ("cpu", "cpu", "cpu"))):
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.02, momentum=0.9)
        for device in devices:
            fit(trained, TRAIN, optimizer=optimizer, **{**SETTINGS, "lr": None, "device": device})
    assert model.to_factors().rms_difference(plain.to_factors()) < 1e-2


if __name__ == "__main__":  # the child that test_a_killed_training_resumes kills

    def slow(parameters, lr):
        optimizer = torch.optim.Adam(parameters, lr=lr)
        optimizer.register_step_post_hook(lambda *_: time.sleep(0.02))
        return optimizer

    fit(made(), TRAIN, optimizer=slow, checkpoint=sys.argv[1], **{**SETTINGS, "epochs": 10_000})
