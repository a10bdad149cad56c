"""What the tests of `sgd` train: few ratings, a start, all engines."""

import numpy as np
import pytest

from mfhelpers import Factors, simulate_ratings
from mfhelpers.algorithms import sgd as descent
from mfhelpers.check import same

RATINGS, _ = simulate_ratings(60, 80, 1500)
TRAIN = RATINGS[(RATINGS.users > 2) & (RATINGS.items > 1)]  # users 0 to 2 and items 0 and 1 have no training rating
FEW = TRAIN[: len(TRAIN) // 2]
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")
EACH = pytest.mark.parametrize("engine", descent.ENGINES)
BATCHED = pytest.mark.parametrize("engine", ["frozen", "minibatch"])
BIASED = pytest.mark.parametrize("biased", [True, False], ids=["biased", "without biases"])


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


def changed(factors, tables) -> Factors:
    return Factors(factors.mean, **{table: getattr(factors, table) for table in TABLES} | tables)


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
