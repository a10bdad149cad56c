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


def directions(*case):
    of_p, p, of_q, q = moved(*case)
    return np.allclose(np.sign(of_p), np.sign(p)) and np.allclose(np.sign(of_q), np.sign(q))


def with_the_two(*case):
    of_p, p, of_q, q = moved(*case)
    return np.allclose(of_p, 2 * p) and np.allclose(of_q, 2 * q)


def in_place(step, P, Q, u, i, r, lr, mu):
    step(P, Q, u, i, r, lr, mu)
    return True


def gradients(price, minus=-1, swallowed=1, down=1):
    def priced_gradients(p, q, r, mu, reg):
        e = r - mu - p @ q
        of_p, of_q = 2 * minus * e * q + price * reg * p, 2 * minus * e * p + price * reg * q
        return down * of_p / swallowed, down * of_q / swallowed

    return priced_gradients


def stepping(price, fixed=None, rate_on_price=True):
    def priced_step(P, Q, u, i, r, lr, mu, reg=0.1):
        p, q = P[u].copy(), Q[i].copy()
        e, cost = r - mu - p @ q, price * (fixed or reg) / (1 if rate_on_price else lr)
        P[u], Q[i] = p + lr * (e * q - cost * p), q + lr * (e * p - cost * q)

    return priced_step


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
    ],
    "the_hasty_step": [
        (("hasty", loss_falls), "a falling loss proves nothing"),
        (("hasty", user_alone), "Compare Q with the slope"),
        (("hasty", film_alone), "Compare P, too"),
        (("hasty", directions), "twice as far"),
        (("hasty", two_rows), "Compare P and Q whole"),
        (("hasty", with_the_two), "Is the factor 2 swallowed"),
        (("hasty", in_place), "give it copies"),
    ],
    "a_price_on_large_numbers": [
        ((gradients(0), stepping(1)), "no effect"),
        ((gradients(1), stepping(1)), "a factor 2 is missing"),
        ((gradients(-2), stepping(1)), "it pulls to zero"),
        ((gradients(2, minus=1), stepping(1)), "e contains"),
        ((gradients(2, swallowed=2, down=-1), stepping(1)), "as the step wants it"),
        ((gradients(2), stepping(0)), "missing from the step"),
        ((gradients(2), stepping(-1)), "pushes away"),
        ((gradients(2), stepping(1, fixed=0.1)), "a price of its own"),
        ((gradients(2), stepping(1, rate_on_price=False)), "rate is missing on the price"),
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
        (("always", orders(by_user)), "'both' or 'neither'"),
    ],
}
