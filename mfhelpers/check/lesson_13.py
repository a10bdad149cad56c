"""The exercises to lesson 13: films held out whole, rows drawn to a prior, pairs of features, and a new film's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..data.interactions import pairs_in_both
from ..data.ratings import Ratings
from .feedback import Either, Together, cases, exercise, fail, peak_memory, require, some_ratings, untouched

FILMS_ALIKE = 4.5  # standard errors by which a film's share of the test parts may be off, in 300 draws


@exercise(1, "films held out whole")
def films_held_out_whole(hold_out_films: Callable, seed: int = 0) -> str:
    """Properties of both parts on random ratings, and over many seeds which films are drawn."""
    shares, found = [], []
    for rng in cases(seed):
        ratings = _with_gaps(some_ratings(rng, int(rng.integers(8, 12)), int(rng.integers(12, 18)), 0.5))
        share = float(rng.uniform(0.3, 0.6))
        state = repr(np.random.get_state())
        train, test = _parts(hold_out_films(ratings, share, int(rng.integers(100))))
        require(repr(np.random.get_state()) == state, "NumPy's global generator after your answer", "untouched", "moved",
                "Draw from np.random.default_rng(seed): np.random.seed, .choice and .shuffle move what others draw from.")  # fmt: skip
        shares.append(share)
        found.append(_held_out(ratings, train, test, share))
    _require_numbers(shares, found)
    rng = np.random.default_rng([seed, 99])
    ratings = _uneven(rng)
    drawn = np.zeros(ratings.n_items)
    repeated = [set(hold_out_films(ratings, 0.3, 5)[1].items.tolist()) for _ in range(2)]
    require(repeated[0] == repeated[1], "two calls with one seed", "the same films", repeated, "Use the seed that is given.")  # fmt: skip
    for number in range(300):
        drawn[np.unique(hold_out_films(ratings, 0.3, number)[1].items)] += 1
    rated = ratings.item_counts > 0
    require((drawn[rated] < 300).all(), "the films of 300 seeds", "others with another seed", "the same films",
            "The same films for every seed: draw them at random, from np.random.default_rng(seed).")  # fmt: skip
    expected = drawn[rated].mean()
    off = np.abs(drawn[rated] - expected) / np.sqrt(expected * (1 - expected / 300))
    alike = np.corrcoef(drawn[rated], ratings.item_counts[rated])[0, 1] if drawn[rated].std() else 0.0
    cause = "Every film has the same chance: shuffle those that are rated, or rng.choice(…, replace=False) without p."
    if alike > 0.5:
        cause = "Popular films are drawn more often: draw among *different* films, np.unique, not among ratings."
    elif alike < -0.5:
        cause = "Rare films are drawn more often: every film has the same chance."
    elif (drawn[rated] == 0).any():
        cause = "One film is never drawn: does the range of your draw end too early, or begin too late?"
    require(off.max() < FILMS_ALIKE, "how often each film was held out, in 300 draws", f"about {expected:.0f} times each",
            drawn[rated], cause)  # fmt: skip
    return "20 random sets of ratings, and 300 seeds"


def _with_gaps(ratings: Ratings) -> Ratings:
    """The same with a film without ratings at the beginning and after the fourth: a place is no film's number."""
    items = ratings.items + 1 + (ratings.items >= 4)
    return Ratings(ratings.users, items, ratings.values, ratings.n_users, int(items.max()) + 3, ratings.scale)


def _uneven(rng: np.random.Generator) -> Ratings:
    """Nine films with 1 to 30 ratings, the popular ones in no order; films without ratings between them."""
    counts = rng.permutation([1, 1, 2, 3, 5, 8, 15, 25, 30])
    users = np.concatenate([rng.choice(30, n, replace=False) for n in counts])
    items = np.repeat(np.array([1, 2, 4, 5, 6, 8, 9, 10, 12]), counts)
    return Ratings(users, items, rng.integers(1, 6, len(items)), 31, 14, (1, 5, 1))


