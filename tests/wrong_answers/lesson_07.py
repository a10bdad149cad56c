"""What learners typically write in the exercises to lesson 07, and words of the hint that each deserves."""

import numpy as np


def condition(enough, least=2):
    """Go on with fewer than `least` errors, or if `enough` of the errors and the tolerance."""
    return lambda errors, tolerance: len(errors) < least or enough(errors, tolerance)


def gain(errors):
    return errors[-2] - errors[-1]


right_condition = condition(lambda errors, tolerance: gain(errors) >= tolerance)


def posts(errors, tolerance):
    return not (len(errors) > 1 and abs(gain(errors)) < tolerance)


def two_needed(errors, tolerance):
    return len(errors) > 1 and gain(errors) >= tolerance


def without_return(errors, tolerance):
    if right_condition(errors, tolerance):
        return True


def finite(errors, tolerance):
    return len(errors) < 2 or (np.isfinite(errors).all() and gain(errors) >= tolerance)


def without_nan(errors, tolerance):
    return len(errors) < 2 or not (np.isnan(errors[-1]) or gain(errors) < tolerance)


def row(penalty=lambda n, k, reg, power: reg * n**power, on=None, everywhere=False, sign=1):
    """A row whose penalty is `penalty(n, k, reg, power)`, for p and for b times the two numbers of `on`."""

    def one_row(Q, rest, reg, power):
        F = np.column_stack([Q, np.ones(len(rest))])
        each = np.full(F.shape[1], sign * float(penalty(len(rest), Q.shape[1], reg, power)))
        each *= np.append(np.full(Q.shape[1], (on or (1, 1))[0]), (on or (1, 1))[1])
        x = np.linalg.solve(F.T @ F + (each if everywhere else np.diag(each)), F.T @ rest)
        return x[:-1], x[-1]

    return one_row


def ratings_by_ratings(Q, rest, reg, power):
    F = np.column_stack([Q, np.ones(len(rest))])
    x = np.linalg.solve(F @ F.T + reg * len(rest) ** power * np.eye(len(F)), F @ rest)
    return x[:-1], x[-1]


def not_turned(Q, rest, reg, power):
    F = np.column_stack([Q, np.ones(len(rest))])
    x = np.linalg.solve(F.T @ F + reg * len(rest) ** power * np.eye(F.shape[1]), F @ rest)
    return x[:-1], x[-1]


def constant_first(Q, rest, reg, power):
    F = np.column_stack([np.ones(len(rest)), Q])
    x = np.linalg.solve(F.T @ F + reg * len(rest) ** power * np.eye(F.shape[1]), F.T @ rest)
    return x[:-1], x[-1]


def added_rows(Q, rest, reg, power):
    """Least squares with rows below F that hold the penalty, where its root belongs."""
    F = np.column_stack([Q, np.ones(len(rest))])
    below = reg * len(rest) ** power * np.eye(F.shape[1])
    x = np.linalg.lstsq(np.vstack([F, below]), np.append(rest, np.zeros(len(below))))[0]
    return x[:-1], x[-1]


def no_bias(Q, rest, reg, power):
    penalty = reg * len(rest) ** power
    return np.linalg.solve(Q.T @ Q + penalty * np.eye(Q.shape[1]), Q.T @ rest), 0.0


def bias_alone(Q, rest, reg, power):
    return np.zeros(Q.shape[1]), rest.sum() / (len(rest) + reg * len(rest) ** power)


def bias_first(Q, rest, reg, power):
    b = bias_alone(Q, rest, reg, power)[1]
    return no_bias(Q, rest - b, reg, power)[0], b


def mean_first(Q, rest, reg, power):
    return no_bias(Q, rest - rest.mean(), reg, power)[0], rest.mean()


def after_p(Q, rest, reg, power):
    p, _ = no_bias(Q, rest, reg, power)
    return p, bias_alone(Q, rest - Q @ p, reg, power)[1]


