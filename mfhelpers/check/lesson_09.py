"""The exercises to lesson 09: what a comparison can tell, and an entry of one's own."""

from __future__ import annotations

import contextlib
import dis
import functools
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


@exercise(1, "read a table", found=45)
def read_a_table(guess: Any, turned: Callable, seed: int = 0) -> str:
    """Shares of turned orders: by hand for three splits, then random errors."""
    guessed(guess, (5, 25, 45))
    by_hand = np.array([0.92, 0.94, 0.99]), np.array([0.91, 0.95, 0.96])
    with Together() as same:
        _turned(same, turned, *by_hand, "the shares for 0.92, 0.94, 0.99 against 0.91, 0.95, 0.96")
        for rng in cases(seed):
            hard = rng.normal(0, 0.01, int(rng.integers(3, 9)))
            one, other = 0.9 + hard + rng.normal(0, 0.008, (2, len(hard)))
            _turned(same, turned, one, other, "the shares for random errors")
    return "a case by hand, 20 at random"


def _turned(same: Together, turned: Callable, one: np.ndarray, other: np.ndarray, what: str) -> None:
    order, n = np.sign(one.mean() - other.mean()), len(one)
    raw, diagonal = np.subtract.outer(one, other), np.eye(n, dtype=bool)
    apart = raw * order

    def both(table):
        return table[diagonal].mean(), table[~diagonal].mean()

    inside, outside = apart[diagonal] < 0, apart[~diagonal] < 0
    right = both(apart < 0)
    one_partner = {
        f"Each split has one partner here{words}: there are n (n - 1) pairs of different splits.":
            (right[0], np.mean((one - np.roll(other, by)) * order < 0))
        for words, by in (("", 1), (", the next", -1))
    }  # fmt: skip
    by_median = raw * np.sign(np.median(one) - np.median(other))
    by_first = raw * np.sign(one[0] - other[0])
    got = turned(one.copy(), other.copy())
    same.agree(
        got, right, what,
        {
            "These are those that keep the order: turned are the others.": both(apart > 0),
            "These are the cases in which `one` is higher. Turned is what differs from the order of the two means, "
            "whichever of them is higher.": both(raw > 0),
            "These are the cases in which `one` is lower. Turned is what differs from the order of the two means, "
            "whichever of them is lower.": both(raw < 0),
            "Pairs of different splits leave out those of the same split.": (right[0], np.mean(apart < 0)),
            "Of how many? There are n (n - 1) pairs of different splits.": (right[0], outside.sum() / n**2),
            "These are numbers of pairs: divide each by how many there are.": (inside.sum(), outside.sum()),
            "In percent: a share is between 0 and 1.": (100 * right[0], 100 * right[1]),
            "Different splits first? The same split comes first.": right[::-1],
            "The order on the first split? What all splits tell is the order of the two means.": both(by_first < 0),
            "The order of the medians? What all splits tell is the order of the two means.": both(by_median < 0),
            "The smaller share of the two? More than half can turn the order of the means.":
                (min(right[0], 1 - right[0]), min(right[1], 1 - right[1])),
            "Nothing is turned? An absolute difference has lost its sign.": (0.0, 0.0),
            "Once they are sorted, equal places are no longer the same split.":
                both((np.subtract.outer(np.sort(one), np.sort(other)) * order) < 0),
            "That is half of the table: `one` on split 1 with `other` on split 2 is another pair than the reverse.":
                (right[0], np.mean(apart[np.triu_indices(n, 1)] < 0)),
            "`one` is compared with itself on other splits: the second share is also one of both models.":
                (right[0], np.mean((np.subtract.outer(one, one) * order)[~diagonal] < 0)),
            "The same share twice: the second is that of different splits.": (right[0], right[0]),
            **one_partner,
        } | _of_a_pair(
            got, right,
            {
                "The first is a share of the n splits, not of the whole table.": inside.sum() / n**2,
                "The first are those that keep the order: turned are the others.": 1 - right[0],
                "The first is a number of splits: divide it by how many there are.": inside.sum(),
            },
            {
                "The second are those that keep the order: turned are the others.": 1 - right[1],
                "The second is a share of the n (n - 1) pairs of different splits, not of the whole table.":
                    outside.sum() / n**2,
                "The second is a number of pairs: divide it by how many there are.": outside.sum(),
            },
        ),
        cause="Write down the table of differences for three splits, and mark those of the other sign.",
    )  # fmt: skip


