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
        ((by_frames,), "Sort by user and time"),
    ],
    "a_trend_for_each_user": [
        ((trends(dev=lambda d: np.abs(d) ** 0.4),), "The sign is lost"),
        ((trends(dev=nan_power),), "is a nan"),
        ((trends(dev=lambda d: np.nan_to_num(nan_power(d))),), "is a nan"),
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
        ((trends(out=lambda slopes, users: slopes[np.unique(users)]),), "Print the shapes"),
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
        ((numbered_groups,), "Print the shapes"),
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
    ],
}  # fmt: skip
