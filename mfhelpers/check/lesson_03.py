"""The exercises to lesson 03: biases by turns, how true they are, and what factors make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms import baselines
from ..data import splits
from ..data.ratings import Ratings
from ..models.truth import simulate_ratings
from .feedback import Together, agree, cases, exercise, guessed, require, some_ratings


@exercise(1, "ask again and again", found="fall")
def ask_again_and_again(guess: str, in_turns: Callable, seed: int = 0) -> str:
    """Rounds of damped averages against a reference, and many rounds against the exact solution."""
    guessed(guess, ("fall", "same", "rise"))
    with Together() as same:
        for number, rng in enumerate(cases(seed)):
            part, damping, rounds = some_ratings(rng), float(rng.uniform(0.5, 5)), 1 + number % 4
            right = _turns(part, damping, rounds)
            same.agree(
                in_turns(part, damping, rounds), right, f"b_u and b_i after {rounds} rounds",
                {
                    "Users were asked first: a round begins with the films.": _turns(part, damping, rounds, "users"),
                    "Both sides were asked at once: the users' turn must know the films' new answer.":
                        _turns(part, damping, rounds, "at once"),
                    "That is one round, or each begins from zero: the films are to be asked what b_u leaves.": _turns(part, damping, 1),
                    "No damping: add it to the number of ratings.": _turns(part, 0, rounds),
                    "At least `damping` is divided by: add it to the number of ratings instead.":
                        _turns(part, damping, rounds, "at least"),
                    "b_i and b_u are the other way round: b_u first.": right[::-1],
                    "Sums, not means: divide by the number of ratings plus the damping.": _turns(part, damping, rounds, "sums"),
                    "The mean is still in it: subtract mu as well.": _turns(part, damping, rounds, "mean"),
                    "Each answer was added to the one before: a bias is what the other side leaves, not what both leave.":
                        _turns(part, damping, rounds, "added"),
                    "One round too many.": _turns(part, damping, rounds + 1),
                    "One round too few.": _turns(part, damping, rounds - 1),
                    "These are medians: an average is a mean.": _turns(part, damping, rounds, "medians"),
                    "The users are not damped: both sides are.": _turns(part, damping, rounds, "users undamped"),
                    "The films are not damped: both sides are.": _turns(part, damping, rounds, "films undamped"),
                    "Divided by the damping alone: by the number of ratings plus the damping.":
                        _turns(part, damping, rounds, "by damping"),
                    "Twice as much damping: the number of ratings plus `damping`, once.": _turns(part, 2 * damping, rounds),
                    "A damping of 5, where the function is given one.": _turns(part, 5.0, rounds),
                },
            )  # fmt: skip
    for rng in cases(seed, 3):
        part, damping = some_ratings(rng), 2.0
        agree(
            in_turns(part, damping, 300), _at_once(part, damping), "b_u and b_i after 300 rounds",
            cause="The exact minimum of Σe² + 2 (Σb_u² + Σb_i²) is expected. Does every round go on from the one before?",
        )  # fmt: skip
    return "20 cases of up to four rounds; 300 rounds reach the exact minimum"


def _turns(part: Ratings, damping: float, rounds: int, mistake: str = "") -> tuple[np.ndarray, np.ndarray]:
    """The exercise's rounds, or what one of its typical mistakes gives."""
    rest = part.values - (0 if mistake == "mean" else part.values.mean(dtype=np.float64))
    sides: dict[str, Any] = {
        "users": (part.users, np.zeros(part.n_users)),
        "items": (part.items, np.zeros(part.n_items)),
    }
    own, other = ("users", "items") if mistake == "users" else ("items", "users")
    for _ in range(rounds):
        asked_before = sides[own]
        for one, two in ((own, other), (other, own)):
            (ids, biases), (others, known) = sides[one], sides[two]
            if mistake == "at once" and one == other:
                others, known = asked_before
            left = rest - known[others]
            if mistake == "added":
                left = left - biases[ids]
            undamped = mistake == ("users undamped" if one == "users" else "films undamped")
            answer = baselines._offsets(ids, left, len(biases), 0 if undamped else damping)
            if mistake in ("sums", "by damping"):
                answer = np.bincount(ids, left, minlength=len(biases)) / (1 if mistake == "sums" else damping)
            if mistake == "at least":
                answer = np.bincount(ids, left, len(biases)) / np.maximum(
                    np.bincount(ids, minlength=len(biases)), damping
                )
            if mistake == "medians":
                answer = _medians(ids, left, len(biases))
            sides[one] = ids, answer + (biases if mistake == "added" else 0)
    return sides["users"][1], sides["items"][1]


