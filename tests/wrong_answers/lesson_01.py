"""What learners typically write in the exercises to lesson 01, and words of the hint that each deserves."""

import numpy as np


def loss(P, Q, u, i, r, mu):
    return (r - mu - P[u] @ Q[i]) ** 2


def loss_falls(step, P, Q, u, i, r, lr, mu):
    P, Q, before = P.copy(), Q.copy(), loss(P, Q, u, i, r, mu)
    step(P, Q, u, i, r, 1e-3 * lr, mu)
    return loss(P, Q, u, i, r, mu) < before


def moved(step, P, Q, u, i, r, lr, mu):
    P1, Q1 = P.copy(), Q.copy()
    step(P1, Q1, u, i, r, lr, mu)
    e = r - mu - P[u] @ Q[i]
    return P1[u] - P[u], lr * e * Q[i], Q1[i] - Q[i], lr * e * P[u]


def user_alone(*case):
    got, wanted, _, _ = moved(*case)
    return np.allclose(got, wanted)


def film_alone(*case):
    _, _, got, wanted = moved(*case)
    return np.allclose(got, wanted)


def two_rows(*case):
    of_p, p, of_q, q = moved(*case)
    return np.allclose(of_p, p) and np.allclose(of_q, q)


def all_but_other_films(step, P, Q, u, i, r, lr, mu):
    (of_p, p, of_q, q), moved_P = moved(step, P, Q, u, i, r, lr, mu), P.copy()
    step(moved_P, Q.copy(), u, i, r, lr, mu)
    return np.allclose(of_p, p) and np.allclose(of_q, q) and (np.delete(moved_P, u, 0) == np.delete(P, u, 0)).all()


def at_a_glance(tolerance):
    def follows(step, P, Q, u, i, r, lr, mu):
        by_step, right = (P.copy(), Q.copy()), (P.copy(), Q.copy())
        step(*by_step, u, i, r, lr, mu)
        e = r - mu - P[u] @ Q[i]
        right[0][u] += lr * e * Q[i]
        right[1][i] += lr * e * P[u]
        return all(np.allclose(*pair, atol=tolerance) for pair in zip(by_step, right, strict=True))

    return follows


def directions(*case):
    of_p, p, of_q, q = moved(*case)
    return np.allclose(np.sign(of_p), np.sign(p)) and np.allclose(np.sign(of_q), np.sign(q))


def with_the_two(*case):
    of_p, p, of_q, q = moved(*case)
    return np.allclose(of_p, 2 * p) and np.allclose(of_q, 2 * q)


def in_place(step, P, Q, u, i, r, lr, mu):
    step(P, Q, u, i, r, lr, mu)
    return True


def gradients(factor, minus=-1, swallowed=1, down=1):
    def penalised_gradients(p, q, r, mu, reg):
        e = r - mu - p @ q
        of_p, of_q = 2 * minus * e * q + factor * reg * p, 2 * minus * e * p + factor * reg * q
        return down * of_p / swallowed, down * of_q / swallowed

    return penalised_gradients


def stepping(factor, fixed=None, rate_on_penalty=True):
    def penalised_step(P, Q, u, i, r, lr, mu, reg=0.1):
        p, q = P[u].copy(), Q[i].copy()
        e, share = r - mu - p @ q, factor * (fixed or reg) / (1 if rate_on_penalty else lr)
        P[u], Q[i] = p + lr * (e * q - share * p), q + lr * (e * p - share * q)

    return penalised_step


def hasty(P, Q, u, i, r, lr, mu, reg=0.1):
    e = r - mu - P[u] @ Q[i]
    P[u] += lr * (e * Q[i] - reg * P[u])
    Q[i] += lr * (e * P[u] - reg * Q[i])


def new_names(P, Q, u, i, r, lr, mu, reg=0.1):
    p, q = P[u], Q[i]
    e = r - mu - p @ q
    p, q = p + lr * (e * q - reg * p), q + lr * (e * p - reg * q)


def everybody(P, Q, u, i, r, lr, mu, reg=0.1):
    e = r - mu - P[u] @ Q[i]
    P += lr * (e * Q[i] - reg * P)


def other_gradients(of):
    """Both gradients, by `of` the error, the own row, the other row and λ."""

    def penalised_gradients(p, q, r, mu, reg):
        e = r - mu - p @ q
        return of(e, p, q, reg), of(e, q, p, reg)

    return penalised_gradients


