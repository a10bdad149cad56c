"""The exercises to lesson 15: a perceptron, a masked loss, candidates, hits with ties, and the best epoch."""

from __future__ import annotations

import functools
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


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _run(
    x: np.ndarray, layers: Layers, act: Callable = _relu, last: Callable | None = None, bias: float = 1.0
) -> np.ndarray:
    for A, c in layers[:-1]:
        x = act(x @ A.T + bias * c)
    x = x @ layers[-1][0].T + bias * layers[-1][1]
    return (x if last is None else last(x))[:, 0]


def _with_relus(x: np.ndarray, layers: Layers, where: Callable[[int], bool]) -> np.ndarray:
    """Layers with a ReLU after those whose number is told so."""
    for number, (A, c) in enumerate(layers):
        x = x @ A.T + c
        x = _relu(x) if where(number) else x
    return x[:, 0]


def _perceptron_mistakes(p: np.ndarray, q: np.ndarray, layers: Layers) -> dict[str, Any]:
    both, n = np.concatenate([p, q], axis=1), len(layers)
    run = functools.partial(_run, layers=layers)
    late = both
    for A, c in layers[:-1]:
        late = _relu(late @ A.T) + c
    return {
        "With one layer the first is the last, without a ReLU: every layer *but the last* has one.": _with_relus(both, layers, lambda number: number == 0),
        "`squeeze()` also takes away the axis of pairs where there is one: `[:, 0]`.": run(both).squeeze(),
        "The ReLU stands at the end only: it belongs between layers, and not after the last.": run(both, act=lambda x: x, last=_relu),
        "One ReLU is missing, the one before the last layer.": _with_relus(both, layers, lambda number: number < n - 2),
        "The last layer has a bias, too.": run(both) - layers[-1][1][0],
        "Leaky? The negative side is exactly 0.": Either([run(both, act=lambda x, slope=slope: np.where(x > 0, x, slope * x)) for slope in (0.01, 0.1, 0.2)]),
        "The input has no ReLU.": run(_relu(both)),
        "p and q are interleaved: all of p, then all of q.": run(np.stack([p, q], axis=2).reshape(len(p), -1)),
        "The last layer has no ReLU: a prediction may be negative.": run(both, last=_relu),
        "Between layers stands a ReLU: without it, all layers together are one.": run(both, act=lambda x: x),
        "p comes first, then q.": run(np.concatenate([q, p], axis=1)),
        "The bias comes before the ReLU: ReLU(x Aᵀ + c).": (late @ layers[-1][0].T + layers[-1][1])[:, 0],
        "The biases c are missing.": run(both, bias=0.0),
        "The biases come with a minus.": run(both, bias=-1.0),
        "Only the first layer has its ReLU: every one but the last.": _with_relus(both, layers, lambda number: number == 0 and n > 1),
        "A sigmoid, or a tanh? ReLU is asked for, max(0, x).": Either([run(both, act=lambda x: 1 / (1 + np.exp(-x))), run(both, act=np.tanh)]),
        "The absolute value? ReLU is max(0, x).": run(both, act=np.abs),
        "The ReLU keeps the negative side here: max(0, x).": run(both, act=lambda x: np.minimum(x, 0)),
        "A number for each pair: shape (n,), the last layer's only column.": Either([run(both)[:, None], run(both)[None]]),
        "That is the product p · q: the layers are what is asked for.": (p * q).sum(axis=1),
        "The first pair alone: all n rows go through at once.": run(both)[:1],
        "Summed over the pairs: one number for each.": run(both).sum(),
    }  # fmt: skip


