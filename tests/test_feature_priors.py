"""`als` with features: against ridge regressions written out, autograd, and itself."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from alternating import BIASED, EXACT, RATINGS, SOLVERS, TRAIN

from mfhelpers import (
    DataError,
    Encoding,
    Factors,
    Features,
    History,
    Penalty,
    Ratings,
    als,
    evaluate,
    features,
    load_ratings,
    objective,
    rmse,
    svdpp,
)  # fmt: skip
from mfhelpers.check import same
from mfhelpers.data.simulate import simulate, simulated_features

RNG = np.random.default_rng(5)
FILMS = pd.DataFrame({
    "year": RNG.integers(1950, 2000, 80).astype(float),
    "old": RNG.random(80) < 0.3,
    "genres": RNG.choice(["Drama", "Comedy|Drama", "Western", "Comedy|Horror"], 80),
})  # fmt: skip
PEOPLE = pd.DataFrame({"age": RNG.integers(10, 70, 60), "job": RNG.choice(["cook", "artist", "guard"], 60)})
SIDES = pytest.mark.parametrize("sides", ["items", "users", "both"])
LAMBDAS = pytest.mark.parametrize("penalty", [Penalty(1.5, 0), Penalty(0.8, 0.5, 0.3), Penalty(0.1, 1)], ids=str)


def given(sides: str) -> dict:
    frames = {"user_features": PEOPLE, "item_features": FILMS}
    return {name: frame for name, frame in frames.items() if sides == "both" or name.startswith(sides[:4])}


def matrix(frame) -> np.ndarray:
    return Encoding.of(frame).encode(frame).toarray()


def textbook(penalty, reg_features, tables, rated) -> torch.Tensor:
    """The objective in its own parameters: what features do not predict, and W."""
    users, items = torch.tensor(TRAIN.users).long(), torch.tensor(TRAIN.items).long()
    total, rows = 0.0, {}
    for side, counts in (("user", TRAIN.user_counts), ("item", TRAIN.item_counts)):
        rest, W, X = tables[side]
        rows[side] = rest if X is None else rest + torch.from_numpy(X) @ W
        weights = torch.from_numpy(np.where(counts > 0, np.maximum(counts, 1.0) ** penalty.power, 0))
        costs = torch.full((rest.shape[1],), penalty.reg, dtype=torch.float64)
        costs[-1] = penalty.biases
        total = total + (rest.square() * costs).sum(dim=1) @ weights
        total = total if X is None else total + reg_features * W.square().sum()
    u, i = rows["user"][users], rows["item"][items]
    dots = (u[:, :-1] * i[:, :-1]).sum(dim=1)
    biases = u[:, -1] + i[:, -1] if rated else 0
    return total + (torch.tensor(TRAIN.values).double() - float(TRAIN.values.mean(dtype="float64")) - dots - biases).square().sum()  # fmt: skip


def parameters(factors) -> dict:
    """[p | b_u] minus what the features predict, W, and X, by side; to be differentiated."""
    tables = {}
    for side, frame in (("user", PEOPLE), ("item", FILMS)):
        rows = np.column_stack([getattr(factors, f"{side}_factors"), getattr(factors, f"{side}_biases")])
        prior = getattr(factors, f"{side}_prior")
        X = None if prior is None else matrix(frame)
        W = None if prior is None else np.column_stack([prior.factors, prior.biases])
        rest = rows if prior is None else rows - X @ W
        leaf = [None if a is None else torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (rest, W)]
        tables[side] = *leaf, X
    return tables


# with features on both sides, what both predict of every row creeps from one side to the other
ENDS = [(side, biased, solver, 600, 1) for side in ("items", "users") for biased in (True, False) for solver in ("exact", "cg")]  # fmt: skip


@pytest.mark.parametrize(
    ("sides", "biased", "solver", "sweeps", "slack"), [*ENDS, ("both", True, "exact", 1200, 50)], ids=str
)
@LAMBDAS
def test_where_it_ends_the_gradient_is_zero(sides, biased, solver, sweeps, slack, penalty):
    made = als(TRAIN, 3, reg=penalty, reg_features=4.0, biased=biased, solver=solver, sweeps=sweeps, **given(sides), **EXACT)  # fmt: skip
    tables = parameters(made)
    textbook(penalty, 4.0, tables, biased).backward()
    for side, (rest, W, X) in tables.items():
        rated = (TRAIN.user_counts if side == "user" else TRAIN.item_counts) > 0
        columns = slice(None) if biased else slice(0, 3)
        assert rest.grad[rated][:, columns].abs().max().item() < 2e-5 * slack
        if X is not None:
            assert W.grad[:, columns].abs().max().item() < 2e-4 * slack
            assert W.abs().max() > 0.01  # W takes part
            assert not rest[rated].detach().abs().max() < 1e-3


@SIDES
@BIASED
@SOLVERS
def test_no_sweep_raises_the_objective_and_the_one_looked_at_is_the_textbook_s(sides, biased, solver, monkeypatch):
    from mfhelpers.algorithms import als as least_squares

    penalty, seen, look = Penalty(0.8, 0.5, 0.3), [], least_squares.Sides.check

    def looked(sides, done):
        look(sides, done)
        expected = textbook(penalty, 4.0, parameters(sides.predictor()), biased).item()
        seen.append((sides.objective, expected))

    monkeypatch.setattr(least_squares.Sides, "check", looked)
    als(TRAIN, 3, reg=penalty, reg_features=4.0, biased=biased, solver=solver, sweeps=12, valid=TRAIN, **given(sides), **EXACT)  # fmt: skip
    values = [value for value, _ in seen]
    assert len(seen) == 13
    for got, expected in seen[1:]:
        assert got == pytest.approx(expected, rel=1e-9)
    assert all(after <= before * (1 + 1e-10) for before, after in zip(values[1:-1], values[2:], strict=True))


def test_rows_without_ratings_are_what_their_features_predict():
    made = als(TRAIN, 3, **given("both"), **EXACT)
    for side, frame, cold in (("user", PEOPLE, [0, 1, 2]), ("item", FILMS, [0, 1])):
        prior = getattr(made, f"{side}_prior")
        X = matrix(frame)[cold]
        same(getattr(made, f"{side}_factors")[cold], X @ prior.factors, 1e-10, side)
        same(getattr(made, f"{side}_biases")[cold], X @ prior.biases, 1e-10, side)
        new = getattr(made, f"new_{side}s")(frame.iloc[cold].reset_index(drop=True))
        same(getattr(new, f"{side}_factors"), X @ prior.factors, 1e-10, side)
        assert not getattr(new, f"trained_{side}s").any()
        assert getattr(new, f"{side}_prior") is prior
    assert evaluate(made, RATINGS[(RATINGS.users < 3) | (RATINGS.items < 2)]).n_cold > 0


def test_a_new_user_is_the_ridge_regression_towards_their_features():
    made, penalty = als(TRAIN, 3, reg=Penalty(0.8, 0.5, 0.3), **given("both"), **EXACT), Penalty(0.8, 0.5, 0.3)
    mine = TRAIN[TRAIN.users < 9]
    folded = made.fold_in(mine, reg=penalty, features=PEOPLE)
    X = matrix(PEOPLE)
    drawn = np.column_stack([X @ made.user_prior.factors, X @ made.user_prior.biases])
    for u in range(9):
        rated = mine.items[mine.users == u]
        F = np.column_stack([made.item_factors[rated], np.ones(len(rated))])
        e = mine.values[mine.users == u].astype(float) - made.mean - made.item_biases[rated] - F @ drawn[u]
        costs = np.diag([0.8, 0.8, 0.8, 0.3]) * len(rated) ** 0.5
        expected = drawn[u] + np.linalg.solve(F.T @ F + costs, F.T @ e) if len(rated) else drawn[u]
        got = np.append(folded.user_factors[u], folded.user_biases[u])
        same(got, expected, 1e-8, f"user {u} with {len(rated)} ratings")
    assert folded.item_prior is made.item_prior
    for asked in (
        lambda: folded.explain(0, 1, mine, reg=penalty),
        lambda: folded.fold_in(mine, reg=penalty),
        lambda: objective(folded, mine, penalty),
    ):
        with pytest.raises(ValueError, match="trained with features"):
            asked()


def test_a_trained_user_folds_in_as_trained():
    made = als(TRAIN, 3, reg=Penalty(0.8, 0.5), sweeps=400, **given("users"), **EXACT)
    folded = made.fold_in(TRAIN, reg=Penalty(0.8, 0.5), features=PEOPLE)
    same(folded.user_factors, made.user_factors, 1e-6, "factors")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_keeps_what_features_predict(dtype, tmp_path):
    made = als(TRAIN, 3, dtype=dtype, progress=False, **given("both"))
    back = Factors.load(made.save(tmp_path / "it.npz"))
    for side, frame in (("user", PEOPLE), ("item", FILMS)):
        pd.testing.assert_frame_equal(getattr(back, f"{side}_prior").table(), getattr(made, f"{side}_prior").table())
        one, other = (getattr(f, f"new_{side}s")(frame) for f in (made, back))
        np.testing.assert_array_equal(getattr(one, f"{side}_factors"), getattr(other, f"{side}_factors"))
    plain = als(TRAIN, 3, progress=False)
    assert Factors.load(plain.save(tmp_path / "plain.npz")).item_prior is None


def test_a_spoiled_encoding_is_a_data_error(tmp_path):
    path = als(TRAIN, 3, progress=False, **given("items")).save(tmp_path / "it.npz")
    stored = dict(np.load(path))
    for spoiled in ("{", '{"columns": [], "scales": []}'):
        np.savez(path, **stored | {"item_prior_encoding": np.array(spoiled)})
        with pytest.raises(DataError, match="save them again"):
            Factors.load(path)


def test_a_sparse_matrix_gives_what_a_frame_of_flags_gives():
    flags = pd.DataFrame({name: RNG.random(80) < 0.4 for name in "abc"})
    one = als(TRAIN, 3, item_features=flags, **EXACT)
    other = als(TRAIN, 3, item_features=scipy.sparse.coo_matrix(flags.to_numpy(float)), **EXACT)
    same(one.item_factors, other.item_factors, 1e-10, "factors")
    assert other.item_prior.table().index.tolist() == ["(all)", "0", "1", "2"]


def test_numbers_have_no_unit():
    """A year in centuries is the same feature; a sparse column is scaled, too."""
    centuries = FILMS.assign(year=FILMS.year / 100)
    made = [als(TRAIN, 3, item_features=frame, **EXACT) for frame in (FILMS, centuries)]
    same(made[0].item_factors, made[1].item_factors, 1e-8, "factors")
    columns = RNG.normal(0, 1, (80, 2)) * (RNG.random((80, 2)) < 0.5)
    made = [als(TRAIN, 3, item_features=scipy.sparse.csr_array(columns * unit), **EXACT) for unit in (1, 1000)]
    same(made[0].item_factors, made[1].item_factors, 1e-8, "factors")


@SOLVERS
def test_an_enormous_penalty_of_w_leaves_plain_factors(solver):
    plain = als(TRAIN, 3, solver=solver, **EXACT)
    made = als(TRAIN, 3, solver=solver, reg_features=1e15, **given("both"), **EXACT)
    same(made.item_factors, plain.item_factors, 1e-8, "factors")


def test_a_start_with_features_goes_on_where_it_was():
    options = {**given("both"), **EXACT}
    made = als(TRAIN, 3, sweeps=300, **options)
    again = als(TRAIN, 3, sweeps=1, start=made, **options)
    assert rmse(again, TRAIN) == pytest.approx(rmse(made, TRAIN), abs=2e-5)  # a start from nothing is .1 off


def test_planted_features_are_found():
    """Biases that a flag decides: W's bias has its sign and most of its size, and a new item gets it."""
    flag = RNG.random(RATINGS.n_items) < 0.5
    values = np.clip(3 + np.where(flag[RATINGS.items], 1.0, -1.0) + RNG.normal(0, 0.3, len(RATINGS)), 1, 5).round()
    planted = Ratings(RATINGS.users, RATINGS.items, values, 60, 80, (1, 5, 1))
    table = als(planted, 0, reg_features=1, item_features=pd.DataFrame({"good": flag}), **EXACT).item_prior.table()
    assert table.loc["good", "bias"] > 1


