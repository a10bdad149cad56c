"""Decompositions: against NumPy's dense SVD, least squares, and the conditions that a minimum meets."""

import numpy as np
import pytest

from mfhelpers import (
    Factors,
    Penalty,
    Ratings,
    als,
    average_biases,
    complete_svd,
    global_mean,
    objective,
    residual_svd,
    rmse,
    simulate_ratings,
    soft_impute,
)
from mfhelpers.check import numerical_gradient, same


def turned(ratings) -> Ratings:
    return Ratings(ratings.items, ratings.users, ratings.values, ratings.n_items, ratings.n_users, ratings.scale)


SMALL, _ = simulate_ratings(30, 20, 200, min_per_user=3)
SMALL = SMALL[(SMALL.users > 1) & (SMALL.items > 0)]  # users 0 and 1 and item 0 have no training rating
BASELINE = average_biases(SMALL, damping=5)
RATINGS = pytest.mark.parametrize("train", [SMALL, turned(SMALL)], ids=["more users", "more items"])
BOTH = pytest.mark.parametrize("method", [residual_svd, soft_impute])
SHAPES = pytest.mark.parametrize("shape", [(12, 9), (9, 12), (7, 7)], ids=str)
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")
QUIET = {"progress": False}
TO_THE_END = {"tolerance": 1e-12, "sweeps": 2000, "progress": False}


def matrix(shape=(12, 9), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) + rng.normal(0, 0.3, shape)


def as_ratings(values) -> Ratings:
    users, items = map(np.ravel, np.indices(values.shape))
    return Ratings(users, items, values.ravel().astype(np.float32), *values.shape, (-20, 20, 0))


def product(factors) -> np.ndarray:
    return factors.user_factors @ factors.item_factors.T


def changed(factors, **tables) -> Factors:
    names = ("mean", *TABLES)
    return Factors(**{name: getattr(factors, name) for name in names} | tables)


def residuals(train, baseline) -> np.ndarray:
    """The whole table, with zeros in the gaps."""
    table = np.zeros((train.n_users, train.n_items))
    table[train.users, train.items] = train.values.astype(np.float64) - baseline.predict(train.users, train.items)
    return table


def charged(factors, train, reg) -> float:
    """Σ e² + λ (‖P‖² + ‖Q‖²), written out."""
    errors = train.values.astype(np.float64) - factors.predict(train.users, train.items)
    return errors @ errors + reg * (np.square(factors.user_factors).sum() + np.square(factors.item_factors).sum())


def distance(values, factors, reg) -> float:
    """‖R - P Qᵀ‖² + λ (‖P‖² + ‖Q‖²)."""
    prices = np.square(factors.user_factors).sum() + np.square(factors.item_factors).sum()
    return np.square(values - product(factors)).sum() + reg * prices


def begun_at(baseline, k, seed=0) -> Factors:
    rng = np.random.default_rng(seed)
    tables = (rng.normal(size=(n, k)) for n in (baseline.n_users, baseline.n_items))
    return Factors(baseline.mean, baseline.user_biases, baseline.item_biases, *tables)


# -- a complete matrix -----------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("k", [1, 3, 6])
def test_what_is_left_out_is_the_whole_error(shape, k):
    values = matrix(shape)
    left_out = np.linalg.svd(values, compute_uv=False)[k:]
    error = np.linalg.norm(values - product(complete_svd(values, k)))
    assert error == pytest.approx(np.sqrt((left_out**2).sum()), rel=1e-10)


def test_no_other_matrix_of_that_rank_is_nearer():
    values, k, rng = matrix(), 2, np.random.default_rng(1)
    best = complete_svd(values, k)
    error = np.linalg.norm(values - product(best))
    for size in (1e-3, 0.1, 1):
        for _ in range(50):
            P, Q = (table + rng.normal(0, size, table.shape) for table in (best.user_factors, best.item_factors))
            assert np.linalg.norm(values - P @ Q.T) > error
    rated = as_ratings(values)
    for seed in range(3):
        solved = als(rated, k, reg=0, biased=False, seed=seed, sweeps=100, dtype="float64", progress=False)
        assert np.linalg.norm(values - solved.mean - product(solved)) > error - 1e-6  # rank k + 1 with the mean
        start = changed(begun_at(complete_svd(values, k), k, seed), mean=0.0)
        solved = als(rated, k, reg=0, biased=False, start=start, sweeps=300, dtype="float64", progress=False)
        assert np.linalg.norm(values - product(solved)) == pytest.approx(error, rel=1e-6)


