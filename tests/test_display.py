"""Progress bars that stay out of the way, and rich output only where there is a notebook."""

import io
import sys
import time
from types import SimpleNamespace

import pytest

from mfhelpers import progress, simulate_ratings
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


@pytest.mark.parametrize(("encoding", "sign"), [("cp1251", "x"), ("ascii", "x"), ("utf-8", "×")])
def test_ratings_and_factors_are_printed_on_any_console(monkeypatch, encoding, sign):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    print(*simulate_ratings(6, 5, 20, 1, min_per_user=2, name="é"))
    console.flush()
    assert console.buffer.getvalue().decode(encoding).count(f"6 users {sign} 5 items") == 2