def _perceptron(same: Together, answer: Callable, p: np.ndarray, q: np.ndarray, layers: Layers, what: str) -> None:
    given = p.copy(), q.copy(), [(A.copy(), c.copy()) for A, c in layers]
    got = answer(*given)
    untouched(given[0], p, "p")
    untouched(given[1], q, "q")
    kept = [one for layer in layers for one in layer]
    now = [one for layer in given[2] for one in layer]
    same_layers = len(now) == len(kept) and all(
        np.array_equal(one, other) for one, other in zip(now, kept, strict=False)
    )
    require(same_layers, "the layers after your answer", f"{len(layers)} as they were", f"{len(given[2])}",
            "They were changed, and belong to the caller: `pop`, `*=` and `+=` work in place. Loop over them.")  # fmt: skip
    require(not getattr(got, "requires_grad", False), "the predictions", "plain numbers", "a tensor with a gradient", "`.detach()` takes the gradient off.")  # fmt: skip

    same.agree(
        got, _run(np.concatenate([p, q], axis=1), layers), what, _perceptron_mistakes(p, q, layers),
        cause="x = [p, q]; for each layer but the last x = max(0, x Aᵀ + c); at last x Aᵀ + c. Print the shapes for the first case.",
    )  # fmt: skip


@exercise(2, "a loss that sees rated places only")
def a_loss_that_sees_rated_places_only(loss: Callable, seed: int = 0) -> str:
    """Three ratings by hand, ratings of exactly 0, nans in empty places, and random tables."""
    with Together() as same:
        R, rated = np.array([[1.0, 0.0], [7.0, 3.0]]), np.array([[True, True], [False, True]])
        _loss(same, loss, R, rated, np.array([[2.0, 0.0], [9.0, 1.0]]), [np.array([[1.0, 2.0]])], 0.3,
              "ratings 1, 0 and 3, outputs 2, 0 and 1, weights 1 and 2, reg 0.3")  # fmt: skip
        for number, rng in enumerate(cases(seed)):
            shape = int(rng.integers(2, 6)), int(rng.integers(2, 6))
            R, rated = rng.integers(-2, 3, shape).astype(float), rng.random(shape) < 0.6
            rated[0, 0], rated[0, 1] = True, False
            R[~rated] = np.nan if number % 2 else 0.0
            weights = [rng.normal(size=(2, 3)), rng.normal(size=(3,)), rng.normal(size=(3, 2))]
            output = rng.normal(size=shape) if number % 3 else rng.integers(-2, 3, shape).astype(float)
            _loss(same, loss, R, rated, output, weights, float(rng.uniform(0.1, 1)), "random tables")
    return "three ratings by hand, 20 random tables, half of them with nans in empty places"


