"""The exercises to lesson 11: lists, their scores, and models of what was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .feedback import Together, cases, exercise, guessed, peak_memory, require, some_ratings, untouched


@exercise(1, "a tie is worth its chance")
def a_tie_is_worth_its_chance(expected_precision: Callable, seed: int = 0) -> str:
    """Three tied films by hand, one score for all, and random whole scores."""
    with Together() as same:
        by_hand = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([False, True, False, False, True])
        _expected(same, expected_precision, *by_hand, 2, "scores 3 2 2 2 1, the second and the last relevant, k = 2")
        _expected(same, expected_precision, np.zeros(8), np.arange(8) < 2, 5, "eight films with one score, k = 5")
        for rng in cases(seed):
            n = int(rng.integers(4, 12))
            relevant = rng.permutation(np.arange(n) < rng.integers(1, n))
            scores = rng.integers(0, 4, n).astype(float)
            _expected(same, expected_precision, scores, relevant, int(rng.integers(1, n)), "random scores with ties")
    return "three ties by hand, one score for all, 20 random lists"


def _expected(same: Together, answer: Callable, scores: np.ndarray, relevant: np.ndarray, k: int, what: str) -> None:
    given, flags = scores.copy(), relevant.copy()
    got = answer(given, flags, k)
    untouched(given, scores, "the scores that were given")
    untouched(flags, relevant, "the flags that were given")
    limit = np.sort(scores)[::-1][k - 1]
    above, tied = scores > limit, scores == limit
    places, sure, share = k - above.sum(), relevant[above].sum(), relevant[tied].mean()
    right = (sure + places * share) / k
    in_order = lambda tie: relevant[np.lexsort((tie, -scores))][:k].sum() / k  # noqa: E731
    same.agree(
        got, right, what,
        {
            "Among equal scores the relevant films came first here: that is the best of all orders, not the expected one.":
                in_order(~relevant),
            "Among equal scores the relevant films came last here: that is the worst of all orders.": in_order(relevant),
            "Equal scores in the order of the films: one order of many. All are equally likely.":
                in_order(np.arange(len(scores))),
            "Equal scores from the last film to the first: one order of many. All are equally likely.":
                in_order(-np.arange(len(scores))),
            "Whatever np.argsort makes of equal scores is one order of many, and not even the same everywhere: all are equally likely.":
                relevant[np.argsort(scores)[::-1]][:k].sum() / k,
            "Whatever np.argsort makes of equal scores is one order of many. All are equally likely, so expect, don't sort.":
                relevant[np.argsort(-scores)][:k].sum() / k,
            "All tied films were counted: only some of them find a place among the k.":
                (sure + relevant[tied].sum()) / k,
            "All films from the limit up, and their share of relevant ones: those above the limit are in the list for sure.":
                relevant[above | tied].mean(),
            "The tied films are missing: some places are left for them.": sure / k,
            "Those above the limit are missing: they are in the list for sure.": places * share / k,
            "Half of each tied film, as in AUC? A place goes to a tied film with the chance places / number of tied films.":
                (sure + relevant[tied].sum() / 2) / k,
            "The share of relevant films among the tied ones stands for one place: there are k minus those above the limit.":
                (sure + share) / k,
            "These are expected hits: precision divides them by k.": right * k,
            "Divided by the number of relevant films: that is recall.": right * k / max(1, relevant.sum()),
            "Divided by the smaller of k and the number of relevant films: precision divides by k.":
                right * k / max(1, min(k, relevant.sum())),
            "Only as many hits as relevant films among all are expected, whatever the scores: films above the limit are sure.":
                relevant.mean(),
            "The places are those of k films, less those above the limit: here all k went to the tied ones.":
                min(1.0, (sure + k * share) / k),
            "The best of all orders and the worst, halved? Orders in between are not spread evenly.":
                (in_order(~relevant) + in_order(relevant)) / 2,
            "Is the list sorted from the lowest score?": relevant[np.argsort(scores, kind="stable")][:k].sum() / k,
        },
        cause="Which score has place k? What lies above it is in the list; what equals it shares the places that are left, evenly.",
    )  # fmt: skip


@exercise(2, "bug hunt: an nDCG of 1.21")
def an_ndcg_above_1(ndcg: Callable, seed: int = 0) -> str:
    """A list with a film that comes twice, a short list, and random lists with repetitions."""
    with Together() as same:
        _ndcg(same, ndcg, np.array([4, 4, 2]), np.array([4]), 3, "the list 4 4 2, film 4 relevant, k = 3")
        _ndcg(same, ndcg, np.array([5, 3]), np.array([3, 7, 1]), 10, "the list 5 3, films 3, 7 and 1 relevant, k = 10")
        for rng in cases(seed):
            n = int(rng.integers(5, 12))
            listed, relevant = rng.integers(0, 9, n), rng.choice(9, int(rng.integers(1, 8)), replace=False)
            _ndcg(same, ndcg, listed, relevant, int(rng.integers(1, n + 3)), "a random list in which films come twice")
    return "a film twice and a short list by hand, 20 random lists"


def _ndcg(same: Together, answer: Callable, listed: np.ndarray, relevant: np.ndarray, k: int, what: str) -> None:
    given, wanted = listed.copy(), relevant.copy()
    got = answer(given, wanted, k)
    untouched(given, listed, "the list that was given")
    untouched(wanted, relevant, "the relevant films that were given")
    first = np.zeros(len(listed), bool)
    first[np.unique(listed, return_index=True)[1]] = True
    twice, hits = np.isin(listed, relevant), np.isin(listed, relevant) & first
    gains = 1 / np.log2(1 + np.arange(1, max(k, len(listed), len(relevant)) + 1))
    most = min(k, len(relevant))
    dcg = lambda hits, k=k: (hits[:k] * gains[: len(hits[:k])]).sum()  # noqa: E731
    nothing = np.nan if isinstance(got, float) and np.isnan(got) else 0.0  # what an answer makes of 0 / 0
    best_of = lambda hits, n: dcg(hits) / gains[:n].sum() if n else nothing  # noqa: E731
    found, distinct, closed = twice[:k].sum(), hits[:k].sum(), hits[first]
    right = dcg(hits) / gains[:most].sum()
    with np.errstate(divide="ignore"):
        late = np.r_[0, 1 / np.log2(np.arange(2, len(gains) + 1))]
    same.agree(
        got, right, what,
        {
            "A film that comes twice is still counted twice. And a list that finds one of many films is perfect here: the best "
            "list has min(k, number of relevant films) hits.": best_of(twice, distinct),
            "Repetitions are hits here, above and below; and a list that finds one of many films is perfect. The best list has "
            "min(k, number of relevant films) hits.": best_of(twice, found),
            "A film that comes twice is still counted twice: only its first place is a hit.": dcg(twice) / gains[:most].sum(),
            "Compared with the best order of the hits that were found. The best list has min(k, number of relevant films).":
                best_of(hits, distinct),
            "The best list is not full of hits where fewer than k films are relevant: min(k, number).": dcg(hits) / gains[:k].sum(),
            "The best list holds k films at most: min(k, number).": dcg(hits) / gains[: len(relevant)].sum(),
            "The best list may be longer than yours: min(k, number of relevant films) hits, also where the list has fewer films.":
                dcg(hits) / gains[: max(1, min(most, len(listed)))].sum(),
            "Cut off at 1, the two bugs are only hidden: count a film once, and compare with min(k, number) hits.":
                min(1.0, best_of(twice, distinct)),
            "Cut off at 1, a film that comes twice is only hidden: its first place alone is a hit.":
                min(1.0, dcg(twice) / gains[:most].sum()),
            "Those that come again were taken out, and the list closed up: others moved to better places. A repetition keeps its place.":
                dcg(closed) / gains[:most].sum(),
            "This is the sum of gains: divide by that of the best list.": dcg(hits),
            "The whole list was judged: only its first k places count.": dcg(hits, len(listed)) / gains[:most].sum(),
            "The first place counts as 1 / log2(2): places from 1, and 1 is added to them.":
                (hits[:k] * gains[1 : len(hits[:k]) + 1]).sum() / gains[:most].sum() if len(gains) > k else np.nan,
            "Places are counted from 1, and log2 of 1 + place: is the first hit lost?":
                (hits[:k] * late[: len(hits[:k])]).sum() / gains[:most].sum(),
            "That is recall: a hit counts less the further down it stands.": hits[:k].sum() / most,
            "That is precision: a hit counts less the further down it stands.": hits[:k].sum() / k,
            "1 / place as a gain? Here it is 1 / log2(1 + place).":
                (hits[:k] / np.arange(1, len(hits[:k]) + 1)).sum() / (1 / np.arange(1, most + 1)).sum(),
        },
        cause="Write the list with its places, and mark the hits: which come again? How many hits could the best list have?",
    )  # fmt: skip


@exercise(3, "a row with confidences")
def a_row_with_confidences(solve_row: Callable, seed: int = 0) -> str:
    """One factor by hand, nobody's choice, and random rows against the sum over all cells."""
    with Together() as same:
        one = np.array([[1.0], [2.0], [3.0]])
        _row(
            same, solve_row, np.array([1]), np.array([2.0]), one, 0.5, 0.1, "the row of film 1 with confidence 2, k = 1"
        )
        nobody = np.zeros(0, np.int64), np.zeros(0)
        _row(same, solve_row, *nobody, one, 0.5, 0.1, "the row of somebody who chose nothing")
        for rng in cases(seed):
            n_items, k = int(rng.integers(5, 12)), int(rng.integers(1, 4))
            chosen = rng.choice(n_items, int(rng.integers(2, n_items)), replace=False)
            confidences = rng.uniform(0.3, 3, len(chosen))
            Q = rng.normal(size=(n_items, k))
            _row(same, solve_row, chosen, confidences, Q, rng.uniform(0.1, 0.9), rng.uniform(0.01, 0.5), "a random row")
    return "one factor by hand, nothing chosen, 20 random rows"


