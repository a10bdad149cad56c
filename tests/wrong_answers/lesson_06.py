"""What learners typically write in the exercises to lesson 06, and words of the hint that each deserves."""

import time

import numpy as np
import torch

# -- find the bend


def fitted(weights):
    """a, b and the bend, of a line that `weights(sizes, micros)` are used for."""

    def find_bend(sizes, micros):
        sizes, micros = np.asarray(sizes, float), np.asarray(micros, float)
        each, fixed = np.polyfit(sizes, micros, 1, w=weights(sizes, micros))
        return fixed, each, fixed / each

    return find_bend


right_bend = fitted(lambda sizes, micros: 1 / micros)


def then(change):
    """The right three numbers, and what is made of them and the times."""
    return lambda sizes, micros: change(*right_bend(sizes, micros), np.asarray(sizes), np.asarray(micros))


def no_list(sizes, micros):
    each, fixed = np.polyfit(sizes, micros, 1, w=1 / micros)
    return fixed, each, fixed / each


def exchanged(sizes, micros):
    each, fixed = np.polyfit(micros, sizes, 1, w=1 / np.asarray(micros))
    return fixed, each, fixed / each


def logarithms(back):
    def find_bend(sizes, micros):
        each, fixed = np.polyfit(np.log(sizes), np.log(micros), 1)
        return back(fixed), each, back(fixed) / each

    return find_bend


def quick(first, late):
    """The fixed cost is `first` of the times; the rest comes from two of them, `late` and the last."""

    def find_bend(sizes, micros):
        each = (micros[-1] - micros[late]) / (sizes[-1] - sizes[late])
        fixed = first(sizes, micros, each)
        return fixed, each, fixed / each

    return find_bend


# -- add up by row


def sums_of(P, rows, moves):
    sums = np.zeros_like(P)
    np.add.at(sums, rows, moves)
    return sums


def adding(what):
    """P changes by `what(P, rows, moves, the right sums)`."""

    def add_by_row(P, rows, moves):
        P += what(P, rows, moves, sums_of(P, rows, moves))

    return add_by_row


def times(P, rows):
    return np.bincount(rows, minlength=len(P))[:, None]


def row_by_row(P, rows, moves):
    for u in np.unique(rows):
        P[u] += moves[rows == u].sum(axis=0)


def one_by_one(P, rows, moves):
    for n, u in enumerate(rows):
        P[u] += moves[n]


def pairs(P, rows, moves):
    for u, move in zip(rows, moves, strict=True):
        P[u] += move


def first_alone(P, rows, moves):
    P[rows[::-1]] += moves[::-1]


def assigned(P, rows, moves):
    P[rows] = moves


def of_a_copy(P, rows, moves):
    np.add.at(P[np.arange(len(P))], rows, moves)


def rows_replaced(P, rows, moves):
    P[np.unique(rows)] = sums_of(P, rows, moves)[np.unique(rows)]


def both_ways(P, rows, moves):
    P[:] = P + sums_of(P, rows, moves)
    np.add.at(P, rows, moves)


def without_places(P, rows, moves):
    sums = sums_of(P, rows, moves)[np.unique(rows)]
    P[: len(sums)] += sums


def last_alone(P, rows, moves):
    P[rows] += moves


def new_array(P, rows, moves):
    P = P.copy()
    np.add.at(P, rows, moves)
    return P


def new_name(P, rows, moves):
    P = P + moves[: len(P)].sum()


def replaced(P, rows, moves):
    P[:] = 0
    np.add.at(P, rows, moves)


# -- a batch that is too large


def stepping(rate, fixed=True, hasty=False, in_place=True):
    """A step whose rates are `rate(n of users, n of films, lr)`."""

    def capped_step(P, Q, users, items, rest, lr):
        p, q = P[users], Q[items]
        e = (rest - (p * q).sum(dim=1))[:, None]
        counts = (torch.bincount(rows)[rows][:, None] for rows in (users, items))
        rate_p, rate_q = rate(*counts, lr)
        move_p, move_q = rate_p * e * q, rate_q * e * p
        if fixed:
            move_p[:, -1], move_q[:, -2] = 0, 0
        if not in_place:
            P.index_add(0, users, move_p)
            return
        P.index_add_(0, users, move_p)
        if hasty:
            move_q = rate_q * e * P[users]
            move_q[:, -2] = 0
        Q.index_add_(0, items, move_q)

    return capped_step


