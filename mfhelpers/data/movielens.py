"""Real ratings: find, fetch, read and verify the MovieLens sets; simulated ones where there are none."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import platformdirs

from ..display.notebook import show
from .arguments import one_of
from .download import DownloadError, Patience, fetch
from .ratings import Ratings, Scale
from .simulate import simulate, simulated_features

# GroupLens' certificate has lapsed three times since 2024; the mirror holds the same bytes.
SOURCES = (
    "https://files.grouplens.org/datasets/movielens/{name}.zip",
    "https://huggingface.co/datasets/Recommenders/MovieLens/resolve/main/{name}.zip",
)


@dataclass(frozen=True)
class Dataset:
    """What is known of a MovieLens set: numbers to verify, checksums, terms."""

    name: str
    n_ratings: int
    n_users: int
    n_items: int  # items with at least one rating
    scale: Scale
    sha256: str | None  # of the zip; without one, the loader says that values are not verified
    size: int | None  # of the zip, bytes
    licence: str
    content: str | None = None  # SHA-256 of the parsed columns, whatever the line ends
    main: str = "ratings.csv"
    folder: str = ""  # in the zip, if not the name of the set
    sums: dict[str, str] = field(default_factory=dict)  # SHA-256 of the other files' text, as UTF-8 with \n

    @property
    def folders(self) -> list[str]:
        return list(dict.fromkeys((self.folder or self.name, self.name)))


STARS, HALF_STARS = Scale(1, 5, 1), Scale(0.5, 5, 0.5)
NO_COPIES = "research use; may not be redistributed, so no copy in a repository or on a course page"
AS_IS = "may be redistributed under the same terms, with acknowledgement; no commercial use"
DATASETS = {
    d.name: d
    for d in (
        Dataset(
            "ml-100k", 100_000, 943, 1_682, STARS,
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229", 4_924_029, NO_COPIES,
            "1f00e27f59a2906a1b2ddea7a0f89607f1a89f876320e34d6babfded506ec30e", "u.data",
            sums={
                "u.item": "390da21c8d0c6a8a4e515af28c299bbbdbcc6fd78e1054fe6e05a772c0d1a547",
                "u.genre": "9757e0d3e6b298159a80dd48eaf938114690e911e39af97a76949ef1663610bb",
                "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
                "u1.test": "18c6014a4b2c7324f250a63f8904a7b16b2b19f911129e346141507b0cbac950",
                "u2.test": "4de658d1e04ed9104629509a2e2528fce833ac8e048280183f1df167632038c3",
                "u3.test": "0f548b51c78327de4c156461d3e430b7e5579fe2b5681586a59416e48fd35f6d",
                "u4.test": "7c02ad0a1e7ab1083c8b9d4b627203a051dd7b5eab46d99fa44de33470de8db9",
                "u5.test": "351cc52e0d15b6c721466276fc24671d40936899e3d01fadeaf312915b8c5634",
            },
        ),
        Dataset(
            "ml-latest-small", 100_836, 610, 9_724, HALF_STARS,
            "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436", 978_202, AS_IS,
            "2345b93c1e7049ee0e80db7c47cc26079973d1f7c37a7874142d80a984368407",
            sums={
                "movies.csv": "c47b783f23eb304413307e1bb05335e427737da20ec8d3c0e96335567dd5f3dc",
                "tags.csv": "68eec00a0820c2faa8863a6df7032f13d5899a4462bce9a97213905297ff3d34",
            },
        ),
        Dataset(
            "ml-1m", 1_000_209, 6_040, 3_706, STARS,
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", 5_917_549, NO_COPIES, None, "ratings.dat",
        ),
        Dataset("ml-10m", 10_000_054, 69_878, 10_677, HALF_STARS, None, None, NO_COPIES, None, "ratings.dat", "ml-10M100K"),
        Dataset("ml-20m", 20_000_263, 138_493, 26_744, HALF_STARS, None, None, NO_COPIES),
        Dataset(
            "ml-25m", 25_000_095, 162_541, 59_047, HALF_STARS,
            "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa", 261_978_986, AS_IS,
        ),
        Dataset(
            "ml-32m", 32_000_204, 200_948, 84_432, HALF_STARS,
            "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee", None, AS_IS,
        ),
    )
}  # fmt: skip


# user features: the file, what stands between the fields, and the fields after the id
USER_FILES = {
    "ml-100k": ("u.user", "|", ("age", "sex", "occupation", "zip_code")),
    "ml-1m": ("users.dat", "::", ("sex", "age_group", "occupation_code", "zip_code")),
}
WHOLE = {"age": (1, 120), "age_group": (1, 120), "occupation_code": (0, 20)}  # numbers, with their limits
YEAR = re.compile(r".*\((\d{4})(?:[-–]\d{0,4})?\)")  # the last "(1995)" of a title, or the first of "(2006–2007)"


class DataError(ValueError):
    """Files that are there but are not the data set they should be."""


def load_ratings(name: str = "ml-100k", *, path: str | os.PathLike | None = None, source: str = "auto") -> Ratings:
    """Load a MovieLens set, from wherever it is to be had.

    The places, in this order: `path`; the folders in the environment variable MFHELPERS_DATA; the
    cache of this user; GroupLens; a mirror. With "auto" the last resort is `simulate_ratings`, in
    the shape of the set and with a notice that nobody can miss.

    Parameters
    ----------
    name : str
        "ml-100k", "ml-latest-small", "ml-1m", "ml-10m", "ml-20m", "ml-25m" or "ml-32m". Of ml-10m and ml-20m no
        SHA-256 sum is known here, which a warning says.
    path : path, optional
        A folder with the set's files, the folder above it, or the zip; no other place is tried.
    source : {"auto", "movielens", "simulated"}
        "movielens" raises where "auto" would simulate, and waits longer for a slow network.

    Returns
    -------
    Ratings
        Users and items numbered in the order of their ids, ratings in the order of the file;
        titles and genres, and the official folds of ml-100k. `source` is "movielens" or "simulated".
        `features.items` has year, genres and, of the sets with tags.csv, tags (lower case, joined by "|");
        `features.users` age, sex, occupation and zip_code (ml-100k), or sex, age_group, occupation_code
        and zip_code (ml-1m; its README has the codes). Simulated ratings have year, genres, age, sex and occupation.

    Raises
    ------
    ValueError
        For an unknown name or source, or a path that is none.
    DataError
        If nothing is at the path, or files were found but are damaged, or are not the set that they claim to be.
    DownloadError
        With source="movielens", if the set is nowhere to be had.

    Notes
    -----
    A download is kept in the cache (MFHELPERS_CACHE moves it) and read from the zip. Setting
    MFHELPERS_OFFLINE to 1 leaves out both downloads. Found data is never written to.
    """
    if not isinstance(name, str) or name not in DATASETS:
        known = ", ".join(DATASETS)
        raise ValueError(
            f"unknown data set {name!r}; there are {known}, and Ratings.from_frame takes ratings of your own"
        )
    one_of("source", source, ("auto", "movielens", "simulated"))
    dataset = DATASETS[name]
    if source == "simulated":
        return _simulated(dataset, "because source='simulated' was asked for")
    if path is not None:
        return _read(dataset, _named(dataset, path))
    if (located := _in_data_folders(dataset)) is not None:
        return _read(dataset, located)
    try:
        return _read(dataset, _download(dataset, Patience() if source == "movielens" else Patience(4, 10)))
    except DownloadError as error:
        told = [f"{place}" if place.exists() else f"{place} (does not exist)" for place in data_folders()]
        searched = f"MFHELPERS_DATA was searched: {', '.join(told)}.\n" if told else ""
        remedy = (
            f"{searched}On a machine with a network, download {SOURCES[0].format(name=name)} and put it (zipped or not) "
            f"into a folder that MFHELPERS_DATA names, or pass path=."
        )
        if source == "movielens":
            raise DownloadError(f"{error}\n{remedy}") from error
        return _simulated(dataset, f"because {error}\n{remedy}")


def find_local(name: str) -> Path | None:
    """Where on this machine `load_ratings(name)` would read the set without a network, or None."""
    cached = cache_folder() / f"{name}.zip"
    return _in_data_folders(DATASETS[name]) or (cached if cached.exists() else None)


def data_folders() -> list[Path]:
    """What the environment variable MFHELPERS_DATA names, there or not."""
    named = os.environ.get("MFHELPERS_DATA", "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in named if folder]


def cache_folder() -> Path:
    """The folder that downloads are kept in: MFHELPERS_CACHE, or this user's cache folder."""
    chosen = os.environ.get("MFHELPERS_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("mfhelpers", appauthor=False)


def _download(dataset: Dataset, patience: Patience) -> Path:
    """The verified zip in the cache, downloaded if need be."""
    cached = cache_folder() / f"{dataset.name}.zip"
    urls = [source.format(name=dataset.name) for source in SOURCES]
    if os.environ.get("MFHELPERS_OFFLINE", "0") not in ("", "0"):
        if not cached.exists():
            raise DownloadError(f"{dataset.name} is not on this machine, and MFHELPERS_OFFLINE forbids a download.")
        urls = []
    return fetch(urls, cached, dataset.sha256, dataset.size, patience=patience)


def _simulated(dataset: Dataset, why: str) -> Ratings:
    """Ratings in the shape of the set, with a notice that nobody can miss."""
    text = (
        f"These are SIMULATED ratings in the shape of {dataset.name}, {why}\n"
        "Everything runs, but the numbers and film titles in the text belong to the real data."
    )
    rule = "=" * 88
    box = (
        '<div style="border: 4px solid #d55e00; background: #fff3e6; color: #1a1a1a; padding: 0.8em 1.2em; '
        f'font-size: 110%; white-space: pre-wrap">⚠ {html.escape(text)}</div>'
    )
    # the plain one without the sign: a console of Windows, or a log, may not be able to print it
    show({"text/html": box, "text/plain": f"{rule}\n{text}\n{rule}"})
    shape = dataset.n_users, dataset.n_items, dataset.n_ratings
    ratings, truth = simulate(*shape, scale=dataset.scale, mood=0.2, name=dataset.name)
    return dataclasses.replace(ratings, features=simulated_features(truth, with_users=dataset.name in USER_FILES))


# -- files -----------------------------------------------------------------------------------------


def _named(dataset: Dataset, path: Any) -> Path:
    """The folder or zip that a path means: itself, whatever it is called, or what is in it by the name of the set."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError(f"path={path!r}: give the folder of {dataset.name} or its zip")
    try:
        place = Path(path).expanduser()
        if not place.exists():
            raise DataError(f"{place} does not exist: give the folder of {dataset.name} or its zip")
        if place.is_file() and place.suffix != ".zip" and not zipfile.is_zipfile(place):
            folder = f", path={str(place.parent)!r}" if place.name == dataset.main else ""
            raise DataError(f"{place} is one file and no zip: give the folder that holds {dataset.main}{folder}")
        if place.is_file() or (place / dataset.main).is_file():
            return place
        if (located := _located(dataset, place)) is not None:
            return located
    except (OSError, RuntimeError) as error:  # no right to look, a name that is too long, no such user
        raise DataError(
            f"{path} cannot be looked into ({error}): give the folder of {dataset.name} or its zip"
        ) from error
    in_folders = "".join(f", nor {folder}/{dataset.main}" for folder in dataset.folders)
    raise DataError(
        f"{place} holds neither {dataset.main}{in_folders}, nor {dataset.name}.zip: give the folder of {dataset.name} or its zip"
    )


def _located(dataset: Dataset, place: Path) -> Path | None:
    """The folder or zip named like the set that holds it: `place` itself, or one in it.

    What unpacks a zip may put its folder into one of the same name.
    """
    archive, names = f"{dataset.name}.zip", dataset.folders
    for folder in (place, *(place / name for name in names), *(place / dataset.name / name for name in names)):
        if folder.name in names and (folder / dataset.main).is_file():
            return folder
    return next((file for file in (place, place / archive) if file.name == archive and file.is_file()), None)


def _in_data_folders(dataset: Dataset) -> Path | None:
    return next(filter(None, (_located(dataset, folder) for folder in data_folders())), None)


class _Files:
    """The members of a data set, in a folder or in a zip; a zip is never unpacked."""

    def __init__(self, dataset: Dataset, place: Path) -> None:
        self.dataset, self.place = dataset, place
        self.archive = None if place.is_dir() else zipfile.ZipFile(place)

    def has(self, member: str) -> bool:
        if self.archive is None:
            return (self.place / member).is_file()
        return self._entry(member) is not None

    def _entry(self, member: str) -> zipfile.ZipInfo | None:
        wanted = [f"{folder}/{member}" for folder in self.dataset.folders]
        entries = self.archive.infolist() if self.archive else []
        return next((entry for entry in entries if entry.filename in wanted), None)

    def open(self, member: str) -> IO[bytes]:
        if not self.has(member):
            raise DataError(f"{self.place} has no {member}")
        entry = self._entry(member)
        size = (self.place / member).stat().st_size if entry is None else entry.file_size  # as a zip declares it
        if size > (limit := 10_000_000 + 100 * self.dataset.n_ratings):
            raise DataError(
                f"{self.place}: {member} would take {size:,} bytes, at most {limit:,} are expected of {self.dataset.name}"
            )
        if self.archive is None or entry is None:
            return open(self.place / member, "rb")
        # read into memory at once: pandas seeks, and a damaged member shows here and nowhere later
        return io.BytesIO(self.archive.read(entry))

    def text(self, member: str) -> str:
        """The text of a file other than the ratings, verified where its sum is known."""
        with self.open(member) as file:
            content = file.read()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            if member.endswith(".csv"):
                raise
            text = content.decode("latin-1")  # as the oldest sets are; whoever saved them anew has UTF-8
        text = text.replace("\r\n", "\n")
        wanted = self.dataset.sums.get(member)
        if wanted is not None and hashlib.sha256(text.encode()).hexdigest() != wanted:
            raise DataError(
                f"{self.place}: {member} is not the original of {self.dataset.name} (wrong SHA-256 sum). Download it again."
            )
        return text

    def close(self) -> None:
        if self.archive is not None:
            self.archive.close()


def _read(dataset: Dataset, place: Path) -> Ratings:
    try:
        with closing(_Files(dataset, place)) as files:
            for member in dataset.sums if files.archive else ():  # of a folder some may be left out
                if not files.has(member):
                    raise DataError(f"{place} has no {member}, as the original {dataset.name} has. Download it again.")
            users, items, values, timestamps = _read_columns(dataset, files)
            _verify(dataset, place, users, items, values, timestamps)
            described = _read_users(dataset, files, users)
            films = _read_items(dataset, files)
            if dataset.sha256 is None:
                told = "no SHA-256 sum is known here: numbers of ratings, users and items and the scale are those of the original"
                warnings.warn(f"{place}: {told}, values, times and titles are not verified", stacklevel=3)
            folds = _read_folds(files, users, items) if dataset.name == "ml-100k" else None
        return Ratings.from_arrays(
            users, items, values, timestamps,
            scale=dataset.scale, folds=folds, name=dataset.name, source="movielens",
            titles=dict(zip(films.index, films.pop("title").tolist(), strict=True)),
            genres=dict(zip(films.index, films["genres"].tolist(), strict=True)),
            user_features=described, item_features=films,
        )  # fmt: skip
    except DataError:
        raise
    # what pandas, zipfile and a look-up of a missing column raise for bytes that make no sense
    except (
        ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, EOFError, OSError, zipfile.BadZipFile, zlib.error, struct.error
    ) as error:  # fmt: skip
        raise DataError(
            f"{place} is damaged and cannot be read as {dataset.name} ({error}). Download it again."
        ) from error


def _table(files: _Files, member: str, **options) -> pd.DataFrame:
    with files.open(member) if member == files.dataset.main else io.StringIO(files.text(member)) as file:
        try:
            if member != files.dataset.main and options.get("engine") != "python":
                options["lineterminator"] = "\n"  # and not at a \r within a title
            return pd.read_csv(file, **options)
        except ValueError as error:
            raise ValueError(f"{member}: {error}") from error


def _read_columns(dataset: Dataset, files: _Files) -> tuple[np.ndarray, ...]:
    types = {"user": np.int64, "item": np.int64, "rating": np.float32, "timestamp": np.int64}
    names, main = list(types), dataset.main
    apart = ["user", "_1", "item", "_2", "rating", "_3", "timestamp"]  # "::" between the fields
    layout: dict[str, Any] = {
        "u.data": dict(sep="\t", header=None, names=names),
        "ratings.dat": dict(sep=":", header=None, names=apart, usecols=names),
        "ratings.csv": dict(header=0, names=names),
    }[main]
    frame = _table(files, main, dtype=types, **layout)
    return tuple(frame[column].to_numpy() for column in types)


def _verify(dataset: Dataset, place: Path, users, items, values, timestamps) -> None:
    """Compare rows, users, items, scale and, where it is known, every value with the original."""
    counts = {"ratings": len(values), "users": len(np.unique(users)), "items": len(np.unique(items))}
    wanted = {"ratings": dataset.n_ratings, "users": dataset.n_users, "items": dataset.n_items}
    if counts != wanted:
        seen, hoped = (", ".join(f"{n:,} {what}" for what, n in c.items()) for c in (counts, wanted))
        hint = " A copy with 100,003 rows and a user 0 goes round in Spark courses." if 0 in users else ""
        raise DataError(f"{place} is not the original {dataset.name}: it has {seen}, the original {hoped}.{hint}")
    low, high, step = dataset.scale
    if not ((values >= low) & (values <= high)).all() or (values % step).any():
        raise DataError(f"{place} is not the original {dataset.name}: it has ratings off the scale {dataset.scale}")
    if dataset.content is not None and _content(users, items, values, timestamps) != dataset.content:
        raise DataError(
            f"{place} is not the original {dataset.name}: the counts agree but values or their order differ, "
            "and every split would differ with them. Download it again."
        )


def _content(users, items, values, timestamps) -> str:
    columns = (users, items, np.rint(values * 2), timestamps)
    return hashlib.sha256(b"".join(np.asarray(c).astype("<i8").tobytes() for c in columns)).hexdigest()


def _read_users(dataset: Dataset, files: _Files, users: np.ndarray) -> pd.DataFrame | None:
    """Features by user id; None of a set that has none, or without the file."""
    member, separator, names = USER_FILES.get(dataset.name, ("", "", ()))
    if not (member and files.has(member)):
        return None
    types = {name: np.int64 if name in WHOLE or name == "user" else str for name in ("user", *names)}
    layout: dict[str, Any] = dict(sep=separator, header=None, keep_default_na=False)
    layout["engine"] = "c" if len(separator) == 1 else "python"  # the quick one reads no "::"
    frame = _table(files, member, names=list(types), dtype=types, **layout).set_index("user")
    known = np.unique(users)
    if not np.array_equal(np.sort(frame.index), known):
        raise ValueError(f"{member} describes {len(frame)} users, not the {len(known)} of {dataset.main}")
    for name, column in frame.items():
        if name in WHOLE:
            good = column.between(*WHOLE[name])
        else:
            good = column.isin(["M", "F"]) if name == "sex" else column.fillna("") != ""
        if not good.all():
            at = int(good.argmin())
            raise ValueError(f"{member}: user {frame.index[at]} has the {name} {column.tolist()[at]!r}")
    return frame


def _read_items(dataset: Dataset, files: _Files) -> pd.DataFrame:
    """Title, year, genres and, where there are some, tags by item id."""
    if dataset.name == "ml-100k":
        frame = _table(files, "u.item", sep="|", header=None, dtype={1: str}, keep_default_na=False)
        names = [line.split("|")[0] for line in files.text("u.genre").split("\n") if "|" in line]
        flags, names = frame.iloc[:, 5 : 5 + len(names)].to_numpy(bool), np.array(names)
        ids, titles, genres = frame[0].tolist(), frame[1].tolist(), ["|".join(names[row]) for row in flags]
    elif dataset.main == "ratings.dat":
        # lines end at \n alone: splitlines would break a title at U+0085 and the like
        rows = [line.split("::") for line in files.text("movies.dat").split("\n") if line]
        ids, titles, genres = [int(row[0]) for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    else:
        types = {"movieId": np.int64, "title": str, "genres": str}
        frame = _table(files, "movies.csv", dtype=types, keep_default_na=False)
        ids, titles, genres = (frame[column].tolist() for column in types)
        if "" in titles or "" in genres:  # none is empty in the original; a line that is cut gives one
            raise ValueError("movies.csv: a film has no title or no genres")
    genres = ["" if genre == "(no genres listed)" else genre for genre in genres]
    years = [int(match[1]) if (match := YEAR.match(title)) else 0 for title in titles]
    films = {
        "title": titles,
        "year": pd.arrays.IntegerArray(np.array(years, np.int64), np.equal(years, 0)),
        "genres": genres,
    }
    if dataset.main == "ratings.csv" and files.has("tags.csv"):
        types = {"movieId": np.int64, "tag": str}
        tags = _table(files, "tags.csv", usecols=list(types), dtype=types, keep_default_na=False)
        pairs = {(film, tag.strip().lower()) for film, tag in zip(*(tags[c].tolist() for c in types), strict=True)}
        of_film = {film: "|".join(tag for _, tag in group) for film, group in groupby(sorted(pairs), itemgetter(0))}
        # a tag of spaces alone sorts first, and leaves its stroke
        films["tags"] = [of_film.get(film, "").removeprefix("|") for film in ids]
    return pd.DataFrame(films, index=ids)


def _read_folds(files: _Files, users: np.ndarray, items: np.ndarray) -> np.ndarray | None:
    """For each rating the official fold, 1 to 5, in which it is a test rating; None without the files."""
    there = [files.has(f"u{fold}.test") for fold in range(1, 6)]
    if not any(there):
        return None
    if not all(there):
        raise DataError(
            f"{files.place} has no u{there.index(False) + 1}.test, but others of u1.test to u5.test: give all or none"
        )
    folds, rows = np.zeros((users.max() + 1, items.max() + 1), np.int8), 0
    for fold in range(1, 6):
        options = dict(sep="\t", header=None, usecols=[0, 1], dtype=np.int64)
        pairs = _table(files, f"u{fold}.test", **options).to_numpy()
        if (pairs > [users.max(), items.max()]).any() or (pairs < 0).any():
            raise DataError(f"{files.place}: u{fold}.test names users or items that u.data has not")
        folds[pairs[:, 0], pairs[:, 1]] = fold
        rows += len(pairs)
    of_rating = folds[users, items]
    if (of_rating == 0).any() or rows != len(users):
        raise DataError(f"{files.place}: u1.test to u5.test do not divide u.data into five parts")
    return of_rating