def _row(
    same: Together, answer: Callable, chosen: np.ndarray, confidences: np.ndarray, Q: np.ndarray, alpha: float, reg: float, what: str
) -> None:  # fmt: skip
    given = chosen.copy(), confidences.copy(), Q.copy()
    got = answer(*given, alpha, reg)
    for now, before, name in zip(given, (chosen, confidences, Q), ("films", "confidences", "factors"), strict=True):
        untouched(now, before, f"the {name} that were given")
    n, n_items, identity = len(chosen), len(Q), np.eye(Q.shape[1])
    own, gram = Q[chosen], Q.T @ Q
    weighed, plain = (own.T * confidences) @ own, own.T @ own
    aims, ones = own.T @ confidences, own.sum(axis=0)
    n_cells = n + alpha * n_items

    def row(matrix=weighed + alpha * gram, penalty=reg * n_cells, aim=aims):
        try:
            return np.linalg.solve(matrix + penalty * identity, aim)
        except np.linalg.LinAlgError:
            return np.full(len(aim), np.nan)

    same.agree(
        got, row(), what,
        {
            "The confidences are forgotten: they multiply what is squared, on both sides of the system.":
                row(plain + alpha * gram, aim=ones),
            "The confidences belong to the matrix, too: here they stand on the right side alone.": row(plain + alpha * gram),
            "The confidences belong to the right side, too: here they stand in the matrix alone.": row(aim=ones),
            "Confidences squared: they multiply the square of the error, once.":
                row((own.T * confidences**2) @ own + alpha * gram, aim=own.T @ confidences**2),
            "The cells that were not chosen are missing: α QᵀQ.": row(weighed),
            "Confidences squared: (c q)(c q)ᵀ has them twice, where they multiply the square of the error once.":
                row((own.T * confidences**2) @ own + alpha * gram),
            "1 + c, as in Hu's paper? Here the confidence of a chosen cell is c itself.":
                row(weighed + plain + alpha * gram, aim=aims + ones),
            "λ n' belongs on the diagonal: reg * n_cells alone is added to every place, times np.eye to the diagonal.":
                _everywhere(weighed + alpha * gram, reg * n_cells, aims),
            "QᵀQ without α: an empty cell counts little.": row(weighed + gram),
            "α over the films that were not chosen alone? The sum goes over all: α QᵀQ as a whole.":
                row(weighed + alpha * (gram - plain)),
            "α over the chosen films, where it belongs to all of them: α QᵀQ.": row(weighed + alpha * plain),
            "The penalty is λ times n' = n + α n_items. Here it is λ alone.": row(penalty=reg),
            "The penalty is missing.": row(penalty=0.0),
            "The penalty counts α n_items, too: n' = n + α n_items.": row(penalty=reg * n),
            "n' counts the chosen films, each as 1, and not their confidences.":
                row(penalty=reg * (confidences.sum() + alpha * n_items)),
            "n' = n + α n_items: the n chosen films are missing in the penalty.": row(penalty=reg * alpha * n_items),
            "n' = n + α n_items: α is missing there.": row(penalty=reg * (n + n_items)),
            "n_items is the number of all films, not of the others.":
                row(penalty=reg * (n + alpha * (n_items - n))),
            "λ twice? Matrix and right side are both halves of a gradient: the factor 2 falls out.":
                row(penalty=2 * reg * n_cells),
            "α in the right side? The target of an empty cell is 0: it adds nothing there.":
                row(aim=aims + alpha * Q.sum(axis=0)),
            "A chosen cell is aimed at 1 with its confidence alone; here α came on top of it on the right side.":
                row(aim=aims + alpha * ones),
        },
        cause="Set the gradient to 0 by hand for k = 1: Σ c q (q p - 1) over the chosen, α Σ q (q p) over all, λ n' p.",
    )  # fmt: skip


