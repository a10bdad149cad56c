"""`sgd`: three engines against gradients, against their plain loop, and against Surprise."""

import platform

import numpy as np
import pytest
import torch
from descending import (
    BATCHED,
    BIASED,
    EACH,
    FEW,
    TABLES,
    TRAIN,
    assert_close,
    batches,
    begun,
    by_hand,
    changed,
    settings,
)

from mfhelpers import Factors, Penalty, Ratings, average_biases, objective, rmse, sgd, simulate_ratings
from mfhelpers.algorithms import sgd as descent
from mfhelpers.check import numerical_gradient, same

HALVES = simulate_ratings(60, 80, 1500, scale=(0.5, 5, 0.5), seed=1)[0]
PENALTIES = pytest.mark.parametrize(
    "penalty",
    [Penalty(0.3, 0, 2), Penalty(0.5, 0.5), Penalty(0.5, 0.5, 0.1), Penalty(0.1), Penalty(0.1, 1, 0)],
    ids=str,
)


# -- a step ----------------------------------------------------------------------------------------


def gradients(start, train, penalty) -> dict[str, np.ndarray]:
    """Of the objective, by autograd, in float64."""
    p, q, b_u, b_i = leaves = [torch.tensor(getattr(start, table), requires_grad=True) for table in TABLES]
    users, items, values = train.to_tensors()
    errors = values - (start.mean + b_u[users] + b_i[items] + (p[users] * q[items]).sum(dim=1))
    whole = errors.square().sum()
    for ids, rows, biases in ((users, p, b_u), (items, q, b_i)):
        weight = torch.bincount(ids, minlength=len(rows))[ids].double() ** (penalty.power - 1)
        prices = penalty.reg * rows[ids].square().sum(dim=1) + penalty.biases * biases[ids].square()
        whole = whole + (weight * prices).sum()
    assert whole.item() == pytest.approx(objective(start, train, penalty), rel=1e-12)
    whole.backward()
    return {table: leaf.grad.numpy() for table, leaf in zip(TABLES, leaves, strict=True)}


def along(start, gradient, lr, biased=True) -> Factors:
    """start - lr/2 · gradient"""
    trained = TABLES if biased else TABLES[:2]
    return changed(start, {table: getattr(start, table) - lr / 2 * gradient[table] for table in trained})


PRECISION = {"loop": 1e-14, "frozen": 1e-6, "minibatch": 1e-6}


@EACH
@PENALTIES
def test_a_step_on_one_rating_is_the_formula_and_half_the_gradient(engine, penalty):
    one, lr = Ratings([1], [2], [4], 3, 4, (1, 5, 1)), 0.05
    start = begun(3, one)
    stepped = sgd(one, 3, start=start, lr=lr, reg=penalty, epochs=1, **settings(engine))
    p, q, b_u, b_i = start.user_factors[1], start.item_factors[2], start.user_biases[1], start.item_biases[2]
    e = 4 - (start.mean + b_u + b_i + p @ q)
    by_hand = {table: np.zeros_like(getattr(start, table)) for table in TABLES}
    by_hand["user_factors"][1] = -2 * (e * q - penalty.reg * p)
    by_hand["item_factors"][2] = -2 * (e * p - penalty.reg * q)
    by_hand["user_biases"][1] = -2 * (e - penalty.biases * b_u)
    by_hand["item_biases"][2] = -2 * (e - penalty.biases * b_i)
    by_differences = {}
    for table in TABLES:
        at = lambda array, table=table: objective(changed(start, {table: array}), one, penalty)  # noqa: E731
        by_differences[table] = numerical_gradient(at, getattr(start, table))
    assert_close(stepped, along(start, by_hand, lr), PRECISION[engine])
    assert_close(stepped, along(start, gradients(start, one, penalty), lr), PRECISION[engine])
    assert_close(stepped, along(start, by_differences, lr), PRECISION[engine] + 1e-9)


