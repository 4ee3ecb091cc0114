"""Our side of a race: the repo's own entry points, timed as they are used.

python -m research.benchmark.ours, with orders on stdin (`contest.py`).
"""

import atexit
import dataclasses
import functools
import pathlib
import tempfile
from typing import Any

from etils import epath
from flax import nnx
import jax
import numpy as np

from research import provenance
from research.benchmark import contest, inputs, shapes
from research.benchmark.contest import Task
from research.data import pipeline
from research.data.corruption import Causal, Masked, SpanCorruption
from research.data.tokenizers import Bytes
from research.inference import score
from research.inference.frame import Frame
from research.inference.generate import Generation, generate
from research.interop import exporting
from research.models import transformer
from research.train import loop, peak, process
from research.train.checkpoints import Checkpoints, Folder
from research.train.config import TrainConfig
from research.train.step import Hyper

_HYPER = Hyper(np.float32(1e-3), np.int32(10), np.int32(1000))
_OBJECTIVES = {
  'decoder': (Causal(),),
  'encoder': (Masked(),),
  'encoder_decoder': (SpanCorruption(),),
}


def build(order: dict[str, Any]) -> Task:
  """The task that `order` names."""
  process.prepare()
  case = shapes.find(order['suite'], order['case'])
  model = dataclasses.replace(case.model, dtype=order['dtype'])
  case = dataclasses.replace(case, model=model)
  makers = {
    'step': _step,
    'sweep': _sweep,
    'score': _score,
    'decode': _decode,
    'input': _input,
    'checkpoint': _checkpoint,
  }
  task = makers[case.suite](case, order)
  told = provenance.provenance()
  facts = {
    'device': told['device'],
    'versions': {k: told[k] for k in ('python', 'jax', 'jaxlib', 'flax')},
    'revision': told['revision'],
    'clean': told['clean'],
    'platform': jax.default_backend(),
    'params': case.model.n_params,
  }
  size = 1024 if facts['platform'] == 'cpu' else 8192
  product = functools.partial(peak.product, size, dtype=order['dtype'])
  return task._replace(facts={**facts, **task.facts}, product=product)


def _batch(case: shapes.Case, order) -> dict[str, np.ndarray]:
  """What `inputs.language` draws, as our models read it."""
  drawn = inputs.language(order)
  batch = {**drawn, **_places(drawn['tokens'])}
  if case.model.architecture == 'encoder_decoder':
    targets = drawn['targets']
    read = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
    places = {'tokens': read, **_places(read)}
    batch |= {f'decoder_{name}': x for name, x in places.items()}
  if case.model.architecture == 'encoder':
    batch['token_types'] = np.zeros_like(drawn['tokens'])
  return batch


def _places(tokens: np.ndarray) -> dict[str, np.ndarray]:
  positions = np.arange(tokens.shape[1], dtype=np.int32)
  return {
    'segments': np.ones_like(tokens),
    'positions': np.broadcast_to(positions, tokens.shape),
  }


def _config(case: shapes.Case) -> TrainConfig:
  return TrainConfig(
    model=case.model,
    objectives=_OBJECTIVES[case.model.architecture],
    batch_size=case.batch,
  )


def _step(case: shapes.Case, order) -> Task:
  """A training step; weights are written first, for the peer."""
  cfg = _config(case)
  program = loop.program(cfg)
  leaves = program.begin(0)
  if order['folder']:
    exporting.write(pathlib.Path(order['folder']), program.state(leaves).model)
  batch = _batch(case, order)

  def run():
    nonlocal leaves
    leaves, metrics = program.step(leaves, batch, _HYPER)
    jax.block_until_ready(leaves)
    return float(metrics['nll'])

  return Task(run, {'tokens': cfg.tokens_per_step, 'flops': cfg.flops_per_step})


def _sweep(case: shapes.Case, order) -> Task:
  """Five steps each of six sizes, one after another."""
  del case, order
  cases = [
    shapes.Case(suite='step', name='', model=model, batch=16)
    for model in shapes.SWEEP
  ]
  configs = [_config(case) for case in cases]

  def run():
    for case in cases:
      task = _step(case, {**shapes.numbers(case), 'folder': None})
      for _ in range(5):
        task.run()

  facts = {
    'tokens': 5 * sum(c.tokens_per_step for c in configs),
    'flops': 5 * sum(c.flops_per_step for c in configs),
  }
  return Task(run, facts)


def _model(case: shapes.Case, order):
  model = transformer.build(case.model, nnx.Rngs(0))
  if order['folder']:
    exporting.write(pathlib.Path(order['folder']), model)
  return model


def _score(case: shapes.Case, order) -> Task:
  """Log-probabilities of every token of a batch."""
  model, batch = _model(case, order), _batch(case, order)
  del batch['weights']

  def run():
    nll = score.target_nll(model, batch, case.model.vocab_size, case.batch)
    return float(nll.full.mean())

  flops = case.batch * case.model.forward_flops()
  return Task(run, {'tokens': batch['targets'].size, 'flops': flops})


def _decode(case: shapes.Case, order) -> Task:
  """The most probable tokens after each prompt."""
  model, prompts = _model(case, order), inputs.prompts(order)
  how = Generation(temperature=0.0, max_tokens=case.n_new)
  tokenizer = Bytes().load(b'bytes')
  frame = Frame(n_text=order['n_text'])

  def run():
    texts = generate(
      model, list(prompts), how, frame=frame, tokenizer=tokenizer
    )
    assert all(len(t.tokens) == case.n_new for one in texts for t in one)

  # Those of the plain path: reading prompt and text once.
  flops = case.batch * case.model.forward_flops(order['prompt'] + case.n_new)
  return Task(run, {'tokens': case.batch * case.n_new, 'flops': flops})


def _input(case: shapes.Case, order) -> Task:
  """A batch of the embedded corpus, beside the step that reads it."""
  del order
  cfg = _config(case)
  dataset = pipeline.prepare(cfg.data)
  batches = pipeline.batches(
    dataset,
    architecture=case.model.architecture,
    objectives=cfg.objectives,
    seq_len=case.model.seq_len,
    target_len=case.model.target_len,
    batch_size=case.batch,
    seed=0,
    prefetch=0,
  )

  def run():
    next(batches)

  step = _step(case, {**shapes.numbers(case), 'folder': None})
  step.run()
  made = contest.repeat(step, 5)
  facts = {'tokens': cfg.tokens_per_step, 'of_a_step': min(made['cpu_seconds'])}
  return Task(run, facts)


def _checkpoint(case: shapes.Case, order) -> Task:
  """A state saved by Orbax: until training goes on, until it is kept; read."""
  del order
  program = loop.program(_config(case))
  leaves = program.begin(0)
  jax.block_until_ready(leaves)
  place = tempfile.TemporaryDirectory()
  atexit.register(place.cleanup)
  folder = Folder(epath.Path(place.name) / 'c', Checkpoints(keep=1), 10**6)
  made = 0

  def save():
    nonlocal made
    made += 1
    folder.save(made, program.state(leaves), {})

  def save_and_wait():
    save()
    folder.wait()

  def restore():
    found = folder.restore(program.abstract)
    assert found is not None
    jax.block_until_ready(jax.tree.leaves(found))

  if case.name == 'restores':
    save_and_wait()
    return Task(restore, {})
  if case.name == 'saves':
    return Task(save_and_wait, {})
  return Task(save, {}, between=folder.wait)


if __name__ == '__main__':
  contest.serve(build)
