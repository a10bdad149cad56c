"""The one type that ratings travel in: who rated what, how high, and when."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

if TYPE_CHECKING:
    import torch

PER_RATING = ("users", "items", "values", "timestamps", "folds")
LAST_SECOND = 253_402_300_799  # of the year 9999


class Scale(NamedTuple):
    """The values a rating may take: from `low` to `high` in steps of `step` (0: anything between)."""

    low: float
    high: float
    step: float = 0.0

    def __str__(self) -> str:
        steps = f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{steps}"


@dataclass(frozen=True, eq=False, repr=False)
class Ratings:
    """Ratings as a list of (user, item, value), with the labels that belong to the numbers.

    The arrays are checked when the object is made and read-only afterwards, so a `Ratings` that
    exists is sound. `ratings[index]` selects ratings and keeps the numbering of users and items;
    that is why a train and a test part can be compared.

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

    Raises
    ------
    ValueError
        For no ratings at all, unequal lengths, a number out of range, NaN, a value off the scale,
        or a (user, item) pair that occurs twice.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_users: int
    n_items: int
    scale: Scale
    timestamps: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    item_ids: np.ndarray | None = None
    titles: np.ndarray | None = None
    genres: np.ndarray | None = None
    folds: np.ndarray | None = None
    name: str = "ratings"
    source: str = "arrays"

    def __post_init__(self) -> None:
        n = len(self.values)
        if n == 0:
            raise ValueError("there is no rating in this selection: a Ratings holds at least one")
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        put("scale", _checked_scale(self.scale))
        for field, limit in (("users", self.n_users), ("items", self.n_items)):
            put(field, _checked_ids(field, getattr(self, field), limit, n))
        put("values", _checked_values(self.values, self.scale))
        for field, dtype in (("timestamps", np.int64), ("folds", np.int8)):
            if getattr(self, field) is not None:
                put(field, _integers(field, getattr(self, field), dtype, n))
        _refuse_milliseconds(self.timestamps)
        for field, length in (("user_ids", self.n_users), ("item_ids", self.n_items)):
            labels = getattr(self, field)
            put(field, _read_only(np.arange(length) if labels is None else labels, None, length, field))
        for field in ("titles", "genres"):
            if getattr(self, field) is not None:
                put(field, _read_only(getattr(self, field), None, self.n_items, field))
        _refuse_duplicates(self.users, self.items, self.n_items)

    # -- construction ----------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        users: Any,
        items: Any,
        values: Any,
        timestamps: Any = None,
        *,
        scale: Scale | tuple | None = None,
        duplicates: str = "raise",
        user_ids: Any = None,
        item_ids: Any = None,
        titles: dict[Any, str] | None = None,
        genres: dict[Any, str] | None = None,
        **fields: Any,
    ) -> Ratings:
        """Make `Ratings` from labels of any kind: raw ids, names, strings.

        Parameters
        ----------
        users, items, values, timestamps : array-likes, shape (n,)
            Labels are numbered in sorted order and kept in `user_ids` and `item_ids`; those of one
            side are all of one kind, text or whole numbers or others.
        scale : Scale or (low, high, step), optional
            Taken from the values if not given: their minimum, maximum and, for whole and half
            stars, the step. Give it if the extremes may be missing: a wrong scale clips silently.
        duplicates : {"raise", "last", "mean"}
            What to do with a (user, item) pair that occurs more than once. A mean may fall between
            the steps of a scale; one that is given needs a step that permits it, such as 0.
        user_ids, item_ids : array-likes of labels, optional
            Fix the numbering: a test part from a file of its own takes those of the training part.
        titles, genres : dict from item label to text, optional
            Items that are not in the dictionary get their label as a title, and no genre.
        **fields
            `name`, `source`, `folds` as in the class.

        Raises
        ------
        ValueError
            For labels that are missing, mixed, or not among those given; for unequal lengths, and
            all that the class itself refuses.
        """
        users, items = _labels("user", users), _labels("item", items)
        values = np.asarray(values, dtype=np.float32)
        extras = {"timestamps": timestamps, "folds": fields.pop("folds", None)}
        extras = {field: np.asarray(array) for field, array in extras.items() if array is not None}
        _same_lengths(users=users, items=items, values=values, **extras)
        if len(values) == 0:
            raise ValueError("there is no rating in these arrays: a Ratings holds at least one")
        _refuse_missing(values)
        user_numbers, user_ids = _numbered("user", users, user_ids)
        item_numbers, item_ids = _numbered("item", items, item_ids)
        if duplicates not in ("raise", "last", "mean"):
            raise ValueError(f"duplicates={duplicates!r}: choose 'raise', 'last' or 'mean'")
        columns = {"users": user_numbers, "items": item_numbers, "values": values, **extras}
        if duplicates != "raise":
            columns = _merge_duplicates(columns, len(item_ids), duplicates)
        return cls(
            **columns,
            n_users=len(user_ids),
            n_items=len(item_ids),
            scale=_guessed_scale(values, columns["values"]) if scale is None else scale,
            user_ids=user_ids,
            item_ids=item_ids,
            titles=None if titles is None else np.array([titles.get(i, str(i)) for i in item_ids.tolist()]),
            genres=None if genres is None else np.array([genres.get(i, "") for i in item_ids.tolist()]),
            **fields,
        )

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        user: str = "user",
        item: str = "item",
        rating: str = "rating",
        timestamp: str | None = None,
        **options: Any,
    ) -> Ratings:
        """Make `Ratings` from the named columns of a data frame; `options` as in `from_arrays`.

        Raises
        ------
        KeyError
            If a column is missing; the message lists those that are there.
        """
        wanted = [user, item, rating] + ([timestamp] if timestamp else [])
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise KeyError(f"no column {missing[0]!r}; the frame has {list(frame.columns)}")
        arrays = [frame[column].to_numpy() for column in wanted]
        return cls.from_arrays(*arrays, **options)

    # -- use -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Ratings:
        """Select ratings by a slice, a mask or positions; users, items and labels stay as they are."""
        if np.ndim(index) == 0 and not isinstance(index, slice):
            index = [index]
        columns = {f: getattr(self, f)[index] for f in PER_RATING if getattr(self, f) is not None}
        return dataclasses.replace(self, **columns)

    @property
    def density(self) -> float:
        """Share of the user × item matrix that is rated, 0 to 1."""
        return len(self) / (self.n_users * self.n_items)

    @cached_property
    def user_counts(self) -> np.ndarray:
        """Number of ratings of each user, shape (n_users,)."""
        return _read_only(np.bincount(self.users, minlength=self.n_users), None, self.n_users, "user_counts")

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Number of ratings of each item, shape (n_items,)."""
        return _read_only(np.bincount(self.items, minlength=self.n_items), None, self.n_items, "item_counts")

    def to_csr(self) -> scipy.sparse.csr_array:
        """The ratings as a sparse matrix, shape (n_users, n_items), float32."""
        return scipy.sparse.csr_array((self.values, (self.users, self.items)), shape=(self.n_users, self.n_items))

    def to_tensors(self, device: Any = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Copies of users, items (int64) and values (float32) as tensors on `device`."""
        import torch

        return tuple(torch.tensor(array, device=device) for array in (self.users, self.items, self.values))

    def __repr__(self) -> str:
        return (
            f"Ratings({self.name}, {self.source}: {len(self):,} ratings, {self.n_users:,} users × "
            f"{self.n_items:,} items, {self.scale})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the shape in words, and the first five ratings."""
        head = self[:5]
        table = {"user": head.user_ids[head.users], "item": head.item_ids[head.items]}
        if self.titles is not None:
            table["title"] = head.titles[head.items]
        table["rating"] = head.values
        if self.timestamps is not None:
            table["when"] = pd.to_datetime(head.timestamps, unit="s").strftime("%Y-%m-%d")
        origin = "SIMULATED, not real ratings" if self.source == "simulated" else self.source
        return (
            f"<p><b>{html.escape(self.name)}</b> ({html.escape(origin)}): {len(self):,} ratings by "
            f"{self.n_users:,} users of {self.n_items:,} items, {self.density:.2%} of all pairs; "
            f"{self.scale}, mean {self.values.mean(dtype=np.float64):.2f}. The first {len(head)}:</p>"
            + pd.DataFrame(table).to_html(index=False, border=0)
        )


# -- checks --------------------------------------------------------------------------------------


def _checked_scale(scale: Any) -> Scale:
    try:
        low, high, step = scale = Scale(*map(float, scale))
    except (TypeError, ValueError) as error:
        raise ValueError(f"scale={scale!r}: give (low, high, step), such as (1, 5, 1)") from error
    if not (np.isfinite([low, high, step]).all() and low <= high and step >= 0):
        raise ValueError(f"scale={tuple(scale)}: all finite, low not above high, the step not negative")
    return scale


def _read_only(array: Any, dtype: Any, length: int, what: str) -> np.ndarray:
    array = np.asarray(array, dtype=dtype)  # np.array of a tensor warns
    if array.flags.writeable or not array.flags.owndata:  # else it is shared: the parts of a whole have its labels
        array = array.copy()
    if array.shape != (length,):
        raise ValueError(f"{what} has shape {array.shape}, expected ({length},)")
    array.flags.writeable = False
    return array


def _integers(what: str, array: Any, dtype: Any, n: int) -> np.ndarray:
    given = np.asarray(array)
    if given.dtype.kind not in "iu":
        meant = {"timestamps": "seconds since 1970", "folds": "the number of a fold"}
        remedy = meant.get(what, "Ratings.from_arrays numbers labels")
        raise ValueError(f"{what} has type {given.dtype}, expected integers: {remedy}")
    array = _read_only(given, dtype, n, what)
    # a cast to fewer bits wraps around in silence
    if (array != given).any():
        at = int((array != given).argmax())
        raise ValueError(f"{what}[{at}] is {given[at]}, beyond the largest {np.dtype(dtype)}, {np.iinfo(dtype).max}")
    return array


def _refuse_milliseconds(timestamps: np.ndarray | None) -> None:
    if timestamps is not None and (timestamps > LAST_SECOND).any():
        at = int((timestamps > LAST_SECOND).argmax())
        raise ValueError(
            f"timestamps[{at}] is {timestamps[at]}, in seconds a day beyond the year 9999: "
            "divide by 1000 if these are milliseconds, by 1,000,000 if microseconds"
        )


def _checked_ids(what: str, ids: Any, limit: int, n: int) -> np.ndarray:
    ids = _integers(what, ids, np.int64, n)
    bad = (ids < 0) | (ids >= limit)
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(
            f"{what}[{at}] is {ids[at]}, outside 0 … {limit - 1} ({int(bad.sum())} such): "
            f"Ratings.from_arrays numbers any labels"
        )
    return ids


def _refuse_missing(values: np.ndarray) -> None:
    missing = ~np.isfinite(values)
    if missing.any():
        raise ValueError(
            f"values[{int(missing.argmax())}] is {values[missing.argmax()]} ({int(missing.sum())} such): "
            "leave out what was not rated, a list has no gaps"
        )


def _checked_values(values: Any, scale: Scale) -> np.ndarray:
    values = _read_only(values, np.float32, len(values), "values")
    _refuse_missing(values)
    off = (values < scale.low) | (values > scale.high)
    if scale.step:
        steps = (values.astype(np.float64) - scale.low) / scale.step
        # a float32 may lie half its spacing beside the number that was meant: much, in units of a fine step
        off |= np.abs(steps - np.rint(steps)) > 1e-4 + np.spacing(np.abs(values)) / scale.step
    if off.any():
        at = int(off.argmax())
        raise ValueError(f"values[{at}] is {values[at]:g}, off the scale {scale} ({int(off.sum())} such)")
    return values


def _refuse_duplicates(users: np.ndarray, items: np.ndarray, n_items: int) -> None:
    keys = users * np.int64(n_items) + items
    keys.sort()
    twice = keys[1:] == keys[:-1]
    if twice.any():
        user, item = divmod(int(keys[twice.argmax()]), n_items)
        raise ValueError(
            f"user {user} rates item {item} more than once ({int(twice.sum())} such): "
            "Ratings.from_arrays(…, duplicates='last') keeps the last"
        )


def _same_lengths(**arrays: np.ndarray) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"the arrays must be one-dimensional and equally long, not {shapes}")


