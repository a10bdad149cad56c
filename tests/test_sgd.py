"""`sgd`: three engines against gradients, against their plain loop, and against Surprise."""

import platform

import numpy as np
import pytest
import torch

from mfhelpers import DivergenceError, Factors, Penalty, Ratings, average_biases, objective, rmse, sgd, simulate_ratings
from mfhelpers.algorithms import sgd as descent
from mfhelpers.check import numerical_gradient, same

RATINGS, _ = simulate_ratings(60, 80, 1500)
TRAIN = RATINGS[(RATINGS.users > 2) & (RATINGS.items > 1)]  # users 0 to 2 and items 0 and 1 have no training rating
FEW = TRAIN[: len(TRAIN) // 2]
HALVES = simulate_ratings(60, 80, 1500, scale=(0.5, 5, 0.5), seed=1)[0]
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")
EACH = pytest.mark.parametrize("engine", descent.ENGINES)
BATCHED = pytest.mark.parametrize("engine", ["frozen", "minibatch"])
BIASED = pytest.mark.parametrize("biased", [True, False], ids=["biased", "without biases"])
PENALTIES = pytest.mark.parametrize(
    "penalty",
    [Penalty(0.3, 0, 2), Penalty(0.5, 0.5), Penalty(0.5, 0.5, 0.1), Penalty(0.1), Penalty(0.1, 1, 0)],
    ids=str,
)


def settings(engine, batch_size=64, **others) -> dict:
    return dict(engine=engine, progress=False, **({} if engine == "loop" else dict(batch_size=batch_size)), **others)


def begun(k=3, train=TRAIN, seed=3) -> Factors:
    """A start with biases, a mean that is not that of the ratings, and rows where there is no rating."""
    rng = np.random.default_rng(seed)
    shapes = [(train.n_users,), (train.n_items,), (train.n_users, k), (train.n_items, k)]
    return Factors(3.25, *(rng.normal(0, 0.4, shape) for shape in shapes))


def assert_close(model, other, tolerance):
    assert model.mean == other.mean
    for table in TABLES:
        same(getattr(model, table), getattr(other, table), tolerance, what=table)


def assert_equal(model, other):
    """Bit for bit."""
    for table in TABLES:
        np.testing.assert_array_equal(getattr(model, table), getattr(other, table), err_msg=table)


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


def changed(factors, tables) -> Factors:
    return Factors(factors.mean, **{table: getattr(factors, table) for table in TABLES} | tables)


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


def batches(engine, n, epochs, n_batches, seed=0):
    """The numbers of the ratings that step together, in the order of an engine."""
    shuffling = np.random.default_rng([seed, 1])
    if engine == "frozen":
        dealt = np.array_split(shuffling.permutation(n), n_batches)
    for _ in range(epochs):
        if engine == "frozen":
            yield from (dealt[number] for number in shuffling.permutation(n_batches))
        else:
            yield from np.array_split(shuffling.permutation(n), n if engine == "loop" else n_batches)


def by_hand(train, start, order, lr, penalty, biased=True, n_batches=None) -> Factors:
    """Gradient descent in its plainest form, rating by rating, in float64."""
    p, q, b_u, b_i = (getattr(start, table).astype(np.float64) for table in TABLES)
    counts = np.bincount(train.users, minlength=len(p)) * 1.0, np.bincount(train.items, minlength=len(q)) * 1.0
    rates = [np.full(len(n), lr) for n in counts]
    if n_batches:
        rates = [np.minimum(lr, 0.5 * n_batches / np.maximum(n, 1)) for n in counts]
    for batch in order:
        moves = [np.zeros_like(table) for table in (p, q, b_u, b_i)]
        for u, i, r in zip(
            *(column[batch].tolist() for column in (train.users, train.items, train.values)), strict=True
        ):
            e = r - (start.mean + b_u[u] + b_i[i] + p[u] @ q[i])
            share_u, share_i = counts[0][u] ** (penalty.power - 1), counts[1][i] ** (penalty.power - 1)
            moves[0][u] += rates[0][u] * (e * q[i] - penalty.reg * share_u * p[u])
            moves[1][i] += rates[1][i] * (e * p[u] - penalty.reg * share_i * q[i])
            moves[2][u] += rates[0][u] * (e - penalty.biases * share_u * b_u[u])
            moves[3][i] += rates[1][i] * (e - penalty.biases * share_i * b_i[i])
        for table, move in zip((p, q, b_u, b_i)[: 4 if biased else 2], moves, strict=False):
            table += move
    return Factors(start.mean, b_u, b_i, p, q)


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


# -- start, seed and what stays --------------------------------------------------------------------


@EACH
@BIASED
def test_a_start_keeps_its_mean_and_what_is_not_trained(engine, biased):
    start = changed(begun(), {table: getattr(begun(), table).astype(np.float32) for table in TABLES})
    model = sgd(TRAIN, 3, start=start, biased=biased, epochs=2, **settings(engine))
    assert model.mean == 3.25
    for table in TABLES:
        before, after = getattr(start, table), getattr(model, table)
        unrated = 3 if table.startswith("user") else 2
        trained = (TRAIN.user_counts if table.startswith("user") else TRAIN.item_counts) > 0
        np.testing.assert_array_equal(after[:unrated], before[:unrated])
        if biased or "factors" in table:
            assert (after[trained] != before[trained]).all()
        else:
            np.testing.assert_array_equal(after, before)


@EACH
def test_a_start_goes_on_where_it_stopped(engine):
    options = dict(lr=0.02, reg=0.1, **settings(engine, 16))
    half = sgd(FEW, 3, epochs=10, **options)
    models = half, sgd(FEW, 3, epochs=10, start=half, seed=1, **options), sgd(FEW, 3, epochs=20, **options)
    ends = [objective(model, FEW, 0.1) for model in models]
    assert ends[0] > 1.05 * ends[1]
    assert ends[2] == pytest.approx(ends[1], rel=0.02)


@EACH
@BIASED
def test_rows_without_a_rating_are_zero_and_cold(engine, biased):
    model = sgd(TRAIN, 3, biased=biased, epochs=2, **settings(engine))
    for table in TABLES:
        assert not getattr(model, table)[: 3 if table.startswith("user") else 2].any()
    users, items = np.arange(60)[:, None], np.arange(80)
    never = (TRAIN.user_counts == 0)[:, None] | (TRAIN.item_counts == 0)
    np.testing.assert_array_equal(model.cold(users, items), never)


@EACH
@BIASED
@pytest.mark.parametrize("k", [0, 3])
def test_factors_have_the_precision_of_the_engine(engine, biased, k):
    model = sgd(TRAIN, k, biased=biased, epochs=1, **settings(engine))
    wanted = np.float64 if engine == "loop" else np.float32
    assert {getattr(model, table).dtype for table in TABLES} == {np.dtype(wanted)}
    assert model.mean == pytest.approx(np.mean(TRAIN.values, dtype=np.float64), abs=1e-14)


@EACH
def test_a_seed_reproduces_and_another_differs(engine):
    one, again, other = (sgd(TRAIN, 3, epochs=2, seed=seed, **settings(engine)) for seed in (1, 1, 2))
    assert_equal(one, again)
    assert (one.user_factors != other.user_factors).any()


@EACH
def test_the_seed_orders_the_ratings_too(engine):
    one, other = (sgd(TRAIN, 3, start=begun(), epochs=2, seed=seed, **settings(engine)) for seed in (1, 2))
    assert (one.user_factors != other.user_factors).any()
    assert_close(one, other, 0.1)


@EACH
def test_no_global_generator_is_read_or_moved(engine):
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = sgd(TRAIN, 3, epochs=2, **settings(engine))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    torch.manual_seed(1)
    np.random.seed(1)
    assert_equal(sgd(TRAIN, 3, epochs=2, **settings(engine)), first)


@EACH
def test_the_drawn_start_has_the_asked_spread(engine):
    start = sgd(RATINGS, 20, init_std=0.3, lr=1e-9, epochs=1, **settings(engine))
    rated = start.user_factors[RATINGS.user_counts > 0], start.item_factors[RATINGS.item_counts > 0]
    for rows in rated:
        assert rows.std() == pytest.approx(0.3, rel=0.1)
        assert abs(rows.mean()) < 0.03


# -- watching and ending ---------------------------------------------------------------------------


@EACH
def test_watch_sees_the_factors_after_every_epoch(engine):
    seen = []
    model = sgd(TRAIN, 3, lr=0.02, epochs=4, watch=seen.append, **settings(engine))
    assert [type(factors) for factors in seen] == [Factors] * 4
    for epochs, factors in enumerate(seen, 1):
        assert_equal(factors, sgd(TRAIN, 3, lr=0.02, epochs=epochs, **settings(engine)))
    assert_equal(seen[-1], model)
    assert sorted((objective(factors, TRAIN, 0.02) for factors in seen), reverse=True) == [
        objective(factors, TRAIN, 0.02) for factors in seen
    ]


@EACH
def test_an_interruption_returns_the_factors_so_far(engine, capsys):
    seen = []

    def interrupted(factors):
        seen.append(factors)
        if len(seen) == 3:
            raise KeyboardInterrupt

    model = sgd(TRAIN, 3, epochs=10, watch=interrupted, **settings(engine))
    assert_equal(model, seen[-1])
    assert_equal(model, sgd(TRAIN, 3, epochs=3, **settings(engine)))
    assert capsys.readouterr().out == "interrupted in epoch 3: the factors so far are kept\n"


@BATCHED
def test_an_interruption_within_an_epoch_keeps_the_steps_so_far(engine, monkeypatch, capsys):
    start, home, name = begun(), *((torch.sparse, "sampled_addmm") if engine == "frozen" else (torch.Tensor, "sum"))
    once_a_batch, calls = getattr(home, name), []

    def interrupted(*arguments, **options):
        calls.append(0)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return once_a_batch(*arguments, **options)

    monkeypatch.setattr(home, name, interrupted)
    model = sgd(FEW, 3, start=start, lr=0.02, reg=0.1, **settings(engine))
    n_batches = -(-len(FEW) // 64)
    four = list(batches(engine, len(FEW), 1, n_batches))[:4]
    assert_close(model, by_hand(FEW, start, four, 0.02, Penalty(0.1), n_batches=n_batches), 1e-5)
    assert "interrupted in epoch 1" in capsys.readouterr().out


def test_other_errors_of_watch_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        sgd(TRAIN, 3, watch=lambda factors: 1 / 0, progress=False)


def test_nothing_is_shown_for_a_short_training(capsys):
    sgd(TRAIN, 3, epochs=2)
    assert capsys.readouterr() == ("", "")


# -- divergence ------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("lr", [5, 1e3])
def test_divergence_names_the_learning_rate(engine, lr):
    with pytest.raises(DivergenceError, match=rf"diverged in epoch \d+ at learning rate {lr:g}: .* Try a tenth"):
        sgd(TRAIN, 3, lr=lr, epochs=50, **settings(engine, 4))


@BATCHED
@pytest.mark.parametrize("lr", [0.1, 100])
def test_a_huge_batch_with_popular_items_does_not_diverge(engine, lr):
    assert TRAIN.item_counts.max() * lr > 2
    course = []
    sgd(
        TRAIN,
        3,
        lr=lr,
        reg=0.1,
        epochs=50,
        watch=lambda f: course.append(objective(f, TRAIN, 0.1)),
        **settings(engine, len(TRAIN)),
    )
    assert course == sorted(course, reverse=True)


@BATCHED
def test_it_would_diverge_if_steps_were_not_limited(engine, monkeypatch):
    monkeypatch.setattr(descent, "MOST_OF_THE_WAY", 1e9)
    with pytest.raises(DivergenceError, match=r"at learning rate 0\.1"):
        sgd(TRAIN, 3, lr=0.1, reg=0.1, epochs=50, **settings(engine, len(TRAIN)))


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(engine="fast"), "engine='fast': choose 'frozen', 'minibatch', 'loop'"),
        (dict(order="random"), "order='random': choose 'shuffled' or 'surprise'"),
        (dict(order="surprise"), "order='surprise' goes through .*: engine='loop', not 'frozen'"),
        (dict(order="surprise", engine="minibatch"), "engine='loop', not 'minibatch'"),
        (dict(engine="loop", batch_size=10), "batch_size=10: engine='loop' takes one rating at a time"),
        (dict(batch_size=0), "batch_size=0: a step needs at least one rating"),
        (dict(batch_size=64.0), r"batch_size=64\.0: give a whole number"),
        (dict(lr=0), "lr=0.0: the learning rate must be above 0 and finite"),
        (dict(lr=-0.1), "lr=-0.1: the learning rate must be above 0"),
        (dict(lr=float("nan")), "lr=nan: the learning rate"),
        (dict(lr=float("inf")), "lr=inf: the learning rate"),
        (dict(epochs=0), "epochs=0: factors from 0, epochs from 1"),
        (dict(epochs=2.0), r"epochs=2\.0: give a whole number"),
        (dict(n_factors=-1), "n_factors=-1, epochs=.*: factors from 0"),
        (dict(n_factors=2.5), r"n_factors=2\.5: give a whole number"),
        (dict(seed=0.5), r"seed=0\.5: give a whole number"),
        (dict(reg=-0.1), "reg=-0.1: a penalty needs finite numbers from 0"),
        (dict(start=begun(2)), r"start=.*k = 2.* does not fit .* with n_factors=3"),
        (
            dict(start=begun(3, Ratings([0], [0], [3], 61, 80, (1, 5, 1)))),
            "start=.*61 users.* does not fit",
        ),
        (dict(start=begun(3, Ratings([0], [0], [3], 60, 79, (1, 5, 1)))), "start=.*79 items.* does not fit"),
        (dict(device="nonsense"), "device='nonsense' is no device"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_trained(options, message, monkeypatch):
    def refused(*_):
        raise AssertionError("trained")

    for engine in (descent._Loop, descent._Frozen, descent.Minibatch):
        monkeypatch.setattr(engine, "epoch", refused)
    with pytest.raises(ValueError, match=message):
        sgd(TRAIN, **{"n_factors": 3, "progress": False, **options})


@EACH
def test_numbers_may_be_numpys(engine):
    size = {} if engine == "loop" else dict(batch_size=np.int32(64))
    numbers = dict(
        epochs=np.int64(2), lr=np.float32(0.25), reg=np.float64(0.5), seed=np.int64(7), init_std=np.float32(0.125)
    )
    plain = sgd(TRAIN, 3, epochs=2, lr=0.25, reg=0.5, seed=7, init_std=0.125, **settings(engine))
    assert_equal(sgd(TRAIN, np.int8(3), engine=engine, progress=False, **numbers, **size), plain)


@pytest.mark.parametrize("n", [1, 64, 10**9])
@BATCHED
def test_a_batch_may_be_larger_than_the_ratings(engine, n):
    few = TRAIN[:40]
    model = sgd(few, 3, start=begun(), epochs=1, lr=0.01, **settings(engine, n))
    n_batches = -(-len(few) // n)
    order = batches(engine, len(few), 1, n_batches)
    assert_close(model, by_hand(few, begun(), order, 0.01, Penalty(0.02), n_batches=n_batches), 1e-5)


# -- a graphics card -------------------------------------------------------------------------------


@BATCHED
@BIASED
def test_a_gpu_gives_what_the_processor_gives(engine, biased):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    options = dict(lr=0.02, reg=Penalty(0.5, 0.5, 0.1), biased=biased, epochs=5, **settings(engine))
    assert_close(sgd(TRAIN, 3, device="cuda", **options), sgd(TRAIN, 3, **options), 1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device='cuda' is not available here"):
        sgd(TRAIN, 3, device="cuda", progress=False)


@pytest.mark.parametrize("init_std", [-0.1, float("nan"), float("inf")])
def test_a_start_needs_a_finite_spread(init_std):
    with pytest.raises(ValueError, match="init_std="):
        sgd(TRAIN, 2, epochs=1, init_std=init_std)


@pytest.mark.parametrize("options", [{"reg": 1e4}, {"init_std": 4, "lr": 0.1}, {"reg": 1e30}])
@pytest.mark.parametrize("engine", ["minibatch", "frozen"])
def test_what_blows_up_in_the_last_steps_is_no_result(engine, options):
    """The error of an epoch is measured before its steps, so it still looks sound."""
    settings = {"engine": engine, "epochs": 1, "batch_size": 50} | options
    try:
        factors = sgd(TRAIN, 8, **settings)
    except DivergenceError:
        return
    assert np.abs(factors.predict(TRAIN.users, TRAIN.items) - TRAIN.values).mean() < 400


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"start": object()}, "start=object"),
        ({"n_factors": True}, "n_factors=True"),
        ({"engine": "loop", "device": "meta"}, "meta"),
        ({"device": "nonsense"}, "nonsense"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        sgd(TRAIN, **{"n_factors": 2, "epochs": 1} | options)


@pytest.mark.parametrize("engine", ["loop", "minibatch", "frozen"])
def test_auto_is_a_device_for_every_engine(engine):
    assert sgd(TRAIN, 2, epochs=1, engine=engine, device="auto").n_factors == 2


def test_frozen_batches_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("mfhelpers.algorithms.sgd.MOST_KEPT", 1000)
    with pytest.raises(ValueError, match=r"batch_size=1: each of .* frozen batches keeps"):
        sgd(TRAIN, 2, epochs=1, batch_size=1)


@EACH
@BIASED
def test_every_engine_tells_the_same_error_of_its_factors(engine, biased, monkeypatch):
    told = []

    def sound(steps, train, lr):
        factors = steps.factors()
        told.append((steps.error(factors, train), factors))
        return factors

    monkeypatch.setattr(descent, "sound", sound)
    sgd(TRAIN, 3, start=begun(), biased=biased, epochs=2, lr=0.01, **settings(engine))
    error, factors = told[-1]
    expected = np.abs(factors.predict(TRAIN.users, TRAIN.items) - TRAIN.values).mean()
    assert error == pytest.approx(expected, abs=1e-5)
