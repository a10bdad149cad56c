"""The numbers in the folded answers of the lessons' exercises, worked out again on real MovieLens.

Runs with --nbs=strict, as the lessons' own outputs do: it takes over a minute.
"""

from __future__ import annotations

import nbformat
import numpy as np
import pytest
import torch

import mfhelpers as mf
from mfhelpers import notebooks


@pytest.fixture(scope="module")
def parts(request, movielens_100k):
    if request.config.option.nbs != "strict":
        pytest.skip("runs with --nbs=strict")
    known, test = mf.random_split(movielens_100k, test=0.2, seed=0)
    train, valid = mf.random_split(known, test=0.1, seed=1)
    return known, train, valid, test


def names_of(lesson, up_to):
    """The names that a lesson's own cells define, up to the one that defines `up_to`."""
    names: dict = {}
    for cell in nbformat.read(notebooks.folder() / lesson, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if f"def {up_to}" in cell.source:
                return names


@pytest.fixture(scope="module")
def lesson_01(parts):
    return names_of("01_gradients.ipynb", up_to="train_model")


def answers(lesson):
    text = "".join(cell.source for cell in nbformat.read(notebooks.folder() / lesson, as_version=4).cells)
    return text[text.index("## Exercises") :]


def near(value, stated, lesson):
    """The value rounds to what the lesson states, give or take one in the last place."""
    assert stated in answers(lesson)
    places = len(stated.partition(".")[2])
    return abs(value - float(stated)) <= 1.001 * 10**-places


def test_lesson_00(parts):
    known, _, _, test = parts
    lesson = "00_movielens.ipynb"
    mu = known.values.mean(dtype=np.float64)
    user_means = np.bincount(known.users, known.values - mu, minlength=known.n_users) / known.user_counts
    assert near(np.sqrt(np.mean((mu + user_means[test.users] - test.values) ** 2)), "1.036", lesson)
    assert near(mf.rmse(mf.item_means(known), test), "1.023", lesson)

    ratings = mf.load_ratings("ml-100k")
    early, late = mf.time_split(ratings)
    assert near(mf.rmse(mf.average_biases(early, damping=5), late), "1.024", lesson)
    report = mf.cold_report(early, late)
    assert near(100 * report.with_cold_user / report.n_test, "85", lesson)

    fitting, held_back = mf.random_split(known, test=0.2, seed=1)
    curve = {d: mf.rmse(mf.average_biases(fitting, damping=d), held_back) for d in (0, 1, 2, 5, 10, 20)}
    assert min(curve, key=curve.get) == 5
    assert near(curve[5], "0.9467", lesson)
    assert near(curve[2], "0.9470", lesson)
    fitting, held_back = mf.random_split(known, test=0.1, seed=1)
    assert min((0, 1, 2, 5, 10, 20), key=lambda d: mf.rmse(mf.average_biases(fitting, damping=d), held_back)) == 2
    leaked = mf.rmse(mf.average_biases(ratings, damping=5), test)
    assert near(leaked, "0.916", lesson)
    assert near(mf.rmse(mf.average_biases(known, damping=5), test) - leaked, "0.024", lesson)


def test_lesson_01_half_a_saddle(lesson_01, parts):
    (P, Q), rng = lesson_01["start"](k=2, scale=0.1), np.random.default_rng(0)
    Q[:] = 0
    for _ in range(25):
        lesson_01["epoch"](P, Q, 0.03, rng)
    assert near(lesson_01["rmse"](P, Q, parts[2]), "0.985", "01_gradients.ipynb")


def test_lesson_01_hasty_step(lesson_01):
    train_model, mu, lesson = lesson_01["train_model"], lesson_01["mu"], "01_gradients.ipynb"

    def in_turns(P, Q, u, i, r, lr):
        P[u] = P[u] + lr * (r - mu - P[u] @ Q[i]) * Q[i]
        Q[i] = Q[i] + lr * (r - mu - P[u] @ Q[i]) * P[u]

    assert near(train_model(k=2, lr=0.03, epochs=25, step=lesson_01["hasty_step"])[2][-1, 1], "0.970", lesson)
    assert near(train_model(k=2, lr=0.03, epochs=25, step=in_turns)[2][-1, 1], "0.969", lesson)


def test_lesson_01_without_shuffling(lesson_01, monkeypatch):
    train, step = lesson_01["train"], lesson_01["step"]
    orders = {"0.965": np.lexsort((train.items, train.users)), "1.17": np.argsort(train.values, kind="stable")}
    for stated, order in orders.items():

        def ordered_epoch(P, Q, lr, rng, step=step, order=order):
            columns = (train.users, train.items, train.values)
            for u, i, r in zip(*(column[order].tolist() for column in columns), strict=True):
                step(P, Q, u, i, r, lr)

        monkeypatch.setitem(lesson_01, "epoch", ordered_epoch)
        score = lesson_01["train_model"](k=2, lr=0.03, epochs=25)[2][-1, 1]
        assert near(score, stated, "01_gradients.ipynb")


def test_lesson_01_price_on_large_numbers(lesson_01, parts):
    _, train, valid, _ = parts
    mu, lesson = lesson_01["mu"], "01_gradients.ipynb"

    def ridge_step(P, Q, u, i, r, lr, reg=0.1):
        p, q = P[u], Q[i]
        e = r - mu - p @ q
        P[u], Q[i] = p + lr * (e * q - reg * p), q + lr * (e * p - reg * q)

    assert near(lesson_01["train_model"](k=10, lr=0.03, epochs=12, step=ridge_step)[2][-1, 1], "0.943", lesson)
    assert near(mf.rmse(mf.average_biases(train, damping=5), valid), "0.949", lesson)


def test_lesson_02_rescue(parts):
    lesson = "02_autograd.ipynb"
    names = names_of(lesson, up_to="one_by_one")
    fake, mse = names["fake"], names["mse"]
    for lr in (0.01, 0.05):
        torch.manual_seed(0)
        model = names["MatrixFactorization"](1000, 1000)
        names["one_by_one"](model, torch.optim.SGD(model.parameters(), lr=lr), fake.to_tensors())
        after = mse(model, fake.to_tensors())
        assert near(after, "3.4", lesson) if lr == 0.01 else not after < 100

    fitting, held_back = mf.random_split(fake)
    model = mf.MatrixFactorization(1000, 1000, mean=2.5)
    mf.fit(model, fitting, epochs=50, lr=0.01)
    assert mf.rmse(model, fitting) ** 2 < 1e-6
    assert near(mf.rmse(model, held_back) ** 2, "1.53", lesson)


def test_lesson_02_simulated():
    lesson = "02_autograd.ipynb"
    ratings, truth = mf.simulate_ratings(seed=1)
    known, test = mf.random_split(ratings)
    train, valid = mf.random_split(known, test=0.1, seed=1)
    model = mf.MatrixFactorization(ratings.n_users, ratings.n_items, 5, mean=known.values.mean())
    mf.fit(model, train, valid, epochs=100, patience=3)
    assert near(mf.rmse(model, test), "0.96", lesson)
    assert near(mf.rmse(truth, test), "0.821", lesson)
    assert near(mf.rmse(mf.average_biases(known, damping=5), test), "0.923", lesson)


def test_lesson_02_quiet_column(parts):
    _, train, _, test = parts
    model = mf.MatrixFactorization(train.n_users, train.n_items, 2, mean=train.values.mean(dtype=np.float64))
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=0.005), torch.Generator().manual_seed(0)
    users, items, values = train.to_tensors()
    for _ in range(5):
        for batch in torch.randperm(len(values), generator=generator).split(1024):
            optimizer.zero_grad()
            (model(users[batch], items[batch])[:, None] - values[batch]).square().mean().backward()
            optimizer.step()
    assert near(model.predict(train.users, train.items).std(), "0.002", "02_autograd.ipynb")
    assert near(mf.rmse(model, test), "1.122", "02_autograd.ipynb")