def _labels(what: str, given: Any) -> np.ndarray:
    """Labels as an array in which each is still what it was.

    NumPy alone would make 'nan' of a gap between strings, "1" of a 1 between them, and one float64
    of two large integers.
    """
    labels = np.asarray(given, dtype=None if hasattr(given, "__array__") else object)
    if labels.ndim == 1 and pd.isna(labels).any():
        raise ValueError(f"{what} label {int(pd.isna(labels).argmax())} is missing (NaN or None)")
    if labels.dtype != object or labels.ndim != 1 or not len(labels):
        return labels
    examples = {_kind(kind): kind for kind in dict.fromkeys(map(type, labels.tolist()))}
    if len(examples) > 1:
        told = " and ".join(repr(next(label for label in labels if type(label) is t)) for t in examples.values())
        raise ValueError(f"{what} labels are of several kinds, such as {told}: make them all of one")
    dtypes = {str: str, int: np.int64, float: np.float64}
    try:
        return labels.astype(dtypes.get(next(iter(examples)), object))
    except OverflowError:  # integers beyond int64 stay as they are
        return labels


def _kind(kind: type) -> type:
    """NumPy's scalars count as Python's; a bool is no number here."""
    kinds = {str: str, np.bool_: bool, bool: bool, int: int, np.integer: int, float: float, np.floating: float}
    return next((plain for base, plain in kinds.items() if issubclass(kind, base)), kind)


