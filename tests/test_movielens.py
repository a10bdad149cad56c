"""MovieLens sets are found, read and verified, or refused by name."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_movielens import N_ITEMS, N_USERS, NAMES, PER_USER, is_real, make_files, make_zip, put, triples

from mfhelpers.data.movielens import DATASETS, DataError, find_local, load_ratings

pytestmark = pytest.mark.usefixtures("_small_world")


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
    with pytest.raises(DataError, match="has no u3.test, but others of u1.test to u5.test: give all or none"):
        load_ratings(path=put(tmp_path / "b", files))
    files = {member: content for member, content in files.items() if not member.endswith(".test")}
    assert load_ratings(path=put(tmp_path / "c", files)).folds is None


def test_films_without_an_entry_are_called_by_their_number(tmp_path):
    files = make_files("ml-25m")
    files["movies.csv"] = files["movies.csv"].split(b"\n")[0] + b"\n2,First,Comedy\n"
    ratings = load_ratings("ml-25m", path=put(tmp_path / "set", files))
    assert ratings.titles[:2].tolist() == ["First", "5"]
    assert ratings.genres[:2].tolist() == ["Comedy", ""]


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
    with pytest.raises(ValueError, match="unknown data set 'ml-10k'; there are ml-100k, .*ml-10m, ml-20m.*from_frame"):
        load_ratings("ml-10k")
    for name in (None, ["ml-100k"], {}):
        with pytest.raises(ValueError, match="unknown data set .*; there are ml-100k"):
            load_ratings(name)
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


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("empty", "empty holds neither u.data, nor ml-100k/u.data, nor ml-100k.zip"),
        ("nowhere", "nowhere does not exist: give the folder of ml-100k or its zip"),
        ("set/u.data", "u.data is one file and no zip: give the folder that holds u.data, path='.*/set'"),
        ("set/u.item", "u.item is one file and no zip: give the folder that holds u.data$"),
        ("set/" + "x" * 300, "cannot be looked into .*name too long"),
        ("set/u.data/x", "does not exist"),
    ],
)
def test_a_wrong_path_is_refused_with_what_it_should_hold(place, words, tmp_path):
    (tmp_path / "empty").mkdir()
    put(tmp_path / "set", make_files("ml-100k"))
    with pytest.raises(DataError, match=words):
        load_ratings(path=tmp_path / place)


@pytest.mark.parametrize("path", [3, "", b"ml-100k", ["ml-100k"]])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(ValueError, match="path=.*: give the folder of ml-100k or its zip"):
        load_ratings(path=path)


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
