"""What learners typically write in the exercises to lesson 07, and words of the hint that each deserves."""

import numpy as np


def right_condition(errors, tolerance):
    return len(errors) < 2 or errors[-2] - errors[-1] >= tolerance


def posts(errors, tolerance):
    return not (len(errors) > 1 and abs(errors[-2] - errors[-1]) < tolerance)


def changed(errors, tolerance):
    return len(errors) < 2 or abs(errors[-2] - errors[-1]) >= tolerance


def not_too_little(errors, tolerance):
    return len(errors) < 2 or not errors[-2] - errors[-1] < tolerance


def turned(errors, tolerance):
    return len(errors) < 2 or errors[-1] - errors[-2] >= tolerance


def strict(errors, tolerance):
    return len(errors) < 2 or errors[-2] - errors[-1] > tolerance


def two_needed(errors, tolerance):
    return len(errors) > 1 and errors[-2] - errors[-1] >= tolerance


def row(penalty=lambda n, k, reg, power: reg * n**power, bias=1.0, everywhere=False, ratings_by_ratings=False):
    """A row whose penalty is `penalty(n, k, reg, power)`, for the bias times `bias`."""

    def one_row(Q, rest, reg, power):
        F = np.column_stack([Q, np.ones(len(rest))])
        each = np.full(F.shape[1], float(penalty(len(rest), Q.shape[1], reg, power)))
        each[-1] *= bias
        if ratings_by_ratings:
            x = np.linalg.solve(F @ F.T + each[0] * np.eye(len(F)), F @ rest)
        else:
            x = np.linalg.solve(F.T @ F + (each if everywhere else np.diag(each)), F.T @ rest)
        return x[:-1], x[-1]

    return one_row


def no_bias(Q, rest, reg, power):
    lam = reg * len(rest) ** power
    return np.linalg.solve(Q.T @ Q + lam * np.eye(Q.shape[1]), Q.T @ rest), 0.0


def one_array(Q, rest, reg, power):
    return np.append(*row()(Q, rest, reg, power))


def nearly(Q, rest, reg, power):
    p, b = row()(Q, rest, reg, power)
    return p + 1e-8, b


def after_p(Q, rest, reg, power):
    lam = reg * len(rest) ** power
    p, _ = no_bias(Q, rest, reg, power)
    return p, (rest - Q @ p).sum() / (len(rest) + lam)


def sweep(penalty):
    """A half-sweep that adds `penalty(λ, n, I)` to the system."""

    def repaired_rows(own, other, rest, features, n, reg):
        rows = np.zeros((n, features.shape[1]))
        for u in np.unique(own):
            F = features[other[own == u]]
            system = F.T @ F + penalty(reg, len(F), np.eye(F.shape[1]))
            rows[u] = np.linalg.pinv(system) @ (F.T @ rest[own == u])
        return rows

    return repaired_rows


def share(errors, tolerance):
    return len(errors) < 2 or (errors[-2] - errors[-1]) / errors[-2] >= tolerance


def mean_first(Q, rest, reg, power):
    lam = reg * len(rest) ** power
    return np.linalg.solve(Q.T @ Q + lam * np.eye(Q.shape[1]), Q.T @ (rest - rest.mean())), rest.mean()


def two_rates(A):
    values = np.linalg.eigvalsh(A)
    return 1 / values.max(), 1 / (values.max() + values.min())


def descent(factor=2, extra=0, first=0):
    def gradient_descent(A, b, lr, steps):
        x = np.zeros(len(b)) + first
        for _ in range(steps + extra):
            x -= lr * factor * (A @ x - b)
        return x

    return gradient_descent


def rates(pair):
    """Two rates from the smallest and the largest eigenvalue."""
    return lambda A: pair(np.linalg.eigvalsh(A).min(), np.linalg.eigvalsh(A).max())