def _everywhere(matrix: np.ndarray, penalty: float, aim: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix + penalty, aim)
    except np.linalg.LinAlgError:
        return np.full(len(aim), np.nan)


@exercise(4, "bug hunt: pairs against oneself", found=10)
def pairs_against_oneself(guess: Any, hit_share: Callable, other_films: Callable, seed: int = 0) -> str:
    """A share by hand and on small tables; films counted by hand and at random."""
    guessed(guess, (1, 10, 50))
    with Together() as same:
        for rng in cases(seed, 8):
            _share(same, hit_share, some_ratings(rng, int(rng.integers(3, 8)), int(rng.integers(4, 9))))
    with Together() as same:
        _others(same, other_films, np.array([1, 2, 5]), np.arange(4), "films 1, 2 and 5 chosen, draws 0 1 2 3")
        _others(same, other_films, np.zeros(0, np.int64), np.arange(3), "nothing chosen, draws 0 1 2")
        for rng in cases(seed):
            n_items = int(rng.integers(6, 15))
            chosen = np.sort(rng.choice(n_items, int(rng.integers(2, n_items)), replace=False))
            draws = rng.integers(0, n_items - len(chosen), 9)
            _others(same, other_films, chosen, draws, f"films {' '.join(map(str, chosen))} chosen")
    return "8 small tables, films counted by hand, 20 random users"


