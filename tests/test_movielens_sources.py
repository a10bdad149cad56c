"""MovieLens sets that are not on the machine are downloaded; without a network, ratings are simulated."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import answers, sends, serving, silent
from small_movielens import N_ITEMS, N_USERS, NAMES, is_real, make_files, make_zip, put

from mfhelpers.data import movielens
from mfhelpers.data.download import DownloadError
from mfhelpers.data.movielens import DATASETS, find_local, load_ratings

pytestmark = pytest.mark.usefixtures("_small_world")
ROOT = Path(__file__).parents[1]


# -- downloading -----------------------------------------------------------------------------------


@pytest.fixture
def source(monkeypatch):
    """Make these servers the places to download from."""

    def set_sources(*servers):
        monkeypatch.setattr(movielens, "SOURCES", tuple(server.url for server in servers))

    return set_sources


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
    assert set(ratings.features.items) == {"year", "genres"}
    assert (ratings.features.users is None) == (name not in ("ml-100k", "ml-1m"))
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