@SHAPES
@pytest.mark.parametrize("reg", [0.0, 0.8, 4.0, 1e3])
def test_each_singular_value_loses_the_threshold(shape, reg):
    values, k = matrix(shape), 4
    left, sizes, right = np.linalg.svd(values, full_matrices=False)
    got = complete_svd(values, k, reg)
    same(product(got), (left[:, :k] * np.maximum(sizes[:k] - reg, 0)) @ right[:k], 1e-10)
    same(np.linalg.svd(product(got), compute_uv=False)[:k], np.maximum(sizes[:k] - reg, 0), 1e-10)


@pytest.mark.parametrize("reg", [0.3, 2.0])
def test_a_thresholded_svd_is_the_minimum_of_the_charged_distance(reg):
    values, rng = matrix(), np.random.default_rng(2)
    best = complete_svd(values, 4, reg)
    least = distance(values, best, reg)
    for name in ("user_factors", "item_factors"):
        table = getattr(best, name)
        slope = numerical_gradient(
            lambda at: distance(values, changed(best, **{name: at}), reg),  # noqa: B023
            table,
            1e-4,
        )
        assert np.abs(slope).max() < 1e-6
    for size in (1e-3, 0.1, 1):
        for _ in range(50):
            tables = {
                name: getattr(best, name) + rng.normal(0, size, getattr(best, name).shape)
                for name in ("user_factors", "item_factors")
            }
            assert distance(values, changed(best, **tables), reg) > least


@pytest.mark.parametrize("reg", [0.3, 2.0, 6.0])
def test_least_squares_stay_there_and_get_there(reg):
    values, k = matrix(), 3
    rated = as_ratings(values)
    values = rated.values.astype(np.float64).reshape(values.shape)
    best = complete_svd(values, k, reg)
    options = {"reg": Penalty(reg, 0), "biased": False, "dtype": "float64", "progress": False}
    stayed = als(rated, k, start=best, sweeps=5, **options)
    for name in ("user_factors", "item_factors"):
        same(getattr(stayed, name), getattr(best, name), 1e-10, name)
    got = als(rated, k, start=begun_at(complete_svd(values, 1), k), sweeps=3000, **options)
    same(product(got), product(best), 1e-10)
    assert distance(values, got, reg) == pytest.approx(distance(values, best, reg), rel=1e-10)


@SHAPES
@pytest.mark.parametrize("reg", [0.0, 0.8])
def test_both_sides_have_one_length_and_columns_at_right_angles(shape, reg):
    values, k = matrix(shape), 4
    got = complete_svd(values, k, reg)
    expected = np.diag(np.maximum(np.linalg.svd(values, compute_uv=False)[:k] - reg, 0))
    for table in (got.user_factors, got.item_factors):
        same(table.T @ table, expected, 1e-10)


@SHAPES
def test_signs_are_a_convention_of_the_items(shape):
    values, k = matrix(shape), 4
    got, again, opposite = (complete_svd(table, k) for table in (values, values.copy(), -values))
    order = np.random.default_rng(3).permutation(shape[0])
    shuffled = complete_svd(values[order], k)
    largest = np.abs(got.item_factors).argmax(axis=0)
    assert (got.item_factors[largest, np.arange(k)] > 0).all()
    assert np.array_equal(got.item_factors, again.item_factors)
    same(opposite.item_factors, got.item_factors, 1e-10)
    same(opposite.user_factors, -got.user_factors, 1e-10)
    same(shuffled.item_factors, got.item_factors, 1e-10)
    same(shuffled.user_factors, got.user_factors[order], 1e-10)


