"""Downloads end in a whole file or in an error that names the cause, whatever the network does."""

import ast
import hashlib
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import filelock
import pytest
import trustme
from servers import (
    PAGE,
    Server,
    answers,
    refusing,
    sends,
    serving,
    silent,
    trickles,
    wait_until,
    without_length,
)

from mfhelpers.data.download import DownloadError, Patience, fetch

SIZE = 200_000
BODY = random.Random(0).randbytes(SIZE)
OTHER = random.Random(1).randbytes(SIZE)
SUM = hashlib.sha256(BODY).hexdigest()
CUT = 70_000  # where a transfer breaks off
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "data.zip"


def get(target, *urls, size=SIZE, **patience):
    return fetch(urls, target, SUM, size, patience=Patience(**patience), progress=False)


def part_of(target):
    return target.with_name("data.zip.part")


def is_whole(target):
    return target.read_bytes() == BODY and not part_of(target).exists()


# -- servers ---------------------------------------------------------------------------------------


def test_a_good_server_is_asked_once(target):
    with serving(sends(BODY)) as server:
        for _ in range(2):
            assert get(target, server.url) == target
            assert is_whole(target)
    assert server.asked == [None]


def test_neither_size_nor_length_need_be_known(target):
    with serving(without_length(BODY)) as server:
        get(target, server.url, size=None)
    assert is_whole(target)


# name: (what serves, how long to wait, what the error says)
FAULTS = {
    "refused": (refusing, {}, "cannot be reached"),
    "no such name": (
        lambda: nullcontext(Server("http://nowhere.invalid/data.zip")),
        {"answer": 3},
        "cannot be reached",
    ),
    "silent": (silent, {"answer": 0.3}, "no answer in time"),
    "404": (lambda: serving(answers(404)), {}, "404 Not Found"),
    "500": (lambda: serving(answers(500)), {}, "500 Internal Server Error"),
    "web page": (lambda: serving(answers(200, PAGE)), {}, "web page instead of the file"),
    "wrong bytes": (lambda: serving(sends(OTHER)), {}, "wrong SHA-256 sum"),
    "short": (lambda: serving(sends(BODY[:CUT], ranges=False)), {}, "wrong SHA-256 sum"),
    "long": (lambda: serving(sends(BODY + b"x")), {}, "offers 200,001 bytes, expected 200,000"),
    "long unannounced": (lambda: serving(without_length(BODY + b"x")), {}, "more than the expected 200,000 bytes"),
    "stalls": (lambda: serving(sends(BODY, cut=1, cuts=9, then_stall=True)), {"silence": 0.3}, "no answer in time"),
    "trickles": (lambda: serving(trickles(BODY[:300], 0.01)), {"grace": 0.3}, "bytes a second"),
    "cut every time": (lambda: serving(sends(BODY, cut=1000, cuts=9)), {}, "cut in the middle"),
    "cut at one place": (lambda: serving(sends(BODY, ranges=False, cut=1000, cuts=9)), {}, "cut in the middle"),
}
every_fault = pytest.mark.parametrize(("faulty", "patience", "words"), FAULTS.values(), ids=FAULTS)


@every_fault
def test_a_fault_is_named_and_leaves_no_file(target, faulty, patience, words):
    with faulty() as server, pytest.raises(DownloadError, match=words) as caught:
        get(target, server.url, **patience)
    assert server.url.split("/")[2] in str(caught.value)
    assert not target.exists()


@every_fault
def test_the_next_address_makes_up_for_a_fault(target, faulty, patience, words):
    with faulty() as server, serving(sends(BODY)) as mirror:
        get(target, server.url, mirror.url, **patience)
    assert is_whole(target)
    assert mirror.asked


def test_every_address_has_its_line(target):
    with serving(answers(404)) as first, serving(answers(500)) as second, pytest.raises(DownloadError) as caught:
        get(target, first.url, second.url)
    lines = str(caught.value).splitlines()
    assert "404" in lines[1]
    assert "500" in lines[2]


