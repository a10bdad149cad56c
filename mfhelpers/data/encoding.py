"""Features as numbers: a frame or a sparse matrix becomes a sparse table with a name for each column."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from .arguments import refuse_first
from .features import Features, flags_of
from .interactions import Interactions

EVERY_ROW = "(all)"  # the first column: ones, for the level that all rows share
MOST_COLUMNS = 1_000_000
LARGEST = 1e100  # in size, of a number: its square is finite
LEFT_OUT = "title", "titles", "tags", "zip_code"  # differ for nearly every row, or were written by those who have rated
CODES = "age_group", "occupation_code"  # of ml-1m: numbers that name a group
KINDS = "number", "flag", "category", "list"
FAR = 30  # standard deviations that the mean of a sparse column may be from 0


def features(ratings: Interactions) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Tables of what is known of users and of items, as `als` takes them; None for a side of which nothing is known.

    Genres become a column of flags each, the year becomes its decade ("1990s"), codes become text; titles, tags and
    postal codes are left out, other columns stay as they are.

    Parameters
    ----------
    ratings : Ratings or Interactions
        With `features`, such as those of MovieLens: ml-100k has age, sex and occupation of its users, ml-latest-small
        nothing.

    Returns
    -------
    users, items : DataFrame or None
        Row n belongs to number n.

    Raises
    ------
    ValueError
        If the ratings have no features, two of their columns would get one name, or a year or genres cannot be read.
    """
    known = getattr(ratings, "features", None)
    if not isinstance(known, Features):
        raise ValueError(
            f"{ratings} has no features: load_ratings brings those of MovieLens, from_arrays(…, user_features=, "
            "item_features=) takes your own"
        )
    users, items = known.users, known.items
    return None if users is None else _table("users", users), None if items is None else _table("items", items)