@SHAPES
def test_all_factors_give_the_matrix_back(shape):
    values = matrix(shape)
    got = complete_svd(values, min(shape))
    same(product(got), values, 1e-10)
    users, items = np.indices(shape)
    same(got.predict(users, items), values, 1e-10)  # so mean and biases are zero
    assert got.mean == 0
    assert not got.user_biases.any()
    assert not got.item_biases.any()


def test_whole_numbers_in_lists_will_do():
    got = complete_svd([[1, 2, 0], [3, 6, 0]], 1)
    same(product(got), [[1, 2, 0], [3, 6, 0]], 1e-10)
    assert {getattr(got, name).dtype for name in TABLES} == {np.dtype("float64")}


def test_a_matrix_is_left_as_it_was():
    values = matrix()
    kept = values.copy()
    complete_svd(values, 2, 1.0)
    assert np.array_equal(values, kept)


@pytest.mark.parametrize(
    ("values", "k", "reg", "message"),
    [
        (matrix(), 0, 0, r"n_factors=0: of a 12 × 9 matrix choose 1 … 9"),
        (matrix(), 10, 0, r"n_factors=10: .*choose 1 … 9"),
        (matrix(), -1, 0, "n_factors=-1"),
        (matrix(), 2.5, 0, "n_factors=2.5"),
        (matrix(), True, 0, "n_factors=True"),
        (matrix(), 2, -0.1, "threshold=-0.1"),
        (matrix(), 2, float("nan"), "threshold=nan"),
        (matrix(), 2, float("inf"), "threshold=inf"),
        (np.ones(5), 1, 0, r"shape \(5,\)"),
        (np.ones((2, 3, 4)), 1, 0, r"shape \(2, 3, 4\)"),
        (np.float64(3), 1, 0, r"shape \(\)"),
        (np.ones((0, 3)), 1, 0, r"shape \(0, 3\)"),
        ([[1, np.nan], [np.inf, 2]], 1, 0, "2 cells are not finite: .*soft_impute"),
    ],
)
def test_what_is_no_complete_matrix_is_refused(values, k, reg, message):
    with pytest.raises(ValueError, match=message):
        complete_svd(values, k, reg)


# -- what a baseline leaves ------------------------------------------------------------------------


@RATINGS
@pytest.mark.parametrize("k", [1, 5, 19])
@pytest.mark.parametrize("reg", [0.0, 1.5])
def test_it_is_the_svd_of_residuals_with_zeros_in_the_gaps(train, k, reg):
    baseline = average_biases(train, damping=5)
    table = residuals(train, baseline)
    left, sizes, right = np.linalg.svd(table, full_matrices=False)
    got = residual_svd(train, k, threshold=reg)
    same(product(got), (left[:, :k] * np.maximum(sizes[:k] - reg, 0)) @ right[:k], 1e-8)
    users, items = np.indices(table.shape)
    same(got.predict(users, items), baseline.predict(users, items) + product(got), 1e-10)


@RATINGS
@pytest.mark.parametrize("reg", [0.0, 1.5])
def test_signs_and_lengths_are_those_of_a_complete_matrix(train, reg):
    got, dense = (
        residual_svd(train, 5, threshold=reg),
        complete_svd(residuals(train, average_biases(train, damping=5)), 5, reg),
    )
    for name in ("user_factors", "item_factors"):
        same(getattr(got, name), getattr(dense, name), 1e-8, name)


@BOTH
@RATINGS
def test_who_has_no_rating_gets_what_the_baseline_says(method, train):
    got, baseline = method(train, 5, threshold=1.5), average_biases(train, damping=5)
    for users, items in (
        (np.flatnonzero(train.user_counts == 0)[:, None], np.arange(train.n_items)),
        (np.arange(train.n_users)[:, None], np.flatnonzero(train.item_counts == 0)),
    ):
        assert users.size
        assert items.size
        same(got.predict(users, items), baseline.predict(users, items), 1e-10)


