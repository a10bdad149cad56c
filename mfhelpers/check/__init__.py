"""Checks that a lesson makes before the reader's eyes; they raise AssertionError with what they saw."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.ratings import Ratings


def stated(ratings: Ratings, value: float, text: str) -> None:
    """Hold a measured value against the number that the text states.

    The text speaks about MovieLens: on simulated ratings nothing is compared.

    Parameters
    ----------
    ratings : Ratings
        What the value was measured on.
    value : float
    text : str
        The number as it stands in the text, "0.943". It may be off by one in its last place, since
        another machine adds in another order. Digits, with commas between thousands: an exponent
        would leave open which place is the last.

    Raises
    ------
    AssertionError
        If the value is another one.
    ValueError
        If `text` is no such number, on simulated ratings, too.
    """
    if not re.fullmatch(r"-?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?", text):
        raise ValueError(f"text={text!r} must be a number as a text states it, in digits: '0.943', '-0.002', '19,830'")
    if ratings.source != "movielens":
        return
    number = text.replace(",", "")
    tolerance = 1.001 * 10.0 ** -len(number.partition(".")[2])
    assert abs(value - float(number)) <= tolerance, f"the text says {text}, this machine measured {value:.6g}"


def on_movielens(ratings: Ratings, holds: bool, statement: str = "the statement of the text") -> None:
    """Require what the text says about MovieLens; on simulated ratings nothing is required.

    Raises
    ------
    AssertionError
        If it does not hold.
    """
    assert holds or ratings.source != "movielens", f"{statement} does not hold here"


def numerical_gradient(loss: Callable[[np.ndarray], float], at: Any, step: float = 1e-5) -> np.ndarray:
    """Gradient of `loss` by central differences, (loss(x + h) - loss(x - h)) / 2h in each direction.

    Parameters
    ----------
    loss : function of an array, returns a float
    at : array
        Where; taken as float64. Any shape.
    step : float
        h. Its square is the error left over; much smaller, and rounding takes over.

    Returns
    -------
    float64 array of the shape of `at`.
    """
    at = np.asarray(at, dtype=np.float64).copy()  # np.array of a tensor warns
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        kept = at[index]
        at[index] = kept + step
        above = loss(at)
        at[index] = kept - step
        gradient[index] = (above - loss(at)) / (2 * step)
        at[index] = kept
    return gradient


def same(got: Any, expected: Any, tolerance: float = 1e-6, what: str = "the two") -> float:
    """Require two arrays (or tensors) to agree; returns their largest difference.

    Raises
    ------
    AssertionError
        If the shapes differ, or an element by more than `tolerance` × (1 + its magnitude); the message
        has the place and the distance.
    """
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"{what}: shapes {got.shape} and {expected.shape}"
    off = np.abs(got - expected) / (1 + np.abs(expected))
    worst = np.unravel_index(np.argmax(off), off.shape) if off.size else ()
    assert not off.size or off[worst] <= tolerance, (
        f"{what} differ at {tuple(map(int, worst))}: {got[worst]:.6g} and {expected[worst]:.6g}, "
        f"{abs(got[worst] - expected[worst]):.1e} apart"
    )
    return float(np.abs(got - expected).max(initial=0.0))