def test_a_trickle_is_given_up_before_its_end(target):
    """Though no byte is long in coming, and less than a block in all."""
    with serving(trickles(BODY[:300], 0.01)) as server, pytest.raises(DownloadError, match="only .* bytes a second"):
        get(target, server.url, grace=0.3)
    assert server.trickled < 300


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def signed(by, name="127.0.0.1", **validity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    by.issue_cert(name, **validity).configure_cert(context)
    return context


def self_signed(tmp_path):
    lonely = trustme.CA()
    both = tmp_path / "lonely.pem"
    both.write_bytes(lonely.private_key_pem.bytes() + lonely.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


def trust(authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))


@pytest.mark.parametrize("fault", ["self-signed", "unknown authority", "expired", "another host"])
def test_a_bad_certificate_is_refused_before_anything_is_asked(fault, authority, target, tmp_path, monkeypatch):
    trust(authority, tmp_path, monkeypatch)
    context = {
        "self-signed": lambda: self_signed(tmp_path),
        "unknown authority": lambda: signed(trustme.CA()),
        "expired": lambda: signed(
            authority, not_before=datetime(2019, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 1, tzinfo=UTC)
        ),
        "another host": lambda: signed(authority, "grouplens.example"),
    }[fault]()
    with serving(sends(BODY), tls=context) as server, pytest.raises(DownloadError, match="TLS certificate.*stay on"):
        get(target, server.url)
    assert server.asked == []
    assert not target.exists()


def test_a_good_certificate_is_accepted_and_a_cut_continued(authority, target, tmp_path, monkeypatch):
    trust(authority, tmp_path, monkeypatch)
    with serving(sends(BODY, cut=CUT), tls=signed(authority)) as server:
        get(target, server.url)
    assert is_whole(target)
    assert server.asked == [None, f"bytes={CUT}-"]


def test_a_server_without_tls_is_not_blamed_for_its_certificate(target):
    with serving(sends(BODY)) as server, pytest.raises(DownloadError, match="no proper TLS"):
        get(target, server.url.replace("http:", "https:"))


def test_a_missing_certificate_bundle_is_named(target, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(DownloadError, match="127.0.0.1:9: .*/nowhere/bundle.pem"):
        get(target, "https://127.0.0.1:9/data.zip")


@pytest.mark.parametrize("source", sorted((ROOT / "mfhelpers").rglob("*.py")), ids=lambda path: path.name)
def test_no_code_switches_certificate_checks_off(source):
    text = source.read_text()
    assert [word for word in ("CERT_NONE", "_unverified", "check_hostname", "disable_warnings") if word in text] == []
    arguments = [node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)]
    assert "verify" not in arguments


# -- continued transfers ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["continues", "ignores Range"])
@pytest.mark.parametrize("stall", [True, False], ids=["stalled", "cut"])
def test_a_broken_transfer_is_taken_up_where_it_broke(target, ranges, stall):
    with serving(sends(BODY, ranges=ranges, cut=CUT, then_stall=stall)) as server:
        get(target, server.url, silence=0.3 if stall else 20)
    assert is_whole(target)
    assert server.asked == [None, f"bytes={CUT}-"]


# name: (the part that is there, how many times the server is asked)
PARTS = {
    "a beginning": (BODY[:CUT], 1),
    "everything": (BODY, 0),
    "another file's": (OTHER[:CUT], 2),
    "another file": (OTHER, 1),
    "a web page's": (PAGE[:40], 2),
    "too long": (BODY + b"x", 1),
    "nothing": (b"", 1),
}


@pytest.mark.parametrize(("part", "asked"), PARTS.values(), ids=PARTS)
def test_any_part_that_was_left_ends_in_the_whole_file(target, part, asked):
    target.parent.mkdir()
    part_of(target).write_bytes(part)
    with serving(sends(BODY)) as server:
        get(target, server.url)
    assert is_whole(target)
    assert len(server.asked) == asked


def test_a_server_that_cannot_continue_starts_again(target):
    """416: the part reaches beyond the end of the file, whose size is not known here."""
    target.parent.mkdir()
    part_of(target).write_bytes(BODY + b"x")
    with serving(sends(BODY)) as server:
        get(target, server.url, size=None)
    assert is_whole(target)
    assert server.asked == ["bytes=200001-", None]


def test_cuts_do_not_use_up_the_fresh_start_after_a_wrong_part(target):
    target.parent.mkdir()
    part_of(target).write_bytes(OTHER[:CUT])
    with serving(sends(BODY, cut=1000, cuts=2)) as server:
        get(target, server.url)
    assert is_whole(target)
    assert server.asked == [f"bytes={CUT}-", f"bytes={CUT + 1000}-", f"bytes={CUT + 2000}-", None]


# -- processes, folders and disks ------------------------------------------------------------------

CHILD = """
import os, resource, sys
from pathlib import Path
from mfhelpers.data.download import DownloadError, fetch
url, path, sha256, size, before = sys.argv[1:]
exec(before)
try:
    fetch([url], Path(path), sha256, int(size) or None, progress=False)
    print("whole")
except DownloadError as error:
    print(error)
print(sorted(name for name in os.listdir(Path(path).parent) if not name.endswith(".lock")))
"""
TELL_WRITING = """
sys.addaudithook(lambda event, about: event == "open" and str(about[0]).endswith(".part") and print("writing"))
"""
DROP_ROOT = "os.getuid() or os.setuid(65534)"  # permissions do not bind root


def start(url, target, before="", size=SIZE, wrapper=()):
    command = [*wrapper, sys.executable, "-c", CHILD, url, str(target), SUM, str(size), before]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def outcome(process):
    return process.communicate(timeout=60)[0]


@pytest.fixture
def public():
    """A folder that other users may enter, as those of pytest may not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_killed_download_is_continued_by_the_next_process(target):
    with serving(sends(BODY, cut=CUT, then_stall=True)) as server:
        victim = start(server.url, target)
        part = part_of(target)
        wait_until(lambda: part.exists() and part.stat().st_size > 0)
        victim.kill()
        outcome(victim)
        assert not target.exists()
        left = part.stat().st_size
        get(target, server.url)
    assert is_whole(target)
    assert server.asked == [None, f"bytes={left}-"]


def test_processes_that_want_the_same_file_share_one_transfer(target):
    with serving(answers(200, BODY, after=1)) as server:
        processes = [start(server.url, target) for _ in range(4)]
        outcomes = [outcome(process) for process in processes]
    assert outcomes == ["whole\n['data.zip']\n"] * 4
    assert is_whole(target)
    assert server.asked == [None]


@pytest.fixture
def held(target):
    """The turn of another process that does nothing; returns the process."""
    target.parent.mkdir()
    code = "import filelock, sys, time\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(target) + ".lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield process
        process.kill()


def test_another_process_that_gets_nowhere_is_not_waited_for(target, held):
    part_of(target).write_bytes(BODY[:CUT])
    with serving(sends(BODY)) as server, pytest.raises(DownloadError, match=r"another process holds .*data\.zip\.lock"):
        get(target, server.url, answer=0.5)
    assert server.asked == []
    assert part_of(target).read_bytes() == BODY[:CUT]


def test_another_process_is_waited_for_while_it_gets_on(target, held):
    """Three times longer than a process that gets nowhere."""

    def get_on():
        for end in range(1, 9):
            part_of(target).write_bytes(BODY[: 1000 * end])
            time.sleep(0.25)
        target.write_bytes(BODY)
        part_of(target).unlink()
        held.kill()

    other = threading.Thread(target=get_on)
    other.start()
    try:
        get(target, "http://127.0.0.1:9/", answer=0.7)
    finally:
        other.join()
    assert is_whole(target)


def test_the_lock_of_a_process_that_is_gone_does_not_hang(target, monkeypatch):
    """Where the file system knows no locks, the file itself is one, and stays behind."""
    monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    target.parent.mkdir()
    target.with_name("data.zip.lock").write_text("4711\nanother-machine\n")
    with serving(sends(BODY)) as server:
        with pytest.raises(DownloadError, match="another process holds .*; if there is none, delete that file"):
            get(target, server.url, answer=0.5)
        target.with_name("data.zip.lock").unlink()
        get(target, server.url)
    assert is_whole(target)


def test_a_damaged_file_is_replaced(target):
    target.parent.mkdir()
    target.write_bytes(BODY[:-1])
    with serving(sends(BODY)) as server:
        get(target, server.url)
    assert is_whole(target)


def test_a_damaged_file_without_an_address_is_named(target):
    target.parent.mkdir()
    target.write_bytes(BODY[:-1])
    with pytest.raises(DownloadError, match="(?s)no address.*damaged"):
        get(target)
    assert not target.exists()


def test_a_read_only_folder_is_named_with_a_remedy(public):
    with serving(sends(BODY)) as server:
        public.chmod(0o555)
        text = outcome(start(server.url, public / "data.zip", DROP_ROOT))
    assert f"cannot write to {public}" in text
    assert "MFHELPERS_CACHE" in text
    assert server.asked == []


def test_a_folder_below_a_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot write to .*file/cache .*MFHELPERS_CACHE"):
        get(tmp_path / "file" / "cache" / "data.zip")


def test_a_good_file_in_a_read_only_folder_is_used(public):
    (public / "data.zip").write_bytes(BODY)
    public.chmod(0o555)
    assert outcome(start("http://127.0.0.1:9/", public / "data.zip", DROP_ROOT)) == "whole\n['data.zip']\n"


def test_a_disk_that_fills_up_is_named_and_freed(target):
    """With a limit on the size of files, which stops a write as a full disk does."""
    with serving(sends(BODY)) as server:
        text = outcome(start(server.url, target, "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))"))
    assert "the disk is full" in text
    assert str(target.parent) in text
    assert text.endswith("\n[]\n")


@pytest.mark.parametrize("announced", [True, False], ids=["seen before", "met in the middle"])
def test_a_full_disk_is_named_and_freed(target, announced):
    """With a real disk of 64 KB, mounted for one process alone."""
    target.parent.mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(target.parent)]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    with serving(sends(BODY) if announced else without_length(BODY)) as server:
        text = outcome(start(server.url, target, TELL_WRITING, SIZE if announced else 0, mount))
    assert ("writing" in text) != announced
    assert "the disk is full" in text
    assert "MFHELPERS_CACHE" in text
    assert text.endswith("\n[]\n")