def mean_after_p(Q, rest, reg, power):
    p, _ = no_bias(Q, rest, reg, power)
    return p, (rest - Q @ p).mean()


def mean_taken_off(Q, rest, reg, power):
    return row()(Q, rest - rest.mean(), reg, power)


def shrunk_row(Q, rest, reg, power):
    p, b = row(lambda *_: 0)(Q, rest, reg, power)
    return p / (1 + reg * len(rest) ** power), b / (1 + reg * len(rest) ** power)


def one_number_array(Q, rest, reg, power):
    p, b = row()(Q, rest, reg, power)
    return p, np.array([b])


def one_array(Q, rest, reg, power):
    return np.append(*row()(Q, rest, reg, power))


def all_and_last(Q, rest, reg, power):
    x = one_array(Q, rest, reg, power)
    return x, x[-1]


def nearly(Q, rest, reg, power):
    p, b = row()(Q, rest, reg, power)
    return p + 1e-8, b


def single(Q, rest, reg, power):
    return tuple(np.asarray(part, np.float32) for part in row()(Q, rest, reg, power))


def sweep(penalty, solve=lambda system, right: np.linalg.pinv(system) @ right, least=0, at=lambda owners: owners):
    """A half-sweep that adds `penalty(λ, n, I)` to the system, and puts the rows where `at` says."""

    def repaired_rows(own, other, rest, features, n, reg):
        rows, owners = np.zeros((n, features.shape[1])), np.unique(own)
        for u, place in zip(owners, at(owners), strict=True):
            F = features[other[own == u]]
            if len(F) >= least:
                system = F.T @ F + penalty(reg, len(F), np.eye(F.shape[1]))
                rows[place] = solve(system, F.T @ rest[own == u])
        return rows

    return repaired_rows


def plain(reg, n, eye):
    return reg * eye


def nothing(reg, n, eye):
    return 0


def found_rows_alone(own, other, rest, features, n, reg):
    return sweep(plain)(own, other, rest, features, n, reg)[np.unique(own)]


def shrunk(own, other, rest, features, n, reg):
    return sweep(nothing)(own, other, rest, features, n, reg) / (1 + reg)


def inverse_and_penalty(own, other, rest, features, n, reg):
    how = lambda system, right: (np.linalg.pinv(system) + reg * np.eye(len(system))) @ right  # noqa: E731
    return sweep(nothing, how)(own, other, rest, features, n, reg)


def as_a_limit(own, other, rest, features, n, reg):
    return sweep(nothing, lambda system, right: np.linalg.pinv(system, reg) @ right)(own, other, rest, features, n, reg)


def few_left_out(own, other, rest, features, n, reg):
    return sweep(plain, least=features.shape[1])(own, other, rest, features, n, reg)


def descent(gradient=lambda A, c, x: 2 * (A @ x - c), first=0.0, extra=0, rate=lambda lr: lr, give=lambda way: way[-1]):
    def gradient_descent(A, c, lr, steps):
        way = [np.zeros(len(c)) + (c if first == "c" else first)]
        for _ in range(steps + extra):
            way.append(way[-1] - rate(lr) * gradient(A, c, way[-1]))
        return give(way)

    return gradient_descent


def where_it_ends(A, c, lr, steps):
    return 2 * (A @ descent()(A, c, lr, steps) - c)


def doubling(A, c, lr, steps):
    A *= 2
    x = np.zeros(len(c))
    for _ in range(steps):
        x = x - lr * (A @ x - 2 * c)
    return x


def taking_out(errors, tolerance):
    if len(errors) < 2:
        return True
    last = errors.pop()
    return errors[-1] - last >= tolerance


def rates(pair):
    """Two rates from the smallest and the largest eigenvalue."""
    return lambda A: pair(np.linalg.eigvalsh(A).min(), np.linalg.eigvalsh(A).max())


def first_and_last(A):
    values = np.linalg.eigvals(A)
    return 1 / values[-1], 1 / (values[0] + values[-1])


def last_and_first(A):
    values = np.linalg.eigvals(A)
    return 1 / values[0], 1 / (values[0] + values[-1])


