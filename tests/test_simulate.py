"""`simulate_ratings`: exact counts, known truth, and the shape of ml-100k."""

import numpy as np
import pytest

from mfhelpers import average_biases, evaluate, global_mean, item_means, random_split, rmse, simulate_ratings
from mfhelpers.data import simulate

SMALL = dict(n_users=60, n_items=50, n_ratings=1500, min_per_user=10)


def assert_sound(ratings, n_users, n_items, n_ratings, min_per_user):
    assert (len(ratings), ratings.n_users, ratings.n_items) == (n_ratings, n_users, n_items)
    assert len(np.unique(ratings.users * n_items + ratings.items)) == n_ratings
    assert ratings.user_counts.min() >= min_per_user


@pytest.fixture(scope="module")
def default():
    return simulate_ratings()


# -- counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact_cells", [simulate.EXACT_CELLS, 0], ids=["exact draw", "rejection"])
@pytest.mark.parametrize(
    "sizes", [(60, 50, 1500, 10), (60, 50, 600, 10), (60, 50, 3000, 10), (60, 50, 2990, 0), (1, 1, 1, 1), (200, 3, 400, 1)],
    ids=["usual", "no more than the minimum", "every pair", "nearly every pair", "one", "few items"],
)  # fmt: skip
def test_exactly_as_many_distinct_pairs_as_asked_for(monkeypatch, exact_cells, sizes):
    monkeypatch.setattr(simulate, "EXACT_CELLS", exact_cells)
    n_users, n_items, n_ratings, min_per_user = sizes
    ratings, truth = simulate_ratings(n_users, n_items, n_ratings, min_per_user=min_per_user)
    assert_sound(ratings, *sizes)
    assert (truth.n_users, truth.n_items, truth.n_factors) == (n_users, n_items, 5)


@pytest.mark.parametrize(
    ("sizes", "least"), [((30, 50, 100), 3), ((10, 8, 80), 8), ((10, 8, 60), 6), ((5, 50, 3), 0), ((60, 50, 1500), 20)]
)
def test_small_sizes_need_no_minimum_a_user(sizes, least):
    ratings, _ = simulate_ratings(*sizes)
    assert_sound(ratings, *sizes, least)