@exercise(2, "bug hunt: a scale too narrow", found="nothing")
def a_scale_too_narrow(guess: str, effect_of_the_slip: Callable, seed: int = 0) -> str:
    """What a limit that is too high does to the RMSE: three predictions by hand, then random ones on two scales."""
    guessed(guess, ("nothing", "a thousandth", "a hundredth"))
    with Together() as same:
        test = Ratings([0, 0, 0], [0, 1, 2], [0.5, 1, 5], 1, 3, (0.5, 5, 0.5))
        what = "the effect if 0.2, 1 and 4 are predicted for 0.5, 1 and 5"
        _slip(same, effect_of_the_slip, np.array([0.2, 1.0, 4.0]), test, 1, what)
        for rng in cases(seed, 14):
            _random_slip(same, effect_of_the_slip, rng, (0.5, 5, 0.5))
    with Together() as same:
        for rng in cases(seed, 6):
            _random_slip(same, effect_of_the_slip, rng, (1, 10, 1))
    return "three predictions by hand, 20 random test sets on two scales"


def _random_slip(same: Together, effect: Callable, rng: np.random.Generator, scale: tuple) -> None:
    values = rng.choice(np.arange(scale[0], scale[1] + 0.1, scale[2]), 30)
    test = Ratings(np.zeros(30, int), np.arange(30), values, 1, 30, scale)
    predicted, low = rng.normal(sum(scale[:2]) / 2, 0.4 * scale[1], 30), scale[0] + float(rng.choice([0.5, 1.0]))
    what = f"the effect of a floor at {low:g} for random ratings of {scale[0]:g} to {scale[1]}"
    _slip(same, effect, predicted, test, low, what)


def _slip(same: Together, effect: Callable, predicted: np.ndarray, test: Ratings, low: float, what: str) -> None:
    values, bottom, top = test.values.astype(np.float64), test.scale.low, test.scale.high

    def error(at, top=top, guessed=predicted):
        return np.sqrt(np.mean((np.clip(guessed, at, top) - values) ** 2))

    def differ(at, bottom=bottom, top=top, guessed=predicted):
        return np.sum(np.clip(guessed, at, top) != np.clip(guessed, bottom, top))

    right, halves = (error(low) - error(bottom), int(np.sum(predicted < low))), np.round(2 * predicted) / 2
    got = effect(predicted.copy(), test, low)
    same.agree(
        got, right, what,
        {
            "The predictions are rounded to half stars: clip them, no more.":
                (error(low, guessed=halves) - error(bottom, guessed=halves), differ(low, guessed=halves)),
            "The limit of the slip is `low`, which is not always 1.": (error(1) - error(bottom), differ(1)),
            "The right limits are those of `test.scale`, which are not always 0.5 and 5.":
                (error(low, 5) - error(0.5, 5), differ(low, 0.5, 5)),
        } | _of_a_pair(
            got, right, _wrong_effects(predicted, values, low, bottom, top), _wrong_counts(predicted, test, low)
        ),
        cause="Clip twice, and compute an RMSE of each against the ratings as they are.",
    )  # fmt: skip


