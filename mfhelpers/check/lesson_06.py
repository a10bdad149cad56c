"""The exercises to lesson 06: what is fast is measured, what is right is checked."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

import numpy as np
import torch

from ..algorithms import sgd as descent
from ..data.ratings import Ratings
from ..models.factors import Factors
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "find the bend", found="left")
def find_the_bend(guess: str, find_bend: Callable, seed: int = 0) -> str:
    """A fixed time and a time for each rating, by least squared relative errors."""
    guessed(guess, ("left", "right", "nowhere"))
    agree(
        find_bend([1, 100, 1000], [40.2, 60.0, 240.0]), (40.0, 0.2, 200.0), "a, b and the bend of times 40 + 0.2 n",
        {
            "np.polyfit gives the slope first: a is the height at 0.": (0.2, 40.0, 0.005),
            "That is the time at the bend, 2 a. The number of ratings is asked for.": (40.0, 0.2, 80.0),
            "At the bend a = b n: which of the two is divided by the other?": (40.0, 0.2, 0.005),
        },
    )  # fmt: skip
    for rng in cases(seed):
        sizes = 4 ** np.arange(2, 9)
        micros = (rng.uniform(20, 400) + rng.uniform(0.005, 0.5) * sizes) * rng.uniform(0.7, 1.4, len(sizes))

        def fitted(*weights, sizes=sizes, micros=micros):
            each, fixed = np.polyfit(sizes, micros, 1, w=weights[0] if weights else None)
            return fixed, each, fixed / each

        ends = (micros[-1] - micros[0]) / (sizes[-1] - sizes[0])
        power, height = np.polyfit(np.log(sizes), np.log(micros), 1)
        a, b, _ = fitted(1 / micros)

        agree(
            find_bend(list(sizes), list(micros)), fitted(1 / micros), "a, b and the bend of times that scatter",
            {
                "These are least *absolute* errors: the largest steps drew the line. Weigh each by its time.": fitted(),
                "np.polyfit squares after it has multiplied by w: 1 / times² is one power too many.":
                    fitted(1 / micros**2),
                "np.polyfit squares after it has multiplied by w: a root is one power too few.":
                    fitted(1 / np.sqrt(micros)),
                "Weighed by the times: the largest counts even more. Divide by them.": fitted(micros),
                "Weighed by the number of ratings: divide by the times.": fitted(1 / sizes),
                "The first time and the last drew this line: fit all of them.":
                    (micros[0] - ends * sizes[0], ends, micros[0] / ends - sizes[0]),
                "The first time is not the fixed one: it has ratings in it, too.": (micros[0], b, micros[0] / b),
                "A line through the logarithms is a power of n: fit a + b n itself.":
                    (np.exp(height), power, np.exp(height) / power),
                "That is the time at the bend, 2 a. The number of ratings is asked for.": (a, b, 2 * a),
            },
            cause="Is it one line through all times, with errors relative to the times?",
        )  # fmt: skip
    return "an exact line, 20 that scatter"


@exercise(2, "add up by row", found="slower")
def add_up_by_row(guess: str, add_by_row: Callable, seed: int = 0) -> str:
    """Every move arrives at its row, as with np.add.at."""
    guessed(guess, ("faster", "same", "slower"))
    _added(add_by_row, np.ones((3, 1)), np.array([0, 2, 0]), np.array([[1.0], [2.0], [4.0]]), "P of ones after 3 moves")
    for rng in cases(seed):
        n, width = int(rng.integers(1, 30)), int(rng.integers(1, 4))
        P = rng.normal(0, 1, (6, width)).astype(rng.choice(["float32", "float64"]))
        moves = rng.normal(0, 1, (n, width)).astype(P.dtype)
        _added(add_by_row, P, rng.integers(0, 5, n), moves, f"P after {n} random moves")
    return "20 batches, every move arrived"


def _added(add_by_row: Callable, P: np.ndarray, rows: np.ndarray, moves: np.ndarray, what: str) -> None:
    mine, right, last, first = P.copy(), P.copy(), P.copy(), P.copy()
    result = add_by_row(mine, rows.copy(), moves.copy())
    np.add.at(right, rows, moves)
    last[rows] += moves
    first[rows[::-1]] += moves[::-1]
    if np.array_equal(mine, P) and result is not None:
        fail("P itself", "changed in place", "as before", "A new array came back: add to P, with P += or np.add.at.")
    each = np.maximum(np.bincount(rows, minlength=len(P)), 1)[:, None]
    agree(
        mine, right, what,
        {
            "P is as before: a new name for its rows does not change P.": P,
            "Of a row that comes twice, the last move alone has arrived.": last,
            "Of a row that comes twice, the first move alone has arrived.": first,
            "These are means of each row's moves: it is their sum that counts.": P + (right - P) / each,
            "The sums are right, but they have replaced P: add them to it.": right - P,
            "The moves are taken off: add them.": 2 * P - right,
            "The moves have replaced the rows, where they are to be added.": _set(P, rows, moves),
            "Each row has got all moves of the batch: moves[n] belongs to row rows[n].": P + moves.sum(axis=0),
            "The moves went to the rows 0, 1, 2 …: moves[n] belongs to row rows[n].": _in_order(P, moves),
        },
        cause="Which rows differ: those that come once, or those that come twice?", tolerance=1e-5,
    )  # fmt: skip


def _set(P: np.ndarray, rows: np.ndarray, moves: np.ndarray) -> np.ndarray:
    P = P.copy()
    P[rows] = moves
    return P


def _in_order(P: np.ndarray, moves: np.ndarray) -> np.ndarray:
    P, n = P.copy(), min(len(P), len(moves))
    P[:n] += moves[:n]
    return P


@exercise(3, "a batch that is too large")
def a_batch_that_is_too_large(left: tuple, capped_step: Callable, seed: int = 0) -> str:
    """Half the way for each bias by hand, then whole steps against those of mf.sgd."""
    agree(
        left, (-1.0, 0.0, 0.5), "what is left of an error of 1",
        {
            "Only one of the two biases has moved here: both stand in the prediction.": (0.0, 0.5, 0.75),
            "The sign: an error is the rating minus the prediction, and the prediction rose by 2 s.": (1.0, 0.0, -0.5),
            "That is how far the prediction moved: how much of the error of 1 is left?": (2.0, 1.0, 0.5),
            "Both move at once, each by s of the same error of 1, and not one after the other.": (0.0, 0.25, 0.5625),
            "The sign counts: -1 is an error as large as before, on the other side.": (1.0, 0.0, 0.5),
            "These are squares: the error itself is asked for.": (1.0, 0.0, 0.25),
        },
        secret=True,
    )  # fmt: skip
    four = Ratings([0, 0, 0, 1], [0, 1, 2, 0], [4, 4, 4, 4], 2, 3, (1, 5, 1))
    zeros = Factors(3.0, np.zeros(2), np.zeros(3), np.zeros((2, 1)), np.zeros((3, 1)))
    _stepped(
        capped_step,
        four,
        zeros,
        0.4,
        "P and Q after errors of +1, three of one user and one of another, at a rate of 0.4",
    )
    for rng in cases(seed):
        part = some_ratings(rng)
        biases = [rng.normal(0, 0.3, n) for n in (part.n_users, part.n_items)]
        factors = [rng.normal(0, 0.5, (n, 2)) for n in (part.n_users, part.n_items)]
        lr = float(rng.uniform(0.02, 0.6))
        _stepped(capped_step, part, Factors(3.0, *biases, *factors), lr, f"P and Q after a step at a rate of {lr:.2f}")
    return "20 batches, each step that of mf.sgd"


def _tables(factors: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    ones = [np.ones((n, 1)) for n in (factors.n_users, factors.n_items)]
    P = np.hstack([factors.user_factors, factors.user_biases[:, None], ones[0]])
    Q = np.hstack([factors.item_factors, ones[1], factors.item_biases[:, None]])
    return torch.tensor(P).float(), torch.tensor(Q).float()


def _stepped(capped_step: Callable, part: Ratings, start: Factors, lr: float, what: str) -> None:
    """Hold one full-batch step against mf.sgd's, and against what goes wrong with caps."""
    k, (P, Q), (users, items, values) = start.n_factors, _tables(start), part.to_tensors()
    right = _tables(
        descent.sgd(part, k, epochs=1, lr=lr, reg=0.0, engine="minibatch", batch_size=len(part), start=start)
    )
    n_u, n_i = (torch.bincount(rows)[rows][:, None] for rows in (users, items))
    fixed = torch.ones(2, k + 2)
    fixed[0, -1], fixed[1, -2] = 0, 0

    def moved(rate_p, rate_q, keep=fixed, hasty=False):
        p, q = P[users], Q[items]
        e = (values - start.mean - (p * q).sum(dim=1))[:, None]
        to_p = P.index_add(0, users, rate_p * e * q * keep[0])
        return to_p, Q.index_add(0, items, rate_q * e * (to_p[users] if hasty else p) * keep[1])

    capped = [(0.5 / n).clamp(max=lr) for n in (n_u, n_i)]
    mine = P.clone(), Q.clone()
    if capped_step(*mine, users, items, values - start.mean, lr) is not None:
        fail("the step", "changes P and Q in place, returns nothing", "a result", "index_add_ changes P itself.")
    every = torch.full_like(capped[0], lr)
    agree(
        mine, right, what,
        {
            "P and Q are as before: `index_add` without the last underscore makes a new table.": (P, Q),
            "No row is capped: this is hand_step.": moved(every, every),
            "Nothing but the cap: where `lr` is less than 0.5 / n, it stays.": moved(0.5 / n_u, 0.5 / n_i),
            "This goes the whole way, 1 / n: two biases would go it together.":
                moved(*((1 / n).clamp(max=lr) for n in (n_u, n_i))),
            "The rate is divided by n here: a cap is the smaller of `lr` and 0.5 / n.": moved(every / n_u, every / n_i),
            "Half of each step: rate times e times the other row.": moved(*(rate / 2 for rate in capped)),
            "Uphill: the error is the rating minus the prediction, so add.": moved(*(-rate for rate in capped)),
            "Films have not moved: both tables do.": (moved(*capped)[0], Q),
            "Users have not moved: both tables do.": (P, moved(*capped)[1]),
            "The larger of `lr` and 0.5 / n: a cap is the smaller.":
                moved(*((0.5 / n).clamp(min=lr) for n in (n_u, n_i))),
            "n is the number of ratings of the row, not of the batch.":
                moved(*2 * [(0.5 / torch.full_like(every, len(part))).clamp(max=lr)]),
            "Films move at the users' rates: count the ratings of each film for theirs.": moved(capped[0], capped[0]),
            "Users move at the films' rates: count the ratings of each user for theirs.": moved(capped[1], capped[1]),
            "The columns of ones have moved: set their moves to 0.": moved(*capped, keep=torch.ones(2, k + 2)),
            "Films moved by the new P: compute both moves before you add either.": moved(*capped, hasty=True),
        },
        cause="Print the rates of two users: one with one rating here, one with several.", tolerance=1e-5,
    )  # fmt: skip


