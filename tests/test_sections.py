"""A reader may begin a lesson at any section, and run a cell twice.

After the set-up cells a section has every name that it reads, or says which sections give them: first read off the code, then
run, each section from a process that has run the set-up and what the section needs, and nothing else.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dataclasses
import importlib
import io
import json
import linecache
import os
import re
import subprocess
import sys
import time
import traceback
import types

import nbformat
import pytest

import mfhelpers as mf
from mfhelpers.course import notebooks
from mfhelpers.data.simulate import simulate, simulated_features

LESSONS = sorted(notebooks.folder().glob("*.ipynb"))
NEEDS = re.compile(r"^\*Needs: (.+)\.\*$", re.MULTILINE)
SET_UP = 2  # the first two cells of code


def sections(notebook):
    """Cells of the set-up, and title, needed titles and cells of each section, in order."""
    set_up, found = [], []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("## "):
                    found.append((line.removeprefix("## "), [], []))
            for needed in NEEDS.findall(cell.source):
                found[-1][1].extend(needed.split("; "))
        elif len(set_up) < SET_UP and not (found and found[-1][2]):
            set_up.append(cell)
        else:
            found[-1][2].append(cell)
    return set_up, found


def in_order(title, by_title, seen=()):
    """The sections that `title` needs, theirs included, each once, and then itself."""
    for needed in by_title[title][0]:
        seen = in_order(needed, by_title, seen) if needed not in seen else seen
    return seen if title in seen else (*seen, title)


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


BUILT_IN = frozenset([*dir(builtins), "__name__", "display"])


def read_through(cells, known=BUILT_IN):
    """Names known after `cells`, and names missing in them."""
    reader = Names(known)
    for cell in cells:
        reader.visit(ast.parse(cell.source))
    return reader.known, reader.missing


def missing_names(notebook):
    """What each section lacks after the set-up and the sections that it says it needs, theirs included."""
    set_up, found = sections(notebook)
    by_title = {title: (needed, cells) for title, needed, cells in found}
    lacks = {}
    for title in by_title:
        known, _ = read_through(set_up)
        for each in in_order(title, by_title):
            known, missing = read_through(by_title[each][1], known)
        if missing:
            lacks[title] = missing
    return lacks


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_can_be_begun_at_any_section(path):
    assert missing_names(nbformat.read(path, as_version=4)) == {}


MILLION = "100_000, 1_000_000)"  # lesson 12 builds an index of so many films, which takes half a minute


def shortened(source):
    return source.replace(MILLION, "20_000)")


def test_only_one_cell_is_shortened():
    changed = [
        (path.stem, cell.id)
        for path in LESSONS
        for cell in nbformat.read(path, as_version=4).cells
        if shortened(cell.source) != cell.source
    ]
    assert changed == [("12_recommend", "12-67b")]


def run(cell, names):
    """Run a cell as a kernel would; a cell whose point is an error must raise one."""
    file = f"<cell {cell.id}>"
    linecache.cache[file] = len(cell.source), None, cell.source.splitlines(keepends=True), file  # for inspect
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(shortened(cell.source), file, "exec"), names)
    except Exception:
        if "raises-exception" not in cell.metadata.get("tags", []):
            raise
    else:
        assert "raises-exception" not in cell.metadata.get("tags", [])


def display(*shown, **options):
    """What a kernel shows; here nobody looks."""
    return types.SimpleNamespace(update=lambda *shown: None)


def in_a_child(work):
    """What went wrong while a copy of this process did `work`; an empty text if nothing did."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = work() or ""
        except BaseException:
            said = "".join(traceback.format_exc().splitlines(keepends=True)[-6:])
        os.write(writes, said.encode()[:60_000])
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return said


