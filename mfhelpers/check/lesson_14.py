"""The exercises to lesson 14: what a forecast may know, sessions, trends, the others of a session, and rows by the wrong number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .feedback import Either, Together, cases, exercise, fail, require, untouched

DAY = 86_400
BEFORE = {  # what there is to be asked of each feature, and why
    "u's mean over earlier seconds": (True, "What the user has rated before is known, training or not."),
    "u's mean over the same second": (False, "A page is sent as a whole: its other ratings arrive with this one."),
    "u's number of ratings in the whole set": (False, "The whole set holds what the user will rate later: how many is not known yet."),
    "u's number of ratings before t": (True, "What is counted here has happened already."),
    "i's mean before t": (True, "What others have rated before this second is known."),
    "i's mean over the whole set": (False, "The whole set holds later ratings of the film, and this very one."),
    "genres of i": (True, "What was known of the film before its first rating is known now."),
    "hour of the day at t": (True, "The moment of the prediction is known: it is now."),
    "seconds until u's next rating": (False, "The next rating has not come."),
    "whether u comes back": (False, "Nobody knows today who comes back tomorrow."),
}  # fmt: skip


@exercise(1, "what a forecast may know")
def what_a_forecast_may_know(known: Mapping[str, bool], seed: int = 0) -> str:
    """Each feature: from which ratings it comes, and whether all have arrived."""
    require(isinstance(known, Mapping) and set(known) == set(BEFORE), "the features", sorted(BEFORE),
            sorted(known) if isinstance(known, Mapping) else known, "Keep the names as they stand in the cell, each with True or False.")  # fmt: skip
    for name, said in known.items():
        is_one = isinstance(said, (bool, np.bool_))
        require(is_one, f"{name!r}", "True or False", said, "Is it known before the rating, True, or not, False?")
    for name, (holds, why) in BEFORE.items():
        require(bool(known[name]) == holds, f"{name!r}", "another answer", known[name], why)
    return f"{len(BEFORE)} features"


@exercise(2, "sessions")
def sessions_by_gaps(sessions: Callable, seed: int = 0) -> str:
    """Two users by hand, pauses of days and months, and random clicks in no order."""
    with Together() as same:
        _sessions(
            same, sessions, np.array([1, 0, 0, 1, 0]), np.array([500, 700, 100, 560, 200]), 100, "two users, gap 100"
        )
        long = 880_000_000 + np.cumsum([0, 5, DAY + 10, 30, 60 * DAY, 3 * DAY, 10])
        _sessions(same, sessions, np.array([2, 1, 2, 1, 2, 1, 1]), long, 3600, "pauses of days and months, gap 3600")
        for number, rng in enumerate(cases(seed)):
            n = int(rng.integers(8, 25))
            users, gap = rng.choice([0, 2, 3, 7], n), int(rng.choice([60, 600, 1800]))
            steps = rng.choice([0, 1, gap // 2, gap, gap + 1, 3 * gap, 2 * DAY], n)
            moments = 880_000_000 + np.cumsum(steps) if number % 2 else 880_000_000 + rng.permutation(np.cumsum(steps))
            _sessions(same, sessions, users, moments, gap, "random clicks")
    return "two users by hand, pauses of months, 20 random sets of clicks"


def _sessions(same: Together, answer: Callable, users: np.ndarray, moments: np.ndarray, gap: int, what: str) -> None:
    given = users.copy(), moments.copy()
    got = answer(given[0], given[1], gap)
    untouched(given[0], users, "the users")
    untouched(given[1], moments, "the timestamps")
    order = np.lexsort((moments, users))
    u, t = users[order], moments[order]
    other, pause = np.diff(u, prepend=u[0]) != 0, np.diff(t, prepend=t[0])
    new = other | (pause > gap)

    def numbered(begins: np.ndarray, order: np.ndarray = order) -> np.ndarray:
        return _back(np.cumsum(begins), order)

    def by_place(place: np.ndarray) -> np.ndarray:
        return numbered(_begins(users[place], moments[place], gap), place)

    since_first = np.array([t[n] - t[np.searchsorted(u, u[n])] for n in range(len(u))])
    begun, marks, marked = np.zeros(len(u), bool), new.copy(), new.copy()
    for n in range(1, len(u)):
        begun[n] = other[n] or t[n] - t[np.flatnonzero(begun[:n] | (np.arange(n) == 0))[-1]] > gap
    marked[0] = True
    right, as_given, by_time = numbered(new), np.arange(len(u)), np.argsort(moments, kind="stable")
    same.agree(
        got, right, f"the number of each rating's session: {what}",
        {
            "These are in the order of user and time: give them back in the order that came in.": np.cumsum(new),
            "`numbers[order]` picks once more; put them back with `result[order] = numbers`.": np.cumsum(new)[order],
            "A session goes on from one user to the next: a new user begins a new one.": numbered(pause > gap),
            "Two users may be less than `gap` apart, forwards or backwards: compare the users.": numbered(abs(pause) > gap),
            "Only a new user begins a session here: so does a pause.": numbered(other),
            "A new user *or* a pause begins a session: either is enough.": numbered(other & (pause > gap)),
            "User numbers may have gaps: a new user is one that differs, !=.": numbered((np.diff(u, prepend=u[0]) == 1) | (pause > gap)),
            "A pause of exactly `gap` ends no session: longer is asked for.": numbered(other | (pause >= gap)),
            "One second more than `gap` ends a session.": numbered(other | (pause > gap + 1)),
            "`gap` is an argument, in seconds: what comes in counts.": Either([numbered(other | (pause > 3600)), numbered(other | (t // 60 - np.roll(t, 1) // 60 > gap / 60))]),
            "Whole days are lost: `.dt.seconds` is what is left of a pause after its days; `.dt.total_seconds()` is all of it.":
                numbered(other | (pause % DAY > gap)),
            "User and time in one number mix where the factor is smaller than the time that there is: use np.lexsort.":
                Either([by_place(np.argsort(users * 10**power + moments, kind="stable")) for power in (4, 5, 6)]),
            "The pause counts from the rating before, not from the session's beginning.": numbered(begun),
            "The first number is 0.": right + 1,
            "Each user's sessions begin at 0 here: numbers go on over all users.": right - _first_of(users, right),
            "Ratings come in no order: sort by user, then by time, before you look for pauses.": Either([by_place(as_given), by_place(by_time)]),
            "lexsort sorts by its *last* key first: np.lexsort((timestamps, users)).": by_place(np.lexsort((users, moments))),
            "Sorted by user alone: within a user the time is in no order.": by_place(np.argsort(users, kind="stable")),
            "Each user's sessions are numbered from the last to the first.": by_place(np.lexsort((-moments, users))),
            "Right sessions, numbered in the order of time: go user by user.": _by_first_seen(right, by_time),
            "Right sessions, numbered as they turn up in the array: go by the number of the user, then by time.": _by_first_seen(right, as_given),
            "Windows cut through sessions: neither `timestamps // gap` nor windows from a first rating know of a pause.":
                Either([moments // gap, np.unique(users * 2**32 + moments // gap, return_inverse=True)[1],
                        _back(np.unique(u * 2**32 + since_first // gap, return_inverse=True)[1], order)]),
            "Does a pause begin a session at the rating before it? It is the one after the pause.": numbered(np.append(new[1:], False)),
            "These mark where a session begins: their running sum is its number.": Either([_back(marks, order), marks, _back(marked, order), marked]),
        },
        cause="Sort by user and time; a session begins where the user changes or the pause exceeds `gap`. Do it by hand for the first case.",
    )  # fmt: skip


def _by_first_seen(numbers: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The same groups, numbered in the order in which they are met at these places."""
    _, first, at = np.unique(numbers[place], return_index=True, return_inverse=True)
    return _back(np.argsort(np.argsort(first))[at], place)


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    numbers = np.empty(len(order), np.int64)
    numbers[order] = values
    return numbers