def _parts(got: Any) -> tuple[Ratings, Ratings]:
    require(got is not None, "the parts", "(train, test)", got, "Nothing came back: does the function end in `return`?")
    if not (isinstance(got, (tuple, list)) and len(got) == 2):
        fail("the parts", "(train, test)", got, "Two parts are asked for, in this order.")
    for part in got:
        masks = isinstance(part, np.ndarray)
        cause = (
            "These are arrays: ratings[mask] makes a part."
            if masks
            else "Both are parts of `ratings`, such as ratings[mask]."
        )
        require(isinstance(part, Ratings), "the parts", "two Ratings", type(part).__name__, cause)
    return got[0], got[1]


def _held_out(ratings: Ratings, train: Ratings, test: Ratings, share: float) -> tuple[int, int, tuple[bool, bool]]:
    """Require whole films; returns m, how many are held out, and whether the share fits the ratings instead."""
    for part in (train, test):
        require((part.n_users, part.n_items) == (ratings.n_users, ratings.n_items), "users × items of the parts",
                f"{ratings.n_users} × {ratings.n_items}", f"{part.n_users} × {part.n_items}",
                "The parts have a numbering of their own: take ratings[mask], which keeps it.")  # fmt: skip
    total = len(train) + len(test)
    require(not pairs_in_both(train, test), "ratings in both parts", 0, pairs_in_both(train, test),
            "A test rating is trained on, too: the train part is what is *not* in the test part, ~mask.")  # fmt: skip
    require(total == len(ratings), "ratings in both parts together", len(ratings), total,
            "Some are in neither part: a film is in the test part, or it is not. (Numbers of films are no places of ratings: np.isin(ratings.items, drawn).)")  # fmt: skip
    whole = {(u, i): v for u, i, v in zip(ratings.users, ratings.items, ratings.values, strict=True)}
    for part in (train, test):
        same = all(whole[u, i] == v for u, i, v in zip(part.users, part.items, part.values, strict=True))
        require(same, "the ratings in the parts", "as they were", "other values", "Users, items and values belong together: ratings[mask] keeps them.")  # fmt: skip
    rated = int((ratings.item_counts > 0).sum())
    n_test = len(np.unique(test.items))
    both = np.intersect1d(train.items, test.items)
    if len(both):
        users = np.intersect1d(train.users, test.users)
        cause = (
            "These are *users* held out whole: the films are asked for."
            if not len(users)
            else "Ratings were drawn, not films. First draw films, then ask of each rating whether its film is among them."
        )
        fail("films with ratings in both parts", "none", both, cause)
    exact, counts = share * len(ratings), ratings.item_counts[np.unique(test.items)]
    return (
        rated,
        n_test,
        (
            bool(len(test) <= exact < len(test) + ratings.item_counts.max()),
            bool(len(test) - counts.max() < exact <= len(test)),
        ),
    )


def _require_numbers(shares: list[float], found: list[tuple[int, int, tuple[bool, bool]]]) -> None:
    """How many films are held out, in all cases together: a slip of counting shows in some of them only."""
    wanted = [round(share * rated) for share, (rated, *_) in zip(shares, found, strict=True)]
    got = [n for _, n, _ in found]
    exact = [share * rated for share, (rated, *_) in zip(shares, found, strict=True)]
    cause = "round(share · m) of the m films that have ratings."
    if got == [rated - n for (rated, *_), n in zip(found, wanted, strict=True)]:
        cause = "The parts are exchanged: (train, test)."
    elif got in ([int(n) for n in exact], [int(np.ceil(n)) for n in exact]):
        cause = "Rounded down or up: round(share · m) is asked for."
    elif any(all(side) for side in zip(*(by_ratings for *_, by_ratings in found), strict=True)):
        cause = "Films were added until the share of *ratings* was reached. The share is that of the films here."
    elif all(n <= other for n, other in zip(got, wanted, strict=True)):
        cause = "Were films drawn that have no rating, or one film twice? Draw among those that are rated, without replacement."
    require(got == wanted, "how many films are held out, case by case", wanted, got, cause)


