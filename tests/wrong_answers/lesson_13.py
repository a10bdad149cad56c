"""What learners typically write in the exercises to lesson 13, and words of the hint that each deserves."""

import numpy as np
import pandas as pd


def by_films(draw=None, parts=None, count=round):
    def hold_out_films(ratings, share, seed):
        rng, rated = np.random.default_rng(seed), np.unique(ratings.items)
        n = count(share * len(rated))
        drawn = rng.choice(rated, n, replace=False) if draw is None else draw(ratings, rng, rated, n)
        test = np.isin(ratings.items, drawn)
        return (ratings[~test], ratings[test]) if parts is None else parts(ratings, test)

    return hold_out_films


def of_ratings(ratings, share, seed):
    test = np.random.default_rng(seed).random(len(ratings)) < share
    test[0], test[1] = True, False
    return ratings[~test], ratings[test]


def of_users(ratings, share, seed):
    rated = np.unique(ratings.users)
    drawn = np.random.default_rng(seed).choice(rated, round(share * len(rated)), replace=False)
    test = np.isin(ratings.users, drawn)
    return ratings[~test], ratings[test]


def by_share_of_ratings(ratings, share, seed):
    order = np.random.default_rng(seed).permutation(np.unique(ratings.items))
    counts = np.cumsum(ratings.item_counts[order])
    n = max(1, int((counts <= share * len(ratings)).sum()))
    test = np.isin(ratings.items, order[:n])
    return ratings[~test], ratings[test]


def global_generator(ratings, share, seed):
    np.random.seed(seed)
    rated = np.unique(ratings.items)
    drawn = np.random.choice(rated, round(share * len(rated)), replace=False)
    test = np.isin(ratings.items, drawn)
    return ratings[~test], ratings[test]


def popular_first(ratings, rng, rated, n):
    return pd.unique(rng.permutation(ratings.items))[:n]


def unrated_too(ratings, rng, rated, n):
    return rng.permutation(ratings.n_items)[:n]


def twice(ratings, rng, rated, n):
    return rng.choice(rated, n)


def places(ratings, rng, rated, n):
    return rng.permutation(len(rated))[:n]


def by_counts(power):
    def draw(ratings, rng, rated, n):
        weights = ratings.item_counts[rated] ** float(power)
        return rng.choice(rated, n, replace=False, p=weights / weights.sum())

    return draw


def last_never(ratings, rng, rated, n):
    return rng.choice(rated[:-1], n, replace=False)


def a_block(ratings, rng, rated, n):
    first = rng.integers(0, len(rated) - n + 1)
    return rated[first : first + n]


def other_values(ratings, test):
    from mfhelpers import Ratings

    values = ratings.values[::-1]
    turned = Ratings(ratings.users, ratings.items, values, ratings.n_users, ratings.n_items, ratings.scale)
    return turned[~test], turned[test]


def renumbered(ratings, test):
    from mfhelpers import Ratings

    return tuple(
        Ratings.from_arrays(*(a[part] for a in (ratings.users, ratings.items, ratings.values)))
        for part in (~test, test)
    )


def row(matrix=lambda G, p: G + p * np.eye(len(G)), right=lambda F, e, p, m: F.T @ e + p * m, last=lambda q, m: q):
    def solve_row(F, e, penalty, prior):
        return last(np.linalg.lstsq(matrix(F.T @ F, penalty), right(F, e, penalty, prior), rcond=None)[0], prior)

    return solve_row


def averaged(F, e, penalty, prior):
    n = max(1, len(e))
    return np.linalg.solve(F.T @ F / n + penalty * np.eye(len(prior)), F.T @ e / n + penalty * prior)


def grown(power, both):
    def solve_row(F, e, penalty, prior):
        p = penalty * len(e) ** power
        matrix = F.T @ F + p * np.eye(len(prior))
        return np.linalg.lstsq(matrix, F.T @ e + (p if both else penalty) * prior, rcond=None)[0]

    return solve_row


def in_place(F, e, penalty, prior):
    prior *= penalty
    return np.linalg.solve(F.T @ F + penalty * np.eye(len(prior)), F.T @ e + prior)


