"""Checks of arguments that many functions take: an error names the value, the limit and the remedy."""

from __future__ import annotations

import operator
import os
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_SEED = 2**64 - 1  # of PyTorch's generators


def whole_number(name: str, value: Any, at_least: int | None = None, at_most: int | None = None) -> int:
    """`value` as an int of Python; a ValueError for anything that is none, too small or too large."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError("a truth value is no count")
        number = operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name}={value!r}: give a whole number, such as 20") from error
    if at_least is not None and number < at_least:
        raise ValueError(f"{name}={number}: it must be at least {at_least}")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name}={number}: it must be at most {at_most:,}")
    return number


def real_number(
    name: str, value: Any, above: float | None = None, at_least: float | None = None, at_most: float | None = None
) -> float:  # fmt: skip
    """`value` as a finite float; a ValueError for anything that is none, too small or too large."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value):
            raise TypeError("no number")
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}={value!r}: give a number, such as 0.1") from error
    if not abs(number) < float("inf"):
        raise ValueError(f"{name}={value!r}: it must be finite")
    if above is not None and not number > above:
        raise ValueError(f"{name}={value!r}: it must be above {above:g}")
    if at_least is not None and not number >= at_least:
        raise ValueError(f"{name}={value!r}: it must be at least {at_least:g}")
    if at_most is not None and not number <= at_most:
        raise ValueError(f"{name}={value!r}: it must be at most {at_most:g}")
    return number


def confidence(name: str, value: Any) -> float:
    """`value` as a share between 0 and 1, both excluded; a ValueError for anything else."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.complexfloating))
    if not (number and 0 < value < 1):
        raise ValueError(f"{name}={value!r}: choose a share between 0 and 1, such as 0.95")
    return float(value)


def one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """`value` if it is one of the options; a ValueError that lists them if not."""
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        *others, last = map(repr, options)
        raise ValueError(f"{name}={value!r}: choose {', '.join(others)} or {last}")
    return value


def yes_or_no(name: str, value: Any) -> bool:
    """`value` as a bool; a ValueError for anything else, which would count as yes or as a number."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: give True or False")
    return bool(value)


def file_path(name: str, value: Any) -> Path:
    """`value` as a path; a ValueError for anything that names no place."""
    try:
        path = os.fspath(value)
    except TypeError as error:
        raise ValueError(f"{name}={value!r}: give a path, such as 'runs/first'") from error
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError(f"{name}={value!r}: give a path, such as 'runs/first'")
    return Path(path)


def low_and_high(limits: Any) -> tuple[float, float]:
    """The first two of `limits`, in order; a ValueError for what are no limits. Either may be infinite."""
    try:
        low, high = map(float, limits[:2])
    except (TypeError, ValueError) as error:
        raise ValueError(f"limits={limits!r}: give (low, high), such as (1, 5)") from error
    if not low <= high:
        raise ValueError(f"limits={tuple(limits)}: give (low, high) with numbers, low not above high")
    return low, high


def require_memory(why: str, numbers: int, size: int = 8) -> None:
    """Raise ValueError if so many numbers of `size` bytes do not fit into what memory is free."""
    if numbers * size <= 1 << 28:  # a little always fits
        return
    import psutil

    if numbers * size > (free := psutil.virtual_memory().available):
        raise ValueError(
            f"{why}: that takes {numbers * size / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free; take less"
        )


def in_range(what: str, ids: Any, limit: int) -> np.ndarray:
    """`ids` as an array of integers within 0 … limit - 1; a ValueError names the first that is not."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        remedy = ": np.flatnonzero makes numbers of a mask" if ids.dtype == bool else ""
        raise ValueError(f"{what} numbers have type {ids.dtype}, expected integers{remedy}")
    bad = (ids < 0) | (ids >= limit)
    if bad.any():
        raise ValueError(f"{what} {ids[bad].flat[0]} is outside 0 … {limit - 1}")
    return ids


def refuse_first(what: str, values: np.ndarray, bad: np.ndarray, why: str, remedy: str = "") -> None:
    """Raise ValueError with the first of the `values` that is `bad`, and how many there are; nothing if none is."""
    if bad.any():
        at = int(bad.argmax())
        value = values.flat[at]
        value = value.item() if isinstance(value, np.generic) else value
        told = f"{value:g}" if isinstance(value, float) else reprlib.repr(value)
        raise ValueError(f"{what}[{at}] is {told}{why} ({int(bad.sum())} such){remedy}")


def require_one_each(what: str, shape: tuple[int, ...], n: int) -> None:
    """Raise ValueError unless what was returned for `n` pairs has the shape (n,)."""
    if tuple(shape) != (n,):
        raise ValueError(
            f"{what} returned shape {tuple(shape)} for {n} pairs, expected ({n},): "
            "(n, 1) minus (n,) would silently be (n, n)"
        )