@exercise(2, "a row that is drawn to its genre")
def a_row_that_is_drawn_to_its_genre(solve_row: Callable, seed: int = 0) -> str:
    """One number by hand, nobody's rating, and random rows."""
    with Together() as same:
        _row(same, solve_row, np.array([[1.0], [2.0]]), np.array([2.0, 4.0]), 3.0, np.array([6.0]), "F = [1, 2], e = [2, 4], penalty 3, prior 6")  # fmt: skip
        _row(same, solve_row, np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([1.0, -1.0]), 2.0, np.array([0.5, 1.0]), "F = [[1, 0], [1, 1]], e = [1, -1], penalty 2, prior [0.5, 1]")  # fmt: skip
        _row(same, solve_row, np.zeros((0, 2)), np.zeros(0), 1.5, np.array([0.3, -0.2]), "a film without ratings")
        for rng in cases(seed):
            n, k = int(rng.integers(1, 8)), int(rng.integers(1, 4))
            _row(same, solve_row, rng.normal(size=(n, k)), rng.normal(size=n), rng.uniform(0.2, 6), rng.normal(size=k), f"{n} ratings")  # fmt: skip
    return "one number by hand, a film without ratings, 20 random rows"


def _row(
    same: Together, answer: Callable, F: np.ndarray, e: np.ndarray, penalty: float, prior: np.ndarray, what: str
) -> None:
    given = F.copy(), e.copy(), prior.copy()
    got = answer(given[0], given[1], penalty, given[2])
    for now, before, name in zip(given, (F, e, prior), ("F", "e", "the prior"), strict=True):
        untouched(now, before, name)
    n, k = F.shape
    gram, right, eye = F.T @ F, F.T @ e, np.eye(k)

    def row(matrix=gram + penalty * eye, target=right + penalty * prior):
        return np.linalg.lstsq(matrix, target, rcond=None)[0]

    ridge = row(target=right)
    same.agree(
        got, row(), f"the row: {what}",
        {
            "This is the row without its prior: on the right side stands penalty · prior, too.": ridge,
            "The prior is added to the row that is drawn to zero. Inside the equations it counts less, the more ratings there are.":
                ridge + prior,
            "The prior stands on the right side without its penalty.": row(target=right + prior),
            "That is how far the row is from its prior: add the prior.": row(target=right - gram @ prior),
            "The prior comes with a minus: setting the gradient to zero brings it to the right side with a plus.":
                row(target=right - penalty * prior),
            "The penalty is missing in the matrix: FᵀF + penalty · I.": row(gram),
            "The penalty stands in the matrix at every place: times np.eye, it is on the diagonal alone.":
                row(gram + penalty),
            "The penalty comes as it is: λ √n is in it already.":
                Either([row(gram + penalty * w * eye, right + penalty * w * prior) for w in (n, np.sqrt(n))]),
            "The penalty comes as it is: λ √n is in it already, also of one rating and of none.":
                row(gram + penalty * max(1, n) ** 0.5 * eye, right + penalty * max(1, n) ** 0.5 * prior),
            "The penalty grows on one side alone.":
                Either([row(gram + penalty * w * eye) for w in (n, np.sqrt(n))]),
            "Half of this and half of that: the equations weigh prior and ratings by themselves.": (ridge + prior) / 2,
            "The penalty is squared on one side.":
                Either([row(gram + penalty**2 * eye), row(target=right + penalty**2 * prior)]),
            "The prior is taken off e, and not put back on the row.": row(target=F.T @ (e - F @ prior)),
            "The prior is taken off e *and* draws the row: one of the two.": row(target=F.T @ (e - F @ prior) + penalty * prior),
            "It is the prior, whatever the ratings say.": prior,
            "A film without ratings sits at its prior, not at zero.": np.zeros(k) if n == 0 else row(),
            "Its prior counts for a film *with* ratings, too: penalty · prior belongs on the right side always.": ridge if n else prior,
            "penalty · prior stands outside: Fᵀe + penalty · prior in brackets is the right side.":
                np.linalg.solve(gram + penalty * eye, F.T @ e) + penalty * prior,
            "The penalty is doubled or halved on both sides: the 2 of the gradient stands at both terms, and cancels.":
                Either([row(gram + w * penalty * eye, right + w * penalty * prior) for w in (2, 0.5)]),
            "penalty² on both sides: rows below F are √penalty · I, and √penalty · prior below e.":
                row(gram + penalty**2 * eye, right + penalty**2 * prior),
            "The prior is in it twice: on the right side, and added at the end.": row() + prior,
            "FᵀF is a matrix: its columns meet, and its diagonal alone is not enough.": (right + penalty * prior) / (np.diag(gram) + penalty),
            "A mean over the ratings: sums are asked for, FᵀF and Fᵀe.":
                row(gram / max(1, n) + penalty * eye, right / max(1, n) + penalty * prior),
            "The penalty is halved or doubled on one side.":
                Either([row(target=right + 2 * penalty * prior), row(target=right + penalty / 2 * prior), row(gram + 2 * penalty * eye), row(gram + penalty / 2 * eye)]),
        },
        cause="Is the gradient zero? Fᵀ(F q - e) + penalty · (q - prior) should be: print it for the first case.",
    )  # fmt: skip


