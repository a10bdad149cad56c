"""Checks of arguments that many functions take: an error names the value, the limit and the remedy."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def whole_number(name: str, value: Any) -> int:
    """`value` as an int of Python; a ValueError for anything that is none."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError("a truth value is no count")
        return operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name}={value!r}: give a whole number, such as 20") from error


def in_range(what: str, ids: Any, limit: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        remedy = ": np.flatnonzero makes numbers of a mask" if ids.dtype == bool else ""
        raise ValueError(f"{what} numbers have type {ids.dtype}, expected integers{remedy}")
    bad = (ids < 0) | (ids >= limit)
    if bad.any():
        raise ValueError(f"{what} {ids[bad].flat[0]} is outside 0 … {limit - 1}")
    return ids


def require_one_each(what: str, shape: tuple[int, ...], n: int) -> None:
    """Raise ValueError unless what was returned for `n` pairs has the shape (n,)."""
    if tuple(shape) != (n,):
        raise ValueError(
            f"{what} returned shape {tuple(shape)} for {n} pairs, expected ({n},): "
            "(n, 1) minus (n,) would silently be (n, n)"
        )