@BOTH
@RATINGS
def test_who_has_no_rating_is_cold(method, train):
    """A row of zeros, as `Factors` says: rounding must not leave anything there."""
    got = method(train, 5, threshold=1.5)
    rated_user, rated_item = train.users[0], train.items[0]
    assert not got.user_factors[train.user_counts == 0].any()
    assert not got.item_factors[train.item_counts == 0].any()
    assert got.cold(np.flatnonzero(train.user_counts == 0), rated_item).all()
    assert got.cold(rated_user, np.flatnonzero(train.item_counts == 0)).all()
    assert not got.cold(rated_user, rated_item)


@BOTH
def test_the_baseline_is_kept_in_mean_and_biases(method):
    got = method(SMALL, 3, threshold=1)
    assert got.mean == BASELINE.mean
    assert np.array_equal(got.user_biases, BASELINE.user_biases)
    assert np.array_equal(got.item_biases, BASELINE.item_biases)
    assert {getattr(got, name).dtype for name in TABLES} == {np.dtype("float64")}


@BOTH
def test_another_baseline_is_taken_off_and_put_back(method):
    flat = global_mean(SMALL)
    got, usual = method(SMALL, 3, threshold=2, baseline=flat), method(SMALL, 3, threshold=2)
    assert not got.user_biases.any()
    assert got.mean == flat.mean
    assert got.rms_difference(usual) > 0.05
    explicit = method(SMALL, 3, threshold=2, baseline=BASELINE)
    assert np.array_equal(explicit.item_factors, usual.item_factors)


def test_another_baseline_leaves_other_residuals():
    flat = global_mean(SMALL)
    left, sizes, right = np.linalg.svd(residuals(SMALL, flat), full_matrices=False)
    same(product(residual_svd(SMALL, 3, baseline=flat)), (left[:, :3] * sizes[:3]) @ right[:3], 1e-8)


def test_a_baseline_in_float32_is_meant_as_it_is():
    short = als(SMALL, 0, progress=False)
    assert short.user_biases.dtype == np.float32
    table = residuals(SMALL, changed(short, **{name: getattr(short, name).astype(np.float64) for name in TABLES}))
    left, sizes, right = np.linalg.svd(table, full_matrices=False)
    got = residual_svd(SMALL, 3, baseline=short)
    same(product(got), (left[:, :3] * sizes[:3]) @ right[:3], 1e-10)
    assert got.user_biases.dtype == np.float64


@BOTH
@RATINGS
def test_a_seed_reproduces_and_another_changes_the_last_digits(method, train):
    one, again, *others = (method(train, 5, threshold=1.5, seed=seed) for seed in (0, 0, 1, 2, 3))
    for name in ("user_factors", "item_factors"):
        assert np.array_equal(getattr(one, name), getattr(again, name))
        for other in others:
            same(getattr(other, name), getattr(one, name), 1e-6, name)


@BOTH
def test_gaps_take_no_memory(method):
    rng = np.random.default_rng(0)
    users, items = 100 * rng.permutation(3000), 50 * rng.permutation(3000)  # dense, 360 GB
    few = Ratings(users, items, rng.integers(1, 6, 3000), 300_000, 150_000, (1, 5, 1))
    options = {} if method is residual_svd else {"threshold": 0.1, "sweeps": 2, "tolerance": 0}
    got = method(few, 2, **options)
    assert (got.n_users, got.n_items) == (300_000, 150_000)


