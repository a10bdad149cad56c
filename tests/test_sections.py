"""A reader may begin a lesson at any section: after the set-up cells it has every name, or says which section gives it."""

from __future__ import annotations

import ast
import builtins
import re

import nbformat
import pytest

from mfhelpers.course import notebooks

LESSONS = sorted(notebooks.folder().glob("*.ipynb"))
NEEDS = re.compile(r"^\*Needs: (.+)\.\*$", re.MULTILINE)
SET_UP = 2  # the first two cells of code


def sections(notebook):
    """Code of the set-up, and title, needed titles and code of each section, in order."""
    set_up, found = [], []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("## "):
                    found.append((line.removeprefix("## "), [], []))
            for needed in NEEDS.findall(cell.source):
                found[-1][1].extend(needed.split("; "))
        elif len(set_up) < SET_UP and not (found and found[-1][2]):
            set_up.append(cell.source)
            if found:
                found[-1][2].append(cell.source)
        else:
            found[-1][2].append(cell.source)
    return set_up, found


class Names(ast.NodeVisitor):
    """Names that a piece of code reads without having set them, and those that it sets, at the level of a cell."""

    def __init__(self, known):
        self.known, self.missing = set(known), set()

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.missing |= {node.id} - self.known
        else:
            self.known.add(node.id)

    def visit_Import(self, node):
        self.known |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}

    visit_ImportFrom = visit_Import

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)
            self.visit(node.target)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        self.visit(ast.Name(node.target.id, ast.Load()) if isinstance(node.target, ast.Name) else node.target)

    def visit_For(self, node):
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_With(self, node):
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars:
                self.visit(item.optional_vars)
        for line in node.body:
            self.visit(line)

    def visit_ExceptHandler(self, node):
        self.inside([node.name] if node.name else [], node.body)

    def visit_ClassDef(self, node):
        for base in node.bases:
            self.visit(base)
        self.known.add(node.name)
        self.inside([], node.body)

    def visit_FunctionDef(self, node):
        for part in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.decorator_list):
            self.visit(part)
        self.known.add(node.name)
        self.inside(arguments(node.args), node.body)

    def visit_Lambda(self, node):
        self.inside(arguments(node.args), [node.body])

    def visit_comprehension_like(self, node):
        inner = Names(self.known)
        for part in node.generators:
            inner.visit(part.iter)
            inner.visit(part.target)
            for condition in part.ifs:
                inner.visit(condition)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            inner.visit(part)
        self.missing |= inner.missing

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_comprehension_like

    def inside(self, own, body):
        inner = Names(self.known | set(own))
        for line in body:
            inner.visit(line)
        self.missing |= inner.missing


def arguments(args):
    names = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    return [argument.arg for argument in names]


def read_through(cells, known=frozenset(dir(builtins))):
    """Names known after `cells`, and names missing in them."""
    reader = Names({*known, "__name__"})
    for source in cells:
        reader.visit(ast.parse(source))
    return reader.known, reader.missing


def missing_names(notebook):
    """What each section lacks after the set-up and the sections that it says it needs, theirs included."""
    set_up, found = sections(notebook)
    by_title = {title: (needed, code) for title, needed, code in found}

    def with_needs(title, seen):
        if title not in seen:
            for needed in by_title[title][0]:
                with_needs(needed, seen)
            seen.append(title)
        return seen

    lacks = {}
    for title in by_title:
        known, _ = read_through(set_up)
        for each in with_needs(title, []):
            known, missing = read_through(by_title[each][1], known)
        if missing:
            lacks[title] = missing
    return lacks


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_can_be_begun_at_any_section(path):
    assert missing_names(nbformat.read(path, as_version=4)) == {}


@pytest.mark.parametrize(
    ("code", "lacks"),
    [
        ("y = x", {"x"}),
        ("def f(x):\n    return x + shift", {"shift"}),
        ("total = [x for x in range(3)]\nprint(x)", {"x"}),
        ("count += 1", {"count"}),
        ("for row in rows:\n    pass\nprint(row)", {"rows"}),
        ("with open('f') as file:\n    file.read()", set()),
        ("import numpy as np\nf = lambda x, *y, z=1: np.sum(x)", set()),
        ("class A:\n    def f(self):\n        return A, b", {"b"}),
    ],
)
def test_the_reader_of_names_finds_what_is_missing(code, lacks):
    assert read_through([code])[1] == lacks


def cells(*pairs):
    make = {"m": nbformat.v4.new_markdown_cell, "c": nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in pairs])


def test_a_section_that_needs_another_must_say_so():
    parts = [("m", "# T"), ("c", "a = 1"), ("c", "b = a"), ("m", "## One"), ("c", "d = b"), ("m", "## Two"), ("c", "print(d)")]
    assert missing_names(cells(*parts)) == {"Two": {"d"}}
    parts[5] = ("m", "## Two\n*Needs: One.*\n")
    assert missing_names(cells(*parts)) == {}
