"""Language-model losses: cross entropy of the weighted tokens, in nats.

An objective maps (model, batch, key) to sums, never to means: whoever adds up
devices and microbatches divides once, by the total weight.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Sums(NamedTuple):
  """What an objective returns for a batch.

  Attributes:
    loss: Sum over tokens of weight times what is minimised.
    weight: Sum of the weights; the loss's divisor once all are added up.
    aux: Further sums to report, divided by the same weight.
  """

  loss: Float[Array, '']
  weight: Float[Array, '']
  aux: dict[str, Float[Array, '']]


def cross_entropy(
  model: Any,
  batch: Mapping[str, Any],
  key: jax.Array | None = None,
  *,
  z_loss: float = 0.0,
) -> Sums:
  """Cross entropy of `batch['targets']` under the model's logits.

  Args:
    model: Maps (batch, key=key) to logits [b, t, v].
    batch: With targets [b, t] and weights [b, t].
    key: Randomness for dropout; None for none.
    z_loss: Coefficient of log(Z)^2, Z the softmax's divisor (Chowdhery et al.
      2022, section 5), which joins `loss` but not `aux['nll']`.
  """
  logits = model(batch, key=key)
  nll, log_z = softmax_cross_entropy(logits, jnp.asarray(batch['targets']))
  weights = jnp.asarray(batch['weights'])
  total = jnp.sum(nll * weights)
  loss = total
  if z_loss:
    loss = total + z_loss * jnp.sum(jnp.square(log_z) * weights)
  return Sums(loss, jnp.sum(weights), {'nll': total})


def token_nll(model: Any, batch: Mapping[str, Any]) -> Float[Array, 'b t']:
  """Negative log-likelihood of each target, in nats, weights not applied."""
  logits = model(batch)
  return softmax_cross_entropy(logits, jnp.asarray(batch['targets']))[0]


@jax.custom_vjp
def softmax_cross_entropy(
  logits: Float[Array, '*b v'], targets: Int[Array, '*b']
) -> tuple[Float[Array, '*b'], Float[Array, '*b']]:
  """The nll of each target in nats, and log Z, in float32.

  The gradient is written by hand: softmax(logits) is rebuilt from log Z in one
  pass, instead of being kept.
  """
  return _forward(logits, targets)[0]


def _forward(logits, targets):
  x = logits.astype(jnp.float32)
  log_z = jax.nn.logsumexp(x, axis=-1)
  chosen = jnp.take_along_axis(x, targets[..., None], axis=-1)[..., 0]
  return (log_z - chosen, log_z), (logits, targets, log_z)


def _backward(saved, gradients):
  logits, targets, log_z = saved
  g_nll, g_log_z = gradients
  softmax = jnp.exp(logits.astype(jnp.float32) - log_z[..., None])
  hit = targets[..., None] == jnp.arange(logits.shape[-1])
  g = (g_nll + g_log_z)[..., None] * softmax
  g = g - jnp.where(hit, g_nll[..., None], 0.0)
  return g.astype(logits.dtype), None


softmax_cross_entropy.defvjp(_forward, _backward)
