"""What every block is made of: weights, the linear map, norms, MLP, dropout.

Dimensions: `b` batch, `t` length, `d` d_model, `f` d_ff. A parameter names its
dimensions by `axes`, of which there are nine: `layers` (stacked blocks),
`vocab`, `embed`, `heads`, `kv_heads`, `head`, `mlp`, and `position` for the
rows of any other small table (positions, distance buckets, token types).
Matrices and tables have two names or more beside `layers`; scales and biases
have one.
"""

import functools
import math

from flax import nnx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from research.models import parts

EMBEDDING_STD = 0.02

_WIDEST = 4
"""Columns for each row of weights that one row of input reads in halves."""


def weight(
  rngs: nnx.Rngs,
  shape: tuple[int, ...],
  axes: tuple[str, ...],
  *,
  std: float,
) -> nnx.Param:
  """A normal(0, std²) parameter whose dimensions are named by `axes`."""
  return nnx.Param(jax.random.normal(rngs.params(), shape) * std, axes=axes)


def zeros(size: int, axis: str) -> nnx.Param:
  """A bias, all zero."""
  return nnx.Param(jnp.zeros(size), axes=(axis,))


def linear(
  x: Float[Array, '...'],
  w: Float[Array, '...'],
  n_in: int = 1,
  dtype: DTypeLike | None = None,
) -> Float[Array, '...']:
  """The product of the last `n_in` dimensions of `x` with the first of `w`.

  Computed in x's dtype as one product of two matrices, and so are both
  gradients: XLA's CPU backend leaves its fast path where a product contracts
  over batch and length. The gradient of `w` has w's dtype.

  Args:
    x: Input, [*batch, *in].
    w: Weights, [*in, *out].
    n_in: Number of dimensions summed over.
    dtype: Of the result; None: that of `x`.

  Returns:
    The product, [*batch, *out].
  """
  return _linear(x, w, n_in, jnp.dtype(dtype or x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _linear(x, w, n_in, dtype):
  return _linear_forward(x, w, n_in, dtype)[0]


def _product(x, w, dtype):
  """x w; XLA's CPU backend reads `w` faster as two matrices, for one row."""
  multiply = functools.partial(jnp.matmul, preferred_element_type=dtype)
  d, n = w.shape
  if len(x) > 1 or d % 2 or n > _WIDEST * d:
    return multiply(x, w)

  def halves(x, w):
    y = multiply(x.reshape(2, 1, d // 2), w.reshape(2, d // 2, n))
    return y[0] + y[1]

  return jax.lax.platform_dependent(x, w, cpu=halves, default=multiply)


def _matrices(x, w, n_in):
  d = math.prod(w.shape[:n_in])
  return x.reshape(-1, d), w.reshape(d, -1).astype(x.dtype)


def _linear_forward(x, w, n_in, dtype):
  y = _product(*_matrices(x, w, n_in), dtype)
  return y.reshape(x.shape[: x.ndim - n_in] + w.shape[n_in:]), (x, w)


def _linear_backward(n_in, dtype, saved, g):
  x, w = saved
  x2, w2 = _matrices(x, w, n_in)
  g2 = g.reshape(-1, w2.shape[1]).astype(x.dtype)
  dx = jnp.matmul(g2, w2.T)
  dw = _over_rows(x2, g2, w.dtype)
  return dx.reshape(x.shape), dw.reshape(w.shape)


_linear.defvjp(_linear_forward, _linear_backward)


def _over_rows(x, g, dtype):
  """xᵀ g, from the smaller of the two transposed in memory."""
  if x.shape[1] > g.shape[1]:
    return _over_rows(g, x, dtype).T
  return in_memory(jnp.matmul(in_memory(x.T), g, preferred_element_type=dtype))


def in_memory(x: Float[Array, '*b']) -> Float[Array, '*b']:
  """`x`, which XLA's CPU backend is to write as it is.

  It would rather have a product read a matrix transposed, and multiplies at
  two thirds of its speed then.
  """
  return jax.lax.platform_dependent(
    x, cpu=jax.lax.optimization_barrier, default=lambda x: x
  )


def dropout(
  x: Float[Array, '*b'], rate: float, key: jax.Array | None
) -> Float[Array, '*b']:
  """`x` with a share `rate` of its entries zeroed and the rest scaled up.

  Without a key, or at rate 0, it is `x`.
  """
  if key is None or rate == 0:
    return x
  keep = jax.random.bernoulli(key, 1 - rate, x.shape)
  return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def _from_input(static: tuple[int, ...]):
  """Makes a function's gradient keep its inputs only and compute the rest anew.

  For elementwise work: reading what was kept costs more than computing it.
  """
  return functools.partial(
    jax.checkpoint, prevent_cse=False, static_argnums=static
  )


def norm(spec: parts.Norm, d_model: int) -> 'LayerNorm | RMSNorm':
  """The module that `spec` describes."""
  match spec:
    case parts.LayerNorm():
      return LayerNorm(spec, d_model)
    case parts.RMSNorm():
      return RMSNorm(spec, d_model)


class LayerNorm(nnx.Module):
  """Normalises to zero mean and unit variance, then scales and shifts."""

  def __init__(self, spec: parts.LayerNorm, d_model: int):
    self.spec = spec
    self.scale = nnx.Param(jnp.ones(d_model), axes=('embed',))
    self.bias = zeros(d_model, 'embed') if spec.bias else None

  def __call__(self, x: Float[Array, '*b d']) -> Float[Array, '*b d']:
    bias = None if self.bias is None else self.bias[...]
    return _layer_norm(x, self.scale[...], bias, self.spec.eps)


class RMSNorm(nnx.Module):
  """Divides by the root mean square, then scales."""

  def __init__(self, spec: parts.RMSNorm, d_model: int):
    self.spec = spec
    self.scale = nnx.Param(jnp.ones(d_model), axes=('embed',))

  def __call__(self, x: Float[Array, '*b d']) -> Float[Array, '*b d']:
    return _rms_norm(x, self.scale[...], self.spec.eps)


@_from_input(static=(3,))
def _layer_norm(x, scale, bias, eps):
  y = x.astype(jnp.float32)
  y = y - jnp.mean(y, axis=-1, keepdims=True)
  variance = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
  y = y * jax.lax.rsqrt(variance + eps) * scale
  return (y if bias is None else y + bias).astype(x.dtype)


@_from_input(static=(2,))
def _rms_norm(x, scale, eps):
  y = x.astype(jnp.float32)
  square = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
  return (y * jax.lax.rsqrt(square + eps) * scale).astype(x.dtype)


def activation(
  name: parts.Activation, x: Float[Array, '*b']
) -> Float[Array, '*b']:
  """The elementwise function called `name`, of `x`."""
  return _activation(x, name)


@_from_input(static=(1,))
def _activation(x, name):
  match name:
    case 'gelu':
      return x * (jax.lax.erf(x * 2**-0.5) + 1) / 2
    case 'gelu_tanh':
      return jax.nn.gelu(x, approximate=True)
    case 'relu':
      return jax.nn.relu(x)
    case 'silu':
      return jax.nn.silu(x)
    case 'relu2':
      return jnp.square(jax.nn.relu(x))


class MLP(nnx.Module):
  """Two matrices with an activation between; three if gated."""

  def __init__(
    self, spec: parts.MLP, rngs: nnx.Rngs, *, output_scale: float = 1.0
  ):
    d, f = spec.d_model, spec.d_ff
    self.spec = spec
    inward, outward = ('embed', 'mlp'), ('mlp', 'embed')
    self.up = weight(rngs, (d, f), inward, std=d**-0.5)
    self.gate = (
      weight(rngs, (d, f), inward, std=d**-0.5) if spec.gated else None
    )
    self.down = weight(rngs, (f, d), outward, std=f**-0.5 * output_scale)
    self.up_bias = zeros(f, 'mlp') if spec.bias else None
    self.gate_bias = zeros(f, 'mlp') if spec.bias and spec.gated else None
    self.down_bias = zeros(d, 'embed') if spec.bias else None

  def __call__(self, x: Float[Array, 'b t d']) -> Float[Array, 'b t d']:
    up = affine(x, self.up, self.up_bias)
    gate = None if self.gate is None else affine(x, self.gate, self.gate_bias)
    y = _activated(up, gate, self.down[...], self.spec.activation)
    return _plus(y, self.down_bias, y.shape[-1:])


@_from_input(static=(3,))
def _activated(up, gate, down, name):
  """The activated layer, not kept for the gradient, times `down`."""
  y = activation(name, up) if gate is None else activation(name, gate) * up
  return linear(y, down)


def affine(
  x: Float[Array, '...'],
  w: nnx.Param,
  bias: nnx.Param | None,
  n_in: int = 1,
) -> Float[Array, '...']:
  """`linear(x, w)` plus the bias, if there is one, in x's dtype."""
  return _plus(linear(x, w[...], n_in), bias, w.shape[n_in:])


def _plus(y, bias: nnx.Param | None, shape: tuple[int, ...]):
  """`y` plus the bias, if there is one, as its last dimensions are."""
  if bias is None:
    return y
  return y + bias[...].reshape(shape).astype(y.dtype)
