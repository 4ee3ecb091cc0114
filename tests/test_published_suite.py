"""A published suite becomes a results table, and is what it says it is."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from etils import epath
import jax
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import small_corpus
import variants

from configs import published as suites
from research import sharding
from research.config import BadInput
from research.data import pipeline
from research.data.tokenizers import BPE
from research.interop import exporting, imported, source
from research.interop.families.gpt import GPT_NEOX
from research.interop.family import Settings
from research.models.config import ModelConfig
from research.scaling import fit, points
from research.scaling.emergence import curves, scores, verdict
from research.scaling.laws.chinchilla import Chinchilla
from research.study import cells as cell_runs
from research.study import (
  identity,
  listing,
  published,
  report,
  runner,
  store,
)
from research.study import scores as study_scores
from research.study.evaluation import Evaluation, Measured
from research.study.executors import Pool
from research.study.plan import Size, StudyConfig, Suite, cells
from research.study.published import Published

NOTEBOOK = (
  pathlib.Path(__file__).parents[1] / 'notebooks/published_models.ipynb'
)
STEPS = (1000, 2000)
# EleutherAI/pythia, README: all parameters and those beside the embeddings.
COUNTED = {
  '70m': (70_426_624, 18_915_328),
  '160m': (162_322_944, 85_056_000),
  '410m': (405_334_016, 302_311_424),
  '1b': (1_011_781_632, 805_736_448),
  '1.4b': (1_414_647_808, 1_208_602_624),
  '2.8b': (2_775_208_960, 2_517_652_480),
  '6.9b': (6_857_302_016, 6_444_163_072),
  '12b': (11_846_072_320, 11_327_027_200),
}


def neox(width: int):
  said = {
    'num_hidden_layers': 2,
    'hidden_size': width,
    'num_attention_heads': 2,
    'intermediate_size': 4 * width,
    'vocab_size': 300,
    'max_position_embeddings': 32,
  }
  return GPT_NEOX.read(Settings(said), ())


def drifted(model, seed: int):
  """The model after a step of a random walk."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: x + 0.2 * x.std() * rng.normal(size=x.shape).astype(x.dtype),
    model,
  )


SMALL, LARGE = (
  Size(name=name, model=neox(width))
  for name, width in (('small', 16), ('large', 32))
)


def design(folder, data, **changes) -> Suite:
  made = Suite(
    source=f'{folder}/{{size}}/step{{step}}',
    sizes=(SMALL, LARGE),
    steps=STEPS,
    tokens_per_step=2_097_152,
    data=data,
  )
  return dataclasses.replace(made, **changes)


def suite(folder, data, **changes) -> StudyConfig:
  return StudyConfig(
    title='Tiny suite',
    question='Does a suite become a table?',
    designs=(design(folder, data, **changes),),
    evaluation=Evaluation(
      n_tokens=128, n_spans=2, span_length=4, context=16, batch_size=4
    ),
  )


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
  """Checkpoints of two sizes at two steps, and what they are read on."""
  here = tmp_path_factory.mktemp('suite')
  data = small_corpus.config(here, tokenizer=BPE(vocab_size=300, n_sentinels=2))
  tokenizer = pipeline.tokenizer(data)
  for name, width in (('small', 16), ('large', 32)):
    rng = np.random.default_rng(width)
    model: Any = jax.tree.map(
      lambda x, rng=rng: (rng.normal(size=x.shape) / 4).astype(x.dtype),
      variants.shapes(neox(width)),
    )
    for step in STEPS:
      exporting.write(here / name / f'step{step}', model, tokenizer)
      model = drifted(model, step)
  return here, data


def planted(study: StudyConfig) -> pd.DataFrame:
  """The table of a suite whose loss and whose ability are known laws.

  Its columns are those of a suite that was read (`test_a_suite_on_disk_…`).
  """
  rows = []
  for cell in cells(study):
    cfg = cell.config
    assert isinstance(cfg, Published)
    n, d = cfg.model.n_params, cfg.tokens
    about = {
      'run': cell.name,
      'architecture': cell.architecture,
      **cell.labels,
      **published.facts(cfg, cell.name),
    }
    loss = 0.6 + 120 / n**0.34 + 123 / d**0.28
    right = cfg.step / 143_000 / (1 + (n / 1e9) ** -2)
    for task, metric, value in (
      ('yardstick', 'bits_per_byte', loss),
      ('validation', 'bits_per_byte', loss),
      ('validation', 'loss', 3 * loss),
      ('Copy', 'exact_match', right**4),
      ('Copy', 'token_accuracy', right),
    ):
      row = {'task': task, 'domain': 'all', 'metric': metric, 'value': value}
      rows.append({**about, **row, 'stderr': 0.01, 'n': 200, 'chance': 0.0})
  return pd.DataFrame(rows)


