"""A file imports from its own room or from lower floors only."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

FLOORS = {
  'research.command': 0,
  'research.config': 0,
  'research.fields': 0,
  'research.files': 0,
  'research.provenance': 0,
  'research.sharding': 0,
  'research.models': 1,
  'research.data': 1,
  'research.objectives': 2,
  'research.inference': 2,
  'research.evals': 3,
  'research.interop': 3,
  'research.train': 4,
  'research.study': 5,
  'research.benchmark': 5,
  'configs': 6,
  'experiments': 7,
}
# Analysis runs anywhere: these stand apart from the floors, on what is named.
APART = ('research.scaling', 'research.plots')
FROM_APART = (
  *APART,
  'research.config',
  'research.fields',
  'research.models.config',
  'numpy',
  'scipy',
  'pandas',
  'matplotlib',
)
OURS = ('research', 'configs', 'experiments')


def module(path: pathlib.Path) -> str:
  """'research/models/__init__.py' as 'research.models.__init__'."""
  return '.'.join(path.with_suffix('').parts)


def within(name: str, package: str) -> bool:
  return f'{name}.'.startswith(f'{package}.')


def room(name: str) -> str | None:
  """The room that a module lies in; None outside the house."""
  rooms = [r for r in (*FLOORS, *APART) if within(name, r)]
  return rooms[0] if rooms else None


def imports(source: str, name: str, exists) -> set[str]:
  """Every module that `source`, which is `name`, imports anywhere in it.

  `from a import b` is the module a.b where `exists` says so, and a otherwise.
  """
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      above = name.split('.')[: -node.level] if node.level else []
      base = '.'.join([*above, *filter(None, [node.module])])
      for alias in node.names:
        inner = f'{base}.{alias.name}'
        found.add(inner if exists(inner) else base)
  return found


def complaint(name: str, target: str) -> str | None:
  """Why module `name` may not import module `target`, if it may not."""
  here, there = room(name), room(target)
  ours = target.partition('.')[0] in OURS
  if here is None or (ours and there is None):
    return f'{name} imports {target}: on which floor is it?'
  if here == there or allowed(name, here, target, there):
    return None
  return f'{name} may not import {target}'


def allowed(name: str, here: str, target: str, there: str | None) -> bool:
  if here in APART:
    standard = target.partition('.')[0] in sys.stdlib_module_names
    return standard or any(within(target, one) for one in FROM_APART)
  if there is None:
    return True
  if there in APART:  # They stand on models.config.
    return FLOORS[here] > FLOORS['research.models']
  return FLOORS[there] < FLOORS[here] or FLOORS[there] == FLOORS[here] == 0


def complaints(files: dict[str, str]) -> list[str]:
  """What is wrong in a house, given as source text by module name."""

  def exists(name):
    return name in files or f'{name}.__init__' in files

  return [
    text
    for name, source in sorted(files.items())
    for target in sorted(imports(source, name, exists))
    if (text := complaint(name, target))
  ]


def house() -> dict[str, str]:
  paths = [p for top in OURS for p in sorted((ROOT / top).rglob('*.py'))]
  return {module(p.relative_to(ROOT)): p.read_text() for p in paths}


def test_every_import_goes_down():
  files = house()
  assert {'research.config', 'research.models.__init__'} <= set(files)
  assert complaints(files) == []


MADE_UP = (
  'research.models.__init__',
  'research.models.config',
  'research.models.decoder',
  'research.data.corpora',
  'research.inference.score',
  'research.scaling.laws',
  'research.train.__init__',
  'experiments.train',
)


@pytest.mark.parametrize(
  ('name', 'source'),
  [
    ('research.models.decoder', 'import research.train.loop'),
    ('research.models.decoder', 'from research.data import corpora'),
    ('research.data.corpora', 'from research.models import config'),
    ('research.data.corpora', 'def f():\n  from research import models'),
    ('research.objectives.language', 'from ..inference import score'),
    ('research.config', 'from .models import decoder'),
    ('research.models.__init__', 'from ..train import loop'),
    ('research.train.loop', 'import configs.quickstart'),
    ('research.study.plan', 'from experiments import train'),
    ('configs.quickstart', 'from experiments import train'),
    ('research.models.decoder', 'from research.scaling import laws'),
    ('research.scaling.laws', 'import jax'),
    ('research.scaling.laws', 'from research.models import decoder'),
    ('research.scaling.laws', 'from research import train'),
    ('research.plots.scaling', 'import research.study'),
    ('research.misc', 'import os'),
    ('research.train.loop', 'from research import misc'),
  ],
)
def test_an_import_that_goes_up_is_found(name, source):
  files = dict.fromkeys(MADE_UP, '') | {name: source}
  (found,) = complaints(files)
  assert found.startswith(name)


@pytest.mark.parametrize(
  ('name', 'source'),
  [
    ('research.models.decoder', 'from research.models import layers'),
    ('research.models.decoder', 'from . import layers\nimport jax'),
    ('research.models.__init__', 'from . import decoder'),
    ('research.train.loop', 'from research.models import config'),
    ('research.study.plan', 'from research.scaling import compute'),
    ('research.scaling.laws', 'import scipy.optimize, dataclasses'),
    ('research.scaling.laws', 'from research.models.config import X'),
    ('research.plots.scaling', 'from research.scaling import laws'),
    ('experiments.study', 'import configs.quickstart, research.study.plan'),
  ],
)
def test_an_import_that_goes_down_is_not(name, source):
  files = dict.fromkeys(MADE_UP, '') | {name: source}
  assert complaints(files) == []


def test_sizes_are_counted_and_results_analysed_without_jax():
  names = ['research.models.config', 'research.provenance']
  names += [n for n in house() if room(n) in APART and '__' not in n]
  code = f'import sys, {", ".join(names)}; print("jax" in sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.stdout == 'False\n', done.stderr