@exercise(3, "what features say of rows")
def what_features_say_of_rows(fit_prior: Callable, seed: int = 0) -> str:
    """Two films by hand, weights of zero, and random rows."""
    with Together() as same:
        _prior(same, fit_prior, np.array([[1.0], [4.0]]), np.array([[1.0], [1.0]]), np.array([3.0, 1.0]), 1.0, "two films with one feature, rows 1 and 4, weights 3 and 1, reg 1")  # fmt: skip
        for number, rng in enumerate(cases(seed)):
            n, c, k = int(rng.integers(6, 14)), int(rng.integers(2, 5)), int(rng.integers(1, 4))
            X = (rng.random((n, c)) < 0.6).astype(float) if number % 2 else rng.normal(size=(n, c))
            weights = rng.uniform(0.3, 4, n) * (rng.random(n) < 0.8)
            while (
                np.linalg.cond(X.T @ (weights[:, None] * X)) > 1e4
            ):  # an answer without its penalty must come to its end
                X = (rng.random((n, c)) < 0.6).astype(float) if number % 2 else rng.normal(size=(n, c))
                weights = rng.uniform(0.3, 4, n) * (rng.random(n) < 0.9)
            _prior(same, fit_prior, rng.normal(size=(n, k)), X, weights, rng.uniform(0.3, 4), "random films, some without ratings")  # fmt: skip
    return "two films by hand, 20 random sets of films, some of them without ratings"