def offsets(groups, rest, n, damping):
    return np.bincount(groups, rest, minlength=n) / np.maximum(np.bincount(groups, minlength=n) + damping, 1)


def test_lesson_03(parts):
    known, train, valid, _ = parts
    lesson, n_users, n_items = "03_biases.ipynb", train.n_users, train.n_items
    mu = train.values.mean(dtype=np.float64)

    def error(b_u, b_i):
        return np.sqrt(np.mean((mu + b_u[valid.users] + b_i[valid.items] - valid.values) ** 2))

    b_u = np.zeros(n_users)
    for _ in range(10):
        b_i = offsets(train.items, train.values - mu - b_u[train.users], n_items, 5)
        before, b_u = b_u, offsets(train.users, train.values - mu - b_i[train.items], n_users, 5)
    assert abs(b_u - before).max() < 0.01
    assert near(error(b_u, b_i), "0.948", lesson)

    one, other = mf.random_split(train, test=0.5, seed=0)
    fewer, more = np.sort([one.item_counts, other.item_counts], axis=0)
    biases = [mf.item_means(half, damping=5).item_biases for half in (one, other)]
    for films, stated in (((fewer > 0) & (more < 10), "0.39"), (fewer > 50, "0.93")):
        assert near(np.corrcoef(biases[0][films], biases[1][films])[0, 1], stated, lesson)

    plain = mf.average_biases(train)
    twice = offsets(train.users, train.values - mu, n_users, 0)
    assert near(error(twice, plain.item_biases), "0.975", lesson)
    assert near(error(plain.user_biases, plain.item_biases), "0.956", lesson)

    generous = mf.average_biases(known, damping=5).user_biases
    for factors, bound in ((mf.sgd(known, 2), 0.08), (mf.sgd(known, 2, biased=False, lr=0.02), None)):
        links = [abs(np.corrcoef(column, generous)[0, 1]) for column in factors.user_factors.T]
        assert max(links) < bound if bound else near(max(links), "0.92", lesson)


