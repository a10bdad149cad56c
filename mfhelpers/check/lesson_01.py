"""The exercises to lesson 01: gradients by hand, one rating at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import numerical_gradient
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings, untouched


@exercise(1, "half a saddle")
def half_a_saddle(after_one: Any, after_two: Any, seed: int = 0) -> str:
    """One and two steps by hand, from a film at zero; the message does not tell the numbers."""
    p, q, moved = np.array([0.2, -0.4]), np.zeros(2), np.array([0.1, -0.2])
    first = {
        "Nothing moves only where both are zero. The gradient of q_i contains p_u.": (p, q),
        "The film is twice too far: is the rate left out, or is there a factor 2 too many?": (p, 2 * moved),
        "p_u moves by 0.5 e q_i, and q_i is zero in this step.": (1.5 * p, moved),
        "p_u and q_i are the other way round: p_u first.": (moved, p),
        "Uphill: the rating is above the prediction, so q_i moves towards p_u.": (p, -moved),
        "The rate swallows the factor 2: q_i moves by 0.5 e p_u, once.": (p, 0.5 * moved),
    }
    second = {
        "Is the error still 1 in the second step? The film has moved.": (p + 0.5 * moved, moved + 0.5 * p),
        "Here both move: q_i is no longer zero.": (p, moved + 0.45 * p),
        "This is where they are after one step: take another one from there.": (p, moved),
        "These are the moves: add them to where p_u and q_i were.": (0.45 * moved, 0.45 * p),
        "Is the rate left out in the second step, or is there a factor 2 too many?": (p + 0.9 * moved, moved + 0.9 * p),
        "p_u and q_i are the other way round: p_u first.": (moved + 0.45 * p, p + 0.45 * moved),
        "q_i moved by the new p_u: both go by the rows before the step.": (
            p + 0.45 * moved,
            moved + 0.45 * (p + 0.45 * moved),
        ),
        "The sign: the prediction is above the mean by p_u · q_i, so e is smaller than 1.": (
            p + 0.55 * moved,
            moved + 0.55 * p,
        ),
    }
    rights = (p, moved), (p + 0.45 * moved, moved + 0.45 * p)
    for number, (answer, right, mistakes) in enumerate(
        zip((after_one, after_two), rights, (first, second), strict=True)
    ):
        agree(
            answer, right, f"p_u and q_i after step {number + 1}", mistakes, secret=True,
            cause="Write down e first. Then q_i moves by 0.5 e p_u, and p_u by 0.5 e q_i, with the old q_i.",
        )  # fmt: skip
    return "both steps"


@exercise(2, "bug hunt: the hasty step", found="hasty")
def the_hasty_step(guess: str, follows_the_gradient: Callable, seed: int = 0) -> str:
    """A test of steps, of large rows and of small ones: it must let right ones pass and stop each of eight wrong ones."""
    guessed(guess, ("hasty", "careful", "both", "neither"))
    for number, rng in enumerate(cases(seed, 6)):
        scale, rates = (0.1, (0.02, 0.05)) if number == 5 else (1.0, (0.1, 0.5))  # small: a wide tolerance sees nothing
        P, Q = rng.normal(0, scale, (4, 2)), rng.normal(0, scale, (3, 2))
        u, i, r, lr, mu = int(rng.integers(4)), int(rng.integers(3)), 5.0, rng.uniform(*rates), rng.uniform(2, 4)
        for step, right, cause in STEPS:
            given = P.copy(), Q.copy()
            verdict = follows_the_gradient(step, *given, u, i, r, lr, mu)
            if verdict is None:
                fail("your verdict", "True or False", verdict, "Nothing came back: does the function end in `return`?")
            require(
                np.array_equal(given[0], P) and np.array_equal(given[1], Q), "P and Q after your test", "as before",
                "moved", "The step moves what it is given: give it copies, and keep the old rows to compare with.",
            )  # fmt: skip
            require(bool(verdict) == right, f"your verdict on {step.__name__.strip('_')}", right, bool(verdict), cause)
    return "two right steps pass, eight wrong ones are found, six times over"


@exercise(3, "a penalty on large numbers")
def a_penalty_on_large_numbers(
    penalised_gradients: Callable, penalised_step: Callable, seed: int = 0,
) -> str:  # fmt: skip
    """Gradients against central differences, then the step that follows them."""
    for rng in cases(seed):
        p, q = rng.normal(0, 1, (2, 3))
        r, mu, reg = rng.integers(1, 6), rng.uniform(2, 4), rng.uniform(0.05, 0.5)
        given, e = (p.copy(), q.copy()), r - mu - p @ q
        got = penalised_gradients(*given, r, mu, reg)
        expected = (
            numerical_gradient(lambda x, q=q: (r - mu - x @ q) ** 2 + reg * (x @ x), p),  # noqa: B023
            numerical_gradient(lambda x, p=p: (r - mu - p @ x) ** 2 + reg * (x @ x), q),  # noqa: B023
        )
        of_p, of_q = -2 * e * q + 2 * reg * p, -2 * e * p + 2 * reg * q
        mistakes = {
            "The penalty has no effect: add 2 λ p to the one and 2 λ q to the other.": (-2 * e * q, -2 * e * p),
            "The derivative of λ p² is 2 λ p: a factor 2 is missing.": (-2 * e * q + reg * p, -2 * e * p + reg * q),
            "The derivative of e² is 2 e times that of e: a factor 2 is missing there.":
                (-e * q + 2 * reg * p, -e * p + 2 * reg * q),
            "That is the penalty itself, λ p², where its derivative belongs.":
                (-2 * e * q + reg * p**2, -2 * e * p + reg * q**2),
            "The penalty is a sum over the k numbers of a row, not their mean.":
                (-2 * e * q + 2 * reg * p / len(p), -2 * e * p + 2 * reg * q / len(q)),
            "The square of the length is penalised, not the length: its derivative is 2 λ p, of any length.":
                (-2 * e * q + reg * p / np.linalg.norm(p), -2 * e * p + reg * q / np.linalg.norm(q)),
            "The penalty of q does not depend on p: each gradient has its own row alone.":
                (-2 * e * q + 2 * reg * (p + q), -2 * e * p + 2 * reg * (p + q)),
            "The gradient with respect to p contains q, as p stands beside it in the product.":
                (-2 * e * p + 2 * reg * p, -2 * e * q + 2 * reg * q),
            "The sign of the penalty: it pulls to zero, so its gradient points away from it.":
                (-2 * e * q - 2 * reg * p, -2 * e * p - 2 * reg * q),
            "The gradient with respect to p has the penalty of p, not that of q.": (-2 * e * q + 2 * reg * q, -2 * e * p + 2 * reg * p),
            "The minus of the inner derivative is missing: e contains −p·q.":
                (2 * e * q + 2 * reg * p, 2 * e * p + 2 * reg * q),
            "That is the way down, with the 2 swallowed, as the step wants it. The gradients themselves point up.":
                (-of_p / 2, -of_q / 2),
            "That is the way down. The gradients point up.": (-of_p, -of_q),
            "The 2 is swallowed by the step's rate, later. The gradients still have it.": (of_p / 2, of_q / 2),
            "The other way round: first that of p.": (of_q, of_p),
            "e is r minus mu minus the product: where is mu?": (of_p - 2 * mu * q, of_q - 2 * mu * p),
        }  # fmt: skip
        agree(got, expected, "the gradients, measured by central differences", mistakes, tolerance=1e-5)
        for name, now, before in zip("pq", given, (p, q), strict=True):
            untouched(now, before, name)
    _steps(penalised_step, seed)
    return "20 gradients against central differences, 20 steps at other values of reg, one at the default"


@exercise(4, "without shuffling", found="value")
def without_shuffling(guess: str, orders: Callable, seed: int = 0) -> str:
    """Places sorted by user and film, and by rising value."""
    guessed(guess, ("user", "value", "both", "neither"))
    for rng in cases(seed):
        part = some_ratings(rng)
        got = orders(part)
        if got is None or len(got) != 2:
            fail("the result", "two arrays of places", type(got).__name__, "Return both: by user, by value.")
        by_user, by_value = (
            _places(order, which, len(part)) for order, which in zip(got, ("first", "second"), strict=True)
        )
        right = np.lexsort((part.items, part.users))
        users, values, cause = part.users[by_user], part.values[by_user], "The users should rise from place to place."
        if np.array_equal(by_user, np.argsort(right)) and not np.array_equal(by_user, right):
            cause = "These are ranks: where each rating goes. Places say which rating comes first, which second."
        elif np.array_equal(by_user, np.lexsort((part.users, part.items))):
            cause = "Sorted by film first: lexsort's last key counts most."
        elif np.array_equal(values, np.sort(values)):
            cause = "The first order is by user, the second by value."
        elif np.array_equal(users, np.sort(users)[::-1]):
            cause = "From the last user to the first: they should rise."
        require(np.array_equal(users, np.sort(users)), "the users in the first order", np.sort(users), users, cause)
        require(
            np.array_equal(by_user, right), "the films in the first order", part.items[right], part.items[by_user],
            "Within a user the films fall: they should rise, too."
            if np.array_equal(by_user, np.lexsort((-part.items, part.users))) else
            "Within a user the ratings are by value: the second key is the film."
            if np.array_equal(part.values[by_user], part.values[np.lexsort((part.values, part.users))]) else
            "Within a user the films are not in order: a second key is missing.",
        )  # fmt: skip
        agree(
            part.values[by_value], np.sort(part.values), "the values in the second order",
            {
                "From high to low: they should rise.": np.sort(part.values)[::-1],
                "These are ranks: where each rating goes. Places say which rating comes first, which second.":
                    part.values[np.argsort(np.argsort(part.values, kind="stable"))],
                "By value within each user: here the users do not count.":
                    part.values[np.lexsort((part.values, part.users))],
                "That is the order by user once more: the second is by value.": part.values[right],
            },
            cause="np.argsort of the values gives the places.",
        )  # fmt: skip
    return "20 random parts"


def _places(order: Any, which: str, n: int) -> np.ndarray:
    order = np.asarray(order)
    require(
        order.shape == (n,) and np.array_equal(np.sort(order), np.arange(n)), f"the {which} order",
        f"each place from 0 to {n - 1} once", order,
        "These may be users or values: np.lexsort and np.argsort give places.",
    )  # fmt: skip
    require(
        np.issubdtype(order.dtype, np.integer), f"the type of the {which} order", "integers", order.dtype,
        "Places are used as an index: no decimals.",
    )  # fmt: skip
    return order


# -- steps, right and wrong ------------------------------------------------------------------------


def _step(P, Q, u, i, r, lr, mu, reg=0.0):
    p, q = P[u].copy(), Q[i].copy()
    e = r - mu - p @ q
    P[u], Q[i] = p + lr * (e * q - reg * p), q + lr * (e * p - reg * q)


def _step_by_copies(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    old = P[u].copy()
    P[u] += lr * e * Q[i]
    Q[i] += lr * e * old


def _hasty_step(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    P[u] += lr * e * Q[i]
    Q[i] += lr * e * P[u]


def _film_first(P, Q, u, i, r, lr, mu):
    e = r - mu - P[u] @ Q[i]
    Q[i] += lr * e * P[u]
    P[u] += lr * e * Q[i]


def _taking_turns(P, Q, u, i, r, lr, mu):
    P[u] += lr * (r - mu - P[u] @ Q[i]) * Q[i]
    Q[i] += lr * (r - mu - P[u] @ Q[i]) * P[u]


def _uphill(P, Q, u, i, r, lr, mu):
    _step(P, Q, u, i, r, -lr, mu)


def _twice_as_far(P, Q, u, i, r, lr, mu):
    _step(P, Q, u, i, r, 2 * lr, mu)


def _user_alone(P, Q, u, i, r, lr, mu):
    _step(P, Q.copy(), u, i, r, lr, mu)


def _everybody(P, Q, u, i, r, lr, mu):
    p, q = P[u].copy(), Q[i].copy()
    e = r - mu - p @ q
    P += lr * e * q
    Q[i] = q + lr * e * p


def _everywhere(P, Q, u, i, r, lr, mu):
    p, q = P[u].copy(), Q[i].copy()
    e = r - mu - p @ q
    P[u] = p + lr * e * q
    Q += lr * e * p


STEPS = (  # step, whether it is right, and what a wrong verdict suggests
    (
        _step,
        True,
        "A right step is refused. Is the factor 2 swallowed by the rate? Are floats compared by np.allclose? "
        "Is Q[i] moved by the old P[u]?",
    ),
    (
        _step_by_copies,
        True,
        "A right step is refused, which keeps a copy of the old row. Look at P and Q afterwards alone.",
    ),
    (
        _hasty_step,
        False,
        "It learns, so a falling loss proves nothing; and its P is right. Compare Q with the gradient, at np.allclose's tolerance.",
    ),
    (_film_first, False, "Its Q is right. Compare P, too."),
    (
        _taking_turns,
        False,
        "It computes the error again in between. Both rows must follow the gradient at the old rows.",
    ),
    (_uphill, False, "It goes the other way: compare the moves with their signs."),
    (_twice_as_far, False, "It goes the right way, twice as far: compare the moves themselves, not their directions."),
    (_user_alone, False, "It leaves the film where it was."),
    (_everybody, False, "It moves the rows of all users. Compare P and Q whole, not the two rows."),
    (_everywhere, False, "It moves the rows of all films. Compare Q whole as well."),
)


def _steps(step: Callable, seed: int) -> None:
    """Compare steps with a penalty, at a `reg` of their own and, in the first case, at the default."""
    for number, rng in enumerate(cases(seed, 21)):
        P, Q = rng.normal(0, 1, (4, 2)), rng.normal(0, 1, (3, 2))
        u, i, r = int(rng.integers(4)), int(rng.integers(3)), int(rng.integers(1, 6))
        lr, mu, reg = rng.uniform(0.01, 0.5), rng.uniform(2, 4), rng.uniform(0.2, 0.9) if number else 0.1
        mine, right = (P.copy(), Q.copy()), (P.copy(), Q.copy())
        step(*mine, u, i, r, lr, mu, *([reg] if number else []))
        _step(*right, u, i, r, lr, mu, reg)
        others = [np.delete(a, row, 0) for a, row in ((mine[0], u), (mine[1], i))]
        kept = [np.delete(a, row, 0) for a, row in ((P, u), (Q, i))]
        require(
            all(map(np.array_equal, others, kept)), "the rows of all others", "unchanged", "changed",
            "Assign to P[u] and Q[i] alone, not to P and Q.",
        )  # fmt: skip
        require(
            not np.array_equal(mine[0], P) or not np.array_equal(mine[1], Q), "P and Q after a step", "moved", "as before",
            "A new name for P[u] does not change P: assign to P[u] itself.",
        )  # fmt: skip
        agree(
            (mine[0][u], mine[1][i]), (right[0][u], right[1][i]),
            f"row u of P and row i of Q after one step with reg={reg:.2f}",
            _wrong_steps(P[u], Q[i], r - mu, lr, reg, mu),
            cause="Compare each row's move with -lr/2 times your gradient at the old rows.",
        )  # fmt: skip


def _wrong_steps(
    p: np.ndarray, q: np.ndarray, above: float, lr: float, reg: float, mu: float,
) -> dict[str, tuple]:  # fmt: skip
    e = above - p @ q

    def moved(x, y, reg=reg):
        return x + lr * (e * y - reg * x)

    new_p, new_q = moved(p, q), moved(q, p)
    return {
        "q_i moved by the new p_u: compute both right-hand sides before you store either.": (new_p, moved(q, new_p)),
        "p_u moved by the new q_i: compute both right-hand sides before you store either.": (moved(p, new_q), new_q),
        "Uphill: the step goes against the gradient.": (2 * p - new_p, 2 * q - new_q),
        "Twice as far: the rate swallows the factor 2.": (2 * new_p - p, 2 * new_q - q),
        "Half of each step: the rate swallows the factor 2, so it is lr e q, not half of that.":
            ((p + new_p) / 2, (q + new_q) / 2),
        "The penalty is missing from the step.": (moved(p, q, reg=0), moved(q, p, reg=0)),
        "The penalty pushes away from zero: its sign.": (moved(p, q, reg=-reg), moved(q, p, reg=-reg)),
        "The penalty has a factor 2 too many: the rate swallows that of both terms.":
            (moved(p, q, reg=2 * reg), moved(q, p, reg=2 * reg)),
        "The penalty is halved: the rate swallows the factor 2 of both terms, and no more.":
            (moved(p, q, reg=reg / 2), moved(q, p, reg=reg / 2)),
        "The rate is missing on the penalty: it belongs to the gradient, too.":
            (moved(p, q, reg=reg / lr), moved(q, p, reg=reg / lr)),
        "The penalty is taken of rows that have moved already: take it of the old rows, in one step.":
            (moved(p, q, reg=0) * (1 - lr * reg), moved(q, p, reg=0) * (1 - lr * reg)),
        "The film's row has no penalty: both rows have one.": (new_p, moved(q, p, reg=0)),
        "The user's row has no penalty: both rows have one.": (moved(p, q, reg=0), new_q),
        "mu is not subtracted: e is r - mu - p · q.": (p + lr * ((e + mu) * q - reg * p), q + lr * ((e + mu) * p - reg * q)),
        "The step uses a `reg` of its own, 0.1, where it is given one.": (moved(p, q, reg=0.1), moved(q, p, reg=0.1)),
    }  # fmt: skip