@BATCHED
@PENALTIES
@BIASED
def test_a_step_on_all_ratings_is_half_the_gradient(engine, penalty, biased):
    start, lr = begun(), 0.005
    stepped = sgd(TRAIN, 3, start=start, lr=lr, reg=penalty, biased=biased, epochs=1, **settings(engine, len(TRAIN)))
    assert_close(stepped, along(start, gradients(start, TRAIN, penalty), lr, biased), 1e-6)
    assert max(abs(getattr(stepped, table) - getattr(start, table)).max() for table in TABLES) > 0.05


@PENALTIES
def test_an_epoch_of_tiny_steps_on_single_ratings_goes_down_the_gradient_of_all(penalty):
    start, lr = begun(), 1e-9  # in float32, such steps would be lost to rounding
    after = sgd(TRAIN, 3, start=start, lr=lr, reg=penalty, epochs=1, **settings("loop"))
    for table, gradient in gradients(start, TRAIN, penalty).items():
        same((getattr(after, table) - getattr(start, table)) / (-lr / 2), gradient, 1e-6, what=table)


@BATCHED
def test_a_step_on_all_ratings_is_that_of_torch_with_weight_decay(engine):
    start, lr, decay = begun(), 0.005, 0.01
    p, q, b_u, b_i = leaves = [torch.tensor(getattr(start, table), requires_grad=True) for table in TABLES]
    users, items, values = TRAIN.to_tensors()
    optimizer = torch.optim.SGD(leaves, lr=lr * len(TRAIN) / 2, weight_decay=decay)
    (values - (start.mean + b_u[users] + b_i[items] + (p[users] * q[items]).sum(dim=1))).square().mean().backward()
    optimizer.step()
    penalty = Penalty.from_weight_decay(decay, len(TRAIN))
    stepped = sgd(TRAIN, 3, start=start, lr=lr, reg=penalty, epochs=1, **settings(engine, len(TRAIN)))
    for table, leaf in zip(TABLES, leaves, strict=True):
        rated = np.unique(TRAIN.users if table.startswith("user") else TRAIN.items)  # torch shrinks the others too
        same(getattr(stepped, table)[rated], leaf.detach()[rated], 1e-6, what=table)


# -- many steps ------------------------------------------------------------------------------------


