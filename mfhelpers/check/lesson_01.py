"""The exercises to lesson 01: gradients by hand, one rating at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import numerical_gradient
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "half a saddle")
def half_a_saddle(after_one: Any, after_two: Any, seed: int = 0) -> str:
    """One and two steps by hand, from a film at zero."""
    P, Q = np.array([[0.2, -0.4]]), np.zeros((1, 2))
    stuck = P[0].copy(), Q[0].copy()
    for number, answer in ((1, after_one), (2, after_two)):
        before = P[0].copy(), Q[0].copy()
        _step(P, Q, 0, 0, 1.0, 0.5, 0.0)
        mistakes = {
            "Nothing moves only where both are zero. The gradient of q_i contains p_u.": stuck,
            "The factor 2 is swallowed by the rate here, as in the lesson.": (
                before[0] + (before[1] if number == 2 else 0) * 0.9, before[1] + (1 if number == 1 else 0.9) * before[0]),
            "Is the error still 1 in the second step? The film has moved.": (
                before[0] + 0.5 * before[1], before[1] + 0.5 * before[0]),
            "p_u and q_i are the other way round: p_u first.": (Q[0], P[0]),
        }  # fmt: skip
        agree(
            answer, (P[0], Q[0]), f"p_u and q_i after step {number}", mistakes,
            cause="Write down e first. Then q_i moves by 0.5 e p_u, and p_u by 0.5 e q_i, with the old q_i.",
        )  # fmt: skip
    return "both steps"


@exercise(2, "bug hunt: the hasty step")
def the_hasty_step(guess: str, careful_step: Callable, seed: int = 0) -> str:
    """A step from the old rows, against what taking turns would give."""
    guessed(guess, ("hasty", "careful", "both", "neither"))
    _steps(careful_step, seed, reg=None)
    return "20 random cases, from the old rows"


@exercise(3, "a price on large numbers")
def a_price_on_large_numbers(priced_gradients: Callable, priced_step: Callable, seed: int = 0) -> str:
    """Gradients against central differences, then the step that follows them."""
    for rng in cases(seed):
        p, q = rng.normal(0, 1, (2, 3))
        r, mu, reg = rng.integers(1, 6), rng.uniform(2, 4), rng.uniform(0.05, 0.5)
        e, got = r - mu - p @ q, priced_gradients(p.copy(), q.copy(), r, mu, reg)
        expected = (
            numerical_gradient(lambda x, q=q: (r - mu - x @ q) ** 2 + reg * (x @ x), p),  # noqa: B023
            numerical_gradient(lambda x, p=p: (r - mu - p @ x) ** 2 + reg * (x @ x), q),  # noqa: B023
        )
        mistakes = {
            "The price has no effect: add 2 λ p to the one and 2 λ q to the other.": (-2 * e * q, -2 * e * p),
            "The derivative of λ p² is 2 λ p: a factor 2 is missing.": (-2 * e * q + reg * p, -2 * e * p + reg * q),
            "The sign of the price: it pulls to zero, so its gradient points away from it.":
                (-2 * e * q - 2 * reg * p, -2 * e * p - 2 * reg * q),
            "The gradient of p pays for p, not for q.": (-2 * e * q + 2 * reg * q, -2 * e * p + 2 * reg * p),
            "The minus of the inner derivative is missing: e contains −p·q.":
                (2 * e * q + 2 * reg * p, 2 * e * p + 2 * reg * q),
            "That is the step's form, with the 2 swallowed. Here the gradients themselves are asked for.":
                (-e * q + reg * p, -e * p + reg * q),
        }  # fmt: skip
        agree(got, expected, "the gradients, measured by central differences", mistakes, tolerance=1e-5)
    _steps(priced_step, seed, reg=0.1)
    return "20 gradients against central differences, 20 steps"


def _step(P, Q, u, i, r, lr, mu, reg=0.0):
    p, q = P[u].copy(), Q[i].copy()
    e = r - mu - p @ q
    P[u], Q[i] = p + lr * (e * q - reg * p), q + lr * (e * p - reg * q)


def _steps(step: Callable, seed: int, reg: float | None) -> None:
    """Compare steps with and without a price; `reg=None` calls a step that knows of none."""
    price, extra = reg or 0.0, () if reg is None else (reg,)
    for rng in cases(seed):
        P, Q = rng.normal(0, 1, (4, 2)), rng.normal(0, 1, (3, 2))
        u, i, r = int(rng.integers(4)), int(rng.integers(3)), int(rng.integers(1, 6))
        lr, mu = rng.uniform(0.01, 0.5), rng.uniform(2, 4)
        mine, right = (P.copy(), Q.copy()), (P.copy(), Q.copy())
        result = step(*mine, u, i, r, lr, mu, *extra)
        _step(*right, u, i, r, lr, mu, price)
        if result is not None:
            fail("the step", "changes P and Q in place, returns nothing", type(result).__name__,
                 "Assign to P[u] and Q[i]; then there is nothing to return.")  # fmt: skip
        others = [np.delete(a, row, 0) for a, row in ((mine[0], u), (mine[1], i))]
        kept = [np.delete(a, row, 0) for a, row in ((P, u), (Q, i))]
        require(
            all(map(np.array_equal, others, kept)), "the rows of all others", "unchanged", "changed",
            "Assign to P[u] and Q[i] alone, not to P and Q.",
        )  # fmt: skip
        require(
            not np.array_equal(mine[0], P) or not np.array_equal(mine[1], Q), "P and Q after a step", "moved", "as before",
            "A new name for P[u] does not change P: assign to P[u] itself.",
        )  # fmt: skip
        agree(
            (mine[0][u], mine[1][i]), (right[0][u], right[1][i]), "row u of P and row i of Q after one step",
            _wrong_steps(P[u], Q[i], r - mu, lr, price),
        )  # fmt: skip


def _wrong_steps(p: np.ndarray, q: np.ndarray, above: float, lr: float, reg: float) -> dict[str, tuple]:
    e = above - p @ q

    def moved(x, y, e=e):
        return x + lr * (e * y - reg * x)

    new_p, new_q = moved(p, q), moved(q, p)
    wrong = {
        "q_i moved by the new p_u: compute both right-hand sides before you store either.": (new_p, moved(q, new_p)),
        "p_u moved by the new q_i: compute both right-hand sides before you store either.": (moved(p, new_q), new_q),
        "The error was computed again between the two lines. That is taking turns, another method.":
            (new_p, moved(q, new_p, above - new_p @ q)),
        "Uphill: e is r minus the prediction, so the step is plus lr · e · q.": (2 * p - new_p, 2 * q - new_q),
        "Twice as far: the rate swallows the factor 2.": (2 * new_p - p, 2 * new_q - q),
    }  # fmt: skip
    if reg:
        wrong["The price is missing from the step."] = (p + lr * e * q, q + lr * e * p)
        wrong["The price pushes away from zero: its sign."] = (p + lr * (e * q + reg * p), q + lr * (e * p + reg * q))
        wrong["Does the step use its own `reg`? This is the step with the price paid twice."] = (
            p + lr * (e * q - 2 * reg * p), q + lr * (e * p - 2 * reg * q))  # fmt: skip
    return wrong


@exercise(4, "without shuffling")
def without_shuffling(guess: str, orders: Callable, seed: int = 0) -> str:
    """Places sorted by user and film, and by value."""
    guessed(guess, ("user", "value", "both", "neither"))
    for rng in cases(seed):
        part = some_ratings(rng)
        got = orders(part)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            fail("the result", "two arrays of places", f"a {type(got).__name__}", "Return both: by user, by value.")
        by_user, by_value = map(np.asarray, got)
        right = np.lexsort((part.items, part.users))
        agree(
            by_user, right, "the places sorted by user, then film",
            {
                "Sorted by film first: lexsort's last key counts most.": np.lexsort((part.users, part.items)),
                "These are the sorted users, not their places: argsort and lexsort give places.": part.users[right],
                "By user alone: within a user the films are not in order.": np.argsort(part.users, kind="stable"),
            },
        )  # fmt: skip
        _places(by_value, len(part))
        agree(
            part.values[by_value], np.sort(part.values), "the values in the second order",
            {"From high to low: it was to rise.": np.sort(part.values)[::-1]},
        )  # fmt: skip
    return "20 random parts"


def _places(order: np.ndarray, n: int) -> None:
    require(
        order.shape == (n,) and np.array_equal(np.sort(order), np.arange(n)), "the second order",
        f"each place from 0 to {n - 1} once", order,
        "These may be values: np.argsort gives places.",
    )  # fmt: skip