def _wrong_effects(
    predicted: np.ndarray, values: np.ndarray, low: float, bottom: float, top: float,
) -> dict[str, Any]:  # fmt: skip
    touched, rated = predicted < low, values >= low

    def error(at, top=top, values=values, some=slice(None), of=np.mean):
        return np.sqrt(of((np.clip(predicted[some], at, top) - values[some]) ** 2))

    def absolute(at):
        return np.mean(np.abs(np.clip(predicted, at, top) - values))

    def sd(at):
        return np.std(np.clip(predicted, at, top) - values)

    wrong, right = error(low), error(bottom)
    with np.errstate(invalid="ignore"):
        root_of_all = np.sqrt(wrong**2 - right**2)
        touched_alone = error(low, some=touched) - error(bottom, some=touched) if touched.any() else np.nan
    return {
        "The sign: that of the slip minus the right one, so that a slip which harms is positive.": right - wrong,
        "A slip may help as well: leave the difference its sign.": abs(wrong - right),
        "That compares the two clippings with each other: compare each with the ratings.":
            error(low, values=np.clip(predicted, bottom, top)),
        "Ratings below the limit are left out: an RMSE counts all test ratings.": error(low, some=rated) - right,
        "Ratings below the limit are left out of both: an RMSE counts all test ratings.":
            error(low, some=rated) - error(bottom, some=rated),
        "Squares: take the root of each mean before you subtract.": wrong**2 - right**2,
        "The root of a difference is not the difference of the roots: take each root first.": root_of_all,
        "That is the RMSE with the slip itself: subtract that with the right limits.": wrong,
        "That is the RMSE with the right limits: subtract it from that with the slip.": right,
        "A relative change? Subtract, and leave it in stars.": (wrong - right) / right,
        "In percent of the right one? Subtract, and leave it in stars.": 100 * (wrong - right) / right,
        "Absolute errors: the RMSE has squares, then their mean, then the root.": absolute(low) - absolute(bottom),
        "That is the standard deviation of the errors: their own mean counts as well.": sd(low) - sd(bottom),
        "Sums: the mean is missing below the root.": error(low, of=np.sum) - error(bottom, of=np.sum),
        "The ratings were clipped, too: they stay as they are.": error(low, values=np.clip(values, low, top)) - right,
        "The right one is clipped as well, to test.scale.": wrong - error(-np.inf, np.inf),
        "Clip at the top of the scale, too, on both sides of the difference.":
            error(low, np.inf) - error(bottom, np.inf),
        "Only the predictions that the slip touches are in the means: an RMSE counts all test ratings.": touched_alone,
        "The top is that of `test.scale`, which is not always 5.": error(low, 5) - right,
    }  # fmt: skip


def _wrong_counts(predicted: np.ndarray, test: Ratings, low: float) -> dict[str, Any]:
    touched, bottom, top = predicted < low, test.scale.low, test.scale.high
    return {
        "How many *differ* between the two clippings?": (np.clip(predicted, low, top) != predicted).sum(),
        "A number of predictions, not a share.": touched.sum() / len(test),
        "These are ratings below the limit: how many *predictions* differ?": (test.values < low).sum(),
        "A prediction of just the limit stays as it is under both.": (predicted <= low).sum(),
        "These are the predictions below the right limit. Those between the two differ as well.":
            (predicted < bottom).sum(),
        "These lie between the two limits. Those below both differ as well.":
            ((predicted >= bottom) & touched).sum(),
        "That is how many ratings there are: how many predictions differ?": len(test),
    }  # fmt: skip


def _of_a_pair(got: Any, right: tuple, firsts: dict[str, Any], seconds: dict[str, Any]) -> dict[str, tuple]:
    """Mistakes in the first of two results, whatever the second is, and in the second; or both exchanged."""
    try:
        one, other = got
        wrong = not np.isclose(one, right[0]), not np.isclose(other, right[1])
    except (TypeError, ValueError):
        return {}
    nothing = (np.nan, np.nan)  # if one of them alone is wrong, no mistake of the other explains it
    of_first = {hint: nothing if wrong == (False, True) else (value, other) for hint, value in firsts.items()}
    of_second = {hint: nothing if wrong == (True, False) else (one, value) for hint, value in seconds.items()}
    return (
        {"The other way round: see the docstring for which of the two comes first.": right[::-1]} | of_first | of_second
    )


