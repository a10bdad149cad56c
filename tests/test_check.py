"""The checks that lessons make: they pass what is right and fail what is wrong."""

import dataclasses

import numpy as np
import pytest
import torch

from mfhelpers import Ratings
from mfhelpers.check import numerical_gradient, on_movielens, same, stated

REAL = Ratings([0], [0], [3], 1, 1, (1, 5, 1), source="movielens")


@pytest.mark.parametrize(
    ("value", "text"), [(0.94349, "0.943"), (0.944, "0.943"), (0.942, "0.943"), (100_001, "100,000"), (-1.5, "-1.5")]
)
def test_stated_permits_one_in_the_last_place(value, text):
    stated(REAL, value, text)


@pytest.mark.parametrize(("value", "text"), [(0.9441, "0.943"), (100_002, "100,000"), (float("nan"), "1.0")])
def test_stated_refuses_another_number_and_names_both(value, text):
    with pytest.raises(AssertionError, match=f"the text says {text}, this machine measured {value:.6g}"):
        stated(REAL, value, text)


@pytest.mark.parametrize("source", ["simulated", "arrays"])
def test_stated_compares_nothing_on_other_data(source):
    stated(dataclasses.replace(REAL, source=source), 2.0, "1.0")


def test_on_movielens_requires_a_statement_of_movielens_alone():
    on_movielens(REAL, True)
    on_movielens(dataclasses.replace(REAL, source="simulated"), False)
    with pytest.raises(AssertionError, match="the order does not hold here"):
        on_movielens(REAL, False, "the order")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_numerical_gradient_of_a_polynomial(shape):
    at = np.asarray(np.random.default_rng(0).normal(size=shape))
    at.flags.writeable = False  # as the arrays of Factors are
    gradient = numerical_gradient(lambda x: float((x**3).sum() + x.sum() ** 2), at)
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient, 3 * at**2 + 2 * at.sum(), atol=1e-8)


def test_numerical_gradient_takes_integers_as_float64():
    np.testing.assert_allclose(numerical_gradient(lambda x: float(x @ x), [1, 2]), [2, 4], atol=1e-8)


def test_same_returns_the_largest_difference():
    assert same(torch.tensor([1.0, 100.0]), np.array([1.0, 100.5]), tolerance=0.01) == 0.5
    assert same([], []) == 0


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        ([1.0, 2.0], [1.0, 2.1], r"the two differ at \(1,\): 2 and 2.1, 1.0e-01 apart"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], r"the two differ at \(1, 0\): nan and 2"),
        ([1.0], 1.0, r"the two: shapes \(1,\) and \(\)"),
    ],
)
def test_same_names_the_place(got, expected, message):
    with pytest.raises(AssertionError, match=message):
        same(got, expected)


def test_same_is_relative_for_large_numbers_and_absolute_for_small():
    same(1e6, 1e6 + 0.5)
    same(1e-9, 0)
    with pytest.raises(AssertionError, match="the ranks"):
        same(1e6, 1e6 + 2, what="the ranks")