def _table(side: str, frame: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, column in frame.items():
        what = f"the features of {side}, [{name!r}]"
        made: dict[str, Any] = {str(name): column}
        if name in LEFT_OUT:
            continue
        if name == "genres":
            _texts(what, column)
            made = {str(genre): flags for genre, flags in flags_of(column).items()}
        elif name == "year":
            decades = _numbers(what, column) // 10 * 10
            made = {"decade": ["" if np.isnan(decade) else f"{decade:.0f}s" for decade in decades]}
        elif name in CODES:
            made = {name: ["" if np.isnan(code) else f"{code:g}" for code in _numbers(what, column)]}
        if taken := made.keys() & columns.keys():
            raise ValueError(f"two features of {side} would be called {min(taken)!r}: rename a column")
        columns |= made
    return pd.DataFrame(columns, index=frame.index)


@dataclass(frozen=True)
class Column:
    """How one column of a frame is read.

    `kind` is "number" (minus `mean`, divided by `scale`), "flag" (0 or 1), "category" (one of `values`: a column each) or
    "list" (several of `values`, joined by "|").
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = isinstance(self.values, tuple) and all(isinstance(value, str) for value in self.values)
        if not isinstance(self.name, str) or self.kind not in KINDS or not texts:
            raise ValueError(f"{self!r} is no column: a name, one of {KINDS}, and a tuple of texts")
        _require_positive(f"the scale of {self.name!r}", [self.scale])

    @property
    def names(self) -> list[str]:
        """What the columns that it becomes are called."""
        if self.kind in ("number", "flag"):
            return [self.name]
        return [f"{self.name}={value}" for value in self.values]


@dataclass(frozen=True)
class Encoding:
    """How features are read as numbers: learned from one table, and used for others with the same columns.

    Numbers are standardised: mean 0, standard deviation 1, a missing one counts as the mean. Flags stay 0 and 1. A
    text column becomes a flag for each of its values, or of the parts between "|": what is missing, or was not there when
    the encoding was made, has none. The columns of a sparse matrix that hold anything but 0 and 1 are divided by their
    standard deviation; their zeros stay, so a column without zeros, such as a year, belongs into a frame.

    Attributes
    ----------
    columns : tuple of Column
        Of a frame; empty for a sparse matrix.
    scales : tuple of float
        What the columns of a sparse matrix are divided by; empty for a frame.
    """

    columns: tuple[Column, ...] = ()
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.columns and self.scales:
            raise ValueError("an encoding is of a frame or of a sparse matrix: columns or scales")
        _require_positive("scales", self.scales)

    @classmethod
    def of(cls, features: Any, what: str = "features") -> Encoding:
        """The encoding of these features; `what` is how messages call them.

        Raises
        ------
        ValueError
            For what is neither a frame nor a sparse matrix, and for columns that cannot be read.
        """
        if scipy.sparse.issparse(features):
            return cls(scales=tuple(_spread(what, _checked_matrix(what, features)).tolist()))
        frame = _checked_frame(what, features)
        made = cls(tuple(_column(f"{what}[{name!r}]", str(name), frame[name]) for name in frame))
        twice = pd.Index(made.names)[pd.Index(made.names).duplicated()]
        if len(twice):
            raise ValueError(f"{what} would have two columns {twice[0]!r}: rename one")
        return made

    @property
    def names(self) -> list[str]:
        """Of all columns, that of ones included."""
        if self.scales:
            return [EVERY_ROW, *map(str, range(len(self.scales)))]
        return [EVERY_ROW, *(name for column in self.columns for name in column.names)]

    def encode(self, features: Any, what: str = "features") -> scipy.sparse.csr_array:
        """The features as a table of shape (n, columns), float64; the first column is ones.

        Raises
        ------
        ValueError
            For features with other columns than those that the encoding was made of.
        """
        if self.scales:
            if not scipy.sparse.issparse(features):
                raise ValueError(f"{what} is {type(features).__name__}: the training had a sparse matrix, give one too")
            matrix = _checked_matrix(what, features)
            if matrix.shape[1] != len(self.scales):
                raise ValueError(f"{what} has {matrix.shape[1]:,} columns, the training had {len(self.scales):,}")
            parts: list[Any] = [matrix @ scipy.sparse.diags_array(1 / np.array(self.scales))]
        else:
            if scipy.sparse.issparse(features):
                raise ValueError(f"{what} is a sparse matrix: the training had a DataFrame, give one too")
            frame = _checked_frame(what, features)
            ours, theirs = [column.name for column in self.columns], list(map(str, frame))
            if sorted(ours) != sorted(theirs):
                raise ValueError(f"{what} has the columns {theirs}, the training had {ours}")
            by_name = dict(zip(theirs, frame, strict=True))
            parts = [_encoded(f"{what}[{c.name!r}]", c, frame[by_name[c.name]]) for c in self.columns]
        ones = scipy.sparse.csr_array(np.ones((features.shape[0], 1)))
        return scipy.sparse.csr_array(scipy.sparse.hstack([ones, *parts], format="csr"))

    def to_text(self) -> str:
        """As JSON, for a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Encoding:
        """What `to_text` wrote."""
        stored: Any = json.loads(text)
        columns = tuple(
            Column(c["name"], c["kind"], c["mean"], c["scale"], tuple(c["values"])) for c in stored["columns"]
        )
        return cls(columns, tuple(stored["scales"]))


def encoded_rows(what: str, features: Any, n: int) -> tuple[Encoding, scipy.sparse.csr_array]:
    """An encoding and what it makes of its own features, for `n` users or items in the order of their numbers."""
    encoding = Encoding.of(features, what)
    if features.shape[0] != n:
        raise ValueError(f"{what} has {features.shape[0]:,} rows, expected {n:,}: one for each number")
    return encoding, encoding.encode(features, what)


# -- one column ------------------------------------------------------------------------------------


def _checked_frame(what: str, features: Any) -> pd.DataFrame:
    if not isinstance(features, pd.DataFrame):
        kind = f"{type(features).__module__.partition('.')[0]}.{type(features).__name__}"
        raise ValueError(f"{what} is {kind}: give a DataFrame of pandas, or a sparse matrix of SciPy")
    if not features.index.equals(pd.RangeIndex(len(features))):
        raise ValueError(
            f"{what} has the index {features.index[:3].tolist()}…, expected 0 … {len(features) - 1}: row n belongs to number "
            "n. Of a frame by label, frame.reindex(labels in the order of the numbers).reset_index(drop=True) makes one"
        )
    names = list(map(str, features))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what} has {names.count(twice)} columns {twice!r}: rename them")
    return features


