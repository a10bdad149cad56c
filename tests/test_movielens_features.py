"""What `load_ratings` reads of users and films beside the ratings, and what it refuses."""

import pandas as pd
import pytest
from small_movielens import N_ITEMS, NAMES, make_files, make_zip, put

from mfhelpers.data.movielens import DataError, load_ratings

pytestmark = pytest.mark.usefixtures("_small_world")


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
