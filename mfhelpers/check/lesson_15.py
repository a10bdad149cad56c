"""The exercises to lesson 15: a perceptron, a masked loss, candidates, hits with ties, and the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data.ratings import Ratings
from .feedback import Either, Together, cases, exercise, fail, require, untouched

Layers = Sequence[tuple[np.ndarray, np.ndarray]]
ALIKE = 4.5  # standard errors by which the share of a film among candidates may be off


@exercise(1, "a perceptron by hand")
def a_perceptron_by_hand(perceptron: Callable, seed: int = 0) -> str:
    """One layer and two by hand, and random networks of one to four layers."""
    with Together() as same:
        one = [(np.array([[2.0, -1.0]]), np.array([0.5]))]
        _perceptron(same, perceptron, np.array([[1.0]]), np.array([[4.0]]), one, "one layer, 2 · 1 - 1 · 4 + 0.5")
        two = [(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(2)), (np.array([[1.0, 1.0]]), np.zeros(1))]
        _perceptron(same, perceptron, np.array([[3.0], [1.0]]), np.array([[1.0], [4.0]]), two, "|p - q| in two layers")
        for number, rng in enumerate(cases(seed)):
            n, k, depth = int(rng.integers(3, 8)), int(rng.integers(1, 4)), 1 + number % 4
            sizes = [2 * k] * 2 + [2 * k] * depth if number % 3 == 0 else [2 * k, *rng.integers(2, 6, depth)]
            layers = [
                (rng.normal(size=(b, a)), rng.normal(size=b)) for a, b in zip(sizes[:depth], sizes[1:], strict=False)
            ][:-1]
            layers.append((rng.normal(size=(1, len(layers[-1][1]) if layers else 2 * k)), rng.normal(size=1)))
            _perceptron(
                same,
                perceptron,
                rng.normal(size=(n, k)),
                rng.normal(size=(n, k)),
                layers,
                f"a network of {len(layers)} layers",
            )
    return "one layer and two by hand, 20 random networks"  # fmt: skip


def _perceptron(same: Together, answer: Callable, p: np.ndarray, q: np.ndarray, layers: Layers, what: str) -> None:
    given = p.copy(), q.copy(), [(A.copy(), c.copy()) for A, c in layers]
    got = answer(*given)
    untouched(given[0], p, "p")
    untouched(given[1], q, "q")
    for (A, c), (before, bias) in zip(given[2], layers, strict=True):
        untouched(A, before, "a layer's weights")
        untouched(c, bias, "a layer's bias")

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def run(
        x: np.ndarray, act: Callable = relu, last: Callable | None = None, bias: float = 1.0, to: int = -1
    ) -> np.ndarray:
        for A, c in layers[:-1]:
            x = act(x @ A.T + bias * c)
        x = x @ layers[-1][0].T + bias * layers[-1][1]
        return (x if last is None else last(x))[:, 0]

    both = np.concatenate([p, q], axis=1)
    late = both
    for A, c in layers[:-1]:
        late = relu(late @ A.T) + c
    first = both
    for number, (A, c) in enumerate(layers):
        first = relu(first @ A.T + c) if number == 0 and len(layers) > 1 else first @ A.T + c
    same.agree(
        got, run(both), what,
        {
            "The last layer has no ReLU: a prediction may be negative.": run(both, last=relu),
            "Between layers stands a ReLU: without it, all layers together are one.": run(both, act=lambda x: x),
            "p comes first, then q.": run(np.concatenate([q, p], axis=1)),
            "The bias comes before the ReLU: ReLU(x Aᵀ + c).": (late @ layers[-1][0].T + layers[-1][1])[:, 0],
            "The biases c are missing.": Either([run(both, bias=0.0), (both @ layers[0][0].T)[:, 0] if len(layers) == 1 else run(both, bias=0.0)]),
            "The biases come with a minus.": run(both, bias=-1.0),
            "Only the first layer has its ReLU: every one but the last.": first[:, 0],
            "A sigmoid, or a tanh? ReLU is asked for, max(0, x).": Either([run(both, act=lambda x: 1 / (1 + np.exp(-x))), run(both, act=np.tanh)]),
            "The absolute value? ReLU is max(0, x).": run(both, act=np.abs),
            "The ReLU keeps the negative side here: max(0, x).": run(both, act=lambda x: np.minimum(x, 0)),
            "A number for each pair: shape (n,), the last layer's only column.": Either([run(both)[:, None], run(both)[None]]),
            "That is the product p · q: the layers are what is asked for.": (p * q).sum(axis=1),
            "The first pair alone: all n rows go through at once.": run(both)[:1],
            "Summed over the pairs: one number for each.": run(both).sum(),
        },
        cause="x = [p, q]; for each layer but the last x = max(0, x Aᵀ + c); at last x Aᵀ + c. Print the shapes for the first case.",
    )  # fmt: skip


@exercise(2, "a loss that sees rated places only")
def a_loss_that_sees_rated_places_only(loss: Callable, seed: int = 0) -> str:
    """Three ratings by hand, ratings of exactly 0, nans in empty places, and random tables."""
    with Together() as same:
        R, rated = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[True, True], [False, True]])
        _loss(same, loss, R, rated, np.array([[2.0, 1.0], [9.0, 1.0]]), [np.array([[1.0, 2.0]])], 0.5,
              "residuals 1, 0 and 3, outputs 2, 1 and 1, weights 1 and 2, reg 0.5")  # fmt: skip
        for number, rng in enumerate(cases(seed)):
            shape = int(rng.integers(2, 6)), int(rng.integers(2, 6))
            R, rated = rng.integers(-2, 3, shape).astype(float), rng.random(shape) < 0.6
            rated[0, 0], rated[0, 1] = True, False
            R[~rated] = np.nan if number % 2 else 0.0
            weights = [rng.normal(size=(2, 3)), rng.normal(size=(3,)), rng.normal(size=(3, 2))]
            _loss(same, loss, R, rated, rng.normal(size=shape), weights, float(rng.uniform(0.1, 1)), "random tables")
    return "three ratings by hand, 20 random tables, half of them with nans in empty places"


def _loss(
    same: Together, answer: Callable, R: np.ndarray, rated: np.ndarray, output: np.ndarray, weights: list, reg: float, what: str
) -> None:  # fmt: skip
    given = R.copy(), rated.copy(), output.copy(), [w.copy() for w in weights], reg
    got = answer(*given)
    for now, before, name in zip(given, (R, rated, output), ("R", "rated", "the output"), strict=False):
        untouched(now, before, name)
    known = np.where(rated, R, 0.0)
    squares, n = (output - known) ** 2, rated.sum()
    error, size = squares[rated].sum() / n, sum((w**2).sum() for w in weights)
    by_rows = np.mean([squares[row][rated[row]].mean() for row in range(len(R)) if rated[row].any()])
    nonzero = rated & (known != 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spoiled = ((output - R) ** 2 * rated).sum() / n + reg * size
        not_zero = squares[nonzero].mean() if nonzero.any() else np.nan
        hidden = ((output * rated - R) ** 2).sum() / n + reg * size
    same.agree(
        got, error + reg * size, f"the loss: {what}",
        {
            "A nan in an empty place: nan · 0 is nan. Pick the rated places, [rated], before the sum.": Either([spoiled, hidden]),
            "Empty places count here, as ratings of 0.": Either([squares.mean() + reg * size, squares.sum() / n + reg * size, squares.sum() + reg * size]),
            "The mean is over rated places: their number stands below.": squares[rated].sum() / rated.size + reg * size,
            "A rating may be exactly 0: `rated` says which places count, and R != 0 does not.": not_zero + reg * size,
            "The mean of the films' means: each rating counts the same.": by_rows + reg * size,
            "The mean of the squares, and not their sum.": squares[rated].sum() + reg * size,
            "Half of it? The mean of the squares is asked for.": error / 2 + reg * size,
            "The mean squared error, and not its root.": np.sqrt(error) + reg * size,
            "The absolute error? Its square is asked for.": np.abs(output - known)[rated].mean() + reg * size,
            "The penalty is missing.": error,
            "reg times the squares of *all* weights: yours has some of them.": Either([error + reg * (w**2).sum() for w in weights]),
            "The penalty has its weights unsquared.": Either([error + reg * sum(np.abs(w).sum() for w in weights), error + reg * sum(w.sum() for w in weights)]),
            "The penalty has the length of the weights, not its square.": Either([error + reg * np.sqrt(size), error + reg * sum(np.linalg.norm(w) for w in weights)]),
            "The penalty is a mean here: the sum of the squares is asked for.": Either([error + reg * sum((w**2).mean() for w in weights), error + reg * size / n]),
            "The penalty comes with a minus.": error - reg * size,
            "reg is missing: it multiplies the squares of the weights.": error + size,
            "A number for each place: one for all is asked for.": squares[rated] + reg * size,
        },
        cause="Σ over rated places of (output - R)², by their number, plus reg · Σ weights². Do it by hand for the first case.",
    )  # fmt: skip


@exercise(3, "candidates without a mistake")
def candidates_without_a_mistake(candidates: Callable, seed: int = 0) -> str:
    """Properties of the candidates on random choices, and over 300 seeds which films are drawn."""
    for rng in cases(seed):
        train, test = _choices(rng)
        n = int(rng.integers(2, 5))
        state = repr(np.random.get_state())
        got = candidates(train, test, n, int(rng.integers(1000)))
        require(repr(np.random.get_state()) == state, "NumPy's global generator after your answer", "untouched", "moved",
                "Draw from np.random.default_rng(seed): np.random.seed and .choice move what others draw from.")  # fmt: skip
        _require_candidates(got, train, test, n)
    train, test = _choices(np.random.default_rng([seed, 7]))
    first, again = (np.asarray(candidates(train, test, 3, 5)) for _ in range(2))
    require(np.array_equal(first, again), "two calls with one seed", "the same candidates", "others", "Use the seed that is given.")  # fmt: skip
    drawn = np.zeros((len(test), train.n_items))
    for number in range(300):
        others = np.asarray(candidates(train, test, 3, number))[:, 1:]
        np.add.at(drawn, (np.arange(len(test))[:, None], others), 1)
    free = np.ones(drawn.shape, bool)
    for row, user in enumerate(test.users):
        free[row, np.concatenate([train.items[train.users == user], test.items[test.users == user]])] = False
    share = 3 / free.sum(axis=1)
    off = np.abs(drawn - 300 * share[:, None]) / np.sqrt(300 * share * (1 - share))[:, None]
    cause = "Each free film has the same chance: rng.choice(free, n, replace=False)."
    if (drawn[free] == 300).any() or (drawn > 0).sum(axis=1).max() <= 3:
        cause = "The same films for every seed: draw them from np.random.default_rng(seed)."
    elif (drawn[free] == 0).any():
        cause = "Some free film is never drawn: does the range of your draw end too early? Films without a rating are free, too."
    require(
        off[free].max() < ALIKE, "how often each free film was drawn, in 300 draws", "about the same", drawn[0], cause
    )
    same_rows = np.mean(
        [len(set(map(tuple, np.sort(np.asarray(candidates(train, test, 3, s))[:, 1:], axis=1)))) for s in range(20)]
    )
    require(same_rows > 1.5, "candidates of different users", "drawn for each user", "the same for all",
            "One draw for everybody: draw anew for each test pair.")  # fmt: skip
    return "20 random sets of choices, 300 draws"


def _choices(rng: np.random.Generator) -> tuple[Ratings, Ratings]:
    """Training and test choices of a few users; one of them has two test choices; some films have none."""
    n_users, n_items = 6, 22
    chosen = [rng.choice(18, int(rng.integers(4, 7)), replace=False) for _ in range(n_users)]
    test = [(u, items[0]) for u, items in enumerate(chosen[:-1])] + [(0, chosen[0][1])]
    train = [(u, i) for u, items in enumerate(chosen) for i in (items[2:] if u == 0 else items[1:])]
    order = rng.permutation(len(test))
    parts = (np.array(train), np.array(test)[order])
    return tuple(Ratings(u, i, np.full(len(u), 4), n_users, n_items, (1, 5, 1)) for u, i in (part.T for part in parts))  # pyrefly: ignore


def _require_candidates(got: Any, train: Ratings, test: Ratings, n: int) -> None:
    require(got is not None, "the candidates", "an array", got, "Nothing came back: does the function end in `return`?")
    got = np.asarray(got)
    shape = (len(test), n + 1)
    cause = "A row for each test pair: its item first, then n others."
    if got.shape == shape[::-1]:
        cause = "Turned: a row for each test pair."
    elif got.shape == (len(test), n):
        cause = "The test item itself is missing: it comes first."
    require(got.shape == shape, "the shape of the candidates", str(shape), str(got.shape), cause)
    require(got.dtype.kind in "iu", "the candidates", "whole numbers of films", got.dtype, "Films are numbers: did an array of floats take them in?")  # fmt: skip
    first = "The test item comes first in its row, and rows are in the order of `test`."
    if np.array_equal(np.sort(got[:, 0]), np.sort(test.items)):
        first = "Rows are in the order of `test.users` as they come: were they sorted?"
    require(np.array_equal(got[:, 0], test.items), "the first column", test.items, got[:, 0], first)
    for user, row in zip(test.users, got, strict=True):
        others = row[1:]
        require((others >= 0).all() and (others < train.n_items).all(), "the other films", f"0 … {train.n_items - 1}", others, "There are n_items films, numbered from 0.")  # fmt: skip
        require(row[0] not in others, "the others of a row", "without its test item", row,
                "The positive is among the others: it can be ranked against itself.")  # fmt: skip
        require(len(set(others.tolist())) == n, "the others of a row", f"{n} different films", others,
                "A film is drawn twice: without replacement.")  # fmt: skip
        mine = train.items[train.users == user]
        require(not np.isin(others, mine).any(), "the others of a row", "films that the user has not chosen in training", others,
                "A film that the user has chosen in training: the model puts it first, and the test item looks bad.")  # fmt: skip
        also = test.items[test.users == user]
        require(not np.isin(others, also).any(), "the others of a row", "no other test item of this user", others,
                "A user may have several test items: one is no negative of the other.")  # fmt: skip


@exercise(4, "hits and ties")
def hits_and_ties(hit_rate: Callable, seed: int = 0) -> str:
    """Four users by hand, ties, nans, and random scores."""
    with Together() as same:
        scores = np.array([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [2.0, 2.0, 1.0], [2.0, 3.0, 1.0]])
        for k in (1, 2):
            _hits(same, hit_rate, scores, k, f"four users, three candidates, k = {k}")
        _hits(same, hit_rate, np.full((3, 5), 0.7), 3, "a model that gives everybody the same score")
        _hits(
            same,
            hit_rate,
            np.array([[np.nan, 1.0, 2.0], [np.nan] * 3, [2.0, 1.0, np.nan], [5.0, 1.0, 2.0]]),
            2,
            "scores that are nan",
        )
        for number, rng in enumerate(cases(seed)):
            n, m = int(rng.integers(8, 20)), int(rng.integers(4, 9))
            scores = rng.integers(0, 5, (n, m)).astype(float) if number % 2 else rng.normal(size=(n, m))
            scores[rng.random((n, m)) < 0.03] = np.nan
            _hits(same, hit_rate, scores, int(rng.integers(1, m)), "random scores")
    return "four users by hand, equal scores, nans, 20 random sets"


def _hits(same: Together, answer: Callable, scores: np.ndarray, k: int, what: str) -> None:
    given = scores.copy()
    got = answer(given, k)
    untouched(given, scores, "the scores")
    own, rest, whole = scores[:, :1], scores[:, 1:], np.isfinite(scores).all(axis=1)
    above, level = (rest > own).sum(axis=1), (rest == own).sum(axis=1)
    place = above + level

    def share(hit: np.ndarray) -> Any:
        return float(np.mean(hit))

    order = np.argsort(-scores, axis=1, kind="stable")
    backwards = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    upwards = np.argsort(scores, axis=1, kind="stable")
    same.agree(
        got, share((place < k) & whole), f"the hit rate: {what}",
        {
            "Ties count against the model: yours lets its test item win them, so that a constant model always hits.":
                Either([share((above < k) & whole), share((order[:, :k] == 0).any(axis=1) & whole)]),
            "A nan is neither above nor below: comparisons with it are False, and a broken model hits. Such a user is no hit.":
                Either([share(place < k), share((place < k) & ~np.isnan(own[:, 0]))]),
            "Both: ties go to the test item, and nans hit.": Either([share(above < k), share((order[:, :k] == 0).any(axis=1)), share((backwards[:, :k] == 0).any(axis=1))]),
            "One place too many: the first k places are 0 … k - 1 above it.": Either([share((place <= k) & whole), share(place <= k)]),
            "One place too few: k - 1 films may be above it.": Either([share((place < k - 1) & whole), share(place < k - 1)]),
            "The lowest scores come first here: the highest should.": Either([share(((rest < own).sum(axis=1) < k) & whole), share((upwards[:, :k] == 0).any(axis=1)), share(((rest <= own).sum(axis=1) < k) & whole), share((rest <= own).sum(axis=1) < k)]),
            "Half of a tie: all of it counts against the model.": Either([share((above + level / 2 < k) & whole), share(above + level / 2 < k)]),
            "How many hits? Their share is asked for.": float(((place < k) & whole).sum()),
            "In percent? A share between 0 and 1 is asked for.": 100 * share((place < k) & whole),
            "A number for each user: their mean is asked for.": ((place < k) & whole),
            "Users with a nan were left out: they count as no hit.": share((place < k)[whole]) if whole.any() else 0.0,
            "The first place alone? The first k.": Either([share((place < 1) & whole), share(place < 1)]),
            "By k: that is a precision. A user has one test item: hit, or no hit.": share((place < k) & whole) / k,
        },
        cause="How many of the others are at least as high as column 0? Fewer than k: a hit, if no score of the row is nan.",
        tolerance=1e-9,
    )  # fmt: skip


@exercise(5, "the best epoch")
def the_best_epoch(chosen_epoch: Callable, seed: int = 0) -> str:
    """Two runs by hand, ties, and random curves."""
    with Together() as same:
        valid, test = np.array([[0.2, 0.5, 0.4], [0.3, 0.1, 0.3]]), np.array([[0.1, 0.4, 0.6], [0.5, 0.2, 0.3]])
        _epochs(same, chosen_epoch, valid, test, "two runs of three epochs")
        for rng in cases(seed):
            shape = int(rng.integers(3, 6)), int(rng.integers(4, 8))
            valid = rng.integers(0, 6, shape) / 10
            _epochs(same, chosen_epoch, valid, rng.normal(0.5, 0.1, shape), "random curves")
    return "two runs by hand, 20 random sets of curves with ties"


def _epochs(same: Together, answer: Callable, valid: np.ndarray, test: np.ndarray, what: str) -> None:
    given = valid.copy(), test.copy()
    got = answer(*given)
    untouched(given[0], valid, "the validation scores")
    untouched(given[1], test, "the test scores")
    runs = np.arange(len(valid))
    at = valid.argmax(axis=1)
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    honest, best = test[runs, at].mean(), test.max(axis=1).mean()
    common = valid.mean(axis=0).argmax()
    if isinstance(got, (float, np.floating)):
        fail(what, "two numbers", got, "Two are asked for: (honest, optimistic).")
    same.agree(
        got, (honest, best), what,
        {
            "The other way round: (honest, optimistic).": (best, honest),
            "The epoch was chosen by the *test* score in both: that is the trap itself.": (best, best),
            "The epoch is the first best one: of equal validation scores, yours takes the last.": (test[runs, last].mean(), best),
            "Each run has its own best epoch: yours is the best of the mean curve.": Either([(test[:, common].mean(), best), (test[:, common].mean(), test.mean(axis=0).max())]),
            "The optimistic score is the mean of the runs' maxima, and not the maximum of the means.": (honest, test.mean(axis=0).max()),
            "The mean over runs, and not the best run: of the optimistic score.": (honest, test.max()),
            "The mean over runs, and not the best run.": Either([(test[runs, at].max(), test.max()), (test[runs, at].max(), best)]),
            "The validation score of the best epoch? Its *test* score is asked for.": Either([(valid.max(axis=1).mean(), best), (valid.max(axis=1).mean(), test.max(axis=1).mean())]),
            "Higher is better: yours takes the lowest.": Either([(test[runs, valid.argmin(axis=1)].mean(), test.min(axis=1).mean()), (test[runs, valid.argmin(axis=1)].mean(), best), (honest, test.min(axis=1).mean())]),
            "That is the last epoch: the best one by validation is asked for.": (test[:, -1].mean(), best),
            "test[:, epochs] takes all these epochs of every run: test[np.arange(n), epochs] pairs them.": (test[:, at].mean(), best),
            "The best run by validation was chosen, too: all runs count.": (test[np.unravel_index(valid.argmax(), valid.shape)], best),
            "A number for each run: their means are asked for.": Either([(test[runs, at], test.max(axis=1)), (test[runs, at], best)]),
            "Runs and epochs are exchanged: a run is a row.": (test[valid.argmax(axis=0), np.arange(valid.shape[1])].mean(), test.max(axis=0).mean()),
        },
        cause="honest: for each run the test score at the epoch of its best validation score, then the mean over runs. optimistic: the mean of the runs' best test scores.",
    )  # fmt: skip
