"""A run is the same however often it stops, and a folder holds one run."""

import dataclasses
import json
import logging
import signal
import time

from flax import nnx
import jax
import numpy as np
import pytest

from research.config import BadInput, fingerprint
from research.data import pipeline
from research.data.corpora import JSONL
from research.data.pipeline import DataConfig
from research.models.config import ModelConfig
from research.sharding import Parallelism
from research.train import loop
from research.train.checkpoints import Checkpoints
from research.train.config import TrainConfig
from research.train.metrics import Logging, NonFinite
from research.train.optimizers import Lion

TIMES = {'tokens_per_second', 'mfu'}


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpus')
  rng = np.random.default_rng(0)
  words = ['the', 'whale', 'sea', 'a', 'ship', 'of', 'and', 'captain']
  with (folder / 'corpus.jsonl').open('w') as file:
    for i in range(40):
      text = ' '.join(rng.choice(words, 60))
      row = {'domain': 'novel', 'title': str(i), 'text': text}
      file.write(json.dumps(row) + '\n')
  return TrainConfig(
    model=ModelConfig(
      vocab_size=274, seq_len=16, d_model=8, n_layers=1, n_heads=1, d_ff=8
    ),
    data=DataConfig(
      corpus=JSONL(path=str(folder / 'corpus.jsonl')),
      cache_dir=str(folder),
      validation_share=0.1,
    ),
    learning_rate=1e-2,
    warmup_steps=2,
    batch_size=8,
    n_steps=12,
    checkpoints=Checkpoints(every=4),
    logging=Logging(every=1),
  )


@pytest.fixture(scope='module')
def whole(cfg, tmp_path_factory):
  """A run that nothing disturbed: its folder and result."""
  folder = tmp_path_factory.mktemp('whole')
  return folder, loop.train(cfg, folder)


def curve(folder, drop=TIMES):
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return [{k: v for k, v in row.items() if k not in drop} for row in rows]


def weights(result):
  return [np.asarray(x) for x in jax.tree.leaves(result.state.trained)]


def assert_same(result, other):
  for a, b in zip(weights(result), weights(other), strict=True):
    np.testing.assert_array_equal(a, b)


def stop(number):
  """Sends this process a signal when it is first told of progress."""
  return lambda progress: signal.raise_signal(number)


def test_a_run_learns_and_accounts_for_itself(cfg, whole):
  folder, result = whole
  rows = curve(folder, drop=())
  assert [row['step'] for row in rows] == list(range(1, 13))
  assert rows[0]['loss'] == pytest.approx(np.log(274), rel=0.02)
  assert result.loss == rows[-1]['loss'] < rows[0]['loss'] - 0.3
  assert [row['tokens'] for row in rows] == [8 * 16 * i for i in range(1, 13)]
  assert result.tokens == rows[-1]['tokens']
  assert result.flops == 12 * 8 * cfg.model.train_flops(16)
  assert result.steps == 12 and result.seconds > result.compile_seconds > 0
  assert rows[1]['learning_rate'] == pytest.approx(1e-2)
  assert json.loads((folder / 'config.json').read_text())[
    'fingerprint'
  ] == fingerprint(cfg)


def test_the_data_hash_is_the_pipelines(cfg, whole):
  folder, result = whole
  batches = pipeline.batches(
    pipeline.prepare(cfg.data),
    architecture='decoder',
    objectives=cfg.objectives,
    seq_len=16,
    batch_size=8,
    seed=0,
    n_steps=12,
    prefetch=0,
  )
  expected = [digest for _, digest in batches]
  assert [row['data_hash'] for row in curve(folder)] == expected
  assert result.data_hash == expected[-1]


def test_a_finished_run_returns_at_once(cfg, whole, compilations):
  folder, result = whole
  before = (folder / 'metrics.jsonl').stat().st_mtime_ns
  begun = time.perf_counter()
  again = loop.train(cfg, folder)
  assert time.perf_counter() - begun < 0.5 and not compilations
  assert again == result
  assert (folder / 'metrics.jsonl').stat().st_mtime_ns == before
  assert_same(again, result)
  assert isinstance(again.model, nnx.Module)


@pytest.mark.parametrize(
  'number, raised',
  [(signal.SIGTERM, loop.Stopped), (signal.SIGINT, KeyboardInterrupt)],
  ids=['SIGTERM', 'SIGINT'],
)
def test_a_stopped_run_goes_on_bit_for_bit(
  cfg, whole, tmp_path, number, raised
):
  handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  with pytest.raises(raised) as error:
    loop.train(cfg, tmp_path, on_progress=stop(number))
  if number == signal.SIGTERM:
    assert error.value.code == 143
  assert handlers == (
    signal.getsignal(signal.SIGTERM),
    signal.getsignal(signal.SIGINT),
  )
  made = curve(tmp_path)
  assert 0 < len(made) < 12 and not (tmp_path / 'finished.json').exists()
  result = loop.train(cfg, tmp_path)
  assert curve(tmp_path) == curve(whole[0])
  assert_same(result, whole[1])
  assert result.data_hash == whole[1].data_hash


def test_a_damaged_checkpoint_costs_only_its_steps(
  cfg, whole, tmp_path, caplog
):
  loop.train(cfg, tmp_path)
  (tmp_path / 'finished.json').unlink()
  (tmp_path / 'checkpoints' / '12' / 'state' / 'manifest.ocdbt').write_bytes(
    b''
  )
  result = loop.train(cfg, tmp_path)
  warned = [  # Orbax warns where a save takes a second, too.
    r
    for r in caplog.records
    if r.name.startswith('research') and r.levelno >= logging.WARNING
  ]
  assert len(warned) == 1 and 'step 8' in warned[0].getMessage()
  assert curve(tmp_path) == curve(whole[0])
  assert_same(result, whole[1])


