"""Optimizers: optax transformations with a learning rate of one.

The step multiplies what they return by the traced learning rate. So weight
decay is scaled by it too, as in AdamW (Loshchilov & Hutter 2019).
Which parameters decay, and which are matrices to muon, follows from the names
of their dimensions, never from their number: layers are stacked.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from flax import nnx
import jax
import optax

from research.config import BadInput

_HEADS = {'heads', 'kv_heads', 'head'}
_LOOKED_UP = {'vocab', 'position', 'token_type', 'bucket'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW:
  """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

  Attributes:
    b1: Decay of the first moment.
    b2: Decay of the second moment.
    eps: Added to the root of the second moment.
    weight_decay: Share of a matrix taken away a step, times learning rate.
  """

  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1

  def __post_init__(self):
    _check(b1=self.b1, b2=self.b2)

  def build(self) -> optax.GradientTransformation:
    """The transformation, with a learning rate of one."""
    return optax.chain(
      optax.scale_by_adam(self.b1, self.b2, self.eps),
      _descend(self.weight_decay),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lion:
  """The sign of an interpolated momentum (Chen et al. 2023).

  Attributes:
    b1: Interpolation between momentum and gradient.
    b2: Decay of the momentum.
    weight_decay: Share of a matrix taken away a step, times learning rate.
  """

  b1: float = 0.9
  b2: float = 0.99
  weight_decay: float = 0.1

  def __post_init__(self):
    _check(b1=self.b1, b2=self.b2)

  def build(self) -> optax.GradientTransformation:
    """The transformation, with a learning rate of one."""
    return optax.chain(
      optax.scale_by_lion(self.b1, self.b2), _descend(self.weight_decay)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adafactor:
  """Second moments of rows and columns alone (Shazeer & Stern 2018).

  Each layer of a stack is factored, clipped and scaled on its own.

  Attributes:
    decay: Exponent of the second moment's decay, 1 - step**-decay.
    min_size: Smallest dimension that is factored.
    clip: Largest root mean square of an update; None for no limit.
    relative: Whether updates are scaled by the parameter's root mean square.
    weight_decay: Share of a matrix taken away a step, times learning rate.
  """

  decay: float = 0.8
  min_size: int = 128
  clip: float | None = 1.0
  relative: bool = True
  weight_decay: float = 0.0

  def __post_init__(self):
    _check(decay=self.decay)

  def build(self) -> optax.GradientTransformation:
    """The transformation, with a learning rate of one."""
    parts = [
      optax.scale_by_factored_rms(
        decay_rate=self.decay, min_dim_size_to_factor=self.min_size
      )
    ]
    if self.clip is not None:
      parts.append(optax.clip_by_block_rms(self.clip))
    if self.relative:
      parts.append(optax.scale_by_param_block_rms())
    return optax.chain(
      per_layer(optax.chain(*parts)), _descend(self.weight_decay)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Muon:
  """Momentum made orthogonal, for matrices; Adam for the rest (Jordan 2024).

  Updates of matrices are scaled to the root mean square of Adam's, about 0.2,
  so that both share a learning rate (Liu et al. 2025, arXiv:2502.16982).

  Attributes:
    momentum: Decay of the matrices' momentum.
    n_iterations: Newton-Schulz iterations.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Added to Adam's root of the second moment.
    weight_decay: Share of a matrix taken away a step, times learning rate.
  """

  momentum: float = 0.95
  n_iterations: int = 5
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1

  def __post_init__(self):
    _check(momentum=self.momentum, b1=self.b1, b2=self.b2)

  def build(self) -> optax.GradientTransformation:
    """The transformation, with a learning rate of one."""
    matrices = optax.chain(
      optax.contrib.scale_by_muon(
        ns_steps=self.n_iterations,
        beta=self.momentum,
        weight_dimension_numbers=_dimension_numbers,
      ),
      optax.stateless(_adams_size),
    )
    return optax.chain(
      optax.partition(
        {
          'matrix': matrices,
          'other': optax.scale_by_adam(self.b1, self.b2, self.eps),
        },
        functools.partial(
          _by_axes, lambda axes: 'matrix' if _is_matrix(axes) else 'other'
        ),
      ),
      _descend(self.weight_decay),
    )


Optimizer = AdamW | Lion | Adafactor | Muon


def sides(axes: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
  """What a parameter maps from and to, as groups of its dimensions.

  Heads and their channels are one side and layers are none: `('layers',
  'embed', 'heads', 'head')` has the sides `((1,), (2, 3))`. A parameter with
  fewer than two sides is a norm's scale, a bias or a scalar.
  """
  groups: list[tuple[int, ...]] = []
  for i, name in enumerate(axes):
    if i and name in _HEADS and axes[i - 1] in _HEADS:
      groups[-1] += (i,)
    elif name != 'layers':
      groups.append((i,))
  return tuple(groups)


def decays(params: Any) -> Any:
  """Which parameters weight decay applies to: those with two sides or more."""
  return _by_axes(lambda axes: len(sides(axes)) >= 2, params)


def per_layer(
  transform: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """`transform` applied to each layer of a stacked parameter on its own."""

  stacked = optax.GradientTransformation(
    jax.vmap(transform.init), jax.vmap(transform.update)
  )

  def depth(variable):
    stack = getattr(variable, 'axes', ())[:1] == ('layers',)
    return f'layers_{variable.shape[0]}' if stack else 'single'

  def build(params):
    labels = _by_variable(depth, params)
    kinds = set(jax.tree.leaves(labels))
    return optax.partition(
      {k: transform if k == 'single' else stacked for k in sorted(kinds)},
      labels,
    )

  def update(updates, state, params=None):
    return build(params).update(updates, state, params)

  return optax.GradientTransformation(
    lambda params: build(params).init(params), update
  )


def _descend(weight_decay: float) -> optax.GradientTransformation:
  return optax.chain(
    optax.add_decayed_weights(weight_decay, decays), optax.scale(-1.0)
  )


def _is_matrix(axes: tuple[str, ...]) -> bool:
  """Whether muon takes it: the weights of a matrix product, not a table."""
  return len(sides(axes)) == 2 and not set(axes) & _LOOKED_UP


def _dimension_numbers(params):
  """For each matrix, which dimensions it maps from and which to."""

  def numbers(axes):
    if not _is_matrix(axes):
      return optax.MaskedNode()
    return optax.contrib.MuonDimensionNumbers(*sides(axes))

  return _by_axes(numbers, params)


def _adams_size(updates, params=None):
  """0.2 sqrt(max(inputs, outputs)): an orthogonal matrix with Adam's size."""
  del params

  def scale(x, numbers):
    sizes = [math.prod(x.shape[i] for i in dims) for dims in numbers]
    return x * (0.2 * math.sqrt(max(sizes)))

  return jax.tree.map(scale, updates, _dimension_numbers(updates))


def _by_axes(function: Callable[[tuple[str, ...]], Any], params):
  """`function` of each parameter's axes, in the structure of `params`."""
  return _by_variable(lambda x: function(getattr(x, 'axes', ())), params)


def _by_variable(function: Callable[[nnx.Variable], Any], params):
  def spread(x):
    return jax.tree.map(lambda _: function(x), x)

  return jax.tree.map(
    spread, params, is_leaf=lambda x: isinstance(x, nnx.Variable)
  )


def _check(**shares: float):
  for name, value in shares.items():
    if not 0 <= value < 1:
      raise BadInput(f'{name}={value} must lie in [0, 1)')
