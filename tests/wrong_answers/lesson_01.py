"""What learners typically write in the exercises to lesson 01, and words of the hint that each deserves."""

import numpy as np


def hasty(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    P[u] += lr * e * Q[i]
    Q[i] += lr * e * P[u]


def film_first(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    Q[i] += lr * e * P[u]
    P[u] += lr * e * Q[i]


def in_turns(P, Q, u, i, r, lr, mu):
    P[u] = P[u] + lr * (r - mu - P[u] @ Q[i]) * Q[i]
    Q[i] = Q[i] + lr * (r - mu - P[u] @ Q[i]) * P[u]


def uphill(P, Q, u, i, r, lr, mu):
    e = P[u] @ Q[i] + mu - r
    P[u], Q[i] = P[u] + lr * e * Q[i], Q[i] + lr * e * P[u]


def new_names(P, Q, u, i, r, lr, mu):
    p, q = P[u], Q[i]
    e = r - mu - p @ q
    p, q = p + lr * e * q, q + lr * e * p
    return p, q


def everybody(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    P += lr * e * Q[i]


def gradients(price, minus=-1):
    def priced_gradients(p, q, r, mu, reg):
        e = r - mu - p @ q
        return 2 * minus * e * q + price * reg * p, 2 * minus * e * p + price * reg * q

    return priced_gradients


def stepping(price):
    def priced_step(P, Q, u, i, r, lr, mu, reg=0.1):
        p, q = P[u].copy(), Q[i].copy()
        e = r - mu - p @ q
        P[u], Q[i] = p + lr * (e * q - price * reg * p), q + lr * (e * p - price * reg * q)

    return priced_step


def keys_turned(part):
    return np.lexsort((part.users, part.items)), np.argsort(part.values)


def values_not_places(part):
    return np.lexsort((part.items, part.users)), np.sort(part.values)


ONE, TWO = ((0.2, -0.4), (0.1, -0.2)), ((0.245, -0.49), (0.19, -0.38))

WRONG = {
    "half_a_saddle": [
        ((((0.2, -0.4), (0, 0)), TWO), "Nothing moves only where both are zero"),
        ((((0.2, -0.4), (0.2, -0.4)), TWO), "factor 2 is swallowed"),
        ((ONE, ((0.25, -0.5), (0.2, -0.4))), "The film has moved"),
        ((ONE[::-1], TWO), "p_u first"),
    ],
    "the_hasty_step": [
        (("hasty", hasty), "moved by the new p_u"),
        (("hasty", film_first), "moved by the new q_i"),
        (("hasty", in_turns), "taking turns"),
        (("hasty", uphill), "Uphill"),
        (("hasty", new_names), "nothing to return"),
        (("hasty", everybody), "not to P and Q"),
    ],
    "a_price_on_large_numbers": [
        ((gradients(0), stepping(1)), "no effect"),
        ((gradients(1), stepping(1)), "a factor 2 is missing"),
        ((gradients(-2), stepping(1)), "it pulls to zero"),
        ((gradients(2, minus=1), stepping(1)), "e contains"),
        ((gradients(2), stepping(0)), "missing from the step"),
        ((gradients(2), stepping(-1)), "pushes away"),
    ],
    "without_shuffling": [
        (("value", keys_turned), "last key"),
        (("value", values_not_places), "argsort gives places"),
        (("always", keys_turned), "'both' or 'neither'"),
    ],
}