def _loss(
    same: Together, answer: Callable, R: np.ndarray, rated: np.ndarray, output: np.ndarray, weights: list, reg: float, what: str
) -> None:  # fmt: skip
    given = R.copy(), rated.copy(), output.copy(), [w.copy() for w in weights], reg
    got = answer(*given)
    for now, before, name in zip(given, (R, rated, output), ("R", "rated", "the output"), strict=False):
        untouched(now, before, name)
    spared = len(given[3]) == len(weights) and all(
        np.array_equal(a, b) for a, b in zip(given[3], weights, strict=False)
    )
    require(spared, "the weights after your answer", "as they were", "others",
            "They were changed, and belong to the caller: `*=` and `pop` work in place.")  # fmt: skip
    known = np.where(rated, R, 0.0)
    squares, n = (output - known) ** 2, rated.sum()
    error, size = squares[rated].sum() / n, sum((w**2).sum() for w in weights)
    by_rows = np.mean([squares[row][rated[row]].mean() for row in range(len(R)) if rated[row].any()])
    nonzero = rated & (known != 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spoiled = ((output - R) ** 2 * rated).sum() / n + reg * size
        not_zero = squares[nonzero].mean() if nonzero.any() else np.nan
        hidden = ((output * rated - R) ** 2).sum() / n + reg * size
        missed = [
            squares[some].mean() if some.any() else np.nan for some in (rated & (squares > 0), rated & (output != 0))
        ]
        by_columns = np.nanmean(
            np.where(rated, squares, 0).sum(axis=0) / np.where(rated.any(axis=0), rated.sum(axis=0), np.nan)
        )
        of_gaps = np.nanmean((output - R) ** 2)
    same.agree(
        got, error + reg * size, f"the loss: {what}",
        {
            "A nan in an empty place: nan · 0 is nan. Pick the rated places, [rated], before the sum.": Either([spoiled, hidden]),
            "A rated place may be predicted exactly: its 0 counts in the mean, and `rated` says so.": Either([one + reg * size for one in missed]),
            "Empty places need not be nan: `rated` says which places count.": of_gaps + reg * size,
            "These are the places that are *not* rated.": ((output - R)[~rated] ** 2).mean() + reg * size,
            "The square of the mean? Square first.": (output - known)[rated].mean() ** 2 + reg * size,
            "The mean of the users' means: each rating counts the same.": by_columns + reg * size,
            "reg is neither halved nor squared.": Either([error + reg / 2 * size, error + reg**2 * size, error + 2 * reg * size]),
            "Half of it? The sum of both is asked for.": (error + reg * size) / 2,
            "The penalty was divided by the number of ratings, too.": (squares[rated].sum() + reg * size) / n,
            "The penalty was added at each place: once for all.": Either([squares[rated].sum() + n * reg * size, error + n * reg * size]),
            "The penalty's square comes first, then the sum.": error + reg * sum(w.sum() ** 2 for w in weights),
            "Vectors are weights, too.": error + reg * sum((w**2).sum() for w in weights if w.ndim > 1),
            "The sum over the arrays, and not their mean.": error + reg * size / len(weights),
            "Empty places count here, as ratings of 0.": Either([((output - np.nan_to_num(R)) ** 2).mean() + reg * size, squares.mean() + reg * size, squares.sum() / n + reg * size, squares.sum() + reg * size]),
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
        elsewhere = np.isin(np.arange(train.n_items), np.concatenate([train.items, test.items]))
        if (free & elsewhere & (drawn == 0)).sum() > 0.5 * (free & elsewhere).sum():
            cause = "Films that *other* users have chosen are free for this one: ask by user what is taken."
    elif np.corrcoef(drawn.sum(axis=0), train.item_counts)[0, 1] > 0.8:
        cause = "Drawn by popularity? Each free film has the same chance."
    require(
        off[free].max() < ALIKE, "how often each free film was drawn, in 300 draws", "about the same", drawn[0], cause
    )
    pair = np.flatnonzero(test.users == 0)
    alike = np.mean(
        [len(set(np.asarray(candidates(train, test, 3, number))[pair, 1:].flat)) == 3 for number in range(60)]
    )
    require(alike < 0.2, "two test pairs of one user, in 60 draws", "hardly ever the same films", f"the same in {alike:.0%}",
            "Drawn anew for each test pair: make `rng` once, *before* the loop, and draw in each row.")  # fmt: skip
    common = np.mean([_shared(np.asarray(candidates(train, test, 3, number)), test) for number in range(60)])
    require(common < 1.2, "films that rows of different users share, in 60 draws", "about 0.6 of 3", f"{common:.1f}",
            "One order for everybody? Draw anew for each test pair.")  # fmt: skip
    return "20 random sets of choices, 300 draws"


def _shared(rows: np.ndarray, test: Ratings) -> float:
    """How many films two rows of different users share, on average."""
    pairs = [(a, b) for a in range(len(rows)) for b in range(a) if test.users[a] != test.users[b]]
    return float(np.mean([len(np.intersect1d(rows[a, 1:], rows[b, 1:])) for a, b in pairs]))


def _choices(rng: np.random.Generator) -> tuple[Ratings, Ratings]:
    """Training and test choices of a few users; one of them has two test choices; some films have none."""
    n_users, n_items = 6, 22
    chosen = [rng.choice(18, int(rng.integers(4, 7)), replace=False) for _ in range(n_users)]
    test = [(u, items[0]) for u, items in enumerate(chosen[:-1])] + [(0, chosen[0][1])]
    train = [(u, i) for u, items in enumerate(chosen) for i in (items[2:] if u == 0 else items[1:])]
    order = rng.permutation(len(test))
    parts = (np.array(train), np.array(test)[order])

    def part_of(pairs: np.ndarray) -> Ratings:
        return Ratings(pairs[:, 0], pairs[:, 1], rng.integers(1, 6, len(pairs)), n_users, n_items, (1, 5, 1))

    return part_of(parts[0]), part_of(parts[1])


def _require_candidates(got: Any, train: Ratings, test: Ratings, n: int) -> None:
    require(got is not None, "the candidates", "an array", got, "Nothing came back: does the function end in `return`?")
    got = np.asarray(got)
    shape = (len(test), n + 1)
    cause = "A row for each test pair: its item first, then n others."
    if got.shape == shape[::-1]:
        cause = "Turned: a row for each test pair."
    elif got.shape == (len(test), n):
        cause = "The test item itself is missing: it comes first."
        if np.array_equal(got[:, 0], test.items):
            cause = "n others *besides* the test item: n + 1 columns."
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
            scores[0, 1] = -np.inf
            _hits(same, hit_rate, scores, int(rng.integers(1, m + 1)), "random scores")
    return "four users by hand, equal scores, nans, 20 random sets"


def _hits(same: Together, answer: Callable, scores: np.ndarray, k: int, what: str) -> None:
    given = scores.copy()
    got = answer(given, k)
    untouched(given, scores, "the scores")
    own, rest, whole = scores[:, :1], scores[:, 1:], ~np.isnan(scores).any(axis=1)
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
                Either([share(place < k), share((place < k) & ~np.isnan(own[:, 0])), share((place < k) & ~np.isnan(scores).all(axis=1)), share((place < k) & ~np.isnan(rest).any(axis=1))]),
            "A nan became a number: as plus infinity it comes first, and else it is anywhere. Such a user is no hit.":
                Either([share(_ahead(filled) < k) for filled in (np.where(np.isnan(scores), np.inf, scores), np.where(np.isnan(scores), -np.inf, scores), np.where(np.isnan(scores), -1, scores), np.nan_to_num(scores))]),
            "Only the rows with a nan are no hit, and not all rows.": 0.0 if np.isnan(scores).any() else share((place < k) & whole),
            "A tie is a place lost, and not the whole hit.": share((place < k) & whole & (level == 0)),
            "Equal scores of different films count one by one.": share((np.array([len(np.unique(r[r >= o])) for r, o in zip(rest, own, strict=True)]) < k) & whole),
            "k is given.": share((place < 10) & whole),
            "That is a reciprocal rank: a hit counts 1, wherever it stands.": float((((place < k) & whole) / (place + 1)).mean()),
            "By the number of rows: each has one test item.": float(((place < k) & whole).sum() / scores.size),
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
    )  # fmt: skip


def _ahead(scores: np.ndarray) -> np.ndarray:
    return (scores[:, 1:] >= scores[:, :1]).sum(axis=1)


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
            "valid and test are exchanged.": Either([(valid[runs, test.argmax(axis=1)].mean(), valid.max(axis=1).mean())]),
            "optimistic is the mean of the best *test* scores.": Either([(honest, valid.max(axis=1).mean()), (honest, valid[runs, test.argmax(axis=1)].mean())]),
            "The maximum within each run: axis=1.": (honest, test.max(axis=0).mean()),
            "The mean over runs, and not their sum.": Either([(test[runs, at].sum(), test.max(axis=1).sum())]),
            "The mean over runs, and not the median.": (np.median(test[runs, at]), np.median(test.max(axis=1))),
            "All runs count, and not the first alone.": Either([(test[0, at[0]], test[0].max()), (test[0, at[0]], best)]),
            "Epochs count from 0: take argmax as it is.": Either([(test[runs, np.minimum(at + 1, valid.shape[1] - 1)].mean(), best), (test[runs, at - 1].mean(), best)]),
            "Of equal validation scores the *first* counts, and not their mean, best or worst.":
                Either([(np.mean([t[v == v.max()].mean() for v, t in zip(valid, test, strict=True)]), best), (np.mean([t[v == v.max()].max() for v, t in zip(valid, test, strict=True)]), best),
                        (np.mean([t[v == v.max()].min() for v, t in zip(valid, test, strict=True)]), best), (test[valid == valid.max(axis=1, keepdims=True)].mean(), best)]),
            "Optimistic looks at all epochs, also after the chosen one.": (honest, np.mean([t[: e + 1].max() for t, e in zip(test, at, strict=True)])),
            "The score itself, and not the difference.": (honest, best - honest),
            "That is the epoch's number: the score at it is asked for.": Either([(at.mean(), best), (at.mean(), test.argmax(axis=1).mean())]),
            "argmax without an axis finds one place in all runs: axis=1.": (test.ravel()[valid.argmax()], test.max()),
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