def test_lesson_04_peeking(parts):
    known, _, _, test = parts
    lesson = "04_regularization.ipynb"
    names = {"mf": mf, "known": known}
    for cell in nbformat.read(notebooks.folder() / lesson, as_version=4).cells:
        if cell.source.startswith("def train_one"):
            exec(cell.source, names)
    train_one, grid, chosen = names["train_one"], names["grid"], names["choice"].settings
    scores = [mf.rmse(train_one(known, **setting), test, clip=True) for setting in grid]
    peeked = grid[int(np.argmin(scores))]
    assert peeked == chosen == {"reg": 1.2, "power": 0.5}
    assert near(min(scores), "0.910", lesson)


def test_lesson_04_the_shrinking_catalogue(parts):
    _, train, valid, _ = parts

    def decayed(parameters):
        return torch.optim.Adam(parameters, lr=0.005, weight_decay=0.001)

    rare, popular = (train.item_counts > 0) & (train.item_counts < 5), train.item_counts > 100
    for options, stated in (
        ({"optimizer": decayed}, ("0.00007", "0.0004", "0.970")),
        ({"lr": 0.005, "reg": 0.1}, ("0.94", "0.83", "0.916")),
    ):
        model = mf.BiasedMatrixFactorization(train.n_users, train.n_items, 20)
        history = mf.fit(model, train, valid, epochs=10, **options)
        lengths = np.linalg.norm(model.to_factors().item_factors, axis=1)
        for value, number in zip(
            (lengths[rare].mean(), lengths[popular].mean(), history.valid_rmse[-1]), stated, strict=True
        ):
            assert near(value, number, "04_regularization.ipynb")


def test_lesson_05_unfair_race(parts):
    _, train, valid, _ = parts
    for name, stated in (("Adam", "0.926"), ("Adagrad", "1.043"), ("SGD", "1.125")):
        model = mf.BiasedMatrixFactorization(train.n_users, train.n_items, 10)
        optimizer = getattr(torch.optim, name)
        history = mf.fit(model, train, valid, epochs=10, optimizer=optimizer, lr=0.01, reg=0.1, batch_size=4096)
        assert near(history.valid_rmse[-1], stated, "05_optimizers.ipynb")
        assert near(history.valid_rmse[0], "1.128", "05_optimizers.ipynb")


