"""Generated input: each case is a good result, by an oracle of its own, or an error of the package that helps; 1,600 cases.

Every column is generated with what it means, or with the fault that was put into it. A column without a fault must come out as
it was meant; one with a fault must be refused: by a `raise` of this package, in words that say what and where.
"""

import dataclasses
import datetime
import decimal
import fractions
import hashlib
import io
import linecache
import re
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, given, settings
from small_movielens import N_ITEMS, N_USERS, make_files, make_rows, put, triples

import mfhelpers
from mfhelpers import DataError, Interactions, Ratings
from mfhelpers.data.movielens import DATASETS, load_ratings

PACKAGE = str(Path(mfhelpers.__file__).parent)
OURS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
WRONG = object()  # what a column with a fault means
SUBJECT = re.compile(
    r"user|item|label|rating|value|weight|time|scale|duplicates|titles|frame|column|array|fold|path|set|source|name"
)


def outcome(call, kinds=(ValueError, TypeError, KeyError)):
    """What was returned, or the error if it is a clear one; anything else fails."""
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy's words about overflow are no answer
            warnings.filterwarnings("ignore", "all .* lie in 1970")
            result = call()
    except Exception as error:
        result = error
    if isinstance(result, Exception):
        last = traceback.extract_tb(result.__traceback__)[-1]
        told = "".join(traceback.format_exception(result))
        assert isinstance(result, kinds), told
        assert last.filename.startswith(PACKAGE), told
        assert linecache.getline(last.filename, last.lineno).strip().startswith("raise"), told
        assert 30 < len(str(result)) < 1500, told
        assert SUBJECT.search(str(result)), told
    assert time.perf_counter() - began < 10
    if currently_in_test_context():
        event("clear error" if isinstance(result, Exception) else "good")
    return result


# -- columns, with what they mean ------------------------------------------------------------------

WHOLE = st.integers(-(2**62), 2**62)
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
BERLIN = datetime.timezone(datetime.timedelta(hours=2))


def containers(*more):
    return st.sampled_from([list, tuple, pd.Series, pl.Series, lambda values: np.array(values, dtype=object), *more])


@st.composite
def label_columns(draw, n):
    kind = draw(st.sampled_from(["whole", "word", "number", "small"]))
    one = {
        "whole": WHOLE,
        "word": WORD,
        "small": st.integers(0, 3),
        "number": st.floats(-1e6, 1e6).map(lambda x: x + 0.0),
    }[kind]
    meant = draw(st.lists(one, min_size=n, max_size=n))
    return draw(containers(*[np.array] * (kind != "word")))(meant), meant


def bad_labels(n, at, meant):
    labels = [*map(str, meant)]
    gap = lambda gap: [*labels[:at], gap, *labels[at + 1 :]]  # noqa: E731
    return [
                gap(None), gap(float("nan")), gap(pd.NaT), gap("x" * 5_000), gap("x\0"), gap(["x"]), gap({}), gap(b"x") if n > 1 else gap(None),
                gap(7) if n > 1 else gap({1}), [*labels, "more"], [[label] for label in labels], dict.fromkeys(labels), set(labels), "text", 7, None,
                np.full(n, 76561198000000001.0), np.full(n, 2.0**24, np.float32), np.full(n, np.inf), np.full(n, 1 + 1j), np.full((n, 2), 7),
                np.ma.masked_equal(np.full(n, 99), 99), iter(labels), lambda: labels, pd.Series([*labels[:at], None, *labels[at + 1 :]], dtype="string"),
    ]  # fmt: skip


@st.composite
def amount_columns(draw, n, low):
    whole = st.integers(low, 1000)
    real = st.floats(low, 1000, width=32)
    made = draw(st.sampled_from(["whole", "real", "text", "decimal", "fraction", "Int64", "half"]))
    if made == "half":
        meant = [x / 2 for x in draw(st.lists(st.integers(low, 100), min_size=n, max_size=n))]
        return np.array(meant, np.float16), meant
    meant = draw(st.lists(real if made == "real" else whole, min_size=n, max_size=n))
    to = {"text": str, "decimal": decimal.Decimal, "fraction": fractions.Fraction}
    if made == "Int64":
        return pd.Series(meant, dtype="Int64"), meant
    if made in to:
        return [to[made](x) for x in meant], meant
    return draw(containers(np.array))(meant), meant