def _share(same: Together, answer: Callable, train: Any) -> None:
    n, counts = train.n_items, train.user_counts
    of_rows, active = counts[train.users], counts[counts > 0]
    same.agree(
        answer(train), ((of_rows - 1) / (n - 1)).mean(), "the share of draws that the user has chosen, in a small table",
        {
            "The colleague draws until j differs from i: one film less to hit, and one less to draw from.": (of_rows / n).mean(),
            "One film less to hit, but also one less to draw from: i itself is never drawn.": ((of_rows - 1) / n).mean(),
            "One film less to draw from, but also one less to hit: i itself is never drawn.": (of_rows / (n - 1)).mean(),
            "That is the mean over users. A pair is drawn for each row of train: who chose much comes often.":
                ((active - 1) / (n - 1)).mean(),
            "That is the mean over all users, those without a film too. A pair is drawn for each row of train.":
                ((counts - 1) / (n - 1)).mean(),
            "That is the density of the table: a pair is drawn for each row, so who chose much comes often.": train.density,
            "This is how many draws hit: the share of them is asked for.": ((of_rows - 1) / (n - 1)).sum(),
            "This is the share of draws that do not hit.": 1 - ((of_rows - 1) / (n - 1)).mean(),
            "In percent? A share lies between 0 and 1.": 100 * ((of_rows - 1) / (n - 1)).mean(),
            "Films were counted here: how many films has the row's user chosen?":
                ((train.item_counts[train.items] - 1) / (n - 1)).mean(),
        },
        cause="Take one row (u, i): of the other n_items - 1 films, how many has u chosen? Then the mean over all rows.",
    )  # fmt: skip