# -- what is refused ---------------------------------------------------------------------------------

REFUSED = {
    "rows": (dict(item_features=FILMS[:-1]), "item_features has 79 rows, expected 80"),
    "index": (dict(item_features=FILMS[::-1]), "row n belongs to number n"),
    "kind": (dict(item_features=FILMS.to_numpy()), "item_features is numpy.ndarray: give a DataFrame"),
    "constant": (dict(user_features=PEOPLE.assign(age=3)), "same number in every row"),
    "infinite": (dict(item_features=FILMS.assign(year=np.inf)), r"item_features\['year'\]\[0\] is inf"),
    "object": (dict(item_features=FILMS.assign(genres=[["a"]] * 80)), "holds .'a'. of type list"),
    "twice": (dict(item_features=pd.concat([FILMS, FILMS], axis=1)), "has 2 columns 'year'"),
    "huge": (dict(item_features=FILMS.assign(year=1e300)), "above 1e[+]100"),
    "huge sparse": (dict(item_features=scipy.sparse.csr_array(np.full((80, 1), 1e200))), "above 1e[+]100"),
    "year in a sparse matrix": (
        dict(item_features=scipy.sparse.csr_array(1990 + np.eye(80))),
        "give them in a DataFrame",
    ),
    "missing": (dict(item_features=FILMS.assign(year=np.nan)), "missing in every row"),
    "W in float32": (dict(item_features=FILMS, reg_features=1e-50), "reg_features=1e-50: it must be above"),
    "gap among flags": (
        dict(item_features=FILMS.assign(old=[None] + [True, False] * 39 + [True])),
        "among True and False",
    ),
    "date": (dict(item_features=FILMS.assign(year=pd.Timestamp("2020"))), "of a date its year"),
    "alike": (
        dict(item_features=FILMS.assign(**{"genres=Drama": True}).assign(genres="Drama")),
        "two columns 'genres=Drama'",
    ),
    "polars": (
        dict(item_features=type("DataFrame", (), {"__module__": "polars.frame"})()),
        "polars.DataFrame: give a DataFrame of pandas",
    ),
    "sparse nan": (dict(item_features=scipy.sparse.csr_array(np.full((80, 1), np.nan))), "not finite"),
    "no W": (dict(item_features=FILMS, reg_features=0), "reg_features=0"),
    "no penalty": (dict(item_features=FILMS, reg=0), "their features have no say"),
    "no penalty of biases": (dict(item_features=FILMS, reg=Penalty(1, 0, 0)), "their features have no say"),
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(wrong):
    options, told = wrong
    with pytest.raises(ValueError, match=told):
        als(TRAIN, 3, progress=False, **options)


def test_questions_that_the_factors_cannot_answer_are_refused():
    both, plain = als(TRAIN, 3, progress=False, **given("both")), als(TRAIN, 3, progress=False)
    with pytest.raises(ValueError, match="trained without features of items"):
        plain.new_items(FILMS)
    with pytest.raises(ValueError, match="trained without features of users"):
        plain.fold_in(TRAIN, reg=1, features=PEOPLE)
    with pytest.raises(ValueError, match="give those of the new users"):
        both.fold_in(TRAIN, reg=1)
    with pytest.raises(ValueError, match="features has 3 rows, expected 60"):
        both.fold_in(TRAIN, reg=1, features=PEOPLE[:3])
    with pytest.raises(ValueError, match="share in a prediction is no rating's"):
        both.explain(3, 4, TRAIN, reg=1)
    with pytest.raises(ValueError, match="the penalty is on what these do not predict"):
        objective(both, TRAIN, 1)
    with pytest.raises(ValueError, match="the training had"):
        both.new_items(FILMS.drop(columns="year"))
    with pytest.raises(ValueError, match="the training had"):
        both.new_items(FILMS.assign(more=1))


def test_unknown_values_count_as_nothing():
    made = als(TRAIN, 3, **given("items"), **EXACT)
    new = made.new_items(pd.DataFrame({"year": [np.nan, 1970], "old": [False, False], "genres": ["Musical", None]}))
    same(new.item_factors[0], made.item_prior.factors[0], 1e-12, "of the average item")


def test_values_may_have_spaces_and_numbers_a_large_level():
    spaced = FILMS.assign(genres=FILMS.genres.str.replace("|", " | "))
    made = [Encoding.of(frame) for frame in (FILMS, spaced)]
    assert made[0] == made[1]
    assert (made[0].encode(FILMS) != made[1].encode(spaced)).nnz == 0
    level = pd.DataFrame({"a": 1e9 + np.arange(4.0)})
    np.testing.assert_allclose(Encoding.of(level).encode(level).toarray()[:, 1].std(), 1)


def test_the_penalty_of_w_is_among_the_settings_that_a_log_shows(monkeypatch):
    from mfhelpers.algorithms import als as least_squares

    noted = {}
    monkeypatch.setattr(least_squares, "run", lambda sides, n, monitor: noted.update(sides.settings))
    als(TRAIN, 3, item_features=FILMS, reg_features=7.0, progress=False)
    assert noted["reg_features"] == 7


def test_simulated_features_tell_of_films_and_nothing_of_users():
    ratings, truth = simulate(300, 400, 12_000)
    known = simulated_features(truth)
    films, people = (
        Encoding.of(frame).encode(frame).toarray()
        for frame in features(dataclasses.replace(ratings, features=known))[::-1]
    )
    explained = {}
    for side, X, y in (("films", films, truth[2]), ("users", people, truth[1])):
        held = RNG.random(len(y)) < 0.3
        W = np.linalg.solve(X[~held].T @ X[~held] + 3 * np.eye(X.shape[1]), X[~held].T @ y[~held])
        explained[side] = np.corrcoef(X[held] @ W, y[held])[0, 1] ** 2
    assert explained["films"] > 0.2
    assert explained["users"] < 0.1
    assert simulated_features(truth, with_users=False).users is None
    assert (known.items["genres"] != "").all()  # every film has a genre
    pd.testing.assert_frame_equal(simulated_features(truth).items, known.items)


@pytest.mark.parametrize("kind", [np.int8, np.int16, bool])
def test_duplicates_in_a_sparse_matrix_add_up_whatever_their_type(kind):
    twice = scipy.sparse.coo_array((np.full(2, 100).astype(kind), ([0, 0], [0, 0])), shape=(3, 1))
    assert Encoding.of(twice).encode(twice).toarray()[0, 1] * Encoding.of(twice).scales[0] == pytest.approx(
        2 * int(kind(100))
    )


def test_an_encoding_reads_columns_by_name_and_refuses_other_kinds():
    encoding = Encoding.of(FILMS)
    assert (encoding.encode(FILMS) != encoding.encode(FILMS[["genres", "old", "year"]])).nnz == 0
    sparse = Encoding.of(scipy.sparse.csr_array(np.eye(80)))
    for one, given, told in (
        (encoding, scipy.sparse.csr_array(np.eye(80)), "the training had a DataFrame"),
        (sparse, FILMS, "the training had a sparse matrix"),
        (sparse, scipy.sparse.csr_array(np.eye(3)), "has 3 columns, the training had 80"),
        (encoding, FILMS.assign(year="1990"), r"\['year'\] has type .*, where numbers are expected"),
    ):
        with pytest.raises(ValueError, match=told):
            one.encode(given)


@pytest.mark.parametrize(("was", "now"), [('"scale": 1.0', '"scale": NaN'), ('"scale": 1.0', '"scale": 0.0'), ('"kind": "flag"', '"kind": "sum"'), ('"name": "old"', '"name": 3'), ('"scales": []', '"scales": [1.0]')])  # fmt: skip
def test_an_encoding_that_cannot_be_is_refused(was, now):
    text = Encoding.of(FILMS).to_text()
    assert was in text
    assert Encoding.from_text(text) == Encoding.of(FILMS)
    with pytest.raises(ValueError, match="is no column|must be finite and above 0|columns or scales"):
        Encoding.from_text(text.replace(was, now))


@pytest.mark.parametrize("algorithm", [als, svdpp])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("solve", [1, 2, 3, 8])
def test_an_interruption_around_w_keeps_factors_that_fit_together(algorithm, where, solve, monkeypatch, capsys):
    """Ctrl-C just before or after any solution of W is no divergence, and rows without ratings are x W."""
    from mfhelpers.algorithms import priors

    kept, calls = priors.Prior.solve, iter(range(1, 1000))

    def interrupted(prior, rows):
        now = next(calls) == solve
        if not (now and where == "before"):
            kept(prior, rows)
        if now:
            prior.drawn.mul_(0.5)  # half moved
            raise KeyboardInterrupt

    monkeypatch.setattr(priors.Prior, "solve", interrupted)
    more = given("both") if algorithm is als else {"implicit": RATINGS}
    made = algorithm(TRAIN, 3, reg=Penalty(0.8, 0.5), sweeps=30, history=History(), **more, **EXACT)
    assert "interrupted" in capsys.readouterr().out
    if algorithm is als:
        cold = matrix(FILMS)[:2] @ made.item_prior.factors
        same(made.item_factors[:2], cold, 1e-10, "rows of items without ratings")


def test_tables_are_those_of_their_own_side_and_nothing_is_lost():
    def made(users, items):
        n = dict(n_users=len(users), n_items=len(items))
        return features(Ratings([0], [0], [3], **n, scale=(1, 5, 1), features=Features(users, items)))

    people = pd.DataFrame({"genres": ["Horror", "", "Drama"], "age_group": pd.array([1, None, 25], dtype="Int64")})
    films = pd.DataFrame({"genres": ["Comedy", None], "year": [1994.0, np.nan], "tags": ["a", "b"]})
    users, items = made(people, films)
    assert users.columns.tolist() == ["Drama", "Horror", "age_group"]
    assert users["age_group"].tolist() == ["1", "", "25"]
    assert items.columns.tolist() == ["Comedy", "decade"]
    assert items["decade"].tolist() == ["1990s", ""]
    assert items["Comedy"].tolist() == [True, False]
    for wrong, told in (
        ({"genres": ["Comedy", ""], "Comedy": [1.0, 2]}, "would be called 'Comedy'"),
        ({"year": [1.0, 2], "decade": ["a", "b"]}, "would be called 'decade'"),
        ({"year": [np.inf, 2]}, "not finite"),
        ({"year": pd.to_datetime(["1990", "1991"])}, "where numbers are expected"),
        ({"genres": [["a"], ["b"]]}, "of type list"),
    ):
        with pytest.raises(ValueError, match=told):
            made(people, pd.DataFrame(wrong))


# -- the tables of MovieLens -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small"])
def test_the_tables_of_a_set_go_into_als(name):
    ratings = load_ratings(name)
    users, items = features(ratings)
    assert (users is None) == (name == "ml-latest-small")
    assert len(items) == ratings.n_items
    assert {"Drama", "decade"} <= set(items)
    assert "title" not in items
    assert users is None or set(users) == {"age", "sex", "occupation"}
    made = als(ratings, 2, sweeps=2, user_features=users, item_features=items, progress=False)
    names = made.item_prior.table().index
    assert "decade=1990s" in names
    assert "Drama" in names
    with pytest.raises(ValueError, match="has no features"):
        features(TRAIN)
