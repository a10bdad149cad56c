"""Who did something with what, without a scale: clicks, plays, purchases."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import scipy.sparse

from ..display.notebook import printable
from .arguments import in_range, one_of, refuse_first, whole_number
from .columns import amounts, as_array, labels, refuse_far_times, seconds, texts, warn_of_1970
from .features import Features, in_order, require_rows

if TYPE_CHECKING:
    import torch

PER_ROW = ("users", "items", "weights", "values", "timestamps", "folds")
MOST = 100_000_000  # users or items: an array of so many numbers takes a gigabyte

HOW_TO_MAKE = "Ratings.from_frame makes them of a table, Ratings.from_arrays of users, items and values"
# with the scale: one that is guessed from a part may clip
NUMBER_ALIKE = "from_arrays(…, user_ids=train.user_ids, item_ids=train.item_ids, scale=train.scale)"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Interactions as a list of (user, item), each with a weight if it has one: plays, seconds, clicks.

    What is not in the list was not observed, which is not the same as disliked. The arrays are checked
    when the object is made and read-only afterwards, also after pickle and deepcopy. `Ratings` are
    interactions with a value on a scale.

    Parameters
    ----------
    users, items : int64 arrays, shape (n,)
        Row and column numbers, 0 ≤ users < n_users and 0 ≤ items < n_items.
    n_users, n_items : int
        Size of the whole matrix, users and items without an interaction included.
    weights : float32 array, shape (n,), optional
        How much each counts, finite and above 0; None: each counts 1.
    timestamps, user_ids, item_ids, titles, genres, folds, name, source, features : optional
        As in `Ratings`.

    Raises
    ------
    ValueError
        As in `Ratings`, and for a weight that is not above 0 and finite.
    """

    users: np.ndarray
    items: np.ndarray
    n_users: int
    n_items: int
    weights: np.ndarray | None = None
    timestamps: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    item_ids: np.ndarray | None = None
    titles: np.ndarray | None = None
    genres: np.ndarray | None = None
    folds: np.ndarray | None = None
    name: str = "interactions"
    source: str = "arrays"
    features: Features | None = None

    # the words of messages, and the field that holds the amounts; without annotations, so they are no fields
    _KIND, _ONE, _DOES, _AMOUNTS, _COLUMN = "an Interactions", "interaction", "has", "weights", "weight"
    _OPTIONAL: ClassVar[tuple[str, ...]] = ("weight", "timestamp")

    def __post_init__(self) -> None:
        n, kind = len(self), type(self).__name__
        if n == 0:
            raise ValueError(f"there is no {self._ONE} in this selection: {self._KIND} holds at least one")
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        for field in ("name", "source"):
            if not isinstance(getattr(self, field), str):
                raise ValueError(f"{field}={getattr(self, field)!r}: give text, such as 'mine'")
        for field in ("n_users", "n_items"):
            put(field, whole_number(field, getattr(self, field), 1, MOST))
        for field, limit in (("users", self.n_users), ("items", self.n_items)):
            ids = _integers(field, getattr(self, field), np.int64, n, kind)
            remedy = f": {kind}.from_arrays numbers any labels"
            refuse_first(field, ids, (ids < 0) | (ids >= limit), f", outside 0 … {limit - 1}", remedy)
            put(field, ids)
        if self.weights is not None:
            put("weights", _read_only(amounts("weights", self.weights), None, n, "weights"))
            _refuse_weightless(self.weights)
        for field, dtype in (("timestamps", np.int64), ("folds", np.int8)):
            if getattr(self, field) is not None:
                put(field, _integers(field, getattr(self, field), dtype, n, kind))
        if self.timestamps is not None:
            refuse_far_times("timestamps", self.timestamps)
        for field, length in (("user_ids", self.n_users), ("item_ids", self.n_items)):
            given = getattr(self, field)
            if given is None:
                given = np.arange(length)
            elif not _is_ours(given):
                given = labels(field, given)
                _refuse_twice(field, pd.Index(given))
            put(field, _read_only(given, None, length, field))
        for field in ("titles", "genres"):
            if getattr(self, field) is not None:
                put(field, _read_only(getattr(self, field), None, self.n_items, field))
                if getattr(self, field).dtype.kind not in "UTO":
                    raise ValueError(f"{field} has type {getattr(self, field).dtype}, expected text")
        if self.features is not None:
            require_rows(self.features, self.n_users, self.n_items)
        self._refuse_duplicates()

    def _refuse_duplicates(self) -> None:
        keys = self.users * np.int64(self.n_items) + self.items
        keys.sort()
        twice = keys[1:] == keys[:-1]
        if twice.any():
            user, item = divmod(int(keys[twice.argmax()]), self.n_items)
            labels = [vars(self)[field].tolist() for field in ("user_ids", "item_ids")]
            told = f"user {labels[0][user]!r} {self._DOES} item {labels[1][item]!r}"
            raise ValueError(
                f"{told} more than once ({int(twice.sum())} such): "
                f"{type(self).__name__}.from_arrays(…, duplicates='last') keeps the last"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {field: value for field, value in vars(self).items() if field != "_rows"}  # made again when it is needed

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From pickle and deepcopy, which make arrays that can be written to."""
        for field, value in state.items():
            if isinstance(value, np.ndarray):
                value = value if value.flags.owndata else value.copy()
                value.flags.writeable = False
            vars(self)[field] = value

    # -- construction ----------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls, users: Any, items: Any, weights: Any = None, timestamps: Any = None, *,
        duplicates: str = "raise", user_ids: Any = None, item_ids: Any = None,
        titles: dict[Any, str] | None = None, genres: dict[Any, str] | None = None,
        user_features: pd.DataFrame | None = None, item_features: pd.DataFrame | None = None, **fields: Any,
    ) -> Self:  # fmt: skip
        """Make `Interactions` from labels of any kind: raw ids, names, strings.

        Parameters
        ----------
        users, items, weights, timestamps : array-likes, shape (n,)
            Labels are numbered in sorted order and kept in `user_ids` and `item_ids`; times are as in
            `Ratings.from_arrays`.
        duplicates : {"raise", "last", "sum"}
            What to do with a (user, item) pair that occurs more than once. A sum adds the weights,
            or counts the rows if there are none, and keeps the last time; the last is the latest by
            time, and of those at one time or without times the last row.
        user_ids, item_ids, titles, genres, user_features, item_features, **fields
            As in `Ratings.from_arrays`, and so are the errors.
        """
        if weights is not None:
            weights = amounts("weights", weights)
            _refuse_weightless(weights)  # before a sum hides it
        columns = {"weights": weights, "timestamps": timestamps}
        ids, described, features = (user_ids, item_ids), (titles, genres), (user_features, item_features)
        return cls(**cls._gathered((users, items), columns, ids, described, features, fields, duplicates, "sum"))

    @classmethod
    def _gathered(
        cls, pairs: tuple, columns: dict, ids: tuple, descriptions: tuple, features: tuple, fields: dict, duplicates: str, merge: str
    ) -> dict[str, Any]:  # fmt: skip
        """The arguments of the class, from those of `from_arrays`; pairs are (of users, of items)."""
        if unknown := fields.keys() - {"name", "source", "folds", "features"}:
            raise TypeError(
                f"from_arrays has no argument {sorted(unknown)[0]!r}: besides those it names it takes name, source, folds, features"
            )
        if fields.get("features") is not None and not features[0] is features[1] is None:
            raise TypeError(
                "features= and a frame of features were given: give user_features= and item_features= alone"
            )
        users, items = labels("user", pairs[0]), labels("item", pairs[1])
        columns = columns | {"folds": fields.pop("folds", None)}
        columns = {field: as_array(field, array) for field, array in columns.items() if array is not None}
        if "timestamps" in columns:
            columns["timestamps"] = seconds("timestamps", columns["timestamps"])
            warn_of_1970(columns["timestamps"])
        shapes = {name: array.shape for name, array in {"users": users, "items": items, **columns}.items()}
        if len(set(shapes.values())) > 1 or users.ndim != 1:
            raise ValueError(f"the arrays must be one-dimensional and equally long, not {shapes}")
        if len(users) == 0:
            raise ValueError(f"there is no {cls._ONE} in these arrays: {cls._KIND} holds at least one")
        user_numbers, user_ids = _numbered("user", users, ids[0], cls._ONE)
        item_numbers, item_ids = _numbered("item", items, ids[1], cls._ONE)
        one_of("duplicates", duplicates, ("raise", "last", merge))
        columns = {"users": user_numbers, "items": item_numbers, **columns}
        if duplicates != "raise":
            columns = _merge_duplicates(columns, len(item_ids), duplicates)
        of_users, of_items = in_order("user", features[0], user_ids), in_order("item", features[1], item_ids)
        known = of_users is not None or of_items is not None
        described = {"features": Features(of_users, of_items)} if known else {}
        return dict(
            **columns, **described, n_users=len(user_ids), n_items=len(item_ids), user_ids=user_ids, item_ids=item_ids,
            titles=texts("titles", descriptions[0], item_ids, str), genres=texts("genres", descriptions[1], item_ids, lambda label: ""),
            **fields,
        )  # fmt: skip

    @classmethod
    def from_frame(
        cls, frame: Any, user: str = "user", item: str = "item", weight: str | None = None, timestamp: str | None = None, **options: Any
    ) -> Self:  # fmt: skip
        """Make `Interactions` from the named columns of a data frame; `options` as in `from_arrays`.

        Parameters
        ----------
        frame : DataFrame of pandas or Polars, or Table of Arrow
        user, item, weight, timestamp : names of columns
            The last two may be None. A file without a header has the names 0, 1, … in pandas.

        Raises
        ------
        KeyError
            If a column is missing; the message lists those that are there.
        ValueError
            For what is no frame, and all that `from_arrays` refuses; the message names the column and the row.
        """
        # the shape first, since a LazyFrame warns when it is asked for its columns
        names = getattr(frame, "column_names", getattr(frame, "columns", None)) if hasattr(frame, "shape") else None
        if names is None or isinstance(frame, type):
            raise ValueError(
                f"the frame is a {type(frame).__name__}: give a DataFrame of pandas or Polars or a Table of Arrow, such as "
                "pd.DataFrame({'user': …, 'item': …}), pd.read_csv(file) or a LazyFrame's collect()"
            )
        names, columns = list(names), []
        for role, column in {"user": user, "item": item, cls._COLUMN: weight, "timestamp": timestamp}.items():
            if column is None and role not in cls._OPTIONAL:
                raise ValueError(f"{role}=None: name the column of {role}s, one of {names}")
            if column is not None and column not in names:
                raise KeyError(f"no column {column!r}; the frame has {names}")
            if names.count(column) > 1:
                raise ValueError(f"the frame has {names.count(column)} columns {column!r}: keep one, or rename them")
            what, values = f"frame[{column!r}]", None if column is None else frame[column]
            columns.append(values if values is None else _READ[role](what, values))
        return cls.from_arrays(*columns, **options)

    # -- use -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: Any) -> Self:
        """Select rows by a slice, a mask or positions; users, items, labels and features stay as they are."""
        if np.ndim(index) == 0 and not isinstance(index, slice):
            index = [index]
        columns = {f: getattr(self, f)[index] for f in PER_ROW if getattr(self, f, None) is not None}
        return dataclasses.replace(self, **columns)

    @property
    def density(self) -> float:
        """Share of the user × item matrix that is in the list, 0 to 1."""
        return len(self) / (self.n_users * self.n_items)

    @cached_property
    def user_counts(self) -> np.ndarray:
        """Number of rows of each user, shape (n_users,)."""
        return _read_only(np.bincount(self.users, minlength=self.n_users), None, self.n_users, "user_counts")

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Number of rows of each item, shape (n_items,)."""
        return _read_only(np.bincount(self.items, minlength=self.n_items), None, self.n_items, "item_counts")

    def _amounts(self) -> np.ndarray:
        amounts = getattr(self, self._AMOUNTS)
        return np.ones(len(self), np.float32) if amounts is None else amounts

    @cached_property
    def _rows(self) -> scipy.sparse.csr_array:
        ones = np.ones(len(self), np.int8)
        rows = scipy.sparse.csr_array((ones, (self.users, self.items)), shape=(self.n_users, self.n_items))
        rows.sort_indices()
        return rows

    def items_of(self, users: Any) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of some users: where each stands in `users`, and the item; user by user, items in order.

        Parameters
        ----------
        users : int array, shape (n,)

        Returns
        -------
        places, items : int64 arrays of equal length
            ``users[places[j]]`` has ``items[j]``.

        Raises
        ------
        ValueError
            For a number out of range.
        """
        users = in_range("user", np.atleast_1d(numbers(users)), self.n_users)
        rows: Any = self._rows[users]
        return np.repeat(np.arange(len(users)), np.diff(rows.indptr)), rows.indices.astype(np.int64)

    def to_csr(self) -> scipy.sparse.csr_array:
        """A sparse matrix, shape (n_users, n_items), float32: the values of ratings, else the weights or ones."""
        return scipy.sparse.csr_array((self._amounts(), (self.users, self.items)), shape=(self.n_users, self.n_items))

    def to_tensors(self, device: Any = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Copies of users, items (int64) and of what `to_csr` holds (float32) as tensors on `device`."""
        import torch

        users, items, amounts = (torch.tensor(a, device=device) for a in (self.users, self.items, self._amounts()))
        return users, items, amounts

    def _spread(self) -> str:
        if self.weights is None:
            return "each counts 1"
        return f"weights {self.weights.min():g} to {self.weights.max():g}"

    def __repr__(self) -> str:
        return printable(
            f"{type(self).__name__}({self.name}, {self.source}: {len(self):,} {self._ONE}s, {self.n_users:,} users × "
            f"{self.n_items:,} items, {self._spread()})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the shape in words, and the first five rows."""
        head = self[:5]
        table: dict[str, Any] = {
            "user": np.asarray(head.user_ids)[head.users],
            "item": np.asarray(head.item_ids)[head.items],
        }
        if self.titles is not None:
            table["title"] = self.titles[head.items]
        table[self._COLUMN] = head._amounts()
        if self.timestamps is not None:
            table["when"] = pd.to_datetime(np.asarray(head.timestamps), unit="s").strftime("%Y-%m-%d")
        origin = f"SIMULATED, not real {self._ONE}s" if self.source == "simulated" else self.source
        mean = "" if getattr(self, self._AMOUNTS) is None else f", mean {self._amounts().mean(dtype=np.float64):.2f}"
        return (
            f"<p><b>{html.escape(self.name)}</b> ({html.escape(origin)}): {len(self):,} {self._ONE}s by "
            f"{self.n_users:,} users of {self.n_items:,} items, {self.density:.2%} of all pairs; "
            f"{self._spread()}{mean}. The first {len(head)}:</p>" + pd.DataFrame(table).to_html(index=False, border=0)
        )


# -- checks --------------------------------------------------------------------------------------

_READ = {"user": labels, "item": labels, "weight": amounts, "rating": amounts, "timestamp": seconds}  # columns by role


def numbers(given: Any) -> np.ndarray:
    """An array of numbers; of integers where there are none at all, which NumPy takes for float64."""
    array = np.asarray(given)
    return array if array.size else array.astype(np.int64)


def _is_ours(array: Any) -> bool:
    """Checked already: the parts of a whole have its labels."""
    return isinstance(array, np.ndarray) and not array.flags.writeable and array.flags.owndata


def _read_only(array: Any, dtype: Any, length: int, what: str) -> np.ndarray:
    array = np.asarray(array, dtype=dtype)  # np.array of a tensor warns
    if not _is_ours(array):
        array = array.copy()
    if array.shape != (length,):
        raise ValueError(f"{what} has shape {array.shape}, expected ({length},)")
    array.flags.writeable = False
    return array


def _integers(what: str, array: Any, dtype: Any, n: int, kind: str) -> np.ndarray:
    given = as_array(what, array)
    if given.dtype.kind not in "iu":
        meant = {"timestamps": "seconds since 1970", "folds": "the number of a fold"}
        remedy = meant.get(what, f"{kind}.from_arrays numbers labels")
        raise ValueError(f"{what} has type {given.dtype}, expected integers: {remedy}")
    array = _read_only(given, dtype, n, what)
    # a cast to fewer bits wraps around in silence
    refuse_first(what, given, array != given, f", beyond the largest {np.dtype(dtype)}, {np.iinfo(dtype).max}")
    return array


def _refuse_weightless(weights: np.ndarray) -> None:
    refuse_first("weights", weights, weights <= 0, ", not above 0 and finite", ": leave out what did not happen")


def _refuse_twice(what: str, index: pd.Index) -> None:
    if not index.is_unique:
        raise ValueError(f"{what} holds {index[index.duplicated()].tolist()[0]!r} more than once")


def _numbered(what: str, given: np.ndarray, fixed: Any, one: str) -> tuple[np.ndarray, np.ndarray]:
    if fixed is None:
        try:
            numbers, ids = pd.factorize(given, sort=True)
        except TypeError as error:
            raise ValueError(f"{what} labels have no order ({error}): use text or whole numbers") from error
        return numbers.astype(np.int64), np.asarray(ids)
    ids = labels(f"{what}_ids", fixed)
    if ids.ndim != 1:
        raise ValueError(f"{what}_ids has shape {ids.shape}, expected one label each, (n,)")
    # as objects unless both are of one type of number: a common type of two may merge what differs
    dtype = ids.dtype if ids.dtype == given.dtype and ids.dtype.kind in "iuf" else object
    index = pd.Index(ids.astype(dtype), dtype=dtype)
    _refuse_twice(f"{what}_ids", index)
    numbers = index.get_indexer(pd.Index(given.astype(dtype), dtype=dtype))
    unknown = numbers < 0
    if unknown.any():
        raise ValueError(
            f"{what} label {given[unknown].tolist()[0]!r} is not among the {len(ids)} of {what}_ids ({int(unknown.sum())} such): "
            f"leave such {one}s out, or number all of them together"
        )
    return numbers.astype(np.int64), ids


def require_interactions(name: str, given: Any) -> None:
    """Raise ValueError unless an argument is `Ratings` or `Interactions`."""
    if not isinstance(given, Interactions):
        raise ValueError(f"{name} is {type(given).__name__}: give Ratings or Interactions; {HOW_TO_MAKE}")


def pairs_in_both(one: Interactions, other: Interactions) -> int:
    """How many pairs of the second part are in the first one, too: what a test part tells of them is no error."""
    known, asked = (part.users * np.int64(part.n_items) + part.items for part in (one, other))
    return int(np.isin(asked, known).sum())


def require_same_labels(one: Interactions, other: Interactions) -> None:
    """Raise ValueError unless the numbers of users and items mean the same in both."""
    require_interactions("the first of two parts", one)
    require_interactions("the second of two parts", other)
    for what in ("user_ids", "item_ids"):
        ours, theirs = getattr(one, what), getattr(other, what)
        if ours is theirs or np.array_equal(ours, theirs):
            continue
        pairs = enumerate(zip(ours.tolist(), theirs.tolist(), strict=False))
        differ = (f"{what}[{n}] is {a!r} in one and {b!r} in the other" for n, (a, b) in pairs if a != b)
        alike = NUMBER_ALIKE if hasattr(one, "scale") else NUMBER_ALIKE.replace(", scale=train.scale", "")
        raise ValueError(
            f"{one} and {other} are not parts of the same {one._ONE}s: "
            f"{next(differ, f'{what} has {len(ours)} labels in one and {len(theirs)} in the other')}. "
            f"Split one {type(one).__name__}, or number the second by {alike}"
        )


def _merge_duplicates(columns: dict[str, np.ndarray], n_items: int, how: str) -> dict[str, np.ndarray]:
    times = columns.get("timestamps")
    by_time = np.arange(len(columns["users"])) if times is None else np.argsort(times, kind="stable")
    keys = (columns["users"] * np.int64(n_items) + columns["items"])[by_time]
    # unique() keeps the first of equal keys: looking at the list backwards makes that the last
    _, backwards, groups = np.unique(keys[::-1], return_index=True, return_inverse=True)
    last = by_time[len(keys) - 1 - backwards]
    order = np.argsort(last)
    merged = {field: column[last[order]] for field, column in columns.items()}
    amount = {"mean": "values", "sum": "weights"}.get(how)
    if amount is not None:
        given = columns.get(amount)  # without weights each counts 1
        sums = np.bincount(groups, weights=None if given is None else given[by_time][::-1].astype(np.float64))
        sums = sums / np.bincount(groups) if how == "mean" else sums
        merged[amount] = sums[order].astype(np.float32)
    return merged
