"""What learners typically write in the exercises to lesson 14, and words of the hint that each deserves."""

import numpy as np
import pandas as pd

RIGHT = {
    "u's mean over earlier seconds": True,
    "u's mean over the same second": False,
    "u's number of ratings in the whole set": False,
    "u's number of ratings before t": True,
    "i's mean before t": True,
    "i's mean over the whole set": False,
    "genres of i": True,
    "hour of the day at t": True,
    "seconds until u's next rating": False,
    "whether u comes back": False,
}


def but(name, value=None):
    return RIGHT | {name: not RIGHT[name] if value is None else value}


def sessions(begins=None, order=None, first=0, back=True, of_user=False):
    def answer(users, timestamps, gap):
        place = np.lexsort((timestamps, users)) if order is None else order(users, timestamps)
        u, t = users[place], timestamps[place]
        new = (np.diff(u) != 0) | (np.diff(t) > gap) if begins is None else begins(u, t, gap)
        found = np.append(0, np.cumsum(new)) + first
        if of_user:
            found = found - pd.Series(found).groupby(u).transform("min").to_numpy()
        if not back:
            return found
        numbers = np.empty(len(users), int)
        numbers[place] = found
        return numbers

    return answer


def from_the_beginning(u, t, gap):
    new, start = [], t[0]
    for n in range(1, len(u)):
        new.append(bool(u[n] != u[n - 1] or t[n] - start > gap))
        start = t[n] if new[-1] else start
    return np.array(new)


def in_place(users, timestamps, gap):
    place = np.lexsort((timestamps, users))
    right = sessions()(users, timestamps, gap)
    users[:], timestamps[:] = users[place], timestamps[place]
    return right


def by_frames(users, timestamps, gap):
    """A right rule, but numbers by first appearance."""
    right = sessions()(users, timestamps, gap)
    return pd.factorize(right)[0]


def marked(users, timestamps, gap):
    place = np.lexsort((timestamps, users))
    begins = np.append(True, (np.diff(users[place]) != 0) | (np.diff(timestamps[place]) > gap))
    numbers = np.empty(len(users), int)
    numbers[place] = np.cumsum(begins)
    return numbers