def test_rejection_draws_the_same_popularity(monkeypatch):
    exact = simulate_ratings()[0].item_counts
    monkeypatch.setattr(simulate, "EXACT_CELLS", 0)
    assert np.corrcoef(exact, simulate_ratings()[0].item_counts)[0, 1] > 0.98


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(n_ratings=599), r"n_ratings=599: 60 users × 50 items with at least 10 ratings a user leave 600 … 3000"),
        (dict(n_ratings=3001), "n_ratings=3001: .* leave 600 … 3000"),
        (dict(min_per_user=51), "at least 51 ratings a user"),
        (dict(min_per_user=-1), "min_per_user=-1: it must be at least 0"),
        (dict(n_users=0, n_ratings=0), "n_users=0: it must be at least 1"),
        (dict(n_factors=-1), "n_factors=-1: it must be at least 0"),
        (dict(noise=-0.5), "noise=-0.5: it must be at least 0"),
        (dict(noise=float("nan")), "noise=nan"),
        (dict(noise=float("inf")), "noise=inf: it must be finite"),
        (dict(mean=1e300), r"mean=1e\+300: it must be at most 1e\+06"),
        (dict(mean=float("nan")), "mean=nan: it must be finite"),
        (dict(seed=-1), "seed=-1: it must be at least 0"),
        (dict(seed="a"), "seed='a': give a whole number"),
        (dict(n_users=10**9), "n_users=1000000000: it must be at most 100,000,000"),
        (dict(n_factors=10**9), "n_factors=1000000000: it must be at most"),
        (dict(scale=5), "scale=5: give"),
        (dict(scale=(5, 1, 1)), "low not above high"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        simulate_ratings(**{**SMALL, **changes})


# -- seeds -----------------------------------------------------------------------------------------


def test_a_seed_reproduces_and_another_differs():
    (one, truth), (again, same_truth), (other, other_truth) = (simulate_ratings(**SMALL, seed=s) for s in (3, 3, 4))
    for field in ("users", "items", "values", "timestamps"):
        np.testing.assert_array_equal(getattr(one, field), getattr(again, field))
        assert (getattr(one, field) != getattr(other, field)).any()
    assert truth.rms_difference(same_truth) < 1e-12
    assert truth.rms_difference(other_truth) > 0.1


def test_numpys_global_generator_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    simulate_ratings(**SMALL)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# -- shape -----------------------------------------------------------------------------------------


def test_the_default_looks_like_ml_100k(default):
    ratings, _ = default
    assert_sound(ratings, 943, 1682, 100_000, 20)
    assert ratings.scale == (1, 5, 1)
    assert abs(ratings.values.mean() - 3.53) < 0.1
    assert abs(ratings.values.std() - 1.126) < 0.05
    shares = np.bincount(ratings.values.astype(int), minlength=6)[1:] / len(ratings)
    assert shares.argmin() == 0  # one star is the rarest, four the most frequent
    assert shares.argmax() == 3
    assert shares.min() > 0.03


def test_few_items_have_most_ratings_and_few_users_give_many(default):
    ratings, _ = default
    by_item, by_user = np.sort(ratings.item_counts)[::-1], np.sort(ratings.user_counts)[::-1]
    assert by_item[:168].sum() > 0.35 * len(ratings)  # a tenth of the items; ml-100k: .43
    assert by_item[0] > 10 * np.median(by_item)
    assert by_user[:94].sum() > 0.25 * len(ratings)  # a tenth of the users; ml-100k: .33
    assert by_user[0] > 5 * np.median(by_user)


def test_popular_items_are_liked_better(default):
    ratings, truth = default
    assert np.corrcoef(np.log1p(ratings.item_counts), truth.item_biases)[0, 1] > 0.2


def test_ratings_come_in_the_order_of_time_within_the_months_of_ml_100k(default):
    ratings, _ = default
    assert (np.diff(ratings.timestamps) >= 0).all()
    days = (ratings.timestamps - simulate.FIRST_DAY) / 86_400
    assert days.min() >= 0
    assert 200 < days.max() < simulate.DAYS + 2


def test_it_says_that_it_is_simulated(default):
    ratings, _ = default
    assert ratings.source == "simulated"
    assert all(title.startswith("Simulated film ") for title in ratings.titles)
    assert len(set(ratings.titles)) == ratings.n_items


# -- truth -----------------------------------------------------------------------------------------


def test_models_score_in_the_order_of_what_they_know(default):
    ratings, truth = default
    train, test = random_split(ratings)
    scores = [rmse(p, test) for p in (truth, average_biases(train, 5), item_means(train, 5), global_mean(train))]
    assert scores == sorted(scores)
    assert np.diff(scores).min() > 0.03
    assert scores[0] == pytest.approx(np.hypot(simulate.SD_NOISE, np.sqrt(1 / 12)), abs=0.08)  # noise and rounding


def test_without_noise_and_steps_the_truth_is_exact_unless_clipped():
    ratings, truth = simulate_ratings(**SMALL, noise=0, scale=(1, 5, 0))
    unclipped = (ratings.values > 1) & (ratings.values < 5)
    assert 0.8 < unclipped.mean() < 1
    assert rmse(truth, ratings[unclipped]) < 1e-6
    assert rmse(truth, ratings, clip=True) < 1e-6


def test_the_mean_is_that_of_what_is_rated():
    ratings, truth = simulate_ratings(noise=0, scale=(-100, 100, 0), mean=2.5, n_factors=0)
    assert truth.mean == 2.5
    assert ratings.values.mean() == pytest.approx(2.5 + truth.user_biases[ratings.users].mean(), abs=1e-4)


@pytest.mark.parametrize("scale", [(0.5, 5, 0.5), (0, 1, 1), (1, 10, 0), (-10, 10, 0.25)])
def test_values_use_the_whole_scale_and_keep_to_it(scale):
    ratings, _ = simulate_ratings(**SMALL, scale=scale, mean=(scale[0] + scale[1]) / 2, noise=5)
    assert ratings.scale == scale  # Ratings itself refuses what is off it
    assert (ratings.values.min(), ratings.values.max()) == scale[:2]


def test_no_factors_leave_biases():
    ratings, truth = simulate_ratings(**SMALL, n_factors=0)
    assert truth.n_factors == 0
    assert evaluate(truth, ratings).rmse < rmse(global_mean(ratings), ratings)


def test_a_nearly_full_matrix_is_drawn_at_once():
    """Rejection alone took 25 seconds for eight of nine million pairs; the whole takes two now."""
    ratings, _ = simulate_ratings(3000, 3000, 8_950_000, 0)
    assert (len(ratings), ratings.density) == (8_950_000, 8_950_000 / 9_000_000)


def test_a_mood_lasts_ten_minutes_and_is_a_share_of_the_noise():
    shape = {"n_users": 60, "n_items": 400, "n_ratings": 9000}
    ratings, truth = simulate.simulate(**shape, noise=1.0, mood=0.5, scale=(-20.0, 20.0, 0.0), seed=1)
    errors = ratings.values - simulate.predicted(truth, ratings.users, ratings.items)
    assert abs(errors.std() - 1) < 0.03
    assert (ratings.timestamps % simulate.PAGE == 0).all()
    mood, at = np.unique(ratings.users * 2**32 + ratings.timestamps // simulate.MOOD, return_inverse=True)
    between = np.bincount(at, errors) ** 2 - np.bincount(at, errors**2)  # sums over pairs of one mood
    pairs = np.bincount(at) * (np.bincount(at) - 1)
    assert abs(between.sum() / pairs.sum() - 0.5) < 0.05