def _others(same: Together, answer: Callable, chosen: np.ndarray, draws: np.ndarray, what: str) -> None:
    given, drawn = chosen.copy(), draws.copy()
    got = answer(given, drawn)
    untouched(given, chosen, "the chosen films that were given")
    untouched(drawn, draws, "the draws that were given")
    if got is not None and np.shape(got) == draws.shape:
        hit = np.isin(np.asarray(got), chosen)
        if hit.any() and not np.array_equal(got, draws):
            what = f"{what} (of the answers {int(hit.sum())} are chosen ones)"
    gaps = chosen - np.arange(len(chosen))
    search = lambda where, side: draws + np.searchsorted(where, draws, side)  # noqa: E731
    same.agree(
        got, np.setdiff1d(np.arange(len(chosen) + draws.max() + 2), chosen)[draws], what,
        {
            "These are the draws: the r-th other film has chosen ones before it, which have to be skipped.": draws,
            "Skipped as many as lie below r itself. Skipping moves the film on, over further chosen ones.": search(chosen, "right"),
            "Skipped as many as lie strictly below r itself. Skipping moves the film on, over further chosen ones.":
                search(chosen, "left"),
            'One too few: a chosen film with exactly r others below it comes before the r-th, side="right".': search(gaps, "left"),
            "All chosen films were skipped: only those that come before count.": draws + len(chosen),
            "r is counted from 0: the draw 0 is the first other film.": search(gaps, "right") - 1,
            "One too far: r is counted from 0.": search(gaps, "right") + 1,
            "The t-th chosen film has `chosen[t] - t` others below it, with t counted from 0.": search(gaps - 1, "right"),
            "With t counted from 0, and not from 1 … that is chosen + t here; the others are fewer.":
                search(chosen + np.arange(len(chosen)), "right"),
            "That is how many are skipped: add it to the draws.": np.searchsorted(gaps, draws, "right"),
        },
        cause="Write the films in a row and cross out the chosen ones. How many others lie below chosen[t]?",
    )  # fmt: skip
    numbers = np.asarray(got)
    require(
        numbers.dtype.kind in "iu",
        "the films",
        "whole numbers",
        numbers.dtype,
        "They are rows of a table: .astype(int).",
    )


@exercise(5, "a new user, without the large matrix")
def a_new_user_without_the_large_matrix(new_scores: Callable, seed: int = 0) -> str:
    """A user of the table, somebody new, somebody who chose nothing: against weights of items × items."""
    with Together() as same:
        for number, rng in enumerate(cases(seed)):
            X = (rng.random((int(rng.integers(3, 6)), int(rng.integers(5, 9)))) < 0.5).astype(float)
            x = X[1].copy() if number == 0 else (rng.random(X.shape[1]) < 0.4).astype(float)
            x = np.zeros(X.shape[1]) if number == 1 else x
            kind = {0: "the second user of the table", 1: "somebody who chose nothing"}.get(number, "somebody new")
            _new_scores(same, new_scores, X, x, rng.uniform(0.5, 4), f"the scores of {kind}")
    _small_matrices(new_scores, np.random.default_rng(seed))
    return "a user of the table, an empty row, 18 new users"