def windows(users, timestamps, gap):
    return np.unique(users * 2**32 + timestamps // gap, return_inverse=True)[1]


def by_dates(users, timestamps, gap):
    place = np.lexsort((timestamps, users))
    pause = pd.Series(pd.to_datetime(timestamps[place], unit="s")).groupby(users[place]).diff()
    numbers = np.empty(len(users), int)
    numbers[place] = np.cumsum(pause.isna() | (pause.dt.seconds > gap)) - 1
    return numbers


def picked_once_more(users, timestamps, gap):
    place = np.lexsort((timestamps, users))
    return sessions(back=False)(users, timestamps, gap)[place]


def in_time(users, timestamps, gap):
    last, numbers, count = {}, np.empty(len(users), int), -1
    for place in np.argsort(timestamps, kind="stable"):
        user, t = users[place], timestamps[place]
        if user not in last or t - last[user][0] > gap:
            count += 1
            last[user] = (t, count)
        last[user] = (t, last[user][1])
        numbers[place] = last[user][1]
    return numbers


def first_marks(users, timestamps, gap):
    """Where sessions begin, the first one marked, too: in the order of users and time, and in that which came in."""
    place = np.lexsort((timestamps, users))
    begins = np.append(True, (np.diff(users[place]) != 0) | (np.diff(timestamps[place]) > gap))
    back = np.empty(len(users), int)
    back[place] = begins
    return begins, back


def added_once(users, timestamps, residuals, n_users, reg):
    mean = np.bincount(users, timestamps, n_users) / np.maximum(np.bincount(users, minlength=n_users), 1)
    days = (timestamps - mean[users]) / 86_400
    x = np.sign(days) * np.abs(days) ** 0.4
    top, below = np.zeros(n_users), np.zeros(n_users)
    top[users] += x * residuals
    below[users] += x**2
    return top / (below + reg)


def trends(dev=None, below=None, middle=None, change=None, e=None, out=None):
    def answer(users, timestamps, residuals, n_users, reg):
        n = np.bincount(users, minlength=n_users)
        mean = np.bincount(users, timestamps, n_users) / np.maximum(n, 1)
        mean = mean if middle is None else middle(users, timestamps, n_users)
        days = (timestamps - mean[users]) / 86_400
        x = np.sign(days) * np.abs(days) ** 0.4 if dev is None else dev(days)
        x = x if change is None else change(x, users, n_users)
        values = residuals if e is None else e(residuals, users, n_users)
        squares = np.bincount(users, x**2, n_users)
        bottom = squares + reg if below is None else below(squares, reg, n, x, users)
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = np.bincount(users, x * values, n_users) / bottom
        return slopes if out is None else out(slopes, users)

    return answer


def of_each(pick):
    return lambda users, t, n: np.array([pick(t[users == u]) if (users == u).any() else 0 for u in range(n)], float)


def centred(values, users, n_users):
    n = np.maximum(np.bincount(users, minlength=n_users), 1)
    return values - (np.bincount(users, values, n_users) / n)[users]


def nan_power(days):
    with np.errstate(invalid="ignore"):
        return days**0.4


def others(total=None, count=None, alone=0.0, out=None, spoil=False):
    def answer(groups, values, reg):
        names, at = np.unique(groups, return_inverse=True)
        sums, n = np.bincount(at, values)[at], np.bincount(at)[at]
        top = sums - values if total is None else total(sums, values)
        bottom = n - 1 + reg if count is None else count(n, reg)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(bottom > 0, top / bottom, alone)
        if spoil:
            values -= found
        return found if out is None else out(found, values, groups)

    return answer


def groupby_mean(groups, values, reg):
    return pd.Series(values).groupby(groups).transform("mean").to_numpy()


def with_itself(groups, values, reg):
    by = pd.Series(values).groupby(groups)
    return (by.transform("sum") / (by.transform("size") + reg)).to_numpy()


def alone_is_nan(groups, values, reg):
    by = pd.Series(values).groupby(groups)
    return ((by.transform("sum") - values) / (by.transform("size") - 1 + reg)).to_numpy()


def numbered_groups(groups, values, reg):
    sums, n = np.bincount(groups, values), np.bincount(groups)
    return (sums - values[: len(sums)]) / (n - 1 + reg)


def other_values(groups, values, reg):
    found = []
    for g, v in zip(groups, values, strict=True):
        mine = values[(groups == g) & (values != v)]
        found.append(mine.sum() / (len(mine) + reg) if len(mine) else 0)
    return np.array(found)


def set_of_others(groups, values, reg):
    found = []
    for g, v in zip(groups, values, strict=True):
        mine = set(values[groups == g]) - {v}
        found.append(sum(mine) / (len(mine) + reg) if mine else 0)
    return np.array(found)


def added_to_sums(groups, values, reg):
    _, at, n = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros(len(n))
    sums[at] += values
    rest = n[at] - 1
    return np.divide(sums[at] - values, rest + reg, out=np.zeros(len(values)), where=rest > 0)


def by_neighbours(groups, values, reg):
    at = np.cumsum(np.append(0, np.diff(groups) != 0))
    rest = np.bincount(at)[at] - 1
    return np.divide(np.bincount(at, values)[at] - values, rest + reg, out=np.zeros(len(values)), where=rest + reg > 0)


def earlier(groups, values, reg):
    found = np.zeros(len(values))
    for j in range(len(values)):
        mine = values[:j][groups[:j] == groups[j]]
        found[j] = mine.sum() / (len(mine) + reg) if len(mine) else 0
    return found


def other_sessions(groups, values, reg):
    return np.array([values[groups != g].sum() / max((groups != g).sum() + reg, 1e-9) for g in groups])


def rows(film=None, since=None, days=None, order=None):
    def answer(users, items, timestamps, of_users, of_films, first):
        looked_up = of_films[items] if film is None else film(users, items, of_users, of_films)
        start = first[items] if since is None else first[since(users, items)]
        away = np.where(start < 0, 0, np.maximum(timestamps - start, 0)) if days is None else days(timestamps, start)
        columns = [of_users[users], looked_up, away / 86_400]
        return np.column_stack(columns if order is None else [columns[n] for n in order])

    return answer


colleagues = rows(lambda u, i, of_u, of_f: of_f[u], lambda u, i: u, lambda t, start: t - start)


def spoiled_rows(users, items, timestamps, of_users, of_films, first):
    first[first < 0] = timestamps.max()
    return np.column_stack([of_users[users], of_films[items], np.maximum(timestamps - first[items], 0) / 86_400])


def own_first(users, items, timestamps, of_users, of_films, first):
    of_these = pd.Series(timestamps).groupby(items).transform("min").to_numpy()
    return np.column_stack([of_users[users], of_films[items], (timestamps - of_these) / 86_400])


PERIOD = "A pause of exactly `gap` ends no session"
WRONG = {
    "what_a_forecast_may_know": [
        ((but("u's mean over earlier seconds"),), "What the user has rated before is known"),
        ((but("u's mean over the same second"),), "A page is sent as a whole"),
        ((but("u's number of ratings in the whole set"),), "how many is not known yet"),
        ((but("u's number of ratings before t"),), "has happened already"),
        ((but("i's mean before t"),), "What others have rated before"),
        ((but("i's mean over the whole set"),), "this very one"),
        ((but("genres of i"),), "before its first rating"),
        ((but("hour of the day at t"),), "it is now"),
        ((but("seconds until u's next rating"),), "has not come"),
        ((but("whether u comes back"),), "tomorrow"),
        ((dict.fromkeys(RIGHT, True),), "A page is sent as a whole"),
        ((dict.fromkeys(RIGHT, False),), "has rated before is known"),
        ((but("genres of i", ...),), "Is it known before the rating"),
        ((but("genres of i", "yes"),), "Is it known before the rating"),
        (({},), "Keep the names"),
        ((RIGHT | {"my own": True},), "Keep the names"),
        ((list(RIGHT.values()),), "Keep the names"),
        ((None,), "Keep the names"),
    ],
    "sessions_by_gaps": [
        ((sessions(back=False),), "give them back in the order that came in"),
        ((sessions(lambda u, t, gap: np.diff(t) > gap),), "A session goes on from one user to the next"),
        ((sessions(lambda u, t, gap: np.diff(u) != 0),), "so does a pause"),
        ((sessions(lambda u, t, gap: (np.diff(u) != 0) | (np.diff(t) >= gap)),), PERIOD),
        ((sessions(from_the_beginning),), "not from the session's beginning"),
        ((sessions(first=1),), "The first number is 0"),
        ((marked,), "The first number is 0"),
        ((sessions(of_user=True),), "numbers go on over all users"),
        ((sessions(order=lambda u, t: np.arange(len(u))),), "Ratings come in no order"),
        ((sessions(order=lambda u, t: np.argsort(t, kind="stable")),), "Ratings come in no order"),
        ((windows,), "cut through sessions"),
        ((lambda users, timestamps, gap: timestamps // gap,), "cut through sessions"),
        ((in_place,), "It was changed"),
        ((lambda users, timestamps, gap: None,), "does the function end in `return`"),
        ((by_frames,), "numbered as they turn up"),
        ((by_dates,), ".dt.seconds"),
        ((sessions(order=lambda u, t: np.argsort(u * 10**6 + t)),), "use np.lexsort"),
        ((sessions(order=lambda u, t: np.argsort(u * 10**5 + t)),), "use np.lexsort"),
        ((picked_once_more,), "picks once more"),
        ((sessions(order=lambda u, t: np.lexsort((u, t))),), "*last* key first"),
        ((sessions(order=lambda u, t: np.argsort(u, kind="stable")),), "Sorted by user alone"),
        ((in_time,), "numbered in the order of time"),
        ((sessions(order=lambda u, t: np.lexsort((-t, u)), begins=lambda u, t, gap: (np.diff(u) != 0) | (-np.diff(t) > gap)),), "Sort by user and time"),
        ((sessions(lambda u, t, gap: abs(np.diff(t)) > gap),), "compare the users"),
        ((sessions(lambda u, t, gap: (np.diff(u) != 0) & (np.diff(t) > gap)),), "either is enough"),
        ((sessions(lambda u, t, gap: (np.diff(u) != 0) | (np.diff(t) > gap + 1)),), "One second more"),
        ((sessions(lambda u, t, gap: (np.diff(u) == 1) | (np.diff(t) > gap)),), "one that differs"),
        ((sessions(lambda u, t, gap: (np.diff(u) != 0) | (np.diff(t) > 3600)),), "is an argument"),
        ((lambda u, t, gap: first_marks(u, t, gap)[1],), "mark where a session begins"),
        ((lambda u, t, gap: first_marks(u, t, gap)[0],), "mark where a session begins"),
    ],
    "a_trend_for_each_user": [
        ((trends(dev=lambda d: np.abs(d) ** 0.4),), "The sign is lost"),
        ((trends(dev=nan_power),), "is a nan"),
        ((trends(dev=lambda d: np.nan_to_num(nan_power(d))),), "a nan that became 0"),
        ((trends(dev=lambda d: d),), "dev is bent"),
        ((trends(dev=lambda d: np.sign(d) * np.abs(d * 86_400) ** 0.4),), "In days"),
        ((trends(dev=lambda d: d * 86_400),), "In days"),
        ((trends(middle=lambda u, t, n: np.full(n, t.mean())),), "a mean moment of their own"),
        ((trends(middle=of_each(np.min)),), "From the first rating on"),
        ((trends(middle=of_each(np.median)),), "the mean of the moments is asked for"),
        ((trends(middle=of_each(lambda t: (t.min() + t.max()) / 2)),), "the mean of the moments is asked for"),
        ((trends(below=lambda s, reg, n, x, u: np.where(s > 0, s, 1)),), "The penalty is missing"),
        ((trends(below=lambda s, reg, n, x, u: s + reg * np.maximum(n, 1)),), "beside sums"),
        ((trends(below=lambda s, reg, n, x, u: np.bincount(u, np.abs(x), len(n)) + reg),), "dev is not squared"),
        ((trends(below=lambda s, reg, n, x, u: n + reg),), "it is the sum of dev²"),
        ((trends(below=lambda s, reg, n, x, u: s + 2 * reg),), "doubled or halved"),
        ((trends(e=centred),), "The residuals were centred"),
        ((trends(change=centred),), "dev was centred"),
        ((trends(out=lambda slopes, users: slopes[users]),), "One slope for each rating"),
        ((trends(out=lambda slopes, users: -slopes),), "with the sign turned"),
        ((trends(out=lambda slopes, users: slopes[np.unique(users)]),), "shifts all after them"),
        ((trends(out=lambda slopes, users: slopes[: users.max() + 1]),), "The last users may have no ratings"),
        ((trends(out=lambda slopes, users: 0 * slopes),), "All slopes are 0"),
        ((trends(out=lambda slopes, users: np.where(np.isin(range(len(slopes)), users), slopes, np.nan)),), "and not a nan"),
        ((trends(dev=lambda d: np.maximum(np.sign(d) * np.abs(d) ** 0.4, 0)),), "Before the middle dev is negative"),
        ((trends(dev=lambda d: np.sign(d) * np.abs(d) ** 0.5),), "The power is 0.4"),
        ((trends(dev=lambda d: np.sign(d) * np.abs(24 * d) ** 0.4),), "Hours"),
        ((trends(dev=lambda d: np.sign(d) * np.abs(np.trunc(d)) ** 0.4),), "Whole days"),
        ((trends(middle=of_each(lambda t: np.unique(t).mean())),), "also two of one second"),
        ((trends(below=lambda s, reg, n, x, u: np.bincount(u, x, len(n)) ** 2 + reg),), "Square each dev"),
        ((trends(below=lambda s, reg, n, x, u: s.sum() + reg),), "each user's own"),
        ((trends(below=lambda s, reg, n, x, u: s + reg**2),), "reg enters as it is"),
        ((trends(below=lambda s, reg, n, x, u: np.maximum(s + reg, 1)),), "reg enters as it is"),
        ((added_once,), "adds only one rating of each user"),
    ],
    "the_others_of_the_same_session": [
        ((with_itself,), "The rating itself is in its mean"),
        ((groupby_mean,), "transform('mean')"),
        ((others(count=lambda n, reg: n + reg),), "Out of the sum, but still in the number"),
        ((others(total=lambda s, v: s),), "Out of the number, but still in the sum"),
        ((others(count=lambda n, reg: n - 1),), "The penalty is missing"),
        ((alone_is_nan,), "and not a nan"),
        ((others(out=lambda f, v, g: np.where(pd.Series(g).groupby(g).transform("size") == 1, v, f)),), "and not the rating's own value"),
        ((others(count=lambda n, reg: np.ones(len(n))),), "The mean, not the sum"),
        ((others(out=lambda f, v, g: f[np.unique(g, return_index=True)[1]]),), "One number for each session"),
        ((others(out=lambda f, v, g: v - f),), "taken off the mean, not out of it"),
        ((earlier,), "earlier ones only"),
        ((other_sessions,), "all *other sessions*"),
        ((others(spoil=True),), "It was changed"),
        ((numbered_groups,), "your answer stops"),
        ((other_values,), "by its place, not by its value"),
        ((set_of_others,), "by its place, not by its value"),
        ((added_to_sums,), "adds only one rating of each session"),
        ((by_neighbours,), "need not stand side by side"),
        ((others(out=lambda f, v, g: f[np.argsort(g, kind="stable")]),), "in the order of sessions"),
        ((others(out=lambda f, v, g: np.where(pd.Series(g).groupby(g).transform("size") == 1, v.mean(), f)),), "not the mean of all"),
        ((others(count=lambda n, reg: n - 1 + max(reg, 1)),), "reg may be 0"),
        ((others(out=lambda f, v, g: np.where(pd.Series(g).groupby(g).transform("size") == 2, 0, f)),), "each has one other"),
        ((lambda g, v, reg: earlier(g[::-1], v[::-1], reg)[::-1],), "later ones only"),
        ((lambda groups, values, reg: None,), "does the function end in `return`"),
    ],
    "rows_by_the_wrong_number": [
        ((colleagues,), "Both are still looked up"),
        ((rows(film=lambda u, i, of_u, of_f: of_f[u]),), "looked up by the number of the *user*. There are"),
        ((rows(since=lambda u, i: u),), "The film's first rating is looked up"),
        ((rows(lambda u, i, of_u, of_f: of_f[u], lambda u, i: u),), "Both are still looked up"),
        ((rows(days=lambda t, start: np.maximum(t - start, 0)),), "thousands of days"),
        ((rows(days=lambda t, start: t - start),), "thousands of days"),
        ((rows(days=lambda t, start: np.where(start < 0, 0, t - start)),), "negative days"),
        ((rows(days=lambda t, start: np.where(start < 0, 0, abs(t - start))),), "not as days after it"),
        ((rows(days=lambda t, start: 86_400 * np.where(start < 0, 0, np.maximum(t - start, 0))),), "In days"),
        ((rows(days=lambda t, start: 86_400 * (np.where(start < 0, 0, np.maximum(t - start, 0)) // 86_400)),), "Whole days"),
        ((rows(order=(1, 0, 2)),), "exchanged"),
        ((rows(film=lambda u, i, of_u, of_f: of_u[u]),), "Both are the user's numbers"),
        ((rows(order=(0, 1)),), "The days are missing"),
        ((rows(order=(2, 0, 1)),), "The days stand in front"),
        ((spoiled_rows,), "It was changed"),
        ((lambda *given: rows()(*given).T,), "Turned"),
        ((rows(film=lambda u, i, of_u, of_f: of_u[i]),), "A place beyond the end"),
        ((rows(days=lambda t, start: np.where(start < 0, -86_400, np.maximum(t - start, 0))),), "and not -1"),
        ((rows(days=lambda t, start: np.where(start < 0, np.nan, np.maximum(t - start, 0))),), "A nan for films"),
        ((rows(days=lambda t, start: 86_400 * np.where(start < 0, 0, np.maximum(t // 86_400 - start // 86_400, 0))),), "Whole days"),
        ((rows(days=lambda t, start: np.where(start < 0, 0, np.maximum(start - t, 0))),), "Turned: the moment"),
        ((rows(days=lambda t, start: 86_400 * np.log1p(np.where(start < 0, 0, np.maximum(t - start, 0)) / 86_400)),), "not bent"),
        ((own_first,), "must not move it"),
        ((lambda *given: rows()(*given)[np.argsort(given[2], kind="stable")],), "rows are not sorted"),
        ((lambda u, i, t, of_u, of_f, first: rows()(u, i, t, of_u, np.where(first[:, None] < 0, 0, of_f), first),), "its numbers stay"),
    ],
}  # fmt: skip