def _prior(
    same: Together, answer: Callable, rows: np.ndarray, X: np.ndarray, weights: np.ndarray, reg: float, what: str
) -> None:
    given = rows.copy(), X.copy(), weights.copy()
    got = answer(*given, reg)
    for now, before, name in zip(given, (rows, X, weights), ("the rows", "X", "the weights"), strict=True):
        untouched(now, before, name)
    c, w, ridge = X.shape[1], weights[:, None], reg * np.eye(X.shape[1])

    def table(left=w, right=w, penalty=ridge):
        return np.linalg.lstsq(X.T @ (left * X) + penalty, X.T @ (right * rows), rcond=None)[0]

    def table_of(these):
        return np.linalg.lstsq(X.T @ (w * X) + ridge, X.T @ (w * these), rcond=None)[0]

    right = table()
    rated = weights > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (X.T @ (w * rows)) / (X.T @ w)
    same.agree(
        got, right, f"W: {what}",
        {
            "Every film counts the same here: N is missing on both sides.": table(1.0, 1.0),
            "N is missing on the left: Xᵀ N X.": table(left=1.0),
            "N is missing on the right: Xᵀ N rows.": table(right=1.0),
            "Weights squared: N stands once on each side.": table(w**2, w**2),
            "N is squared on one side.": Either([table(left=w**2), table(right=w**2)]),
            "The root of the weights: N itself stands there.":
                Either([table(np.sqrt(w), np.sqrt(w)), table(1.4 * np.sqrt(w), 1.4 * np.sqrt(w))]),
            "The root of the weights on one side: √weight belongs to the rows as well as to X.":
                Either([table(right=np.sqrt(w)), table(left=np.sqrt(w))]),
            "A film of weight 0 teaches nothing: yours counts.":
                Either([table(np.where(rated[:, None], w, 1), np.where(rated[:, None], w, 1)), table(np.maximum(w, 1), np.maximum(w, 1)), table(w + 1, w + 1)]),
            "The penalty is doubled or halved: the 2 of the gradient cancels.":
                Either([table(penalty=2 * ridge), table(penalty=ridge / 2)]),
            "The first feature has no penalty in yours: reg · I has all.":
                table(penalty=ridge * (np.arange(c) > 0)),
            "There is a column of ones too many: X has its own.": _with_ones(X, rows, w, reg),
            "The rows were centred: W explains them as they are.":
                Either([table_of(rows - m) for m in (rows.mean(axis=0), np.average(rows, axis=0, weights=weights))]),
            "The penalty is missing: + reg · I.": table(penalty=0.0),
            "The penalty stands at every place of the matrix: times np.eye.": table(penalty=reg),
            "The weights were scaled, or the penalty multiplied by them: with reg beside them their size counts.":
                Either([table(penalty=reg * s * np.eye(c)) for s in
                        (weights.sum(), weights.mean(), len(rows), weights.max(), 1 / len(rows), weights[rated].mean(), rated.sum())]),
            "These are means of rows by feature. A film with two genres is explained by both together: a regression.":
                Either([means, (X.T @ (w * rows)) / ((X.T @ w) + reg), (X.T @ (w * rows)) / ((w * X**2).sum(axis=0)[:, None] + reg)]),
            "Turned: a row for each feature, a column for each factor.": right.T,
            "These are the rows that W predicts, X W: W itself is asked for.": X @ right,
            "Each film counts the same, if it has ratings at all: their weights differ.":
                table(rated[:, None].astype(float), rated[:, None].astype(float)),
            "reg squared, or its root?": Either([table(penalty=reg**2 * np.eye(c)), table(penalty=reg**0.5 * np.eye(c))]),
            "The columns of X were centred: a 1 for every film is among them, so that nothing needs to be.":
                _centred(X, rows, w, reg),
        },
        cause="Is the gradient zero? Xᵀ N (X W - rows) + reg W should be.",
    )  # fmt: skip


def _with_ones(X, rows, w, reg):
    X = np.column_stack([np.ones(len(X)), X])
    return Either([(all_of := np.linalg.solve(X.T @ (w * X) + reg * np.eye(X.shape[1]), X.T @ (w * rows))), all_of[1:]])


def _centred(X: np.ndarray, rows: np.ndarray, w: np.ndarray, reg: float) -> np.ndarray:
    X = X - X.mean(axis=0)
    return np.linalg.solve(X.T @ (w * X) + reg * np.eye(X.shape[1]), X.T @ (w * rows))


@exercise(4, "all pairs in linear time")
def all_pairs_in_linear_time(all_pairs: Callable, seed: int = 0) -> str:
    """Three features by hand, random lists against the sum over pairs, and the memory for many features."""
    with Together() as same:
        _pairs(same, all_pairs, np.array([[1.0, 1.0, 2.0]]), np.array([[1.0], [2.0], [3.0]]), "x = [1, 1, 2], rows 1, 2 and 3")  # fmt: skip
        _pairs(same, all_pairs, np.array([[0.0, 1.0, 0.0]]), np.array([[1.0], [2.0], [3.0]]), "one feature alone has no pair")  # fmt: skip
        for number, rng in enumerate(cases(seed)):
            n, c, k = int(rng.integers(1, 5)), int(rng.integers(2, 7)), int(rng.integers(1, 4))
            X = (rng.random((n, c)) < 0.5).astype(float) if number % 2 else rng.normal(size=(n, c))
            _pairs(same, all_pairs, X, rng.normal(size=(c, k)), "random lists")
    rng = np.random.default_rng([seed, 1])
    many = rng.normal(size=(40, 3_000)), rng.normal(size=(3_000, 32))
    memory = peak_memory(all_pairs, *many)
    require(memory < 2e7, "megabytes for 40 lists of 3,000 features", "a few", f"{memory / 1e6:.0f}",
            "A table of 3,000 × 3,000 pairs, or one of all features' rows for each list, was made: use the two sums of the lesson.")  # fmt: skip
    return "three features by hand, 20 random lists, and 3,000 features in little memory"


