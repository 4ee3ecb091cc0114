"""Learning-rate schedules: the factor on the peak rate at each step.

A schedule is called inside the compiled step with a traced step, horizon and
warm-up, so runs of different length share one program. Every schedule rises
linearly from 1/warmup at step 0 to 1 at step warmup - 1.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.config import BadInput

Scalar = jax.Array | int | float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
  """Full rate after the warm-up."""

  def __call__(
    self, step: Scalar, horizon: Scalar, warmup: Scalar
  ) -> Float[Array, '']:
    """The factor in [0, 1] of update number `step`, counted from 0."""
    del horizon
    return _warmed(step, warmup, jnp.float32(1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
  """Half a cosine from 1 to `final` (Loshchilov & Hutter 2017).

  The factor is 1 at step `warmup` and would be `final` at step `horizon`.

  Attributes:
    final: Factor that the schedule ends at.
  """

  final: float = 0.1

  def __post_init__(self):
    _check_share('final', self.final)

  def __call__(
    self, step: Scalar, horizon: Scalar, warmup: Scalar
  ) -> Float[Array, '']:
    """The factor in [0, 1] of update number `step`, counted from 0."""
    # (1 + cos x) / 2, which loses its digits near the end.
    wave = jnp.cos(0.5 * jnp.pi * _progress(step, warmup, horizon)) ** 2
    return _warmed(step, warmup, self.final + (1 - self.final) * wave)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
  """Constant, then a cool-down over the last steps (Hu et al. 2024, MiniCPM).

  Attributes:
    cooldown: Share of the horizon that cools down.
    shape: `linear`, or `sqrt` for 1 - sqrt(progress) (Hägele et al. 2024).
    final: Factor that the cool-down ends at.
  """

  cooldown: float = 0.2
  shape: Literal['sqrt', 'linear'] = 'sqrt'
  final: float = 0.0

  def __post_init__(self):
    _check_share('cooldown', self.cooldown)
    _check_share('final', self.final)

  def __call__(
    self, step: Scalar, horizon: Scalar, warmup: Scalar
  ) -> Float[Array, '']:
    """The factor in [0, 1] of update number `step`, counted from 0."""
    start = jnp.asarray(horizon, jnp.float32) * (1 - self.cooldown)
    progress = _progress(step, start, horizon)
    fall = jnp.sqrt(progress) if self.shape == 'sqrt' else progress
    return _warmed(step, warmup, 1 - (1 - self.final) * fall)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseSqrt:
  """Falls as 1/sqrt(step) after the warm-up (Vaswani et al. 2017, eq. 3).

  It has no horizon: a run can go on for as long as one likes. Without a
  warm-up it falls from step 1 on.
  """

  def __call__(
    self, step: Scalar, horizon: Scalar, warmup: Scalar
  ) -> Float[Array, '']:
    """The factor in [0, 1] of update number `step`, counted from 0."""
    del horizon
    peak = jnp.maximum(jnp.asarray(warmup, jnp.float32), 1)
    updates = jnp.asarray(step, jnp.float32) + 1
    return _warmed(step, warmup, jnp.sqrt(peak / jnp.maximum(updates, peak)))


Schedule = Constant | Cosine | WarmupStableDecay | InverseSqrt


def _warmed(step, warmup, factor):
  warmup = jnp.maximum(jnp.asarray(warmup, jnp.float32), 1)
  rise = (jnp.asarray(step, jnp.float32) + 1) / warmup
  return jnp.where(rise < 1, rise, factor)


def _progress(step, start, end):
  """The share of the way from `start` to `end`, in [0, 1]."""
  step, start, end = (jnp.asarray(x, jnp.float32) for x in (step, start, end))
  return jnp.clip((step - start) / jnp.maximum(end - start, 1), 0, 1)


def _check_share(name: str, value: float):
  if not 0 <= value <= 1:
    raise BadInput(f'{name}={value} must lie in [0, 1]')