@exercise(3, "folds over cells", found=100)
def folds_over_cells(guess: Any, cell_folds: Callable, seed: int = 0) -> str:
    """Folds of small tables: each rating tested once, by the place of its cell alone, each cell on its own."""
    guessed(guess, (10, 100, 1000))
    tables = [some_ratings(rng, *((25, 40), (40, 25))[n % 2]) for n, rng in enumerate(cases(seed, 10))]
    sizes, numbers = [], (3, 2, 4, 3, 2)
    for n, ratings in enumerate(tables):
        n_folds = numbers[n % 5]
        mine = _fold_of_each(cell_folds, ratings, n_folds, 3)
        require(np.array_equal(_fold_of_each(cell_folds, ratings, n_folds, 3), mine), "the folds of the same seed once more",
                "the same", "others", "Drawn without the seed: np.random.default_rng(seed) begins anew in each call.")  # fmt: skip
        shuffled = ratings[np.random.default_rng(n).permutation(len(ratings))]
        require(np.array_equal(_fold_of_each(cell_folds, shuffled, n_folds, 3), mine), "the folds if the list of ratings is shuffled",
                "the same pairs in each", "others",
                "These were drawn for each rating, in the order of the list. Draw for each cell of the table.")  # fmt: skip
        require(not np.array_equal(_fold_of_each(cell_folds, ratings, n_folds, 4), mine), "the folds of another seed",
                "others", "the same", "Hand the seed to the generator.")  # fmt: skip
        sizes.append(np.bincount(mine, minlength=n_folds))
    require(max(map(np.ptp, sizes)) > 1, "the sizes of ten drawings", "of chance: some ratings more in one fold than in another",
            "all equal", "Equal sizes are those of folds over ratings. Draw over the cells, gaps included.")  # fmt: skip
    for ratings in tables:
        kept = np.arange(len(ratings)) != np.argmin(_pairs(ratings))
        few, mine = ratings[kept], _fold_of_each(cell_folds, ratings, 3, 3)
        require(np.array_equal(_fold_of_each(cell_folds, few, 3, 3), mine[1:]), "the folds if one rating becomes a gap",
                "the same for all others", f"others, for {few.n_users} users and {few.n_items} films",
                "These were drawn for the rated cells alone, one after another. Draw for the gaps as well.")  # fmt: skip
    for rng, shape in zip(cases(seed, 2), ((27, 45), (45, 27)), strict=True):
        _each_cell_on_its_own(cell_folds, some_ratings(rng, *shape))
    return "small tables: each rating tested once, and its fold is that of its cell, drawn on its own"


def _fold_of_each(cell_folds: Callable, ratings: Ratings, n_folds: int, seed: int) -> np.ndarray:
    """Which fold tests each rating, in the order of users and films, if each is tested once."""
    try:
        folds = cell_folds(ratings, n_folds, seed)
    except ValueError as error:
        if "no rating in this selection" not in str(error):
            raise
        fail("a part of a fold", "ratings", "none", "No cell has the number of this fold: are both counted from 0 to "
             "n_folds - 1? (The second number of `integers` is not drawn.)")  # fmt: skip
    require(isinstance(folds, (list, tuple)), "the folds", "a list of pairs (train, test)", type(folds).__name__,
            "Nothing came back: does the function end in `return`?" if folds is None else
            "Return a list: the folds are used more than once.")  # fmt: skip
    parts = [_numbers(fold) for fold in folds]
    require(len(parts) == n_folds, "the number of folds", n_folds, len(parts),
            "Always five? The number is `n_folds`." if len(parts) == 5 else "One pair (train, test) a fold.")  # fmt: skip
    everything, tested = np.sort(_pairs(ratings)), np.sort(np.concatenate([test for _, test in parts]))
    if not np.array_equal(tested, everything):
        cause = "Each rating is in one test part, whichever fold its cell has."
        if len(tested) == len(everything) * (n_folds - 1):
            cause = "Train and test are the other way round."
        elif len(tested) < len(everything) and len(np.unique(tested)) == len(tested):
            cause = "Some cells have a number that no part asks for: are both counted from 0 to n_folds - 1?"
        elif len(tested) > len(np.unique(tested)):
            cause = "Some are tested twice, since each fold was drawn anew. Draw one number for each cell, once."
        fail("the ratings tested", f"each of {len(everything)} once", f"{len(tested)} in all", cause)
    for train, test in parts:
        cause = "What a fold does not test, it trains on."
        if len(train) == len(everything):
            cause = "All ratings are in train, those of the test part as well: leave them out."
        require(np.array_equal(np.sort(np.r_[train, test]), everything), "train and test together",
                "all ratings once", f"{len(train)} and {len(test)} of {len(everything)}", cause)  # fmt: skip
    mine = np.empty(len(everything), int)
    for fold, (_, test) in enumerate(parts):
        mine[np.searchsorted(everything, test)] = fold
    return mine


def _numbers(fold: Any) -> tuple[np.ndarray, np.ndarray]:
    cause = "Select by ratings[mask]."
    if isinstance(fold, Ratings):
        cause = "A test part alone: a fold is a pair, and train is all the rest."
    elif isinstance(fold, np.ndarray):
        cause = "A mask or numbers? ratings[mask] is a part, and a fold has two of them."
    else:
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            train, test = fold
            return _pairs(train), _pairs(test)
    fail("a fold", "two Ratings, (train, test)", type(fold).__name__, cause)


def _pairs(part: Ratings) -> np.ndarray:
    return part.users.astype(np.int64) * part.n_items + part.items


