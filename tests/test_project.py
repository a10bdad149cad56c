"""What holds the project together: its lists of packages agree, imports run one way."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import resolve_name
from pathlib import Path

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import mfhelpers

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CONDA_NAMES = {"pytorch-cpu": "torch"}
MODULES = {  # "check.lesson_01" and the like
    ".".join(path.relative_to(ROOT / "mfhelpers").with_suffix("").parts): path
    for path in (ROOT / "mfhelpers").rglob("*.py")
}
MOVIELENS_FILES = re.compile(
    r"(^|/)(ml-[^/]*/|ml-.*\.zip$|u\d?\.(data|item|user|genre|info|base|test)$|u[ab]\.(base|test)$"
    r"|(ratings|movies|users|tags|links|genome-\w+)\.(dat|csv)$)"
)
RATINGS = re.compile(r"(?:^\d+(?:\t|,|::)\d+(?:\t|,|::)[0-5](?:\.\d)?(?:\t|,|::)\d{9,10}\r?\n){20}", re.M)
TOP = {
    ".ci", ".github", ".gitignore", "CONTRIBUTING.md", "LICENSE", "LICENSE-TEXT", "Makefile", "README.md", "TEACHING.md", "binder",
    "constraints.txt", "environment.yml", "mfhelpers", "notebooks", "pyproject.toml", "tests",
}  # fmt: skip


def bounds(requirements):
    """{name: lower bound} of lines that give a name and a lower bound, and nothing else."""
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", line) for line in requirements]
    assert all(found), requirements
    return {match[1]: match[2] for match in found}


def git(*arguments):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


# -- packages --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf8"))


def conda_specs(conda) -> list[str]:
    return [spec for spec in conda["dependencies"] if isinstance(spec, str)]


def test_conda_takes_from_conda_forge_what_is_there_for_every_machine(conda):
    assert set(conda) == {"name", "channels", "dependencies"}
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    (others,) = (spec for spec in conda["dependencies"] if not isinstance(spec, str))
    assert others == {"pip": ["voyager>=2.1"]}
    assert "pip" in conda["dependencies"]


def test_conda_gets_what_pip_gets_with_the_same_lower_bounds(conda):
    specs = [spec for spec in conda_specs(conda) if spec != "pip" and not spec.startswith("python=")]
    specs += conda["dependencies"][-1]["pip"]
    ours = {CONDA_NAMES.get(name, name): bound for name, bound in bounds(specs).items()}
    assert len(ours) == len(specs)
    theirs = bounds(PROJECT["project"]["dependencies"] + EXTRAS["lab"] + PROJECT["build-system"]["requires"])
    assert ours == theirs


def test_conda_names_one_python_which_the_project_allows(conda):
    """One, since repo2docker takes an older default where the file gives a bound alone."""
    (version,) = (spec.removeprefix("python=") for spec in conda_specs(conda) if spec.startswith("python"))
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"{version}.0")


def test_conda_can_read_each_line(conda):
    for spec in conda_specs(conda):
        read = rattler.MatchSpec(spec)
        assert "exact" in repr(read.name), spec
        assert read.version or spec == "pip"


def test_constraints_pin_every_declared_package_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][^ ;]*)", line) for line in lines if not line.startswith("#")]
    assert all(pins)
    pinned = {canonicalize_name(pin[1]): pin[2] for pin in pins}
    assert len(pinned) == len(pins)
    for line in PROJECT["project"]["dependencies"] + EXTRAS["lab"] + EXTRAS["test"] + EXTRAS["bench"]:
        declared = Requirement(line)
        assert declared.specifier.contains(pinned[canonicalize_name(declared.name)]), line


def test_this_python_is_one_that_the_project_allows():
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains("{}.{}.{}".format(*sys.version_info))


# -- binder ----------------------------------------------------------------------------------------


def test_binder_has_the_one_environment(conda):
    link = ROOT / "binder" / "environment.yml"
    assert os.readlink(link) == "../environment.yml"
    assert yaml.safe_load(link.read_text(encoding="utf8")) == conda


@pytest.mark.parametrize("script", ["binder/postBuild", "binder/start", ".ci/run"])
def test_scripts_can_be_run(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/")
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_repo2docker_reads_the_repository_as_it_is_meant(conda, tmp_path):
    tree = tmp_path / "course"  # a copy: it would send everything beside the notebooks to Docker
    shutil.copytree(ROOT / "binder", tree / "binder", symlinks=True)
    shutil.copy(ROOT / "environment.yml", tree)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", tree]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (version,) = (spec.removeprefix("python=") for spec in conda_specs(conda) if spec.startswith("python"))
    assert f"Building conda environment for python={version}" in done.stdout + done.stderr
    for line in (
        '--file "binder/environment.yml"',
        "RUN ./binder/postBuild",
        'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ):
        assert line in done.stdout + done.stderr


def test_binders_start_becomes_the_command_with_one_thread():
    command = ["bash", "-c", 'echo "$OMP_NUM_THREADS" "$1"', "name", "a  b"]
    done = subprocess.run([ROOT / "binder" / "start", *command], capture_output=True, text=True, check=True)
    assert done.stdout == "1 a  b\n"
    assert (ROOT / "binder" / "start").read_text().rstrip().endswith('\nexec "$@"')


def test_binder_installs_the_package_alone():
    assert re.search(r"^pip install --no-deps .*\.$", (ROOT / "binder" / "postBuild").read_text(), flags=re.M)


# -- what is in the repository ---------------------------------------------------------------------


def test_the_top_of_the_repository_stays_short():
    assert {path.split("/")[0] for path in git("ls-files").splitlines()} <= TOP


def test_no_movielens_data_is_tracked():
    for name in git("ls-files", "-z").rstrip("\0").split("\0"):
        assert not MOVIELENS_FILES.search(name), name
        if (path := ROOT / name).is_file():
            assert path.stat().st_size < 2_000_000, name
            assert not RATINGS.search(path.read_bytes().decode("utf8", errors="replace")), name


@pytest.mark.parametrize("name", ["ml-100k/u.data", "data/ml-1m/ratings.dat", "u.item", "x/ua.base", "ml-25m.zip"])
def test_movielens_files_would_be_recognised(name):
    assert MOVIELENS_FILES.search(name)


@pytest.mark.parametrize("row", ["196\t242\t3\t881250949\n", "1,31,2.5,1260759144\r\n", "1::1193::5::978300760\n"])
def test_rows_of_ratings_would_be_recognised(row):
    assert RATINGS.search("head\n" + row * 20)
    assert not RATINGS.search("head\n" + row * 5)  # a few may stand in a text


# -- modules ---------------------------------------------------------------------------------------


def imports(module, source=None):
    """The package's modules that a module imports, wherever in it."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf8") if source is None else source)
    package = ".".join(["mfhelpers", *module.split(".")[:-1]])
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "mfhelpers"):
            place = resolve_name("." * node.level + (node.module or ""), package).removeprefix("mfhelpers").strip(".")
            found |= {home(f"{place}.{alias.name}".strip(".")) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {home(a.name.partition(".")[2]) for a in node.names if a.name.split(".")[0] == "mfhelpers"}
    return {name for name in found if not name.endswith("__init__") or name == "__init__"} - {module}


def home(name):
    """The module of a dotted name: itself, the one that defines it, a folder, or the package for what it hands on."""
    if name in mfhelpers._HOME:
        return mfhelpers._HOME[name]
    while name and name not in MODULES and f"{name}.__init__" not in MODULES:
        name = name.rpartition(".")[0]
    return name if name in MODULES else f"{name}.__init__".strip(".")


FLOORS = ["display", "data", "models", "algorithms", "evaluation", "course", "check"]  # from the ground up


def floor(module):
    """How high a module stands; the commands and the package itself above all folders."""
    folder = module.partition(".")[0]
    return FLOORS.index(folder) if folder in FLOORS else len(FLOORS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_its_own_folder_and_those_below(module):
    """Also inside functions and for types alone: what needs a name from above belongs there."""
    above = {other for other in imports(module) if floor(other) > floor(module)}
    assert not above, f"{module} stands below {', '.join(above)}"


def test_check_and_course_do_not_know_each_other():
    for module in MODULES:
        if module.startswith("check"):
            assert not any(other.startswith("course") for other in imports(module)), module


def test_no_imports_run_in_a_circle():
    left = {module: imports(module) for module in MODULES}
    assert set().union(*left.values()) <= set(MODULES)
    while left:
        ready = [module for module, needed in left.items() if not needed & set(left)]
        assert ready, f"a circle among {sorted(left)}"
        for module in ready:
            del left[module]


def test_every_module_stands_in_a_folder():
    alone = {module for module in MODULES if floor(module) == len(FLOORS)}
    assert alone == {"__init__", "__main__"}


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("data.ratings", "from ..algorithms.sgd import sgd", {"algorithms.sgd"}),
        ("data.ratings", "from . import splits", {"data.splits"}),
        ("data.ratings", "def f():\n    import mfhelpers.models.factors", {"models.factors"}),
        ("data.ratings", "if TYPE_CHECKING:\n    from ..models.factors import Factors", {"models.factors"}),
        ("data.ratings", "from mfhelpers import sgd", {"algorithms.sgd"}),
        ("data.ratings", "import mfhelpers as mf", {"__init__"}),
        ("check.feedback", "from ..data import ratings", {"data.ratings"}),
        ("check.__init__", "from .feedback import exercise", {"check.feedback"}),
    ],
)
def test_every_way_to_import_is_seen(module, line, found):
    assert imports(module, line) == found