def _begins(users: np.ndarray, moments: np.ndarray, gap: int) -> np.ndarray:
    return (np.diff(users, prepend=users[0]) != 0) | (np.diff(moments, prepend=moments[0]) > gap)


def _first_of(users: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    first = np.full(users.max() + 1, numbers.max() + 1)
    np.minimum.at(first, users, numbers)
    return first[users]


@exercise(3, "a trend for each user")
def a_trend_for_each_user(trends: Callable, seed: int = 0) -> str:
    """Two ratings by hand, users of one rating and of none, and random users."""
    with Together() as same:
        _trends(same, trends, np.zeros(2, int), 10**9 + np.array([0, 2 * DAY]), np.array([-1.0, 0.5]), 2, 1.0,
                "one user, residuals -1 and 0.5 two days apart, and one without ratings")  # fmt: skip
        _trends(same, trends, np.array([0, 0, 0, 0, 2, 2]), 10**9 + np.array([0, 0, 0, 60, 9, 3000]), np.array([1.0, 0.5, -0.2, 0.9, -1.0, 1.0]), 3, 0.1,
                "two users, four ratings within a minute and two within an hour, and one without ratings")  # fmt: skip
        for rng in cases(seed):
            n = int(rng.integers(8, 20))
            users = rng.choice([0, 1, 3], n)
            users[0] = 4  # one rating alone
            moments = (
                10**9 + (rng.choice([0, 0.5, 0.5, 3, 17.25, 60], n) * DAY).astype(np.int64) + rng.integers(0, 2, n)
            )
            _trends(same, trends, users, moments, rng.normal(size=n), 6, float(rng.uniform(0.5, 5)), "random users")
    return "one user by hand, 20 random sets of users, some with one rating or none"


def _trends(
    same: Together, answer: Callable, users: np.ndarray, moments: np.ndarray, e: np.ndarray, n_users: int, reg: float, what: str
) -> None:  # fmt: skip
    given = users.copy(), moments.copy(), e.copy()
    got = answer(*given, n_users, reg)
    for now, before, name in zip(
        given, (users, moments, e), ("the users", "the timestamps", "the residuals"), strict=True
    ):
        untouched(now, before, name)
    n = np.bincount(users, minlength=n_users)
    middle = np.bincount(users, moments.astype(float), n_users) / np.maximum(n, 1)

    def slopes(x: np.ndarray, e: np.ndarray = e, reg: Any = reg) -> np.ndarray:
        below = np.bincount(users, x**2, n_users) + reg
        return np.divide(np.bincount(users, x * e, n_users), below, out=np.zeros(n_users), where=below > 0)

    away = (moments - middle[users]) / DAY
    x, means = _bent(away), np.bincount(users, e, n_users) / np.maximum(n, 1)
    right, top, squares = slopes(x), np.bincount(users, x * e, n_users), np.bincount(users, x**2, n_users)
    last = {u: place for place, u in enumerate(users)}
    only_last = np.isin(np.arange(len(users)), list(last.values()))
    distinct = np.array([np.unique(moments[users == u]).mean() if n[u] else 0.0 for u in range(n_users)])
    with np.errstate(invalid="ignore"):
        nans = away**0.4
        broken = np.bincount(users, nans * e, n_users) / (np.bincount(users, nans**2, n_users) + reg)
    same.agree(
        got, right, f"the slopes: {what}",
        {
            **_lost_users(right, n, users),
            "`a[users] += …` adds only one rating of each user: np.bincount or np.add.at adds all.":
                Either([np.bincount(users, x * e * only_last, n_users) / (np.bincount(users, x**2 * only_last, n_users) + reg),
                        np.bincount(users, x * e * only_last, n_users) / (squares + reg)]),
            "Whole days? Parts of days count.": Either([slopes(_bent(np.floor(away))), slopes(_bent(np.trunc(away))), slopes(_bent(moments // DAY - (np.bincount(users, (moments // DAY).astype(float), n_users) / np.maximum(n, 1))[users]))]),
            "Hours: one day has 86,400 seconds.": slopes(_bent(away * 24)),
            "Every rating counts in the mean moment, also two of one second.": slopes(_bent((moments - distinct[users]) / DAY)),
            **_wrong_sums(x, e, users, n_users, reg),
            "The power is 0.4.": Either([slopes(_bent(away, power)) for power in (0.5, 0.6, 2.0, 1 / 0.4)]),
            "reg enters as it is, and is no least divisor.": Either([slopes(x, reg=reg**2), slopes(x, reg=reg**0.5), top / np.maximum(squares + reg, 1), top / np.maximum(squares, reg)]),
            "Before the middle dev is negative: is it 0 in yours, or a nan that became 0?": slopes(np.maximum(x, 0)),
            "The sign is lost: before the middle, dev is negative.": slopes(np.abs(x)),
            "A negative number to the power 0.4 is a nan: bend |t - middle|, then give it its sign.": broken,
            "dev is bent: |…| to the power 0.4.": slopes(away),
            "In days: one has 86,400 seconds.": Either([slopes(_bent(away * DAY)), slopes(away * DAY)]),
            "In days: the division by 86,400 comes before the power.": slopes(_bent(away * DAY) / DAY),
            "The middle of *all* ratings: each user has a mean moment of their own.": slopes(_bent((moments - moments.mean()) / DAY)),
            "From the first rating on: dev is counted from the user's mean moment.": slopes(_bent((moments - _of_each(users, moments, n_users, np.min)[users]) / DAY)),
            "The middle between first and last, or the median: the mean of the moments is asked for.":
                Either([slopes(_bent((moments - _of_each(users, moments, n_users, lambda t: (t.min() + t.max()) / 2)[users]) / DAY)),
                        slopes(_bent((moments - _of_each(users, moments, n_users, np.median)[users]) / DAY))]),
            "The penalty is missing: reg stands beside the sum of dev².": slopes(x, reg=0.0),
            "reg stands there once, beside sums: not once for each rating, and not beside means.": slopes(x, reg=reg * np.maximum(n, 1)),
            "dev is not squared below.": np.divide(np.bincount(users, x * e, n_users), np.bincount(users, np.abs(x), n_users) + reg),
            "Below stands the number of ratings: it is the sum of dev².": np.bincount(users, x * e, n_users) / (n + reg),
            "The residuals were centred: the user's bias is in them no more, and no line of its own is asked for.": slopes(x, e - means[users]),
            "dev was centred: it is measured from the mean moment, and its own mean is not zero.": slopes(x - (np.bincount(users, x, n_users) / np.maximum(n, 1))[users]),
            "One slope for each rating? One for each user is asked for.": right[users],
            "The slopes with the sign turned: moment minus middle.": -right,
            "The penalty is doubled or halved: the 2 of the gradient cancels.": Either([slopes(x, reg=2 * reg), slopes(x, reg=reg / 2)]),
        },
        cause="α = Σ dev · e / (Σ dev² + reg), over the ratings of each user. Print dev for the first case: -1 and 1.",
        tolerance=1e-5,
    )  # fmt: skip


def _bent(days: np.ndarray, power: float = 0.4) -> np.ndarray:
    return np.sign(days) * np.abs(days) ** power


def _of_each(users: np.ndarray, moments: np.ndarray, n_users: int, pick: Callable) -> np.ndarray:
    return np.array([pick(moments[users == u]) if (users == u).any() else 0 for u in range(n_users)], float)


def _wrong_sums(x: np.ndarray, e: np.ndarray, users: np.ndarray, n_users: int, reg: float) -> dict[str, Any]:
    """Mistakes in how products and squares are added up."""
    top, squares = np.bincount(users, x * e, n_users), np.bincount(users, x**2, n_users)
    return {
        "Square each dev, then sum.": Either([top / (np.bincount(users, x, n_users) ** 2 + reg), top / (np.abs(np.bincount(users, x, n_users)) + reg)]),
        "The sum of products is not the product of sums.": np.bincount(users, x, n_users) * np.bincount(users, e, n_users) / (squares + reg),
        "The sum of dev² is each user's own.": top / (squares.sum() + reg),
    }  # fmt: skip


def _lost_users(right: np.ndarray, n: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    """Mistakes in which users without ratings go wrong."""
    return {
        "All slopes are 0: do nans hide in dev, or is nothing computed yet?": 0 * right,
        "A user without ratings has the slope 0, and not a nan.": np.where(n > 0, right, np.nan),
        "A user without ratings shifts all after them: one slope for each of n_users, in their order.":
            Either([right[n > 0], np.append(right[n > 0], 0 * right[n == 0])]),
        "The last users may have no ratings: give bincount n_users, so that nobody is missing.": right[: users.max() + 1],
    }  # fmt: skip


@exercise(4, "the others of the same session")
def the_others_of_the_same_session(others: Callable, seed: int = 0) -> str:
    """Three ratings by hand, whether a rating's own value moves its result, and random sessions."""
    with Together() as same:
        _others(
            same,
            others,
            np.array([5, 5, 2]),
            np.array([1.0, 2.0, 4.0]),
            1.0,
            "sessions 5, 5 and 2, values 1, 2 and 4, reg 1",
        )
        equal = np.array([3.0, 3.0, 4.0, 3.0, 3.0, 3.0])
        _others(
            same,
            others,
            np.array([-1, 10**12, -1, 10**12, 7, -1]),
            equal,
            0.0,
            "equal stars, sessions -1, 7 and 10¹², reg 0",
        )
        for number, rng in enumerate(cases(seed)):
            n = int(rng.integers(6, 20))
            groups = rng.choice([1, 4, 5, 9, 30], n)
            groups[0] = 17  # alone
            values = rng.normal(size=n) if number % 2 else rng.integers(1, 6, n).astype(float)
            _others(same, others, groups, values, float(number % 4) / 2, "random sessions")
    return "three ratings by hand, 20 random sets of sessions, some of one rating"


def _others(same: Together, answer: Callable, groups: np.ndarray, values: np.ndarray, reg: float, what: str) -> None:
    given = groups.copy(), values.copy()
    got = answer(given[0], given[1], reg)
    untouched(given[0], groups, "the sessions")
    untouched(given[1], values, "the values")
    _, at, n = np.unique(groups, return_inverse=True, return_counts=True)
    sums, n = np.bincount(at, values)[at], n[at]
    rest, first = sums - values, np.unique(groups, return_index=True)[1]

    def over(total: np.ndarray, count: Any) -> np.ndarray:
        return np.divide(total, count, out=np.zeros(len(values)), where=np.asarray(count) + 0 * total > 0)

    right, whole, mean = over(rest, n - 1 + reg), over(sums, n + reg), values.mean()
    of_group = [values[at == group] for group in range(at.max() + 1)]
    unequal = [own[own != v] for own, v in ((of_group[g], v) for g, v in zip(at, values, strict=True))]
    once = np.array([[sum(set(own)), len(set(own))] for own in unequal], float).reshape(-1, 2)
    medians = np.array(
        [
            np.median(np.delete(values[at == g], np.flatnonzero(np.flatnonzero(at == g) == j))) if c > 1 else 0.0
            for j, (g, c) in enumerate(zip(at, n, strict=True))
        ]
    )
    last_only = np.array([own[-1] for own in of_group])[at]
    runs = np.cumsum(np.diff(groups, prepend=groups[0]) != 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        empty = rest / (n - 1 + reg)
    same.agree(
        got, right, f"the shrunken mean of the others: {what}",
        {
            "The rating itself is in its mean: what is to be predicted would be known. Take it out of the sum *and* of the number.": whole,
            "Without shrinkage, and with the rating itself: that is what groupby(…).transform('mean') gives.": over(sums, n),
            "Out of the sum, but still in the number: n - 1 others are left.": over(rest, n + reg),
            "Out of the number, but still in the sum.": Either([over(sums, n - 1 + reg), np.where(n > 1, over(sums, n - 1 + reg), 0)]),
            "Others with an *equal* value are others, too: leave out the rating by its place, not by its value.":
                Either([over(np.array([own.sum() for own in unequal]), np.array([len(own) for own in unequal]) + reg), over(once[:, 0], once[:, 1] + reg)]),
            "`sums[at] += values` adds only one rating of each session: np.bincount or np.add.at adds all.":
                Either([over(last_only - values, n - 1 + reg), np.where(n > 1, over(last_only - values, n - 1 + reg), 0)]),
            "A session's ratings need not stand side by side: number sessions by np.unique.": _rest_of(runs, values, reg),
            "These are in the order of sessions: give them back in the order that came in.": right[np.argsort(groups, kind="stable")],
            "Shrunken twice: reg stands there once.": over(right * n, n + reg),
            "The shrunken mean times n is not the sum: times n + reg, or take the plain mean.": over(whole * n - values, n - 1 + reg),
            "Shrunken towards the mean of all: towards 0 is asked for.": over(rest + reg * mean, n - 1 + reg),
            "Nobody else in the session: the mean is 0, and not the mean of all.": np.where(n == 1, mean, right),
            "reg may be 0: treat a rating that is alone by itself, and leave the divisor of the others as it is.":
                Either([over(rest, n - 1 + max(reg, 1)), *(over(rest, n - 1 + reg + tiny) for tiny in (1e-2, 1e-3))]),
            "Values are cut to whole numbers.": over(np.bincount(at, values.astype(int))[at] - values.astype(int), n - 1 + reg),
            "Two in a session: each has one other.": np.where(n == 2, 0, right),
            "The mean of the others, and not their median.": medians,
            "These are later ones only: all others of the session are asked for.": _earlier(at[::-1], values[::-1], reg)[::-1],
            "The penalty is missing: n - 1 + reg.": over(rest, n - 1),
            "Nobody else in the session: the mean is 0, and not a nan.": empty,
            "Nobody else in the session: the mean is 0, and not the rating's own value.": np.where(n == 1, values, right),
            "The mean, not the sum.": rest,
            "One number for each session: one for each rating is asked for.": Either([right[first], whole[first]]),
            "The sum over all *other sessions*: the others of the same one are asked for.": over(values.sum() - sums, len(values) - n + reg),
            "The others of all sessions: only those of the same one count.": over(values.sum() - values, len(values) - 1 + reg),
            "The rating's own value is taken off the mean, not out of it.": Either([over(sums, n + reg) - values, over(sums, n) - values, values - right, values - whole]),
            "These are earlier ones only, in the order of the array: all others of the session are asked for.": _earlier(at, values, reg),
        },
        cause="Sum and number of the session, minus the rating itself, divided; then reg. Do it by hand for the first case.",
    )  # fmt: skip


def _rest_of(at: np.ndarray, values: np.ndarray, reg: float) -> np.ndarray:
    rest, others = np.bincount(at, values)[at] - values, np.bincount(at)[at] - 1
    return np.divide(rest, others + reg, out=np.zeros(len(values)), where=others + reg > 0)


def _earlier(at: np.ndarray, values: np.ndarray, reg: float) -> np.ndarray:
    found = np.zeros(len(values))
    for n in range(len(values)):
        mine = values[:n][at[:n] == at[n]]
        found[n] = mine.sum() / (len(mine) + reg) if len(mine) + reg else 0.0
    return found


@exercise(5, "bug hunt: rows by the wrong number")
def rows_by_the_wrong_number(rows_of: Callable, seed: int = 0) -> str:
    """Random ratings, with films that training does not have and ratings before a film's first."""
    with Together() as same:
        for number, rng in enumerate(cases(seed)):
            n_users, n_items, n, c = (
                int(rng.integers(3, 6)),
                int(rng.integers(7, 12)),
                int(rng.integers(4, 12)),
                1 + number % 3,
            )
            users, items = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
            users[0], items[0] = n_users - 1, n_items - 1
            first = 9 * 10**8 + rng.integers(0, 100 * DAY, n_items)
            moments = first[items] + rng.integers(-20 * DAY, 60 * DAY, n)
            missing = rng.random(n_items) < 0.3
            missing[items[1]] = True
            first[missing] = -1
            tables = rng.normal(size=(n_users, c)), rng.normal(size=(n_items, c))
            _rows(same, rows_of, users, items, moments, *tables, first)
    return "20 random sets of ratings, with films that training lacks"


def _rows(
    same: Together, answer: Callable, users: np.ndarray, items: np.ndarray, moments: np.ndarray,
    of_users: np.ndarray, of_films: np.ndarray, first: np.ndarray,
) -> None:  # fmt: skip
    names = "the users", "the films", "the timestamps", "of_users", "of_films", "first"
    kept = users, items, moments, of_users, of_films, first
    given = tuple(one.copy() for one in kept)
    got = answer(*given)
    for now, before, name in zip(given, kept, names, strict=True):
        untouched(now, before, name)
    if got is not None and np.ndim(got) == 2 and len(got) != len(users) and np.shape(got)[1] == len(users):
        fail("the shape of the rows", f"a row for each of {len(users)} ratings", str(np.shape(got)), "Turned: a rating is a row. np.column_stack puts columns side by side.")  # fmt: skip

    def days(
        since: np.ndarray = first[items], unknown: bool = True, clip: bool = True, unit: float = DAY
    ) -> np.ndarray:
        away = (moments - since) / unit
        away = np.where(since < 0, 0, away) if unknown else away
        return np.maximum(away, 0) if clip else away

    def row(u: np.ndarray = of_users[users], f: np.ndarray = of_films[items], d: Any = None) -> np.ndarray:
        return np.column_stack([u, f, days() if d is None else d])

    by_user, seen = first[users], np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(seen, items, moments)
    both = [days(by_user, *flags) for flags in ((False, False), (True, False), (False, True), (True, True))]
    own = [days(first[items], *flags) for flags in ((False, False), (True, False), (False, True), (True, True))]
    wrong_films = of_films[users]
    same.agree(
        got, row(), "a row for each rating: of the user, of the film, days",
        {
            "The film's numbers are looked up by the number of the *user*. There are more films than users, so it never fails.":
                Either([row(f=wrong_films, d=d) for d in own]),
            "The film's first rating is looked up by the number of the *user*.": Either([row(d=d) for d in both]),
            "Both are still looked up by the number of the user: the film's numbers, and its first rating.":
                Either([row(f=wrong_films, d=d) for d in both]),
            "A film that training lacks (first is -1) gets thousands of days: 0 is asked for.": Either([row(d=days(unknown=False)), row(d=days(unknown=False, clip=False))]),
            "A rating before the film's first one in training gets negative days: 0 is asked for.": row(d=days(clip=False)),
            "Days before the first one count as 0, and not as days after it.": row(d=np.abs(days(clip=False))),
            "In days: one has 86,400 seconds.": Either([row(d=days(unit=1)), row(d=days(unit=1, clip=False)), row(d=days(unit=3600))]),
            "Whole days? Parts of days count.": Either([row(d=np.floor(days())), row(d=np.where(first[items] < 0, 0, np.maximum(moments // DAY - first[items] // DAY, 0)))]),
            "`first` is given, and belongs to training: the moments of these ratings must not move it.": Either([row(d=days(since)) for since in (seen[items], np.where(first[items] < 0, seen[items], first[items]))]),
            "Days of 0, and not -1, where training lacks the film.": row(d=np.where(first[items] < 0, -1, days())),
            "A nan for films that training lacks, or for ratings before the first: 0 days are asked for.":
                Either([row(d=np.where(first[items] < 0, np.nan, days())), row(d=np.where(days(clip=False) < 0, np.nan, days())), row(d=np.where((first[items] < 0) | (days(clip=False) < 0), np.nan, days()))]),
            "Whether training lacks the film is asked by film, too.": row(d=np.where(first[users] < 0, 0, np.maximum(days(unknown=False), 0))),
            "Only the days are 0 where training lacks a film: its numbers stay.": row(f=np.where(first[items][:, None] < 0, 0, of_films[items])),
            "Turned: the moment minus the first.": Either([row(d=np.where(first[items] < 0, 0, np.maximum(-days(clip=False), 0))), row(d=-days(clip=False))]),
            "Negative days become 0, and the others stay as they are.": row(d=days(clip=False) - days(clip=False).min()),
            "The film's own first rating, and not that of all films.": row(d=np.maximum(moments - first[first >= 0].min(), 0) / DAY if (first >= 0).any() else days()),
            "In the order that came in: rows are not sorted.": row()[np.argsort(moments, kind="stable")],
            "All of the user's numbers first, then all of the film's.": np.column_stack([*(pair for two in zip(of_users[users].T, of_films[items].T, strict=True) for pair in two), days()]),
            "Days as they are: not bent, not cut.": Either([row(d=np.log1p(days())), row(d=np.sqrt(days())), row().astype(int)]),
            "User and film are exchanged: the user's numbers come first.": row(of_films[items], of_users[users]),
            "Both are the user's numbers: the film's come second.": row(f=of_users[users]),
            "The days are missing: they are the last column.": np.column_stack([of_users[users], of_films[items]]),
            "The days stand in front: they are the last column.": np.column_stack([days(), of_users[users], of_films[items]]),
        },
        cause="Which number belongs to which table? A table of films is looked up by films. Then: first of -1, and moments before the first.",
    )  # fmt: skip
