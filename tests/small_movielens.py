"""Small sets in the formats of the real MovieLens ones."""

import dataclasses
import hashlib
import io
import random
import zipfile

import numpy as np
import pytest
from servers import refusing

from mfhelpers.data import movielens
from mfhelpers.data.movielens import DATASETS

NAMES = ["ml-100k", "ml-1m", "ml-25m"]  # one of each format
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


@pytest.fixture
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
            sums={},
            content=hashlib.sha256(columns.astype("<i8").tobytes()).hexdigest() if name == "ml-100k" else None,
        )
        monkeypatch.setitem(DATASETS, name, small)
    with refusing() as nobody:
        monkeypatch.setattr(movielens, "SOURCES", (nobody.url,))
        yield


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