def test_loading_the_package_loads_nothing_else():
    code = "import sys, mfhelpers; print({'torch', 'numpy', 'pandas'} & set(sys.modules), dir(mfhelpers))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set() ")
    assert all(repr(name) in done.stdout for name in mfhelpers.__all__)


@pytest.mark.parametrize("name", mfhelpers.__all__)
def test_public_names_are_there_with_a_docstring_and_type_hints(name):
    thing = getattr(mfhelpers, name)
    assert thing.__module__.startswith("mfhelpers.")
    assert len((thing.__doc__ or "").split()) >= 4
    assert not thing.__doc__.startswith(f"{name}(")  # which dataclass and NamedTuple write on their own
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        assert untyped == []
        assert signature.return_annotation is not signature.empty


def test_editors_and_type_checkers_see_the_same_names():
    stub = ast.parse((ROOT / "mfhelpers" / "__init__.pyi").read_text(encoding="utf8"))
    seen = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, "`import x as x` is how a stub hands a name on"
                seen[alias.name] = node.module
    modules = {name: home.rpartition(".")[0] or None for name, home in mfhelpers._MODULES.items()}
    assert seen == mfhelpers._HOME | modules
    assert (ROOT / "mfhelpers" / "py.typed").exists()


def test_no_function_is_too_long_to_be_read_at_once():
    """Sixty lines of body, docstrings apart."""
    long = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if lines > 60:
                    long[f"{module}.{node.name}"] = lines
    assert long == {}


def test_no_test_file_is_too_long_to_be_read_at_once():
    long = {path.name: n for path in (ROOT / "tests").rglob("*.py") if (n := len(path.read_text().splitlines())) > 600}
    assert long == {}


def test_modules_are_there_without_an_import_of_their_own():
    modules = ["check", "display.plots", "display.interactive"]
    code = "import mfhelpers; print([m.__name__ for m in (mfhelpers.check, mfhelpers.plots, mfhelpers.interactive)], dir(mfhelpers))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str([f"mfhelpers.{name}" for name in modules]))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = mfhelpers.no_such_name


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf8")))
