"""Pooled errors, and the predictions that are refused."""

import numpy as np
import pytest

from mfhelpers import (
    BiasedMatrixFactorization,
    Factors,
    Ratings,
    average_biases,
    evaluate,
    global_mean,
    mae,
    rmse,
    simulate_ratings,
)


class Fixed:
    """A predictor that says always the same."""

    def __init__(self, predictions):
        self.predictions = predictions

    def predict(self, users, items):
        return self.predictions


TRUE = Ratings([0, 0, 1, 2], [0, 1, 1, 2], [1, 5, 3, 4], 3, 3, (1, 5, 1))


def test_errors_are_pooled():
    scores = evaluate(Fixed([2, 5, 3, 1]), TRUE)  # errors 1, 0, 0, -3
    assert scores.rmse == pytest.approx(np.sqrt(10 / 4), abs=1e-15)
    assert scores.mae == pytest.approx(1, abs=1e-15)
    assert (scores.n, scores.n_cold) == (4, None)
    assert str(scores) == "RMSE 1.581, MAE 1.000 (4 ratings)"
    assert (rmse(Fixed([2, 5, 3, 1]), TRUE), mae(Fixed([2, 5, 3, 1]), TRUE)) == (scores.rmse, scores.mae)


def test_many_float32_errors_are_summed_in_float64():
    n = 1 << 20
    ratings = Ratings(np.arange(n), np.zeros(n, int), np.full(n, 3), n, 1, (1, 5, 1))
    predictions = np.full(n, 3.3, np.float32)
    assert rmse(Fixed(predictions), ratings) == pytest.approx(float(np.float32(3.3)) - 3, rel=1e-12)


def test_clip_limits_predictions_to_the_scale():
    assert rmse(Fixed([-7.0, 9, 3, 4]), TRUE, clip=True) == 0
    assert mae(Fixed([-7.0, 9, 3, 4]), TRUE, clip=True) == 0
    assert rmse(Fixed([-7.0, 9, 3, 4]), TRUE) == pytest.approx(np.sqrt((64 + 16) / 4))


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (np.zeros((4, 1)), r"shape \(4, 1\) for 4 pairs, expected \(4,\)"),
        (np.zeros(3), r"shape \(3,\) for 4 pairs"),
        (3.5, r"shape \(\) for 4 pairs"),
        ([1, np.nan, np.nan, 4], "2 of 4 predictions are not finite"),
        ([1, np.inf, 3, 4], "1 of 4 predictions are not finite"),
    ],
)
@pytest.mark.parametrize("clip", [False, True])
def test_predictions_that_would_give_a_wrong_score_are_refused(predictions, message, clip):
    with pytest.raises(ValueError, match=message):
        evaluate(Fixed(predictions), TRUE, clip=clip)


def test_cold_pairs_are_counted():
    model = Factors(3, np.array([0.1, 0, 0]), np.array([0.2, 0.3, 0]), np.zeros((3, 0)), np.zeros((3, 0)))
    scores = evaluate(model, TRUE)  # users 1 and 2 and item 2 are cold: the last two pairs
    assert scores.n_cold == 2
    assert str(scores).endswith("(4 ratings, 2 cold)")
    assert evaluate(global_mean(TRUE), TRUE).n_cold == 0


def test_a_model_scores_as_its_factors_do():
    model = BiasedMatrixFactorization(3, 3, 2, mean=3.0)
    scores, wanted = evaluate(model, TRUE), evaluate(model.to_factors(), TRUE)
    assert (scores.rmse, scores.mae) == pytest.approx((wanted.rmse, wanted.mae), rel=1e-6)
    assert (scores.n, scores.n_cold) == (wanted.n, wanted.n_cold)


def test_a_model_is_scored_by_its_own_forward():
    class Shifted(BiasedMatrixFactorization):
        def forward(self, user, item):
            return super().forward(user, item) + 1

    class Column(BiasedMatrixFactorization):
        def forward(self, user, item):
            return super().forward(user, item)[:, None]

    plain, shifted = (kind(3, 3, 2, mean=2.0, init_std=0) for kind in (BiasedMatrixFactorization, Shifted))
    np.testing.assert_allclose(shifted.predict(TRUE.users, TRUE.items), plain.predict(TRUE.users, TRUE.items) + 1)
    assert rmse(shifted, TRUE) == pytest.approx(rmse(Fixed([3, 3, 3, 3]), TRUE))
    with pytest.raises(ValueError, match=r"forward returned shape \(4, 1\) for 4 pairs, expected \(4,\)"):
        rmse(Column(3, 3, 2), TRUE)


def test_factors_of_another_table_are_refused():
    """Read apart, two parts are numbered apart: 459 users of u1.test are not the first 459 of u1.base."""
    train, _ = simulate_ratings(30, 20, 300, seed=0)
    few, _ = simulate_ratings(20, 15, 100, seed=0)
    with pytest.raises(ValueError, match=r"30 users × 20 items, ratings has 20 × 15.*scale=train\.scale"):
        evaluate(average_biases(train), few)
