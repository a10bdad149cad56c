"""MovieLens sets are found, read and verified, or refused by name; without them, ratings are simulated."""

import dataclasses
import hashlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from servers import answers, refusing, sends, serving, silent

from mfhelpers.data import movielens
from mfhelpers.data.download import DownloadError
from mfhelpers.data.movielens import DATASETS, DataError, find_local, load_ratings

ROOT = Path(__file__).parents[1]
NAMES = ["ml-100k", "ml-1m", "ml-25m"]  # one of each format
MAIN = {"ml-100k": "u.data", "ml-1m": "ratings.dat", "ml-25m": "ratings.csv"}
N_USERS, N_ITEMS, PER_USER = 4, 40, 25
TAGS = """userId,movieId,tag,timestamp
1,11,Quirky,1
3,11,"café, Paris",2
5,11, QUIRKY ,3
1,8,  ,4
3,5,NA,5
7,5, ,6
7,4,of a film that nobody rated,7
"""


# -- small sets in the formats of the real ones ----------------------------------------------------


def make_rows(half_stars):
    """(user, item, rating, timestamp), ids that leave gaps, every item rated, in no order."""
    draw = random.Random(0)
    rows = []
    for user in range(N_USERS):
        for i in range(PER_USER):
            stars = draw.randint(1, 10) / 2 if half_stars else draw.randint(1, 5)
            item = (10 * user + i) % N_ITEMS
            rows.append((2 * user + 1, 3 * item + 2, stars, 900_000_000 + draw.randrange(10**6)))
    draw.shuffle(rows)
    return rows


def lines(rows, separator):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


def make_files(name):
    """The set's files, name: bytes."""
    rows = make_rows(name == "ml-25m")
    ids = [3 * item + 2 for item in range(N_ITEMS)]
    if name == "ml-100k":
        films = [f"{i}|Amélie {i} (2001)|01-Jan-2001||http://x|{i % 2}|{int(i % 3 == 0)}|0\n" for i in ids]
        folds = {f"u{fold}.test": lines(rows[fold - 1 :: 5], "\t") for fold in range(1, 6)}
        genres = b"Action|0\nComedy|1\nDrama|2\n\n"
        users = b"7|30|F|none|02139\n1|24|M|writer|T8H1N\n5|7|M|student|55414\n3|73|F|NA|00000\n"
        films = "".join(films).encode("latin-1")
        return {"u.data": lines(rows, "\t"), "u.item": films, "u.genre": genres, "u.user": users} | folds
    if name == "ml-1m":
        films = [f"{i}::Amélie {i}: a fable (2001)::Comedy|Drama\n" for i in ids]
        users = b"1::F::1::10::48067\n3::M::56::0::02460-1234\n5::M::25::15::55117\n7::F::45::20::00231\n"
        return {"ratings.dat": lines(rows, "::"), "movies.dat": "".join(films).encode("latin-1"), "users.dat": users}
    films = [f'{i},"Amélie, {i} (2001)",{"(no genres listed)" if i == 2 else "Comedy|Drama"}\n' for i in ids]
    head = b"userId,movieId,rating,timestamp\n"
    return {
        "ratings.csv": head + lines(rows, ","),
        "movies.csv": ("movieId,title,genres\n" + "".join(films)).encode(),
        "tags.csv": TAGS.encode(),
    }