def capped(n_u, n_i, lr):
    return (0.5 / n_u).clamp(max=lr), (0.5 / n_i).clamp(max=lr)


def capping(rate):
    """A step whose rates are `rate(n, lr)`, n the ratings of the user or of the film."""
    return stepping(lambda n_u, n_i, lr: (rate(n_u.float(), lr), rate(n_i.float(), lr)))


def one_side(users_move):
    def capped_step(P, Q, users, items, rest, lr):
        kept = (Q if users_move else P).clone()
        stepping(capped)(P, Q, users, items, rest, lr)
        (Q if users_move else P)[:] = kept

    return capped_step


def a_result(P, Q, users, items, rest, lr):
    stepping(capped)(P, Q, users, items, rest, lr)
    return P, Q


# -- faster for nothing


def clock(waits=(True, True), warm=lambda n: 1, pick=min, timed=lambda n: n):
    def trusted_clock(work, synchronize, now, n=5):
        for _ in range(warm(n)):
            work()
        seconds = []
        for _ in range(timed(n)):
            if waits[0]:
                synchronize()
            started = now()
            work()
            if waits[1]:
                synchronize()
            seconds.append(now() - started)
        return pick(seconds)

    return trusted_clock


def in_one_go(divided=True, warm=True):
    def trusted_clock(work, synchronize, now, n=5):
        if warm:
            work()
        synchronize()
        started = now()
        for _ in range(n):
            work()
        synchronize()
        return (now() - started) / (n if divided else 1)

    return trusted_clock


def waits_in_the_end(work, synchronize, now, n=5):
    work()
    synchronize()
    seconds = []
    for _ in range(n):
        started = now()
        work()
        seconds.append(now() - started)
    synchronize()
    return min(seconds)


def another_clock(work, synchronize, now, n=5):
    return clock()(work, synchronize, time.perf_counter, n)


def divided_once_more(work, synchronize, now, n=5):
    return clock()(work, synchronize, now, n) / n


def no_brackets(work, synchronize, now, n=5):
    started = now()
    for _ in range(n):
        work  # noqa: B018
    return now() - started


LEFT = -1, 0, 0.5
RIGHT_STEP = stepping(capped)