def bad_amounts(n, at, meant):
    put_in = lambda bad: [*[3.0] * at, bad, *[3.0] * (n - 1 - at)]  # noqa: E731
    gap = pd.array([*[3] * at, None, *[3] * (n - 1 - at)], dtype="Int64")
    return [
                *map(put_in, [float("nan"), float("inf"), 1e300, -1e39, 10**400, None, "4,0", "", " ", "good", "rating", 1j, [3.0], {}, b"x", pd.NA, pd.NaT]),
                *map(put_in, [datetime.datetime(2001, 1, 1), np.datetime64("2001"), decimal.Decimal("nan"), object()]),
                np.array(put_in(True), dtype=object), [True] * n, np.ones(n, bool), np.ones(n, complex), np.zeros(n, "M8[s]"), np.ones(n, "m8[s]"), np.ones((n, 2)), [3] * (n + 1), "text", {}, 7, gap,
                np.ma.masked_equal(np.full(n, 99.0), 99), pd.Series(pd.date_range("2001", periods=n)), pl.Series(put_in(None)), iter([3.0] * n),
    ]  # fmt: skip


@st.composite
def time_columns(draw, n):
    if draw(st.booleans()):
        meant = draw(st.lists(st.integers(-62_135_596_800, 253_402_300_799), min_size=n, max_size=n))
        return draw(containers(np.array))(meant), meant
    moments = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)).map(
        lambda t: t.replace(microsecond=0)
    )
    naive = draw(st.lists(moments, min_size=n, max_size=n))
    utc = [int((t - datetime.datetime(1970, 1, 1)).total_seconds()) for t in naive]
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    series = pd.Series(np.array(naive, f"M8[{unit}]"))
    aware = [t.replace(tzinfo=BERLIN) for t in naive]
    return draw(
        st.sampled_from(
            [
                (naive, utc), (series, utc), (series.to_numpy(), utc), (pl.Series(naive), utc), (aware, [s - 7200 for s in utc]),
                (series.dt.tz_localize(BERLIN), [s - 7200 for s in utc]), ([t.date() for t in naive], [s // 86_400 * 86_400 for s in utc]),
            ]
        )
    )  # fmt: skip


def bad_times(n, at, meant):
    put_in = lambda good, bad: [*[good] * at, bad, *[good] * (n - 1 - at)]  # noqa: E731
    day = datetime.datetime(2001, 1, 1)
    return [
                *[put_in(5, bad) for bad in (None, float("nan"), "x", 10**30, 10**12, -(10**17), [5], 5.5, 1j, {})],
                *[put_in(day, bad) for bad in (None, pd.NaT, "2001-01-01", 5.0, float("nan"))],
                ["2001-01-01"] * n, [5] * (n + 1), np.full((n, 2), 5), np.full(n, 5.0), np.array(["NaT"] * n, "M8[s]"), np.full(n, 10**15).astype("M8[Y]"),
                np.ma.masked_equal(np.full(n, 99), 99), np.ones(n, "m8[s]"), pd.Series(pd.period_range("2001", periods=n, freq="D")), "text", {}, iter([5] * n),
    ]  # fmt: skip


FAULTS = {"users": bad_labels, "items": bad_labels, "values": bad_amounts, "timestamps": bad_times}
GOOD_SCALES = [None, (-1000, 1000, 0)]
BAD_SCALES = [
    5,
    "151",
    (1,),
    (1, 2, 3, 4),
    (5, 1, 1),
    (np.nan, 5, 1),
    (1, 10**400, 0),
    (1, 5, -1),
    (None, 5, 1),
    (2000, 3000, 0),
    {1: 2},
]
BAD_OPTIONS = [
    dict(duplicates="first"), dict(duplicates=None), dict(titles=["a"]), dict(titles={object(): "a"}), dict(titles=7), dict(genres="x"), dict(name=None),
    dict(source=3), dict(folds=[1] * 9), dict(folds="x"), dict(n_users=3), dict(nme="x"), dict(user_ids=3), dict(user_ids=[[1]]), dict(item_ids=["?"]),
    dict(user_features=[1]), dict(item_features=pd.DataFrame({"a": [1]}, index=["no label"])), dict(features=3),
]  # fmt: skip


def the_same(a, b):
    return a == b or (isinstance(a, str) and a == str(b))


@st.composite
def tables(draw, low=-1000):
    """Columns by name with what they mean, WRONG for what has a fault, and options."""
    n = draw(st.integers(1, 6))
    columns = {
        "users": draw(label_columns(n)),
        "items": draw(label_columns(n)),
        "values": draw(amount_columns(n, low)),
        "timestamps": draw(st.one_of(st.just((None, None)), time_columns(n))),
    }
    options, wrong = {"duplicates": draw(st.sampled_from(["raise", "last", "mean"]))}, False
    fault = draw(st.sampled_from(["none", "none", "none", *columns, "scale", "option"]))
    if fault in columns:
        faults = FAULTS[fault](n, draw(st.integers(0, n - 1)), columns["users"][1])
        columns[fault] = (draw(st.sampled_from(faults)), WRONG)
    elif fault == "option":
        options |= draw(st.sampled_from(BAD_OPTIONS))
        wrong = True
    options["scale"] = draw(st.sampled_from(BAD_SCALES if fault == "scale" else GOOD_SCALES))
    return columns, options, wrong or fault == "scale"


def judge(result, columns, options, wrong):
    meant = {name: meaning for name, (_, meaning) in columns.items()}
    rows = (
        list(zip(meant["users"], meant["items"], strict=True)) if WRONG not in (meant["users"], meant["items"]) else []
    )
    twice = len(set(rows)) < len(rows)
    if any(meaning is WRONG for meaning in meant.values()) or wrong or (twice and options["duplicates"] == "raise"):
        assert isinstance(result, Exception), f"silent: {result} of {columns}, {options}"
        return
    assert not isinstance(result, Exception), f"refused: {result} of {columns}, {options}"
    assert isinstance(result, Interactions)
    values = getattr(result, "values", None)
    values = result.weights if values is None else values
    got = list(zip(result.user_ids[result.users].tolist(), result.item_ids[result.items].tolist(), strict=True))
    if not twice:
        assert all(the_same(a, b) for pair, row in zip(got, rows, strict=True) for a, b in zip(pair, row, strict=True))
        assert values.tolist() == np.array(meant["values"], np.float32).tolist()
        assert meant["timestamps"] is None or result.timestamps.tolist() == meant["timestamps"]
    assert len(result) == len(set(rows)) == len(values)
    assert np.isfinite(values).all()
    assert (result.n_users, result.n_items) == (len(set(meant["users"])), len(set(meant["items"])))
    if isinstance(result, Ratings):
        assert np.isfinite(result.scale).all()
        assert result.scale.low <= values.min() <= values.max() <= result.scale.high
    result._repr_html_()


# -- cases -----------------------------------------------------------------------------------------


@settings(OURS, max_examples=600)
@given(tables())
def test_from_arrays(table):
    columns, options, _ = table
    judge(outcome(lambda: Ratings.from_arrays(*(given for given, _ in columns.values()), **options)), *table)


@pytest.mark.parametrize(("n", "at"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("column", FAULTS)
def test_each_fault_alone(column, n, at):
    """Chance need not draw all of them."""
    good = {"users": [*"abc"[:n]], "items": [*range(n)], "values": [3.0] * n, "timestamps": [5 * 10**8] * n}
    for fault in FAULTS[column](n, at, good["users"]):
        columns = {name: (values, values) for name, values in good.items()} | {column: (fault, WRONG)}
        options = dict(duplicates="last", scale=None)
        result = outcome(lambda: Ratings.from_arrays(*(given for given, _ in columns.values()), **options))  # noqa: B023
        judge(result, columns, options, False)


@settings(OURS, max_examples=100)
@given(tables(low=1))
def test_from_arrays_of_interactions(table):
    columns, options, wrong = table
    del options["scale"]
    options["duplicates"] = {"mean": "sum"}.get(options["duplicates"], options["duplicates"])
    wrong = wrong and bool(options.keys() - {"duplicates"} or options["duplicates"] not in ("raise", "last", "sum"))
    result = outcome(lambda: Interactions.from_arrays(*(given for given, _ in columns.values()), **options))
    judge(result, columns, options, wrong)


NAMES = dict(users="user", items="item", values="rating", timestamps="when")
FRAMES = [pd.DataFrame, pl.DataFrame]
NO_FRAMES = [
    None,
    7,
    "ratings.csv",
    {},
    {"user": [1]},
    [1, 2],
    np.ones((2, 3)),
    pd.Series([1]),
    pl.Series([1]),
    pl.LazyFrame({"user": [1]}),
    pd.DataFrame,
    st,
]


@settings(OURS, max_examples=300)
@given(
    tables(), st.sampled_from(FRAMES), st.sampled_from([None] * 6 + ["no frame", "missing", "twice", "None"]), st.data()
)
def test_from_frame(table, made, fault, data):
    columns, options, wrong = table
    named = {NAMES[name]: given for name, (given, _) in columns.items() if given is not None or name != "timestamps"}
    roles = dict(timestamp="when" if "when" in named else None)
    try:
        frame = made({name: list(given) if isinstance(given, tuple) else given for name, given in named.items()})
    except (Exception, pl.exceptions.PanicException):  # what makes no frame does not reach us
        frame = data.draw(st.sampled_from(NO_FRAMES))
        wrong = True
    frame_fault = fault if isinstance(frame, (pd.DataFrame, pl.DataFrame)) else None
    if frame_fault == "no frame":
        frame = data.draw(st.sampled_from(NO_FRAMES))
    elif frame_fault == "missing":
        roles["item"] = data.draw(st.sampled_from(["movie", 3, ("a", "b"), ["item"], float("nan")]))
    elif frame_fault == "twice":
        frame = pd.concat(
            [pd.DataFrame({"item": [1]}), pd.DataFrame({"user": [1], "item": [1], "rating": [1]})], axis=1
        )
    elif frame_fault == "None":
        roles[data.draw(st.sampled_from(["user", "item", "rating"]))] = None
    result = outcome(lambda: Ratings.from_frame(frame, **roles, **options))
    if wrong or frame_fault:
        assert isinstance(result, Exception), f"silent: {result} of {frame}, {roles}, {options}"
    elif any(meaning is WRONG for _, meaning in columns.values()):
        # a frame may have put a fault right: a gap in numbers that Polars does not take, a row that pandas repeats
        assert isinstance(result, (Ratings, Exception))
        if isinstance(result, Ratings):
            event("put right by the frame")
            assert len(frame) >= len(result) >= 1
            assert np.isfinite(result.values).all()
    else:
        judge(result, *table)


# -- files -----------------------------------------------------------------------------------------

SETS = ["ml-100k", "ml-1m", "ml-25m"]
MAIN = {name: DATASETS[name].main for name in SETS}


@pytest.fixture
def _verified_world(_small_world, monkeypatch):
    """The small sets with a content sum, and sums of all other files that are read."""
    for name in SETS:
        columns = np.array(make_rows(name == "ml-25m")).T * [[1], [1], [2], [1]]
        text = {
            m: c.decode("utf-8" if m.endswith("csv") else "latin-1").encode()
            for m, c in make_files(name).items()
            if m != MAIN[name]
        }
        sums = {member: hashlib.sha256(content).hexdigest() for member, content in text.items()}
        content = hashlib.sha256(columns.astype("<i8").tobytes()).hexdigest()
        monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], sums=sums, content=content))


def flip(content, at, by):
    return (
        content[: at % len(content)]
        + bytes([content[at % len(content)] ^ (by % 255 + 1)])
        + content[at % len(content) + 1 :]
    )


DAMAGES = {
    "none": lambda c, at, by: c,
    "flip": flip,
    "cut": lambda c, at, by: c[: at % len(c)],
    "empty": lambda c, at, by: b"",
    "zeros": lambda c, at, by: bytes(len(c)),
    "insert": lambda c, at, by: c[: at % len(c)] + bytes([by % 256]) + c[at % len(c) :],
    "line twice": lambda c, at, by: c + c.splitlines(keepends=True)[at % len(c.splitlines())],
    "line gone": lambda c, at, by: b"".join(
        line for n, line in enumerate(c.splitlines(keepends=True)) if n != at % len(c.splitlines())
    ),
    "other separator": lambda c, at, by: c.replace(b"\t", b";").replace(b"::", b"\t").replace(b",", b";"),
    "no number": lambda c, at, by: re.sub(rb"\d+", b"x", c, count=1),
    "line ends": lambda c, at, by: c.replace(b"\n", b"\r\n"),
    "web page": lambda c, at, by: b"<!DOCTYPE html><html>log in</html>",
    "UTF-16": lambda c, at, by: c.decode("latin-1").encode("utf-16"),
}


def zipped(name, files, how):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for member, content in files.items():
            archive.writestr(f"{name}/{member}", content)
    return buffer.getvalue()


@settings(OURS, max_examples=150)
@given(
    st.sampled_from(SETS), st.sampled_from(sorted(DAMAGES)), st.sampled_from(["folder", "zip", "damaged zip", "member gone"]),
    st.integers(0, 10**6), st.integers(0, 10**6), st.booleans(),
)  # fmt: skip
@pytest.mark.usefixtures("_verified_world")
def test_load_ratings_of_damaged_files(name, damage, place, at, by, stored):
    files = make_files(name)
    member = sorted(files)[by % len(files)]
    if place == "member gone":
        del files[member]
    else:
        files[member] = DAMAGES[damage](files[member], at, by)
    with tempfile.TemporaryDirectory() as folder:
        if place == "folder" or (place == "member gone" and at % 2):
            path = put(Path(folder) / "set", files)
        else:
            path = Path(folder) / "set.zip"
            content = zipped(name, files, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
            path.write_bytes(DAMAGES[damage](content, at, by) if place == "damaged zip" else content)
        before = {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
        result = outcome(lambda: load_ratings(name, path=path), (DataError,))
        assert {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()} == before
    if isinstance(result, Exception):
        assert str(path) in str(result)
        assert damage not in ("none", "line ends") or place in ("member gone", "damaged zip"), result
        return
    assert triples(result) == make_rows(name == "ml-25m")
    assert (result.n_users, result.n_items, result.scale) == (N_USERS, N_ITEMS, DATASETS[name].scale)
    assert all("Amélie" in title for title in result.titles)
    if member in files:  # else it was left out of a folder, which is allowed of folds, users and tags
        with tempfile.TemporaryDirectory() as folder:
            whole = load_ratings(name, path=put(Path(folder) / "whole", make_files(name)))
        assert result.titles.tolist() == whole.titles.tolist()
        assert result.genres.tolist() == whole.genres.tolist()
        assert np.array_equal(result.folds, whole.folds) if name == "ml-100k" else result.folds is None
        assert result.features.items.equals(whole.features.items)


@settings(OURS, max_examples=50)
@given(
    st.sampled_from(["ml-100k", "ml-100K", "", None, 3, ["ml-100k"], "ml-10m.zip", "../ml-100k", "ml-100k\0"]) | st.text(max_size=8),
    st.sampled_from([None, "", 3, b"x", "no such", "a\0b", "~nobody-of-this-name/x", "x" * 5000, ".", "/dev/null", "/", ["x"]]) | st.text(min_size=1, max_size=8),
    st.sampled_from(["movielens", "auto", "internet", None, 3, ["auto"]]),
)  # fmt: skip
@pytest.mark.usefixtures("_small_world")
def test_load_ratings_of_strange_arguments(name, path, source):
    result = outcome(lambda: load_ratings(name, path="." if path is None else path, source=source), (ValueError,))
    assert isinstance(result, Exception)