@EACH
@PENALTIES
@BIASED
def test_training_is_the_plain_loop(engine, penalty, biased):
    start, n_batches = begun(), None if engine == "loop" else -(-len(FEW) // 64)
    trained = sgd(FEW, 3, start=start, lr=0.02, reg=penalty, biased=biased, epochs=2, seed=5, **settings(engine))
    plain = by_hand(FEW, start, batches(engine, len(FEW), 2, n_batches, seed=5), 0.02, penalty, biased, n_batches)
    assert_close(trained, plain, 1e-12 if engine == "loop" else 1e-5)


@EACH
@BIASED
@pytest.mark.parametrize("k", [0, 1, 5, 6, 7, 8, 9])  # around the widths to which tables are filled up
def test_training_is_the_plain_loop_for_every_k(engine, biased, k):
    few, start, penalty = FEW[:200], begun(k), Penalty(0.1, 0.5, 0.3)
    n_batches = None if engine == "loop" else 4
    trained = sgd(few, k, start=start, lr=0.02, reg=penalty, biased=biased, epochs=2, **settings(engine, 50))
    plain = by_hand(few, start, batches(engine, 200, 2, n_batches), 0.02, penalty, biased, n_batches)
    assert_close(trained, plain, 1e-12 if engine == "loop" else 1e-5)
    assert trained.n_factors == k


@BATCHED
@pytest.mark.parametrize("lr", [0.02, 0.3, 1e9])
@pytest.mark.parametrize("penalty", [Penalty(0.1), Penalty(0.5, 0.5, 0.1)], ids=str)
def test_a_row_with_many_ratings_in_a_batch_goes_half_of_the_way(engine, lr, penalty):
    start = begun()
    trained = sgd(FEW, 3, start=start, lr=lr, reg=penalty, epochs=2, **settings(engine, 400))
    assert_close(trained, by_hand(FEW, start, batches(engine, len(FEW), 2, 2), lr, penalty, n_batches=2), 1e-4)


@pytest.mark.parametrize("penalty", [Penalty(0.02), Penalty(0.5, 0.5, 0.1)], ids=str)
@BIASED
def test_both_batched_engines_step_alike_where_there_is_one_batch(penalty, biased):
    options = dict(reg=penalty, lr=0.01, biased=biased, epochs=5)
    one, other = (sgd(TRAIN, 3, **options, **settings(engine, len(TRAIN))) for engine in ("frozen", "minibatch"))
    assert_close(one, other, 1e-6)


@EACH
@pytest.mark.parametrize(
    "train", [Ratings([0], [0], [3], 1, 1, (1, 5, 1)), TRAIN[TRAIN.users == 5], TRAIN[TRAIN.items == 7]],
    ids=["one rating", "one user", "one item"],
)  # fmt: skip
def test_small_sets_train_too(engine, train):
    start, n_batches = begun(2, train), None if engine == "loop" else -(-len(train) // 8)
    trained = sgd(train, 2, start=start, lr=0.02, reg=0.1, epochs=3, **settings(engine, 8))
    order = batches(engine, len(train), 3, n_batches)
    assert_close(trained, by_hand(train, start, order, 0.02, Penalty(0.1), n_batches=n_batches), 1e-5)


# -- where it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [Penalty(0.1), Penalty(0.5, 0.5, 0.7), Penalty(3, 0, 2)], ids=str)
def test_all_engines_reach_the_same_objective(penalty):
    models = [sgd(FEW, 2, lr=0.03, reg=penalty, epochs=35, **settings(engine, 32)) for engine in descent.ENGINES]
    ends = [objective(model, FEW, penalty) for model in models]
    assert max(ends) < 1.02 * min(ends)
    assert max(ends) < 0.9 * least(FEW, penalty)  # the factors do their part


def least(train, penalty) -> float:
    """The smallest objective without factors: ridge regression on the indicators of users and items."""
    indicators = np.zeros((len(train), train.n_users + train.n_items))
    indicators[np.arange(len(train)), train.users] = 1
    indicators[np.arange(len(train)), train.n_users + train.items] = 1
    counts = indicators.sum(axis=0)
    prices = np.where(counts > 0, penalty.biases * np.maximum(counts, 1) ** penalty.power, 1)
    rest = train.values - train.values.mean(dtype=np.float64)
    biases = np.linalg.solve(indicators.T @ indicators + np.diag(prices), indicators.T @ rest)
    return np.sum((rest - indicators @ biases) ** 2) + prices @ biases**2


@EACH
@pytest.mark.parametrize("penalty", [Penalty(9, 0, 3), Penalty(1, 0.5), Penalty(0.1)], ids=str)
def test_without_factors_the_biases_are_those_of_ridge_regression(engine, penalty):
    model = sgd(FEW, 0, lr=0.02, reg=penalty, epochs=40, **settings(engine, 32))
    assert model.n_factors == 0
    assert 1 <= objective(model, FEW, penalty) / least(FEW, penalty) < 1.004


@EACH
def test_without_factors_and_penalty_predictions_are_nearly_those_of_average_biases(engine):
    model, averages = sgd(FEW, 0, lr=0.02, reg=0, epochs=40, **settings(engine, 32)), average_biases(FEW)
    assert rmse(model, FEW) < rmse(averages, FEW) < 1.05 * rmse(model, FEW)  # averages are not fitted together
    one, other = (predictor.predict(FEW.users, FEW.items) for predictor in (model, averages))
    assert np.corrcoef(one, other)[0, 1] > 0.95


@pytest.mark.parametrize("penalty", [Penalty(0.3), Penalty(1.2, 0.5, 0.5), Penalty(9, 0, 2)], ids=str)
@BATCHED
def test_at_rest_the_gradient_is_zero(engine, penalty):
    model = sgd(TRAIN, 2, lr=0.01, reg=penalty, epochs=600, **settings(engine, len(TRAIN)))
    assert abs(model.user_factors).max() > 0.2  # not shrunk to nothing
    at_rest = Factors(model.mean, **{table: getattr(model, table).astype(np.float64) for table in TABLES})
    before = gradients(begun(2), TRAIN, penalty)
    for table, gradient in gradients(at_rest, TRAIN, penalty).items():
        assert abs(gradient).max() < 0.01 * abs(before[table]).max(), table


# -- Surprise --------------------------------------------------------------------------------------


@pytest.fixture
def surprise(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing Surprise makes a folder in the home directory
    monkeypatch.setenv("SURPRISE_DATA_FOLDER", str(tmp_path))
    return pytest.importorskip("surprise")


@pytest.mark.parametrize(
    ("train", "k", "reg", "lr", "init_std"),
    [
        (TRAIN, 1, 0.02, 0.005, 0.1),
        (TRAIN, 2, 0.1, 0.01, 0.1),
        (HALVES, 7, 0.02, 0.005, 0.1),
        (HALVES, 20, 0.03, 0.007, 0.2),
        (TRAIN, 20, Penalty(0.02, biases=0.05), 0.005, 0.1),
    ],
    ids=["k=1", "k=2", "k=7 half stars", "k=20 half stars", "another λ for biases"],
)
@BIASED
def test_the_loop_is_surprises_svd_bit_for_bit(surprise, train, k, reg, lr, init_std, biased):
    import pandas as pd

    frame = pd.DataFrame({"user": train.users, "item": train.items, "rating": train.values.astype(float)})
    reader = surprise.Reader(rating_scale=(train.scale.low, train.scale.high))
    theirs = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
    penalty = Penalty.of(reg)
    rates = dict(lr_all=lr, reg_all=penalty.reg, reg_bu=penalty.biases, reg_bi=penalty.biases)
    svd = surprise.SVD(k, 3, biased, init_std_dev=init_std, random_state=4, **rates).fit(theirs)

    users = np.array([theirs.to_raw_uid(u) for u in range(theirs.n_users)])
    items = np.array([theirs.to_raw_iid(i) for i in range(theirs.n_items)])
    assert (np.diff(users) < 0).any()  # they number users as they occur
    rng = np.random.RandomState(4)
    p, q = np.zeros((train.n_users, k)), np.zeros((train.n_items, k))
    p[users] = rng.normal(0, init_std, (len(users), k))
    q[items] = rng.normal(0, init_std, (len(items), k))
    mean = train.values.mean(dtype=np.float64)
    assert mean == theirs.global_mean
    start = Factors(mean if biased else 0, np.zeros(len(p)), np.zeros(len(q)), p, q)
    ours = sgd(train, k, start=start, lr=lr, reg=reg, biased=biased, epochs=3, order="surprise", **settings("loop"))

    # other processors may multiply and add in one instruction, which rounds once less
    exact = platform.machine().lower() in ("x86_64", "amd64")
    for our, their in (
        (ours.user_factors[users], svd.pu),
        (ours.item_factors[items], svd.qi),
        (ours.user_biases[users], svd.bu),
        (ours.item_biases[items], svd.bi),
    ):
        assert np.array_equal(our, their) if exact else same(our, their, 1e-9) >= 0
    assert (ours.user_factors[users] != p[users]).all()


def test_the_order_of_surprise_is_that_of_first_occurrence_in_every_epoch():
    users, start = TRAIN.users.tolist(), begun()
    order = sorted(range(len(TRAIN)), key=lambda n: users.index(users[n]))
    trained = sgd(TRAIN, 3, start=start, reg=0.1, lr=0.02, epochs=2, order="surprise", seed=8, **settings("loop"))
    assert_close(trained, by_hand(TRAIN, start, [[n] for n in order * 2], 0.02, Penalty(0.1)), 1e-12)
    assert order != sorted(order)