def _each_cell_on_its_own(cell_folds: Callable, ratings: Ratings, n_folds: int = 3, draws: int = 40) -> None:
    """Over many seeds: every fold as often, no two cells bound together, and no row or column dealt out evenly."""
    drawn = np.array([_fold_of_each(cell_folds, ratings, n_folds, 1009 * n) for n in range(draws)])
    users, items = np.divmod(np.sort(_pairs(ratings)), ratings.n_items)
    of_each = [(drawn == fold).astype(float) for fold in range(n_folds)]
    together = np.sum([those.T @ those for those in of_each], axis=0) / draws
    others, where = ~np.eye(len(users), dtype=bool), f"{ratings.n_users} users and {ratings.n_items} films"
    bound = (together > 1 - 1e-9) & others
    if bound.any():
        a, b = np.argwhere(bound)[0]
        fail(f"the folds of two cells, over {draws} seeds, for {where}", "now and then the same",
             f"always the same for (user {users[a]}, film {items[a]}) and (user {users[b]}, film {items[b]})",
             _what_binds(bound, users, items, ratings))  # fmt: skip
    shares, expected = np.bincount(drawn.ravel(), minlength=n_folds) / drawn.size, 1 / n_folds
    width = 6 * np.sqrt(expected * (1 - expected))  # six standard errors, once divided by the root of the number
    require(np.abs(shares - expected).max() < width / np.sqrt(drawn.size), f"the shares of {n_folds} folds over {draws} seeds",
            np.full(n_folds, expected), shares,
            "Some folds are drawn more often than others: each number should be as likely.")  # fmt: skip
    for of, who, which in ((users, "user", "films"), (items, "film", "users")):
        pairs = (of[:, None] == of) & others
        share, limit = together[pairs].mean(), width / np.sqrt(pairs.sum() / 2 * draws)
        require(abs(share - expected) < limit, f"how often two cells of one {who} have the same fold, for {where}",
                expected, share, f"Dealt out {who} by {who}, so that the {which} of each are spread evenly. "
                "Draw each cell whatever its neighbours have.")  # fmt: skip
    u, v, i, j = _corners(ratings)
    both = np.mean(
        [(fold[u, i] == fold[u, j]) & (fold[v, i] == fold[v, j]) for fold in _tables(drawn, users, items, ratings)]
    )
    require(both < (expected + expected**2) / 2, f"how often two films share a fold for one user and for another as well, for {where}",
            expected**2, both, "A number for each user and one for each film, put together: three cells tell the fold of the fourth. "
            "Draw one number for each cell.")  # fmt: skip


def _corners(ratings: Ratings, most: int = 400) -> tuple[np.ndarray, ...]:
    """Users u, v and films i, j such that u and v have rated both."""
    rng, rated = np.random.default_rng(0), np.zeros((ratings.n_users, ratings.n_items), bool)
    rated[ratings.users, ratings.items] = True
    u, v = rng.integers(ratings.n_users, size=(2, 20 * most))
    i, j = rng.integers(ratings.n_items, size=(2, 20 * most))
    full = (u != v) & (i != j) & rated[u, i] & rated[u, j] & rated[v, i] & rated[v, j]
    return tuple(ids[full][:most] for ids in (u, v, i, j))


def _tables(drawn: np.ndarray, users: np.ndarray, items: np.ndarray, ratings: Ratings) -> Iterator[np.ndarray]:
    for folds in drawn:
        table = np.full((ratings.n_users, ratings.n_items), -1)
        table[users, items] = folds
        yield table


def _what_binds(bound: np.ndarray, users: np.ndarray, items: np.ndarray, ratings: Ratings) -> str:
    keys = {
        "One fold for all ratings of a user: draw for each cell, not for each user.": users,
        "One fold for all ratings of a film: draw for each cell, not for each film.": items,
        "`user * n_users + film` is the same number for several cells if there are more films than users: "
        "multiply by n_items.": users * ratings.n_users + items,
        "`film * n_items + user` is the same number for several cells if there are more users than films: "
        "multiply by n_users.": items * ratings.n_items + users,
        "`user + film` is the same number for several cells: give each cell one of its own.": users + items,
        "`user * film` is the same number for several cells: give each cell one of its own.": users * items,
    }
    for cause, key in keys.items():
        if np.array_equal(bound, (key[:, None] == key) & ~np.eye(len(key), dtype=bool)):
            return cause
    return "They share one number that is drawn: each cell of users × films has its own."


