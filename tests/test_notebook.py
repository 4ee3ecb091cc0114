"""Notebooks run from top to bottom, and hold no code of their own."""

import ast
import json
import lzma
import pathlib
import subprocess
import sys

import jax
import nbclient
import nbformat
import pytest
import tiny_study

from research.study import store

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / 'notebooks' / 'quickstart.ipynb'
LAWS = ROOT / 'notebooks' / 'scaling_laws.ipynb'
EMERGENCE = ROOT / 'notebooks' / 'emergence.ipynb'
PUBLISHED = ROOT / 'notebooks' / 'published_models.ipynb'
CONFIG = 'tests.tiny_study:ladder'


@pytest.fixture
def notebook():
  return nbformat.read(NOTEBOOK, as_version=4)


def sources(notebook, *tags):
  """The code cells, or those with one of `tags`."""
  return [
    cell.source
    for cell in notebook.cells
    if cell.cell_type == 'code'
    and (not tags or set(tags) & set(cell.metadata.get('tags', ())))
  ]


@pytest.mark.parametrize(
  'path', [NOTEBOOK, LAWS, EMERGENCE, PUBLISHED], ids=lambda p: p.stem
)
def test_it_is_kept_without_outputs(path):
  for cell in nbformat.read(path, as_version=4).cells:
    assert not cell.get('outputs')
    assert cell.get('execution_count') is None
  assert path.stat().st_size < 20_000


@pytest.mark.parametrize(
  'path', [NOTEBOOK, LAWS, EMERGENCE, PUBLISHED], ids=lambda p: p.stem
)
def test_it_defines_nothing(path):
  for source in sources(nbformat.read(path, as_version=4)):
    lines = source.splitlines()
    code = '\n'.join(line for line in lines if not line.startswith('%'))
    for node in ast.walk(ast.parse(code)):
      assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of Jupyter's own
def test_it_trains_and_shows_a_study_from_top_to_bottom(
  notebook, tmp_path, monkeypatch
):
  tiny_study.write_corpus(tmp_path / 'corpus.jsonl')
  monkeypatch.setenv('TINY_CORPUS', str(tmp_path / 'corpus.jsonl'))
  monkeypatch.setenv('SCALING_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  workdir = tmp_path / 'study'
  (cell,) = (
    c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ())
  )
  values = {'REPOSITORY': '', 'WORKDIR': str(workdir), 'CONFIG': CONFIG}
  assert [
    line.partition(' = ')[0] for line in cell.source.splitlines()
  ] == list(values)
  cell.source = '\n'.join(f'{name} = {v!r}' for name, v in values.items())

  nbclient.NotebookClient(
    notebook, timeout=300, resources={'metadata': {'path': NOTEBOOK.parent}}
  ).execute()

  study = tiny_study.ladder()
  runs = store.frame(workdir)['run'].unique()
  assert len(runs) == 4
  printed = ''.join(
    output.get('text', '')
    for cell in notebook.cells
    for output in cell.get('outputs', ())
  )
  for run in runs:
    assert f'done: {run}' in printed
  pictures = [
    output.data
    for cell in notebook.cells
    for output in cell.get('outputs', ())
    if '<svg' in str(output.get('data'))
  ]
  assert len(pictures) == 3
  assert study.question in (workdir / 'report.html').read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of Jupyter's own
def test_it_goes_from_the_shipped_table_to_laws_and_scores(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  notebook = nbformat.read(LAWS, as_version=4)
  nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': LAWS.parent}}
  ).execute()
  outputs = [out for cell in notebook.cells for out in cell.get('outputs', ())]
  printed = ''.join(out.get('text', '') for out in outputs)
  for name in ('decoder', 'encoder_decoder', 'encoder'):
    assert f'{name}: L = ' in printed
  registered = json.loads(
    (LAWS.parent / 'quickstart' / 'predictions.json').read_text()
  )
  assert registered['designs'][0]['fit']['text'] in printed
  assert any('<svg' in str(out.get('data')) for out in outputs)
  assert any('loss of 32x2' in str(out.get('data')) for out in outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of Jupyter's own
def test_it_draws_the_shipped_skills_and_judges_them_as_the_study_did(
  monkeypatch,
):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  notebook = nbformat.read(EMERGENCE, as_version=4)
  notebook.cells.append(
    nbformat.v4.new_code_cell('print(reverse.verdict, addition.verdict)')
  )
  nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': EMERGENCE.parent}}
  ).execute()
  outputs = [out for cell in notebook.cells for out in cell.get('outputs', ())]
  assert sum('<svg' in str(out.get('data')) for out in outputs) == 2
  shipped = EMERGENCE.parent / 'emergence' / 'verdicts.json.xz'
  judged = json.loads(lzma.open(shipped).read())
  asked = (
    'reverse_6 · decoder · 0',
    'addition_2 · decoder · 0 · chain_of_thought',
  )
  said = ' '.join(judged[task]['verdict'] for task in asked)
  assert outputs[-1]['text'].strip() == said


@pytest.fixture
def install(notebook):
  """The source of the cell that installs."""
  (found,) = (s for s in sources(notebook) if "'install'" in s)
  return found


def test_outside_a_checkout_it_keeps_the_jax_of_the_runtime(
  install, tmp_path, monkeypatch
):
  typed = []
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', list(sys.path))

  def run(command, check):
    assert check
    typed.append([str(word) for word in command])
    (tmp_path / 'scaling').mkdir(exist_ok=True)

  monkeypatch.setattr(subprocess, 'run', run)
  exec(install, {'REPOSITORY': 'https://example.org/code'})

  clone, pip = typed
  assert clone[:2] == ['git', 'clone']
  assert clone[-2:] == ['https://example.org/code', str(tmp_path / 'scaling')]
  assert pip[1:4] == ['-m', 'pip', 'install']
  constraints = pathlib.Path(pip[pip.index('-c') + 1]).read_text().split()
  assert f'jax=={jax.__version__}' in constraints
  assert any(line.startswith('jaxlib==') for line in constraints)
  assert not any(line.startswith('flax') for line in constraints)
  assert pathlib.Path.cwd() == tmp_path / 'scaling'


def test_without_an_address_it_says_what_to_fill_in(
  install, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit, match='REPOSITORY is empty'):
    exec(install, {'REPOSITORY': ''})
