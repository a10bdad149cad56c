"""Progress bars that stay out of the way, and rich output only where there is a notebook."""

import io
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mfhelpers import progress
from mfhelpers.display import notebook as display, progress as bars


@pytest.fixture(autouse=True)
def bars_are_allowed(monkeypatch):
    monkeypatch.delenv("MFHELPERS_PROGRESS", raising=False)


@pytest.fixture
def shell(monkeypatch):
    """Put a stand-in for IPython's shell in place."""

    def put(value):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: value))

    return put


def slow(**options):
    """What a bar over a little work prints."""
    out = io.StringIO()
    for _ in progress(range(3), file=out, mininterval=0, **options):
        time.sleep(0.02)
    return out.getvalue()


def test_work_that_takes_a_while_shows_a_bar_and_removes_it(monkeypatch):
    monkeypatch.setattr(bars, "SECONDS_BEFORE_A_BAR", 0.01)
    shown = slow(desc="Training")
    assert "Training" in shown
    assert shown.rsplit("\r", 2)[-2].strip() == ""


def test_quick_work_prints_nothing(capsys):
    assert slow() == ""
    assert list(progress(range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("value", "hidden"), [("0", True), ("1", False), ("", False)])
def test_the_environment_switches_all_bars_off(monkeypatch, value, hidden):
    monkeypatch.setattr(bars, "SECONDS_BEFORE_A_BAR", 0.01)
    monkeypatch.setenv("MFHELPERS_PROGRESS", value)
    assert (slow() == "") == hidden


def test_one_bar_can_be_switched_off_and_the_work_is_done_all_the_same(monkeypatch):
    monkeypatch.setattr(bars, "SECONDS_BEFORE_A_BAR", 0)
    assert slow(show=False) == ""
    assert list(progress(iter("abc"), show=False)) == ["a", "b", "c"]


@pytest.mark.parametrize("show", [True, False])
def test_without_an_iterable_the_bar_is_updated_by_hand(show):
    with progress(total=10, show=show, file=io.StringIO()) as bar:
        bar.update(4)
    assert bar.total == 10 or not show


@pytest.mark.parametrize(
    ("value", "expected"), [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=1), True)],
    ids=["no shell", "IPython in a terminal", "a kernel"],
)  # fmt: skip
def test_only_a_kernel_is_a_notebook(shell, value, expected):
    shell(value)
    assert display.in_notebook() is expected


def test_asking_for_a_notebook_does_not_load_ipython(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not display.in_notebook()
    assert "IPython" not in sys.modules


def test_outside_a_notebook_the_text_is_printed(shell, capsys):
    shell(None)
    display.show({"text/html": "<b>12</b>", "text/plain": "12"}, {"text/html": {}})
    assert capsys.readouterr().out == "12\n"


def test_in_a_notebook_the_whole_bundle_is_displayed(shell, monkeypatch, capsys):
    calls = []
    shell(SimpleNamespace(kernel=1))
    module = SimpleNamespace(display=lambda data, **options: calls.append((data, options)))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    data, metadata = {"image/png": "…", "text/plain": "12"}, {"image/png": {"alt": "twelve"}}
    display.show(data, metadata)
    assert calls == [(data, {"metadata": metadata, "raw": True})]
    assert capsys.readouterr().out == ""


def test_a_live_table_prints_its_rows_outside_a_notebook(shell, capsys):
    shell(None)
    table = display.LiveTable("how", "speed", "error")
    table.add("by hand", 1234567, 0.93412)
    assert capsys.readouterr().out.split() == ["by", "hand", "1,234,567", "0.934"]
    assert table.rows == [("by hand", 1234567, 0.93412)]


def test_a_live_table_is_drawn_once_and_redrawn_in_its_place(monkeypatch):
    drawn, redrawn = [], []
    place = SimpleNamespace(update=redrawn.append)
    module = SimpleNamespace(HTML=str, display=lambda page, display_id: drawn.append(page) or place)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(display, "in_notebook", lambda: True)
    table = display.LiveTable("how", "a second")
    table.add("<quick>", 5e6)
    table.add("slow", 12.5)
    assert len(drawn) == 1
    assert len(redrawn) == 2
    assert "<th>a second</th>" in drawn[0]
    assert "&lt;quick&gt;" in redrawn[1]
    assert "5,000,000" in redrawn[1]
    assert "12.500" in redrawn[1]


def test_a_row_of_another_length_is_refused(shell):
    shell(None)
    with pytest.raises(ValueError, match="3 values for the 2 columns how, speed"):
        display.LiveTable("how", "speed").add(1, 2, 3)


def test_numbers_of_numpy_look_like_any_other(shell, capsys):
    shell(None)
    display.LiveTable("n", "error").add(np.int64(12345), np.float32(0.5))
    assert capsys.readouterr().out.split() == ["12,345", "0.500"]
