"""Averages, against loops over dictionaries."""

import numpy as np
import pytest

from mfhelpers import Ratings, average_biases, global_mean, item_means, simulate_ratings


@pytest.fixture(scope="module")
def train() -> Ratings:
    """200 ratings; of items 0, 1 and 7, and of users 2 and 9, there are none."""
    ratings, _ = simulate_ratings(25, 30, 260, min_per_user=5)
    kept = ~np.isin(ratings.items, [0, 1, 7]) & ~np.isin(ratings.users, [2, 9])
    return ratings[kept]


def damped_means(keys, offsets, damping) -> dict:
    groups: dict = {}
    for key, offset in zip(keys.tolist(), offsets, strict=True):
        groups.setdefault(key, []).append(offset)
    return {key: sum(group) / (len(group) + damping) for key, group in groups.items()}


def as_array(means: dict, n: int) -> np.ndarray:
    return np.array([means.get(key, 0.0) for key in range(n)])


def test_the_global_mean_for_everybody(train):
    model = global_mean(train)
    predictions = model.predict(np.arange(25)[:, None], np.arange(30))
    assert np.unique(predictions).tolist() == [pytest.approx(sum(train.values.tolist()) / len(train), abs=1e-14)]


@pytest.mark.parametrize("damping", [0, 0.5, 25])
def test_item_means_by_brute_force(train, damping):
    mean = np.mean(train.values.tolist())
    wanted = as_array(damped_means(train.items, train.values.tolist() - mean, damping), 30)
    model = item_means(train, damping)
    np.testing.assert_allclose(model.item_biases, wanted, atol=1e-12)
    assert not model.user_biases.any()
    assert model.mean == pytest.approx(mean)


@pytest.mark.parametrize("damping", [0, 0.5, 25])
def test_average_biases_by_brute_force(train, damping):
    offsets = train.values.tolist() - np.mean(train.values.tolist())
    items = damped_means(train.items, offsets, damping)
    rest = [offset - items[item] for offset, item in zip(offsets, train.items.tolist(), strict=True)]
    users = damped_means(train.users, rest, damping)
    model = average_biases(train, damping)
    np.testing.assert_allclose(model.item_biases, as_array(items, 30), atol=1e-12)
    np.testing.assert_allclose(model.user_biases, as_array(users, 25), atol=1e-12)


def test_without_damping_an_item_is_predicted_its_mean(train):
    model = item_means(train)
    for item in np.unique(train.items):
        assert model.predict(0, item) == pytest.approx(train.values[train.items == item].mean(), abs=1e-6)


@pytest.mark.parametrize("baseline", [item_means, average_biases])
@pytest.mark.parametrize("damping", [0, 10])
def test_what_was_not_rated_gets_no_bias(train, baseline, damping):
    model = baseline(train, damping)
    np.testing.assert_array_equal(model.item_biases[[0, 1, 7]], 0)
    np.testing.assert_array_equal(model.user_biases[[2, 9]], 0)
    assert model.predict(2, 7) == model.mean


@pytest.mark.parametrize("baseline", [item_means, average_biases])
def test_damping_draws_towards_the_mean(train, baseline):
    sizes = [np.linalg.norm(baseline(train, damping).item_biases) for damping in (0, 1, 10, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-6


@pytest.mark.parametrize("baseline", [item_means, average_biases])
@pytest.mark.parametrize("damping", [-1, -1e-9, float("nan")])
def test_negative_damping_is_refused(train, baseline, damping):
    with pytest.raises(ValueError, match=f"damping={damping}: it must be (finite|at least 0)"):
        baseline(train, damping)
