"""The exercises to lesson 09: what a comparison can tell, and an entry of one's own."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ..algorithms import baselines
from ..data import splits
from ..data.ratings import Ratings
from ..models import metrics
from ..models.truth import simulate_ratings
from .feedback import Together, agree, cases, exercise, fail, guessed, require, some_ratings
from .lesson_08 import KEYS


@exercise(1, "read a table", found=45)
def read_a_table(guess: Any, turned: Callable, seed: int = 0) -> str:
    """Shares of turned orders: by hand for three splits, then random errors."""
    guessed(guess, (5, 25, 45))
    by_hand = np.array([0.92, 0.95, 0.99]), np.array([0.91, 0.95, 0.96])
    with Together() as same:
        _turned(same, turned, *by_hand, "the shares for 0.92, 0.95, 0.99 against 0.91, 0.95, 0.96")
        for rng in cases(seed):
            hard = rng.normal(0, 0.01, int(rng.integers(3, 9)))
            one, other = 0.9 + hard + rng.normal(0, 0.008, (2, len(hard)))
            _turned(same, turned, one, other, "the shares for random errors")
    return "a case by hand, 20 at random"


def _turned(same: Together, turned: Callable, one: np.ndarray, other: np.ndarray, what: str) -> None:
    apart = np.subtract.outer(one, other) * np.sign(one.mean() - other.mean())
    diagonal, n = np.eye(len(one), dtype=bool), len(one)
    inside, outside = (apart[diagonal] < 0), (apart[~diagonal] < 0)
    right, raw = np.array([inside.mean(), outside.mean()]), np.subtract.outer(one, other)
    same.agree(
        turned(one.copy(), other.copy()), right, what,
        {
            "These are those that keep the order: turned are the others.":
                np.array([(apart[diagonal] > 0).mean(), (apart[~diagonal] > 0).mean()]),
            "Which of the two is lower on the whole differs: turned is what differs from the order of the two means.":
                np.array([(raw[diagonal] < 0).mean(), (raw[~diagonal] < 0).mean()]),
            "Which of the two is higher on the whole differs: turned is what differs from the order of the two means.":
                np.array([(raw[diagonal] > 0).mean(), (raw[~diagonal] > 0).mean()]),
            "Each split of `one` with each other split of `other`: here only those that come later.":
                np.array([right[0], (apart[np.triu_indices(n, 1)] < 0).mean()]),
            "Equal errors do not turn an order: below 0, not at 0.":
                np.array([(apart[diagonal] <= 0).mean(), (apart[~diagonal] <= 0).mean()]),
            "The order to be turned is that of the means, not that of most pairs.":
                np.array([min((raw[pairs] < 0).mean(), (raw[pairs] > 0).mean()) for pairs in (diagonal, ~diagonal)]),
            "The order to be turned is that of the means, not that of the medians.":
                np.array([(raw[pairs] * np.sign(np.median(one) - np.median(other)) < 0).mean()
                          for pairs in (diagonal, ~diagonal)]),
            "Only neighbouring splits are compared here: each with each other one.":
                np.array([right[0], (apart[np.arange(n), np.arange(n) - 1] < 0).mean()]),
            "Pairs of different splits leave out those of the same split.": np.array([right[0], (apart < 0).mean()]),
            "Of how many? There are n (n - 1) pairs of different splits.": np.array([right[0], outside.sum() / n**2]),
            "These are numbers of pairs: divide each by how many there are.": np.array([inside.sum(), outside.sum()]),
            "In per cent: a share is between 0 and 1.": 100 * right,
            "Different splits first? The same split comes first.": right[::-1],
        },
        cause="Write down the table of differences for three splits, and mark those of the other sign.",
    )  # fmt: skip


@exercise(2, "bug hunt: a scale too narrow", found="nothing")
def a_scale_too_narrow(guess: str, effect_of_the_slip: Callable, seed: int = 0) -> str:
    """What a limit that is too high does to the RMSE: two predictions by hand, then random ones."""
    guessed(guess, ("nothing", "a thousandth", "a hundredth"))
    test_part = Ratings([0, 0], [0, 1], [0.5, 4], 1, 2, (0.5, 5, 0.5))
    _slip(effect_of_the_slip, np.array([0.2, 4.0]), test_part, 1, "the effect if 0.2 and 4 are predicted for 0.5 and 4")
    for rng in cases(seed):
        values = rng.choice(np.arange(0.5, 5.5, 0.5), 30)
        test_part = Ratings(np.zeros(30, int), np.arange(30), values, 1, 30, (0.5, 5, 0.5))
        _slip(
            effect_of_the_slip,
            rng.normal(2.5, 1.8, 30),
            test_part,
            rng.choice([1.0, 1.5]),
            "the effect for random ratings",
        )
    return "two predictions by hand, 20 random test sets"


def _slip(effect_of_the_slip: Callable, predicted: np.ndarray, test_part: Ratings, low: float, what: str) -> None:
    values, right_low, high = test_part.values.astype(np.float64), test_part.scale.low, test_part.scale.high

    def error(at, top=high, values=values):
        return np.sqrt(np.mean((np.clip(predicted, at, top) - values) ** 2))

    wrong, right, n = error(low), error(right_low), int((predicted < low).sum())
    agree(
        effect_of_the_slip(predicted.copy(), test_part, low), np.array([wrong - right, n]), what,
        {
            "The sign: that of the slip minus the right one, so that a slip which harms is positive.": [right - wrong, n],
            "Squares: take the root of each mean before you subtract.": [wrong**2 - right**2, n],
            "The ratings were clipped, too: they stay as they are.":
                [error(low, values=np.clip(values, low, high)) - right, n],
            "The right one is clipped as well, to test.scale.": [wrong - error(-np.inf, np.inf), n],
            "Clip at the top of the scale, too, on both sides of the difference.":
                [error(low, np.inf) - error(right_low, np.inf), n],
            "How many *differ* between the two clippings?":
                [wrong - right, (np.clip(predicted, low, high) != predicted).sum()],
            "A number of predictions, not a share.": [wrong - right, n / len(test_part)],
            "Mean absolute errors: square, then average, then take the root.":
                [np.mean(np.abs(np.clip(predicted, low, high) - values))
                 - np.mean(np.abs(np.clip(predicted, right_low, high) - values)), n],
            "That is the RMSE with the slip: subtract the right one.": [wrong, n],
            "The other way round: first the difference of the RMSEs.": [n, wrong - right],
            "Those below the scale are counted: all below `low` differ between the two clippings.":
                [wrong - right, (predicted < right_low).sum()],
            "`low` is the limit of the slip, and not always 1.": [error(1) - right, int((predicted < 1).sum())],
        },
        cause="Clip twice, and compute an RMSE of each against the ratings as they are.",
    )  # fmt: skip


@exercise(3, "folds over cells", found=100)
def folds_over_cells(guess: Any, cell_folds: Callable, seed: int = 0) -> str:
    """Folds of small tables: each rating tested once, by the place of its cell and not that in the list."""
    guessed(guess, (10, 100, 1000))
    sizes = []
    for rng in cases(seed, 10):
        ratings, n_folds = some_ratings(rng, 16, 14), int(rng.integers(2, 5))
        folds, shuffled = (cell_folds(part, n_folds, 3) for part in (ratings, ratings[rng.permutation(len(ratings))]))
        require(isinstance(folds, (list, tuple)), "the folds", "a list of pairs (train, test)", type(folds).__name__,
                "Return a list: the folds are used more than once.")  # fmt: skip
        parts = [_numbers(fold, ratings) for fold in folds]
        require(len(parts) == n_folds, "the number of folds", n_folds, len(parts), "One pair (train, test) a fold.")
        everything, tested = _pairs(ratings), np.sort(np.concatenate([test for _, test in parts]))
        if not np.array_equal(tested, np.sort(everything)):
            cause = "Each rating is in one test part, whichever fold its cell has."
            if len(tested) == len(everything) * (n_folds - 1):
                cause = "Train and test are the other way round."
            fail("the ratings tested", f"each of {len(everything)} once", f"{len(tested)} in all", cause)
        for train, test in parts:
            require(np.array_equal(np.sort(np.r_[train, test]), np.sort(everything)), "train and test together",
                    "all ratings once", f"{len(train)} and {len(test)} of {len(everything)}",
                    "What a fold does not test, it trains on.")  # fmt: skip
        for one, other in zip(parts, (_numbers(fold, ratings) for fold in shuffled), strict=True):
            require(np.array_equal(np.sort(one[1]), np.sort(other[1])), "the folds if the list of ratings is shuffled",
                    "the same pairs in each", "others",
                    "These were drawn for each rating, in the order of the list. Draw for each cell of the table.")  # fmt: skip
        others = [_numbers(fold, ratings)[1] for fold in cell_folds(ratings, n_folds, 4)]
        require(any(len(a) != len(b) or (a != b).any() for a, b in zip([t for _, t in parts], others, strict=True)),
                "the folds of another seed", "others", "the same", "Hand the seed to the generator.")  # fmt: skip
        sizes += [[len(test) - len(ratings) / n_folds for _, test in parts]]
    widest = max(map(np.ptp, sizes))
    require(widest > 1, "the sizes of ten drawings", "of chance: some ratings more in one fold than in another", "all equal",
            "Equal sizes are those of folds over ratings. Draw over the cells, gaps included.")  # fmt: skip
    _each_cell_on_its_own(cell_folds, np.random.default_rng([seed, 10]))
    return "ten small tables: each rating tested once, and its fold is that of its cell"


def _each_cell_on_its_own(cell_folds: Callable, rng: np.random.Generator) -> None:
    """Ratings that share a user, a film or a badly made number must not always share a fold."""
    groups = {
        "A whole user goes to one fold here: draw for each cell on its own.": lambda users, items, *_: users,
        "A whole film goes to one fold here: draw for each cell on its own.": lambda users, items, *_: items,
    } | KEYS
    for n_users, n_items in ((14, 24), (24, 14)):
        ratings = some_ratings(rng, n_users, n_items)
        drawn = []
        for seed in range(8):
            fold_of = np.empty(n_users * n_items, int)
            for number, fold in enumerate(cell_folds(ratings, 4, seed)):
                fold_of[_numbers(fold, ratings)[1]] = number
            drawn.append(fold_of[_pairs(ratings)])
        for hint, key in groups.items():
            order = np.argsort(keys := key(ratings.users, ratings.items, n_users, n_items), kind="stable")
            shared = np.diff(keys[order]) == 0
            together = (np.diff(np.array(drawn)[:, order], axis=1) == 0).all(axis=0)
            require(
                not shared.any() or not together[shared].all(), "two cells that share a fold in eight drawings out of eight",
                "by chance, once in some thousands", f"in all of {shared.sum()} cases", hint,
            )  # fmt: skip


def _numbers(fold: Any, ratings: Ratings) -> tuple[np.ndarray, np.ndarray]:
    try:
        train, test = fold
        return _pairs(train), _pairs(test)
    except (TypeError, ValueError, AttributeError):
        fail("a fold", "two Ratings, (train, test)", type(fold).__name__, "Select by ratings[mask].")
    raise AssertionError


def _pairs(part: Ratings) -> np.ndarray:
    return part.users * part.n_items + part.items


@exercise(4, "Surprise's SVD++", found=60)
def svdpp_of_surprise(guess: Any, rows_added: Callable, seed: int = 0) -> str:
    """Rows that a loop and a product add up: counted one by one."""
    guessed(guess, (3, 15, 60))
    three_and_one = Ratings([0, 0, 0, 1], [0, 1, 2, 0], [5, 3, 1, 4], 3, 3, (1, 5, 1))
    parts = [("one user with three ratings, one with one", three_and_one)]
    parts += [("random ratings", some_ratings(rng)) for rng in cases(seed)]
    with Together() as same:
        for what, train in parts:
            films = {u: train.items[train.users == u] for u in range(train.n_users)}
            loop = sum(1 for u in train.users.tolist() for _ in films[u])
            right, n = np.array([loop, len(train)]), len(train)
            same.agree(
                rows_added(train), right, f"the rows added for {what}",
                {
                    "For each user once? The loop comes back for every rating of that user.": np.array([n, n]),
                    "Only the films that u has rated are added up, not all.": np.array([n * train.n_items, n]),
                    "These are squares of films' counts: N(u) is the films of a user.":
                        np.array([np.sum(train.item_counts**2), n]),
                    "All ratings for each rating? Only those of the same user.": np.array([n**2, n]),
                    "Product first? The loop comes first.": right[::-1],
                    "The rated film itself is in N(u), too.": np.array([loop - n, n]),
                    "Each pair of films once? The loop adds up all of N(u) at each of its ratings.":
                        np.array([(loop - n) / 2, n]),
                    "For each user all other users' rows? N(u) has the films of one user.": np.array([n * train.n_users, n]),
                    "That is the number of users: the product has a row for each rated pair.":
                        np.array([loop, train.n_users]),
                    "That is the number of films: the product has a row for each rated pair.":
                        np.array([loop, train.n_items]),
                    "Numbers, not rows: a row of k numbers is one row.": 20 * right,
                    "X has a number at each rated pair, so its product has one row for each of those.":
                        np.array([loop, train.n_users * train.n_items]),
                },
            )  # fmt: skip
    return "one case by hand, 20 at random, counted one by one"


@exercise(5, "enter your own")
def enter_your_own(settings: Any, method: Callable, seed: int = 0) -> str:
    """What an entry must have: settings, predictions that depend on the pair alone, and no sight of the test set."""
    require(isinstance(settings, (list, tuple)) and 1 <= len(settings) <= 3, "your settings", "a list of one to three",
            settings, "All entries choose among three.")  # fmt: skip
    names = sorted(set(_seen_from(method)))
    require(not names, "what your method can see", "`train` alone", ", ".join(names),
            "It names ratings from outside: those of the test set are among them. Take everything from `train`.")  # fmt: skip
    whole, _ = simulate_ratings(120, 80, 3000, seed=seed)
    train, test = splits.random_split(whole, seed=seed)
    train = train[(train.users != 0) & (train.items != 0)]  # a user and a film that nobody has met
    fits = [method(train, seed=seed, setting=setting) for setting in (settings[0], *settings)]
    require(all(hasattr(fit, "predict") for fit in fits), "what your method returns", "something with predict(users, items)",
            f"a {type(fits[0]).__name__}", "SimpleNamespace(predict=function) will do.")  # fmt: skip
    _one_each(fits[0], np.array([1, 2, 3]), np.array([1, 2, 3]))  # a few first: a table of all would be large
    users, items = np.indices((train.n_users, train.n_items)).reshape(2, -1)
    scores = [_one_each(fit, users, items) for fit in fits]
    _of_the_pair_alone(fits[0], scores[0], users, items)
    agree(scores[1], scores[0], "predictions after a second training with the same seed",
          cause="Hand the seed on to everything that draws; draw nothing without it.", tolerance=1e-4)  # fmt: skip
    equal = [n for n in range(1, len(settings)) if np.array_equal(scores[n], scores[n + 1])]
    require(not equal, "predictions of two settings", "different ones", "the same",
            "Does the method use `setting`?")  # fmt: skip
    mean = metrics.rmse(baselines.global_mean(train), test)
    for setting, fit in zip(settings, fits[1:], strict=True):
        error = metrics.rmse(fit, test, clip=True)
        require(error < mean, f"RMSE on simulated ratings with the setting {setting}", f"below the mean's, {mean:.3f}",
                f"{error:.3f}", "One constant does better. Do users and items come in the right order?")  # fmt: skip
    return f"an entry: {len(settings)} settings, a number for each pair that depends on that pair alone"


def _one_each(fit: Any, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    got = np.asarray(fit.predict(users, items), dtype=np.float64)
    require(got.shape == users.shape, "the shape of the predictions", users.shape, got.shape,
            "One number for each pair (users[j], items[j]), not a table.")  # fmt: skip
    unseen = "with the user or the film that has no training rating" if np.isnan(got[1:]).any() else ""
    require(bool(np.isfinite(got).all()), "predictions", "finite numbers", f"{int((~np.isfinite(got)).sum())} are not {unseen}",
            "What does it say of somebody, or of a film, without any training rating?")  # fmt: skip
    return got


def _of_the_pair_alone(fit: Any, scores: np.ndarray, users: np.ndarray, items: np.ndarray) -> None:
    backwards = np.asarray(fit.predict(users[::-1], items[::-1]), dtype=np.float64)
    some = slice(100, 103)
    few = np.asarray(fit.predict(users[some], items[some]), dtype=np.float64)
    for got, expected, what in (
        (backwards, scores[::-1], "in another order"),
        (few, scores[some], "for three pairs alone"),
    ):
        agree(got, expected, f"the predictions {what}", tolerance=1e-4,
              cause="A prediction depends on its user and its film, and not on what else is asked.")  # fmt: skip


def _seen_from(method: Callable) -> Iterator[str]:
    """Names of `Ratings` that a function reaches besides its arguments, and of what loads them."""
    waiting, known = [("", method)], set()
    while waiting:
        name, thing = waiting.pop()
        if id(thing) in known:
            continue
        known.add(id(thing))
        if isinstance(thing, Ratings):
            yield name
        elif isinstance(thing, (list, tuple, dict)):
            waiting += [(name, part) for part in list(thing.values() if isinstance(thing, dict) else thing)[:100]]
        elif isinstance(thing, FunctionType):
            code, outside = thing.__code__, thing.__globals__
            waiting += [(each, outside[each]) for each in _globals(code) if each in outside]
            waiting += zip(code.co_freevars, (cell.cell_contents for cell in thing.__closure__ or ()), strict=True)
            waiting += [("a default", default) for default in thing.__defaults__ or ()]
            if "load_ratings" in code.co_names:
                yield "load_ratings"


def _globals(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)
