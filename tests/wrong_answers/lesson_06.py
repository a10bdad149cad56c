"""What learners typically write in the exercises to lesson 06, and words of the hint that each deserves."""

import numpy as np
import torch


def bend(power=1, turned=False, inverse=False):
    def find_bend(sizes, micros):
        each, fixed = np.polyfit(sizes, micros, 1, w=np.asarray(micros, float) ** -power)
        return (each, fixed, each / fixed) if turned else (fixed, each, each / fixed if inverse else fixed / each)

    return find_bend


def weighed(of):
    def find_bend(sizes, micros):
        sizes, micros = np.asarray(sizes, float), np.asarray(micros, float)
        each, fixed = np.polyfit(sizes, micros, 1, w=of(sizes, micros))
        return fixed, each, fixed / each

    return find_bend


def two_ends(sizes, micros):
    each = (micros[-1] - micros[0]) / (sizes[-1] - sizes[0])
    fixed = micros[0] - each * sizes[0]
    return fixed, each, fixed / each


def first_is_fixed(sizes, micros):
    _, each, _ = bend()(sizes, micros)
    return (micros[0], each, micros[0] / each) if len(sizes) > 3 else (40, 0.2, 200)


def in_place(change):
    def add_by_row(P, rows, moves):
        change(P, rows, moves)

    return add_by_row


def first_alone(P, rows, moves):
    P[rows[::-1]] += moves[::-1]


def in_order(P, rows, moves):
    n = min(len(P), len(moves))
    P[:n] += moves[:n]


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


def averaged(P, rows, moves):
    sums = np.zeros_like(P)
    np.add.at(sums, rows, moves)
    P += sums / np.maximum(np.bincount(rows, minlength=len(P)), 1)[:, None]


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


def clock(waits=(True, True), warm=True, pick=min):
    def trusted_clock(work, synchronize, now, n=5):
        if warm:
            work()
        times = []
        for _ in range(n):
            if waits[0]:
                synchronize()
            started = now()
            work()
            if waits[1]:
                synchronize()
            times.append(now() - started)
        return pick(times)

    return trusted_clock


def thousand_in_one_go(work, synchronize, now, n=5):
    work()
    synchronize()
    started = now()
    for _ in range(n):
        work()
    synchronize()
    return (now() - started) / n


def waits_in_the_end(work, synchronize, now, n=5):
    work()
    synchronize()
    times = []
    for _ in range(n):
        started = now()
        work()
        times.append(now() - started)
    synchronize()
    return min(times)


LEFT = -1, 0, 0.5

WRONG = {
    "find_the_bend": [
        (("up", bend()), "'left' or 'right'"),
        (("left", bend(0)), "drew the line"),
        (("left", bend(2)), "one power too many"),
        (("left", bend(0.5)), "one power too few"),
        (("left", bend(turned=True)), "the slope first"),
        (("left", bend(inverse=True)), "divided by the other"),
        (("left", weighed(lambda sizes, micros: micros)), "the largest counts even more"),
        (("left", weighed(lambda sizes, micros: 1 / sizes)), "Weighed by the number"),
        (("left", two_ends), "The first time and the last"),
        (("left", first_is_fixed), "not the fixed one"),
        (
            ("left", lambda sizes, micros: (*bend()(sizes, micros)[:2], 2 * bend()(sizes, micros)[0])),
            "time at the bend",
        ),
    ],
    "add_up_by_row": [
        (("slower", last_alone), "the last move alone"),
        (("slower", new_array), "A new array came back"),
        (("slower", new_name), "P is as before"),
        (("slower", replaced), "they have replaced P"),
        (("slower", averaged), "These are means"),
        (("slower", in_place(lambda P, rows, moves: np.subtract.at(P, rows, moves))), "taken off"),
        (("slower", in_place(lambda P, rows, moves: P.__setitem__(rows, moves))), "replaced the rows"),
        (("slower", in_place(lambda P, rows, moves: P.__iadd__(moves.sum(axis=0)))), "all moves of the batch"),
        (("slower", in_place(first_alone)), "the first move alone"),
        (("slower", in_place(in_order)), "rows 0, 1, 2"),
    ],
    "a_batch_that_is_too_large": [
        (((0, 0.5, 0.75), stepping(capped)), "Only one of the two biases"),
        (((1, 0, -0.5), stepping(capped)), "the prediction rose by 2 s"),
        (((2, 1, 0.5), stepping(capped)), "how far the prediction moved"),
        (((0, 0.25, 0.5625), stepping(capped)), "not one after the other"),
        (((1, 0, 0.5), stepping(capped)), "on the other side"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (lr / n_u, lr / n_i))), "divided by n here"),
        ((LEFT, stepping(lambda n_u, n_i, lr: [rate / 2 for rate in capped(n_u, n_i, lr)])), "Half of each step"),
        ((LEFT, stepping(lambda n_u, n_i, lr: [-rate for rate in capped(n_u, n_i, lr)])), "Uphill"),
        (
            (LEFT, stepping(lambda n_u, n_i, lr: ((0.5 / n_u).clamp(min=lr), (0.5 / n_i).clamp(min=lr)))),
            "a cap is the smaller",
        ),
        ((LEFT, stepping(lambda n_u, n_i, lr: 2 * [capped(n_u, n_i, lr)[1]])), "at the films' rates"),
        (
            (LEFT, stepping(lambda n_u, n_i, lr: 2 * [(0.5 / torch.full_like(n_u, len(n_u)).float()).clamp(max=lr)])),
            "not of the batch",
        ),
        ((LEFT, stepping(lambda n_u, n_i, lr: (capped(n_u, n_i, lr)[0], 0))), "Films have not moved"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (0, capped(n_u, n_i, lr)[1]))), "Users have not moved"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (lr, lr))), "No row is capped"),
        ((LEFT, stepping(lambda n_u, n_i, lr: (0.5 / n_u, 0.5 / n_i))), "Nothing but the cap"),
        ((LEFT, stepping(lambda n_u, n_i, lr: ((1 / n_u).clamp(max=lr), (1 / n_i).clamp(max=lr)))), "the whole way"),
        ((LEFT, stepping(lambda n_u, n_i, lr: 2 * [capped(n_u, n_i, lr)[0]])), "at the users' rates"),
        ((LEFT, stepping(capped, fixed=False)), "The columns of ones"),
        ((LEFT, stepping(capped, hasty=True)), "moved by the new P"),
        ((LEFT, stepping(capped, in_place=False)), "without the last underscore"),
    ],
    "faster_for_nothing": [
        ((clock(waits=(False, False)),), "takes to be queued"),
        ((waits_in_the_end,), "takes to be queued"),
        ((clock(waits=(False, True)),), "warm up is done"),
        ((clock(warm=False),), "The first call of all"),
        ((clock(pick=np.mean),), "This is the mean"),
        ((clock(pick=sum),), "all n calls together"),
        ((thousand_in_one_go,), "fastest single one"),
        ((clock(pick=np.median),), "This is the median"),
        ((clock(pick=max),), "This is the slowest"),
        ((lambda work, synchronize, now, n: clock()(work, synchronize, now, n + 1),), "Count the calls"),
    ],
}
