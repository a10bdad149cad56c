# One command each; every target sets up what it needs, in .venv.
#   make lab        open the course in JupyterLab
#   make notebooks  run every lesson without a browser, into build/notebooks
#   make test       lint, types, unit tests, faults, the notebooks; a lesson and an exercise in a browser
#   make browser    every lesson, and an exercise of each, in JupyterLab in headless Chromium
#   make oldest     the unit tests on the oldest packages that pyproject.toml allows, in .venv-oldest
#   make bench      measure speed against peers on this machine, into build/bench.json (minutes, 8 GB)
#   make gpu        where an NVIDIA GPU is: its tests and its figures, into build/gpu.json (see tests/gpu.py)
#   make outputs    for maintainers: renew the stored outputs, on real MovieLens
#   make format     for maintainers: let ruff lay out code and notebooks
#   make binder     print the link that opens this repository on Binder
#   make clean      remove what the others made
#
# PYTHON=python3.12 chooses another Python, VENV=FOLDER another place for what it installs, TORCH_INDEX=URL another source
# for PyTorch (see README); LAB_OPTIONS="--port 9000" goes to JupyterLab, BENCH_OPTIONS=--small to the benchmark.

PYTHON ?= python3
TORCH_INDEX ?=
# for Linux without a driver for NVIDIA's GPUs; the driver makes one of these files
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
NVIDIA_DRIVER ?= /proc/driver/nvidia/version /dev/nvidiactl
LAB_OPTIONS ?=
BENCH_OPTIONS ?=
TEST_OPTIONS ?=
COVERED ?= 90
# The one place for the address of the course: where this clone came from, until it has a public home.
REPOSITORY ?= $(shell git remote get-url origin 2>/dev/null)
CONSTRAINTS := constraints.txt
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/ready
TESTED := $(VENV)/tested
PEERS := $(VENV)/peers
# JupyterLab serves this machine alone, and makes a token; so root may start it, as whom containers and cloud shells begin
LOOPBACK = $(if $(findstring --ip,$(LAB_OPTIONS)),,--ip=127.0.0.1)
ROOT = $(shell [ "$$(id -u)" != 0 ] || echo --allow-root)
export PIP_DEFAULT_TIMEOUT ?= 30

.DELETE_ON_ERROR:
.PHONY: lab notebooks test browser oldest bench wheels gpu outputs format binder clean

lab: $(READY)
	@[ -z "$(ROOT)" ] || echo "You are root: JupyterLab gets --allow-root; it makes a token, and stays at 127.0.0.1 unless you say --ip"
	$(BIN)/jupyter lab $(LOOPBACK) $(ROOT) $(LAB_OPTIONS) notebooks/00_movielens.ipynb

notebooks: $(READY)
	$(BIN)/python -m mfhelpers run --to build/notebooks

