"""FLOPs from a config are the matrix products of the program it builds."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
import variants

from research.models import flops
from research.objectives.language import cross_entropy

# The parts that change which products a block is made of.
BLOCKS = (
  'plain',
  'post',
  'post_and_last',
  'pre_normed',
  'no_final_norm',
  'narrow_table',
  'parallel',
  'parallel_shared',
  'gated_bias',
  'grouped',
  'wide_heads',
  'both',
)


def shape(*size: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(size, jnp.float32)


def forward(model, batch):
  return model(batch)


def gradient(model, batch):
  return jax.grad(lambda model: cross_entropy(model, batch).loss)(model)


def counted(function, cfg, n_rows: int = 3) -> int:
  """FLOPs of one sequence."""
  batch = variants.batch(cfg, n_rows)
  total = flops.count(function, variants.shapes(cfg), batch)
  assert total % n_rows == 0
  return total // n_rows


def test_a_product_is_twice_its_three_sizes():
  assert flops.count(jnp.matmul, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
  batched = flops.count(jnp.matmul, shape(4, 3, 5), shape(4, 5, 7))
  assert batched == 4 * 2 * 3 * 5 * 7


def test_elementwise_work_and_look_ups_count_nothing():
  def function(x, i):
    return jnp.exp(x)[i] + x.sum()

  i = jax.ShapeDtypeStruct((2,), jnp.int32)
  assert flops.count(function, shape(3, 5), i) == 0


def test_a_scan_counts_each_turn_and_scans_multiply():
  def inner(x, w):
    return jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]

  def outer(x, w):
    return jax.lax.scan(lambda x, w: (inner(x, w), None), x, w)[0]

  once = 2 * 3 * 5 * 5
  assert flops.count(inner, shape(3, 5), shape(7, 5, 5)) == 7 * once
  assert flops.count(outer, shape(3, 5), shape(4, 7, 5, 5)) == 4 * 7 * once


@pytest.mark.parametrize('unroll', [1, 2, 3, 7, True])
def test_an_unrolled_scan_counts_the_same(unroll):
  def chain(x, w):
    return jax.lax.scan(lambda x, w: (x @ w, None), x, w, unroll=unroll)[0]

  assert flops.count(chain, shape(3, 5), shape(7, 5, 5)) == 7 * 2 * 3 * 5 * 5


def test_jit_is_looked_into():
  assert flops.count(jax.jit(jnp.matmul), shape(2, 3), shape(3, 4)) == 48


def test_remat_counts_the_product_made_again():
  def twice(x, v, w):
    return jnp.sum(jnp.sin(jnp.sin(x @ v) @ w))

  x, v, w = shape(3, 5), shape(5, 7), shape(7, 11)
  first, second = 2 * 3 * 5 * 7, 2 * 3 * 7 * 11
  plain = jax.grad(twice, argnums=(0, 1, 2))
  again = jax.grad(jax.checkpoint(twice), argnums=(0, 1, 2))
  assert flops.count(plain, x, v, w) == 3 * (first + second)
  assert flops.count(again, x, v, w) == 4 * (first + second)


def test_a_hand_written_gradient_is_looked_into():
  @jax.custom_vjp
  def product(x, w):
    return x @ w

  def backward(saved, g):
    x, w = saved
    return g @ w.T, x.T @ g

  product.defvjp(lambda x, w: (x @ w, (x, w)), backward)

  def loss(x, w):
    return jnp.sum(product(x, w))

  x, w = shape(3, 5), shape(5, 7)
  assert flops.count(product, x, w) == 210
  assert flops.count(jax.grad(loss, argnums=(0, 1)), x, w) == 3 * 210


def test_branches_with_equal_products_count_once():
  def either(x, w):
    return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: -x @ w)

  assert flops.count(either, shape(3, 5), shape(5, 7)) == 210


def test_products_that_depend_on_values_are_refused():
  def while_positive(x, w):
    return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ w, x)

  def either(x, w):
    return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

  with pytest.raises(ValueError, match='while loop'):
    flops.count(while_positive, shape(3, 5), shape(5, 5))
  with pytest.raises(ValueError, match='branches'):
    flops.count(either, shape(3, 5), shape(5, 5))


@pytest.mark.parametrize('architecture, part', variants.CASES)
def test_the_config_counts_what_the_program_multiplies(architecture, part):
  cfg = variants.config(architecture, part)
  assert cfg.forward_flops() == counted(forward, cfg)
  assert cfg.train_flops() == counted(gradient, cfg)
  assert cfg.executed_flops() == cfg.train_flops()


@pytest.mark.parametrize(
  'architecture, part',
  [case for case in variants.CASES if case[1] in BLOCKS],
)
def test_remat_executes_more_than_the_model_needs(architecture, part):
  every = variants.config(architecture, part, remat=True)
  cheap = dataclasses.replace(every, remat='dots')
  plain = dataclasses.replace(every, remat=False)
  for cfg in every, cheap:
    assert cfg.executed_flops() == counted(gradient, cfg)
    assert cfg.train_flops() == plain.train_flops()
  executed = [cfg.executed_flops() for cfg in (plain, cheap, every)]
  assert executed == sorted(set(executed))


@pytest.mark.parametrize('architecture', variants.ARCHITECTURES)
@pytest.mark.parametrize('unroll', [2, True])
def test_unrolling_changes_no_count(architecture, unroll):
  cfg = variants.config(architecture, unroll=unroll)
  assert cfg.train_flops() == counted(gradient, cfg)
  cfg = variants.config(architecture, unroll=unroll, remat=True)
  assert cfg.executed_flops() == counted(gradient, cfg)


def test_lengths_given_are_those_counted():
  cfg = variants.config('encoder_decoder')
  short = dataclasses.replace(cfg, seq_len=3, target_len=5)
  assert cfg.train_flops(3, 5) == counted(gradient, short)
  cfg = variants.config('decoder')
  short = dataclasses.replace(cfg, seq_len=3)
  assert cfg.train_flops(3) == counted(gradient, short)


def test_a_layer_without_attention_scores_is_two_flops_a_parameter():
  cfg = variants.config('decoder')
  matrices = cfg.n_params - cfg.d_model * (2 * cfg.n_layers + 1)
  scores = 4 * cfg.n_layers * cfg.d_model
  assert cfg.forward_flops(1) == 2 * matrices + scores
