"""Fetch one file, whole and verified, over networks that fail."""

from __future__ import annotations

import errno
import hashlib
import queue
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import requests
import urllib3

from ..display.progress import progress as progress_bar

BLOCK = 1 << 16  # bytes


class DownloadError(OSError):
    """A file could not be fetched; the message has a line for each address tried, and a remedy."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how slow a server may be, in bytes a second.

    `answer` bounds the wait for a server's first word, name look-up included, and for a sign of
    life from another process that fetches the same file; `silence` the wait for the next byte; a
    transfer that has lasted `grace` must have averaged `slowest`.
    """

    answer: float = 30.0
    silence: float = 20.0
    grace: float = 30.0
    slowest: float = 2_000.0


def fetch(
    urls: Sequence[str],
    path: Path,
    sha256: str | None,
    size: int | None = None,
    *,
    patience: Patience | None = None,
    progress: bool = True,
) -> Path:
    """Bring the file with this SHA-256, or without one a whole zip, to `path`, from the first of `urls` that has it.

    The bytes go to ``NAME.part`` beside `path`, which is renamed once the sum is right; a part that
    a broken transfer or a killed process left behind is continued. Processes that want the same
    file take turns: they wait while the part grows, and find the file there. Certificates are
    always checked.

    Parameters
    ----------
    urls : sequence of str
        Tried in order.
    path : Path
        An existing file with the right sum is kept; one with a wrong sum is replaced.
    sha256 : str or None
        Hexadecimal sum of the whole file; None if it is not known and the file is a zip.
    size : int, optional
        Length in bytes, if known: a longer answer is cut off and refused.
    patience : Patience, optional
    progress : bool
        Show a bar for what takes over two seconds.

    Raises
    ------
    DownloadError
        If no address gave the right bytes, another process has the turn and gets nowhere, the
        folder cannot be written, or the disk is full.
    """
    patience = patience or Patience()
    part = path.with_name(path.name + ".part")
    try:
        if path.exists() and _is_right(path, sha256):
            return path  # before the lock: a shared cache may be read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with _turn(path.with_name(path.name + ".lock"), part, patience) as waited:
            # waiting counts, so that all addresses after a wait take no longer than without one; half is always left
            patience = replace(patience, answer=patience.answer - waited / max(len(urls), 2))
            problems = [] if urls else ["  no address to try (MFHELPERS_OFFLINE is set?)"]
            if path.exists():
                if _is_right(path, sha256):
                    return path
                path.unlink()
                problems.append("  the copy that was there was damaged (wrong SHA-256 sum) and is removed")
            for url in urls:
                try:
                    _fetch_one(url, part, sha256, size, patience, progress)
                    part.replace(path)
                    return path
                except (DownloadError, requests.RequestException) as error:
                    problems.append(f"  {urlsplit(url).netloc}: {_in_words(error, patience)}")
    except DownloadError:
        raise
    except OSError as error:  # of this machine, not of a server: those are in `problems`
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            part.unlink(missing_ok=True)
            needed = f"{size / 1e6:,.0f} MB" if size else "room"
            raise DownloadError(
                f"the disk is full: {path.name} needs {needed} in {path.parent}. "
                "Free some space, or set MFHELPERS_CACHE to a folder on another disk."
            ) from error
        raise DownloadError(
            f"cannot write to {path.parent} ({error.strerror or error}). Set MFHELPERS_CACHE to a folder that you can write."
        ) from error
    raise DownloadError(f"{path.name} could not be downloaded:\n" + "\n".join(problems))


@contextmanager
def _turn(path: Path, part: Path, patience: Patience) -> Iterator[float]:
    """Hold the lock, waiting for it while `part` grows; gives the seconds it had not grown for at the end."""
    lock, size, since = filelock.FileLock(path), None, None
    while True:
        try:
            lock.acquire(timeout=0.1)
            break
        except filelock.Timeout:
            now = part.stat().st_size if part.exists() else 0
            if since is None or now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > patience.answer:
                raise DownloadError(
                    f"another process holds {path} and has not brought {part.stem} further in {patience.answer:g} s. "
                    "Wait for it or end it; if there is none, delete that file."
                ) from None
    try:
        yield 0.0 if since is None else round(time.monotonic() - since, 1)
    finally:
        lock.release()