def _pairs(same: Together, answer: Callable, X: np.ndarray, V: np.ndarray, what: str) -> None:
    given = X.copy(), V.copy()
    got = answer(*given)
    untouched(given[0], X, "X")
    untouched(given[1], V, "V")
    products, c = V @ V.T, len(V)
    upper = np.triu(np.ones((c, c)), 1)

    def over(pairs, table=products):
        return np.einsum("nf,ng,fg->n", X, X, table * pairs)

    whole, squares = (X @ V) ** 2, X**2 @ V**2
    right = over(upper)
    same.agree(
        got, right, f"the sum over pairs: {what}",
        {
            "Every pair counts twice here, (f, g) and (g, f): a half is missing.": over(upper + upper.T),
            "A feature with itself is no pair: subtract the squares.": Either([over(upper + np.eye(c)), whole.sum(axis=1)]),
            "The squares of the features are missing, and they are half of what is wrong: ½ (‖Σ‖² - Σ squares).": whole.sum(axis=1) / 2,
            "Half of the first sum alone: the half is of the difference.": whole.sum(axis=1) / 2 - squares.sum(axis=1),
            "Half of the second sum alone: the half is of the difference.": whole.sum(axis=1) - squares.sum(axis=1) / 2,
            "The two sums are exchanged: the sign.": -right,
            "The squares are added, not subtracted.": (whole + squares).sum(axis=1),
            "Sum over the k factors, too: one number for each list.": (whole - squares) / 2,
            "Without its half, and not summed over the k factors.": whole - squares,
            "All lists together? One number for each list, sum over axis 1.": right.sum(),
            "x is not squared in the second sum: x_f² ‖v_f‖².": (whole - X @ V**2).sum(axis=1) / 2,
            "V is not squared in the second sum: x_f² ‖v_f‖².": (whole - X**2 @ V).sum(axis=1) / 2,
            "Nothing is squared in the second sum.": Either([(whole - X @ V).sum(axis=1) / 2, (whole - np.abs(X @ V)).sum(axis=1) / 2]),
            "The square comes before the sum: first add the rows up, then square; X @ V**2 squares V alone, (X @ V)**2 is meant.":
                Either([0 * right, (X @ V**2 - squares).sum(axis=1) / 2]),
            "The first sum is not squared: (X @ V)**2.": Either([(X @ V - squares).sum(axis=1) / d for d in (1, 2)]),
            "The second sum is squared twice, or too late: X**2 @ V**2.": (whole - (X**2 @ V) ** 2).sum(axis=1) / 2,
            "Norms, not their squares: ‖·‖² on both sides.":
                Either([(whole.sum(axis=1) - X**2 @ np.linalg.norm(V, axis=1)) / 2, (np.linalg.norm(X @ V, axis=1) - np.linalg.norm(X, axis=1)) / 2]),
            "Summed over the lists: one number for each list is the sum over factors, axis=1.": (whole - squares).sum(axis=0) / 2,
            "The shape is (n, 1) or (n, n): one number for each list, (n,).":
                Either([right[:, None], X @ V @ V.T @ X.T, X @ (products * upper) @ X.T]),
            "x is taken for 0 or 1: each pair counts x_f x_g.":
                Either([np.einsum("nf,ng,fg->n", b, b, products * upper) for b in ((X != 0) * 1.0, (X > 0) * 1.0)]),
            "The squares of *all* rows are subtracted: of each list x_f² ‖v_f‖².": (whole - (V**2).sum(axis=0)).sum(axis=1) / 2,
            "The single features are in it: pairs alone are asked for.": right + (X @ V).sum(axis=1),
            "The values x are forgotten: each pair counts x_f x_g.": over(upper, products) * 0 + (products * upper).sum(),
            "Sum the k factors first and square then? ‖·‖² squares each factor, then sums.":
                (((X @ V).sum(axis=1)) ** 2 - squares.sum(axis=1)) / 2,
            "The mean over factors: their sum is a product of two rows.": (whole - squares).mean(axis=1) / 2,
            "Neighbours alone: every pair f < g counts.": over(np.diag(np.ones(c - 1), 1)),
        },
        cause="Take x = [1, 2] and rows [1, 2] and [3, 4]: the only pair gives (3 + 8) · 2 = 22. What do your two sums give?",
    )  # fmt: skip


