"""TensorBoard: the event files that every algorithm writes when it is given a `log_dir`, and a page to see them."""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import notebook

MOST_PREDICTIONS = 1 << 14  # in a histogram: an even sample of more
MOST_ITEMS = 10_000  # on the map: the most rated; with many more a browser gets slow
BINS = 60  # of a histogram, all of one width: TensorBoard's own get wider away from 0, too wide for stars
SECONDS_TO_START = 60
EVENTS = "events.out.tfevents*"


class RunLog:
    """One run in one folder: scalars and histograms for each epoch, settings and a map of the items at the end.

    Parameters
    ----------
    log_dir : path
        The folder of this run, to be made. ``tensorboard --logdir`` takes it, or its parent with all runs.
    continued : bool
        Whether a training that may have been logged here is continued.

    Raises
    ------
    ValueError
        If the folder already holds a run, which is not continued.
    OSError
        If it cannot be made or written.
    ImportError
        If TensorBoard is not installed.

    Notes
    -----
    A disk that fills up later ends the log with a warning, and not the training.
    """

    def __init__(self, log_dir: str | os.PathLike, continued: bool = False) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("log_dir needs TensorBoard: pip install -c constraints.txt tensorboard") from error
        self.path = Path(log_dir)
        if not continued and self.path.is_dir() and any(self.path.glob(EVENTS)):
            raise ValueError(
                f"log_dir={str(log_dir)!r} holds a run already, and two runs in one folder are drawn as one zigzag: "
                "name a new folder, or delete this one"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:  # TensorBoard's own writer would fail in its thread
                probe.write(b"x")
        except OSError as error:
            raise OSError(f"log_dir={str(log_dir)!r} cannot be written ({error}): name another folder") from error
        self.new_writer: Any = SummaryWriter
        self.writer: Any = None

    def begin(self, at: int = 0, continued: bool = False) -> None:
        """Open the events; what the folder holds of epochs after `at`, or of all for 0, no longer counts."""
        purge = {"purge_step": at + (at > 0)} if continued else {}
        self.writer = self.new_writer(str(self.path), **purge)

    def epoch(
        self, number: int, scalars: Mapping[str, float], tables: Mapping[str, np.ndarray], predictions: np.ndarray
    ) -> None:
        """Note the state after an epoch or sweep: numbers, and histograms of tables and predictions."""
        if self.writer is None:
            return
        with self._no_harm():
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, number)
            learned = {f"learned/{name}": table for name, table in tables.items()}
            for name, values in (learned | {"predictions": predictions}).items():
                if values.size:
                    self.writer.add_histogram(name, values, number, bins=BINS)
            self.writer.flush()  # so that a page that is open shows it

    def close(
        self,
        history: Any,
        settings: Mapping[str, Any],
        item_factors: np.ndarray | None,
        items: Mapping[str, np.ndarray],
    ) -> None:
        """Note the settings with what came of them, and put the items on the map; nothing if it never began.

        `items` are the columns of the map; its "ratings" counts those of each item.
        """
        if self.writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        best = history.best_epoch
        results = {
            f"result/{history.measure}": (history.valid_error or history.train_error)[best],
            "result/epoch": best,
        }
        with self._no_harm():
            for summary in hparams({name: _setting(value) for name, value in settings.items()}, results):
                self.writer.file_writer.add_summary(summary)
            for name, value in results.items():
                self.writer.add_scalar(name, value, history.epochs)
            if item_factors is not None:
                self._map(history.epochs, item_factors, items)
            self.writer.close()

    def _map(self, number: int, item_factors: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        counts = columns["ratings"]
        if item_factors.ndim != 2 or not item_factors.shape[1] or len(item_factors) < len(counts):
            return  # no factors, or a model's table of something else
        most = np.argsort(-counts, kind="stable")[:MOST_ITEMS]
        shown = most[counts[most] > 0]
        # tabs and line ends are what separates cells in the file
        rows = [[" ".join(str(column[i]).split()) for column in columns.values()] for i in shown]
        shutil.rmtree(self.path / f"{number:05d}" / "items", ignore_errors=True)  # that of the same epoch, if continued
        self.writer.add_embedding(item_factors[shown], rows, None, number, "items", list(columns))

    @contextmanager
    def _no_harm(self) -> Iterator[None]:
        """The first failure ends the log, with a warning; what comes later is not written."""
        try:
            yield
        except Exception as error:  # of whatever kind: no log is worth a training
            with suppress(Exception):
                self.writer.close()
            self.writer = None
            warnings.warn(f"the log in {self.path} ends here ({error}); the training goes on", RuntimeWarning, 4)


def even_sample(n: int) -> slice:
    """Which of n ratings a histogram of predictions shows."""
    return slice(None, None, -(-n // MOST_PREDICTIONS))


def _setting(value: Any) -> Any:
    """What the table of hyper-parameters can hold; text that is a number becomes one."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (bool, int, float)):
        value = str(value)
        with suppress(ValueError):
            value = float(value)
    return value


# -- to look at it ---------------------------------------------------------------------------------

# by the name that the page itself has: browsers give a frame from another, even localhost in 127.0.0.1, no storage
FRAME = """<iframe id="{frame}" width="100%" height="{height}" frameborder="0"></iframe>
<p>TensorBoard, until the kernel ends: <a href="{address}" target="_blank">{address}</a></p>
<script>(() => {{
  const address = new URL("{address}"), page = window.location;
  if (page.protocol.startsWith("http")) address.hostname = page.hostname;
  document.getElementById("{frame}").src = address;
}})()</script>"""
_SERVERS: dict[tuple, tuple[subprocess.Popen, str]] = {}


def tensorboard(log_dir: str | os.PathLike, height: int = 800, *, port: int = 0, host: str = "localhost") -> None:
    """Show TensorBoard below a notebook's cell; it ends with the kernel.

    Elsewhere, and where no page can show it, the command for a terminal is printed instead: outside notebooks,
    on JupyterHub and Binder, whose visitors do not reach its port, and with MFHELPERS_ATTENDED=0.

    Parameters
    ----------
    log_dir : path
        A run, or a folder of runs.
    height : int
        Of the frame, in pixels.
    port : int
        0 takes one that is free.
    host : str
        Which addresses it answers: "localhost", those of this machine alone; its own name or address, or "0.0.0.0",
        for a page that was opened from another machine. Whoever reaches it sees the logs: it asks for no password.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    RuntimeError
        If it does not start; the message holds what it said.
    """
    if not Path(log_dir).is_dir():
        raise FileNotFoundError(f"log_dir={str(log_dir)!r} is no folder: train with log_dir=… first")
    reason = "no notebook" if not notebook.in_notebook() else ""
    if "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
        reason = "a server that is not yours, and your browser does not reach its port"
    if os.environ.get("MFHELPERS_ATTENDED") == "0":
        reason = "a page made by a machine"
    if reason:
        command = shlex.join(["tensorboard", "--logdir", str(log_dir)])
        print(f"This is {reason}. On your own machine, in a terminal: {command}")
        return
    from IPython.display import HTML, display as show

    frame, address = f"tensorboard-{secrets.token_hex(4)}", _serve(Path(log_dir).resolve(), port, host)
    show(HTML(FRAME.format(frame=frame, height=height, address=address)))


def _serve(path: Path, port: int = 0, host: str = "localhost") -> str:
    """The address of a TensorBoard on this folder, started unless it runs."""
    process, address = _SERVERS.get((path, port, host), (None, ""))
    if process is not None and process.poll() is None:
        return address
    # as a module: the folder of its command need not be on a kernel's PATH
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(path), "--host", host, "--port", str(port)]
    with tempfile.TemporaryFile() as said:
        # in a session of its own: ■ interrupts the kernel's whole group
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        atexit.register(process.terminate)
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and process.poll() is None:
            said.seek(0)
            if found := re.search(r"at (http://\S+)", said.read().decode(errors="replace")):
                _SERVERS[path, port, host] = process, found[1]
                return found[1]
            time.sleep(0.1)
        process.terminate()
        said.seek(0)
        last = said.read().decode(errors="replace").strip()[-500:]
    raise RuntimeError(f"TensorBoard did not start within {SECONDS_TO_START} s: {last or 'it said nothing'}")