def _fetch_one(url: str, part: Path, sha256: str | None, size: int | None, patience: Patience, progress: bool) -> None:
    """Fill `part` from one address: continue what is there, twice more after a cut, from zero after a wrong sum."""
    cuts = 0
    while True:
        had = part.stat().st_size if part.exists() else 0
        if not had or (size is not None and had > size):
            part.unlink(missing_ok=True)
            had = 0
        try:
            if had != size:
                _transfer(url, part, had, size, patience, progress)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            cuts += 1
            got = part.stat().st_size if part.exists() else 0
            if got == had or cuts == 3:
                raise  # not a byte further: the server will not give more
            continue
        if _is_right(part, sha256):
            return
        page = _is_web_page(part)
        part.unlink()
        if had:
            continue  # what was continued need not have been a beginning of this file
        if page:
            raise DownloadError("it sent a web page instead of the file (the login page of a guest network?)")
        raise DownloadError("it sent a file with a wrong SHA-256 sum" if sha256 else "it sent no whole zip")


def _transfer(url: str, part: Path, had: int, size: int | None, patience: Patience, progress: bool) -> None:
    """Append the bytes of `url` after the first `had` to `part`."""
    with _answer(url, had, patience) as response:
        if response.status_code == 416:  # the part is not a beginning of this file
            part.unlink()
            raise requests.exceptions.ChunkedEncodingError("the server cannot continue the file")
        response.raise_for_status()
        if response.status_code != 206:
            had = 0
        left = response.raw.length_remaining or 0
        if size is not None and had + left > size:
            raise DownloadError(f"it offers {had + left:,} bytes, expected {size:,}")
        free = shutil.disk_usage(part.parent).free
        if max(left, (size or 0) - had) > free:
            raise OSError(errno.ENOSPC, "No space left on device")
        bar = progress_bar(
            show=progress, desc=part.stem, initial=had, total=had + left or size, unit="B", unit_scale=True
        )
        with open(part, "ab" if had else "wb") as file, bar:
            started = time.monotonic()
            for block in _blocks(response):
                file.write(block)
                bar.update(len(block))
                if size is not None and file.tell() > size:
                    raise DownloadError(f"it sent more than the expected {size:,} bytes")
                seconds = time.monotonic() - started
                if seconds > patience.grace and (file.tell() - had) / seconds < patience.slowest:
                    raise DownloadError(f"it sent only {(file.tell() - had) / seconds:,.0f} bytes a second")


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives.

    iter_content would wait for a block to be full: a server that sends a byte now and then would
    hold it for hours, and one that falls silent would take what has come of it along.
    """
    try:
        while block := response.raw.read1(BLOCK, decode_content=True):
            yield block
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error


def _answer(url: str, had: int, patience: Patience) -> requests.Response:
    """Open `url` within `patience.answer` seconds.

    In a thread of its own, because the look-up of a name can hang for as long as it likes and no
    time limit of requests covers it.
    """
    answers: queue.Queue = queue.Queue()

    def ask() -> None:
        # identity: the sum is that of the file, not of a re-compressed one
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
        limits = (patience.answer, patience.silence)
        try:
            answers.put(requests.get(url, headers=headers, stream=True, timeout=limits))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=patience.answer)
    except queue.Empty:
        raise requests.ConnectTimeout(f"no answer in {patience.answer:g} s") from None
    if isinstance(answer, OSError) and not isinstance(answer, requests.RequestException):
        raise DownloadError(str(answer)) from answer  # such as a REQUESTS_CA_BUNDLE that is not there
    if isinstance(answer, Exception):
        raise answer
    return answer


def _in_words(error: Exception, patience: Patience) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        of_certificate = "CERTIFICATE" in str(error)
        cause = "its TLS certificate is not valid (expired?)" if of_certificate else "it speaks no proper TLS"
        return f"{cause}; certificate checks stay on"
    if isinstance(error, requests.HTTPError):
        return f"it answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"no answer in time ({patience.answer:g} s, then {patience.silence:g} s a piece)"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut in the middle of the file"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached: no network, or a wall around it"
    return str(error)


def _is_right(path: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return zipfile.is_zipfile(path)  # its directory stands at the end: one that is cut has none
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _is_web_page(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(256).lstrip().lower().startswith((b"<!doctype", b"<html"))
