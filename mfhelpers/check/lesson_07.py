"""The exercises to lesson 07: a condition that ends, one row of ALS, its penalty, and the long way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .feedback import Together, cases, exercise, fail, guessed, require, some_ratings, untouched


@exercise(1, "the loop that never ends", found="never")
def the_loop_that_never_ends(guess: str, go_on: Callable, seed: int = 0) -> str:
    """A condition that holds after a gain and for no other list of errors."""
    guessed(guess, ("never", "at once", "later"))
    asked = [(errors, 0.25, hint) for errors, hint in LISTS]
    for rng in cases(seed):
        errors, tolerance = rng.uniform(0, 1, int(rng.integers(2, 6))).tolist(), float(rng.uniform(0, 0.5))
        asked.append((errors, tolerance, "The gain of the last step against the tolerance that is given: is it that?"))
    got = [_went_on(go_on, list(errors), tolerance) for errors, tolerance, _ in asked]
    named = [
        hint for hint, rule in CONDITIONS if got == [bool(rule(errors, tolerance)) for errors, tolerance, _ in asked]
    ]
    for (errors, tolerance, hint), one in zip(asked, got, strict=True):
        right = len(errors) < 2 or errors[-2] - errors[-1] >= tolerance
        require(
            one is right,
            f"the condition for {errors} and a tolerance of {tolerance:.2f}",
            right,
            one,
            (*named, hint)[0],
        )
    verified = f"{len(LISTS)} lists of errors with nan and inf among them, 20 at random"
    if str(guess).strip().lower() == "never":
        return verified
    return f"{verified}. From some step on the error is nan, and `nan < tolerance` is False: nothing ever says stop"


def _went_on(go_on: Callable, errors: list[float], tolerance: float) -> bool:
    what = f"the condition for {errors} and a tolerance of {tolerance:.2f}"
    before = list(errors)
    try:
        got = go_on(errors, tolerance)
    except IndexError as error:
        fail(what, "True or False", f"IndexError: {error}",
             "With fewer than two errors there is no last but one: ask for their number first.")  # fmt: skip
    if not isinstance(got, (bool, np.bool_)):
        fail(what, "True or False", got, "Nothing that is True or False came back: `return` the comparison itself.")
    untouched(errors, before, "the list of errors")
    return bool(got)


NAN, INF = float("nan"), float("inf")
LISTS = (  # errors, asked about with a tolerance of 0.25, and what to think of if no rule below explains the answers
    ([], "Nothing has been tried yet: go on."),
    ([3.0], "One error is no gain yet, and no reason to stop."),
    ([3.0, 2.0], "The last step gained 1, more than the tolerance."),
    ([3.0, 2.0, 1.75], "The last step gained just the tolerance, and that is enough."),
    ([3.0, 2.0, 1.9], "The last step gained 0.1, less than the tolerance."),
    ([3.0, 2.0, 1.99995], "The last step gained next to nothing."),
    ([3.0, 2.9, 2.0], "The last step gained 0.9, more than the tolerance."),
    ([3.0, 1.0, 2.0, 1.5], "The last step gained 0.5, more than the tolerance."),
    ([3.0, 2.0, 4.0], "The error grew, by however much: that is no gain."),
    ([3.0, NAN], "Every comparison with nan is False, and `not` makes that True: ask for the gain itself."),
    ([3.0, NAN, NAN], "Every comparison with nan is False, and `not` makes that True: ask for the gain itself."),
    ([INF, INF], "inf - inf is nan, and no gain."),
    ([INF, 3.0], "From inf to 3 is a gain, larger than any tolerance."),
)


def _gain(errors: list[float]) -> float:
    return errors[-2] - errors[-1]


CONDITIONS: tuple[tuple[str, Callable], ...] = (  # typical wrong conditions, each with its hint
    (
        "The error may have grown: that is a change, but no gain. An absolute value hides it.",
        lambda errors, tolerance: len(errors) < 2 or not abs(_gain(errors)) < tolerance,
    ),
    (
        "The error may have grown: that is a change, but no gain. An absolute value hides it.",
        lambda errors, tolerance: len(errors) < 2 or abs(_gain(errors)) >= tolerance,
    ),
    (
        "Every comparison with nan is False, and `not` makes that True: ask for the gain itself.",
        lambda errors, tolerance: len(errors) < 2 or not _gain(errors) < tolerance,
    ),
    (
        "The gain is the error before minus the error after.",
        lambda errors, tolerance: len(errors) < 2 or -_gain(errors) >= tolerance,
    ),
    (
        "A gain of just the tolerance is enough: `>=`, not `>`.",
        lambda errors, tolerance: len(errors) < 2 or _gain(errors) > tolerance,
    ),
    (
        "With fewer than two errors it stops: nothing has been tried yet, so go on there.",
        lambda errors, tolerance: len(errors) > 1 and _gain(errors) >= tolerance,
    ),
    (
        "It goes on while there are fewer than three errors: two are enough to see a gain.",
        lambda errors, tolerance: len(errors) < 3 or _gain(errors) >= tolerance,
    ),
    (
        "This says when to stop. The function says when to go on.",
        lambda errors, tolerance: len(errors) > 1 and _gain(errors) < tolerance,
    ),
    (
        "This says when to stop. The function says when to go on.",
        lambda errors, tolerance: len(errors) > 1 and not _gain(errors) >= tolerance,
    ),
    (
        "A gain is over the error before, not over the best so far.",
        lambda errors, tolerance: len(errors) < 2 or min(errors[:-1]) - errors[-1] >= tolerance,
    ),
    (
        "That is the gain of the first step: compare the last two errors, [-2] and [-1].",
        lambda errors, tolerance: len(errors) < 2 or errors[0] - errors[1] >= tolerance,
    ),
    (
        "That is the gain since the beginning: the last step alone counts.",
        lambda errors, tolerance: len(errors) < 2 or errors[0] - errors[-1] >= tolerance,
    ),
    (
        "Some step gained enough, but the last one alone counts.",
        lambda errors, tolerance: (
            len(errors) < 2 or any(a - b >= tolerance for a, b in zip(errors, errors[1:], strict=False))
        ),
    ),
    (
        "That is the gain as a share of the error: the tolerance is in stars, so no division.",
        lambda errors, tolerance: len(errors) < 2 or _gain(errors) / errors[-2] >= tolerance,
    ),
    (
        "That is the gain as a share of the new error: the tolerance is in stars, so no division.",
        lambda errors, tolerance: len(errors) < 2 or _gain(errors) / errors[-1] >= tolerance,
    ),
    (
        "Here the error must fall by a share of itself: the tolerance is in stars, so no factor.",
        lambda errors, tolerance: len(errors) < 2 or errors[-1] <= errors[-2] * (1 - tolerance),
    ),
    (
        "Any gain counts here, however small: where is the tolerance?",
        lambda errors, tolerance: len(errors) < 2 or _gain(errors) > 0,
    ),
    (
        "The tolerance is a number of its own, 0.0001: it is given one.",
        lambda errors, tolerance: len(errors) < 2 or _gain(errors) >= 1e-4,
    ),
    (
        "Any change counts here: a gain is a fall by the tolerance or more.",
        lambda errors, tolerance: len(errors) < 2 or errors[-2] != errors[-1],
    ),
    (
        "The error itself is compared with the tolerance: compare what the last step gained.",
        lambda errors, tolerance: len(errors) < 2 or errors[-1] >= tolerance,
    ),
    ("It always goes on: what is compared with the tolerance?", lambda errors, tolerance: True),
    (
        "After two errors it always stops: what is compared with the tolerance?",
        lambda errors, tolerance: len(errors) < 2,
    ),
)


@exercise(2, "one user's row")
def one_users_row(one_row: Callable, seed: int = 0) -> str:
    """Ridge regression with a weighted penalty: two rows by hand, then some whose gradient must be zero."""
    likes, rest = np.array([[1.0], [-1.0], [1.0]] * 3), np.array([3.0, 1.0, 3.0] * 3)
    nine = "p and b of nine ratings, with q = 1, -1, 1 and rest 3, 1, 3 three times, λ = 3, α = ½"
    none = "p and b without factors, nine ratings of +1, λ = 2, α = ½"
    found = []
    for least in (6, 1):  # first rows with more ratings than unknowns, where each mistake has one solution
        with Together() as same:
            _row(same, one_row, likes, rest, 3.0, 0.5, nine)
            _row(same, one_row, np.zeros((9, 0)), np.ones(9), 2.0, 0.5, none)
            for rng in cases(seed + 1000 * least, 10):
                n, k = int(rng.integers(least, 12)), int(rng.integers(2, 5))
                Q, rest_of_n = rng.normal(0, 1, (n, k)), rng.normal(0.5, 1, n)
                reg, power = float(rng.uniform(0.1, 3)), float(rng.choice([0, 0.5, 1]))
                what = f"p and b of {n} ratings, k = {k}, λ = {reg:.2f}, α = {power}"
                found.append((Q, rest_of_n, 2 * reg * n**power, _row(same, one_row, Q, rest_of_n, reg, power, what)))
    for Q, rest, twice, (p, b) in found:
        errors = rest - Q @ p - b
        gradient = max(np.abs(-2 * Q.T @ errors + twice * p).max(), abs(-2 * errors.sum() + twice * b))
        require(
            gradient < 1e-9, "the largest part of the gradient at the solution", "0, up to rounding", f"{gradient:.1e}",
            "Near, but not there: a system is solved, not approached. float64 throughout?",
        )  # fmt: skip
    return "two rows by hand, 20 of zero gradient"


def _row(
    same: Together, one_row: Callable, Q: np.ndarray, rest: np.ndarray, reg: float, power: float, what: str,
) -> tuple:  # fmt: skip
    n, k = Q.shape
    F = np.column_stack([Q, np.ones(n)])
    x = np.linalg.solve(F.T @ F + reg * n**power * np.eye(k + 1), F.T @ rest)
    given = Q.copy(), rest.copy()
    try:
        got = one_row(*given, reg, power)
    except ValueError as error:
        if not any(word in str(error) for word in ("broadcast", "mismatch")):
            raise
        fail(f"the shapes of {what}", f"a system of {k + 1} equations", f"{type(error).__name__}: {error}",
             f"F has shape ({n}, {k + 1}). F Fᵀ has a row for each rating; the unknowns need FᵀF and Fᵀt.")  # fmt: skip
    if isinstance(got, np.ndarray) and got.shape == (k + 1,):
        fail(what, "two results", f"one array {got.shape}", "The last unknown is b: return it on its own.")
    for name, now, before in zip(("Q", "rest"), given, (Q, rest), strict=True):
        untouched(now, before, name)
    same.agree(
        got, (x[:-1], x[-1]), what, _wrong_penalties(F, rest, reg, power) | _wrong_unknowns(Q, rest, reg * n**power, x),
        cause="Work out FᵀF and Fᵀt of a single rating by hand.", tolerance=1e-5,
    )  # fmt: skip
    try:
        return np.asarray(got[0], float), float(got[1])
    except (TypeError, ValueError, IndexError):  # has been compared, and told at the end
        return np.zeros(k), 0.0


def _wrong_penalties(F: np.ndarray, rest: np.ndarray, reg: float, power: float) -> dict[str, tuple]:
    """p and b for other penalties on the diagonal."""
    n, unknowns = F.shape
    ones = np.ones(unknowns)
    on_bias = np.append(np.zeros(unknowns - 1), 1.0)
    right = reg * n**power

    def solved(penalty, system=F.T @ F):
        x = np.linalg.lstsq(system + np.diag(penalty * ones), F.T @ rest)[0]
        return x[:-1], x[-1]

    return {
        "n^α is forgotten: here the penalty is λ alone.": solved(reg),
        "n^α belongs to λ, but λ itself is not to be raised.": solved((reg * n) ** power),
        "The penalty is n^α alone: where is λ?": solved(n**power),
        "α = 1 always: n takes the exponent `power`.": solved(reg * n),
        "α = ½ always: n takes the exponent `power`.": solved(reg * n**0.5),
        "α is a factor here: it is the exponent of n.": solved(reg * n * power),
        "λ is divided by n^α: multiply.": solved(reg / n**power),
        "n is the number of ratings. This one is the number of factors.": solved(reg * (unknowns - 1) ** power),
        "n is the number of ratings. This one is the number of unknowns.": solved(reg * unknowns**power),
        "The bias goes free: its place on the diagonal has the same penalty.": solved(right * (1 - on_bias)),
        "The bias alone has a penalty: all k + 1 unknowns have the same.": solved(right * on_bias),
        "The bias is penalised twice.": solved(right * (1 + on_bias)),
        "Twice the penalty: both parts of the gradient have a 2, which cancels.": solved(2 * right),
        "Half the penalty: both parts of the gradient have a 2, which cancels.": solved(right / 2),
        "The penalty is squared: rows that are added below F need the root of it.": solved(right**2),
        "No penalty at all: this is the free least-squares solution.": solved(0),
        "The penalty has been added to every place of the matrix: it belongs on the diagonal alone.":
            solved(0, F.T @ F + right),
        "The squared errors are summed, not averaged: there is no division by n.": solved(n * right),
        "The penalty makes the diagonal larger, not smaller.": solved(-right),
    }  # fmt: skip


def _wrong_unknowns(Q: np.ndarray, rest: np.ndarray, penalty: float, x: np.ndarray) -> dict[str, tuple]:
    """p and b by other ways than one system for all unknowns, or in another order."""
    n, k = Q.shape

    def alone(rest):
        return np.linalg.solve(Q.T @ Q + penalty * np.eye(k), Q.T @ rest)

    p, level = alone(rest), rest.sum() / (n + penalty)
    F = np.column_stack([Q, np.ones(n)])
    free = np.linalg.lstsq(F, rest)[0]
    centred = np.linalg.solve(F.T @ F + penalty * np.eye(k + 1), F.T @ (rest - rest.mean()))
    return {
        "The bias is 0: it is one more unknown, the coefficient of a feature that is 1 everywhere.": (p, 0.0),
        "b first, and p from what it leaves: p and b must be solved together.": (alone(rest - level), level),
        "b is the plain mean, and p comes from what it leaves: p and b must be solved together.":
            (alone(rest - rest.mean()), rest.mean()),
        "p first, without b, and b from what it leaves: solve for all k + 1 unknowns together.":
            (p, (rest - Q @ p).sum() / (n + penalty)),
        "b is the plain mean of what p leaves: solve for all k + 1 unknowns together.": (p, (rest - Q @ p).mean()),
        "The mean of `rest` has been taken off first: it is what b has to explain.": (centred[:-1], centred[-1]),
        "Shrunk afterwards? The penalty belongs into the system.":
            (free[:-1] / (1 + penalty), free[-1] / (1 + penalty)),
        "b is one number, x[-1], and no array.": (x[:-1], x[-1:]),
        "p is 0 here: the rows of Q are features, too.": (np.zeros(k), level),
        "p has k numbers: the last of the k + 1 is b, and does not stay in p.": (x, x[-1]),
        "First p, then b.": (x[-1], x[:-1]),
        "Where does the constant stand in your F? If it comes first, so does b.": (np.append(x[-1], x[: k - 1])[:k], x[max(k - 1, 0)]),
    }  # fmt: skip


@exercise(3, "bug hunt: the forgotten term", found="as many")
def the_forgotten_term(guess: str, repaired_rows: Callable, seed: int = 0) -> str:
    """Half-sweeps with a penalty: two ratings by hand, then random ones with empty rows."""
    guessed(guess, ("fewer", "as many", "more"))
    two = np.array([0, 0]), np.array([0, 1]), np.array([2.0, 2.0]), np.eye(2, 3), 1, 1.0
    with Together() as same:
        _swept(
            same, repaired_rows, two, "the row of two ratings of +2, with features (1, 0, 0) and (0, 1, 0), and λ = 1"
        )
        for rng in cases(seed):
            part, k = some_ratings(rng), int(rng.integers(2, 4))
            sides = [
                (part.users, part.items, part.n_users, part.n_items),
                (part.items, part.users, part.n_items, part.n_users),
            ]
            own, other, n, n_other = sides[int(rng.integers(2))]
            kept = own != rng.integers(n - 2)  # so that one of the rows in between is empty, too
            features, reg = rng.normal(0, 1, (n_other, k)), float(rng.uniform(0.2, 4))
            settings = own[kept], other[kept], part.values[kept] - 3.0, features, n, reg
            _swept(same, repaired_rows, settings, f"random rows for λ = {reg:.2f}, two or more of them empty")
    return "one row by hand, 20 half-sweeps"


def _swept(same: Together, half_sweep: Callable, settings: tuple, what: str) -> None:
    own, other, rest, features, n, reg = settings
    k, owners = features.shape[1], np.unique(own)
    eye = np.eye(k)

    def rows(penalty, solve=lambda system, right: np.linalg.pinv(system) @ right, least=0):
        found = np.zeros((n, k))
        for row in owners:
            F = features[other[own == row]]
            if len(F) >= least:
                found[row] = solve(F.T @ F + penalty(len(F)), F.T @ rest[own == row])
        return found

    right = rows(lambda _: reg * eye)
    moved_up = np.zeros_like(right)
    moved_up[: len(owners)] = right[owners]
    mistakes = {
        "The penalty is still missing: these are the colleague's rows.": rows(lambda _: 0),
        "λ has been added to every place of the matrix: it belongs on the diagonal alone.": rows(lambda _: reg),
        "λ is for a row, however many ratings it has: no factor n here.": rows(lambda count: reg * count * eye),
        "That is λ √n (α = ½). Here α is 0: λ for a row, however many ratings it has.":
            rows(lambda count: reg * np.sqrt(count) * eye),
        "λ is divided by the number of ratings: the errors are summed, so it stays as it is.":
            rows(lambda count: reg / count * eye),
        "The penalty makes the diagonal larger, not smaller.": rows(lambda _: -reg * eye),
        "Twice λ: both parts of the gradient have a 2, which cancels.": rows(lambda _: 2 * reg * eye),
        "Half of λ: both parts of the gradient have a 2, which cancels.": rows(lambda _: reg / 2 * eye),
        "That is the root of λ: the penalty on the diagonal is λ itself.": rows(lambda _: np.sqrt(reg) * eye),
        "λ is divided by the number of factors: the penalty is a sum over them.": rows(lambda _: reg / k * eye),
        "That is λ = 1 throughout: it is given as `reg`.": rows(lambda _: eye),
        "λ is squared: rows that are added below F need the root of it.": rows(lambda _: reg**2 * eye),
        "That is λ = 5 throughout: it is given as `reg`.": rows(lambda _: 5.0 * eye),
        "The penalty is there only for rows with fewer ratings than unknowns: each row has it.":
            rows(lambda count: reg * eye * (count < k)),
        "The penalty is there only for rows with no more ratings than unknowns: each row has it.":
            rows(lambda count: reg * eye * (count <= k)),
        "Rows with fewer ratings than unknowns are left at zero: with the penalty they have a solution, too.":
            rows(lambda _: reg * eye, least=k),
        "Shrunk afterwards? The penalty belongs into the system.": rows(lambda _: 0) / (1 + reg),
        "λ is added to the inverse: it belongs to FᵀF, before it is inverted.":
            rows(lambda _: 0, lambda system, right: (np.linalg.pinv(system) + reg * eye) @ right),
        "The second argument of `pinv` is the share below which singular values count as zero, and no penalty.":
            rows(lambda _: 0, lambda system, right: np.linalg.pinv(system, reg) @ right),
        "Each row goes to the place of its owner, `own[mine[0]]`: here an empty one moves all later ones up.": moved_up,
        "Rows without a rating are left out: they are zeros, at their places.": right[owners],
    }  # fmt: skip
    try:
        got = half_sweep(own.copy(), other.copy(), rest.copy(), features.copy(), n, reg)
    except ValueError as error:
        if not any(word in str(error) for word in ("broadcast", "mismatch")):
            raise
        fail(f"the shapes of {what}", f"systems of {k} equations", f"ValueError: {error}",
             f"I has a row for each unknown, not for each rating: with {k} factors it is {k} by {k}.")  # fmt: skip
    same.agree(
        got, right, what, mistakes,
        cause="Compare one row with the lesson's system: FᵀF, the penalty on the diagonal, Fᵀt.",
    )  # fmt: skip


@exercise(4, "a new user by gradient descent")
def a_new_user_by_gradient_descent(gradient_descent: Callable, two_rates: Callable, seed: int = 0) -> str:
    """Steps against the gradient, then the rates at which they stop to settle and settle fastest."""
    with Together() as same:
        _descended(
            same, gradient_descent, np.array([[2.0]]), np.array([3.0]), 0.1, 1, "x after a step at 0.1, A = 2, c = 3"
        )
        for rng in cases(seed):
            F = rng.normal(0, 1, (5, 3))
            A, c, steps = F.T @ F + np.eye(3), rng.normal(0, 1, 3), int(rng.integers(2, 9))
            lr = float(rng.uniform(0.1, 0.9) / np.linalg.norm(A, 2))
            _descended(same, gradient_descent, A, c, lr, steps, f"x after {steps} steps at {lr:.3f}")
    with Together() as same:
        _rates(same, two_rates, np.diag([4.0, 1.0]), "both rates for eigenvalues 4 and 1")
        for rng in cases(seed):
            F = rng.normal(0, 1, (6, 4))
            _rates(same, two_rates, F.T @ F + rng.uniform(0.1, 2) * np.eye(4), "both rates for a random A")
    return "21 descents, 21 pairs of rates"


def _descended(
    same: Together, gradient_descent: Callable, A: np.ndarray, c: np.ndarray, lr: float, steps: int, what: str,
) -> None:  # fmt: skip
    def walk(steps=steps, lr=lr, first: Any = 0.0, gradient=lambda x: 2 * (A @ x - c)):
        way = [np.zeros(len(c)) + first]
        for _ in range(steps):
            way.append(way[-1] - lr * gradient(way[-1]))
        return np.array(way)

    right, given = walk()[-1], (A.copy(), c.copy())
    got = gradient_descent(*given, lr, steps)
    for name, now, before in zip("Ac", given, (A, c), strict=True):
        untouched(now, before, name)
    same.agree(
        got, right, what,
        {
            "Half of each step: the gradient is 2 (A x - c), and the rate does not swallow the 2.": walk(lr=lr / 2)[-1],
            "Twice as far: the gradient is 2 (A x - c), with one factor 2.": walk(lr=2 * lr)[-1],
            "Uphill: against the gradient.": walk(lr=-lr)[-1],
            "The sign of c: the gradient is 2 (A x - c).": walk(gradient=lambda x: 2 * (A @ x + c))[-1],
            "Where is the rate? Each step is -lr times the gradient.": walk(lr=1.0)[-1],
            "The gradient is that at zero in every step: compute it again where x has come to.":
                walk(gradient=lambda x: -2 * c)[-1],
            "That is the gradient of ‖A x - c‖². Here it is 2 (A x - c), without another A.":
                walk(gradient=lambda x: 2 * A.T @ (A @ x - c))[-1],
            "The gradient is divided by the number of unknowns: it is no mean.": walk(lr=lr / len(c))[-1],
            "It starts at ones, not at zero.": walk(first=1.0)[-1],
            "It starts at c, not at zero.": walk(first=c)[-1],
            "One step too few.": walk(steps - 1)[-1],
            "One step too many.": walk(steps + 1)[-1],
            "All x on the way: return the last.": walk(),
            "All x on the way, without the first: return the last.": walk()[1:],
            "That is the gradient where x has come to: return x.": 2 * (A @ right - c),
            "That is the solution: walk there.": np.linalg.solve(A, c),
        },
        cause="Take two steps by hand: from 0 the first leads to 2 lr c, and the second begins there.",
    )  # fmt: skip


def _rates(same: Together, two_rates: Callable, A: np.ndarray, what: str) -> None:
    values, unsorted = np.linalg.eigvalsh(A), np.linalg.eigvals(A)
    low, high = values.min(), values.max()
    limit, best = 1 / high, 1 / (low + high)
    diagonal = A.diagonal()
    same.agree(
        two_rates(A.copy()), (limit, best), what,
        {
            "Twice as large: the gradient has a factor 2, so a share shrinks by 1 - 2 η a.": (2 * limit, 2 * best),
            "The limit is half of that: the gradient has a factor 2, so |1 - 2 η a| < 1 is needed.": (2 * limit, best),
            "At that rate the largest eigenvalue's share is gone at once. It still settles up to twice that rate.":
                (limit / 2, best),
            "The smallest eigenvalue allows more than the largest: all shares must shrink.": (1 / low, best),
            "The other way round: first the limit, then the best.": (best, limit),
            "At half the largest rate one share is gone at once, but the slowest is not at its fastest.":
                (limit, limit / 2),
            "That rate is best for the smallest eigenvalue alone: the largest one's share grows at it.":
                (limit, 1 / (2 * low)),
            "The best rate is half of that: 2 / (a_min + a_max) is for a gradient without the factor 2.":
                (limit, 2 * best),
            "The two factors are equal at 1 / (a_min + a_max), which is no mean of two rates.":
                (limit, (1 / low + 1 / high) / 4),
            "A mean of all eigenvalues: only the smallest and the largest decide.": (limit, 0.5 / values.mean()),
            "The root of a_min a_max? The two factors are equal at their mean.": (limit, 0.5 / np.sqrt(low * high)),
            "At the largest rate itself nothing settles: the best one is below it.": (limit, limit),
            "At 1 / a_min the largest eigenvalue's share grows: best is where both factors are equal.": (limit, 1 / low),
            "Half of both: |1 - 2 η a| < 1 means η < 1 / a, not half of that.": (limit / 2, best / 2),
            "These are eigenvalues: a rate is 1 over one.": (high, low),
            "These are eigenvalues and their sum: a rate is 1 over that.": (high, low + high),
            "`eigvals` gives them in no order: take their smallest and largest.":
                (1 / unsorted[-1], 1 / (unsorted[0] + unsorted[-1])),
            "`eigvals` gives them in no order, and the first need not be the largest.":
                (1 / unsorted[0], 1 / (unsorted[0] + unsorted[-1])),
            "These are eigenvalues of AᵀA, which are squares: take those of A.": (1 / high**2, 1 / (low**2 + high**2)),
            "The sum of all eigenvalues (the trace) is a safe rate, not the largest.": (1 / np.trace(A), best),
            "The root of all squared entries is a safe rate, not the largest: take the largest eigenvalue.":
                (1 / np.linalg.norm(A), best),
            "A's largest entry on the diagonal is no eigenvalue.": (1 / diagonal.max(), best),
            "A's entries on the diagonal are no eigenvalues.":
                (1 / diagonal.max(), 1 / (diagonal.min() + diagonal.max())),
        },
        cause="For eigenvalues 4 and 1: at which η is one of |1 - 8 η|, |1 - 2 η| no longer below 1; where are they equal?",
    )  # fmt: skip