def zeros_without_ratings(F, e, penalty, prior):
    if not len(e):
        return np.zeros(len(prior))
    return np.linalg.solve(F.T @ F + penalty * np.eye(len(prior)), F.T @ e + penalty * prior)


def table(left=lambda w: w, right=lambda w: w, penalty=lambda reg, c, w: reg * np.eye(c), last=lambda W, X: W):
    def fit_prior(rows, X, weights, reg):
        w = weights[:, None]
        A = X.T @ (left(w) * X) + penalty(reg, X.shape[1], weights)
        return last(np.linalg.lstsq(A, X.T @ (right(w) * rows), rcond=None)[0], X)

    return fit_prior


def means(rows, X, weights, reg):
    with np.errstate(invalid="ignore", divide="ignore"):
        return (X.T @ (weights[:, None] * rows)) / (X.T @ weights[:, None])


def centred(rows, X, weights, reg):
    X = X - X.mean(axis=0)
    return np.linalg.solve(X.T @ (weights[:, None] * X) + reg * np.eye(X.shape[1]), X.T @ (weights[:, None] * rows))


def pairs(of):
    return lambda X, V: of((X @ V) ** 2, X**2 @ V**2)


def with_a_table(X, V):
    products = np.triu(V @ V.T, 1)
    return np.einsum("nf,ng,fg->n", X, X, products) if len(V) < 100 else ((X @ products) * X).sum(axis=1)


def with_all_rows(X, V):
    rows = X[:, :, None] * V
    return ((rows.sum(axis=1) ** 2 - (rows**2).sum(axis=1)).sum(axis=1)) / 2


def numbers(by="train", ddof=0, first=None, missing=0.0, columns="train", scaled=True, shifted=True):
    def rows_of(train, new):
        both = pd.concat([train, new], ignore_index=True)
        frames = {"train": train, "new": new, "both": both}
        tables = []
        for name, frame in (("train", train), ("new", new)):
            own = frames[name if by == "own" else by]["year"]
            own = own if first is None else own.fillna(first)
            year = frame["year"] if first is None else frame["year"].fillna(first)
            z = (year - own.mean() * shifted) / (own.std(ddof=ddof) if scaled else 1)
            names = frames[name if columns == "own" else columns]["genres"].str.get_dummies("|").columns
            flags = frame["genres"].str.get_dummies("|").reindex(columns=names, fill_value=0)
            tables.append(np.column_stack([z.fillna(missing), flags]))
        return tuple(tables)

    return rows_of


def standardised_flags(train, new):
    tables = numbers()(train, new)
    mean, spread = tables[0].mean(axis=0), np.maximum(tables[0].std(axis=0), 1e-12)
    return tuple(np.column_stack([t[:, 0], ((t - mean) / spread)[:, 1:]]) for t in tables)


def no_fill(train, new):
    one, other = numbers()(train, new)
    names = train["genres"].str.get_dummies("|").columns
    flags = new["genres"].str.get_dummies("|").reindex(columns=names)
    return one, np.column_stack([other[:, 0], flags])


def contains(train, new):
    one, other = numbers()(train, new)
    names = train["genres"].str.get_dummies("|").columns
    flags = [[name in text for name in names] for text in new["genres"]]
    return one, np.column_stack([other[:, 0], flags])


def without_gaps(train, new):
    return tuple(t[f["year"].notna()] for t, f in zip(numbers()(train, new), (train, new), strict=True))


def changed(train, new):
    train["year"] = train["year"].fillna(train["year"].mean())
    return numbers()(train, new)