def test_a_run_goes_on_on_another_mesh(cfg, whole, tmp_path):
  with pytest.raises(loop.Stopped):
    loop.train(cfg, tmp_path, on_progress=stop(signal.SIGTERM))
  layout = Parallelism(data=2, fsdp=2)
  loop.train(dataclasses.replace(cfg, parallelism=layout), tmp_path)
  losses = [[row['loss'] for row in curve(f)] for f in (tmp_path, whole[0])]
  np.testing.assert_allclose(*losses, rtol=1e-5)


def test_budgets_rates_and_seeds_of_a_size_share_one_program(
  cfg, whole, tmp_path, compilations
):
  for i, changes in enumerate(
    (
      {'n_steps': 3},
      {'learning_rate': 1e-3},
      {'warmup_steps': 5, 'seed': 3},
    )
  ):
    changes = {'n_steps': 2, **changes}
    loop.train(dataclasses.replace(cfg, **changes), tmp_path / str(i))
  assert not compilations


@pytest.fixture
def compilations(whole):
  found = []

  def listen(name, seconds, **_):
    if name.endswith('backend_compile_duration'):
      found.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield found
  jax.monitoring.unregister_event_duration_listener(listen)


def test_a_loss_that_is_no_number_stops_the_run(cfg, tmp_path):
  wild = dataclasses.replace(cfg, learning_rate=1e30, warmup_steps=0)
  keen = dataclasses.replace(wild, checkpoints=Checkpoints(every=1))
  with pytest.raises(NonFinite) as error:
    loop.train(keen, tmp_path)
  text, rows = str(error.value), curve(tmp_path)
  bad = len(rows) + 1
  assert f'step {bad}: ' in text
  assert (
    f'the last good checkpoint is {tmp_path}/checkpoints/{bad - 1};' in text
  )
  digests = [row['data_hash'] for row in rows]
  found = text.partition('data hash ')[2].partition(')')[0]
  assert len(found) == len(digests[0]) and found not in digests
  assert '\n' not in text
  assert not (tmp_path / 'finished.json').exists()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'n_steps': 13}, 'n_steps is 12 there, 13 here'),
    ({'optimizer': Lion()}, 'optimizer is AdamW there, Lion here'),
    ({'learning_rate': 0.1}, 'learning_rate is 0.01 there, 0.1 here'),
  ],
)
def test_a_folder_holds_one_run(cfg, whole, changes, message):
  with pytest.raises(BadInput, match=message):
    loop.train(dataclasses.replace(cfg, **changes), whole[0])


def test_the_first_difference_is_named_within_parts(cfg, whole):
  model = dataclasses.replace(cfg.model, d_ff=16)
  with pytest.raises(BadInput, match='model.d_ff is 8 there, 16 here'):
    loop.train(dataclasses.replace(cfg, model=model), whole[0])


def test_logging_and_layout_make_no_other_run(cfg, whole):
  other = dataclasses.replace(
    cfg,
    logging=Logging(every=5),
    parallelism=Parallelism(data=2),
    checkpoints=Checkpoints(every=None),
  )
  assert loop.train(other, whole[0]) == whole[1]


def test_checkpoints_of_another_shape_are_bad_input(cfg, whole, tmp_path):
  model = dataclasses.replace(cfg.model, d_ff=16)
  other = dataclasses.replace(cfg, model=model)
  (tmp_path / 'checkpoints').symlink_to(whole[0] / 'checkpoints')
  with pytest.raises(BadInput, match=r'of another shape: .* \[1, 8, 8\] there'):
    loop.train(other, tmp_path)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'parallelism': Parallelism(data=2, fsdp=8), 'batch_size': 16}, '16 dev'),
    ({'parallelism': Parallelism(data=None), 'batch_size': 12}, 'divisible'),
  ],
)
def test_a_config_that_does_not_fit_the_devices_is_bad_input(
  cfg, tmp_path, changes, message
):
  with pytest.raises(BadInput, match=message):
    loop.train(dataclasses.replace(cfg, **changes), tmp_path)


def test_a_vocabulary_too_small_is_bad_input(cfg, tmp_path):
  model = dataclasses.replace(cfg.model, vocab_size=256)
  with pytest.raises(BadInput, match='model.vocab_size=256 .*274'):
    loop.train(dataclasses.replace(cfg, model=model), tmp_path)


def test_a_batch_that_does_not_divide_is_bad_input(cfg):
  for changes in {'accumulation': 3}, {'parallelism': Parallelism(data=3)}:
    with pytest.raises(BadInput, match='batch_size=8 must be divisible'):
      dataclasses.replace(cfg, **changes)
  with pytest.raises(BadInput, match='n_steps=0'):
    dataclasses.replace(cfg, n_steps=0)


def test_a_folder_that_cannot_be_is_an_oserror(cfg, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError):
    loop.train(cfg, tmp_path / 'file' / 'run')


def test_a_run_can_be_read_back(cfg, whole):
  found, state = loop.restore(whole[0])
  assert found == cfg and int(state.step) == 12
  for a, b in zip(
    jax.tree.leaves(state.trained), weights(whole[1]), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  assert int(loop.restore(whole[0], 8)[1].step) == 8
  with pytest.raises(BadInput, match='step 5'):
    loop.restore(whole[0], 5)
  _, wide = loop.restore(whole[0], parallelism=Parallelism(fsdp=8))
  table = wide.trained['embedding']['table'][...]
  assert len(table.sharding.device_set) == 8


def test_reading_what_is_no_run_is_bad_input(tmp_path):
  with pytest.raises(BadInput, match='holds no run'):
    loop.restore(tmp_path)
