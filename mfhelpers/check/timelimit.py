"""An end for answers that have none: a loop that never stops becomes an exception in the thread that runs it."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType

AGAIN = 1.0  # seconds from one try to stop an answer to the next
BUSY = 3  # a machine that is busy with other things gets so many times the seconds
PACKAGE = Path(__file__).parents[1]


def is_learners(filename: str) -> bool:
    """Whether code of this file is neither ours nor a library's."""
    ours = Path(filename).is_relative_to(PACKAGE)
    return not ours and "site-packages" not in filename and not filename.startswith((sys.base_prefix, "<frozen"))


class TimeUp(BaseException):
    """Raised in the midst of an answer that runs on; no `except Exception` of an answer catches it."""


class TimeLimit:
    """Stop what runs in the `with` block once it has taken too long, by raising `TimeUp` in it.

    A second thread looks at the clock, so that nothing is installed that could stay behind: no
    signal handler, no trace function. It works in any thread and on any system with CPython. An
    exception arrives between two operations of Python; what waits inside a single call (a `sleep`,
    a lock) is woken as by the kernel's own ■, where the system can do that, which is not on Windows.

    Parameters
    ----------
    seconds : float
        That code of the learner's may run, with what it calls; the check's own work does not count. If
        other programs hold the processor, it gets up to three times as long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.interrupted = seconds, False
        self._outer: FrameType | None = None
        self._answers, self._main = threading.get_ident(), threading.current_thread() is threading.main_thread()
        # plain marks and short sleeps: TimeUp in the midst of a lock's or a join's own code would break it
        self._done = self._watching = self._traced = False
        self._watcher = threading.Thread(target=self._watch, name="mfhelpers-time-limit", daemon=True)

    def __enter__(self) -> TimeLimit:
        self._outer = sys._getframe(1)
        # under a debugger or coverage, threads of CPython 3.11 stand still while an exception is on its way to one that sleeps
        self._traced = sys.gettrace() is not None
        if hasattr(ctypes, "pythonapi"):
            self._watching = True
            self._watcher.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt) and self.interrupted:  # ours, not the reader's ■
            raise TimeUp from error

    def close(self) -> None:
        """End the watch; afterwards nothing can be raised any more. To be called again if this raises `TimeUp`."""
        self._done = True
        try:
            while self._watching:
                time.sleep(0.005)
            for _ in range(100):  # what is on its way arrives at the latest when a loop turns back
                pass
        except (TimeUp, KeyboardInterrupt) as late:
            if isinstance(late, KeyboardInterrupt) and not self.interrupted:  # the reader's ■
                raise
            return self.close()
        if self._watcher.ident is not None:
            self._watcher.join()
        self._outer = None  # a frame would keep all that its names hold

    def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the block has ended; whether it has."""
        until = time.monotonic() + seconds
        while not self._done and time.monotonic() < until:
            time.sleep(min(0.01, seconds))
        return self._done

    def _watch(self) -> None:
        try:
            self._look_at_the_clock()
        finally:
            self._watching = False

    def _look_at_the_clock(self) -> None:
        taken = work = 0.0
        looked, worked = time.monotonic(), time.process_time()
        while not self._pause(min(0.05, self.seconds / 4)):
            passed, used = time.monotonic() - looked, time.process_time() - worked
            looked, worked = looked + passed, worked + used
            if self._in_an_answer():
                taken, work = taken + passed, work + used
            if min(taken, max(work, taken / BUSY)) >= self.seconds:
                break
        tries = 0
        while not self._done:
            tries += 1
            if (tries == 1 and not self._traced) or not self._wake():
                self._raise_in_answer()
            self._pause(AGAIN)

    def _in_an_answer(self) -> bool:
        frame: FrameType | None = sys._current_frames().get(self._answers)
        while frame is not None and frame is not self._outer:
            if is_learners(frame.f_code.co_filename):
                return True
            frame = frame.f_back
        return False

    def _raise_in_answer(self) -> None:
        # never taken back by NULL: CPython 3.11 then looks for an exception at every step, and under a tracer for ever
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._answers), ctypes.py_object(TimeUp))

    def _wake(self) -> bool:
        """Interrupt a call that waits, if Python's own handler turns that into an exception."""
        if not (self._main and hasattr(signal, "pthread_kill")):
            return False
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        self.interrupted = True
        # as Python has it from the start; libraries with handlers of their own (polars) let a wait go on after the signal
        signal.siginterrupt(signal.SIGINT, True)
        signal.pthread_kill(self._answers, signal.SIGINT)
        return True
