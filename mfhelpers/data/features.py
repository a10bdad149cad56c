"""What is known of users and items besides what they did: ages, occupations, years, genres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """A row of features for each user and each item; row n belongs to number n.

    What `features.users` and `features.items` give is a copy, so whoever changes one changes nothing here.

    Parameters
    ----------
    users, items : DataFrame or None
        The index is 0, 1, …; None where nothing is known of that side. Missing values are allowed.
        `from_arrays(…, user_features=, item_features=)` takes frames with labels as their index.

    Raises
    ------
    ValueError
        If one is no DataFrame, or its index is not 0, 1, ….
    """

    users: pd.DataFrame | None = None
    items: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        for side in ("users", "items"):
            frame = vars(self)[side]
            if frame is None:
                continue
            if not isinstance(frame, pd.DataFrame):
                raise ValueError(f"features of {side} are a {type(frame).__name__}: give a DataFrame or None")
            numbers = pd.RangeIndex(len(frame))
            if not frame.index.equals(numbers):
                raise ValueError(
                    f"the features of {side} have the index {frame.index[:3].tolist()}…, expected 0 … {len(frame) - 1}: "
                    "row n belongs to number n. from_arrays(…, user_features=, item_features=) takes labels"
                )
            object.__setattr__(self, side, frame.set_axis(numbers).copy())

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return value.copy() if isinstance(value, pd.DataFrame) else value

    def __repr__(self) -> str:
        told = (f"{len(f):,} {side}: {', '.join(map(str, f))}" for side, f in vars(self).items() if f is not None)
        return f"Features({'; '.join(told)})"

    def genre_flags(self) -> pd.DataFrame:
        """One bool column a genre, in alphabetical order, from the column `genres` of the items: "Comedy|Drama".

        Raises
        ------
        ValueError
            If the items have no such column.
        """
        items = vars(self)["items"]
        if items is None or "genres" not in items:
            raise ValueError(f"{self} has no genres: give the items a column 'genres' such as 'Comedy|Drama'")
        return flags_of(items["genres"])


def flags_of(genres: pd.Series) -> pd.DataFrame:
    """A bool column for each of the parts between "|"."""
    return genres.fillna("").str.get_dummies("|").astype(bool)


def require_rows(features: Any, n_users: int, n_items: int) -> None:
    """Raise ValueError unless these are `Features` with a row for each user and item."""
    if not isinstance(features, Features):
        raise ValueError(f"features is a {type(features).__name__}: give Features(users=…, items=…)")
    for side, n in (("users", n_users), ("items", n_items)):
        frame = vars(features)[side]
        if frame is not None and len(frame) != n:
            raise ValueError(f"the features of {side} have {len(frame)} rows, expected {n}: one for each number")


def in_order(what: str, frame: Any, ids: np.ndarray) -> pd.DataFrame | None:
    """The rows of a frame with labels as its index in the order of `ids`; missing values where there is none."""
    if frame is None:
        return None
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{what}_features is a {type(frame).__name__}: give a DataFrame with labels as its index")
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()].tolist()[0]
        raise ValueError(f"{what}_features has the label {twice!r} more than once: keep one row a label")
    if (frame.index.get_indexer(pd.Index(ids)) < 0).all():
        theirs, ours = (f"{labels[:1].tolist()} of type {labels.dtype}" for labels in (frame.index, ids))
        raise ValueError(
            f"no label of {what}_features is that of a {what}: its index begins with {theirs}, the {what}s with {ours}. "
            "Use labels of the same type: frame.set_index(the column that holds them)"
        )
    return frame.reindex(ids).reset_index(drop=True)