def _checked_matrix(what: str, features: Any) -> Any:
    if features.dtype.kind in "biuf":
        features = features.astype(np.float64)  # before duplicates are added up
    matrix: Any = scipy.sparse.csr_array(features)
    if matrix.ndim != 2 or not 1 <= matrix.shape[1] <= MOST_COLUMNS or matrix.dtype != np.float64:
        raise ValueError(f"{what} is sparse, {matrix.dtype} of shape {matrix.shape}: give numbers, (n, columns)")
    matrix.sum_duplicates()
    refuse_first(what, matrix.data, ~np.isfinite(matrix.data), ", which is not finite")
    refuse_first(
        what, matrix.data, np.abs(matrix.data) > LARGEST, f", above {LARGEST:g} in size", ": take another unit"
    )
    return matrix


def _spread(what: str, matrix: Any) -> np.ndarray:
    """The standard deviation of each column, and 1 where it holds 0 and 1 alone, or one number."""
    n = max(1, matrix.shape[0])
    means, squares = (np.asarray(part.sum(axis=0)).ravel() / n for part in (matrix, matrix.power(2)))
    flags = np.asarray((matrix - matrix.power(2)).power(2).sum(axis=0)).ravel() == 0
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    spread = np.where(flags | (spread <= 1e-9 * np.sqrt(squares)), 1.0, spread)
    far = ~flags & (np.abs(means) > FAR * spread)
    remedy = ": zeros stay zeros, so such numbers are not centred; give them in a DataFrame"
    refuse_first(
        f"the mean of the columns of {what}", means, far, f", more than {FAR} standard deviations from 0", remedy
    )
    return spread


def _require_positive(what: str, numbers: Any) -> None:
    if not all(isinstance(one, float) and 0 < one < float("inf") for one in numbers):
        raise ValueError(f"{what} must be finite and above 0, not {numbers}")


def _column(what: str, name: str, column: pd.Series) -> Column:
    if pd.api.types.is_bool_dtype(column) or isinstance(next(iter(column.dropna()), None), bool):
        _flags(what, column)
        return Column(name, "flag")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        numbers = _numbers(what, column)
        known = numbers[~np.isnan(numbers)]
        if not len(known):
            raise ValueError(f"{what} is missing in every row: drop it")
        spread = float(known.std())
        if spread <= 1e-12 * np.abs(known).max():
            raise ValueError(f"{what} is the same number in every row, so it tells nothing apart: drop it")
        return Column(name, "number", float(known.mean()), spread)
    texts = _texts(what, column)
    several = any("|" in text for text in texts)
    parts = {part for text in texts for part in _parts(text, several)}
    return Column(name, "list" if several else "category", values=tuple(sorted(parts)))


def _parts(text: str, several: bool) -> set[str]:
    return {part.strip() for part in (text.split("|") if several else [text])} - {""}


def _flags(what: str, column: pd.Series) -> np.ndarray:
    flags = column.tolist()
    for value in flags:
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{what} holds {value!r} among True and False: what is unknown is neither, so fill it")
    return np.array(flags, np.float64)


def _numbers(what: str, column: pd.Series) -> np.ndarray:
    """float64, NaN where one is missing."""
    if column.isna().all():  # whatever the type of a column of gaps
        return np.full(len(column), np.nan)
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        raise ValueError(f"{what} has type {column.dtype}, where numbers are expected")
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    refuse_first(what, numbers, np.isinf(numbers), ", which is not finite")
    refuse_first(
        what, numbers, np.abs(numbers) > LARGEST, f", above {LARGEST:g} in size", ": take another unit, or np.log"
    )
    return numbers


def _texts(what: str, column: pd.Series) -> list[str]:
    """Text, "" where one is missing."""
    texts = ["" if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
    for value in texts:
        if not isinstance(value, str):
            raise ValueError(
                f"{what} holds {value!r} of type {type(value).__name__}: give numbers, True and False, or text "
                "(several values joined by '|'); of a date its year, of a code str(code)"
            )
    return texts


def _encoded(what: str, column: Column, given: pd.Series) -> scipy.sparse.csr_array:
    if column.kind == "number":
        return scipy.sparse.csr_array(np.nan_to_num((_numbers(what, given) - column.mean) / column.scale)[:, None])
    if column.kind == "flag":
        return scipy.sparse.csr_array(_flags(what, given)[:, None])
    place = {value: at for at, value in enumerate(column.values)}
    rows, columns = [], []
    for row, text in enumerate(_texts(what, given)):
        for part in sorted(_parts(text, column.kind == "list") & place.keys()):
            rows.append(row)
            columns.append(place[part])
    return scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(given), len(place)))