def test_a_law_and_a_verdict_come_of_a_suite_as_of_our_own():
  study = suites.pythia()
  table = planted(study)
  given = points.from_study(table)['decoder']
  assert len(given) == 8 * 5
  found = fit.fit(Chinchilla(), given, resamples=10, starts=200)
  assert found.certificate.certified
  assert found.parameters == pytest.approx(
    {'E': 0.6, 'A': 120, 'B': 123, 'alpha': 0.34, 'beta': 0.28}, rel=1e-6
  )
  scored = scores.of_study(table)
  ((label, found_curves),) = curves.curves(scored)
  assert label == 'Copy'
  for (
    curve
  ) in found_curves:  # the last of a size's five checkpoints, and no mean
    assert len(curve.scale) == 8 and set(curve.runs) == {1}
  n = np.array([size.model.n_params for size in study.designs[0].sizes])
  np.testing.assert_allclose(found_curves[1].value, 1 / (1 + (n / 1e9) ** -2))
  (judged,) = verdict.verdicts(scored)
  assert judged.verdict in ('smooth', 'metric artefact', 'resolution floor')


@pytest.mark.slow
def test_the_commands_fit_and_judge_a_suite_s_table(tmp_path):
  study = suites.pythia()
  store.write_rows(
    epath.Path(tmp_path) / store.RESULTS, planted(study).to_dict('records')
  )
  for name, more in (
    ('fit', ('--law=chinchilla', f'--out={tmp_path}/fit.json')),
    ('emergence', ()),
  ):
    done = subprocess.run(
      [sys.executable, '-m', f'experiments.{name}', *more]
      + [f'--workdir={tmp_path}'],
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr
  assert 'Copy' in json.loads((tmp_path / 'verdicts.json').read_text())
  html = report.make(study, tmp_path).read_text()
  assert 'Laws, and what compute buys' in html and 'Abilities' in html


def step_of(cell) -> int:
  return cell.config.step


def run(study, workdir):
  """The states and reasons by size and step, and the table."""
  workdir = epath.Path(workdir)
  events = []
  planned = runner.run(study, workdir, events.append)
  assert {event.state for event in events} <= {'running', 'done', 'failed'}
  states = {
    (cell.labels['size'], step_of(cell)): store.status(cell.folder(workdir))
    for cell in planned
  }
  return states, store.frame(workdir)


def test_pythia_has_the_parameters_that_its_authors_count():
  for cell in cells(suites.pythia()):
    model = cell.config.model
    assert isinstance(model, ModelConfig)
    found = model.n_params, model.n_params_non_embedding
    assert found == COUNTED[cell.labels['size']]


def test_bert_and_t5_have_the_parameters_that_their_papers_tell():
  for cell in cells(suites.bert()):
    layers, d, _ = suites.BERTS[cell.labels['size']]
    tables = (30_522 + 512 + 2) * d + 2 * d
    layer = 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * d
    head = d * d + 3 * d + 30_522
    assert cell.params == tables + layers * layer + head
    told = {'base': 110e6, 'large': 340e6}[cell.labels['size']]
    assert cell.params == pytest.approx(told, rel=0.02)
    assert isinstance(cell.config, Published)
    rows = ((900_000 * 256, 128), (100_000 * 256, 512))
    flops = sum(n * cell.config.model.train_flops(length) for n, length in rows)
    assert cell.flops == 0 and cell.config.flops / flops == pytest.approx(
      1.04, abs=0.005
    )
    # It read its text some forty times; how often exactly is not known here.
    assert published.facts(cell.config, '')['unique_tokens'] is None
  told = {
    'small': 60e6,
    'base': 220e6,
    'large': 770e6,
    '3b': 2.8e9,
    '11b': 11e9,
  }
  for cell in cells(suites.t5()):
    layers, d, ff, h, k = suites.T5S[cell.labels['size']]
    one = 4 * d * h * k + 2 * d * ff
    decoder = one + 4 * d * h * k + 3 * d
    stacks = layers * (one + 2 * d + decoder) + 2 * d + 2 * 32 * h
    assert cell.params == 32_128 * d + stacks
    assert cell.params == pytest.approx(told[cell.labels['size']], rel=0.05)
    # Products of a row: 512 tokens read, of which the decoder's layers, too,
    # make keys and values, and 114 written. Attention comes on top.
    read = 512 * layers * (one + 2 * d * h * k)
    written = 114 * (layers * (one + 2 * d * h * k) + 32_128 * d)
    assert cell.tokens is not None and isinstance(cell.config, Published)
    rows = cell.tokens / 512
    assert 1 < cell.config.flops / (6 * (read + written) * rows) < 1.15


def test_a_suite_without_steps_in_its_names_has_a_plan():
  said = listing.plan(suites.bert())
  assert (
    '2 published checkpoints' in said and 'encoder-large-step1000000' in said
  )


def test_pythias_last_step_has_read_what_its_authors_say():
  last = cells(suites.pythia())[-1]
  assert last.tokens == 299_892_736_000
  assert isinstance(last.config, Published)
  flops = last.config.flops  # six a parameter and token, and attention
  assert 1 < flops / (6 * 11_327_027_200 * last.tokens) < 1.15


def test_a_suite_on_disk_becomes_rows_a_plan_and_a_report(theirs, tmp_path):
  study = suite(*theirs)
  states, table = run(study, tmp_path)
  assert {s.state for s in states.values()} == {'done'}
  rows = table.to_dict('records')
  for row in rows:
    model = {'small': SMALL, 'large': LARGE}[row['size']].model
    tokens = row['step'] * 2_097_152
    assert row['tokens'] == tokens
    assert row['params'] == model.n_params
    assert row['flops'] == model.train_flops(32) * tokens // 32
    assert row['architecture'] == 'decoder'
    if row['task'] == 'yardstick':
      assert 'its own tokenizer' in row['rule']
  assert {row['task'] for row in rows} == {'validation', 'yardstick'}
  assert len({row['weights_hash'] for row in rows}) == 4
  seen = points.from_study(table)['decoder']  # what laws are fitted to
  assert len(seen.loss) == 4
  assert 'Tiny suite' in report.make(study, tmp_path).read_text()
  assert 'GiB' in listing.plan(study)


@pytest.fixture
def calls(monkeypatch):
  """What was evaluated: nothing is, and one row says so."""
  found = []

  def evaluate(model, *_):
    found.append(model)
    row = {'task': 'none', 'domain': 'all', 'metric': 'none', 'value': 0.0}
    return Measured([row], [])

  monkeypatch.setattr(cell_runs, 'evaluate', evaluate)
  return found


def test_what_was_imported_is_a_source_of_a_suite(theirs, tmp_path, calls):
  folder, data = theirs
  where = folder / 'small' / 'step1000'
  out = tmp_path / 'small'
  ours, _ = imported.write(out, source.read(str(where)), str(where))
  study = suite(tmp_path, data, sizes=(SMALL,), steps=(1000,))
  one = dataclasses.replace(study.designs[0], source=f'{tmp_path}/{{size}}')
  study = dataclasses.replace(study, designs=(one,))
  states, table = run(study, tmp_path / 'study')
  assert states['small', 1000].state == 'done' and len(calls) == 1
  assert set(table['weights_hash']) == {ours.hash}


def test_what_is_missing_or_too_large_is_skipped_with_a_line(theirs, tmp_path):
  folder, data = theirs
  huge = dataclasses.replace(LARGE.model, vocab_size=10**8)
  sizes = (SMALL, Size(name='large', model=huge))
  study = suite(folder, data, sizes=sizes, steps=(1000, 3000), memory=0.5)
  states, table = run(study, tmp_path)
  assert states['small', 1000].state == 'done'
  assert states['small', 3000].state == 'skipped'
  assert 'there is no such folder' in states['small', 3000].reason
  assert states['large', 1000].state == 'skipped'
  assert 'GiB of memory, and 0.5 GiB are there' in states['large', 1000].reason
  assert len(set(table['run'])) == 1
  assert '2 too large' in listing.plan(study)


def test_processes_share_the_memory(theirs, monkeypatch):
  study = suite(*theirs)
  config = next(design(*theirs).cells()).config
  assert isinstance(config, Published)
  needed = published.memory(config, study.evaluation)
  monkeypatch.setattr(sharding, 'host_memory', lambda: 2 * needed - 1)
  assert published.held(config) >= needed > published.held(config, 2)
  two = dataclasses.replace(study, executor=Pool(processes=2))
  assert '0 too large' in listing.plan(study)
  assert '4 too large' in listing.plan(two)


def test_a_checkpoint_under_two_names_is_refused(theirs, tmp_path, calls):
  folder, data = theirs
  for name in ('step1000', 'step2000'):
    (tmp_path / 'small').mkdir(exist_ok=True)
    (tmp_path / 'small' / name).symlink_to(folder / 'small' / 'step1000')
  states, table = run(suite(tmp_path, data, sizes=(SMALL,)), tmp_path / 'study')
  assert table.empty
  for state, reason in states.values():
    assert state == 'failed' and 'are the same weights' in reason
  assert len(calls) == 2
  # Nothing is measured again while they are the same files.
  again, table = run(suite(tmp_path, data, sizes=(SMALL,)), tmp_path / 'study')
  assert again == states and table.empty and len(calls) == 2
  (tmp_path / 'small' / 'step2000').unlink()
  (tmp_path / 'small' / 'step2000').symlink_to(folder / 'small' / 'step2000')
  states, table = run(suite(tmp_path, data, sizes=(SMALL,)), tmp_path / 'study')
  assert {s.state for s in states.values()} == {'done'}
  assert set(table['step']) == {*STEPS} and len(calls) == 3


def test_two_suites_may_have_a_size_of_one_name(theirs, tmp_path, calls):
  folder, data = theirs
  (tmp_path / 'small').symlink_to(folder / 'large')
  first = design(folder, data, sizes=(SMALL,), steps=(1000,))
  named = Size(name='small', model=LARGE.model)
  second = design(tmp_path, data, sizes=(named,), steps=(2000,))
  study = dataclasses.replace(suite(folder, data), designs=(first, second))
  states, _ = run(study, tmp_path / 'study')
  assert {s.state for s in states.values()} == {'done'} and len(calls) == 2


def test_a_checkpoint_of_another_size_is_refused(theirs, tmp_path):
  folder, data = theirs
  (tmp_path / 'small').symlink_to(folder / 'large')
  study = suite(tmp_path, data, sizes=(SMALL,), steps=(1000,))
  states, _ = run(study, tmp_path / 'study')
  state, reason = states['small', 1000]
  assert state == 'failed'
  assert 'is another model: its d_model is 32, not 16' in reason


def test_a_source_of_another_step_is_refused(theirs):
  made = next(design(*theirs).cells()).config
  assert isinstance(made, Published)
  with pytest.raises(BadInput, match='is of step 1000, not of step=5'):
    dataclasses.replace(made, step=5)
  with pytest.raises(BadInput, match=r'must have \{step\} in it'):
    design(*theirs, source='a/{size}')
  # One step need not be in the name.
  assert len(list(design(*theirs, source='{size}', steps=(5,)).cells())) == 2


def test_suites_of_one_architecture_are_fitted_apart():
  one = planted(suites.pythia())
  other = one.assign(run='b-' + one['run'], suite='Other')
  loss = other.metric == 'bits_per_byte'
  other['value'] = other['value'].where(~loss, other['value'] + 0.3)
  alone = points.from_study(one)['decoder']
  found = points.from_study(pd.concat([one, other]))
  names = 'decoder of Pythia', 'decoder of Other'
  assert set(found) == {*names}
  for name, more in zip(names, (0, 0.3), strict=True):
    np.testing.assert_allclose(found[name].loss, alone.loss + more)
  ours = other.assign(suite=None)
  assert set(points.from_study(pd.concat([one, ours]))) == {names[0], 'decoder'}


def test_models_compare_within_their_standard_errors():
  one = planted(suites.pythia())
  other = one.assign(run='b-' + one['run'], architecture='encoder_decoder')
  loss = other.metric == 'bits_per_byte'
  other['value'] = other['value'].where(~loss, other['value'] + 0.01)
  table = pd.concat([one, other])
  (found,) = study_scores.compared(table, None)
  # .01 bits per byte is one standard error: either may be ahead.
  assert found.low < 1 < found.high


def test_a_damaged_checkpoint_fails_alone(theirs, tmp_path):
  folder, data = theirs
  shutil.copytree(folder / 'small', tmp_path / 'small')
  path = tmp_path / 'small' / 'step1000' / 'model.safetensors'
  held = dict(safetensors.numpy.load_file(path))
  held['gpt_neox.layers.0.mlp.dense_h_to_4h.weight'][0, 1] = np.nan
  safetensors.numpy.save_file(held, path, {'format': 'pt'})
  states, table = run(suite(tmp_path, data, sizes=(SMALL,)), tmp_path / 'study')
  state, reason = states['small', 1000]
  assert state == 'failed' and 'numbers that are not finite' in reason
  assert set(table['step']) == {2000}


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of Jupyter's own
def test_the_notebook_puts_it_on_a_curve_beside_ours(
  theirs, tmp_path, monkeypatch
):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  run(suite(*theirs), tmp_path)
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  (cell,) = (
    c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ())
  )
  cell.source = f'WORKDIR = {str(tmp_path)!r}'
  nbclient.NotebookClient(
    notebook, timeout=300, resources={'metadata': {'path': NOTEBOOK.parent}}
  ).execute()
  outputs = [out for cell in notebook.cells for out in cell.get('outputs', ())]
  printed = ''.join(out.get('text', '') for out in outputs)
  assert 'decoder-small-step1000' in printed
  (drawn,) = (d for out in outputs if '<svg' in (d := str(out.get('data'))))
  assert 'published' in drawn


