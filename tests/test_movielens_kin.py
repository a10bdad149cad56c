"""MovieLens sets of other layouts, folders in folders, encodings, sums and sizes. No real ml-10m or ml-20m is at hand: these are made up."""

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from servers import sends, serving
from small_movielens import N_ITEMS, N_USERS, is_real, lines, make_files, make_rows, make_zip, put, triples

from mfhelpers.data import movielens
from mfhelpers.data.download import DownloadError
from mfhelpers.data.movielens import DATASETS, DataError, find_local, load_ratings

pytestmark = pytest.mark.usefixtures("_small_world")
FOLDERS = {"ml-10m": "ml-10M100K", "ml-20m": "ml-20m"}
ORIGINAL = dict(DATASETS)


@pytest.fixture(autouse=True)
def _two_more(monkeypatch):
    for name in FOLDERS:
        small = dataclasses.replace(DATASETS[name], n_ratings=100, n_users=N_USERS, n_items=N_ITEMS)
        monkeypatch.setitem(DATASETS, name, small)


def files_of(name, encoding="utf-8"):
    """The set's files in its layout: fields between "::", half stars, titles in UTF-8; or csv files with heads."""
    if name == "ml-20m":
        return make_files("ml-25m")
    films = "".join(
        f"{3 * i + 2}::Amélie\x85 {i} (2001)::{'(no genres listed)' if i else 'Drama'}\n" for i in range(N_ITEMS)
    )
    return {
        "ratings.dat": lines(make_rows(True), "::"),
        "movies.dat": films.encode(encoding),
        "tags.dat": b"15::4973::excellent!::1215184630\n",
    }


def loaded(name, **options):
    with pytest.warns(UserWarning, match="no SHA-256 sum is known here: .*not verified"):
        return load_ratings(name, **options)


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_set_is_read_in_its_layout_and_says_that_it_is_not_verified(name, zipped, tmp_path):
    place = put(tmp_path / FOLDERS[name], files_of(name))
    if zipped:
        place = tmp_path / f"{name}.zip"
        place.write_bytes(make_zip(FOLDERS[name], files_of(name)))
    for path in (place, place.parent):
        ratings = loaded(name, path=path)
        assert triples(ratings) == make_rows(True)
        assert ratings.scale == (0.5, 5, 0.5)
    title = {"ml-10m": "Amélie\x85 3 (2001)", "ml-20m": "Amélie, 11 (2001)"}[name]
    assert ratings.titles[3] == title
    assert ratings.features.items["year"].tolist()[3] == 2001
    assert ratings.genres[:2].tolist() == {"ml-10m": ["Drama", ""], "ml-20m": ["", "Comedy|Drama"]}[name]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_set_without_a_sum_is_downloaded_if_it_is_a_whole_zip(name, monkeypatch, tmp_path):
    content = make_zip(FOLDERS[name], files_of(name))
    with serving(sends(content[:-30])) as cut, serving(sends(content)) as whole:
        monkeypatch.setattr(movielens, "SOURCES", (cut.url,))
        with pytest.raises(DownloadError, match="it sent no whole zip"):
            load_ratings(name, source="movielens")
        monkeypatch.setattr(movielens, "SOURCES", (cut.url, whole.url))
        assert triples(loaded(name)) == make_rows(True)
    assert find_local(name) == tmp_path / "cache" / f"{name}.zip"


def test_what_is_known_of_the_originals():
    assert {name: dataclasses.astuple(ORIGINAL[name])[1:6] for name in FOLDERS} == {
        "ml-10m": (10_000_054, 69_878, 10_677, (0.5, 5, 0.5), None),
        "ml-20m": (20_000_263, 138_493, 26_744, (0.5, 5, 0.5), None),
    }