def make_zip(name, files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in files.items():
            entry = zipfile.ZipInfo(member if "/" in member else f"{name}/{member}")  # of 1980: the same sum every time
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def put(folder, files):
    folder.mkdir(parents=True)
    for member, content in files.items():
        (folder / member).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def _small_world(monkeypatch, tmp_path):
    """Small sets under the names of the real ones, an empty cache, no network."""
    monkeypatch.setenv("MFHELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MFHELPERS_DATA", raising=False)
    monkeypatch.delenv("MFHELPERS_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    for name in NAMES:
        files = make_files(name)
        archive, rows = make_zip(name, files), make_rows(name == "ml-25m")
        columns = np.array(rows).T * [[1], [1], [2], [1]]
        small = dataclasses.replace(
            DATASETS[name],
            n_ratings=len(rows),
            n_users=N_USERS,
            n_items=N_ITEMS,
            sha256=hashlib.sha256(archive).hexdigest(),
            size=len(archive),
            content=hashlib.sha256(columns.astype("<i8").tobytes()).hexdigest() if name == "ml-100k" else None,
        )
        monkeypatch.setitem(DATASETS, name, small)
    with refusing() as nobody:
        monkeypatch.setattr(movielens, "SOURCES", (nobody.url,))
        yield


@pytest.fixture
def source(monkeypatch):
    """Make these servers the places to download from."""

    def set_sources(*servers):
        monkeypatch.setattr(movielens, "SOURCES", tuple(server.url for server in servers))

    return set_sources


def triples(ratings):
    return list(
        zip(
            ratings.user_ids[ratings.users].tolist(),
            ratings.item_ids[ratings.items].tolist(),
            ratings.values.tolist(),
            ratings.timestamps.tolist(),
            strict=True,
        )
    )


def is_real(ratings, name="ml-100k"):
    return ratings.source == "movielens" and triples(ratings) == make_rows(name == "ml-25m")


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_its_rows_in_order_with_titles_and_genres(name, zipped, tmp_path):
    place = put(tmp_path / name, make_files(name))
    if zipped:
        place = tmp_path / "any name.zip"
        place.write_bytes(make_zip(name, make_files(name)))
    ratings = load_ratings(name, path=place)
    assert is_real(ratings, name)
    assert (ratings.n_users, ratings.n_items, ratings.scale) == (N_USERS, N_ITEMS, DATASETS[name].scale)
    assert (
        ratings.titles[3]
        == {
            "ml-100k": "Amélie 11 (2001)",
            "ml-1m": "Amélie 11: a fable (2001)",
            "ml-25m": "Amélie, 11 (2001)",
        }[name]
    )
    assert (
        ratings.genres[[0, 3]].tolist()
        == {
            "ml-100k": ["", "Action"],
            "ml-1m": ["Comedy|Drama", "Comedy|Drama"],
            "ml-25m": ["", "Comedy|Drama"],
        }[name]
    )


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_do_not_matter(name, tmp_path):
    files = {member: content.replace(b"\n", b"\r\n") for member, content in make_files(name).items()}
    ratings = load_ratings(name, path=put(tmp_path / name, files))
    plain = load_ratings(name, path=put(tmp_path / "plain", make_files(name)))
    assert is_real(ratings, name)
    assert ratings.titles.tolist() == plain.titles.tolist()
    assert ratings.genres.tolist() == plain.genres.tolist()


def test_folds_are_those_of_the_test_files(tmp_path):
    files = make_files("ml-100k")
    ratings = load_ratings(path=put(tmp_path / "a", files))
    assert ratings.folds.tolist() == [1, 2, 3, 4, 5] * (N_USERS * PER_USER // 5)
    del files["u3.test"]
    assert load_ratings(path=put(tmp_path / "b", files)).folds is None


def test_films_without_an_entry_are_called_by_their_number(tmp_path):
    files = make_files("ml-25m")
    files["movies.csv"] = files["movies.csv"].split(b"\n")[0] + b"\n2,First,Comedy\n"
    ratings = load_ratings("ml-25m", path=put(tmp_path / "set", files))
    assert ratings.titles[:2].tolist() == ["First", "5"]
    assert ratings.genres[:2].tolist() == ["Comedy", ""]


# -- features --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", NAMES)
def test_features_stand_in_the_order_of_the_numbering(name, zipped, end, tmp_path):
    files = {member: content.replace(b"\n", end) for member, content in make_files(name).items()}
    place = tmp_path / "set.zip"
    place.write_bytes(make_zip(name, files)) if zipped else put(place, files)
    ratings = load_ratings(name, path=place)
    users, items = ratings.features.users, ratings.features.items
    assert ratings.user_ids.tolist() == [1, 3, 5, 7]
    wanted = {
        "ml-100k": {
            "age": [24, 73, 7, 30],
            "sex": ["M", "F", "M", "F"],
            "occupation": ["writer", "NA", "student", "none"],
            "zip_code": ["T8H1N", "00000", "55414", "02139"],
        },
        "ml-1m": {
            "sex": ["F", "M", "M", "F"],
            "age_group": [1, 56, 25, 45],
            "occupation_code": [10, 0, 15, 20],
            "zip_code": ["48067", "02460-1234", "55117", "00231"],
        },
        "ml-25m": None,
    }[name]
    assert (users if users is None else users.to_dict("list")) == wanted
    assert items["genres"].tolist() == ratings.genres.tolist()
    assert items["year"].tolist() == [2001] * N_ITEMS
    assert str(items["year"].dtype) == "Int64"
    if name == "ml-25m":
        assert items["tags"][:4].tolist() == ["", "na", "", "café, paris|quirky"]
        assert set(items["tags"][4:]) == {""}


def test_features_without_their_files_are_left_out(tmp_path):
    files = make_files("ml-100k")
    del files["u.user"]
    ratings = load_ratings(path=put(tmp_path / "a", files))
    assert ratings.features.users is None
    assert len(ratings.features.items) == N_ITEMS
    files = make_files("ml-25m")
    del files["tags.csv"]
    assert list(load_ratings("ml-25m", path=put(tmp_path / "b", files)).features.items) == ["year", "genres"]


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Heat (1995)", 1995),
        ("2001: A Space Odyssey (1968) ", 1968),
        ("Giving, The (1995) (V)", 1995),
        ("Twice (1940) (1999)", 1999),
        ("Death Note (2006–2007)", 2006),
        ("Fleabag (2016-)", 2016),
        ("NA", None),
        ("1984", None),
        ("Room (12345)", None),
    ],
)
def test_the_year_is_read_from_the_title(title, year, tmp_path):
    files = make_files("ml-25m")
    files["movies.csv"] = f'movieId,title,genres\n2,"{title}",NA\n'.encode()
    ratings = load_ratings("ml-25m", path=put(tmp_path / "set", files))
    first, second = ratings.features.items["year"][:2]
    assert first == year if year else first is pd.NA
    assert second is pd.NA  # movies.csv has no such film
    assert (ratings.titles[0], ratings.genres[0]) == (title, "NA")


@pytest.mark.parametrize(
    ("name", "file", "damage", "words"),
    [
        ("ml-100k", "u.user", lambda c: c.split(b"\n", 1)[1], "u.user describes 3 users, not the 4 of u.data"),
        ("ml-100k", "u.user", lambda c: c + b"9|20|M|artist|12345\n", "u.user describes 5 users"),
        ("ml-100k", "u.user", lambda c: c.replace(b"3|73", b"1|73"), "u.user describes 4 users, not the 4"),
        ("ml-100k", "u.user", lambda c: c.replace(b"|24|", b"|old|"), "u.user: .*old"),
        ("ml-100k", "u.user", lambda c: c.replace(b"|24|", b"||"), "u.user: "),
        ("ml-100k", "u.user", lambda c: c.replace(b"|24|", b"|240|"), "u.user: user 1 has the age 240"),
        ("ml-100k", "u.user", lambda c: c.replace(b"|M|writer", b"|X|writer"), "u.user: user 1 has the sex 'X'"),
        ("ml-100k", "u.user", lambda c: c.replace(b"writer", b""), "u.user: user 1 has the occupation ''"),
        ("ml-100k", "u.user", lambda c: c.replace(b"|", b","), "u.user: "),
        ("ml-100k", "u.user", lambda c: c[: c.rindex(b"|")], "u.user: user 3 has the zip_code ''"),
        ("ml-100k", "u.user", lambda c: b"", "u.user describes 0 users"),
        ("ml-1m", "users.dat", lambda c: c.split(b"\n", 1)[1], "users.dat describes 3 users, not the 4 of ratings.dat"),
        ("ml-1m", "users.dat", lambda c: c.replace(b"::56::", b"::x::"), "users.dat: .*age_group"),
        ("ml-1m", "users.dat", lambda c: c.replace(b"::20::", b"::21::"), "users.dat: user 7 has the occupation_code 21"),
        ("ml-1m", "users.dat", lambda c: c[: c.rindex(b"::")], "users.dat: "),
        ("ml-1m", "movies.dat", lambda c: b"", "no label of item_features"),
        ("ml-25m", "movies.csv", lambda c: c[: c.rindex(b",")], "movies.csv: a film has no"),
        ("ml-25m", "movies.csv", lambda c: c + c.splitlines(keepends=True)[1], "item_features has the label 2 more"),
        ("ml-25m", "tags.csv", lambda c: c.replace(b"1,11,", b"1,x,"), "tags.csv: .*x"),
        ("ml-25m", "tags.csv", lambda c: c.replace(b"tag,", b"word,"), "tags.csv: .*tag"),
    ],
)  # fmt: skip
def test_damaged_features_are_refused_with_the_file_and_the_remedy(name, file, damage, words, tmp_path):
    files = make_files(name)
    files[file] = damage(files[file])
    with pytest.raises(DataError, match=rf"set is damaged .*{words}.*Download it again"):
        load_ratings(name, path=put(tmp_path / "set", files))


# -- refusing --------------------------------------------------------------------------------------


def with_column(content, column, value, separator=b"\t"):
    """The first line's field replaced."""
    first, rest = content.split(b"\n", 1)
    fields = first.split(separator)
    fields[column] = value
    return separator.join(fields) + b"\n" + rest


def turned(content):
    first, rest = content.split(b"\n", 1)
    return rest + first + b"\n"


# name: (the file, what is done to it, what the error says)
DAMAGES = {
    "user 0 added": (
        "u.data",
        lambda c: b"0\t2\t5\t881250949\n0\t5\t5\t881250949\n0\t8\t1\t881250949\n" + c,
        "it has 103 ratings, 5 users.*the original 100 ratings, 4 users.*Spark",
    ),
    "row missing": ("u.data", lambda c: c.split(b"\n", 1)[1], "99 ratings.*original 100"),
    "rows reordered": ("u.data", turned, "values or their order differ"),
    "value changed": ("u.data", lambda c: with_column(c, 3, b"1"), "values or their order differ"),
    "rating missing": ("u.data", lambda c: with_column(c, 2, b""), "ratings off the scale 1 to 5"),
    "rating nan": ("u.data", lambda c: with_column(c, 2, b"nan"), "ratings off the scale"),
    "rating inf": ("u.data", lambda c: with_column(c, 2, b"inf"), "ratings off the scale"),
    "rating too high": ("u.data", lambda c: with_column(c, 2, b"6"), "ratings off the scale"),
    "rating zero": ("u.data", lambda c: with_column(c, 2, b"0"), "ratings off the scale"),
    "half a star": ("u.data", lambda c: with_column(c, 2, b"3.5"), "ratings off the scale"),
    "rating of letters": ("u.data", lambda c: with_column(c, 2, b"good"), "damaged.*good"),
    "user id missing": ("u.data", lambda c: with_column(c, 0, b""), "damaged"),
    "item id missing": ("u.data", lambda c: with_column(c, 1, b""), "damaged"),
    "column missing": ("u.data", lambda c: c.replace(b"\t9", b" 9"), "damaged|not the original"),
    "commas for tabs": ("u.data", lambda c: c.replace(b"\t", b","), "damaged"),
    "empty": ("u.data", lambda c: b"", "damaged"),
    "zeros": ("u.data", lambda c: bytes(len(c)), "damaged"),
    "no titles": ("u.item", lambda c: b"", "damaged"),
    "titles cut": ("u.item", lambda c: c.replace(b"|", b" "), "damaged"),
    "fold empty": ("u2.test", lambda c: b"", "damaged"),
    "fold of letters": ("u2.test", lambda c: with_column(c, 0, b"x"), "damaged"),
    "fold short": ("u2.test", lambda c: c.split(b"\n", 1)[1], "do not divide u.data into five"),
    "fold twice": ("u2.test", lambda c: c + c.split(b"\n", 1)[0], "do not divide u.data into five"),
    "fold with a row for another": (
        "u2.test",
        lambda c: b"".join([*c.splitlines(keepends=True)[1:], c.splitlines(keepends=True)[1]]),
        "do not divide u.data into five",
    ),
    "fold of strangers": ("u2.test", lambda c: with_column(c, 0, b"99"), "users or items that u.data has not"),
    "fold of a negative": ("u2.test", lambda c: with_column(c, 0, b"-1"), "users or items that u.data has not"),
}


@pytest.mark.parametrize(("file", "damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused_by_name(file, damage, words, tmp_path):
    files = make_files("ml-100k")
    files[file] = damage(files[file])
    place = put(tmp_path / "set", files)
    with pytest.raises(DataError, match=words) as caught:
        load_ratings(path=place)
    assert str(place) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("ml-1m", "ratings.dat", b"::", b"\t"),
        ("ml-1m", "movies.dat", b"::", b"\t"),
        ("ml-25m", "ratings.csv", b",", b";"),
        ("ml-25m", "movies.csv", b"title", b"name"),
        ("ml-25m", "movies.csv", "é".encode(), b"\xe9"),
    ],
)
def test_other_formats_than_the_original_are_refused(name, file, old, new, tmp_path):
    files = make_files(name)
    files[file] = files[file].replace(old, new)
    with pytest.raises(DataError, match=f"cannot be read as {name}"):
        load_ratings(name, path=put(tmp_path / "set", files))


def test_a_rating_that_occurs_twice_is_refused(tmp_path):
    """In a set without a known content sum, where counts alone would let it through."""
    files = make_files("ml-1m")
    rows = files["ratings.dat"].splitlines(keepends=True)
    files["ratings.dat"] = b"".join([*rows[:-1], rows[0]])
    with pytest.raises(DataError, match="set is damaged.*more than once"):
        load_ratings("ml-1m", path=put(tmp_path / "set", files))


@pytest.mark.parametrize("missing", ["u.data", "u.item", "u.genre"])
def test_a_zip_without_a_file_is_refused_by_its_name(missing, tmp_path):
    files = make_files("ml-100k")
    del files[missing]
    (tmp_path / "set.zip").write_bytes(make_zip("ml-100k", files))
    with pytest.raises(DataError, match=f"set.zip has no {missing}"):
        load_ratings(path=tmp_path / "set.zip")


@pytest.mark.parametrize(
    "spoil",
    {
        "cut": lambda z: z[: len(z) // 2],
        "empty": lambda z: b"",
        "a web page": lambda z: b"<html>log in</html>",
        "no deflate block": lambda z: z[:44] + b"\xff" + z[45:],
        "stored sum wrong": lambda z: z.replace(zipfile.ZipFile(io.BytesIO(z)).infolist()[0].CRC.to_bytes(4, "little"), b"\1\2\3\4"),
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_a_damaged_zip_is_refused_by_its_name(spoil, tmp_path):
    (tmp_path / "set.zip").write_bytes(spoil[1](make_zip("ml-100k", make_files("ml-100k"))))
    with pytest.raises(DataError, match="set.zip is damaged"):
        load_ratings(path=tmp_path / "set.zip")


def test_a_zip_is_never_unpacked(tmp_path):
    evil = {"../escaped.txt": b"x", "/tmp/mfhelpers-escaped.txt": b"x", "ml-100k/../../escaped.txt": b"x"}
    (tmp_path / "a" / "b").mkdir(parents=True)
    place = tmp_path / "a" / "b" / "set.zip"
    place.write_bytes(make_zip("ml-100k", make_files("ml-100k") | evil))
    assert is_real(load_ratings(path=place))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [place]
    assert not Path("/tmp/mfhelpers-escaped.txt").exists()


def test_unknown_names_and_sources_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown data set 'ml-10k'; there are ml-100k, ml-latest-small"):
        load_ratings("ml-10k")
    with pytest.raises(ValueError, match="source='internet': choose 'auto', 'movielens' or 'simulated'"):
        load_ratings(source="internet")


# -- finding ---------------------------------------------------------------------------------------


def test_path_may_be_the_folder_its_parent_or_a_zip(tmp_path, monkeypatch):
    put(tmp_path / "x" / "ml-100k", make_files("ml-100k"))
    put(tmp_path / "renamed", make_files("ml-100k"))
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "ml-100k.zip").write_bytes(make_zip("ml-100k", make_files("ml-100k")))
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ["x/ml-100k", "x", "renamed", "y", "y/ml-100k.zip"]:
        assert is_real(load_ratings(path=tmp_path / place))
        assert is_real(load_ratings(path=f"~/{place}"))


@pytest.mark.parametrize("place", ["empty", "nowhere"])
def test_a_wrong_path_is_refused_with_what_it_should_hold(place, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{place} holds neither u.data, nor ml-100k/u.data, nor ml-100k.zip"):
        load_ratings(path=tmp_path / place)


def test_a_path_goes_before_all_other_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MFHELPERS_DATA", str(put(tmp_path / "good" / "ml-100k", make_files("ml-100k"))))
    with pytest.raises(DataError):
        load_ratings(path=put(tmp_path / "bad", {"u.data": b"1\t1\t1\t1\n"}))


def test_data_folders_are_searched_in_order(tmp_path, monkeypatch):
    """Several of them, one missing; folders, parents of folders and zips; each for its own set."""
    (tmp_path / "ml-1m.zip").write_bytes(make_zip("ml-1m", make_files("ml-1m")))
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips" / "ml-25m.zip").write_bytes(make_zip("ml-25m", make_files("ml-25m")))
    places = [
        tmp_path / "nowhere",
        tmp_path / "ml-1m.zip",
        tmp_path / "zips",
        put(tmp_path / "first" / "ml-100k", make_files("ml-100k")),
        put(tmp_path / "second" / "ml-100k", {"u.data": b"never read"}).parent,
    ]
    monkeypatch.setenv("MFHELPERS_DATA", os.pathsep.join(map(str, places)))
    for name in NAMES:
        assert is_real(load_ratings(name), name)
    assert [find_local(name) for name in NAMES] == [places[3], places[1], places[2] / "ml-25m.zip"]
    assert find_local("ml-32m") is None


def test_damaged_data_is_an_error_and_not_a_reason_to_simulate(tmp_path, monkeypatch):
    monkeypatch.setenv("MFHELPERS_DATA", str(put(tmp_path / "ml-100k", {"u.data": b"1\t1\t1\t1\n"})))
    with pytest.raises(DataError, match="not the original"):
        load_ratings()


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_found_data_is_never_written_to(zipped, tmp_path, monkeypatch):
    data = tmp_path / "data"
    put(data / "ml-100k", make_files("ml-100k"))
    if zipped:
        shutil.rmtree(data / "ml-100k")
        (data / "ml-100k.zip").write_bytes(make_zip("ml-100k", make_files("ml-100k")))
    state = lambda: {path: path.stat().st_mtime_ns for path in [data, *data.rglob("*")]}  # noqa: E731
    before = state()
    monkeypatch.setenv("MFHELPERS_DATA", str(data))
    load_ratings()
    load_ratings(path=data)
    assert state() == before
    assert not (tmp_path / "cache").exists()


# -- downloading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_downloaded_once_and_kept_as_a_zip(name, source, tmp_path, monkeypatch):
    archive = make_zip(name, make_files(name))
    with serving(sends(archive)) as server:
        source(server)
        assert is_real(load_ratings(name), name)
        monkeypatch.setenv("MFHELPERS_OFFLINE", "1")
        assert is_real(load_ratings(name, source="movielens"), name)
    assert server.asked == [None]
    assert find_local(name) == tmp_path / "cache" / f"{name}.zip"
    assert find_local(name).read_bytes() == archive


def test_the_mirror_makes_up_for_a_bad_first_source(source):
    with serving(answers(503)) as server, serving(sends(make_zip("ml-100k", make_files("ml-100k")))) as mirror:
        source(server, mirror)
        assert is_real(load_ratings())
    assert (server.asked, mirror.asked) == ([None], [None])


@pytest.mark.parametrize("offline", ["1", "yes"])
def test_offline_asks_nobody(offline, source, monkeypatch):
    monkeypatch.setenv("MFHELPERS_OFFLINE", offline)
    with serving(sends(make_zip("ml-100k", make_files("ml-100k")))) as server:
        source(server)
        with pytest.raises(DownloadError, match="MFHELPERS_OFFLINE forbids a download.*\n.*MFHELPERS_DATA"):
            load_ratings(source="movielens")
        assert load_ratings().source == "simulated"
        assert server.asked == []
        monkeypatch.setenv("MFHELPERS_OFFLINE", "0")
        assert is_real(load_ratings())


def test_a_damaged_cache_is_downloaded_again_or_named(source, tmp_path, monkeypatch):
    archive = make_zip("ml-100k", make_files("ml-100k"))
    put(tmp_path / "cache", {"ml-100k.zip": archive[:-1]})
    with serving(sends(archive)) as server:
        source(server)
        assert is_real(load_ratings())
        (tmp_path / "cache" / "ml-100k.zip").write_bytes(archive[:-1])
        monkeypatch.setenv("MFHELPERS_OFFLINE", "1")
        with pytest.raises(DownloadError, match="(?s)damaged.*download http.*MFHELPERS_DATA"):
            load_ratings(source="movielens")
    assert server.asked == [None]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MFHELPERS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="cannot write to .*MFHELPERS_CACHE"):
        load_ratings(source="movielens")
    assert load_ratings().source == "simulated"
    assert "cannot write to" in capsys.readouterr().out


def test_an_error_names_every_source_and_a_remedy(source):
    with serving(answers(404)) as server, serving(answers(500)) as mirror:
        source(server, mirror)
        with pytest.raises(DownloadError, match="(?s)404.*500.*download http.*MFHELPERS_DATA.*path="):
            load_ratings(source="movielens")


# -- simulating ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_without_a_network_ratings_are_simulated_in_the_shape_of_the_set(name, capsys):
    ratings = load_ratings(name)
    dataset = DATASETS[name]
    assert ratings.source == "simulated"
    assert ratings.features is None
    assert (len(ratings), ratings.n_users, ratings.n_items) == (dataset.n_ratings, N_USERS, N_ITEMS)
    assert ratings.scale == dataset.scale
    notice = capsys.readouterr().out
    assert f"SIMULATED ratings in the shape of {name}" in notice
    assert "cannot be reached" in notice
    assert "MFHELPERS_DATA" in notice


def test_simulated_ratings_on_request_leave_data_and_network_alone(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MFHELPERS_DATA", str(put(tmp_path / "ml-100k", make_files("ml-100k"))))
    with serving(answers(500)) as server:
        source(server)
        assert load_ratings(source="simulated").source == "simulated"
    assert server.asked == []
    assert "because source='simulated' was asked for" in capsys.readouterr().out


def test_hanging_sources_cost_less_than_ten_seconds(source, monkeypatch, capsys):
    """The promise to a reader behind a wall that swallows everything, in the size of the real set."""
    monkeypatch.setitem(
        DATASETS, "ml-100k", dataclasses.replace(DATASETS["ml-100k"], n_ratings=100_000, n_users=943, n_items=1682)
    )
    with ExitStack() as stack:
        source(*(stack.enter_context(silent()) for _ in range(2)))
        started = time.monotonic()
        ratings = load_ratings()
        assert time.monotonic() - started < 10
    assert (ratings.source, len(ratings)) == ("simulated", 100_000)
    assert capsys.readouterr().out.count("no answer in time") == 2


HOLD = """
import sys, time, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(("seconds", "words"), [(60, "another process holds"), (3.5, "no answer in time")])
def test_another_process_at_it_costs_no_more_than_ten_seconds_either(source, tmp_path, capsys, seconds, words):
    (tmp_path / "cache").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache" / "ml-100k.zip.lock"), str(seconds)]
    with ExitStack() as stack, subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        stack.callback(holder.kill)
        source(*(stack.enter_context(silent()) for _ in range(2)))
        assert holder.stdout.readline()
        started = time.monotonic()
        assert load_ratings().source == "simulated"
        assert time.monotonic() - started < 9  # a second is left for simulating the real size
        holder.kill()
    assert words in capsys.readouterr().out


def test_data_folders_are_named_where_nothing_was_found(tmp_path, monkeypatch, capsys):
    places = tmp_path, tmp_path / "typo"
    monkeypatch.setenv("MFHELPERS_DATA", os.pathsep.join(map(str, places)))
    words = f"MFHELPERS_DATA was searched: {places[0]}, {places[1]} (does not exist)."
    assert load_ratings().source == "simulated"
    assert words in capsys.readouterr().out
    with pytest.raises(DownloadError, match=re.escape(words)):
        load_ratings(source="movielens")


QUIET = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "builtins.input"):
        print(event, arguments, file=sys.stderr, flush=True)
        os._exit(1)
sys.addaudithook(refuse)
import mfhelpers, mfhelpers.data.download, mfhelpers.data.movielens
assert os.listdir(".") == []
print(mfhelpers.load_ratings().source)
"""


def test_importing_and_loading_offline_ask_neither_the_network_nor_the_reader(tmp_path):
    (tmp_path / "home").mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MFHELPERS_OFFLINE": "1"}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", QUIET],
        env=environment,
        cwd=tmp_path / "home",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "simulated"


# -- the real sets ---------------------------------------------------------------------------------

REAL = {name: find_local(name) for name in ("ml-100k", "ml-latest-small")}
ORIGINAL = dict(DATASETS)


@pytest.fixture
def real(monkeypatch):
    """Where a real set lies; the small ones are put aside."""
    for name in NAMES:
        monkeypatch.setitem(DATASETS, name, ORIGINAL[name])

    def place(name):
        if REAL[name] is None:
            pytest.skip(f"needs the real {name}: set MFHELPERS_DATA to a folder that holds it")
        return REAL[name]

    return place


def test_the_real_ml_100k(real):
    ratings = load_ratings("ml-100k", path=real("ml-100k"))
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_000, 943, 1682)
    assert ratings.scale == (1, 5, 1)
    assert ratings.source == "movielens"
    assert triples(ratings)[0] == (196, 242, 3.0, 881250949)
    assert ratings.values.mean(dtype=float) == pytest.approx(3.52986)
    assert ratings.titles[0] == "Toy Story (1995)"
    assert ratings.genres[0] == "Animation|Children's|Comedy"
    assert "Misérables, Les (1995)" in ratings.titles
    assert np.bincount(ratings.folds).tolist() == [0] + [20_000] * 5
    users, items = ratings.features.users, ratings.features.items
    assert users.loc[0].tolist() == [24, "M", "technician", "85711"]
    assert (users["age"].min(), users["age"].max(), users["occupation"].nunique()) == (7, 73, 21)
    assert users["sex"].value_counts().to_dict() == {"M": 670, "F": 273}
    assert (items["year"].min(), items["year"].max(), ratings.titles[items["year"].isna()]) == (1922, 1998, ["unknown"])
    assert ratings.features.genre_flags().sum()[["Drama", "unknown"]].tolist() == [725, 2]


def test_the_real_ml_latest_small(real):
    ratings = load_ratings("ml-latest-small", path=real("ml-latest-small"))
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_836, 610, 9724)
    assert ratings.scale == (0.5, 5, 0.5)
    assert triples(ratings)[0] == (1, 1, 4.0, 964982703)
    assert ratings.titles[0] == "Toy Story (1995)"
    assert ratings.genres[0] == "Adventure|Animation|Children|Comedy|Fantasy"
    assert ratings.folds is None
    assert ratings.features.users is None
    assert ratings.features.items.loc[0, ["year", "tags"]].tolist() == [1995, "fun|pixar"]
    assert ratings.features.items["year"].isna().sum() == 12
    assert (ratings.features.items["tags"] != "").sum() == 1554


def test_the_real_sets_are_found_without_a_path(real, monkeypatch):
    monkeypatch.setenv("MFHELPERS_DATA", str(real("ml-100k").parent))
    assert load_ratings().source == "movielens"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_the_real_ml_latest_small_with_either_line_end(real, end, tmp_path):
    if not (folder := real("ml-latest-small")).is_dir():
        pytest.skip("needs ml-latest-small as a folder")
    files = {m: (folder / m).read_bytes().replace(b"\r\n", b"\n") for m in ("ratings.csv", "movies.csv")}
    files = {member: content.replace(b"\n", end) for member, content in files.items()}
    assert len(load_ratings("ml-latest-small", path=put(tmp_path / "set", files))) == 100_836


def test_the_copy_of_ml_100k_with_a_user_0_is_refused(real, tmp_path):
    if not (folder := real("ml-100k")).is_dir():
        pytest.skip("needs ml-100k as a folder")
    extra = b"0\t50\t5\t881250949\n0\t172\t5\t881250949\n0\t133\t1\t881250949\n"
    place = put(tmp_path / "ml-100k", {"u.data": extra + (folder / "u.data").read_bytes()})
    with pytest.raises(DataError, match="it has 100,003 ratings, 944 users, 1,682 items, .*Spark"):
        load_ratings(path=place)
