"""The exercises to lesson 12: reasons, rows for an index, and lists as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, combinations_with_replacement, product
from typing import Any

import numpy as np

from .feedback import Either, Together, cases, exercise, peak_memory, require, untouched


@exercise(1, "why this and not that")
def why_this_and_not_that(why_rather: Callable, seed: int = 0) -> str:
    """One factor by hand, two films that are the same, and random rows."""
    with Together() as same:
        one = np.array([[1.0], [2.0], [3.0]])
        _rather(
            same, why_rather, 2, 0, np.array([1]), np.array([2.0]), one, 0.5, 0.1, "film 2 rather than 0, one factor"
        )
        for number, rng in enumerate(cases(seed)):
            n_items, k = int(rng.integers(6, 12)), int(rng.integers(2, 4))
            chosen = rng.choice(n_items, int(rng.integers(2, n_items - 2)), replace=False)
            film, other = rng.choice(n_items, 2, replace=number == 1)
            given = chosen, rng.uniform(0.3, 3, len(chosen)), rng.normal(size=(n_items, k))
            _rather(
                same, why_rather, film, other, *given, rng.uniform(0.1, 0.9), rng.uniform(0.01, 0.5), "a random user"
            )
    return "one factor by hand, 20 random users"


def _rather(
    same: Together, answer: Callable, film: int, other: int, chosen: np.ndarray, confidences: np.ndarray, Q: np.ndarray,
    alpha: float, reg: float, what: str,
) -> None:  # fmt: skip
    given = chosen.copy(), confidences.copy(), Q.copy()
    got = answer(int(film), int(other), *given, alpha, reg)
    for now, before, name in zip(given, (chosen, confidences, Q), ("films", "confidences", "factors"), strict=True):
        untouched(now, before, f"the {name} that were given")
    own, gram, identity = Q[chosen], Q.T @ Q, np.eye(Q.shape[1])
    weighed, c, apart = (own.T * confidences) @ own, confidences, Q[film] - Q[other]
    n_cells = len(chosen) + alpha * len(Q)

    def parts(matrix=weighed + alpha * gram, penalty=reg * n_cells, times=c, asked=apart):
        return times * (own @ _solved(matrix + penalty * identity, asked))

    same.agree(
        got, parts(), f"what each film adds: {what}",
        {
            "That is the sum: each chosen film's own part is asked for.": parts().sum(),
            "These are the parts of the first film's score: subtract those of the other's.": parts(asked=Q[film]),
            "These are the parts of the other film's score.": parts(asked=Q[other]),
            "The other way round: the score of `film` less that of `other`.": parts(asked=-apart),
            "Added, where the difference of two scores is asked for.": parts(asked=Q[film] + Q[other]),
            "The confidence of each film multiplies its part, too: p is A⁻¹ Σ c_j q_j.": parts(times=1),
            "Confidences squared: in front of a part the confidence stands once.": parts(times=c**2),
            "The confidences are forgotten in A.": parts(own.T @ own + alpha * gram),
            "The confidences are forgotten, in A and in the sum.": parts(own.T @ own + alpha * gram, times=1),
            "The cells that were not chosen are missing in A: α QᵀQ.": parts(weighed),
            "QᵀQ without α.": parts(weighed + gram),
            "The penalty is λ (n + α n_items). Here it is λ alone.": parts(penalty=reg),
            "The penalty counts α n_items, too: λ (n + α n_items).": parts(penalty=reg * len(chosen)),
            "n counts the chosen films, each as 1, and not their confidences.":
                parts(penalty=reg * (c.sum() + alpha * len(Q))),
            "The penalty is missing.": parts(penalty=0.0),
            "α is missing before n_items: λ (n + α n_items).": parts(penalty=reg * (len(chosen) + len(Q))),
            "α multiplies n_items alone: λ (n + α n_items).": parts(penalty=reg * alpha * (len(chosen) + len(Q))),
            "n is the number of chosen films, n_items that of all films, the rows of Q.":
                Either([parts(penalty=reg * (a + alpha * b)) for a, b in
                 ((len(Q), len(Q)), (len(chosen), len(chosen)), (len(chosen), Q.shape[1]), (len(Q), len(chosen)))]),
            "c_j as it is, in A and in the sum: here it was normalised, or its root taken.":
                Either([parts(times=c / c.sum()), parts(times=c / len(c)), parts(times=np.sqrt(c))]),
            "That is how near the user is to each film. A⁻¹ (q_i - q_h) meets q_j: the user's row is a sum, and not to be used.":
                c * (own @ _solved(weighed + alpha * gram + reg * n_cells * identity, own.T @ c)),
            "Parts may be negative: a film may speak against.": np.abs(parts()),
            "The confidences stand twice in A: they weigh each product q qᵀ once.": parts((own.T * c**2) @ own + alpha * gram),
            "1 + c? On this page the confidence of a chosen film is c itself.": parts(weighed + own.T @ own + alpha * gram, times=1 + c),
            "Two terms of A are missing: α QᵀQ and the penalty.": parts(weighed, penalty=0.0),
            "λ belongs on the diagonal alone: times np.eye.": _added_everywhere(own, weighed + alpha * gram, reg * n_cells, c, apart),
            "A is not inverted: these are the products q · q_j. A⁻¹ stands between them.": c * (own @ apart),
            "Multiplied by A, where its inverse is meant.": c * (own @ ((weighed + alpha * gram + reg * n_cells * identity) @ apart)),
            "Sorted? Each part stays at the place of its film in `chosen`.": np.sort(parts())[::-1],
            "In percent of the sum? The parts themselves are asked for: they add up to the difference.":
                parts() / parts().sum() if parts().any() else np.nan * c,
            "These are changes if a film were left out. That changes A; here each part of the sum as it stands is asked for.":
                _left_out(own, c, alpha * gram, reg, len(chosen), alpha * len(Q), apart),
        },
        cause="Is their sum the difference of the two scores? If so, the parts went to other films. If not: are A and what is asked of it right?",
    )  # fmt: skip


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.full(len(matrix), np.nan)


def _added_everywhere(
    own: np.ndarray, matrix: np.ndarray, penalty: float, c: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    return c * (own @ _solved(matrix + penalty, asked))


def _left_out(
    own: np.ndarray, c: np.ndarray, everywhere: np.ndarray, reg: float, n: int, cells: float, asked: np.ndarray
) -> np.ndarray:
    def difference(keep: np.ndarray) -> float:
        rows, weights = own[keep], c[keep]
        A = (rows.T * weights) @ rows + everywhere + reg * (len(rows) + cells) * np.eye(own.shape[1])
        return float(asked @ np.linalg.solve(A, rows.T @ weights))

    everything = np.arange(n)
    return np.array([difference(everything) - difference(everything != j) for j in range(n)])


@exercise(2, "bug hunt: the wrong neighbours")
def the_wrong_neighbours(item_rows: Callable, user_row: Callable, seed: int = 0) -> str:
    """Cosines of the rows against scores, for random factors and biases."""
    with Together() as same:
        for rng in cases(seed):
            k, n_items = int(rng.integers(1, 4)), int(rng.integers(4, 9))
            small = 1 if rng.random() < 0.5 else 0.05
            Q, b, p = small * rng.normal(size=(n_items, k)), small * rng.normal(0, 1.5, n_items), rng.normal(size=k)
            given = Q.copy(), b.copy(), p.copy()
            rows, asked = item_rows(*given[:2]), user_row(given[2])
            for now, before, name in zip(given, (Q, b, p), ("factors", "biases", "user's factors"), strict=True):
                untouched(now, before, f"the {name} that were given")
            rows, asked = _row_shapes(rows, asked, n_items, k)
            got = _direction(rows @ asked / _lengths(rows))
            longest = "all of one length" if np.ptp(_lengths(rows)) < 1e-6 else "of different lengths"
            same.agree(got, _direction(Q @ p + b), f"the cosines, scaled to length 1 (the rows are {longest})", _neighbours(Q, b, p),
                       cause="Take the product of your two rows by hand: is it q · p + b? And have all rows one length?")  # fmt: skip
    return "20 random catalogues: cosines in proportion to scores"


def _row_shapes(rows: Any, asked: Any, n_items: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    for got, shape, what in (
        (rows, (n_items, k + 2), "the rows of the items"),
        (asked, (k + 2,), "the row of the user"),
    ):
        require(
            got is not None,
            what,
            f"an array of shape {shape}",
            got,
            "Nothing came back: does the function end in `return`?",
        )
        turned = np.ndim(got) != len(shape) or np.shape(got)[::-1] == shape
        cause = (
            "A row for each item, and the user's is one-dimensional."
            if turned
            else "The factors, the bias (1 for the user), one number more."
        )
        require(np.shape(got) == shape, f"the shape of {what}", shape, np.shape(got), cause)
    rows, asked = np.asarray(rows, dtype=np.float64), np.asarray(asked, dtype=np.float64)
    if np.isnan(rows).sum() == 1:  # the longest row lacks nothing, and rounding may make a negative number of that
        rows = np.nan_to_num(rows)
    require(np.isfinite(rows).all(), "the rows of the items", "finite numbers", rows,
            "The root of a negative number? M is the length of the *longest* row [q, b].")  # fmt: skip
    return rows, asked


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.maximum(1e-12, np.linalg.norm(rows, axis=1))


def _direction(values: np.ndarray) -> np.ndarray:
    return values / max(1e-12, np.linalg.norm(values))


def _root(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.sqrt(values)


def _neighbours(Q: np.ndarray, b: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """What cosines are in proportion to after typical mistakes."""
    rows = np.column_stack([Q, b])
    alone, both = (Q**2).sum(axis=1), (rows**2).sum(axis=1)
    asked = np.append(p, 1.0)

    def cosine(squares, rows=rows, asked=asked, last=0.0, missing=_root):
        added = missing(squares.max() - squares)
        whole = np.column_stack([rows, added])
        return _direction(whole @ np.append(asked, last) / _lengths(whole))

    no_bias = np.append(p, 0.0)
    zero = lambda gap: 0 * gap  # noqa: E731

    def _unit(table):
        return table / np.maximum(1e-12, np.linalg.norm(table, axis=1, keepdims=True))

    return {
        "Two bugs are left: the lengths are those of q without b, and the user's row has a 1 where nothing shall be added.":
            cosine(alone, last=1.0),
        "The added number is made of the length of q alone: with b in the row it is the length of [q, b] that counts.":
            cosine(alone),
        "The user's last number is 1: then what was added to make lengths equal counts as score.": cosine(both, last=1.0),
        "The user's last number is -1: what was added to make lengths equal must not count.": cosine(both, last=-1.0),
        "The bias is not asked for (a 1 in the user's row), and the added number ignores b.": cosine(alone, asked=no_bias),
        "The user's 1 and 0 are exchanged: 1 belongs to the bias.": cosine(both, asked=no_bias, last=1.0),
        "Nothing makes the rows equally long: the added number is 0.": cosine(both, missing=zero),
        "The added number is a difference of squares: its root is missing.": cosine(both, missing=lambda gap: gap),
        "M - length is no missing side: lengths add up by their squares, √(M² - ‖[q, b]‖²).":
            cosine(np.sqrt(both), missing=lambda gap: gap),
        "M is squared already: the squares' maximum less each square.":
            Either([cosine(both, missing=lambda gap: _root(both.max() ** 2 - both)),
                    cosine(both, missing=lambda gap: _root(np.maximum(0, both.max() ** 2 - both)))]),
        "The user's factors were scaled before the 1 came: now the bias counts too much or too little.":
            cosine(both, asked=np.append(p / np.linalg.norm(p), 1.0)),
        "The films' factors were scaled: their length is part of the score.":
            _direction(_unit(Q) @ p + b),
        "‖[q, b]‖² is ‖q‖² + b²: squares, and then one root.":
            Either([cosine(np.sqrt(both), missing=_root), cosine(alone + b, missing=_root), cosine((np.sqrt(alone) + b) ** 2, missing=_root)]),
        "M has to be the longest [q, b], with the bias: that of q alone is too short, and what is below 0 was cut off.":
            cosine(both, missing=lambda gap: _root(np.maximum(0, alone.max() - both))),
        "The bias of each film is subtracted.": cosine(both, asked=np.append(p, -1.0)),
        "The order is that of q · p alone: is b in the films' rows, and a 1 for it in the user's?": _direction(Q @ p),
    }  # fmt: skip


@exercise(3, "a list that is more than its parts")
def a_list_that_is_more_than_its_parts(covering: Callable, seed: int = 0) -> str:
    """Four films by hand, a weight of zero, and random lists."""
    with Together() as same:
        by_hand = np.array([0.9, 0.8, 0.5, 0.4]), np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1]])
        _covering(
            same, covering, *by_hand, 0.35, 3, "scores 0.9 0.8 0.5 0.4, genres A, A, B, B and C, weight 0.35, n = 3"
        )
        _covering(same, covering, *by_hand, 0.0, 2, "the same films, weight 0, n = 2")
        twins = np.array([0.5, 0.5, 0.5, 0.5]), np.array([[0, 1], [0, 1], [1, 0], [1, 0]])
        _covering(same, covering, *twins, 0.1, 3, "four films of one score, two of each genre, n = 3")
        _covering(
            same, covering, -1 - by_hand[0], by_hand[1], 0.1, 3, "the first films with scores of -1.9 -1.8 -1.5 -1.4"
        )
        for rng in cases(seed):
            n_films = int(rng.integers(5, 12))
            flags = (rng.random((n_films, 5)) < 0.4).astype(float)
            scores = np.sort(rng.random(n_films))[::-1] if rng.random() < 0.5 else rng.random(n_films)
            _covering(
                same, covering, scores, flags, rng.uniform(0.05, 0.5), int(rng.integers(2, n_films)), "random films"
            )
    return "four films by hand, equal ones, negative scores, 20 random lists"


def _covering(
    same: Together, answer: Callable, scores: np.ndarray, flags: np.ndarray, weight: float, n: int, what: str
) -> None:
    given = scores.copy(), flags.copy()
    got = answer(*given, weight, n)
    untouched(given[0], scores, "the scores that were given")
    untouched(given[1], flags, "the flags that were given")
    on = flags > 0
    filled, new, plus, covered = _filling(scores, on, weight, n)
    right = filled(plus)
    same.agree(
        got, right, f"the list: {what}",
        {
            "All genres of a film count here: those that the list has are no longer new.":
                filled(lambda film, chosen: scores[film] + weight * on[film].sum()),
            "A film may come twice here: what is in the list gets -inf.": filled(plus, taken=None),
            "Of equal films the first: np.argmax takes it, and in a loop `>` and not `>=`.": filled(plus, last=True),
            "Scores can be negative: a film that is taken gets -inf.": Either([filled(plus, taken=0.0), filled(plus, taken=-1.0)]),
            "A genre that two films of the list have counts against a third: covered is yes or no.":
                filled(lambda film, chosen: scores[film] + weight * (on[film] * (1 - on[chosen].sum(axis=0))).sum()),
            "That is MMR's form: here the score counts whole, and w comes on top.":
                filled(lambda film, chosen: (1 - weight) * scores[film] + weight * new(film, chosen)),
            "The share of new genres among all genres counts here: it is their number.":
                filled(lambda film, chosen: scores[film] + weight * new(film, chosen) / flags.shape[1]),
            "Genres alone decide: add the score.": filled(lambda film, chosen: new(film, chosen)),
            "Scores alone decide: is the number of new genres always 0?": filled(lambda film, chosen: scores[film]),
            "The weight is forgotten: each new genre counts w.": filled(lambda film, chosen: scores[film] + new(film, chosen)),
            "Genres that the list has already are rewarded: `~covered`.":
                filled(lambda film, chosen: scores[film] + weight * (on[film] & covered(chosen)).sum()),
            "Old genres are punished, and new ones not rewarded: a film without genres is not worth as much as one with new ones.":
                filled(lambda film, chosen: scores[film] - weight * (on[film] & covered(chosen)).sum()),
            "Only the last film of the list is looked at: a genre is covered by any film of the list.":
                filled(lambda film, chosen: scores[film] + weight * (on[film] & ~covered(chosen[-1:])).sum()),
            "Whether there is a new genre counts here: it is their number.":
                filled(lambda film, chosen: scores[film] + weight * (new(film, chosen) > 0)),
            "The share of new genres among a film's own counts here: it is their number.":
                filled(lambda film, chosen: scores[film] + weight * new(film, chosen) / max(1, on[film].sum())),
            "The first film was taken by its score alone: at the beginning all its genres are new.":
                filled(plus, start=scores.argmax()),
            "Are new genres subtracted?": filled(lambda film, chosen: scores[film] - weight * new(film, chosen)),
            "These are scores: the positions of the films are asked for.": scores[right],
            "The films are right, their order is not: in the order in which they were taken.":
                Either([np.sort(right), right[np.argsort(-scores[right], kind="stable")]]),
            "The best of all lists was looked for: fill it one by one.": _best_of_all(scores, on, weight, n),
            "The first n by score, put in order again? The list takes films from all that were given.":
                _among(np.argsort(-scores, kind="stable")[:n], plus),
        },
        cause="Fill the list by hand for the first case: after each film, which genres are new for those that are left?",
    )  # fmt: skip
    positions = np.asarray(got)
    require(
        positions.dtype.kind in "iu",
        "the positions",
        "whole numbers",
        positions.dtype,
        "They are places in a list: int.",
    )


def _filling(scores: np.ndarray, on: np.ndarray, weight: float, n: int) -> tuple[Callable, ...]:
    """A function that fills a list by some gain of a film, and what gains are made of."""

    def filled(gain, taken=-np.inf, start=None, last=False):
        chosen: list[int] = []
        for _ in range(n):
            value = np.array([gain(film, chosen) for film in range(len(scores))], float)
            if taken is not None:
                value[chosen] = taken
            best = len(value) - 1 - value[::-1].argmax() if last else value.argmax()
            chosen.append(int(start) if start is not None and not chosen else int(best))
        return np.array(chosen)

    covered = lambda chosen: on[chosen].any(axis=0)  # noqa: E731
    new = lambda film, chosen: (on[film] & ~covered(chosen)).sum()  # noqa: E731
    plus = lambda film, chosen: scores[film] + weight * new(film, chosen)  # noqa: E731
    return filled, new, plus, covered


def _best_of_all(scores: np.ndarray, on: np.ndarray, weight: float, n: int) -> np.ndarray:
    if len(scores) > 8:  # thousands of lists
        return np.full(n, -1)
    found = max(
        combinations(range(len(scores)), n),
        key=lambda c: scores[list(c)].sum() + weight * on[list(c)].any(axis=0).sum(),
    )
    return np.array(found)


def _among(films: np.ndarray, gain: Callable) -> np.ndarray:
    chosen: list[int] = []
    for _ in films:
        value = [gain(film, chosen) if film not in chosen else -np.inf for film in films]
        chosen.append(int(films[int(np.argmax(value))]))
    return np.array(chosen)


@exercise(4, "how far from the past, by chance")
def how_far_from_the_past(by_chance: Callable, seed: int = 0) -> str:
    """Two films by hand, all films at once, and random pasts."""
    with Together() as same:
        _chance(same, by_chance, np.eye(2), 1, "two films of one genre each, lists of one")
        _chance(same, by_chance, np.eye(3)[[0, 0, 1]], 3, "lists of all three films")
        for rng in cases(seed):
            flags = rng.random((int(rng.integers(4, 7)), 4)) < 0.5
            flags[:, 0] |= ~flags.any(axis=1)
            _chance(same, by_chance, flags / flags.sum(axis=1, keepdims=True), int(rng.integers(1, 4)), "a random past")
    return "two films by hand, all at once, 20 random pasts"


def _without(p: np.ndarray, q: np.ndarray, kept: np.ndarray) -> float:
    kept = kept & (p > 0)
    return float((p[kept] * np.log(p[kept] / q[kept])).sum())


def _chance(same: Together, answer: Callable, shares: np.ndarray, n: int, what: str) -> None:
    given = shares.copy()
    got = answer(given, n)
    untouched(given, shares, "the shares that were given")
    p, m = shares.mean(axis=0), len(shares)
    lists = [list(films) for films in combinations(range(m), n)]
    qs = np.array([shares[films].mean(axis=0) for films in lists])

    def distance(p, q, log=np.log):
        known = p > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return (p[known] * log(p[known] / q[known])).sum()

    mean = lambda values: float(np.mean(list(values)))  # noqa: E731
    smooth = lambda q: 0.99 * q + 0.01 * p  # noqa: E731
    found = [distance(p, smooth(q)) for q in qs]
    again = [shares[list(films)].mean(axis=0) for films in product(range(m), repeat=n)]
    same.agree(
        got, mean(found), f"the mean divergence: {what}",
        {
            "The divergence of the mean list is 0, whatever the films: take the mean of the divergences.":
                distance(p, smooth(qs.mean(axis=0))),
            "h and ℓ are exchanged: Σ h log(h / ℓ̃).": mean(distance(smooth(q), p) for q in qs),
            "Exchanged, and ℓ is not smoothed: Σ h log(h / ℓ̃).": mean(distance(q, p) for q in qs),
            "The genre that a list lacks makes it infinite: ℓ̃ = 0.99 ℓ + 0.01 h.": mean(distance(p, q) for q in qs),
            "0.99 and 0.01 are exchanged: ℓ̃ is nearly ℓ.": mean(distance(p, 0.01 * q + 0.99 * p) for q in qs),
            "log2 or log10? The lesson has the natural logarithm.": mean(found) / np.log(2),
            "log10? The lesson has the natural logarithm.": mean(found) / np.log(10),
            "The sum over the lists: divide by their number.": float(np.sum(found)),
            "A film came twice in a list: all lists of n *different* films.": mean(distance(p, smooth(q)) for q in again),
            "Genres that a list lacks count most: leave out only those with h = 0.":
                Either([mean(_without(p, smooth(q), q > 0) for q in qs), mean(_without(p, q, q > 0) for q in qs)]),
            "The mean over the genres: it is their sum.":
                Either([mean(found) / (p > 0).sum(), mean(found) / len(p)]),
            "The last list's divergence: their mean is asked for.": found[-1],
            "The median of all lists: their mean is asked for.": float(np.median(found)),
            "A film came twice in a list (with replacement): all lists of n *different* films.":
                mean(distance(p, smooth(shares[list(films)].mean(axis=0))) for films in combinations_with_replacement(range(m), n)),
            "Each film on its own: ℓ is the mean of a whole list.": mean(distance(p, smooth(row)) for row in shares),
            "One list was looked at, that of the first n films: all of them are asked for.": found[0],
            "The worst of all lists: their mean is asked for.": max(found),
            "The best of all lists: their mean is asked for.": min(found),
            "ℓ̃ with even shares? The little that is added is h.":
                mean(distance(p, 0.99 * q + 0.01 / shares.shape[1]) for q in qs),
            "The sum of shares of a list is n, its mean 1: divide by n.": mean(distance(p, 0.99 * n * q + 0.01 * p) for q in qs),
            "ℓ̃ = ℓ + 0.01 h adds up to more than 1: 0.99 ℓ.": mean(distance(p, q + 0.01 * p) for q in qs),
            "Without the weight h in front of the logarithm? Σ h log(h / ℓ̃).":
                mean(np.log(p[p > 0] / smooth(q)[p > 0]).sum() for q in qs),
            "The sign: log(h / ℓ̃) and not log(ℓ̃ / h).": -mean(found),
        },
        cause=(
            "For two films of one genre each h is (0.5, 0.5), a list of one has ℓ = (1, 0). Work out ℓ̃ and the sum by hand."
            if m == 2 else
            "Near, and not the same? Drawn lists are only near: go through all of them. nan? Leave out genres with h = 0. "
            "And rows of one list: shares[list(films)].mean(axis=0)."
        ),
        tolerance=1e-5,
    )  # fmt: skip


@exercise(5, "a catalogue in pieces")
def a_catalogue_in_pieces(best_of_blocks: Callable, seed: int = 0) -> str:
    """One block, blocks shorter than the list, random blocks; and the memory that it takes."""
    with Together() as same:
        for number, rng in enumerate(cases(seed)):
            n_items, k, n = int(rng.integers(8, 20)), int(rng.integers(1, 4)), int(rng.integers(2, 6))
            P, Q, b = rng.normal(size=(3, k)), rng.normal(size=(n_items, k)), rng.normal(size=n_items)
            size = n_items if number == 0 else 1 if number == 1 else int(rng.integers(1, n_items))
            what = {0: "one block of all films", 1: "blocks of one film each"}.get(number, f"blocks of {size} films")
            _pieces(same, best_of_blocks, P, Q, b, n, size, f"{what}, n = {n}")
    _no_table(best_of_blocks, np.random.default_rng(seed))
    return "one block, blocks of one film, 18 catalogues, and a look at the memory"


def _blocks(Q: np.ndarray, b: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for at in range(0, len(Q), size):
        yield Q[at : at + size].copy(), b[at : at + size].copy()


def _pieces(
    same: Together, answer: Callable, P: np.ndarray, Q: np.ndarray, b: np.ndarray, n: int, size: int, what: str
) -> None:
    given = P.copy()
    got = answer(given, _blocks(Q, b, size), n)
    untouched(given, P, "the users' factors that were given")
    if isinstance(got, tuple):
        require(
            len(got) != 2, what, "an array of numbers", got, "The numbers alone are asked for, without their scores."
        )
    if got is not None and np.ndim(got) == 2 and np.shape(got)[0] == 1 < len(P):
        require(False, f"the shape of the lists: {what}", (len(P), n), np.shape(got),
                "A generator is used up after one pass: blocks outside, users inside.")  # fmt: skip
    scores = P @ Q.T + b
    ordered = lambda values: np.argsort(-values, axis=1, kind="stable")  # noqa: E731
    starts = np.arange(0, len(Q), size)
    each = [ordered(scores[:, at : at + size])[:, :n] for at in starts]
    pieces = np.hstack([at + best for at, best in zip(starts, each, strict=True)])
    inside = np.arange(len(Q)) - np.repeat(starts, size)[: len(Q)]
    right = ordered(scores)[:, :n]
    same.agree(
        got, right, f"the lists: {what}",
        {
            "These are numbers within a block: add the number of the block's first film.": inside[right],
            "These are the best of the first block: the others compete, too.": each[0],
            "These are the best of the last block: keep those of the blocks before.": starts[-1] + each[-1],
            "The last block's, numbered within it: keep the best of the blocks before, with their numbers.": each[-1],
            "The best of each block one after the other: they have to compete, and n are asked for.": pieces,
            "The first n of the blocks' own lists: sort once more, over all blocks.": pieces[:, :n],
            "The lowest scores: sort by -score.": np.argsort(scores, axis=1, kind="stable")[:, :n],
            "The right films from the last to the first: best first.": right[:, ::-1],
            "The right films in the order of their numbers: best first.": np.sort(right, axis=1),
            "The biases are forgotten.": ordered(P @ Q.T)[:, :n],
            "The biases are subtracted.": ordered(P @ Q.T - b)[:, :n],
            "These are scores: the films' numbers are asked for.": np.take_along_axis(scores, right, axis=1),
            "A row is a user: transposed?": right.T,
            "Each user has an order of their own: np.take_along_axis, for scores and for numbers.":
                Either([np.broadcast_to(right[0], right.shape)]),
            "One list for all: each user has their own.": np.argsort(-scores.sum(axis=0), kind="stable")[:n],
            "All films, sorted: the first n are asked for.": ordered(scores),
            "Each block's positions were taken with `first` of the block after it.": right + size,
        },
        cause="Follow one user through two blocks by hand: which films, by number, are kept after each? A block's first film "
              "has the number of films in the blocks before it, and scores and numbers are put in order together.",
    )  # fmt: skip
    numbers = np.asarray(got)
    require(numbers.dtype.kind in "iu", "the films", "whole numbers", numbers.dtype, "They are rows of a table: int.")


def _no_table(answer: Callable, rng: np.random.Generator) -> None:
    """200 users and 20,000 films in blocks of 200: all scores or all factors would take 32 MB, those of a block 0.3."""
    P, Q = rng.normal(size=(200, 200)), rng.normal(size=(200, 200))
    most = peak_memory(answer, P, ((Q * (1 + number), np.zeros(200)) for number in range(100)), 10)
    require(most < 10e6, "the memory for 200 users and 100 blocks of 200 films", "less than 10 MB", f"{most / 1e6:.0f} MB",
            "Scores or blocks of all films were kept: keep n films a user, and let each block go.")  # fmt: skip