@pytest.mark.parametrize(("name", "folder"), [("ml-100k", "ml-100k"), ("ml-10m", "ml-10M100K")])
def test_a_folder_in_a_folder_of_the_sets_name_is_found(name, folder, tmp_path, monkeypatch):
    inner = put(tmp_path / "data" / name / folder, make_files(name) if name == "ml-100k" else files_of(name))
    for outer in (tmp_path / "data", tmp_path / "data" / name):
        monkeypatch.setenv("MFHELPERS_DATA", str(outer))
        assert find_local(name) == inner
        for options in ({}, dict(path=outer)):
            ratings = load_ratings(name, **options) if name == "ml-100k" else loaded(name, **options)
            assert ratings.source == "movielens"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "file", "title"), [("ml-100k", "u.item", "Amélie 11 (2001)"), ("ml-1m", "movies.dat", "Amélie 11: a fable (2001)")])  # fmt: skip
def test_titles_are_read_in_either_encoding(name, file, title, encoding, tmp_path):
    files = make_files(name)
    files[file] = files[file].decode("latin-1").encode(encoding)
    assert load_ratings(name, path=put(tmp_path / "set", files)).titles[3] == title


def test_a_title_may_hold_what_ends_a_line_elsewhere(tmp_path):
    files = make_files("ml-100k")
    files["u.item"] = files["u.item"].replace(b"lie 11 ", b"lie\r\x85\x0c11 ")
    assert load_ratings(path=put(tmp_path / "set", files)).titles[3] == "Amélie\r\x85\x0c11 (2001)"


# -- every file that is read -----------------------------------------------------------------------


@pytest.fixture
def summed(monkeypatch):
    """The small ml-100k, with sums of its files as the real one has them."""
    files = make_files("ml-100k")
    text = {member: content.decode("latin-1").encode() for member, content in files.items() if member != "u.data"}
    sums = {member: hashlib.sha256(content).hexdigest() for member, content in text.items()}
    monkeypatch.setitem(DATASETS, "ml-100k", dataclasses.replace(DATASETS["ml-100k"], sums=sums))
    assert set(sums) == set(ORIGINAL["ml-100k"].sums)
    return files


def test_sums_hold_whatever_the_line_ends_and_the_encoding(summed, tmp_path):
    assert is_real(load_ratings(path=put(tmp_path / "a", summed)))
    summed["u.item"] = summed["u.item"].decode("latin-1").encode("utf-8-sig")
    ends = {member: content.replace(b"\n", b"\r\n") for member, content in summed.items()}
    assert is_real(load_ratings(path=put(tmp_path / "b", ends)))


@pytest.mark.parametrize("member", sorted(ORIGINAL["ml-100k"].sums))
def test_one_flipped_bit_in_any_file_is_refused_by_its_name(member, summed, tmp_path):
    draw = np.random.default_rng(0)
    for at in draw.integers(0, len(summed[member]), 5).tolist():
        content = bytearray(summed[member])
        content[at] ^= 1 << int(draw.integers(8))
        place = put(tmp_path / f"{at}", summed | {member: bytes(content)})
        with pytest.raises(DataError, match=f"{member} is not the original of ml-100k .wrong SHA-256 sum"):
            load_ratings(path=place)


def test_a_zip_without_a_file_that_has_a_sum_is_refused(summed, tmp_path):
    place = tmp_path / "set.zip"
    for member in DATASETS["ml-100k"].sums:
        place.write_bytes(make_zip("ml-100k", {m: c for m, c in summed.items() if m != member}))
        with pytest.raises(DataError, match=f"has no {member}, as the original ml-100k has"):
            load_ratings(path=place)


@pytest.mark.parametrize("member", ["u.data", "u.item"])
def test_a_zip_that_expands_without_end_is_refused_before_it_does(member, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in make_files("ml-100k").items():
            archive.writestr(f"ml-100k/{name}", bytes(11_000_000) if name == member else content)
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(
        DataError, match=f"{member} would take 11,000,000 bytes, at most 10,010,000 are expected of ml-100k"
    ):
        load_ratings(path=tmp_path / "set.zip")
    (tmp_path / "set.zip").unlink()
    Path(put(tmp_path / "set", make_files("ml-100k")) / member).write_bytes(bytes(11_000_000))
    with pytest.raises(DataError, match="would take 11,000,000 bytes"):
        load_ratings(path=tmp_path / "set")
