"""Optimizers are those of their papers, layer by layer in a stack."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.config import BadInput
from research.models import transformer
from research.models.config import LayerNorm, Learned, ModelConfig
from research.train import optimizers
from research.train.optimizers import Adafactor, AdamW, Lion, Muon

L, D, N, H, F, V = 3, 6, 2, 4, 12, 5
SHAPES = {
  'table': (('vocab', 'embed'), (V, D)),
  'q': (('layers', 'embed', 'heads', 'head'), (L, D, N, H)),
  'o': (('layers', 'heads', 'head', 'embed'), (L, N, H, D)),
  'wi': (('layers', 'embed', 'mlp'), (L, D, F)),
  'dense': (('embed', 'embed'), (D, D)),
  'bias': (('layers', 'heads', 'head'), (L, N, H)),
  'scale': (('layers', 'embed'), (L, D)),
  'last': (('embed',), (D,)),
}
MATRICES = {'table', 'q', 'o', 'wi', 'dense'}


def params(seed, layer=None):
  """Random parameters; with `layer`, that one alone, its stack gone."""
  rng, found = np.random.default_rng(seed), {}
  for name, (axes, shape) in SHAPES.items():
    value = rng.normal(size=shape).astype(np.float32)
    if layer is not None and axes[0] == 'layers':
      value, axes = value[layer], axes[1:]
    found[name] = nnx.Param(jnp.asarray(value), axes=axes)
  return nnx.State(found)


def run(optimizer, n=3, layer=None):
  """The parameters after `n` steps at a learning rate of 0.1."""
  build = optimizer.build()
  transform = optax.GradientTransformation(
    build.init, lambda *args: _scaled(0.1, *build.update(*args))
  )
  found = steps(transform, [params(seed, layer) for seed in range(n + 1)])
  return {name: np.asarray(x[...]) for name, x in found.items()}


def plain(transform, n=3):
  """The same by optax alone, on bare arrays."""
  return steps(
    transform,
    [{k: v[...] for k, v in params(seed).items()} for seed in range(n + 1)],
  )


def steps(transform, trees):
  """The first tree after steps down the gradients that the others are."""

  @jax.jit  # Far sooner than one operation after another.
  def go(now, gradients):
    def step(carry, gradient):
      now, state = carry
      moves, state = transform.update(gradient, state, now)
      return (optax.apply_updates(now, moves), state), None

    return jax.lax.scan(step, (now, transform.init(now)), gradients)[0][0]

  return go(trees[0], jax.tree.map(lambda *x: jnp.stack(x), *trees[1:]))


def _scaled(rate, moves, state):
  return jax.tree.map(lambda u: rate * u, moves), state


@pytest.mark.parametrize(
  'ours, theirs',
  [
    (AdamW(b1=0.8, b2=0.9, weight_decay=0.3), optax.adamw),
    (Lion(b1=0.8, b2=0.9, weight_decay=0.3), optax.lion),
  ],
  ids=['adamw', 'lion'],
)
def test_a_step_is_optaxs_with_decay_scaled_by_the_rate(ours, theirs):
  mask = {name: name in MATRICES for name in SHAPES}
  expected = plain(theirs(0.1, 0.8, 0.9, weight_decay=0.3, mask=mask))
  for name, value in run(ours).items():
    np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


def test_adafactor_is_optaxs_where_nothing_is_stacked():
  transform = optax.adafactor(0.1, min_dim_size_to_factor=4)
  expected = plain(transform)
  found = run(Adafactor(min_size=4))
  for name in 'table', 'dense', 'last':
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)


@pytest.mark.parametrize(
  'optimizer',
  [AdamW(), Lion(), Adafactor(min_size=4, weight_decay=0.1), Muon()],
  ids=lambda o: type(o).__name__,
)
def test_a_stack_moves_as_its_layers_would_alone(optimizer):
  stacked, alone = run(optimizer), run(optimizer, layer=1)
  for name, (axes, _) in SHAPES.items():
    value = stacked[name][1] if axes[0] == 'layers' else stacked[name]
    np.testing.assert_allclose(value, alone[name], rtol=1e-4, atol=1e-5)


def test_muons_first_step_is_orthogonal_and_of_adams_size():
  before = {k: np.asarray(v[...]) for k, v in params(0).items()}
  after = run(Muon(weight_decay=0.0, n_iterations=12), n=1)
  for name, rows in ('q', D), ('o', N * H), ('wi', D), ('dense', D):
    move = (before[name] - after[name]) / 0.1
    for matrix in move.reshape(
      -1, rows, move[0].size // rows if name != 'dense' else D
    ):
      sizes = np.linalg.svd(matrix, compute_uv=False)
      scale = 0.2 * max(matrix.shape) ** 0.5
      assert (sizes > 0.6 * scale).all() and (sizes < 1.3 * scale).all()


def test_muon_leaves_tables_scales_and_biases_to_adam():
  adam, muon = run(AdamW(weight_decay=0.0)), run(Muon(weight_decay=0.0))
  for name in 'table', 'bias', 'scale', 'last':
    np.testing.assert_allclose(muon[name], adam[name], rtol=1e-5)
  for name in 'q', 'o', 'wi', 'dense':
    assert not np.allclose(muon[name], adam[name], rtol=1e-2)


def test_sides_group_heads_and_leave_out_layers():
  assert optimizers.sides(SHAPES['q'][0]) == ((1,), (2, 3))
  assert optimizers.sides(SHAPES['o'][0]) == ((1, 2), (3,))
  assert optimizers.sides(SHAPES['dense'][0]) == ((0,), (1,))
  assert optimizers.sides(SHAPES['bias'][0]) == ((1, 2),)
  assert optimizers.sides(()) == ()


@pytest.mark.parametrize('architecture', ['decoder', 'encoder_decoder'])
def test_a_models_matrices_decay_and_its_scales_and_biases_do_not(architecture):
  cfg = ModelConfig(
    architecture=architecture,
    vocab_size=11,
    seq_len=5,
    d_model=8,
    n_heads=2,
    norm=LayerNorm(),
    position=Learned(),
    bias=True,
    head_bias=True,
  )
  model = nnx.eval_shape(lambda: transformer.build(cfg, nnx.Rngs(0)))
  state = nnx.split(model)[1]
  masks = jax.tree_util.tree_leaves_with_path(optimizers.decays(state))
  for path, decays in masks:
    names = jax.tree_util.keystr(path)
    small = 'bias' in names or 'norm' in names
    assert decays == (not small), names


def test_decays_lie_between_nothing_and_all():
  with pytest.raises(BadInput, match='b1=1.0'):
    AdamW(b1=1.0)
  with pytest.raises(BadInput, match='momentum=-0.1'):
    Muon(momentum=-0.1)