WRONG = {
    "films_held_out_whole": [
        ((of_ratings,), "Ratings were drawn, not films"),
        ((of_users,), "*users* held out whole"),
        ((by_films(parts=lambda ratings, test: (ratings[test], ratings[~test])),), "The parts are exchanged"),
        ((by_films(parts=lambda ratings, test: (ratings, ratings[test])),), "trained on, too"),
        ((by_films(parts=lambda ratings, test: (~test, test)),), "These are arrays"),
        ((by_films(parts=lambda ratings, test: ratings[test]),), "Two parts are asked for"),
        ((by_films(parts=lambda ratings, test: (ratings[~test][1:], ratings[test])),), "Some are in neither part"),
        ((by_films(count=int),), "Rounded down or up"),
        ((by_share_of_ratings,), "until the share of *ratings*"),
        ((global_generator,), "np.random.default_rng(seed)"),
        ((by_films(draw=popular_first),), "Popular films are drawn more often"),
        ((by_films(draw=unrated_too),), "that have no rating"),
        ((by_films(draw=twice),), "without replacement"),
        ((by_films(draw=by_counts(1)),), "Popular films are drawn more often"),
        ((by_films(draw=by_counts(-1)),), "Rare films are drawn more often"),
        ((by_films(draw=last_never),), "One film is never drawn"),
        ((by_films(draw=a_block),), "same chance"),
        ((by_films(draw=places),), "that have no rating"),
        ((by_films(parts=other_values),), "belong together"),
        ((by_films(parts=renumbered),), "a numbering of their own"),
        ((by_films(draw=lambda ratings, rng, rated, n: rated[:n]),), "The same films for every seed"),
        (
            (by_films(draw=lambda ratings, rng, rated, n: np.random.default_rng().choice(rated, n, False)),),
            "Use the seed",
        ),
        ((lambda *given: None,), "end in `return`"),
    ],
    "a_row_that_is_drawn_to_its_genre": [
        ((row(right=lambda F, e, p, m: F.T @ e),), "the row without its prior"),
        ((row(right=lambda F, e, p, m: F.T @ e, last=lambda q, m: q + m),), "drawn to zero"),
        ((row(right=lambda F, e, p, m: F.T @ e + m),), "without its penalty"),
        ((row(right=lambda F, e, p, m: F.T @ (e - F @ m)),), "how far the row is"),
        ((row(right=lambda F, e, p, m: F.T @ (e - F @ m) + p * m),), "one of the two"),
        ((row(right=lambda F, e, p, m: F.T @ e - p * m),), "with a plus"),
        ((row(matrix=lambda G, p: G),), "missing in the matrix"),
        ((row(matrix=lambda G, p: G + p),), "at every place"),
        ((grown(0.5, True),), "is in it already"),
        ((grown(1, True),), "is in it already"),
        ((grown(0.5, False),), "on one side alone"),
        ((row(right=lambda F, e, p, m: F.T @ e, last=lambda q, m: (q + m) / 2),), "Half of this and half of that"),
        ((row(right=lambda F, e, p, m: F.T @ e + p**2 * m),), "squared on one side"),
        ((row(right=lambda F, e, p, m: F.T @ e + 2 * p * m),), "halved or doubled"),
        ((lambda F, e, penalty, prior: prior,), "whatever the ratings say"),
        ((averaged,), "A mean over the ratings"),
        ((in_place,), "It was changed"),
        ((zeros_without_ratings,), "sits at its prior, not at zero"),
        (
            (lambda F, e, p, m: np.linalg.solve(F.T @ F + p * np.eye(len(m)), F.T @ e + (0 if len(e) else p) * m),),
            "for a film *with* ratings",
        ),
        (
            (
                lambda F, e, p, m: np.linalg.solve(
                    F.T @ F + p * max(1, len(e)) ** 0.5 * np.eye(len(m)), F.T @ e + p * max(1, len(e)) ** 0.5 * m
                ),
            ),
            "of one rating and of none",
        ),
        ((lambda F, e, p, m: np.linalg.solve(F.T @ F + p * np.eye(len(m)), F.T @ e) + p * m,), "stands outside"),
        (
            (lambda F, e, p, m: np.linalg.solve(F.T @ F + 2 * p * np.eye(len(m)), F.T @ e + 2 * p * m),),
            "on both sides: the 2",
        ),
        (
            (lambda F, e, p, m: np.linalg.solve(F.T @ F + p**2 * np.eye(len(m)), F.T @ e + p**2 * m),),
            "penalty² on both sides",
        ),
        ((lambda F, e, p, m: np.linalg.solve(F.T @ F + p * np.eye(len(m)), F.T @ e + p * m) + m,), "in it twice"),
        ((lambda F, e, p, m: (F.T @ e + p * m) / ((F**2).sum(axis=0) + p),), "diagonal alone"),
        ((lambda F, e, p, m: np.linalg.solve(F.T @ F + p, F.T @ e + p * m),), "at every place"),
        (
            (lambda F, e, p, m: np.linalg.solve(F.T @ e + p * m, F.T @ F + p * np.eye(len(m))),),
            "solve takes a square matrix",
        ),
        ((lambda *given: None,), "end in `return`"),
    ],
    "what_features_say_of_rows": [
        ((table(lambda w: 1.0, lambda w: 1.0),), "N is missing on both sides"),
        ((table(left=lambda w: 1.0),), "missing on the left"),
        ((table(right=lambda w: 1.0),), "missing on the right"),
        ((table(lambda w: w**2, lambda w: w**2),), "Weights squared"),
        ((table(left=lambda w: w**2),), "squared on one side"),
        ((table(np.sqrt, np.sqrt),), "The root of the weights"),
        ((table(penalty=lambda reg, c, w: 0 * np.eye(c)),), "The penalty is missing"),
        ((table(penalty=lambda reg, c, w: reg),), "at every place"),
        ((table(penalty=lambda reg, c, w: reg * w.sum() * np.eye(c)),), "were scaled"),
        ((table(lambda w: w / w.sum(), lambda w: w / w.sum()),), "were scaled"),
        ((table(lambda w: (w > 0) * 1.0, lambda w: (w > 0) * 1.0),), "if it has ratings at all"),
        ((table(penalty=lambda reg, c, w: reg**2 * np.eye(c)),), "reg squared"),
        ((means,), "These are means"),
        (
            (lambda rows, X, weights, reg: (X.T @ (weights[:, None] * rows)) / ((X.T @ weights[:, None]) + reg),),
            "These are means",
        ),
        ((table(last=lambda W, X: W.T),), "Turned"),
        ((table(right=np.sqrt),), "on one side: √weight"),
        ((table(lambda w: np.maximum(w, 1), lambda w: np.maximum(w, 1)),), "teaches nothing"),
        ((table(penalty=lambda reg, c, w: 2 * reg * np.eye(c)),), "doubled or halved"),
        ((table(penalty=lambda reg, c, w: reg * np.diag(np.arange(c) > 0)),), "The first feature has no penalty"),
        ((lambda rows, X, weights, reg: table()(rows - rows.mean(axis=0), X, weights, reg),), "The rows were centred"),
        (
            (lambda rows, X, weights, reg: table()(rows, np.column_stack([np.ones(len(X)), X]), weights, reg),),
            "a column of ones too many",
        ),
        ((lambda rows, X, weights, reg: np.linalg.solve(X.T @ (weights * X), rows),), "[:, None] missing"),
        ((table(last=lambda W, X: X @ W),), "W itself is asked for"),
        ((centred,), "were centred"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "all_pairs_in_linear_time": [
        ((pairs(lambda whole, squares: (whole - squares).sum(axis=1)),), "a half is missing"),
        ((pairs(lambda whole, squares: whole.sum(axis=1)),), "with itself is no pair"),
        ((pairs(lambda whole, squares: whole.sum(axis=1) / 2),), "The squares of the features are missing"),
        ((pairs(lambda whole, squares: whole.sum(axis=1) / 2 - squares.sum(axis=1)),), "Half of the first sum"),
        ((pairs(lambda whole, squares: whole.sum(axis=1) - squares.sum(axis=1) / 2),), "Half of the second sum"),
        ((pairs(lambda whole, squares: (squares - whole).sum(axis=1) / 2),), "exchanged"),
        ((pairs(lambda whole, squares: (whole + squares).sum(axis=1) / 2),), "with itself is no pair"),
        ((pairs(lambda whole, squares: (whole + squares).sum(axis=1)),), "added, not subtracted"),
        ((pairs(lambda whole, squares: (whole - squares) / 2),), "Sum over the k factors, too"),
        ((pairs(lambda whole, squares: whole - squares),), "Without its half"),
        ((pairs(lambda whole, squares: (whole - squares).sum() / 2),), "One number for each list"),
        ((lambda X, V: ((X @ V) ** 2 - X @ V**2).sum(axis=1) / 2,), "x is not squared"),
        ((lambda X, V: ((X @ V) ** 2 - X**2 @ V).sum(axis=1) / 2,), "V is not squared"),
        ((lambda X, V: ((X @ V).sum(axis=1) ** 2 - (X**2 @ V**2).sum(axis=1)) / 2,), "squares each factor"),
        ((pairs(lambda whole, squares: (whole - squares).mean(axis=1) / 2),), "The mean over factors"),
        ((pairs(lambda whole, squares: (whole - squares).sum(axis=0) / 2),), "Summed over the lists"),
        ((lambda X, V: (X @ V**2 - X**2 @ V**2).sum(axis=1) / 2,), "squares V alone"),
        ((lambda X, V: (X @ V - X**2 @ V**2).sum(axis=1) / 2,), "The first sum is not squared"),
        ((lambda X, V: ((X @ V) ** 2 - (X**2 @ V) ** 2).sum(axis=1) / 2,), "squared twice, or too late"),
        (
            (lambda X, V: pairs(lambda whole, squares: (whole - squares).sum(axis=1) / 2)((X != 0) * 1.0, V),),
            "taken for 0 or 1",
        ),
        ((lambda X, V: (((X @ V) ** 2).sum(axis=1) - (V**2).sum()) / 2,), "squares of *all* rows"),
        (
            (lambda X, V: pairs(lambda whole, squares: (whole - squares).sum(axis=1) / 2)(X, V) + (X @ V).sum(axis=1),),
            "single features",
        ),
        (
            (lambda X, V: pairs(lambda whole, squares: (whole - squares).sum(axis=1) / 2)(X, V)[:, None],),
            "(n, 1) or (n, n)",
        ),
        ((with_a_table,), "A table of 3,000"),
        ((with_all_rows,), "one of all features' rows"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "a_new_films_numbers": [
        ((numbers(by="own"),), "standardised by themselves"),
        ((numbers(by="own", ddof=1),), "pandas' std has ddof=1"),
        ((numbers(by="both"),), "of both frames together"),
        ((numbers(ddof=1),), "divides by n - 1"),
        ((numbers(first=0.0),), "the year 0 before"),
        ((numbers(missing=np.nan),), "still nan"),
        ((numbers(columns="both"),), "columns for genres that training has not"),
        ((numbers(columns="own"),), "columns of their own genres"),
        ((numbers(by="own", ddof=1, columns="own"),), "The colleague's function"),
        ((numbers(scaled=False),), "not divided by"),
        ((numbers(shifted=False),), "The mean is not subtracted"),
        ((lambda train, new: tuple(np.roll(t, -1, axis=1) for t in numbers()(train, new)),), "Flags first"),
        ((standardised_flags,), "The flags are standardised"),
        ((no_fill,), "needs fill_value=0"),
        ((contains,), "Compare your columns"),
        (
            (lambda train, new: tuple(t[:, [0, *range(t.shape[1] - 1, 0, -1)]] for t in numbers()(train, new)),),
            "in another order",
        ),
        (
            (lambda train, new: tuple(np.column_stack([np.ones(len(t)), t]) for t in numbers()(train, new)),),
            "A column of ones is in front",
        ),
        ((without_gaps,), "Films without a year were left out"),
        ((lambda train, new: numbers()(train, new)[1],), "2 results"),
        ((lambda train, new: numbers()(train, new)[::-1],), "The other way round"),
        ((lambda train, new: (numbers()(train, new)[0],) * 2,), "The row of training films alone"),
        ((changed,), "It was changed"),
        ((lambda train, new: numbers()(train, new)[0],), "2 results"),
        ((lambda *given: None,), "end in `return`"),
    ],
}