def _small_matrices(answer: Callable, rng: np.random.Generator) -> None:
    """Three users and 1,500 films: a matrix of items × items has two million numbers."""
    X, x = ((rng.random(shape) < 0.1).astype(float) for shape in ((3, 1500), 1500))
    most = peak_memory(answer, X, x, 2.0)
    require(most < 8 * 1500**2, "the memory for 3 users and 1,500 films", "less than a megabyte", f"{most / 1e6:.0f} megabytes",
            "A matrix of items × items was made: x Xᵀ and A have a row or a column for each user instead.")  # fmt: skip


def _new_scores(same: Together, answer: Callable, X: np.ndarray, x: np.ndarray, reg: float, what: str) -> None:
    given = X.copy(), x.copy()
    got = answer(*given, reg)
    untouched(given[0], X, "the table that was given")
    untouched(given[1], x, "the row that was given")
    users, items = np.eye(len(X)), np.eye(len(x))
    P = np.linalg.inv(X.T @ X + reg * items)
    B = items - P / np.diag(P)
    A = np.linalg.solve(X @ X.T + reg * users, X)
    rest, left = 1 - (X * A).sum(axis=0), x - (x @ X.T) @ A
    stacked = np.vstack([X, x])
    again = np.linalg.inv(stacked.T @ stacked + reg * items)
    with np.errstate(divide="ignore", invalid="ignore"):
        same.agree(
            got, x @ B, what,
            {
                "That is x P times λ, each film's own share still in it: subtract it from x, divided by 1 - Σ X∘A.": left,
                "The diagonal is forgotten: divide by 1 - Σ X∘A, film by film.": x - left,
                "x is to be subtracted from: x - … . This is what is taken off.": left / rest,
                "That is -(x - x B): x is missing.": -left / rest,
                "(x Xᵀ) A is what the others say. x minus that, divided by 1 - Σ X∘A, is what is taken off x.": (x @ X.T) @ A,
                "The first x is forgotten: λ x P = x - (x Xᵀ) A.": x + ((x @ X.T) @ A) / rest,
                "λ once too often: x - (x Xᵀ) A is λ x P already, and 1 - Σ X∘A is λ diag(P).": x - reg * left / rest,
                "Divided by λ once too often: it falls out.": x - left / rest / reg,
                "The new row took part in the training: X stays as it is.":
                    x @ (items - again / np.diag(again)),
                "Rows of B for columns? B is not symmetric: each column is divided by its own P_jj.": x @ B.T,
                "Σ X∘A goes over the users, film by film: axis=0.": x - left / (1 - (X * A).sum()),
                "1 - Σ X∘A, not Σ X∘A.": x - left / (1 - rest),
                "Multiplied where it is divided: by 1 - Σ X∘A.": x - left * rest,
                "Without λ on the diagonal of X Xᵀ.": _without_lambda(X, x),
                "The sign: what the diagonal takes off is subtracted from x.": x + left / rest,
                "λ is missing in A: (X Xᵀ + λ I)⁻¹ X.": _with_another_lambda(X, x, 1.0),
                "What was chosen is set to 0 here: the scores of all films are asked for.": np.where(x > 0, 0, x @ B),
                "What was chosen is set to -inf here: the scores of all films are asked for.": np.where(x > 0, -np.inf, x @ B),
            },
            cause="By hand: x B = x - x P / diag(P). Put λ x P = x - (x Xᵀ) A and λ P_jj = 1 - Σ_u X_uj A_uj into it.",
        )  # fmt: skip


def _with_another_lambda(X: np.ndarray, x: np.ndarray, reg: float) -> np.ndarray:
    A = np.linalg.solve(X @ X.T + reg * np.eye(len(X)), X)
    return x - (x - (x @ X.T) @ A) / (1 - (X * A).sum(axis=0))


def _without_lambda(X: np.ndarray, x: np.ndarray) -> np.ndarray:
    try:
        A = np.linalg.solve(X @ X.T, X)
    except np.linalg.LinAlgError:
        return np.full(len(x), np.nan)
    return x - (x - (x @ X.T) @ A) / (1 - (X * A).sum(axis=0))
