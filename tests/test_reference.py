"""The glossary and the index of errors: what they point to is there, and every error can still be had."""

from __future__ import annotations

import inspect
import re

import nbformat
import numpy as np
import pytest
import torch

import mfhelpers as mf
from mfhelpers.check import lesson_01
from mfhelpers.course import notebooks

LINK = re.compile(r"\[([^\]]*)\]\(([^)#]+)(?:#([^)]*))?\)")
GREEK = {"η": r"\eta", "λ": r"\lambda", "μ": r"\mu", "α": r"\alpha", "σ": r"\sigma"}


def rows(name):
    """The cells of a page's tables, without their headings."""
    lines = (notebooks.folder() / name).read_text(encoding="utf8").splitlines()
    tables = [line for line in lines if line.startswith("| ") and not re.match(r"\| (word|symbol|what you see) ", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables]


def sections(lesson):
    """{heading: text} of a notebook; what stands before the first heading of the second level goes by the title."""
    found, heading = {}, ""
    for cell in nbformat.read(notebooks.folder() / lesson, as_version=4).cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else [cell.source]:
            if cell.cell_type == "markdown" and re.match(r"##? ", line):
                heading = line.lstrip("# ")
            found[heading] = found.get(heading, "") + "\n" + line
    return found


def target(cell):
    """The text of the section that a link leads to; the link's words and its anchor must both name it."""
    text, path, anchor = LINK.search(cell).groups()
    if not path.endswith(".ipynb"):
        return (notebooks.folder() / path).read_text(encoding="utf8")
    there = sections(path)
    heading = re.sub(r"^\d\d · ", "", text)
    assert heading in there, f"{path} has no section {heading!r}; it has {list(there)}"
    assert path.startswith(text[:2])
    assert anchor is None or anchor == heading.replace(" ", "-")
    return there[heading]


def plain(text):
    for letter, tex in GREEK.items():
        text = text.replace(tex, letter)
    return re.sub(r"[${}\\*`]|\bmathrm\b|\bhat\b", "", text)


# -- the glossary ----------------------------------------------------------------------------------

GLOSSARY = rows("GLOSSARY.md")


@pytest.mark.parametrize("row", GLOSSARY, ids=lambda row: row[0])
def test_a_word_is_explained_where_the_glossary_says(row):
    word, meaning, section = row
    assert len(meaning.split()) >= 2
    text = plain(target(section)).lower()
    for form in word.lower().replace("r̂_ui", "r _ui").split(", "):
        stem = form.removesuffix("ing") if len(form) > 6 else form
        end = r"(?![a-z])" if len(stem) <= 3 else ""  # "k" is not in "knows"
        assert re.search(rf"(?<!\w){re.escape(stem)}{end}", text), f"{form!r} is not in that section"


def test_words_stand_in_their_order():
    words = [row[0].lower() for row in GLOSSARY]
    words = words[: words.index("u, i")]
    assert words == sorted(words)
    assert len(words) == len(set(words)) >= 35


# -- the index of errors ---------------------------------------------------------------------------

ERRORS = rows("ERRORS.md")


def table():
    return mf.simulate_ratings(50, 40, 600, seed=0)[0]


def stub():
    (code,) = [
        c for c in nbformat.read(notebooks.folder() / "exercises/01_gradients.ipynb", 4).cells if c.id == "exercise-2"
    ]
    exec(code.source)


def exploding():
    P = Q = torch.full((3,), 10.0)
    for _ in range(9):
        e = 4 - P * Q
        P, Q = P + e * Q, Q + e * P
    raise AssertionError(f"RMSE {(4 - P * Q).square().mean().sqrt():.3f}")


def simulated(monkeypatch, capsys):
    monkeypatch.setenv("MFHELPERS_OFFLINE", "1")
    mf.load_ratings("ml-100k", source="simulated")
    raise AssertionError(capsys.readouterr().out)


def trains_a_column():
    class Column(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(50, 1)

        def forward(self, users, items):
            return self.table(users)

    mf.fit(Column(), table(), epochs=1)


def sparse(optimizer, **options):
    rows = torch.nn.Embedding(3, 2, sparse=True)
    step = optimizer(rows.parameters(), lr=0.1, **options)
    rows(torch.tensor([1])).sum().backward()
    step.step()


def backward_twice():
    loss = torch.ones(2, requires_grad=True).square().sum()
    for _ in range(2):
        loss.backward()


def no_init():
    class Model(torch.nn.Module):
        def __init__(self):
            self.rows = torch.nn.Embedding(2, 2)

    Model()


def two_runs_in_one(tmp_path):
    for _ in range(2):
        mf.als(table(), 2, log_dir=tmp_path)


def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("MFHELPERS_OFFLINE", "1")
    monkeypatch.setenv("MFHELPERS_DATA", "")
    monkeypatch.setenv("MFHELPERS_CACHE", str(tmp_path))
    mf.load_ratings("ml-100k", source="movielens")


PROVOKED = {
    "NotImplementedError: Exercise 2": stub,
    "Exercise 2, not yet": lambda: lesson_01.the_hasty_step("none", None),
    "These are SIMULATED": simulated,
    "ValueError: users": lambda: mf.Ratings([5], [0], [3], 2, 2, (1, 5, 1)),
    "NameError": lambda: eval("mu"),
    "nan": exploding,
    "DivergenceError": lambda: mf.sgd(table(), 5, lr=5.0, engine="loop"),
    "RuntimeError: element": lambda: torch.ones(2).sum().backward(),
    "RuntimeError: grad": lambda: torch.ones(2, requires_grad=True).square().backward(),
    "RuntimeError: Trying": backward_twice,
    "RuntimeError: Can't": lambda: torch.ones(2, requires_grad=True).numpy(),
    "AttributeError: cannot": no_init,
    "IndexError": lambda: torch.nn.Embedding(2, 2)(torch.tensor([5])),
    "RuntimeError: … must": lambda: torch.nn.Linear(2, 1)(torch.ones(3, 2, dtype=torch.float64)),
    "UserWarning: Using": lambda: torch.nn.functional.mse_loss(torch.ones(3, 1), torch.ones(3)),
    "ValueError: forward": trains_a_column,
    "RuntimeError: add": lambda: sparse(torch.optim.SGD, weight_decay=0.1),
    "RuntimeError: Adam": lambda: sparse(torch.optim.Adam),
    "LinAlgError: linalg": lambda: torch.linalg.cholesky(torch.zeros(2, 2)),
    "LinAlgError: Singular": lambda: np.linalg.solve(np.zeros((2, 2)), np.ones(2)),
    "ValueError: reg=0": lambda: mf.als(table(), 5, reg=0),
    "RuntimeError: This": lambda: torch.lstsq(torch.ones(2, 2), torch.ones(2, 2)),
    "UserWarning: no": lambda: mf.soft_impute(table(), 5, threshold=1e4),
    "ValueError: log_dir": two_runs_in_one,
    "DownloadError": no_network,
}


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row[0][:40])
def test_an_error_can_still_be_had_and_its_section_is_there(row, request):
    seen, meaning, section = row
    words = re.search(r"`([^`]+)`", seen)[1]
    (provoke,) = (function for start, function in PROVOKED.items() if words.startswith(start))
    needed = inspect.signature(provoke).parameters
    with pytest.raises((Exception, Warning)) as caught:
        provoke(**{name: request.getfixturevalue(name) for name in needed})
    said = f"{caught.type.__name__}: {caught.value}"
    for part in words.replace("(n, 1) for n", "(600, 1) for 600").split("…"):
        assert part.strip() in said
    assert len(meaning.split()) >= 6
    assert target(section)


def test_every_provoked_error_is_in_the_index():
    assert len(ERRORS) == len(PROVOKED)