def failures(notebook):
    """Sections that do not run alone, or not with each (short) cell run twice: title and error.

    A section that others begin with is run once for all of them: each goes on in a copy of that process.
    """
    set_up, found = sections(notebook)
    by_title = {title: (needed, cells) for title, needed, cells in found}
    paths = [in_order(title, by_title) for title in by_title if by_title[title][1]]

    def from_here(done, names):
        said = ""
        for title in dict.fromkeys(
            path[len(done)] for path in paths if len(path) > len(done) and path[: len(done)] == done
        ):
            here = (*done, title)

            def one_section(title=title, here=here):
                for cell in by_title[title][1]:
                    started = time.perf_counter()
                    run(cell, names)
                    if here in paths and time.perf_counter() - started < 0.5:  # longer ones train anew
                        run(cell, names)
                return from_here(here, names)

            problem = in_a_child(one_section)
            said += f"{title}: {problem}\n" if problem else ""
        return said

    def begin():
        names = {"__name__": "__main__", "display": display}  # as a kernel has it
        for cell in set_up:
            run(cell, names)
        return from_here((), names)

    return in_a_child(begin)


def few_ratings(name="ml-100k", **options):
    """Ratings in the place of MovieLens', few enough that a lesson takes seconds."""
    ratings, truth = simulate(200, 300, 9_000, seed=int(name == "ml-100k"))
    return dataclasses.replace(ratings, features=simulated_features(truth))  # as load_ratings does without data


def in_one_process(train, n_factors, *, n_workers, **how):
    """In the place of `mf.hogwild`, whose start of processes would take longer than all the rest."""
    return mf.sgd(train, n_factors, engine="minibatch", **how)


def main(*paths):
    """Print `failures` of notebooks as JSON; what takes seconds to load is loaded once, before any is begun."""
    import matplotlib
    import torch

    matplotlib.use("Agg")
    importlib.import_module("matplotlib.pyplot")
    for name in dir(mf):
        getattr(mf, name)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)  # loads PyTorch's compiler
    mf.load_ratings, mf.hogwild = few_ratings, in_one_process
    print(json.dumps([failures(nbformat.read(path, as_version=4)).strip() for path in paths]))


def told(folder, *paths):
    """`main` in a process of its own with one thread: a copy of a process has no others."""
    alone = os.environ | {"OMP_NUM_THREADS": "1", "MFHELPERS_PROGRESS": "0", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, *map(str, paths)]
    done = subprocess.run(command, env=alone, cwd=folder, capture_output=True, text=True, timeout=580, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told_of_lessons(tmp_path_factory):
    return dict(zip(LESSONS, told(tmp_path_factory.mktemp("sections"), *LESSONS), strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sections are run in copies of a process")
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_section_runs_alone_and_each_cell_twice(path, told_of_lessons):
    assert told_of_lessons[path] == ""


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
    assert read_through([nbformat.v4.new_code_cell(code)])[1] == lacks


def cells(*pairs):
    make = {"m": nbformat.v4.new_markdown_cell, "c": nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in pairs])


def test_a_section_that_needs_another_must_say_so():
    parts = [
        ("m", "# T"),
        ("c", "a = 1"),
        ("c", "b = a"),
        ("m", "## One"),
        ("c", "d = b"),
        ("m", "## Two"),
        ("c", "print(d)"),
    ]
    assert missing_names(cells(*parts)) == {"Two": {"d"}}
    parts[5] = ("m", "## Two\n*Needs: One.*\n")
    assert missing_names(cells(*parts)) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sections are run in copies of a process")
def test_a_section_that_does_not_run_alone_or_twice_is_told(tmp_path):
    begin = [("m", "# T"), ("c", "a = 1"), ("c", "b = a"), ("m", "## One"), ("c", "a = d = 5"), ("m", "## Two")]
    says = {
        "print(d)": "NameError",  # of section One, which is not said to be needed
        "del a": "NameError",  # the second time
        "a += 1\nassert a == 2": "AssertionError",
        "assert a == 1": "",
    }
    paths = [tmp_path / f"{n}.ipynb" for n in range(len(says))]
    for path, second in zip(paths, says, strict=True):
        nbformat.write(cells(*begin, ("c", second)), path)
    for said, error in zip(told(tmp_path, *paths), says.values(), strict=True):
        assert said.startswith("Two: ") if error else said == ""
        assert error in said


if __name__ == "__main__":
    main(*sys.argv[1:])