def _medians(groups: np.ndarray, rest: np.ndarray, n: int) -> np.ndarray:
    return np.array([np.median(rest[groups == g]) if (groups == g).any() else 0.0 for g in range(n)])


def _at_once(part: Ratings, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the rounds end: the ridge regression in both sides together."""
    seen = np.hstack([np.eye(part.n_users)[part.users], np.eye(part.n_items)[part.items]])
    rest = part.values - part.values.mean(dtype=np.float64)
    both = np.linalg.solve(seen.T @ seen + damping * np.eye(seen.shape[1]), seen.T @ rest)
    return both[: part.n_users], both[part.n_users :]


@exercise(2, "how many ratings make a bias", found=0.4)
def how_many_ratings_make_a_bias(guess: float, halves: Callable, within_over_between: Callable, seed: int = 0) -> str:
    """Correlation of two halves' means for films of some count, and the ratio that it implies."""
    guessed(guess, (0.1, 0.4, 0.7, 0.9))
    for rng in cases(seed, 5):
        part, _ = simulate_ratings(150, 120, 3_000, seed=int(rng.integers(1000)))
        lowest, draw = int(rng.integers(2, 6)), int(rng.integers(1000))
        asked = part, lowest, lowest + 8, draw
        right = _halves(*asked)
        agree(
            halves(*asked), right, f"correlation and mean number, for {lowest} to {lowest + 8} ratings in each half",
            {
                "Counted in both halves together: count in each.": _halves(*asked, counted="together"),
                "Counted in the first half alone: both must have so many.": _halves(*asked, counted="first"),
                "The upper bound counts, too.": _halves(part, lowest, lowest + 7, draw),
                "The lower bound counts, too.": _halves(part, lowest + 1, lowest + 8, draw),
                "Damped: the plain means are asked for here.": _halves(*asked, damping=5),
                "That is the number of ratings in both halves: give the mean in a half.": (right[0], 2 * right[1]),
                "One half with so many is enough here: both must have them.": _halves(*asked, counted="either"),
                "That is the number of films: give the mean number of their ratings.": (right[0], _films(*asked)),
                "That is the covariance: divide by both standard deviations.": (_halves(*asked, of=np.cov)[0], right[1]),
                "These are ranks' correlation: the means themselves are asked for.":
                    (_halves(*asked, of=lambda *x: np.corrcoef(*np.argsort(np.argsort(x))))[0], right[1]),
                "These are sums of offsets, not their means: sums grow with the number of ratings.":
                    (_halves(*asked, sums=True)[0], right[1]),
                "The other way round: first the correlation.": right[::-1],
                "That is the seed 0's split: hand on `seed`.": _halves(part, lowest, lowest + 8, 0),
                "That is the square of the correlation.": (right[0] ** 2, right[1]),
                "np.corrcoef gives a table: take one of the two numbers off its diagonal.":
                    (np.array([[1, right[0]], [right[0], 1]]), right[1]),
            },
            cause="A film counts if each of the two halves has `lowest` to `highest` of its ratings: their means, film by film. "
            "And the split: half of the ratings, and the seed that was asked for?",
        )  # fmt: skip
        c, n = rng.uniform(0.1, 0.9), rng.uniform(1, 50)
        agree(
            within_over_between(c, n), n * (1 - c) / c, f"within / between, for a correlation of {c:.2f} and {n:.1f} ratings",
            {
                "That is its inverse, between / within.": c / (1 - c) / n,
                "The means scatter by within / n: where is n?": (1 - c) / c,
                "n is on the wrong side: solve c = 1 / (1 + ratio / n) once more.": (1 - c) / c / n,
                "Is that solved for n, not for the ratio?": n * c / (1 - c),
                "Divide by the correlation, too.": n * (1 - c),
            },
            cause="Divide `between / (between + within / n)` above and below by between.",
        )  # fmt: skip
    return "five simulated catalogues, five ratios"


def _halves(
    part, lowest, highest, seed, counted="each", damping=0.0, of=np.corrcoef, sums=False,
) -> tuple[float, float]:  # fmt: skip
    both = splits.random_split(part, test=0.5, seed=seed)
    counts = np.array([half.item_counts for half in both])
    judged = {"each": counts, "together": counts.sum(axis=0, keepdims=True), "first": counts[:1], "either": counts}[
        counted
    ]
    inside = (judged >= lowest) & (judged <= highest)
    films = inside.any(axis=0) & (counts > 0).all(axis=0) if counted == "either" else inside.all(axis=0)
    means = [baselines.item_means(half, damping).item_biases[films] for half in both]
    if sums:
        means = [mean * count[films] for mean, count in zip(means, counts, strict=True)]
    return of(*means)[0, 1], counts[:, films].mean()


def _films(part, lowest, highest, seed) -> int:
    counts = np.array([half.item_counts for half in splits.random_split(part, test=0.5, seed=seed)])
    return int(((counts >= lowest) & (counts <= highest)).all(axis=0).sum())


@exercise(3, "bug hunt: twice generous")
def twice_generous(colleagues: float, right: float, once_generous: Callable, seed: int = 0) -> str:
    """One pair by hand, then biases of which each takes off what the other has explained."""
    agree(
        colleagues, 6.5, "the colleague's prediction for the single pair",
        {
            "One bias was added. The colleague adds both: what are they?": 5.0,
            "Both biases together are 3. Where is the mean?": 3.0,
            "Nothing above five? The formula knows no scale.": 5.5,
        },
        cause="b_i is 5 - 3.5, and so is b_u.", secret=True,
    )  # fmt: skip
    agree(
        right, 5.0, "a right prediction for the single pair", {"That is the mean: the film's bias is 1.5.": 3.5},
        cause="Once the film explains the 1.5 stars, what is left for the user?", secret=True,
    )  # fmt: skip
    for rng in cases(seed):
        part = some_ratings(rng)
        averages = baselines.average_biases(part)
        expected, films = (averages.user_biases, averages.item_biases), averages.item_biases
        rest = part.values - part.values.mean(dtype=np.float64)
        users = _mean(part.users, rest, part.n_users)
        agree(
            once_generous(part), expected, "b_u and b_i",
            {
                "Still twice generous: b_u must not know of what b_i has explained.": (users, films),
                "Users came first here. That counts nothing twice, too, but films were to be first.":
                    (users, _mean(part.items, rest - users[part.users], part.n_items)),
                "Now neither side has what both share: take it off one of them only.":
                    (expected[0], _mean(part.items, rest - users[part.users], part.n_items)),
                "These are medians: each bias is a mean.":
                    (_medians(part.users, rest - _medians(part.items, rest, part.n_items)[part.items], part.n_users),
                     _medians(part.items, rest, part.n_items)),
                "Sums, not means: divide by the number of ratings.":
                    (np.bincount(part.users, rest - films[part.items], part.n_users),
                     np.bincount(part.items, rest, part.n_items)),
                "The mean is still in it: subtract mu from the ratings first.":
                    (_mean(part.users, part.values - _mean(part.items, part.values, part.n_items)[part.items], part.n_users),
                     _mean(part.items, part.values, part.n_items)),
                "The film's bias was added, where b_u is what it leaves: subtract it.":
                    (_mean(part.users, rest + films[part.items], part.n_users), films),
                "Each is halved: that is right for the single pair alone.": (users / 2, films / 2),
                "b_i and b_u are the other way round: b_u first.": (films, expected[0]),
                "These are damped.": _pair(baselines.average_biases(part, damping=5)),
                "Somebody without ratings has 0 / 0: let the bias be 0 there.":
                    tuple(np.where(n > 0, b, np.nan) for n, b in
                          zip((part.user_counts, part.item_counts), expected, strict=True)),
            },
        )  # fmt: skip
    return "the pair by hand, 20 random cases"


def _mean(groups: np.ndarray, rest: np.ndarray, n: int) -> np.ndarray:
    return baselines._offsets(groups, rest, n, 0)


def _pair(factors) -> tuple[np.ndarray, np.ndarray]:
    return factors.user_biases, factors.item_biases


@exercise(4, "do factors repeat the biases?", found="most")
def do_factors_repeat_the_biases(guess: str, explained: Callable, seed: int = 0) -> str:
    """Explained variance of made-up factors, and that mixing their columns does not change it."""
    guessed(guess, ("little", "half", "most"))
    for rng in cases(seed):
        n, k = int(rng.integers(12, 30)), int(rng.integers(2, 5))
        P = rng.normal(0, 1, (n, k)) + rng.normal(0, 2, k)
        b = P @ rng.normal(0, 0.5, k) + rng.normal(0, 1, n) + 3
        right, columns = _explained(P, b), np.array([np.corrcoef(column, b)[0, 1] for column in P.T])
        agree(
            explained(P.copy(), b.copy()), right, "the share that the columns explain together",
            {
                "That is the best single column: ask what all columns explain together.": (columns**2).max(),
                "That is a correlation of one column. A share of the variance is what all columns explain.":
                    np.abs(columns).max(),
                "Shares of single columns do not add up where columns overlap: fit all at once.": (columns**2).sum(),
                "The constant is missing: a column of ones in X.": _explained(P, b, constant=False),
                "The constant is missing, and the mean of what is left with it.": _explained(P, b, False, False),
                "That is the share left over: 1 minus it.": 1 - right,
                "That is its root, a correlation: give the share.": np.sqrt(max(right, 0)),
                "That is the variance explained: divide by that of the biases.": right * b.var(),
                "A share of the standard deviation: a variance is its square.": 1 - np.sqrt(max(1 - right, 0)),
                "Adjusted for the number of columns: the plain share is asked for.":
                    1 - (1 - right) * (n - 1) / (n - k - 1),
                "That is the mean over the columns, each on its own: ask what all explain together.": (columns**2).mean(),
                "The first column alone: all of them together.": columns[0] ** 2,
            },
            cause="Compare by hand: 1 - left.var() / biases.var(), with what is left by the best weights.",
        )  # fmt: skip
        _is_mixable(explained, P, b, rng)
    return "20 made-up tables, each once more with its columns mixed"


def _explained(P: np.ndarray, b: np.ndarray, constant: bool = True, centred: bool = True) -> float:
    X = np.column_stack([P, np.ones(len(b))]) if constant else P
    left = b - X @ np.linalg.lstsq(X, b, rcond=None)[0]
    return 1 - (left.var() if centred else np.mean(left**2)) / b.var()


def _is_mixable(explained: Callable, P: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> None:
    A = rng.normal(0, 1, (P.shape[1], P.shape[1])) + 2 * np.eye(P.shape[1])
    one, other = float(explained(P, b)), float(explained(P @ A, b))
    require(
        abs(one - other) < 1e-6, "the share after mixing the columns of P", one, other,
        "The weights must be free to undo any mixing: let least squares choose all of them.",
    )  # fmt: skip
