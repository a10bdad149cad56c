"""Features as numbers: a frame or a sparse matrix becomes a sparse table with a name for each column."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from .arguments import refuse_first
from .features import Features
from .interactions import Interactions

EVERY_ROW = "(all)"  # the first column: ones, so that the others say what differs from the average row
MOST_COLUMNS = 1_000_000
LARGEST = 1e100  # in size, of a number: its square is finite
LEFT_OUT = (
    "title",
    "titles",
    "tags",
    "zip_code",
)  # a value of its own for each row, or written by those who have rated


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
        If the ratings have no features.
    """
    known = getattr(ratings, "features", None)
    if not isinstance(known, Features):
        raise ValueError(
            f"{ratings} has no features: load_ratings brings those of MovieLens, from_arrays(…, user_features=, "
            "item_features=) takes your own"
        )
    tables = []
    for frame in (known.users, known.items):
        if frame is None:
            tables.append(None)
            continue
        columns: dict[str, Any] = {}
        for name, column in frame.items():
            if name == "genres":
                columns |= {str(genre): flags for genre, flags in known.genre_flags().items()}
            elif name == "year":
                decades = column.to_numpy(np.float64, na_value=np.nan) // 10 * 10
                columns["decade"] = ["" if np.isnan(decade) else f"{decade:.0f}s" for decade in decades]
            elif name in ("age_group", "occupation_code"):
                columns[name] = column.astype(str)
            elif name not in LEFT_OUT:
                columns[str(name)] = column
        tables.append(pd.DataFrame(columns, index=frame.index))
    return tables[0], tables[1]


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
    standard deviation; their zeros stay.

    Attributes
    ----------
    columns : tuple of Column
        Of a frame; empty for a sparse matrix.
    scales : tuple of float
        What the columns of a sparse matrix are divided by; empty for a frame.
    """

    columns: tuple[Column, ...] = ()
    scales: tuple[float, ...] = ()

    @classmethod
    def of(cls, features: Any, what: str = "features") -> Encoding:
        """The encoding of these features; `what` is how messages call them.

        Raises
        ------
        ValueError
            For what is neither a frame nor a sparse matrix, and for columns that cannot be read.
        """
        if scipy.sparse.issparse(features):
            matrix = _checked_matrix(what, features)
            return cls(scales=tuple(_spread(matrix).tolist()))
        frame = _checked_frame(what, features)
        made = cls(tuple(_column(what, name, frame[name]) for name in frame))
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
            frame = _checked_frame(what, features)
            ours, theirs = [column.name for column in self.columns], list(map(str, frame))
            if sorted(ours) != sorted(theirs):
                raise ValueError(f"{what} has the columns {theirs}, the training had {ours}")
            by_name = dict(zip(theirs, frame, strict=True))
            parts = [_encoded(what, column, frame[by_name[column.name]]) for column in self.columns]
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
    rows = getattr(features, "shape", (None,))[0]
    if rows is not None and rows != n:
        raise ValueError(f"{what} has {rows:,} rows, expected {n:,}: one for each number")
    encoding = Encoding.of(features, what)
    return encoding, encoding.encode(features, what)


# -- one column ------------------------------------------------------------------------------------


def _checked_frame(what: str, features: Any) -> pd.DataFrame:
    if not isinstance(features, pd.DataFrame):
        kind = f"{type(features).__module__.partition('.')[0]}.{type(features).__name__}"
        raise ValueError(f"{what} is {kind}: give a DataFrame of pandas, or a sparse matrix of SciPy")
    if not features.index.equals(pd.RangeIndex(len(features))):
        raise ValueError(
            f"{what} has the index {features.index[:3].tolist()}…, expected 0 … {len(features) - 1}: row n belongs to number "
            "n. Of a frame by label, features.reindex(ratings.item_ids).reset_index(drop=True) makes one"
        )
    names = list(map(str, features))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what} has {names.count(twice)} columns {twice!r}: rename them")
    return features


def _checked_matrix(what: str, features: Any) -> Any:
    matrix: Any = scipy.sparse.csr_array(features)
    if matrix.ndim != 2 or not 1 <= matrix.shape[1] <= MOST_COLUMNS or matrix.dtype.kind not in "biuf":
        raise ValueError(f"{what} is sparse, {matrix.dtype} of shape {matrix.shape}: give numbers, (n, columns)")
    matrix = matrix.astype(np.float64)
    refuse_first(what, matrix.data, ~np.isfinite(matrix.data), ", which is not finite")
    matrix.sum_duplicates()
    return matrix


def _spread(matrix: Any) -> np.ndarray:
    """The standard deviation of each column, and 1 where it holds 0 and 1 alone."""
    n = matrix.shape[0]
    means, squares = (np.asarray(part.sum(axis=0)).ravel() / n for part in (matrix, matrix.power(2)))
    flags = np.asarray((matrix - matrix.power(2)).power(2).sum(axis=0)).ravel() == 0
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    return np.where(flags | (spread <= 1e-9 * np.sqrt(squares)), 1.0, spread)


def _column(what: str, name: Any, column: pd.Series) -> Column:
    if pd.api.types.is_bool_dtype(column) or isinstance(next(iter(column.dropna()), None), bool):
        _flags(what, name, column)
        return Column(str(name), "flag")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        numbers = _numbers(what, name, column)
        known = numbers[~np.isnan(numbers)]
        largest = float(np.abs(known).max(initial=0))
        if largest > LARGEST:
            raise ValueError(f"{what}[{name!r}] reaches {largest:.3g}, above {LARGEST:g}: take another unit, or np.log")
        spread = float(known.std()) if len(known) else 0.0
        if spread <= 1e-12 * largest:
            raise ValueError(f"{what}[{name!r}] is the same number in every row, so it tells nothing apart: drop it")
        return Column(str(name), "number", float(known.mean()), spread)
    texts = _texts(what, name, column)
    several = any("|" in text for text in texts)
    parts = {part for text in texts for part in _parts(text, several)}
    return Column(str(name), "list" if several else "category", values=tuple(sorted(parts)))


def _parts(text: str, several: bool) -> set[str]:
    return {part.strip() for part in (text.split("|") if several else [text])} - {""}


def _flags(what: str, name: Any, column: pd.Series) -> np.ndarray:
    flags = column.tolist()
    wrong = next((value for value in flags if not isinstance(value, (bool, np.bool_))), None)
    if len(flags) and (wrong is not None or any(value is None for value in flags)):
        raise ValueError(
            f"{what}[{name!r}] holds {wrong!r} among True and False: what is unknown is neither, so fill it"
        )
    return np.array(flags, np.float64)


def _numbers(what: str, name: Any, column: pd.Series) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"{what}[{name!r}] has type {column.dtype}, and numbers in training: give numbers")
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    refuse_first(f"{what}[{name!r}]", numbers, np.isinf(numbers), ", which is not finite")
    return numbers


def _texts(what: str, name: Any, column: pd.Series) -> list[str]:
    texts = ["" if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
    wrong = next((value for value in texts if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(
            f"{what}[{name!r}] holds {wrong!r} of type {type(wrong).__name__}: give numbers, True and False, or text "
            "(several values joined by '|'); of a date its year, of a code str(code)"
        )
    return texts


def _encoded(what: str, column: Column, given: pd.Series) -> scipy.sparse.csr_array:
    if column.kind == "number":
        numbers = (_numbers(what, column.name, given) - column.mean) / column.scale
        return scipy.sparse.csr_array(np.nan_to_num(numbers)[:, None])
    if column.kind == "flag":
        return scipy.sparse.csr_array(_flags(what, column.name, given)[:, None])
    place = {value: at for at, value in enumerate(column.values)}
    rows, columns = [], []
    for row, text in enumerate(_texts(what, column.name, given)):
        for part in sorted(_parts(text, column.kind == "list") & place.keys()):
            rows.append(row)
            columns.append(place[part])
    return scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(given), len(place)))