def test_lesson_05_momentum_on_a_sparse_row():
    for sparse in (True, False):
        table = torch.nn.Embedding(3, 2, sparse=sparse)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1, momentum=0.9)
        rows = []
        for row in [1] + 10 * [2]:
            optimizer.zero_grad()
            table(torch.tensor([row])).sum().backward()
            optimizer.step()
            rows.append(table.weight[1, 0].item())
        assert all(after < before for before, after in zip(rows[:-1], rows[1:], strict=True))


def test_lesson_06_a_batch_that_is_too_large(parts):
    known, _, _, _ = parts
    options = {"engine": "minibatch", "batch_size": len(known), "lr": 0.05, "epochs": 20, "reg": 0.0}
    assert mf.rmse(mf.sgd(known, 20, **options), known) < 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mfhelpers.descent.MOST_OF_THE_WAY", 1e9)
        with pytest.raises(mf.DivergenceError):
            mf.sgd(known, 20, **options)


def test_lesson_07_the_forgotten_term(parts):
    _, train, valid, _ = parts
    lesson = "07_als.ipynb"
    rest = train.values.astype(np.float64) - train.values.mean(dtype=np.float64)

    def solve(own, other, features, n):
        rows = np.zeros((n, 10))
        for row in np.unique(own):
            F = features[other[own == row]]
            rows[row] = np.linalg.pinv(F.T @ F) @ (F.T @ rest[own == row])
        return rows

    Q = np.random.default_rng(0).normal(0, 0.3, (train.n_items, 10))
    for _ in range(5):
        P = solve(train.users, train.items, Q, train.n_users)
        Q = solve(train.items, train.users, P, train.n_items)
    none = np.zeros(train.n_users), np.zeros(train.n_items)
    factors = mf.Factors(train.values.mean(dtype=np.float64), *none, P, Q)
    assert near(mf.rmse(factors, train), "0.70", lesson)
    assert mf.rmse(factors, valid) > 5
    assert near(mf.rmse(factors, valid, clip=True), "1.17", lesson)
    rated = train.item_counts[train.item_counts > 0]
    assert 0.3 < (rated < 10).mean() < 0.4


def test_lesson_07_the_largest_rate_is_one_over_the_largest_eigenvalue():
    rng = np.random.default_rng(0)
    F = rng.normal(0, 1, (20, 4))
    A, b = F.T @ F + np.eye(4), rng.normal(0, 1, 4)
    values = np.linalg.eigvalsh(A)

    def left_after(eta, steps):
        x = np.zeros(4)
        for _ in range(steps):
            x -= eta * 2 * (A @ x - b)
        return np.linalg.norm(x - np.linalg.solve(A, b))

    assert left_after(1.02 / values.max(), 500) > 1
    assert left_after(0.98 / values.max(), 2000) < 1e-6
    constant = int(values.max() / values.min())
    assert left_after(0.5 / values.max(), 12 * constant) < 1e-4


def test_lesson_08_where_nothing_pays(parts):
    _, train, _, _ = parts
    base = mf.average_biases(train, damping=5)
    rest = train.values - base.predict(train.users, train.items)
    table = np.zeros((train.n_users, train.n_items))
    table[train.users, train.items] = rest
    largest = np.linalg.norm(table, 2)
    assert near(largest, "34.7", "08_svd.ipynb")
    with pytest.warns(UserWarning, match="no singular value is above"):
        assert not mf.soft_impute(train, 5, reg=1.001 * largest).item_factors.any()
    assert mf.soft_impute(train, 5, reg=0.99 * largest, sweeps=2, tolerance=0).item_factors.any()


def test_lesson_08_a_rotation(parts):
    _, train, _, _ = parts
    lowest, rng = mf.als(train, 5), np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(0, 1, (5, 5)))[0].astype(np.float32)
    sides = lowest.user_factors @ turn, lowest.item_factors @ turn
    turned = mf.Factors(lowest.mean, lowest.user_biases, lowest.item_biases, *sides)
    assert turned.rms_difference(lowest) < 1e-5
    penalty = mf.Penalty(1.4, 0.5)
    assert mf.objective(turned, train, penalty) == pytest.approx(mf.objective(lowest, train, penalty), rel=1e-5)
    tops = [np.argsort(-factors.item_factors[:, 0])[:5].tolist() for factors in (lowest, turned)]
    assert tops[0] != tops[1]