def by_diagonal(A):
    return 1 / A.diagonal().max(), 1 / (A.diagonal().max() + A.diagonal().min())


RIGHT_RATES = rates(lambda low, high: (1 / high, 1 / (low + high)))
BEST = rates(lambda low, high: 1 / (low + high))


WRONG = {
    "the_loop_that_never_ends": [
        (("soon", right_condition), "'at once' or 'later'"),
        (("never", taking_out), "work in place"),
        (("never", posts), "An absolute value hides it"),
        (("never", condition(lambda errors, most: abs(gain(errors)) >= most)), "An absolute value hides it"),
        (("never", condition(lambda errors, most: not gain(errors) < most)), "`not` makes that True"),
        (("never", condition(lambda errors, most: -gain(errors) >= most)), "the error before minus the error after"),
        (("never", condition(lambda errors, most: gain(errors) > most)), "just the tolerance is enough"),
        (("never", two_needed), "nothing has been tried yet"),
        (("never", condition(lambda errors, most: gain(errors) >= most, least=3)), "two are enough"),
        (("never", condition(lambda errors, most: gain(errors) >= most, least=1)), "no last but one"),
        (("never", lambda errors, tolerance: not right_condition(errors, tolerance)), "when to stop"),
        (("never", lambda errors, tolerance: len(errors) > 1 and gain(errors) < tolerance), "when to stop"),
        (("never", condition(lambda errors, most: min(errors[:-1]) - errors[-1] >= most)), "the best so far"),
        (("never", condition(lambda errors, most: errors[0] - errors[1] >= most)), "gain of the first step"),
        (("never", condition(lambda errors, most: errors[0] - errors[-1] >= most)), "since the beginning"),
        (("never", condition(lambda errors, most: (-np.diff(errors) >= most).any())), "Some step gained enough"),
        (("never", condition(lambda errors, most: gain(errors) / errors[-2] >= most)), "share of the error"),
        (("never", condition(lambda errors, most: gain(errors) / errors[-1] >= most)), "share of the new error"),
        (("never", condition(lambda errors, most: errors[-1] <= errors[-2] * (1 - most))), "a share of itself"),
        (("never", condition(lambda errors, most: errors[-1] < errors[-2])), "where is the tolerance"),
        (("never", condition(lambda errors, most: gain(errors) >= 1e-4)), "a number of its own"),
        (("never", condition(lambda errors, most: errors[-1] != errors[-2])), "Any change counts"),
        (("never", condition(lambda errors, most: errors[-1] >= most)), "The error itself is compared"),
        (("never", lambda errors, tolerance: True), "It always goes on"),
        (("never", lambda errors, tolerance: len(errors) < 2), "it always stops"),
        (("never", without_return), "`return` the comparison itself"),
        (("never", finite), "From inf to 3 is a gain"),
        (("never", without_nan), "inf - inf is nan"),
    ],
    "one_users_row": [
        ((row(lambda n, k, reg, power: reg),), "n^α is forgotten"),
        ((row(lambda n, k, reg, power: (reg * n) ** power),), "not to be raised"),
        ((row(lambda n, k, reg, power: n**power),), "where is λ?"),
        ((row(lambda n, k, reg, power: reg * n),), "α = 1 always"),
        ((row(lambda n, k, reg, power: reg * n * power),), "α is a factor here"),
        ((row(lambda n, k, reg, power: reg / n**power),), "λ is divided by n^α"),
        ((row(lambda n, k, reg, power: reg * k**power),), "This one is the number of factors"),
        ((row(lambda n, k, reg, power: reg * (k + 1) ** power),), "This one is the number of unknowns"),
        ((row(lambda n, k, reg, power: 2 * reg * n**power),), "Twice the penalty"),
        ((row(lambda n, k, reg, power: reg * n**power / 2),), "Half the penalty"),
        ((row(lambda n, k, reg, power: n * reg * n**power),), "no division by n"),
        ((row(lambda n, k, reg, power: 0),), "No penalty at all"),
        ((row(sign=-1),), "larger, not smaller"),
        ((row(on=(1, 0)),), "The bias goes free"),
        ((row(on=(0, 1)),), "The bias alone has a penalty"),
        ((row(on=(1, 2)),), "The bias is penalised twice"),
        ((row(everywhere=True),), "every place of the matrix"),
        ((added_rows,), "need the root of it"),
        ((ratings_by_ratings,), "has a row for each rating"),
        ((not_turned,), "the unknowns need FᵀF and Fᵀt"),
        ((constant_first,), "If it comes first, so does b"),
        ((no_bias,), "The bias is 0"),
        ((bias_alone,), "p is 0 here"),
        ((bias_first,), "b first, and p from what it leaves"),
        ((mean_first,), "b is the plain mean"),
        ((mean_after_p,), "the plain mean of what p leaves"),
        ((mean_taken_off,), "what b has to explain"),
        ((shrunk_row,), "Shrunk afterwards"),
        ((one_number_array,), "and no array"),
        ((row(lambda n, k, reg, power: reg * n**0.5),), "α = ½ always"),
        ((after_p,), "all k + 1 unknowns together"),
        ((one_array,), "The last unknown is b"),
        ((all_and_last,), "does not stay in p"),
        ((lambda *given: row()(*given)[::-1],), "First p, then b"),
        ((nearly,), "Near, but not there"),
        ((single,), "float64 throughout"),
    ],
    "the_forgotten_term": [
        (("most", sweep(plain)), "'as many' or 'more'"),
        (("more", sweep(nothing)), "still missing"),
        (("more", sweep(lambda reg, n, eye: reg)), "every place of the matrix"),
        (("more", sweep(lambda reg, n, eye: reg * n * eye)), "no factor n"),
        (("more", sweep(lambda reg, n, eye: reg * n**0.5 * eye)), "That is λ √n"),
        (("more", sweep(lambda reg, n, eye: reg / n * eye)), "divided by the number of ratings"),
        (("more", sweep(lambda reg, n, eye: -reg * eye)), "larger, not smaller"),
        (("more", sweep(lambda reg, n, eye: 2 * reg * eye)), "Twice λ"),
        (("more", sweep(lambda reg, n, eye: reg / 2 * eye)), "Half of λ"),
        (("more", sweep(lambda reg, n, eye: reg**2 * eye)), "λ is squared"),
        (("more", sweep(lambda reg, n, eye: reg**0.5 * eye)), "the root of λ"),
        (("more", sweep(lambda reg, n, eye: reg * eye / len(eye))), "by the number of factors"),
        (("more", sweep(lambda reg, n, eye: eye)), "λ = 1 throughout"),
        (("more", sweep(lambda reg, n, eye: reg * np.eye(n))), "a row for each unknown, not for each rating"),
        (("more", sweep(lambda reg, n, eye: 5 * eye)), "λ = 5 throughout"),
        (("more", sweep(lambda reg, n, eye: reg * eye * (n < len(eye)))), "with fewer ratings than unknowns: each"),
        (("more", sweep(lambda reg, n, eye: reg * eye * (n <= len(eye)))), "with no more ratings than unknowns"),
        (("more", few_left_out), "left at zero"),
        (("more", shrunk), "Shrunk afterwards"),
        (("more", inverse_and_penalty), "before it is inverted"),
        (("more", as_a_limit), "The second argument of `pinv`"),
        (("more", sweep(plain, at=lambda owners: range(len(owners)))), "moves all later ones up"),
        (("more", found_rows_alone), "zeros, at their places"),
    ],
    "a_new_user_by_gradient_descent": [
        ((doubling, RIGHT_RATES), "work in place"),
        ((descent(lambda A, c, x: A @ x - c), RIGHT_RATES), "Half of each step"),
        ((descent(lambda A, c, x: 4 * (A @ x - c)), RIGHT_RATES), "with one factor 2"),
        ((descent(lambda A, c, x: 2 * (c - A @ x)), RIGHT_RATES), "Uphill"),
        ((descent(lambda A, c, x: 2 * (A @ x + c)), RIGHT_RATES), "The sign of c"),
        ((descent(lambda A, c, x: -2 * c), RIGHT_RATES), "that at zero in every step"),
        ((descent(lambda A, c, x: 2 * A.T @ (A @ x - c)), RIGHT_RATES), "without another A"),
        ((descent(lambda A, c, x: 2 * (A @ x - c) / len(c)), RIGHT_RATES), "it is no mean"),
        ((descent(rate=lambda lr: 1), RIGHT_RATES), "Where is the rate"),
        ((descent(first=1.0), RIGHT_RATES), "starts at ones"),
        ((descent(first="c"), RIGHT_RATES), "starts at c"),
        ((descent(extra=-1), RIGHT_RATES), "One step too few"),
        ((descent(extra=1), RIGHT_RATES), "One step too many"),
        ((descent(give=np.array), RIGHT_RATES), "All x on the way: return the last"),
        ((descent(give=lambda way: way[1:]), RIGHT_RATES), "without the first"),
        ((where_it_ends, RIGHT_RATES), "return x"),
        ((lambda A, c, lr, steps: np.linalg.solve(A, c), RIGHT_RATES), "walk there"),
        ((descent(), rates(lambda low, high: (2 / high, 2 / (low + high)))), "a share shrinks by 1 - 2 η a"),
        ((descent(), rates(lambda low, high: (2 / high, 1 / (low + high)))), "The limit is half of that"),
        ((descent(), rates(lambda low, high: (0.5 / high, 1 / (low + high)))), "gone at once. It still settles"),
        ((descent(), rates(lambda low, high: (1 / low, 1 / (low + high)))), "all shares must shrink"),
        ((descent(), rates(lambda low, high: (1 / (low + high), 1 / high))), "first the limit"),
        ((descent(), rates(lambda low, high: (1 / high, 0.5 / high))), "At half the largest rate"),
        ((descent(), rates(lambda low, high: (1 / high, 0.5 / low))), "the largest one's share grows"),
        ((descent(), rates(lambda low, high: (1 / high, 2 / (low + high)))), "The best rate is half of that"),
        ((descent(), rates(lambda low, high: (1 / high, (1 / low + 1 / high) / 4))), "no mean of two rates"),
        ((descent(), rates(lambda low, high: (1 / high, 0.5 / (low * high) ** 0.5))), "The root of a_min a_max"),
        ((descent(), rates(lambda low, high: (1 / high, 1 / high))), "At the largest rate itself"),
        ((descent(), rates(lambda low, high: (1 / high**2, 1 / (low**2 + high**2)))), "eigenvalues of AᵀA"),
        ((descent(), lambda A: (1 / np.linalg.norm(A, 2), 0.5 / np.linalg.eigvalsh(A).mean())), "A mean of all"),
        ((descent(), rates(lambda low, high: (1 / high, 1 / low))), "At 1 / a_min"),
        ((descent(), rates(lambda low, high: (0.5 / high, 0.5 / (low + high)))), "Half of both"),
        ((descent(), rates(lambda low, high: (high, low))), "a rate is 1 over one"),
        ((descent(), rates(lambda low, high: (high, low + high))), "a rate is 1 over that"),
        ((descent(), lambda A: 1 / np.linalg.norm(A, 2)), "Give all 2"),
        ((descent(), lambda A: (1 / np.trace(A), BEST(A))), "the trace"),
        ((descent(), lambda A: (1 / np.linalg.norm(A), BEST(A))), "all squared entries"),
        ((descent(), lambda A: (1 / A.diagonal().max(), BEST(A))), "largest entry on the diagonal"),
        ((descent(), by_diagonal), "on the diagonal are no eigenvalues"),
        ((descent(), first_and_last), "in no order: take"),
        ((descent(), last_and_first), "the first need not be"),
    ],
}