def walk(n: int, seed: int) -> list[identity.Weights]:
  """Weights of a run: what a random walk passes through."""
  rng = np.random.default_rng(seed)
  steps = rng.normal(size=(n, 4096)) * np.array([1, *[0.5] * (n - 1)])[:, None]
  return [
    identity.Weights(f'{seed}-{i}', x)
    for i, x in enumerate(np.cumsum(steps, axis=0))
  ]


def test_checkpoints_in_order_are_beyond_doubt():
  for seed in range(20):
    assert identity.doubts(dict(enumerate(walk(6, seed), 1))) == {}


@pytest.mark.parametrize('at', range(1, 7))
def test_a_checkpoint_of_another_run_is_found_wherever_it_is(at):
  chain = dict(enumerate(walk(6, 0), 1)) | {at: walk(6, 1)[at - 1]}
  assert list(identity.doubts(chain)) == [at]


def test_a_checkpoint_of_another_step_is_found():
  first = walk(9, 0)
  chain = {1: first[0], 2: first[1], 3: first[8], 4: first[3], 5: first[4]}
  assert list(identity.doubts(chain)) == [3]


@pytest.mark.parametrize('at', range(1, 6))
def test_two_that_changed_places_are_both_doubted(at):
  apart = walk(32, 0)
  chain = {step: apart[step - 1] for step in (1, 4, 8, 16, 24, 32)}
  assert identity.doubts(chain) == {}
  a, b = list(chain)[at - 1 : at + 1]
  chain |= {a: chain[b], b: chain[a]}
  assert sorted(identity.doubts(chain)) == [a, b]


def test_of_two_strangers_both_are_doubted():
  chain = {1: walk(1, 0)[0], 2: walk(1, 1)[0]}
  assert list(identity.doubts(chain)) == [1, 2]


def test_the_same_weights_give_the_same_sample(tmp_path):
  x = np.arange(4096.0).reshape(2, 64, 32)
  sample = identity.Sample()
  sample.take('stack.blocks.mlp.up.kernel', x)
  sample.take('stack.blocks.norm.scale', np.ones((2, 64)))
  identity.keep(epath.Path(tmp_path), 'abc', sample)
  kept = identity.read(epath.Path(tmp_path))
  assert kept.hash == 'abc' and len(kept.sample) == 512
  assert json.loads((tmp_path / identity.WEIGHTS).read_text())
  assert kept.sample.std() == pytest.approx(1, abs=1e-3)
  # Samples compare place by place: what does not vary is in them all the same.
  level = identity.Sample()
  level.take('stack.blocks.mlp.up.kernel', np.ones((2, 64, 32)))
  assert np.array_equal(level.parts, np.zeros((1, 512)))
