"""The exercises to lesson 07: a condition that ends, one row of ALS, its penalty, and the long way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "the loop that never ends", found="never")
def the_loop_that_never_ends(guess: str, go_on: Callable, seed: int = 0) -> str:
    """A condition that holds after a gain and for no other list of errors."""
    guessed(guess, ("never", "at once", "later"))
    require(
        guess == "never", "your guess for a rate of 100", "what the comparison of nan and a tolerance leads to", repr(guess),
        "From some step on the error is nan. `nan < tolerance` is False, so does anything ever say stop?",
    )  # fmt: skip
    nan, inf = float("nan"), float("inf")
    for errors, right, hint in (
        ([], True, "Nothing has been tried yet: ask for the number of errors first."),
        ([3.0], True, "One error is no gain yet, and no reason to stop."),
        ([3.0, 2.0], True, "The gain is the error before minus the error after."),
        ([3.0, 2.9], False, "This gain is below the tolerance, and two errors are enough to tell."),
        ([8.0, 7.0], True, "The gain is a difference of errors, and not a share of the error."),
        ([0.5, 0.4], False, "The gain is a difference of errors, and not a share of the error."),
        ([3.0, 2.0, 1.75], True, "A gain of just the tolerance is enough."),
        ([3.0, 2.0, 1.9], False, "The last step gained too little: compare the last two errors, not the first two."),
        ([3.0, 1.0, 2.0, 1.5], True, "A gain is over the error before, not over the best so far."),
        ([3.0, 2.0, 4.0], False, "The error grew: that is a change, but no gain. An absolute value hides it."),
        ([3.0, nan], False, "Every comparison with nan is False, and `not` makes that True: ask for the gain itself."),
        (
            [3.0, nan, nan],
            False,
            "Every comparison with nan is False, and `not` makes that True: ask for the gain itself.",
        ),
        ([inf, inf], False, "inf - inf is nan, and no gain."),
    ):
        got = go_on(list(errors), 0.25)
        if got is None or not np.isscalar(got):
            fail(f"the condition for {errors}", right, got, "Nothing that is True or False came back: `return` it.")
        require(bool(got) is right, f"the condition for {errors} and a tolerance of 0.25", right, bool(got), hint)
    for rng in cases(seed):
        errors, tolerance = rng.uniform(0, 1, int(rng.integers(2, 6))).tolist(), float(rng.uniform(0, 0.5))
        right = errors[-2] - errors[-1] >= tolerance
        got = bool(go_on(list(errors), tolerance))
        require(got is right, f"the condition for {errors} and {tolerance:.2f}", right, got, "Is it this tolerance?")
    return "13 lists of errors with nan and inf among them, 20 at random"


@exercise(2, "one user's row")
def one_users_row(one_row: Callable, seed: int = 0) -> str:
    """Ridge regression with a weighted penalty: two rows by hand, then some whose gradient must be zero."""
    likes, rest = np.eye(3)[[0, 0, 0, 0, 1, 1, 1, 2, 2]], np.array([3.0] * 4 + [1.0] * 3 + [2.0] * 2)
    what = "p and b of nine ratings: four of rest 3 with q = (1, 0, 0), three of 1 with (0, 1, 0), two of 2 with (0, 0, 1); λ = 2, α = ½"
    _row(one_row, likes, rest, 2.0, 0.5, what)
    _row(one_row, np.zeros((9, 0)), np.ones(9), 2.0, 0.5, "p and b without factors, nine ratings of +1, λ = 2, α = ½")
    for rng in cases(seed):
        n, k = int(rng.integers(1, 12)), int(rng.integers(2, 5))
        Q, rest = rng.normal(0, 1, (n, k)), rng.normal(0.5, 1, n)
        reg, power = float(rng.uniform(0.1, 3)), float(rng.choice([0, 0.5, 1]))
        p, b = _row(one_row, Q, rest, reg, power, f"p and b of {n} ratings, k = {k}, λ = {reg:.2f}, α = {power}")
        errors, lam = rest - Q @ p - b, reg * n**power
        largest = max(np.abs(-2 * Q.T @ errors + 2 * lam * p).max(), abs(-2 * errors.sum() + 2 * lam * b))
        require(
            largest < 1e-9, "the largest number of the gradient at the solution", "0, up to rounding", f"{largest:.1e}",
            "Near, but not there: a system is solved, not approached. float64 throughout?",
        )  # fmt: skip
    return "two rows by hand, 20 with a gradient of zero"


def _row(one_row: Callable, Q: np.ndarray, rest: np.ndarray, reg: float, power: float, what: str) -> tuple:
    n, k = Q.shape
    F, ones = np.column_stack([Q, np.ones(n)]), np.ones(k + 1)

    def solved(penalty, system=F.T @ F):
        x = np.linalg.lstsq(system + np.diag(penalty), F.T @ rest)[0]
        return x[:-1], x[-1]

    penalty = reg * n**power * ones
    free, twice = penalty.copy(), penalty.copy()
    free[-1], twice[-1] = 0, 2 * penalty[-1]
    without = np.linalg.solve(Q.T @ Q + penalty[0] * np.eye(k), Q.T @ rest)
    mistakes = {
        "The bias is 0: it is one more unknown, the coefficient of a feature that is 1 everywhere.": (without, 0.0),
        "n^α is forgotten: here the penalty is λ alone.": solved(reg * ones),
        "n^α belongs to λ, but λ itself is not to be raised.": solved((reg * n) ** power * ones),
        "The penalty is n^α alone: where is λ?": solved(n**power * ones),
        "α is an exponent of n, and not a factor.": solved(reg * n * power * ones),
        "The penalty is multiplied by the number of unknowns: each has it once.": solved((k + 1) * penalty),
        "The penalty is divided by the number of unknowns: each has it whole.": solved(penalty / (k + 1)),
        "b is the mean of `rest`, and p comes from what it leaves: p and b must be solved together.": (
            np.linalg.solve(Q.T @ Q + penalty[0] * np.eye(k), Q.T @ (rest - rest.mean())), rest.mean()),
        "α = 1 always: n takes the exponent `power`.": solved(reg * n * ones),
        "The bias has no penalty: its place on the diagonal has the same.": solved(free),
        "The penalty of the bias is doubled.": solved(twice),
        "Twice the penalty: both parts of the gradient have a 2, which cancels.": solved(2 * penalty),
        "b first, and p from what it leaves: p and b must be solved together.": (
            np.linalg.solve(Q.T @ Q + penalty[0] * np.eye(k), Q.T @ (rest - rest.sum() / (n + penalty[0]))),
            rest.sum() / (n + penalty[0])),
        "No penalty at all: this is the free least-squares solution.": solved(0 * ones),
        "The penalty has been added to every place of the matrix: it belongs on the diagonal alone.":
            solved(0 * ones, F.T @ F + penalty[0]),
        "The squared errors are summed, not averaged: there is no division by n.": solved(n * penalty),
        "The penalty makes the diagonal larger, not smaller.": solved(-penalty),
        "b is the level alone, from before p is known: solve for all k + 1 unknowns together.":
            (without, (rest - Q @ without).sum() / (n + penalty[0])),
    }  # fmt: skip
    try:
        got = one_row(Q.copy(), rest.copy(), reg, power)
    except np.linalg.LinAlgError as error:
        fail(what, "one solution", f"{type(error).__name__}: {error}",
             "FᵀF alone need not have an inverse: the penalty on its diagonal gives it one.")  # fmt: skip
    except ValueError as error:
        fail(f"the shapes of {what}", f"a system of {k + 1} equations", f"{type(error).__name__}: {error}",
             f"F has shape ({n}, {k + 1}). F Fᵀ has a row for each rating; the unknowns need FᵀF and Fᵀe.")  # fmt: skip
    if isinstance(got, np.ndarray) and got.shape == (k + 1,):
        fail(what, "two results", f"one array {got.shape}", "The last unknown is b: return it on its own.")
    agree(
        got, solved(penalty), what, mistakes, cause="Work out FᵀF and Fᵀe of a single rating by hand.", tolerance=1e-7
    )
    return np.asarray(got[0]), float(got[1])


@exercise(3, "bug hunt: the forgotten term", found="as many")
def the_forgotten_term(guess: str, repaired_rows: Callable, seed: int = 0) -> str:
    """Half-sweeps with a penalty: one rating by hand, then random ones with an empty row."""
    guessed(guess, ("fewer", "as many", "more"))
    one = np.array([0]), np.array([0]), np.array([2.0]), np.array([[1.0, 0.0, 0.0]]), 1, 4.0
    _swept(repaired_rows, one, "the row of a rating of +2, with the feature (1, 0, 0) and λ = 4")
    for rng in cases(seed):
        part, k = some_ratings(rng), int(rng.integers(2, 4))
        sides = [
            (part.users, part.items, part.n_users, part.n_items),
            (part.items, part.users, part.n_items, part.n_users),
        ]
        own, other, n, n_other = sides[int(rng.integers(2))]
        features, reg = rng.normal(0, 1, (n_other, k)), float(rng.uniform(0.2, 4))
        _swept(repaired_rows, (own, other, part.values - 3.0, features, n, reg), f"random rows for λ = {reg:.2f}")
    return "one row by hand, 20 half-sweeps"


def _swept(half_sweep: Callable, settings: tuple, what: str) -> None:
    own, other, rest, features, n, reg = settings
    counts, eye = np.bincount(own, minlength=n), np.eye(features.shape[1])

    def rows(penalty):
        found = np.zeros((n, len(eye)))
        for row in np.unique(own):
            F = features[other[own == row]]
            found[row] = np.linalg.pinv(F.T @ F + penalty(counts[row])) @ (F.T @ rest[own == row])
        return found

    got = half_sweep(own.copy(), other.copy(), rest.copy(), features.copy(), n, reg)
    right = rows(lambda _: reg * eye)
    mistakes = {
        "The penalty is still missing: these are the colleague's rows.": rows(lambda _: 0),
        "λ has been added to every place of the matrix: it belongs on the diagonal alone.": rows(lambda _: reg),
        "λ stands once for a row, however many ratings it has: no factor n here.": rows(
            lambda count: reg * count * eye
        ),
        "The penalty makes the diagonal larger, not smaller.": rows(lambda _: -reg * eye),
        "λ stands once for a row, however many ratings it has: no √n here.": rows(lambda count: reg * count**0.5 * eye),
        "Twice λ: both parts of the gradient have a 2, which cancels.": rows(lambda _: 2 * reg * eye),
        "λ / 2: both parts of the gradient have a 2, which cancels.": rows(lambda _: reg / 2 * eye),
        "1 instead of λ: `reg` is an argument.": rows(lambda _: eye),
        "λ divided by the number of factors: each place of the diagonal has it whole.": rows(
            lambda _: reg * eye / len(eye)
        ),
        "Shrunk afterwards? The penalty belongs into the system.": rows(lambda _: 0) / (1 + reg),
    }
    agree(
        got, right, what, mistakes,
        cause="Compare one row with the lesson's system: FᵀF, the penalty on the diagonal, Fᵀe.",
    )  # fmt: skip


@exercise(4, "a new user by gradient descent")
def a_new_user_by_gradient_descent(gradient_descent: Callable, two_rates: Callable, seed: int = 0) -> str:
    """Steps against the gradient, then the rates at which they stop to settle and settle fastest."""
    _descended(gradient_descent, np.array([[2.0]]), np.array([3.0]), 0.1, 2, "x after two steps at 0.1, A = 2, b = 3")
    for rng in cases(seed):
        F = rng.normal(0, 1, (5, 3))
        A, b, steps = F.T @ F + np.eye(3), rng.normal(0, 1, 3), int(rng.integers(2, 9))
        lr = float(rng.uniform(0.1, 0.9) / np.linalg.norm(A, 2))
        _descended(gradient_descent, A, b, lr, steps, f"x after {steps} steps at {lr:.3f}")
    _rates(two_rates, np.diag([4.0, 1.0]), "both rates for eigenvalues 4 and 1")
    for rng in cases(seed):
        F = rng.normal(0, 1, (6, 4))
        _rates(two_rates, F.T @ F + rng.uniform(0.1, 2) * np.eye(4), "both rates for a random A")
    return "21 descents, 21 pairs of rates"


def _descended(gradient_descent: Callable, A: np.ndarray, b: np.ndarray, lr: float, steps: int, what: str) -> None:
    def after(steps, lr=lr, first: Any = 0.0, turn=1.0):
        x = np.zeros(len(b)) + first
        for _ in range(steps):
            x = x - turn * lr * 2 * (A @ x - b)
        return x

    agree(
        gradient_descent(A.copy(), b.copy(), lr, steps), after(steps), what,
        {
            "Half of each step: the gradient is 2 (A x - b), and the rate does not swallow the 2.": after(steps, lr / 2),
            "Uphill: a step goes against the gradient.": after(steps, turn=-1.0),
            "It starts at ones, not at zero.": after(steps, first=1.0),
            "One step too few.": after(steps - 1),
            "One step too many.": after(steps + 1),
            "That is the solution: walk there.": np.linalg.solve(A, b),
            "It starts at b, not at zero.": after(steps, first=b),
            "Twice each step: the gradient 2 (A x - b) has its 2 already.": after(steps, 2 * lr),
            "The sign of b: the gradient is 2 (A x - b).": -after(steps),
            "Every step follows the gradient of the start: compute it anew.": 2 * steps * lr * b,
        },
        cause="Take one step by hand: from 0 it is 2 lr b.",
    )  # fmt: skip


def _rates(two_rates: Callable, A: np.ndarray, what: str) -> None:
    values = np.linalg.eigvalsh(A)
    low, high = values.min(), values.max()
    right = 1 / high, 1 / (low + high)
    agree(
        two_rates(A.copy()), right, what,
        {
            "Twice as large: the gradient has a factor 2, so a share shrinks by 1 - 2 η a.": (2 / high, 2 / (low + high)),
            "The smallest eigenvalue allows more than the largest: all shares must shrink.": (1 / low, 1 / (low + high)),
            "The other way round: first the limit, then the best.": right[::-1],
            "At half the largest rate one share is gone at once, but the slowest is not at its fastest.":
                (1 / high, 0.5 / high),
            "The best rate is half of that: 2 / (a_min + a_max) is for a gradient without the factor 2.":
                (1 / high, 2 / (low + high)),
            "The sum of all eigenvalues (the trace) is a safe rate, not the largest.": (1 / np.trace(A), right[1]),
            "That is the root of all squared eigenvalues (np.linalg.norm(A)): the largest alone counts.":
                (1 / np.linalg.norm(A), right[1]),
            "These are eigenvalues, or sums of them: the rates are one over them.": (high, low + high),
            "The mean of both eigenvalues? At the best rate 1 - 2 η a_min is 2 η a_max - 1.":
                (1 / high, 2 / (low + high) / 2 * (low + high) / (2 * np.sqrt(low * high))),
            "A's largest entry on the diagonal is no eigenvalue.": (1 / A.diagonal().max(), right[1]),
        },
        cause="For eigenvalues 4 and 1: at which η is one of |1 - 8 η|, |1 - 2 η| no longer below 1; where are they equal?",
    )  # fmt: skip