WRONG = {
    "the_loop_that_never_ends": [
        (("later", right_condition), "does anything ever say stop"),
        (("soon", right_condition), "'at once' or 'later'"),
        (("never", posts), "An absolute value hides it"),
        (("never", changed), "An absolute value hides it"),
        (("never", not_too_little), "`not` makes that True"),
        (("never", turned), "the error before minus the error after"),
        (("never", strict), "just the tolerance is enough"),
        (("never", two_needed), "Nothing has been tried yet"),
        (("never", lambda errors, tolerance: True), "below the tolerance"),
        (
            ("never", lambda errors, tolerance: len(errors) < 3 or right_condition(errors, tolerance)),
            "two errors are enough",
        ),
        (("never", share), "not a share of the error"),
        (
            ("never", lambda errors, tolerance: len(errors) < 2 or errors[0] - errors[1] >= tolerance),
            "not the first two",
        ),
        (
            ("never", lambda errors, tolerance: len(errors) < 2 or min(errors[:-1]) - errors[-1] >= tolerance),
            "the best so far",
        ),
        (("never", lambda errors, tolerance: None), "`return` it"),
        (("never", lambda errors, tolerance: right_condition(errors, 0.25)), "Is it this tolerance"),
    ],
    "one_users_row": [
        ((row(lambda n, k, reg, power: reg),), "n^α is forgotten"),
        ((row(lambda n, k, reg, power: (reg * n) ** power),), "not to be raised"),
        ((row(lambda n, k, reg, power: reg * n),), "α = 1 always"),
        ((row(lambda n, k, reg, power: n**power),), "where is λ?"),
        ((row(lambda n, k, reg, power: reg * n * power),), "not a factor"),
        ((row(lambda n, k, reg, power: (k + 1) * reg * n**power),), "each has it once"),
        ((row(lambda n, k, reg, power: reg * n**power / (k + 1)),), "each has it whole"),
        ((row(lambda n, k, reg, power: 2 * reg * n**power),), "Twice the penalty"),
        ((row(lambda n, k, reg, power: n * reg * n**power),), "no division by n"),
        ((row(lambda n, k, reg, power: -reg * n**power),), "larger, not smaller"),
        ((row(lambda n, k, reg, power: 0),), "need not have an inverse"),
        ((mean_first,), "b is the mean of `rest`"),
        ((row(bias=0),), "The bias has no penalty"),
        ((row(bias=2),), "The penalty of the bias is doubled"),
        ((row(everywhere=True),), "every place of the matrix"),
        ((row(ratings_by_ratings=True),), "has a row for each rating"),
        ((no_bias,), "The bias is 0"),
        ((one_array,), "The last unknown is b"),
        ((after_p,), "all k + 1 unknowns together"),
        ((nearly,), "Near, but not there"),
    ],
    "the_forgotten_term": [
        (("most", sweep(lambda reg, n, eye: reg * eye)), "'as many' or 'more'"),
        (("more", sweep(lambda reg, n, eye: 0)), "still missing"),
        (("more", sweep(lambda reg, n, eye: reg)), "every place of the matrix"),
        (("more", sweep(lambda reg, n, eye: reg * n * eye)), "no factor n"),
        (("more", sweep(lambda reg, n, eye: reg * n**0.5 * eye)), "no √n"),
        (("more", sweep(lambda reg, n, eye: 2 * reg * eye)), "Twice λ"),
        (("more", sweep(lambda reg, n, eye: reg / 2 * eye)), "λ / 2"),
        (("more", sweep(lambda reg, n, eye: -reg * eye)), "larger, not smaller"),
        (("more", sweep(lambda reg, n, eye: reg * eye / len(eye))), "number of factors"),
        (("more", lambda *half: sweep(lambda reg, n, eye: 0)(*half) / (1 + half[-1])), "Shrunk afterwards"),
    ],
    "a_new_user_by_gradient_descent": [
        ((descent(factor=1), rates(lambda low, high: (1 / high, 1 / (low + high)))), "Half of each step"),
        ((descent(factor=-2), rates(lambda low, high: (1 / high, 1 / (low + high)))), "Uphill"),
        ((descent(extra=-1), rates(lambda low, high: (1 / high, 1 / (low + high)))), "One step too few"),
        ((descent(factor=4), rates(lambda low, high: (1 / high, 1 / (low + high)))), "Twice each step"),
        ((descent(first=1), rates(lambda low, high: (1 / high, 1 / (low + high)))), "at ones"),
        ((lambda A, b, lr, steps: np.linalg.solve(A, b), None), "walk there"),
        ((lambda A, b, lr, steps: 2 * steps * lr * b, None), "the gradient of the start"),
        ((descent(), lambda A: (1 / np.trace(A), two_rates(A)[1])), "the trace"),
        ((descent(), lambda A: (1 / A.diagonal().max(), two_rates(A)[1])), "no eigenvalue"),
        ((descent(), lambda A: (1 / np.linalg.norm(A), two_rates(A)[1])), "the largest alone counts"),
        ((descent(), lambda A: two_rates(A)[::-1]), "first the limit"),
        ((descent(), rates(lambda low, high: (high, low + high))), "one over them"),
        ((descent(extra=1), rates(lambda low, high: (1 / high, 1 / (low + high)))), "One step too many"),
        ((descent(), rates(lambda low, high: (2 / high, 2 / (low + high)))), "the gradient has a factor 2"),
        ((descent(), rates(lambda low, high: (1 / low, 1 / (low + high)))), "all shares must shrink"),
        ((descent(), rates(lambda low, high: (1 / high, 0.5 / high))), "At half the largest rate"),
        ((descent(), rates(lambda low, high: (1 / high, 2 / (low + high)))), "half of that"),
    ],
}