@exercise(5, "bug hunt: a new film's numbers")
def a_new_films_numbers(rows_of: Callable, seed: int = 0) -> str:
    """Three films by hand, and random ones with genres and years that training had not."""
    with Together() as same:
        train = pd.DataFrame({"year": [1950.0, 1990.0, np.nan], "genres": ["Drama", "Comedy|Drama", "War"]})
        new = pd.DataFrame({"year": [1970.0, np.nan, 1980.0], "genres": ["War|Western", "Comedy", "War"]})
        _numbers(same, rows_of, train, new, "films of 1950 and 1990, one without a year; new are a War|Western of 1970 and a Comedy")  # fmt: skip
        for rng in cases(seed, 8):
            genres = np.array(["Action", "Comedy", "Crime", "True Crime", "War"])
            _numbers(same, rows_of, _films(rng, 8, genres[:4]), _films(rng, 5, genres), "random films")
    return "three films by hand, 8 random sets with a genre that training has not"


def _films(rng: np.random.Generator, n: int, genres: np.ndarray) -> pd.DataFrame:
    years = rng.integers(1930, 2000, n).astype(float)
    years[rng.random(n) < 0.2] = np.nan
    years[:2] = rng.choice(np.arange(1930, 2000), 2, replace=False)
    chosen = [sorted(rng.choice(genres, int(rng.integers(1, 3)), replace=False)) for _ in range(n)]
    return pd.DataFrame({"year": years, "genres": ["|".join(each) for each in chosen]})


def _numbers(same: Together, answer: Callable, train: pd.DataFrame, new: pd.DataFrame, what: str) -> None:
    given = train.copy(), new.copy()
    got = answer(*given)
    for now, before, name in zip(given, (train, new), ("the frame of training", "the frame of new films"), strict=True):
        require(now.equals(before), f"{name} after your answer", before, now,
                "It was changed, and belongs to the caller: work on a copy, or compute something new.")  # fmt: skip
    right, mistakes = _numbers_and_mistakes(train, new)
    same.agree(
        got, right, f"the rows of training films and of new ones: {what}",
        mistakes,
        cause="Compare your columns one by one for the first case: which films differ, and in what?",
    )  # fmt: skip


