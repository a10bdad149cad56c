"""`fit`: the loop that it says it is, and what is left after each way to end it."""

import copy
import dataclasses
import random
from functools import partial

import numpy as np
import pytest
import torch
from fitting import (
    BOTH,
    EARLY,
    RATINGS,
    SETTINGS,
    TRAIN,
    VALID,
    assert_equal,
    at_step,
    by_hand,
    history_of,
    interrupt,
    made,
)

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    MatrixFactorization,
    Ratings,
    evaluate,
    fit,
    global_mean,
    random_split,
    rmse,
    simulate_ratings,
)
from mfhelpers.algorithms import fit as training
from mfhelpers.models import pairs as models

VALID_ALONE = Ratings.from_arrays(VALID.users, VALID.items, VALID.values)  # numbered without the rest


# -- the loop --------------------------------------------------------------------------------------


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
    larger, fitting = BiasedMatrixFactorization(50, 35, 3), BiasedMatrixFactorization(40, 30, 3)
    with torch.no_grad():
        for table in ("user_factors", "item_factors"):
            small = getattr(fitting, table).weight
            getattr(larger, table).weight[: len(small)] = small
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
    history = history_of(model, TRAIN, VALID, **SETTINGS)
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
    model = made()
    model.mean_from_train.fill_(False)
    model.mean.fill_(float("nan"))
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
    history = history_of(model, TRAIN, VALID, **SETTINGS)
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
    history = history_of(made(), TRAIN, **SETTINGS)
    assert history.valid_rmse == []
    assert history.best_epoch == np.argmin(history.train_rmse)
    assert "validation" not in repr(history)


def test_rmse_is_pooled_over_chunks(monkeypatch):
    whole = history_of(made(), TRAIN, **SETTINGS).train_rmse
    monkeypatch.setattr(training, "EVALUATION_CHUNK", 17)
    assert history_of(made(), TRAIN, **SETTINGS).train_rmse == pytest.approx(whole, rel=1e-6)


def test_nothing_is_shown_for_a_short_training(capsys):
    fit(made(), TRAIN, **{**SETTINGS, "progress": True})
    assert capsys.readouterr() == ("", "")


# -- early stopping --------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_restores_the_best_epoch(patience):
    model, until_best = made(), made()
    history = history_of(model, TRAIN, VALID, patience=patience, **EARLY)
    assert history.stopped == "early"
    assert 0 < history.best_epoch == history.epochs - patience
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": history.best_epoch})
    assert_equal(model, until_best)


def test_the_best_epoch_is_restored_when_the_epochs_run_out_too():
    model, until_best = made(), made()
    best = history_of(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = history_of(model, TRAIN, VALID, patience=3, **{**EARLY, "epochs": best + 2})
    assert (history.stopped, history.best_epoch, history.epochs) == ("finished", best, best + 2)
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": best})
    assert_equal(model, until_best)


def test_patience_may_end_with_the_last_epoch():
    best = history_of(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = history_of(made(), TRAIN, VALID, patience=3, **{**EARLY, "epochs": best + 3})
    assert (history.stopped, history.epochs) == ("early", best + 3)


def test_the_start_is_restored_where_every_epoch_is_worse():
    items = np.arange(10)
    fives, ones = (Ratings(np.full(10, 0), items + n, np.full(10, v), 1, 20, (1, 5, 1)) for n, v in ((0, 5), (10, 1)))
    model = BiasedMatrixFactorization(1, 20, 2, mean=1.0)
    start = copy.deepcopy(model)
    start.forget_unseen(fives)
    history = history_of(model, fives, ones, patience=2, **SETTINGS)
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
        torch.load(path)["history"]["train_error"][1:]
        == history_of(made(), TRAIN, **{**SETTINGS, "epochs": 2}).train_rmse[1:]
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
    history = history_of(model, TRAIN, VALID, optimizer=at_step(7, interrupt), **SETTINGS)  # 5 steps an epoch
    by_hand(plain, TRAIN, torch.optim.Adam, 4, 64, 0.02, steps=7)
    assert_equal(model, plain)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert "interrupted in epoch 2: the model so far is kept" in capsys.readouterr().out
    assert "interrupted after 1 epochs" in repr(history)


def test_an_interruption_in_the_first_epoch_leaves_a_history(capsys):
    history = history_of(made(), TRAIN, optimizer=at_step(1, interrupt), **SETTINGS)
    assert history.epochs == 0
    assert "0 epochs" in repr(history)


def test_an_interruption_with_patience_restores_the_best_epoch(capsys):
    model, until_best = made(), made()
    best = history_of(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    history = history_of(model, TRAIN, VALID, patience=3, optimizer=at_step(5 * best + 8, interrupt), **EARLY)
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
    history = history_of(made(), TRAIN, VALID, **SETTINGS)
    assert [len(judged) for judged in (history.train_rmse, history.valid_rmse, history.seconds)] == [2, 2, 2]


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epochs=0), "epochs=0: it must be at least 1"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(epochs=1.5), r"epochs=1\.5: give a whole number"),
        (dict(batch_size=128.0), r"batch_size=128\.0: give a whole number"),
        (dict(seed=0.5), r"seed=0\.5: give a whole number"),
        (dict(patience=1.5, valid=VALID), r"patience=1\.5: give a whole number"),
        (dict(lr=0), "lr=0: it must be above 0"),
        (dict(lr=float("nan")), "lr=nan"),
        (dict(patience=2), "patience=2: early stopping needs validation"),
        (dict(patience=0, valid=VALID), "patience=0"),
        (dict(resume=True), "resume=True needs checkpoint="),
        (dict(optimizer=torch.optim.Adam(made().parameters()), lr=0.1), "contradict"),
        (dict(optimizer=torch.optim.Adam(made().parameters()), lr=None), "none of the model's parameters"),
        (dict(train=simulate_ratings(41, 30, 400, min_per_user=5)[0]), "n_users=41, the model only 40"),
        (dict(valid=simulate_ratings(40, 31, 400, min_per_user=5)[0]), "item_ids has 30 labels in one and 31"),
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


def test_a_truth_value_is_no_number_of_epochs():
    with pytest.raises(ValueError, match="epochs=True"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items, 2), TRAIN, epochs=True)