@BOTH
def test_where_the_baseline_explains_everything_nothing_is_added(method):
    alike = as_ratings(np.full((6, 5), 3.0))
    got = method(alike, 2)
    same(product(got), np.zeros((6, 5)))
    assert rmse(got, alike) < 1e-12


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_factors": 0}, "n_factors=0: of a 30 × 20 matrix choose 1 … 19"),
        ({"n_factors": 20}, "n_factors=20: .*choose 1 … 19"),
        ({"n_factors": 2.5}, "n_factors=2.5"),
        ({"threshold": -1}, "threshold=-1"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"threshold": float("inf")}, "threshold=inf"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"baseline": 3}, "baseline=3: give Factors"),
        ({"baseline": begun_at(BASELINE, 2)}, "baseline=.*k = 2.*without factors"),
        ({"baseline": average_biases(turned(SMALL))}, "baseline=.*20 users × 30 items.*give Factors of 30 × 20"),
    ],
)
def test_a_decomposition_refuses_what_does_not_fit(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(SMALL, **{"n_factors": 3} | options)


# -- gaps filled with predictions ------------------------------------------------------------------


@RATINGS
@pytest.mark.parametrize(("k", "reg"), [(10, 3.0), (10, 1.0), (2, 1.0), (3, 0.0)])
def test_no_sweep_raises_the_objective(train, k, reg):
    values = [charged(average_biases(train, damping=5), train, reg)]
    soft_impute(
        train, k, threshold=reg, tolerance=0, sweeps=60, watch=lambda factors: values.append(charged(factors, train, reg)),
        **QUIET,
    )  # fmt: skip
    assert len(values) == 61
    assert all(after <= before * (1 + 1e-12) for before, after in zip(values[:-1], values[1:], strict=True))
    assert values[-1] < 0.95 * values[0]


@RATINGS
def test_a_sweep_is_the_thresholded_svd_of_the_filled_matrix(train):
    baseline, seen = average_biases(train, damping=5), []
    soft_impute(train, 4, threshold=1.5, sweeps=5, tolerance=0, watch=seen.append, **QUIET)
    known, filled = residuals(train, baseline), np.zeros((train.n_users, train.n_items))
    for factors in seen:
        filled[train.users, train.items] = known[train.users, train.items]
        expected = complete_svd(filled, 4, 1.5)
        for name in ("user_factors", "item_factors"):
            same(getattr(factors, name), getattr(expected, name), 1e-8, name)
        filled = product(expected)


@SHAPES
@pytest.mark.parametrize(("k", "reg"), [(6, 0.8), (2, 0.8), (3, 0.0)])
def test_a_complete_matrix_is_solved_at_once(shape, k, reg):
    rated, sweeps = as_ratings(matrix(shape)), []
    got = soft_impute(rated, k, threshold=reg, watch=sweeps.append, **QUIET)
    assert len(sweeps) == 2  # the second finds that nothing moves
    expected = complete_svd(residuals(rated, average_biases(rated, damping=5)), k, reg)
    for factors in (got, sweeps[0]):
        for name in ("user_factors", "item_factors"):
            same(getattr(factors, name), getattr(expected, name), 1e-7, name)


@RATINGS
@pytest.mark.parametrize(("k", "limited"), [(10, False), (2, True)])
def test_where_it_ends_the_gradient_is_zero_and_no_singular_value_of_the_errors_is_above_the_threshold(
    train, k, limited
):
    reg = 2.5
    got = soft_impute(train, k, threshold=reg, **TO_THE_END)
    P, Q = got.user_factors, got.item_factors
    errors = residuals(train, got)
    same(errors @ Q, reg * P, 1e-6)
    same(errors.T @ P, reg * Q, 1e-6)
    same(P.T @ P, Q.T @ Q, 1e-10)
    assert np.count_nonzero(np.abs(P).max(axis=0) > 1e-9) == (k if limited else 6)
    largest = np.linalg.svd(errors, compute_uv=False)[0]
    if limited:
        assert largest > reg * 1.05  # a better one of higher rank exists
    else:
        assert largest == pytest.approx(reg, rel=1e-6)  # the certificate: the best of all ranks


@RATINGS
def test_least_squares_from_the_baseline_agree(train):
    k, reg, baseline = 10, 2.5, average_biases(train, damping=5)
    options = {"reg": Penalty(reg, 0), "biased": False, "dtype": "float64", "progress": False}
    got = soft_impute(train, k, threshold=reg, **TO_THE_END)
    solved = als(train, k, start=begun_at(baseline, k), sweeps=2000, **options)
    least = charged(got, train, reg)
    assert charged(solved, train, reg) == pytest.approx(least, rel=1e-6)
    assert solved.rms_difference(got) < 1e-4
    as_a_penalty = objective(got, train, Penalty(reg, 0, biases=0))
    assert as_a_penalty == pytest.approx(least, rel=1e-10)
    for other in (2, 5, 15):  # no rank, no start is better
        solved = als(train, other, start=begun_at(baseline, other, seed=other), sweeps=200, **options)
        assert charged(solved, train, reg) > least * (1 - 1e-9)


def test_more_factors_than_stay_above_the_threshold_change_nothing():
    few, many = (soft_impute(SMALL, k, threshold=2.5, **TO_THE_END) for k in (7, 15))
    assert few.rms_difference(many) < 1e-6


def test_without_a_threshold_it_learns_by_heart():
    got = soft_impute(SMALL, 15, threshold=0, tolerance=0, sweeps=300, **QUIET)
    assert rmse(got, SMALL) < 0.01


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-4])
def test_it_stops_at_the_first_sweep_that_moves_less(tolerance):
    seen = [BASELINE]
    got = soft_impute(SMALL, 8, threshold=2, tolerance=tolerance, watch=seen.append, **QUIET)
    whole = [product(factors) for factors in seen]
    moved = [
        np.linalg.norm(after - before) / np.linalg.norm(after)
        for before, after in zip(whole[:-1], whole[1:], strict=True)
    ]
    assert 2 <= len(moved) < 100
    assert moved[-1] <= tolerance
    assert min(moved[:-1]) > tolerance
    assert np.array_equal(got.item_factors, seen[-1].item_factors)