def other_steps(of_p, of_q=None):
    """A step that adds lr times `of_p` (and `of_q`) of the error, the own row, the other row, λ and the rate."""

    def penalised_step(P, Q, u, i, r, lr, mu, reg=0.1):
        p, q = P[u].copy(), Q[i].copy()
        e = r - mu - p @ q
        P[u], Q[i] = p + lr * of_p(e, p, q, reg, lr), q + lr * (of_q or of_p)(e, q, p, reg, lr)

    return penalised_step


def free(e, x, y, reg, lr):
    return e * y


def held(e, x, y, reg, lr):
    return e * y - reg * x


def without_mu(P, Q, u, i, r, lr, mu, reg=0.1):
    stepping(1)(P, Q, u, i, r, lr, 0, reg)


def film_then_user(P, Q, u, i, r, lr, mu, reg=0.1):
    e = r - mu - P[u] @ Q[i]
    Q[i] += lr * (e * P[u] - reg * Q[i])
    P[u] += lr * (e * Q[i] - reg * P[u])


def lengths(*case):
    of_p, p, of_q, q = moved(*case)
    return all(np.isclose(np.linalg.norm(a), np.linalg.norm(b)) for a, b in ((of_p, p), (of_q, q)))


def exactly(*case):
    of_p, p, of_q, q = moved(*case)
    return np.array_equal(of_p, p) and np.array_equal(of_q, q)


def no_verdict(*case):
    two_rows(*case)


def ranks(places):
    return np.argsort(places, kind="stable")


def orders(first, second=lambda part: np.argsort(part.values)):
    return lambda part: (first(part), second(part))


def by_user(part):
    return np.lexsort((part.items, part.users))


ONE, TWO = ((0.2, -0.4), (0.1, -0.2)), ((0.245, -0.49), (0.19, -0.38))