@exercise(4, "Surprise's SVD++", found=60)
def svdpp_of_surprise(guess: Any, rows_added: Callable, seed: int = 0) -> str:
    """Rows that a loop and a product add up: counted one by one."""
    guessed(guess, (3, 15, 60))
    three_and_one = Ratings([0, 0, 0, 1], [0, 1, 2, 0], [5, 3, 1, 4], 3, 4, (1, 5, 1))
    parts = [("one user with three ratings, one with one", three_and_one)]
    parts += [("random ratings", some_ratings(rng, 7, 9)) for rng in cases(seed)]
    with Together() as same:
        for what, train in parts:
            _added(same, rows_added, train, what)
    return "one case by hand, 20 at random, counted one by one"


def _added(same: Together, rows_added: Callable, train: Ratings, what: str) -> None:
    films = {u: train.items[train.users == u] for u in range(train.n_users)}
    loop, n = sum(1 for u in train.users.tolist() for _ in films[u]), len(train)
    of_users, of_films = train.user_counts.astype(float), train.item_counts.astype(float)
    got = rows_added(train)
    same.agree(
        got, (loop, n), f"the rows added for {what}",
        {
            "One number for each user: add them up.": (of_users**2, of_users),
            "20 numbers in a row? Rows are counted, whatever is in them.": (20 * loop, 20 * n),
        } | _of_a_pair(
            got, (loop, n),
            {
                "For each user once? The loop comes back for every rating of that user.": n,
                "One for each rating and its film, plus the loop? The rows of y alone.": loop + n,
                "Only the films that u has rated are added up, not all.": n * train.n_items,
                "These are squares of films' counts: N(u) is the films of a user.": np.sum(of_films**2),
                "All ratings for each rating? Only those of the same user.": n**2,
                "Film i itself is one of those that u has rated: it is added, too.": loop - n,
                "Each pair of films once? The loop visits both, and adds all rows for each.":
                    np.sum(of_users * (of_users + 1)) / 2,
                "The square of the mean, for each user, is less than the mean of the squares.": n**2 / train.n_users,
                "That is every cell of the table: gaps are not visited.": train.n_users * train.n_items,
                "|N(u)|^(-1/2) is a factor of the sum. It does not make its rows fewer.": np.sum(of_users**1.5),
                "The largest user's count for everybody? Each has one of their own.": n * of_users.max(),
                "Once more too often: 3 visits with 3 rows each are 9, not 27.": np.sum(of_users**3),
                "The films' counts have no part in it: a visit adds the films of its user.":
                    of_users[train.users] @ of_films[train.items],
                "Twice the number of ratings? A user with 3 ratings has 3 times 3 rows.": 2 * n,
            },
            {
                "X has a number at each rated pair, so its product has one row for each of those.":
                    train.n_users * train.n_items,
                "One row for each user comes *out* of XY. What is added up is one row for each rated pair.": train.n_users,
                "Y has a row for each film, but XY takes it once for each user who rated it.": train.n_items,
                "In the product no user is visited twice: one row for each rated pair.": loop,
                "The factors are in the rows: count rows, not numbers.": 20 * n,
                "Not every cell, and rows, not numbers: one row for each rated pair.": 20 * train.n_users * train.n_items,
                "Multiplied and added is once: one row for each rated pair.": 2 * n,
            },
        ),
        cause="Count them for one user with three ratings: three visits, and three rows in each.",
    )  # fmt: skip