def test_sweeps_are_a_limit():
    for sweeps in (1, 3):
        seen = []
        got = soft_impute(SMALL, 8, threshold=2, sweeps=sweeps, tolerance=0, watch=seen.append, **QUIET)
        assert len(seen) == sweeps
        assert np.array_equal(got.item_factors, seen[-1].item_factors)


def test_a_threshold_above_everything_leaves_the_baseline_and_ends_at_once():
    seen = []
    with pytest.warns(
        UserWarning, match="no singular value is above threshold=1000: what comes back is the baseline alone"
    ):
        got = soft_impute(SMALL, 8, threshold=1e3, watch=seen.append, **QUIET)
    assert not product(got).any()
    same(got.predict(SMALL.users, SMALL.items), BASELINE.predict(SMALL.users, SMALL.items), 1e-12)
    assert len(seen) <= 2


def test_sweeps_that_are_not_enough_are_said_unless_exactly_so_many_were_asked_for():
    with pytest.warns(UserWarning, match="sweep 3 still moved predictions by .* stars"):
        got = soft_impute(SMALL, 5, threshold=2, sweeps=3, **QUIET)
    asked = soft_impute(SMALL, 5, threshold=2, sweeps=3, tolerance=0, **QUIET)  # any warning is an error here
    assert np.array_equal(got.user_factors, asked.user_factors)


@pytest.mark.parametrize("gaps", [SMALL, SMALL.to_csr()], ids=["Ratings", "sparse"])
def test_what_has_gaps_is_sent_elsewhere(gaps):
    with pytest.raises(ValueError, match="has gaps: take residual_svd or soft_impute"):
        complete_svd(gaps, 2)


def test_an_interruption_keeps_the_factors_so_far(capsys):
    seen = []

    def watch(factors):
        seen.append(factors)
        if len(seen) == 2:
            raise KeyboardInterrupt

    got = soft_impute(SMALL, 5, threshold=2, watch=watch, **QUIET)
    assert "interrupted in sweep 2" in capsys.readouterr().out
    assert len(seen) == 2
    assert np.array_equal(got.user_factors, seen[-1].user_factors)
    assert np.array_equal(got.item_factors, seen[-1].item_factors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sweeps": 0}, "sweeps=0"),
        ({"sweeps": 1.5}, "sweeps=1.5"),
        ({"tolerance": -1e-9}, "tolerance=-1e-09"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"tolerance": float("inf")}, "tolerance=inf"),
    ],
)
def test_filling_refuses_limits_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        soft_impute(SMALL, 3, **options)
