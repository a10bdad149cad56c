"""The field's words: what a reader can search for, in place of the private language that the course once had."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
# what we used to say: what to say instead
PRIVATE = {
    r"\bprices?\b|\bpriced\b|\bpricey\b": "penalty, regularisation, λ",
    r"\bcharg(e[sd]?|ing)\b|\bdear(ly|er)?\b|\bcosts? (λ|2λ|length)|\bcost dearly": "penalty",
    r"\bexams?\b|\bexamined\b|\bopen(s|ed)? the fold\b": "test set, test ratings, evaluated once",
    r"\b(learn\w*|know\w*) (\w+ ){0,2}by heart|\bby heart\b|\bby_heart\b": "overfitting, memorising",
    r"\bits sizes?\b|\bsizes? of (a|the) singular|singular values?('s)? size": "singular value",
    r"\brounds? of filling|\bfilling round": "iterations of imputation",
    r"\bslope of (a|the|its|this) (loss|error|objective)\b|\b(uphill|zero) slope|\blargest slope": "gradient",
    r"\bno difference\b": "undecided: the interval contains 0",
    r"\bnewcomers?\b": "new user (cold start, fold-in)",
    r"\bspread ±|± ?spread\b|\btwo spreads\b|\babout \w+ spreads?\b": "standard deviation over folds, starts or seeds",
}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.md")])
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
MODULES = sorted((ROOT / "mfhelpers").rglob("*.py"))


def private_words(text):
    """(words found, what to say instead) of a text."""
    return [(found[0], better) for pattern, better in PRIVATE.items() for found in re.finditer(pattern, text, re.I)]


def of_notebook(path):
    """Text, code, and what figures and prints say; a picture's bytes are no words."""
    for cell in nbformat.read(path, as_version=4).cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (v for kind, v in output.get("data", {}).items() if kind.startswith("text/"))
            yield output.get("metadata", {}).get("image/png", {}).get("alt", "")


def of_module(path):
    """Names, comments and texts of a module."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf8")).readline):
        if token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            yield token.string.replace("_", " ") if token.type == tokenize.NAME else token.string


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_speak_the_fields_language(path):
    assert private_words(path.read_text(encoding="utf8")) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_notebooks_speak_the_fields_language(path):
    assert private_words("\n".join(of_notebook(path))) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "mfhelpers")))
def test_the_package_speaks_the_fields_language(path):
    assert private_words("\n".join(of_module(path))) == []


@pytest.mark.parametrize(
    "text",
    [
        "at the right price",
        "Rows are charged for",
        "large numbers cost dearly",
        "the exam, once",
        "learn the ratings by heart",
        "ylabel='its size'",
        "after two rounds of filling",
        "a gradient of zero slope",
        "verdict: no difference",
        "A newcomer arrives",
        "a gain of two spreads",
    ],
)
def test_each_private_word_is_found(text):
    assert private_words(text)


@pytest.mark.parametrize(
    "text", ["for example", "the calibration slope", "overhead costs time", "batch sizes", "the heart"]
)
def test_plain_words_stay(text):
    assert private_words(text) == []


@pytest.mark.parametrize(
    "term",
    ["regularisation", "overfitting", "test set", "validation set", "confidence interval", "nuclear norm", "cold start",
     "cross-validation", "orthogonal", "convex", "implicit feedback", "hyper-parameter", "early stopping", "ablation",
     "generalisation", "fold-in"],
)  # fmt: skip
def test_the_glossary_has_the_terms_that_readers_search_for(term):
    assert term in (ROOT / "notebooks/GLOSSARY.md").read_text(encoding="utf8").lower()