def _numbers_and_mistakes(train: pd.DataFrame, new: pd.DataFrame) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
    names = train["genres"].str.get_dummies("|").columns
    both = pd.concat([train, new], ignore_index=True)

    def flags(frame, columns=names):
        return frame["genres"].str.get_dummies("|").reindex(columns=columns, fill_value=0).to_numpy(float)

    def numbers(frame, by=train, ddof=0, missing=0.0, columns=names, first=None, scale=None, shift=None):
        year = frame["year"].fillna(first) if first is not None else frame["year"]
        own = by["year"].fillna(first) if first is not None else by["year"]
        z = (year - (own.mean() if shift is None else shift)) / (own.std(ddof=ddof) if scale is None else scale)
        return np.column_stack([z.fillna(missing), flags(frame, columns)])

    def parts(new_by=train, **how):
        return numbers(train, **how), numbers(new, new_by, **how)

    everything, theirs = (table["genres"].str.get_dummies("|").columns for table in (both, new))
    mean = train["year"].mean()
    return parts(), {
        "The new years are standardised by themselves: one film alone would always be at 0. Take mean and standard deviation of training.":
            parts(new_by=new),
        "The new years are standardised by themselves (and pandas' std has ddof=1): take mean and standard deviation of training.":
            parts(new_by=new, ddof=1),
        "Mean and standard deviation are of both frames together: what is new must not change what was.":
            Either([tuple(numbers(f, both, ddof=d, columns=c) for f in (train, new)) for d in (0, 1) for c in (names, everything)]),
        "pandas' std divides by n - 1: ddof=0 is asked for.": parts(ddof=1),
        "A missing year became the year 0 before the mean was taken: it counts as the mean, so 0 *after* standardising.":
            Either([parts(first=0.0, ddof=d) for d in (0, 1)]),
        "A missing year is still nan: it counts as the mean, so 0.": parts(missing=np.nan),
        "There are columns for genres that training has not: W has no row for them.":
            Either([parts(columns=everything), tuple(numbers(f, columns=everything, ddof=1) for f in (train, new))]),
        "The colleague's function, as it was.": (numbers(train, ddof=1), numbers(new, new, ddof=1, columns=theirs)),
        "The new films have columns of their own genres: the third column means another genre then. Use those of training, in their order.":
            Either([(numbers(train, ddof=d), numbers(new, by, ddof=d, columns=theirs)) for d in (0, 1) for by in (train, new)]),
        "The years are not divided by their standard deviation.": parts(scale=1.0),
        "The mean is not subtracted.": parts(shift=0.0, missing=0.0),
        "A missing year got the mean before the standard deviation was taken: known years alone make it.":
            Either([parts(first=mean), parts(first=mean, ddof=1)]),
        "A genre that no new film has became nan: .reindex(columns=names) needs fill_value=0.": (parts()[0], _empty_columns(parts()[1], theirs, names)),
        "All years are 0: NumPy's mean of a nan is nan, and fillna hides it. pandas' mean leaves nan out, np.nanmean too.":
            tuple(np.column_stack([0 * t[:, 0], t[:, 1:]]) for t in parts()),
        "Columns in another order: alphabetical is asked for, in both tables.":
            Either([parts(columns=pd.unique(train["genres"].str.split("|").explode())), parts(columns=names[::-1]),
                    (parts()[0], numbers(new, columns=[*names.intersection(theirs), *names.difference(theirs)]))]),
        "The new films lack the columns of genres that only training has, or keep those that it has not: .reindex(columns=names, fill_value=0).":
            Either([(parts()[0], numbers(new, columns=c)) for c in (names.intersection(theirs), names.union(theirs))]
                   + [parts(columns=c) for c in (names.intersection(theirs), theirs)]),
        "\"Comedy|Drama\" was taken for a genre of its own: split at |.": _whole_names(parts(), train, new),
        "A column of ones is in front: that comes later.": tuple(np.column_stack([np.ones(len(t)), t]) for t in parts()),
        "Films without a year were left out: each film has a row.": tuple(t[f["year"].notna()] for t, f in zip(parts(), (train, new), strict=True)),
        "Divided by the variance: the standard deviation is its root.": parts(scale=train["year"].var(ddof=0)),
        "Smallest and largest year make 0 and 1 here, not mean and spread.": parts(shift=train["year"].min(), scale=np.ptp(train["year"].dropna())),
        "A missing year of a new film got the mean of new ones, not 0.": (parts()[0], numbers(new, missing=(new["year"].mean() - mean) / train["year"].std(ddof=0))),
        "The mean was put in *after* standardising: there it is 0.": parts(missing=mean),
        "Flags first? The standardised year is the first column.":
            tuple(np.roll(numbers(f), -1, axis=1) for f in (train, new)),
        "The flags are standardised, too: they stay 0 and 1.": Either([_standardised_flags(parts()), _standardised_flags(parts(), True)]),
        "The row of training films alone? Two tables are asked for.": (parts()[0], parts()[0]),
        "The other way round: (training, new).": parts()[::-1],
    }  # fmt: skip


def _empty_columns(table, theirs, names):
    return np.column_stack([table[:, 0], np.where(names.isin(theirs), table[:, 1:], np.nan)])


def _whole_names(tables, train, new):
    names = sorted(set(train["genres"]))
    return tuple(
        np.column_stack([t[:, 0], [[g == name for name in names] for g in f["genres"]]])
        for t, f in zip(tables, (train, new), strict=True)
    )


def _standardised_flags(tables, year=False):
    if year:
        return tuple((t - tables[0].mean(axis=0)) / tables[0].std(axis=0) for t in tables)
    mean, spread = tables[0].mean(axis=0), np.maximum(tables[0].std(axis=0), 1e-12)
    return tuple(np.column_stack([t[:, 0], ((t - mean) / spread)[:, 1:]]) for t in tables)  # pyrefly: ignore