@exercise(5, "enter your own")
def enter_your_own(settings: Any, method: Callable, seed: int = 0) -> str:
    """What an entry must have: settings, predictions that depend on the pair alone, and no sight of the test ratings."""
    require(isinstance(settings, (list, tuple)) and 1 <= len(settings) <= 3, "your settings", "a list of one to three",
            settings, "All entries choose among three.")  # fmt: skip
    names = sorted(set(_seen_from(method)))
    require(not names, "what your method can see", "`train` alone", ", ".join(names),
            "It names ratings from outside: the test ratings are among them. Take everything from `train`.")  # fmt: skip
    models = sorted(set(_seen_from(method, _is_trained)))
    require(not models, "what your method can see", "`train` alone", ", ".join(models),
            "It uses a model that was trained outside, perhaps on the test ratings: train it inside, on `train`.")  # fmt: skip
    whole, _ = simulate_ratings(120, 80, 3000, seed=seed)
    train, test = splits.random_split(whole, seed=seed)
    train = train[(train.users != 0) & (train.items != 0)]  # a user and a film that nobody has met
    first = method(train, seed=seed, setting=settings[0])
    require(callable(getattr(first, "predict", None)), "what your method returns", "something with predict(users, items)",
            f"a {type(first).__name__}", _without_predict(first))  # fmt: skip
    _one_each(first, np.array([1, 2, 3]), np.array([1, 2, 3]))  # a few first: a table of all would be large
    users, items = np.indices((train.n_users, train.n_items)).reshape(2, -1)
    scores = _one_each(first, users, items)
    _of_the_pair_alone(first, scores, users, items)
    fits = [method(train, seed=seed, setting=setting) for setting in settings]
    agree(_one_each(first, users, items), scores, "predictions of the first model after another was trained",
          cause="It looks up what a later training has replaced: let `predict` use names of its own training alone.",
          tolerance=1e-4)  # fmt: skip
    of_settings = [_one_each(fit, users, items) for fit in fits]
    agree(of_settings[0], scores, "predictions after a second training with the same seed",
          cause="Hand the seed on to everything that draws; draw nothing without it.", tolerance=1e-4)  # fmt: skip
    pairs = [(a, b) for b in range(len(fits)) for a in range(b)]
    equal = [f"{settings[a]} and {settings[b]}" for a, b in pairs if np.array_equal(of_settings[a], of_settings[b])]
    require(not equal, "predictions of two settings", "different ones", f"the same for {', '.join(equal)}",
            "Does the method use `setting`?" if len(equal) == len(pairs) else
            "The method uses `setting`, but treats these alike.")  # fmt: skip
    mean = metrics.rmse(baselines.global_mean(train), test)
    for setting, fit in zip(settings, fits, strict=True):
        error = metrics.rmse(fit, test, clip=True)
        require(error < mean, f"RMSE on simulated ratings with the setting {setting}", f"below the mean's, {mean:.3f}",
                f"{error:.3f}", _worse_than_the_mean(fit, test, mean))  # fmt: skip
    return f"an entry: {len(settings)} settings, a number for each pair that depends on that pair alone"


def _without_predict(fit: Any) -> str:
    if fit is None:
        return "Nothing came back: does the function end in `return`?"
    if callable(fit):
        return "A function is returned, or a class: SimpleNamespace(predict=function) gives it that name."
    return "SimpleNamespace(predict=function) will do."


def _worse_than_the_mean(fit: Any, test: Ratings, mean: float) -> str:
    predicted = np.asarray(fit.predict(test.users, test.items), dtype=np.float64)
    if np.sqrt(np.mean((predicted + test.values.mean() - test.values) ** 2)) < mean:
        return "These lie around 0: add the mean, or what is left over was predicted and not the rating."
    if np.corrcoef(predicted, test.values)[0, 1] < 0:
        return "One constant does better: they fall where the ratings rise. Is a sign the other way round?"
    return "One constant does better. Do users and items come in the right order?"


def _one_each(fit: Any, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    try:
        got = np.asarray(fit.predict(users, items), dtype=np.float64)
    except (IndexError, ValueError) as error:
        few = users <= items.max()
        if few.all():
            raise
        fit.predict(users[few], items[few])  # what stops here as well is no matter of the order
        fail("a prediction for each pair", "a number", f"{type(error).__name__}: {error}",
             "It stops at users whose number no film has: do users and items come in the right order?")  # fmt: skip
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


def _is_ratings(thing: Any) -> bool:
    return isinstance(thing, Ratings)


def _is_trained(thing: Any) -> bool:
    return not isinstance(thing, type) and callable(getattr(thing, "predict", None))


def _seen_from(method: Callable, looked_for: Callable[[Any], bool] = _is_ratings) -> Iterator[str]:
    """Names of what a function reaches besides its arguments, if it is looked for, and of what loads ratings."""
    waiting, known = [("", method)], set()
    while waiting:
        name, thing = waiting.pop()
        if id(thing) in known:
            continue
        known.add(id(thing))
        if looked_for(thing):
            yield name
        elif isinstance(thing, functools.partial):
            waiting += [(name, part) for part in (thing.func, *thing.args, *thing.keywords.values())]
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
