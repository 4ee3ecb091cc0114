"""Every layout makes the same step, and runs share one program."""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.objectives.language import cross_entropy
from research.sharding import Parallelism
from research.train import step
from research.train.optimizers import Adafactor, AdamW, Lion, Muon
from research.train.schedules import Cosine

V, D, F, H, L, B, T = 16, 8, 32, 4, 2, 16, 6


class Toy(nnx.Module):
  """An embedding, stacked residual MLPs with a bias and heads, a tied head."""

  def __init__(self, rngs):
    def weight(shape, axes):
      value = jax.random.normal(rngs.params(), shape) * shape[-1] ** -0.5
      return nnx.Param(value, axes=axes)

    self.embedding = weight((V, D), ('vocab', 'embed'))
    self.q = weight((L, D, H, 4), ('layers', 'embed', 'heads', 'head'))
    self.o = weight((L, H, 4, D), ('layers', 'heads', 'head', 'embed'))
    self.wi = weight((L, D, F), ('layers', 'embed', 'mlp'))
    self.wo = weight((L, F, D), ('layers', 'mlp', 'embed'))
    self.bias = nnx.Param(
      jnp.zeros((L, H, 4)), axes=('layers', 'heads', 'head')
    )
    self.scale = nnx.Param(jnp.ones(D), axes=('embed',))

  def __call__(self, batch, key=None):
    x = self.embedding[batch['tokens']]
    for i in range(L):
      h = jnp.einsum('btd,dnh->btnh', x, self.q[i]) + self.bias[i]
      x = x + jnp.einsum('btnh,nhd->btd', jnp.tanh(h), self.o[i])
      x = x + jax.nn.relu(x @ self.wi[i]) @ self.wo[i]
    return (x * self.scale) @ self.embedding.T


def toy(key):
  return Toy(nnx.Rngs(key))


ONE = Parallelism()
ADAMW = AdamW()
HYPER = step.Hyper(0.02, 3, 10)


def program(layout=ONE, optimizer=ADAMW, **how):
  how = {'objective': cross_entropy, 'schedule': Cosine(), **how}
  return step.Program(toy, layout, optimizer=optimizer.build(), **how)


def batches(n, seed=0):
  rng = np.random.default_rng(seed)
  for _ in range(n):
    tokens = rng.integers(0, V, (B, T), np.int32)
    weights = rng.random((B, T), np.float32) * (rng.random((B, T)) < 0.5)
    weights[: B // 4] = 0  # a device with nothing to learn from
    yield {
      'tokens': tokens,
      'targets': (tokens * 3 + 1) % V,
      'weights': weights.astype(np.float32),
    }


def losses(program, n=10, hyper=HYPER):
  state, found = program.begin(0), []
  for batch in batches(n):
    state, metrics = program.step(state, batch, hyper)
    found.append(float(metrics['loss']))
  return np.array(found), program.state(state)


OPTIMIZERS = AdamW(), Lion(), Adafactor(min_size=4), Muon()
LAYOUTS = {
  'data': Parallelism(data=8),
  'fsdp': Parallelism(data=2, fsdp=4),
  'fsdp_tensor': Parallelism(data=2, fsdp=2, tensor=2),
  'pmap': Parallelism(compile='pmap', data=8),
}


@functools.cache
def on_one_device(optimizer):
  return losses(program(optimizer=optimizer, clip=1.0))


@pytest.mark.parametrize('accumulation', [1, 2])
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(
  'optimizer', OPTIMIZERS, ids=lambda o: type(o).__name__
)
def test_every_layout_has_the_losses_of_one_device(
  layout, optimizer, accumulation
):
  wide = program(
    LAYOUTS[layout], optimizer, clip=1.0, accumulation=accumulation
  )
  one, _ = on_one_device(optimizer)
  np.testing.assert_allclose(losses(wide)[0], one, rtol=1e-5)
  assert one[-1] < one[0]