# Unit tests and notebooks side by side, one process a processor; TEST_OPTIONS="--processes 1" for one after the other.
test: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/coverage erase
	$(BIN)/python tests/side_by_side.py $(TEST_OPTIONS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=$(COVERED)

browser: $(TESTED)
	MFHELPERS_BROWSER=required OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_browser.py --browser=all -v

# Old packages use what newer ones beside them deprecate, and that is no fault.
oldest: build/oldest.txt
	@$(MAKE) --no-print-directory VENV=.venv-oldest CONSTRAINTS=$< .venv-oldest/tested
	OMP_NUM_THREADS=1 MFHELPERS_PROGRESS=0 .venv-oldest/bin/python -m pytest -W default::DeprecationWarning tests

bench: $(PEERS)
	$(BIN)/python tests/bench.py $(BENCH_OPTIONS)

# For a machine with a GPU, its own PyTorch and no network: carry build/wheels there (60 MB), and install what it lacks.
GPU_PYTHON ?= python3
NEEDED := scipy pandas tqdm requests filelock platformdirs psutil threadpoolctl pytest implicit

wheels: $(READY)
	$(PIP) download -q --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
	  --platform manylinux2014_x86_64 --no-deps -c $(CONSTRAINTS) -d build/wheels $(NEEDED) \
	  urllib3 certifi idna charset-normalizer iniconfig pluggy packaging pygments python-dateutil six

gpu:
	$(GPU_PYTHON) -m venv --system-site-packages build/gpu
	# where that Python is a virtual environment itself, its packages are no system's: named in a file of paths
	$(GPU_PYTHON) -c 'import sysconfig as s; print(s.get_path("purelib"))' \
	  > "$$(build/gpu/bin/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/parent.pth"
	for name in $(NEEDED); do build/gpu/bin/python -c "import $$name" 2>/dev/null \
	  || build/gpu/bin/python -m pip install -q --no-index --find-links build/wheels $$name || true; done
	PYTHONPATH=. build/gpu/bin/python tests/gpu.py $(GPU_OPTIONS)

outputs: $(TESTED)
	$(BIN)/python -m mfhelpers run --in-place

format: $(TESTED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

binder:
	@"$(PYTHON)" -c 'import sys, urllib.parse as u; a = sys.argv[1]; \
	  sys.exit("no address: make binder REPOSITORY=https://…") if not a.startswith("https://") else \
	  print(f"https://mybinder.org/v2/git/{u.quote(a.replace(u.urlsplit(a).netloc, u.urlsplit(a).netloc.split(chr(64))[-1], 1), safe=str())}/HEAD?urlpath=lab/tree/notebooks/00_movielens.ipynb")' \
	  "$(REPOSITORY)"

clean:
	rm -rf $(VENV) .venv-oldest build .pytest_cache .ruff_cache .coverage*

# each lower bound as a pin
build/oldest.txt: pyproject.toml
	@mkdir -p build
	@"$(PYTHON)" -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  x = p["optional-dependencies"]; \
	  print(*[line.replace(">=", "==") for line in p["dependencies"] + x["lab"] + x["teach"] + x["test"]], sep="\n")' > $@

$(READY): pyproject.toml $(CONSTRAINTS)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The course needs Python 3.11 or later; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1 || true)."; \
	  echo "Install one from python.org or your system's packages, then: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) 2>build.venv.log && rm -f build.venv.log || { rm -rf $(VENV) build.venv.log; \
	  echo "'$(PYTHON) -m venv' does not work here."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv. Or use conda: see README."; exit 1; }
	@echo "Installing into $(VENV): one to three minutes"
	@$(BIN)/python mfhelpers/course/pytorch.py "$$(grep '^torch==' $(CONSTRAINTS))" \
	    --asked "$(TORCH_INDEX)" --cpu "$(TORCH_CPU_INDEX)" --driver $(NVIDIA_DRIVER) \
	  && $(PIP) install -q --no-compile -c $(CONSTRAINTS) -e '.[lab]' || { \
	  echo; echo "The installation failed; pip's reason stands above. If it speaks of connections or names that cannot be"; \
	  echo "resolved, there is no network: connect once, then repeat the command. What is installed is kept."; exit 1; }
	@touch $@

$(TESTED): $(READY)
	@echo "Installing what the tests need: half a minute"
	@$(PIP) install -q --no-compile -c $(CONSTRAINTS) -e '.[lab,teach,test]' || { \
	  echo; echo "The installation failed; pip's reason stands above. What is installed is kept."; exit 1; }
	@touch $@

# what cannot be installed (cmfrec wants a compiler) is left out of the comparison, and tried again next time
$(PEERS): $(READY)
	@echo "Installing the peers of the benchmark: up to three minutes"
	@$(PIP) install -q --no-compile -c $(CONSTRAINTS) -e '.[bench]' && touch $@ || \
	  $(PIP) install -q --no-compile -c $(CONSTRAINTS) implicit || echo "No peer could be installed."
