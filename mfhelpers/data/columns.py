"""Columns that are handed in, as arrays in which each value is still what it was; what is bent in silence elsewhere is refused."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .arguments import refuse_first

LONGEST = 1_000  # characters of a label or title: NumPy gives each the room of the longest
GAP = ": leave out what was not rated, a list has no gaps"
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
IN_1970 = range(315_000, 365 * 86_400)  # seconds, from a thousandth of 1980 on


def as_array(what: str, given: Any, dtype: Any = None) -> np.ndarray:
    """`given` as an array; a ValueError for masked values, and for what makes none."""
    if isinstance(given, np.ma.MaskedArray):
        refuse_first(what, given.data, np.ma.getmaskarray(given), ", masked as missing", ": leave such rows out")
        given = given.data
    try:
        return np.asarray(given, dtype)
    except Exception as error:  # ragged lists, tensors with a gradient or on a GPU, and what else there is
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{what} makes no array ({reason}): give a list or an array, one value a row") from error


def amounts(what: str, given: Any) -> np.ndarray:
    """Ratings or weights as float32, text that reads as numbers included."""
    array = as_array(what, given)
    if array.dtype.kind in "OUST":
        array = _parsed(what, array)
    elif array.dtype.kind not in "iuf":
        remedy = ": Interactions holds what is yes or no" if array.dtype == bool else ""
        raise ValueError(f"{what} has type {array.dtype}, expected numbers{remedy}")
    refuse_first(what, array, ~np.isfinite(array), "", GAP)
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, copy=False)
    refuse_first(what, array, ~np.isfinite(numbers), ", beyond the largest float32, 3.4e+38", ": rescale them")
    return numbers


def _parsed(what: str, given: np.ndarray) -> np.ndarray:
    """Objects and text as float64: gaps become NaN, and what is no number is refused."""

    def number(value: Any) -> float:
        if isinstance(value, (bool, np.bool_, complex, np.complexfloating, np.timedelta64, np.datetime64)):
            raise TypeError("bent in silence")
        return float("nan") if value is None or value is pd.NA or value is pd.NaT else float(value)

    numbers, bad = np.empty(given.shape), np.zeros(given.shape, bool)
    for at, value in np.ndenumerate(given):
        try:
            numbers[at] = number(value)
        except (TypeError, ValueError, ArithmeticError):
            bad[at] = True
    if bad.any():
        first = given[bad].flat[0]
        remedy = ": give numbers"
        if isinstance(first, str) and "," in first:
            remedy = ": read_csv(…, decimal=',') reads decimal commas"
        elif isinstance(first, str) and not first.strip():
            remedy = GAP
        elif isinstance(first, str) and bad.flat[0] and bad.sum() == 1:
            remedy = ": if this is the header of a file, read it as one, read_csv(…, header=0)"
        refuse_first(what, given, bad, ", no number", remedy)
    return numbers


def seconds(what: str, given: Any) -> np.ndarray:
    """Times as they are, dates as seconds since 1970; dates without a time zone count as UTC."""
    if isinstance(getattr(given, "dtype", None), pd.DatetimeTZDtype):
        given = pd.DatetimeIndex(given).tz_convert(None)
    array = as_array(what, given)
    remedy = ": pd.to_datetime(…) makes dates, which are taken; whole numbers are seconds since 1970"
    if array.dtype.kind in "OUST" and array.size:
        refuse_first(what, array, pd.isna(array), "", ": leave out what has no time")
        if all(isinstance(value, (datetime.date, np.datetime64)) for value in array.flat):
            array = _moments(what, array)
        else:
            whole = (isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in array.flat)
            refuse_first(what, array, ~np.fromiter(whole, bool, array.size), ", no time", remedy)
            beyond = np.array([not -(2**63) <= value < 2**63 for value in array.flat])
            refuse_first(what, array, beyond, ", beyond the year 9999 in any unit", remedy)
            array = array.astype(np.int64)
    if array.dtype.kind == "M":
        refuse_first(what, array, np.isnat(array), ", no time", ": leave out what has no time")
        years = array.astype("datetime64[Y]").astype(np.int64) + 1970
        refuse_first(what, years, (years < 1) | (years > 9999), ", a year outside 1 … 9999", remedy)
        array = array.astype("datetime64[s]").astype(np.int64)
    if array.dtype.kind in "iu":
        refuse_far_times(what, array)
    return array


def warn_of_1970(times: np.ndarray) -> None:
    """Say so if all times are what dates since 1980 become when a factor of 1,000 is lost."""
    if times.dtype.kind in "iu" and times.size and int(times.min()) in IN_1970 and int(times.max()) in IN_1970:
        warnings.warn(
            f"all timestamps lie in 1970, from {times.min()} to {times.max()} s: if dates were divided by too much (pandas 3 "
            "counts microseconds), give the dates themselves",
            stacklevel=4,
        )


def refuse_far_times(what: str, times: np.ndarray) -> None:
    why = ", in seconds a day before the year 1 or beyond the year 9999"
    remedy = ": divide by 1000 if these are milliseconds, by 1,000,000 if microseconds"
    refuse_first(what, times, (times < FIRST_SECOND) | (times > LAST_SECOND), why, remedy)


def _moments(what: str, dates: np.ndarray) -> np.ndarray:
    try:
        return pd.DatetimeIndex(pd.to_datetime(dates, utc=True)).tz_localize(None).to_numpy()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} holds dates that cannot be read ({error}): give seconds since 1970") from error


def labels(what: str, given: Any) -> np.ndarray:
    """Labels as an array in which each is still what it was.

    NumPy alone would make 'nan' of a gap between strings, "1" of a 1 between them, one float64
    of two large integers, and 'a' of 'a\\0'.
    """
    array = as_array(f"{what} labels", given, None if hasattr(given, "__array__") else object)
    if array.dtype.kind == "T":
        array = array.astype(object)
    if array.ndim != 1 or not len(array):
        return array
    if (missing := pd.isna(array)).any():
        raise ValueError(f"{what} label {int(missing.argmax())} is missing (NaN or None): leave such rows out")
    if array.dtype == object:
        array = _of_one_kind(what, array)
    if array.dtype.kind in "cV":
        raise ValueError(f"{what} labels have type {array.dtype}: use text or whole numbers")
    if array.dtype.kind == "f":
        limit = 2.0 ** (np.finfo(array.dtype).nmant + 1)
        lost = f", a float beyond {limit:.0f}, where different numbers have become one"
        remedy = ": read them as text, read_csv(…, dtype={'column': str}), or as 'Int64'"
        refuse_first(f"{what} labels", array, ~(np.abs(array) < limit), lost, remedy)
    return array


def _of_one_kind(what: str, array: np.ndarray) -> np.ndarray:
    values = array.tolist()
    examples = {_kind(kind): kind for kind in dict.fromkeys(map(type, values))}
    if len(examples) > 1:
        told = " and ".join(repr(next(label for label in values if type(label) is t)) for t in examples.values())
        raise ValueError(f"{what} labels are of several kinds, such as {told}: make them all of one")
    (kind,) = examples
    if kind is str:
        refuse_texts(f"{what} label", values)
    dtypes = {str: str, int: np.int64, float: np.float64}
    try:
        {hash(value) for value in values if kind not in dtypes}
        return array.astype(dtypes.get(kind, object))
    except TypeError as error:
        raise ValueError(f"{what} labels are of type {kind.__name__}: use text or whole numbers") from error
    except OverflowError:  # integers beyond int64 stay as they are
        return array


def _kind(kind: type) -> type:
    """NumPy's scalars count as Python's; a bool is no number here."""
    kinds = {str: str, np.bool_: bool, bool: bool, int: int, np.integer: int, float: float, np.floating: float}
    return next((plain for base, plain in kinds.items() if issubclass(kind, base)), kind)


def refuse_texts(what: str, texts: list[str]) -> None:
    """Raise ValueError for text that NumPy would cut, or that would take its memory."""
    for at, text in enumerate(texts):
        if len(text) > LONGEST:
            raise ValueError(f"{what} {at} has {len(text):,} characters, at most {LONGEST:,} are taken: shorten it")
        if text.endswith("\0"):
            raise ValueError(f"{what} {at} is {text!r}: NumPy drops a zero character at the end, so remove it")


def texts(what: str, given: Any, ids: np.ndarray, default: Any) -> np.ndarray | None:
    """The text of each item, from a dict by label; `default` makes one of the label of an item that is not in it."""
    if given is None:
        return None
    if not isinstance(given, (Mapping, pd.Series)):
        raise ValueError(f"{what} is a {type(given).__name__}: give a dict from item label to text")
    items = ids.tolist()
    if len(given) and not any(label in given for label in items):
        theirs, ours = (f"{label!r} of type {type(label).__name__}" for label in (next(iter(given.keys())), items[0]))
        raise ValueError(f"no label in {what} is that of an item: it begins with {theirs}, the items with {ours}")
    found = [given[label] if label in given else default(label) for label in items]
    for label, text in zip(items, found, strict=True):
        if not isinstance(text, str):
            raise ValueError(f"{what}[{label!r}] is {text!r}: give text")
    refuse_texts(what, found)
    return np.array(found)