@exercise(4, "bug hunt: faster for nothing")
def faster_for_nothing(trusted_clock: Callable, seed: int = 0) -> str:
    """A clock on machines with a queue and a slow first call, on which the seconds are known."""
    _timed(
        trusted_clock, [20.0, 2.0, 3.0], 1,
        {
            "The first call of all was timed: one goes before, to warm up.": 20.0,
            "The clock starts before the call to warm up is done: wait for that one, too.": 22.0,
        },
    )  # fmt: skip
    for rng in cases(seed):
        n = int(rng.choice([3, 5, 8]))
        lasts = [float(rng.uniform(20, 30)), *rng.uniform(1, 3, 3 * n).tolist()]
        timed = lasts[1 : n + 1]
        _timed(
            trusted_clock, lasts, n,
            {
                "This is the mean of the calls: a slow moment of the computer counts. Take the fastest single one.":
                    fmean(timed),
                "These are the seconds of all n calls together.": sum(timed) + (n - 1) * _LAUNCH,
                "This is the median. Others only ever add time: take the fastest.": median(timed),
                "This is the slowest.": max(timed),
            },
        )  # fmt: skip
    return "21 machines with a queue"


def _timed(trusted_clock: Callable, lasts: list[float], n: int, mistakes: dict[str, float]) -> None:
    machine = _Machine(lasts)
    agree(
        trusted_clock(machine.work, machine.synchronize, machine.now, n), _LAUNCH + min(lasts[1 : n + 1]),
        f"the seconds of the fastest of {n} calls after the first",
        {"That is how long a call takes to be queued: wait before you look at the clock.": _LAUNCH}
        | {hint: _LAUNCH + seconds for hint, seconds in mistakes.items()},
        cause="Does it call `work` once, then n times, and look at now() before and after each of the n?",
    )  # fmt: skip
    require(
        machine.calls == n + 1, "the calls of work", f"1 to warm up and {n}", machine.calls,
        "Count the calls: n is the number of those that are timed.",
    )  # fmt: skip
    require(
        not machine.early, "the looks at the clock", "none while calls are queued", f"{machine.early} too early",
        "Wait before the first look as well as before the last.",
    )  # fmt: skip


_LAUNCH = 0.125  # seconds that it takes to queue a call


class _Machine:
    """Calls return at once and wait in a queue; the time is its own."""

    def __init__(self, lasts: list[float]) -> None:
        self.lasts, self.calls, self.time, self.queued, self.early = lasts, 0, 100.0, 0.0, 0

    def work(self) -> None:
        self.time += _LAUNCH
        self.queued += self.lasts[min(self.calls, len(self.lasts) - 1)]
        self.calls += 1

    def synchronize(self) -> None:
        self.time, self.queued = self.time + self.queued, 0.0

    def now(self) -> float:
        self.early += self.queued > 0
        return self.time