WRONG = {
    "half_a_saddle": [
        ((((0.2, -0.4), (0, 0)), TWO), "Nothing moves only where both are zero"),
        ((((0.2, -0.4), (0.2, -0.4)), TWO), "is the rate left out"),
        ((ONE, ((0.25, -0.5), (0.2, -0.4))), "The film has moved"),
        ((ONE[::-1], TWO), "p_u first"),
        (((0.2, -0.4, 0.1, -0.2), TWO), "Give all 2 of them"),
        ((((0.2, -0.4), (-0.1, 0.2)), TWO), "Uphill"),
        ((((0.2, -0.4), (0.05, -0.1)), TWO), "by 0.5 e p_u, once"),
        ((((0.3, -0.6), (0.1, -0.2)), TWO), "q_i is zero in this step"),
        ((ONE, ((0.2, -0.4), (0.19, -0.38))), "Here both move"),
        ((ONE, ((0.245, -0.49), (0.21025, -0.4205))), "by the new p_u"),
        ((ONE, ((0.255, -0.51), (0.21, -0.42))), "smaller than 1"),
        ((ONE, ONE), "after one step"),
        ((ONE, ((0.045, -0.09), (0.09, -0.18))), "These are the moves"),
        ((ONE, ((0.29, -0.58), (0.28, -0.56))), "left out in the second step"),
        ((ONE, TWO[::-1]), "p_u first"),
    ],
    "the_hasty_step": [
        (("hasty", loss_falls), "a falling loss proves nothing"),
        (("hasty", user_alone), "Compare Q with the gradient"),
        (("hasty", film_alone), "Compare P, too"),
        (("hasty", directions), "twice as far"),
        (("hasty", all_but_other_films), "rows of all films"),
        (("hasty", at_a_glance(1e-3)), "at np.allclose's tolerance"),
        (("hasty", two_rows), "Compare P and Q whole"),
        (("hasty", with_the_two), "Is the factor 2 swallowed"),
        (("hasty", in_place), "give it copies"),
        (("hasty", lengths), "compare the moves with their signs"),
        (("hasty", exactly), "compared by np.allclose"),
        (("hasty", no_verdict), "end in `return`"),
        (("hasty", lambda *case: False), "A right step is refused"),
        (("hasty", lambda *case: True), "a falling loss proves nothing"),
        (("both?", two_rows), "One of these is asked for"),
    ],
    "a_penalty_on_large_numbers": [
        ((gradients(0), stepping(1)), "no effect"),
        ((gradients(1), stepping(1)), "a factor 2 is missing"),
        ((gradients(-2), stepping(1)), "it pulls to zero"),
        ((gradients(2, minus=1), stepping(1)), "e contains"),
        ((gradients(2, swallowed=2, down=-1), stepping(1)), "as the step wants it"),
        ((other_gradients(lambda e, x, y, reg: -e * y + 2 * reg * x), stepping(1)), "factor 2 is missing there"),
        ((other_gradients(lambda e, x, y, reg: -2 * e * y + reg * x**2), stepping(1)), "its derivative belongs"),
        ((other_gradients(lambda e, x, y, reg: -2 * e * y + 2 * reg * x / len(x)), stepping(1)), "not their mean"),
        (
            (other_gradients(lambda e, x, y, reg: -2 * e * y + reg * x / np.linalg.norm(x)), stepping(1)),
            "not the length",
        ),
        ((other_gradients(lambda e, x, y, reg: -2 * e * y + 2 * reg * (x + y)), stepping(1)), "its own row alone"),
        ((other_gradients(lambda e, x, y, reg: -2 * e * y + 2 * reg * y), stepping(1)), "not that of q"),
        ((other_gradients(lambda e, x, y, reg: -2 * e * x + 2 * reg * x), stepping(1)), "contains q"),
        ((other_gradients(lambda e, x, y, reg: 2 * e * y - 2 * reg * x), stepping(1)), "The gradients point up"),
        ((other_gradients(lambda e, x, y, reg: -e * y + reg * x), stepping(1)), "swallowed by the step's rate"),
        ((lambda *row: gradients(2)(*row)[::-1], stepping(1)), "first that of p"),
        ((lambda p, q, r, mu, reg: gradients(2)(p, q, r, 0, reg), stepping(1)), "where is mu"),
        ((gradients(2), other_steps(lambda *row: held(*row) / 2)), "Half of each step"),
        ((gradients(2), other_steps(lambda *row: 2 * held(*row))), "Twice as far"),
        ((gradients(2), other_steps(lambda *row: -held(*row))), "Uphill"),
        ((gradients(2), stepping(2)), "factor 2 too many"),
        ((gradients(2), stepping(0.5)), "The penalty is halved"),
        ((gradients(2), other_steps(lambda e, x, y, reg, lr: e * y - reg * (x + lr * e * y))), "have moved already"),
        ((gradients(2), other_steps(held, free)), "The film's row has no penalty"),
        ((gradients(2), other_steps(free, held)), "The user's row has no penalty"),
        ((gradients(2), without_mu), "mu is not subtracted"),
        ((gradients(2), film_then_user), "moved by the new q_i"),
        ((gradients(2), stepping(0)), "missing from the step"),
        ((gradients(2), stepping(-1)), "pushes away"),
        ((gradients(2), stepping(1, fixed=0.1)), "a `reg` of its own"),
        ((gradients(2), stepping(1, rate_on_penalty=False)), "rate is missing on the penalty"),
        ((gradients(2), hasty), "moved by the new p_u"),
        ((gradients(2), new_names), "A new name"),
        ((gradients(2), everybody), "not to P and Q"),
    ],
    "without_shuffling": [
        (("value", orders(lambda part: np.lexsort((part.users, part.items)))), "last key"),
        (("value", orders(lambda part: np.argsort(part.users))), "a second key is missing"),
        (("value", orders(by_user, lambda part: np.sort(part.values))), "give places"),
        (("value", orders(by_user, lambda part: np.argsort(-part.values))), "From high to low"),
        (("value", orders(lambda part: np.argsort(part.values), by_user)), "The first order is by user"),
        (("value", orders(lambda part: ranks(by_user(part)))), "These are ranks"),
        (("value", orders(by_user, lambda part: ranks(np.argsort(part.values, kind="stable")))), "These are ranks"),
        (("value", orders(lambda part: np.lexsort((part.values, part.users)))), "ratings are by value"),
        (("value", orders(lambda part: np.lexsort((-part.items, part.users)))), "the films fall"),
        (("value", orders(lambda part: by_user(part)[::-1])), "From the last user"),
        (("value", orders(by_user, lambda part: np.lexsort((part.values, part.users)))), "the users do not count"),
        (("value", orders(by_user, by_user)), "by user once more"),
        (("value", orders(lambda part: by_user(part).astype(float))), "no decimals"),
        (("value", by_user), "Return both"),
        (("always", orders(by_user)), "'both' or 'neither'"),
    ],
}
