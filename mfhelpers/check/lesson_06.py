"""The exercises to lesson 06: what is fast is measured, what is right is checked."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

from ..algorithms import sgd as descent
from ..data.ratings import Ratings
from ..models.factors import Factors
from .feedback import Together, agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "find the bend", found="left")
def find_the_bend(guess: str, find_bend: Callable, seed: int = 0) -> str:
    """A fixed time and a time for each rating, by least squared relative errors."""
    guessed(guess, ("left", "right", "nowhere"))
    with Together() as same:
        _bent(same, find_bend, np.array([1.0, 100.0, 1000.0]), np.array([40.2, 60.0, 240.0]), "times 40 + 0.2 n")
        for rng in cases(seed):
            sizes = 4.0 ** np.arange(2, 9)
            micros = (rng.uniform(20, 400) + rng.uniform(0.005, 0.5) * sizes) * rng.uniform(0.7, 1.4, len(sizes))
            _bent(same, find_bend, sizes, micros, "times that scatter")
    return "an exact line, 20 that scatter"


def _bent(same: Together, find_bend: Callable, sizes: np.ndarray, micros: np.ndarray, which: str) -> None:
    def fitted(weights):
        each, fixed = np.polyfit(sizes, micros, 1, w=weights)
        return fixed, each, fixed / each

    right = fitted(1 / micros)
    same.agree(
        find_bend(sizes.astype(int).tolist(), micros.tolist()), right, f"a, b and the bend of {which}",
        {
            "These are least *absolute* errors: the largest steps drew the line. Weigh each by its time.": fitted(None),
            "np.polyfit squares after it has multiplied by w: 1 / times² is one power too many.": fitted(1 / micros**2),
            "np.polyfit squares after it has multiplied by w: a root is one power too few.": fitted(1 / np.sqrt(micros)),
            "Weighed by the times: the largest counts even more. Divide by them.": fitted(micros),
            "Weighed by the number of ratings: divide by the times.": fitted(1 / sizes),
        }
        | _of_the_right_line(*right, sizes)
        | _other_lines(*right, sizes, micros),
        cause="Is it one line through all times, with errors relative to the times?",
    )  # fmt: skip


def _of_the_right_line(fixed: float, each: float, bend: float, sizes: np.ndarray) -> dict[str, tuple]:
    """What typical mistakes make of the right a, b and bend."""
    nearest = int(np.argmin(np.abs(sizes - bend)))
    return {
        "np.polyfit gives the slope first: a is the height at 0.": (each, fixed, each / fixed),
        "np.polyfit gives the slope first. The bend is right: exchange a and b.": (each, fixed, bend),
        "At the bend a = b n: which of the two is divided by the other?": (fixed, each, each / fixed),
        "At the bend a = b n, so n is a divided by b.": (fixed, each, fixed * each),
        "The bend is no place in the list: it is the number of ratings a / b.": (fixed, each, nearest),
        "The bend is one of the sizes here. It is a / b, wherever that lies.": (fixed, each, sizes[nearest]),
        "The bend is rounded: leave it as it comes out.": (fixed, each, round(bend)),
        "That is the time at the bend: the number of ratings there was asked for.": (fixed, each, 2 * fixed),
    }


def _other_lines(fixed: float, each: float, bend: float, sizes: np.ndarray, micros: np.ndarray) -> dict[str, tuple]:
    """a, b and the bend by lines that are not through all times."""
    with np.errstate(all="ignore"):
        power, height = np.polyfit(np.log(sizes), np.log(micros), 1)
        turned, of_times = np.polyfit(micros, sizes, 1, w=1 / micros)
    ends = (micros[-1] - micros[0]) / (sizes[-1] - sizes[0])
    late = (micros[-1] - micros[-3]) / (sizes[-1] - sizes[-3])
    least = micros.min()
    return {
        "np.polyfit takes x first: the sizes, then the times.": (of_times, turned, of_times / turned),
        "A line through logarithms is a power of n, not a + b n: fit the times themselves.":
            (height, power, height / power),
        "A line through logarithms is a power of n, not a + b n. Fit the times themselves.":
            (np.exp(height), power, np.exp(height) / power),
        "That is the line through the first and the last time. All of them should count.":
            (micros[0] - ends * sizes[0], ends, micros[0] / ends - sizes[0]),
        "The first time counts as the fixed cost, and the two ends as the rest. All times should count.":
            (micros[0], ends, micros[0] / ends),
        "That is the lesson's quick estimate, from the shortest time and two late ones. Fit a line to all.":
            (least, late, least / late),
        "a is not the shortest time: some of that is b n. Take both from one line.": (least, each, least / each),
    }  # fmt: skip


@exercise(2, "add up by row", found="slower")
def add_up_by_row(guess: str, add_by_row: Callable, seed: int = 0) -> str:
    """Every move arrives at its row, as with np.add.at."""
    guessed(guess, ("faster", "same", "slower"))
    _added(add_by_row, np.ones((3, 1)), np.array([0, 2, 0]), np.array([[1.0], [2.0], [4.0]]), "P of ones after 3 moves")
    for rng in cases(seed):
        n, width = int(rng.integers(6, 30)), int(rng.integers(2, 4))
        P = rng.normal(0, 1, (6, width)).astype(rng.choice(["float32", "float64"]))
        moves = rng.normal(0, 1, (n, width)).astype(P.dtype)
        _added(add_by_row, P, rng.permutation(np.arange(n) % 5), moves, f"P after {n} random moves")
    _without_a_loop(add_by_row)
    return "20 batches, every move arrived, and no loop in Python"


def _added(add_by_row: Callable, P: np.ndarray, rows: np.ndarray, moves: np.ndarray, what: str) -> None:
    mine, right = P.copy(), P.copy()
    result = add_by_row(mine, rows.copy(), moves.copy())
    np.add.at(right, rows, moves)
    if np.array_equal(mine, P) and result is not None:
        fail("P itself", "changed in place", "as before", "A new array came back: add to P, with P += or np.add.at.")
    agree(
        mine, right, what, _wrongly_added(P, rows, moves, right - P),
        cause="Which rows differ: those that come once, or those that come twice?", tolerance=1e-5,
    )  # fmt: skip


def _wrongly_added(P: np.ndarray, rows: np.ndarray, moves: np.ndarray, sums: np.ndarray) -> dict[str, np.ndarray]:
    """P after typical mistakes; `sums` is what should be added to it."""
    last, first, set_last, every = P.copy(), P.copy(), P.copy(), np.arange(len(P))
    last[rows] += moves
    first[rows[::-1]] += moves[::-1]
    set_last[rows] = moves
    times = np.bincount(rows, minlength=len(P))[:, None]
    come = times > 0
    return {
        "P is as before: a new name for its rows does not change P.": P,
        "Of a row that comes twice, the last move alone has arrived.": last,
        "Of a row that comes twice, the first move alone has arrived.": first,
        "A move replaces its row here: add it.": set_last,
        "These are means of each row's moves: it is their sum that counts.": P + sums / np.maximum(times, 1),
        "The sums are right, but they have replaced P: add them to it.": sums,
        "The sums are right, but they have replaced the rows that come: add them.": np.where(come, sums, P),
        "Subtracted, where adding was asked for.": P - sums,
        "Each arrives twice: += and np.add.at both add.": P + 2 * sums,
        "What a row held before is added again, once for each time that it comes: add the moves alone.":
            P + sums + times * P,
        "What a row held before is added again: add the moves alone.": P + sums + come * P,
        "All moves arrive at every row. Which row a move belongs to, `rows` says.": P + moves.sum(axis=0),
        "All moves arrive at every row that comes: each belongs to one.": P + come * moves.sum(axis=0),
        "Each move's numbers are added up over its columns, which should stay apart.":
            P + sums.sum(axis=1, keepdims=True),
        "The first column's sums arrive in every column.": P + sums[:, :1],
        "Only the first column has changed: each has moves of its own.": np.where(every[: P.shape[1]] == 0, P + sums, P),
        "That counts how often a row comes: add its moves.": P + times,
        "Only rows that come once have their moves: what about the others?": np.where(times == 1, P + sums, P),
        "Only rows that come more than once have their moves: what about the others?": np.where(times > 1, P + sums, P),
        "The sums stand in the order of the rows that come, not at their places.":
            P + np.concatenate([sums[come[:, 0]], np.zeros_like(P)])[: len(P)],
    }  # fmt: skip


class _Watched(np.ndarray):
    """An array that counts how often single places, or parts, of it or of what is made from it are taken."""

    taken = 0

    def __getitem__(self, key):
        _Watched.taken += 1
        return super().__getitem__(key)

    def __iter__(self):
        _Watched.taken += len(self)
        return super().__iter__()


def _without_a_loop(add_by_row: Callable) -> None:
    """1,200 moves of 400 rows: whoever takes them one by one, or row by row, takes 400 parts at least."""
    rows, moves = np.arange(1200) % 400, np.ones((1200, 2))
    _Watched.taken = 0
    add_by_row(np.zeros((400, 2)), rows.view(_Watched), moves.view(_Watched))
    require(
        _Watched.taken < 200, "the work on 1,200 moves", "a few operations on whole arrays",
        f"{_Watched.taken:,} places taken one by one",
        "The sums are right, and there is a loop in Python: np.add.at or a sparse product does it in one call.",
    )  # fmt: skip


@exercise(3, "a batch that is too large")
def a_batch_that_is_too_large(remaining: tuple, capped_step: Callable, seed: int = 0) -> str:
    """Half the way for each bias by hand, then whole steps against those of mf.sgd."""
    agree(
        remaining, (-1.0, 0.0, 0.5), "what is left of an error of 1",
        {
            "Only one of the two biases has moved here: both stand in the prediction.": (0.0, 0.5, 0.75),
            "The sign: an error is the rating minus the prediction, and the prediction rose by 2 s.": (1.0, 0.0, -0.5),
            "That is how far the prediction moved: how much of the error of 1 is left?": (2.0, 1.0, 0.5),
            "That is how far one bias moved: how much of the error of 1 is left?": (1.0, 0.5, 0.25),
            "That is as if the second bias saw what the first had left. Both go by the same error.": (0.0, 0.25, 0.5625),
            "The sign: for s = 1 the prediction ends above the rating.": (1.0, 0.0, 0.5),
            "These are squares of what is left, as in a loss: the error itself was asked for.": (1.0, 0.0, 0.25),
            "Both biases move towards the rating, so the error gets less.": (3.0, 2.0, 1.5),
            "The other way round: for s = 1 first, then 0.5, then 0.25.": (0.5, 0.0, -1.0),
        },
        secret=True,
    )  # fmt: skip
    square = Ratings([0, 0, 1, 1], [0, 1, 0, 1], [4, 4, 4, 4], 2, 2, (1, 5, 1))
    zeros = Factors(3.0, np.zeros(2), np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)))
    with Together() as same:
        _stepped(same, capped_step, square, zeros, 1.0, "P and Q after four errors of +1 at a rate of 1")
        for rng in cases(seed):
            part = some_ratings(rng)
            biases = [rng.normal(0, 0.3, n) for n in (part.n_users, part.n_items)]
            factors = [rng.normal(0, 0.5, (n, 2)) for n in (part.n_users, part.n_items)]
            start, lr = Factors(3.0, *biases, *factors), float(rng.uniform(0.02, 0.9))
            _stepped(same, capped_step, part, start, lr, f"P and Q after a step at a rate of {lr:.2f}")
    return "20 batches, each step that of mf.sgd"


def _tables(factors: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    ones = [np.ones((n, 1)) for n in (factors.n_users, factors.n_items)]
    P = np.hstack([factors.user_factors, factors.user_biases[:, None], ones[0]])
    Q = np.hstack([factors.item_factors, ones[1], factors.item_biases[:, None]])
    return torch.tensor(P).float(), torch.tensor(Q).float()


def _stepped(same: Together, capped_step: Callable, part: Ratings, start: Factors, lr: float, what: str) -> None:
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

    def both(rate):
        return moved(*(rate(n.float()) for n in (n_u, n_i)))

    capped = [(0.5 / n).clamp(max=lr) for n in (n_u, n_i)]
    every = torch.full_like(capped[0], lr)
    mine = P.clone(), Q.clone()
    if capped_step(*mine, users, items, values - start.mean, lr) is not None:
        fail("the step", "changes P and Q in place, returns nothing", "a result", "index_add_ changes P itself.")
    same.agree(
        mine, right, what,
        {
            "P and Q are as before: `index_add` without the last underscore makes a new table.": (P, Q),
            "No row is capped: this is hand_step.": moved(every, every),
            "Nothing but the cap: where `lr` is less than 0.5 / n, it stays.": both(lambda n: 0.5 / n),
            "This goes the whole way, 1 / n: two biases would go it together.": both(lambda n: (1 / n).clamp(max=lr)),
            "The larger of `lr` and 0.5 / n: a cap is the smaller.": both(lambda n: (0.5 / n).clamp(min=lr)),
            "The rate is divided by n. A cap leaves `lr` as it is where that is below 0.5 / n.": both(lambda n: lr / n),
            "Half of lr / n: a cap leaves `lr` as it is where that is below 0.5 / n.": both(lambda n: 0.5 * lr / n),
            "lr stands in the cap, too: it is 0.5 / n, for any lr.": both(lambda n: (0.5 * lr / n).clamp(max=lr)),
            "The rate is multiplied by the cap: take the smaller of the two.": both(lambda n: lr * (0.5 / n).clamp(max=lr)),
            "0.5 is the cap of every row here: it is 0.5 / n.": both(lambda n: torch.full_like(n, min(lr, 0.5))),
            "0.5 n, where 0.5 / n is the cap.": both(lambda n: (0.5 * n).clamp(max=lr)),
            "The cap is 0.5 / n, without a root.": both(lambda n: (0.5 / n.sqrt()).clamp(max=lr)),
            "Users are capped, films are not: both see the same errors.": moved(capped[0], every),
            "Films are capped, users are not: both see the same errors.": moved(every, capped[1]),
            "The counts are exchanged: users' rates go by the users' ratings, films' by the films'.":
                moved(capped[1], capped[0]),
            "Only the films have moved.": (P, moved(*capped)[1]),
            "Only the users have moved.": (moved(*capped)[0], Q),
            "Uphill: the error is `rest` minus the product, and each row moves by plus its rate times it.":
                moved(-capped[0], -capped[1]),
            "Twice as far: in hand_step the rate has swallowed the factor 2.": moved(2 * capped[0], 2 * capped[1]),
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
    """A clock on machines with a queue, most with a slow first call, on which the seconds are known."""
    timed = []
    with Together() as same:
        for rng in cases(seed):
            n = int(rng.choice([3, 5, 8]))
            lasts = [float(rng.uniform(20, 30)), *rng.uniform(1, 3, 3 * n).tolist()]
            # the fastest of all is in turn the one to warm up, the first that counts, and the next two after the last
            lasts[(0, 1, n + 1, n + 2)[len(timed) % 4]] = 0.9 * min(lasts)
            timed.append((_timed(same, trusted_clock, lasts, n), n))
    for machine, n in timed:
        require(
            machine.calls == n + 1, "the calls of work", f"1 to warm up and {n}", machine.calls,
            "One goes before, to warm up, and n are timed: here are too " + ("few." if machine.calls <= n else "many."),
        )  # fmt: skip
        require(
            not machine.early, "the looks at the clock", "none while calls are queued", f"{machine.early} too early",
            "Wait before the first look as well as before the last.",
        )  # fmt: skip
    return "20 machines with a queue"


def _timed(same: Together, trusted_clock: Callable, lasts: list[float], n: int) -> _Machine:
    machine = _Machine(lasts)
    began = machine.time
    got = trusted_clock(machine.work, machine.synchronize, machine.now, n)
    require(
        machine.time > began, "the calls of work", f"1 to warm up and {n}", "none",
        "Nothing is timed here: call work(), and synchronize(), with brackets.",
    )  # fmt: skip
    require(
        machine.looks, "the looks at the clock", "before and after each call", "none",
        "The time is now(), which is passed: the check brings a clock of its own.",
    )  # fmt: skip
    mistakes = {hint: clock(_Machine(lasts), n) for hint, clock in WRONG_CLOCKS.items()}
    same.agree(
        got, _clock()(_Machine(lasts), n), f"the seconds of the fastest of {n} calls after the first", mistakes,
        cause="Does it call `work` once, then n times, and look at now() before and after each of the n?",
    )  # fmt: skip
    return machine


_LAUNCH = 0.125  # seconds that it takes to queue a call


class _Machine:
    """Calls return at once and wait in a queue; the time is its own."""

    def __init__(self, lasts: list[float]) -> None:
        self.lasts, self.calls, self.time, self.queued, self.early, self.looks = lasts, 0, 100.0, 0.0, 0, 0

    def work(self) -> None:
        self.time += _LAUNCH
        self.queued += self.lasts[min(self.calls, len(self.lasts) - 1)]
        self.calls += 1

    def synchronize(self) -> None:
        self.time, self.queued = self.time + self.queued, 0.0

    def now(self) -> float:
        self.early, self.looks = self.early + (self.queued > 0), self.looks + 1
        return self.time


Clock = Callable[[_Machine, int], Any]


def _clock(pick: Callable = min, before: bool = True, after: bool = True, warm: int = 1, more: int = 0) -> Clock:
    """A clock as asked for, or with one part of it gone wrong."""

    def clock(machine: _Machine, n: int) -> Any:
        for _ in range(warm):
            machine.work()
        times = []
        for _ in range(n + more):
            if before:
                machine.synchronize()
            started = machine.now()
            machine.work()
            if after:
                machine.synchronize()
            times.append(machine.now() - started)
        return pick(times)

    return clock


def _in_one_go(machine: _Machine, n: int) -> float:
    machine.synchronize()
    started = machine.now()
    for _ in range(n):
        machine.work()
    machine.synchronize()
    return (machine.now() - started) / n


WRONG_CLOCKS: dict[str, Clock] = {
    "That is how long a call takes to be queued: wait before you look at the clock.": _clock(after=False),
    "The clock starts before the call to warm up is done: wait for that one, too.":
        _clock(before=False, after=True),
    "The first call of all was timed: one goes before, to warm up.": _clock(warm=0),
    "Warming up takes n calls here: one was asked for.": lambda machine, n: _clock(warm=n)(machine, n),
    "Two calls go before: one was asked for.": _clock(warm=2),
    "One call too few is timed: n of them, besides the one to warm up.": _clock(more=-1),
    "One call too many is timed: n of them, and the one to warm up is not among these.": _clock(more=1),
    "This is the mean of the calls: a slow moment of the computer counts. Take the fastest single one.": _clock(fmean),
    "This is the median. Others only ever add time: take the fastest.": _clock(median),
    "This is the slowest.": _clock(max),
    "These are the seconds of all n calls together.": _clock(sum),
    "This is the first of the n calls: the fastest was asked for.": _clock(lambda times: times[0]),
    "This is the last of the n calls: is `return` or the difference outside of the loop?": _clock(lambda times: times[-1]),
    "That is which call was the fastest: its seconds were asked for.": _clock(lambda times: float(np.argmin(times))),
    "The fastest is divided by n, but it is of a single call already.": lambda machine, n: _clock()(machine, n) / n,
    "These are calls in a second: the seconds of a call were asked for.": _clock(lambda times: 1 / min(times)),
    "That is the mean of n calls, the slow first one among them. One goes before; take the fastest single one.":
        _in_one_go,
    "The differences have the wrong sign: now() after minus now() before.": _clock(lambda times: -max(times)),
    "These are the seconds of all n calls: the smallest of them was asked for.": _clock(list),
}  # fmt: skip