def _numbered(what: str, labels: np.ndarray, fixed: Any) -> tuple[np.ndarray, np.ndarray]:
    if fixed is None:
        numbers, ids = pd.factorize(labels, sort=True)
        return numbers.astype(np.int64), np.asarray(ids)
    ids = _labels(what, fixed)
    # as objects unless both are of one type of number: a common type of two may merge what differs
    dtype = ids.dtype if ids.dtype == labels.dtype and ids.dtype.kind in "iuf" else object
    index = pd.Index(ids.astype(dtype), dtype=dtype)
    if not index.is_unique:
        raise ValueError(f"{what}_ids holds {index[index.duplicated()].tolist()[0]!r} more than once")
    numbers = index.get_indexer(labels.astype(dtype))
    unknown = numbers < 0
    if unknown.any():
        raise ValueError(
            f"{what} label {labels[unknown].tolist()[0]!r} is not among the {len(ids)} of {what}_ids ({int(unknown.sum())} such): "
            "leave such ratings out, or number all of them together"
        )
    return numbers.astype(np.int64), ids


def require_same_labels(one: Ratings, other: Ratings) -> None:
    """Raise ValueError unless the numbers of users and items mean the same in both."""
    for what in ("user_ids", "item_ids"):
        ours, theirs = getattr(one, what), getattr(other, what)
        if ours is theirs or np.array_equal(ours, theirs):
            continue
        pairs = enumerate(zip(ours.tolist(), theirs.tolist(), strict=False))
        differ = (f"{what}[{n}] is {a!r} in one and {b!r} in the other" for n, (a, b) in pairs if a != b)
        raise ValueError(
            f"{one} and {other} are not parts of the same ratings: "
            f"{next(differ, f'{what} has {len(ours)} labels in one and {len(theirs)} in the other')}. "
            "Split one Ratings, or number the second by from_arrays(…, user_ids=train.user_ids, item_ids=train.item_ids)"
        )


def _guessed_scale(values: np.ndarray, merged: np.ndarray) -> Scale:
    """The extremes of `values`, and a step that `merged`, means of duplicates, keep to as well."""
    steps = (step for step in (1.0, 0.5) if not ((values % step).any() or (merged % step).any()))
    return Scale(float(values.min()), float(values.max()), next(steps, 0.0))


def _merge_duplicates(columns: dict[str, np.ndarray], n_items: int, how: str) -> dict[str, np.ndarray]:
    keys = columns["users"] * np.int64(n_items) + columns["items"]
    # unique() keeps the first of equal keys: looking at the list backwards makes that the last
    _, backwards, groups = np.unique(keys[::-1], return_index=True, return_inverse=True)
    last = len(keys) - 1 - backwards
    order = np.argsort(last)
    merged = {field: column[last[order]] for field, column in columns.items()}
    if how == "mean":
        sums = np.bincount(groups, weights=columns["values"][::-1].astype(np.float64))
        merged["values"] = (sums / np.bincount(groups))[order].astype(np.float32)
    return merged
