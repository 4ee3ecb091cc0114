"""Dot-product attention over explicit masks, with its gradient by hand.

Dimensions: `b` batch, `t` queries, `s` keys, `n` query heads, `k` key and value
heads, `g` = n / k, `h` d_head. Query head i reads key and value head i // g.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from research.models import flash, layers

MASKED = -1e30
"""Added to the score of a key that must not be seen."""

# More blocks would skip more, and take longer to compile.
_MOST_BLOCKS, _SMALLEST_BLOCK = 4, 128


def weigh(
  q: Float[Array, 'b t n h'],
  k: Float[Array, 'b k s h'],
  mask: Bool[Array, '#b t s'],
  *,
  scale: float,
  bias: Float[Array, '*#b n t s'] | None = None,
) -> Float[Array, 'b n t s']:
  """softmax(scale · q·k + bias) over the keys where `mask`, float32.

  The weights of a query that may look at nothing are zero.
  """
  n_kv = k.shape[1]
  weights = _softmax(_by_head(q * scale, n_kv), k, mask, _grouped(bias, n_kv))
  return weights.reshape(len(q), -1, *weights.shape[-2:])


def attend(
  q: Float[Array, 'b t n h'],
  k: Float[Array, 'b k s h'],
  v: Float[Array, 'b k s h'],
  mask: Bool[Array, '#b t s'],
  *,
  scale: float,
  bias: Float[Array, '*#b n t s'] | None = None,
  causal: bool = False,
  rate: float = 0.0,
  key: jax.Array | None = None,
) -> Float[Array, 'b t n h']:
  """What each query reads: the average of `v` with the weights of `weigh`.

  Where no key after its query is seen, blocks of queries leave out the keys
  after their last. In the gradient, the sum of each query's weights times their
  gradients is that of its output times the output's (Dao et al. 2022, appendix
  B.2), which is shorter. On an NVIDIA GPU cuDNN computes all this where it can
  (`flash.fits`; without bias and dropout).

  Args:
    q: Queries.
    k: Keys.
    v: Values.
    mask: Which keys each query looks at.
    scale: Factor on q·k.
    bias: Added to the scores.
    causal: Whether `mask` hides every key after its query; then t = s.
    rate: Dropout on the weights, if a key is given.
    key: For dropout.
  """
  how = _How(scale, causal, 0.0 if key is None else rate)
  if bias is not None or how.rate or not flash.fits(q, k):
    return _attend(how, q, k, v, bias, mask, key)
  return jax.lax.platform_dependent(
    *(q, k, v, mask),
    cuda=functools.partial(flash.attend, scale=scale, causal=causal),
    default=lambda q, k, v, mask: _attend(how, q, k, v, None, mask, None),
  )


class _How(NamedTuple):
  """What `attend` is compiled for: its arguments of the same names."""

  scale: float
  causal: bool
  rate: float


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(how, q, k, v, bias, mask, key):
  return _forward(how, q, k, v, bias, mask, key)[0]


def _forward(how, q, k, v, bias, mask, key):
  n_kv = k.shape[1]
  queries = _by_head(q * how.scale, n_kv)
  biases = _grouped(bias, n_kv)
  read, kept = [], []
  for i, (t, s) in enumerate(_blocks(q.shape[1], k.shape[2], how.causal)):
    weights = _softmax(
      queries[..., t, :],
      k[:, :, s],
      mask[:, t, s],
      None if biases is None else biases[..., t, s],
    )
    kept.append(weights)
    dropped = layers.dropout(weights, how.rate, _fold(key, i)).astype(v.dtype)
    read.append(jnp.einsum('bkgts,bksh->bkgth', dropped, v[:, :, s]))
  y = jnp.moveaxis(_joined(read, 3), 3, 1).reshape(q.shape)
  return y, (q, k, v, bias, key, y, kept)


def _backward(how, saved, dy):
  q, k, v, bias, key, y, kept = saved
  n_kv, length = k.shape[1:3]
  inner = jnp.sum(dy.astype(jnp.float32) * y, axis=-1, keepdims=True)
  inner, read = _by_head(inner, n_kv), _by_head(dy, n_kv)
  # Products over queries are fast from a matrix that begins with channels.
  q_first, dy_first = (
    layers.in_memory(jnp.moveaxis(_by_head(x, n_kv), 4, 2))
    for x in (q * how.scale, dy)
  )
  dq, dk, dv, dbias = [], [], [], []
  for i, (t, s) in enumerate(_blocks(q.shape[1], length, how.causal)):
    weights = kept[i]
    after = length - weights.shape[-1]

    def drop(x, i=i):
      return layers.dropout(x, how.rate, _fold(key, i))

    dweights = jnp.einsum(
      'bkgth,bksh->bkgts',
      read[..., t, :],
      v[:, :, s],
      preferred_element_type=jnp.float32,
    )
    dscores = weights * (drop(dweights) - inner[..., t, :])
    dbias.append(_padded(dscores, after) if bias is not None else None)
    dropped, dscores = drop(weights).astype(v.dtype), dscores.astype(q.dtype)
    dq.append(jnp.einsum('bkgts,bksh->bkgth', dscores, k[:, :, s]))
    product = 'bkhgt,bkgts->bkhs'
    dk.append(_padded(jnp.einsum(product, q_first[..., t], dscores), after))
    dv.append(_padded(jnp.einsum(product, dy_first[..., t], dropped), after))
  dq = jnp.moveaxis(_joined(dq, 3), 3, 1).reshape(q.shape) * how.scale
  dk, dv = (functools.reduce(jnp.add, x).mT for x in (dk, dv))
  return dq, dk, dv, _unbroadcast(bias, dbias), None, None


_attend.defvjp(_forward, _backward)


def _softmax(q, k, mask, bias):
  """Weights [b, k, g, t, s] of scaled queries [b, k, g, t, h], float32."""
  multiply = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  if q.shape[3] == 1:  # Products read keys as they lie, if these are first.
    scores = jnp.moveaxis(multiply('bksh,bkgth->bksgt', k, q), 2, 4)
  else:
    scores = multiply('bkgth,bksh->bkgts', q, k)
  if bias is not None:
    scores = scores + bias
  mask = mask[:, None, None]
  scores = scores + jnp.where(mask, 0.0, MASKED)
  most = jnp.max(scores, axis=-1, keepdims=True)
  e = jnp.exp(scores - most)
  seeing = most > MASKED / 2
  return e * jnp.where(seeing, 1 / jnp.sum(e, axis=-1, keepdims=True), 0.0)


def _blocks(t: int, s: int, causal: bool) -> list[tuple[slice, slice]]:
  """Queries, and the keys that these may look at, in blocks."""
  size = max(-(-t // _MOST_BLOCKS), _SMALLEST_BLOCK) if causal else t
  ends = [min(start + size, t) for start in range(0, t, size)]
  return [
    (slice(start, end), slice(0, end if causal else s))
    for start, end in zip([0, *ends[:-1]], ends, strict=True)
  ]


def _by_head(x, n_kv: int):
  """[b, t, n, h] as [b, k, g, t, h]."""
  b, t, n, h = x.shape
  return jnp.moveaxis(x.reshape(b, t, n_kv, n // n_kv, h), 1, 3)


def _grouped(bias, n_kv: int):
  """[*b, n, t, s] as [*b, k, g, t, s]."""
  if bias is None:
    return None
  *b, n, t, s = bias.shape
  return bias.reshape(*b, n_kv, n // n_kv, t, s)


def _unbroadcast(bias, blocks):
  """The gradient of `bias`, from those of scores in blocks of queries."""
  if bias is None:
    return None
  whole = _joined(blocks, 3)
  whole = whole.reshape(len(whole), -1, *whole.shape[-2:])
  if bias.ndim == whole.ndim and len(bias) == len(whole):
    return whole
  # One row after another: XLA's CPU backend takes ten times as long to reduce
  # the first dimension on two threads.
  summed, _ = jax.lax.scan(
    lambda total, row: (total + row, None), jnp.zeros_like(whole[0]), whole
  )
  return summed.reshape(bias.shape)


def _joined(blocks: list, axis: int):
  return blocks[0] if len(blocks) == 1 else jnp.concatenate(blocks, axis)


def _padded(x, after: int):
  """`x` with zeros after its last axis."""
  return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, after)]) if after else x


def _fold(key, i: int):
  return None if key is None else jax.random.fold_in(key, i)