def test_lesson_08_one_price_for_all_sizes(parts):
    _, train, _, _ = parts
    for rows, k, stated in ((train.n_users, 2, "0.31"), (train.n_users, 50, "0.012"),
                            (train.n_items, 2, "0.17"), (train.n_items, 50, "0.007")):  # fmt: skip
        assert near(0.008 * len(train) / (rows * k), stated, "08_svd.ipynb")


def test_lesson_08_a_leak_with_a_lower_price(movielens_100k, parts):
    for price, honest, leaked in ((60, "0.8972", "0.8966"), (10, "0.908", "0.905"), (3, "0.930", "0.924")):
        how = {"reg_implicit": price, "progress": False}
        algorithms = {
            "honest": lambda train, seed, how=how: mf.svdpp(train, seed=seed, **how),
            "leaked": lambda train, seed, how=how: mf.svdpp(train, seed=seed, implicit=movielens_100k, **how),
        }
        errors = mf.cross_validate(algorithms, movielens_100k, progress=False).table().rmse
        assert near(errors.honest, honest, "08_svd.ipynb")
        assert near(errors.leaked, leaked, "08_svd.ipynb")


def test_lesson_09_a_scale_too_narrow(parts):
    small = mf.load_ratings("ml-latest-small")
    train, test = next(iter(mf.kfold(small)))
    predicted = mf.from_surprise("SVD")(train).predict(test.users, test.items)
    for low in (0.5, 1):
        error = np.sqrt(np.mean((np.clip(predicted, low, 5) - test.values) ** 2))
        assert near(error, "0.882", "09_surprise.ipynb")
    assert predicted.min() > 1
    assert near(100 * (small.values < 1).mean(), "1.4", "09_surprise.ipynb")


def test_lesson_09_folds_over_cells(movielens_100k, parts):
    fold = np.random.default_rng(0).integers(0, 5, (movielens_100k.n_users, movielens_100k.n_items))
    sizes = np.bincount(fold[movielens_100k.users, movielens_100k.items])
    assert f"{sizes.min():,} to {sizes.max():,}" in answers("09_surprise.ipynb")


def test_lesson_09_svdpp_of_surprise(movielens_100k, parts):
    train, test = next(iter(mf.kfold(movielens_100k)))
    assert near(mf.rmse(mf.svdpp(train), test, clip=True), "0.897", "09_surprise.ipynb")
    assert near(mf.rmse(mf.from_surprise("SVDpp")(train), test, clip=True), "0.917", "09_surprise.ipynb")


def test_lesson_10_smoothing_and_a_falling_rate(parts):
    _, train, valid, _ = parts
    lesson, curves = "10_tensorboard.ipynb", []
    cosine = {"schedule": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)}
    for options in ({"lr": 0.01, "reg": 0.0}, {"lr": 0.01, "reg": 0.1}, {"lr": 0.02, "reg": 0.1, **cosine}):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = mf.BiasedMatrixFactorization(train.n_users, train.n_items, 20)
        history = mf.fit(model, train, valid, optimizer=torch.optim.Adam, epochs=20, **options)
        curves.append(np.array(history.valid_rmse))
    free, fixed, falling = curves
    smoothed, s = [], 0.0
    for t, value in enumerate(free, 1):
        s = 0.6 * s + 0.4 * value
        smoothed.append(s / (1 - 0.6**t))
    assert (np.argmin(free), np.argmin(smoothed)) == (2, 3)
    assert near(min(free), "0.950", lesson)
    assert near(min(smoothed), "0.977", lesson)
    for value, stated in ((falling[-1], "0.918"), (fixed.min(), "0.915"), (fixed[-1], "0.917")):
        assert near(value, stated, lesson)


def test_lesson_10_the_slope_by_sweep(parts):
    _, train, valid, _ = parts
    slopes = []

    def watch(factors):
        slopes.append(np.polyfit(factors.predict(valid.users, valid.items), valid.values, 1)[0])

    mf.als(train, 20, sweeps=20, watch=watch)
    assert np.argmin(np.abs(np.array(slopes) - 1)) == 0
    assert near(slopes[0], "1.015", "10_tensorboard.ipynb")
    assert near(slopes[-1], "1.14", "10_tensorboard.ipynb")