WRONG = {
    "find_the_bend": [
        (("up", right_bend), "'left' or 'right'"),
        (("left", no_list), "each a number or an array"),
        (("left", fitted(lambda sizes, micros: None)), "drew the line"),
        (("left", fitted(lambda sizes, micros: micros**-2)), "one power too many"),
        (("left", fitted(lambda sizes, micros: micros**-0.5)), "one power too few"),
        (("left", fitted(lambda sizes, micros: micros)), "Weighed by the times"),
        (("left", fitted(lambda sizes, micros: 1 / sizes)), "Weighed by the number of ratings"),
        (("left", then(lambda a, b, n, *_: (b, a, b / a))), "the slope first: a is"),
        (("left", then(lambda a, b, n, *_: (b, a, n))), "exchange a and b"),
        (("left", then(lambda a, b, n, *_: (a, b, b / a))), "divided by the other"),
        (("left", then(lambda a, b, n, *_: (a, b, a * b))), "so n is a divided by b"),
        (("left", then(lambda a, b, n, *_: (a, b, round(n)))), "leave it as it comes out"),
        (("left", then(lambda a, b, n, *_: (a, b, 2 * a))), "the time at the bend"),
        (("left", then(lambda a, b, n, sizes, micros: (a, b, sizes[np.argmin(abs(sizes - n))]))), "one of the sizes"),
        (("left", then(lambda a, b, n, sizes, micros: (a, b, np.argmin(abs(sizes - n))))), "no place in the list"),
        (("left", then(lambda a, b, n, sizes, micros: (micros.min(), b, micros.min() / b))), "not the shortest time"),
        (("left", exchanged), "takes x first"),
        (("left", logarithms(lambda fixed: fixed)), "logarithms is a power of n, not a + b n:"),
        (("left", logarithms(np.exp)), "logarithms is a power of n, not a + b n."),
        (("left", quick(lambda sizes, micros, each: micros[0] - each * sizes[0], 0)), "the first and the last time"),
        (("left", quick(lambda sizes, micros, each: micros[0], 0)), "counts as the fixed cost"),
        (("left", quick(lambda sizes, micros, each: min(micros), -3)), "quick estimate"),
        (("left", then(lambda a, b, n, *_: (a, b))), "Give all 3"),
    ],
    "add_up_by_row": [
        (("more", one_by_one), "One of these is asked for"),
        (("slower", one_by_one), "a loop in Python"),
        (("slower", pairs), "a loop in Python"),
        (("slower", row_by_row), "a loop in Python"),
        (("slower", last_alone), "the last move alone"),
        (("slower", first_alone), "the first move alone"),
        (("slower", assigned), "A move replaces its row"),
        (("slower", new_array), "A new array came back"),
        (("slower", new_name), "P is as before"),
        (("slower", of_a_copy), "P is as before"),
        (("slower", replaced), "they have replaced P"),
        (("slower", rows_replaced), "replaced the rows that come"),
        (("slower", both_ways), "Each arrives twice"),
        (("slower", without_places), "not at their places"),
        (("slower", adding(lambda P, rows, moves, sums: sums / np.maximum(times(P, rows), 1))), "These are means"),
        (("slower", adding(lambda P, rows, moves, sums: -2 * sums + sums)), "Subtracted"),
        (("slower", adding(lambda P, rows, moves, sums: sums + times(P, rows) * P)), "once for each time"),
        (
            ("slower", adding(lambda P, rows, moves, sums: sums + (times(P, rows) > 0) * P)),
            "held before is added again:",
        ),
        (("slower", adding(lambda P, rows, moves, sums: moves.sum(axis=0))), "arrive at every row. Which"),
        (
            ("slower", adding(lambda P, rows, moves, sums: (times(P, rows) > 0) * moves.sum(axis=0))),
            "each belongs to one",
        ),
        (("slower", adding(lambda P, rows, moves, sums: sums.sum(axis=1, keepdims=True))), "should stay apart"),
        (("slower", adding(lambda P, rows, moves, sums: sums[:, :1])), "The first column's sums"),
        (("slower", adding(lambda P, rows, moves, sums: sums * (np.arange(P.shape[1]) == 0))), "Only the first column"),
        (("slower", adding(lambda P, rows, moves, sums: times(P, rows))), "how often a row comes"),
        (("slower", adding(lambda P, rows, moves, sums: sums * (times(P, rows) == 1))), "Only rows that come once"),
        (("slower", adding(lambda P, rows, moves, sums: sums * (times(P, rows) > 1))), "more than once"),
    ],
    "a_batch_that_is_too_large": [
        (((0, 0.5, 0.75), RIGHT_STEP), "Only one of the two biases"),
        (((1, 0, -0.5), RIGHT_STEP), "the prediction rose by 2 s"),
        (((2, 1, 0.5), RIGHT_STEP), "how far the prediction moved"),
        (((1, 0.5, 0.25), RIGHT_STEP), "how far one bias moved"),
        (((0, 0.25, 0.5625), RIGHT_STEP), "what the first had left"),
        (((1, 0, 0.5), RIGHT_STEP), "ends above the rating"),
        (((1, 0, 0.25), RIGHT_STEP), "squares of what is left"),
        (((3, 2, 1.5), RIGHT_STEP), "the error gets less"),
        (((0.5, 0, -1), RIGHT_STEP), "for s = 1 first"),
        ((0, RIGHT_STEP), "Give all 3"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (lr, lr))), "No row is capped"),
        ((LEFT, capping(lambda n, lr: 0.5 / n)), "Nothing but the cap"),
        ((LEFT, capping(lambda n, lr: (1 / n).clamp(max=lr))), "the whole way"),
        ((LEFT, capping(lambda n, lr: (0.5 / n).clamp(min=lr))), "a cap is the smaller"),
        ((LEFT, capping(lambda n, lr: lr / n)), "The rate is divided by n"),
        ((LEFT, capping(lambda n, lr: 0.5 * lr / n)), "Half of lr / n"),
        ((LEFT, capping(lambda n, lr: (0.5 * lr / n).clamp(max=lr))), "Half of lr / n"),
        ((LEFT, capping(lambda n, lr: lr * (0.5 / n).clamp(max=lr))), "multiplied by the cap"),
        ((LEFT, capping(lambda n, lr: min(lr, 0.5))), "0.5 is the cap of every row"),
        ((LEFT, capping(lambda n, lr: (0.5 * n).clamp(max=lr))), "0.5 n, where"),
        ((LEFT, capping(lambda n, lr: (0.5 / n**0.5).clamp(max=lr))), "without a root"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (capped(n_u, n_i, lr)[0], lr))), "films are not"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (lr, capped(n_u, n_i, lr)[1]))), "users are not"),
        ((LEFT, stepping(lambda n_u, n_i, lr: capped(n_u, n_i, lr)[::-1])), "The counts are exchanged"),
        ((LEFT, stepping(lambda n_u, n_i, lr: 2 * [capped(n_u, n_i, lr)[0]])), "at the users' rates"),
        ((LEFT, stepping(lambda n_u, n_i, lr: 2 * [capped(n_u, n_i, lr)[1]])), "at the films' rates"),
        ((LEFT, stepping(lambda n_u, n_i, lr: 2 * [min(lr, 0.5 / len(n_u))])), "not of the batch"),
        ((LEFT, one_side(users_move=True)), "Only the users have moved"),
        ((LEFT, one_side(users_move=False)), "Only the films have moved"),
        ((LEFT, stepping(lambda n_u, n_i, lr: [-rate for rate in capped(n_u, n_i, lr)])), "Uphill"),
        ((LEFT, stepping(lambda n_u, n_i, lr: [2 * rate for rate in capped(n_u, n_i, lr)])), "Twice as far"),
        ((LEFT, stepping(capped, fixed=False)), "The columns of ones"),
        ((LEFT, stepping(capped, hasty=True)), "moved by the new P"),
        ((LEFT, stepping(capped, in_place=False)), "without the last underscore"),
        ((LEFT, a_result), "in place, returns nothing"),
    ],
    "faster_for_nothing": [
        ((clock(waits=(False, False)),), "takes to be queued"),
        ((waits_in_the_end,), "takes to be queued"),
        ((clock(waits=(True, False)),), "takes to be queued"),
        ((clock(waits=(False, True)),), "warm up is done"),
        ((clock(warm=lambda n: 0),), "The first call of all"),
        ((clock(warm=lambda n: 2),), "Two calls go before"),
        ((clock(warm=lambda n: n),), "Warming up takes n calls"),
        ((clock(timed=lambda n: n + 1),), "One call too many"),
        ((clock(timed=lambda n: n - 1),), "One call too few"),
        ((clock(pick=np.mean),), "This is the mean"),
        ((clock(pick=np.median),), "This is the median"),
        ((clock(pick=max),), "This is the slowest"),
        ((clock(pick=sum),), "all n calls together"),
        ((clock(pick=lambda seconds: seconds[0]),), "the first of the n calls"),
        ((clock(pick=lambda seconds: seconds[-1]),), "the last of the n calls"),
        ((clock(pick=np.argmin),), "which call was the fastest"),
        ((clock(pick=list),), "the smallest of them"),
        ((clock(pick=lambda seconds: 1 / min(seconds)),), "calls in a second"),
        ((clock(pick=lambda seconds: -max(seconds)),), "the wrong sign"),
        ((divided_once_more,), "of a single call already"),
        ((in_one_go(),), "Take the fastest single one"),
        ((in_one_go(divided=False),), "all n calls together"),
        ((in_one_go(warm=False),), "the slow first one among them"),
        ((another_clock,), "The time is now()"),
        ((no_brackets,), "with brackets"),
    ],
}
