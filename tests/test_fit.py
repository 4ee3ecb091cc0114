"""Any job goes through the same loop: other losses, frozen parts, no text."""

from etils import epath
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.sharding import Parallelism
from research.train.checkpoints import Checkpoints
from research.train.fit import Job, fit
from research.train.metrics import Cost, Logging
from research.train.schedules import Constant
from research.train.step import Hyper, Program


class Adapted(nnx.Module):
  """A frozen matrix and a low-rank change of it, as in LoRA."""

  def __init__(self, rngs):
    self.base = nnx.Param(
      jax.random.uniform(rngs.params(), (4, 3)), axes=('embed', 'mlp')
    )
    self.down = nnx.Param(jnp.ones((4, 1)), axes=('embed', 'rank'))
    self.up = nnx.Param(jnp.zeros((1, 3)), axes=('rank', 'mlp'))

  def __call__(self, x):
    return x @ self.base[...] + x @ self.down[...] @ self.up[...]


def squares(model, batch, key):
  """A loss that knows no tokens, and a figure of its own."""
  error = jnp.square(model(batch['x']) - batch['y']).sum(-1)
  return error.sum(), jnp.float32(len(error)), {'largest': error.max()}


def batches(start, data_hash):
  """Eight steps, whose hash counts them, from any step on."""
  for step in range(start, 8):
    rng = np.random.default_rng(step)
    x = rng.normal(size=(8, 4)).astype(np.float32)
    yield {'x': x, 'y': x[:, :3]}, f'{step + 1}'


@pytest.fixture(scope='module')
def job():
  return Job(
    program=Program(
      lambda key: Adapted(nnx.Rngs(key)),
      Parallelism(),
      optimizer=optax.scale(-1.0),
      trained=lambda path, _: 'up' in path or 'down' in path,
      objective=squares,
      schedule=Constant(),
    ),
    batches=batches,
    hyper=Hyper(0.01, 0, 8),
    seed=0,
    n_steps=8,
    cost=Cost(tokens=8, flops=1),
    checkpoints=Checkpoints(every=2),
    logging=Logging(every=1),
  )


def test_only_the_adapter_is_trained_and_all_is_saved(job, tmp_path):
  outcome = fit(job, epath.Path(tmp_path))
  state = outcome.state()
  begun = job.program.state(job.program.begin(0))
  np.testing.assert_array_equal(state.model.base[...], begun.model.base[...])
  assert (state.model.up[...] != 0).all()
  assert {'loss', 'largest', 'grad_norm'} <= set(outcome.row)
  assert outcome.data_hash == '8'


def test_what_stops_goes_on_bit_for_bit(job, tmp_path):
  whole = fit(job, epath.Path(tmp_path) / 'whole')

  def stopping(start, data_hash):
    for step, item in enumerate(batches(start, data_hash), start):
      if step == 5:
        raise OSError('the source is gone')
      yield item

  folder = epath.Path(tmp_path) / 'stopped'
  broken = Job(**{**vars(job), 'batches': stopping})
  with pytest.raises(OSError, match='the source is gone'):
    fit(broken, folder)
  found = fit(job, folder)
  for a, b in zip(
    jax.tree.leaves(found.state().trained),
    jax.tree.leaves(whole.state().trained),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)
  assert found.row['loss'] == whole.row['loss']
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == 8
