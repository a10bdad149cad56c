"""The one type that ratings travel in: who rated what, how high, and when."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .arguments import real_number, refuse_first
from .columns import amounts
from .features import Features
from .interactions import (
    HOW_TO_MAKE,
    Interactions,
    _read_only,
    require_interactions as require_interactions,
    require_same_labels as require_same_labels,  # where the modules above look for it
)


class Scale(NamedTuple):
    """The values a rating may take: from `low` to `high` in steps of `step` (0: anything between)."""

    low: float
    high: float
    step: float = 0.0

    def __str__(self) -> str:
        steps = f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{steps}"


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Ratings(Interactions):
    """Ratings as a list of (user, item, value), with the labels that belong to the numbers.

    The arrays are checked when the object is made and read-only afterwards, so a `Ratings` that
    exists is valid. `ratings[index]` selects ratings and keeps the numbering of users and items;
    that is why a train and a test part can be compared. Ratings are `Interactions` too.

    Parameters
    ----------
    users, items : int64 arrays, shape (n,)
        Row and column numbers, 0 ≤ users < n_users and 0 ≤ items < n_items.
    values : float32 array, shape (n,)
        The ratings, within `scale`.
    n_users, n_items : int
        Size of the whole matrix, users and items without a rating included.
    scale : Scale or (low, high, step)
        Permitted values, in stars. A step of 0 permits any value in between.
    timestamps : int64 array, shape (n,), optional
        Seconds since 1970, UTC.
    user_ids, item_ids : arrays, shapes (n_users,) and (n_items,), optional
        The labels that the data set uses; the default is the numbers themselves.
    titles, genres : str arrays, shape (n_items,), optional
        A film's title, and its genres joined by ``|``.
    folds : int8 array, shape (n,), optional
        The data set's own cross-validation: the fold in which a rating is a test rating.
    name, source : str
        Which data set, and where it came from: "movielens", "simulated" or "arrays".
    features : Features, optional
        What is known of users and items besides: a row for each.

    Raises
    ------
    ValueError
        For no ratings at all, unequal lengths, a number out of range, NaN, a value off the scale,
        or a (user, item) pair that occurs twice.
    """

    values: np.ndarray
    scale: Scale
    weights: np.ndarray | None = dataclasses.field(default=None, init=False)  # ratings have values instead

    _KIND, _ONE, _DOES, _AMOUNTS, _COLUMN = "a Ratings", "rating", "rates", "values", "rating"
    _OPTIONAL: ClassVar[tuple[str, ...]] = ("timestamp",)

    # written out, since a dataclass would put the fields of Interactions first
    def __init__(
        self, users: ArrayLike, items: ArrayLike, values: ArrayLike, n_users: int, n_items: int, scale: Scale | tuple,
        timestamps: ArrayLike | None = None, user_ids: ArrayLike | None = None, item_ids: ArrayLike | None = None,
        titles: ArrayLike | None = None, genres: ArrayLike | None = None, folds: ArrayLike | None = None,
        name: str = "ratings", source: str = "arrays", features: Features | None = None,
    ) -> None:  # fmt: skip
        given = dict(locals())
        del given["self"]
        vars(self).update(given)  # frozen: not by assignment
        self.__post_init__()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checked_scale(self.scale))
        object.__setattr__(self, "values", _checked_values(self.values, self.scale))
        Interactions.__post_init__(self)  # super() would put its cell among the locals

    @classmethod
    def from_arrays(  # pyrefly: ignore[bad-override]  # values, where interactions have weights
        cls, users: Any, items: Any, values: Any, timestamps: Any = None, *,
        scale: Scale | tuple | None = None, duplicates: str = "raise", user_ids: Any = None, item_ids: Any = None,
        titles: dict[Any, str] | None = None, genres: dict[Any, str] | None = None,
        user_features: pd.DataFrame | None = None, item_features: pd.DataFrame | None = None, **fields: Any,
    ) -> Self:  # fmt: skip
        """Make `Ratings` from labels of any kind: raw ids, names, strings.

        Parameters
        ----------
        users, items, values, timestamps : array-likes, shape (n,)
            Labels are numbered in sorted order and kept in `user_ids` and `item_ids`; those of one
            side are all of one kind, text or whole numbers or others. Times are seconds since 1970 or
            dates; those without a time zone count as UTC. A warning says if all lie in 1970.
        scale : Scale or (low, high, step), optional
            Taken from the values if not given: their minimum, maximum and, for whole and half
            stars, the step. Give it if the extremes may be missing: a wrong scale clips silently.
        duplicates : {"raise", "last", "mean"}
            What to do with a (user, item) pair that occurs more than once. A mean may fall between
            the steps of a scale; one that is given needs a step that permits it, such as 0. The last
            is the latest by time, and of those at one time or without times the last row.
        user_ids, item_ids : array-likes of labels, optional
            Fix the numbering: a test part from a file of its own takes those of the training part.
        titles, genres : dict from item label to text, optional
            Items that are not in the dictionary get their label as a title, and no genre; where no
            label is in it, the types are told.
        user_features, item_features : DataFrames, optional
            The index holds labels, in any order. Other labels are left out, those without a row get
            missing values; where no label fits at all, the types are told.
        **fields
            `name`, `source`, `folds`, `features` as in the class.

        Raises
        ------
        ValueError
            For labels that are missing, mixed, or not among those given; for unequal lengths, and
            all that the class itself refuses.
        """
        values = amounts("values", values)
        columns = {"values": values, "timestamps": timestamps}
        ids, described, features = (user_ids, item_ids), (titles, genres), (user_features, item_features)
        given = cls._gathered((users, items), columns, ids, described, features, fields, duplicates, "mean")
        return cls(**given, scale=_guessed_scale(values, given["values"]) if scale is None else scale)

    @classmethod
    def from_frame(  # pyrefly: ignore[bad-override-param-name]
        cls, frame: Any, user: str = "user", item: str = "item", rating: str = "rating", timestamp: str | None = None, **options: Any
    ) -> Self:  # fmt: skip
        """Make `Ratings` from the named columns of a data frame, as `Interactions.from_frame` does."""
        return super().from_frame(frame, user, item, rating, timestamp, **options)

    def __len__(self) -> int:
        return len(self.values)

    def to_interactions(
        self, at_least: float | None = None, weights: Callable[[np.ndarray], Any] | None = None
    ) -> Interactions:
        """Forget the values: which pairs count as positive, and how much?

        Parameters
        ----------
        at_least : float, optional
            Pairs with this value or a higher one, in stars; None takes all that is rated.
        weights : function of an array of values, optional
            Gives each pair its weight, above 0, as in ``lambda stars: 1.25 ** (stars - 3)``; without it each counts 1.

        Returns
        -------
        Interactions
            All the rest stays, users and items that no pair is left of included.

        Raises
        ------
        ValueError
            If no rating is that high, or for weights that are not one positive number each.
        """
        if weights is not None and not callable(weights):
            raise ValueError(f"weights={weights!r}: give a function of the values, lambda stars: 1.25 ** (stars - 3)")
        high = np.ones(len(self), bool)
        if at_least is not None:
            high = self.values >= np.float32(real_number("at_least", at_least))
        if not high.any():
            raise ValueError(
                f"at_least={at_least}: no rating of {self.name} is that high, the highest is {self.values.max():g}"
            )
        chosen = self[high]
        fields: dict[str, Any] = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(Interactions)}
        if weights is not None:
            fields["weights"] = weights(np.array(chosen.values))
        return Interactions(**fields)

    def _spread(self) -> str:
        return str(self.scale)


# -- checks --------------------------------------------------------------------------------------


def require_ratings(name: str, given: Any) -> None:
    """Raise ValueError unless an argument is `Ratings`: no list, table, sparse matrix or DataLoader."""
    if not isinstance(given, Ratings):
        raise ValueError(f"{name} is {type(given).__name__}: give Ratings; {HOW_TO_MAKE}")


def positives(name: str, given: Any, at_least: float | None) -> Interactions:
    """What counts as chosen: interactions as they are, of ratings those from `at_least` stars; a ValueError for others."""
    require_interactions(name, given)
    if isinstance(given, Ratings):
        return given.to_interactions(at_least)
    if at_least is not None:
        raise ValueError(f"at_least={at_least}: the {name} part has no stars, so all of it counts")
    return given


def checked_scale(scale: Any) -> Scale:
    try:
        if isinstance(scale, (str, bytes, dict, set)):
            raise TypeError("no numbers in an order")
        low, high, step = scale = Scale(*map(float, scale))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"scale={scale!r}: give (low, high, step), such as (1, 5, 1)") from error
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.array(scale, np.float32)).all()
    if not (finite and low <= high and step >= 0):
        raise ValueError(f"scale={tuple(scale)}: all finite, low not above high, the step not negative")
    return scale


def _checked_values(values: Any, scale: Scale) -> np.ndarray:
    values = amounts("values", values)
    values = _read_only(values, None, len(values) if values.ndim else 1, "values")
    off = (values < scale.low) | (values > scale.high)
    if scale.step:
        steps = (values.astype(np.float64) - scale.low) / scale.step
        # a float32 may lie half its spacing beside the number that was meant: much, in units of a fine step
        off |= np.abs(steps - np.rint(steps)) > 1e-4 + np.spacing(np.abs(values)) / scale.step
    refuse_first("values", values, off, f", off the scale {scale}")
    return values


def _guessed_scale(values: np.ndarray, merged: np.ndarray) -> Scale:
    """The extremes of `values`, and a step that `merged`, means of duplicates, keep to as well."""
    steps = (step for step in (1.0, 0.5) if not ((values % step).any() or (merged % step).any()))
    return Scale(float(values.min()), float(values.max()), next(steps, 0.0))
