"""LSTM language model: the recurrent baseline before the transformers.

Hochreiter and Schmidhuber, Long Short-Term Memory (1997), with the forget gate
of Gers et al. (2000); several layers as in Zaremba et al. (2014). Everything
inside runs time first: `[t, b, d]`.
"""

from collections.abc import Mapping

from flax import nnx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from research.models.recurrent_config import RecurrentConfig


class Recurrent(nnx.Module):
  """Predicts each token from the ones before it in its segment.

  The state lies within (-1, 1), so a tied head takes the embedding, drawn from
  normal(0, 1), as it is: scaled by d_model^-0.5 in the logits it trains to 2.74
  bits per byte at its best learning rate, unscaled to 2.44, drawn smaller to
  2.51 (1e11 FLOPs, d_model 48, one layer, BPE of 512, one seed).
  """

  def __init__(self, cfg: RecurrentConfig, rngs: nnx.Rngs):
    self.cfg = cfg
    d, table = cfg.d_model, (cfg.vocab_size, cfg.d_model)
    self.embedding = nnx.Param(
      jax.random.normal(rngs.params(), table), axes=('vocab', 'embed')
    )
    self.layers = Layers(cfg, rngs)
    if not cfg.tied_head:
      self.head = nnx.Param(
        jax.random.normal(rngs.params(), table) * d**-0.5,
        axes=('vocab', 'embed'),
      )

  def __call__(
    self, batch: Mapping[str, ArrayLike], *, key: Array | None = None
  ) -> Float[Array, 'b t v']:
    """Logits of `targets` from `tokens` and `segments`; there is no dropout.

    The state is zero at the first position of a row and of each segment.
    """
    del key
    cfg, dtype = self.cfg, jnp.dtype(self.cfg.dtype)
    segments = jnp.asarray(batch['segments']).T
    x = self.embedding[jnp.asarray(batch['tokens']).T]
    keep = jnp.zeros(segments.shape, bool)
    keep = keep.at[1:].set(segments[1:] == segments[:-1])
    x = self.layers(x.astype(dtype), keep).swapaxes(0, 1)
    head = self.embedding if cfg.tied_head else self.head
    logits = jnp.dot(
      x.reshape(-1, cfg.d_model),
      head.astype(dtype).T,
      preferred_element_type=jnp.float32,
    )
    return logits.reshape(*x.shape[:2], cfg.vocab_size)


class Layers(nnx.Module):
  """LSTM layers with stacked weights; gates in the order i, f, g, o."""

  def __init__(self, cfg: RecurrentConfig, rngs: nnx.Rngs):
    d, shape = cfg.d_model, (cfg.n_layers, cfg.d_model, 4 * cfg.d_model)
    axes = ('layers', 'embed', 'mlp')

    def weight():
      return jax.random.normal(rngs.params(), shape) * d**-0.5

    self.wi = nnx.Param(weight(), axes=axes)
    self.wh = nnx.Param(weight(), axes=axes)
    forget = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), d)
    self.bias = nnx.Param(
      jnp.tile(forget, (cfg.n_layers, 1)), axes=('layers', 'mlp')
    )

  def __call__(
    self, x: Float[Array, 't b d'], keep: Bool[Array, 't b']
  ) -> Float[Array, 't b d']:
    def apply(x, layer):
      wi, wh, bias = layer
      gates = jnp.dot(
        x.reshape(-1, x.shape[-1]),
        wi.astype(x.dtype),
        preferred_element_type=jnp.float32,
      )
      gates = (gates + bias).reshape(*x.shape[:2], -1)
      return recur(gates, wh.astype(x.dtype), keep).astype(x.dtype), None

    layers = self.wi[...], self.wh[...], self.bias[...]
    return jax.lax.scan(apply, x, layers)[0]


@jax.custom_vjp
def recur(
  gates: Float[Array, 't b e'],
  wh: Float[Array, 'd e'],
  keep: Bool[Array, 't b'],
) -> Float[Array, 't b d']:
  """Outputs of an LSTM layer whose input projections are `gates` (e = 4 d).

  The state before step t is kept where `keep[t]`, else zero. The gradient of
  `wh` is one matrix product after the scan, not a sum of small ones within it:
  forward and backward take 0.76 of the time at d = 128 and 0.70 at d = 256, the
  same below (two cores beside other work, interleaved, b = 16, t = 128).
  """
  return _forward(gates, wh, keep)[0]


def _forward(gates, wh, keep):
  def step(carry, inputs):
    x, kept = inputs
    h, c = (jnp.where(kept[:, None], state, 0.0) for state in carry)
    a = x + jnp.dot(h.astype(wh.dtype), wh, preferred_element_type=jnp.float32)
    i, f, g, o = jnp.split(a, 4, axis=-1)
    i, f, g, o = (
      jax.nn.sigmoid(i),
      jax.nn.sigmoid(f),
      jnp.tanh(g),
      jax.nn.sigmoid(o),
    )
    c = f * c + i * g
    h = o * jnp.tanh(c)
    return (h, c), (h, c, jnp.concatenate([i, f, g, o], axis=-1))

  zero = jnp.zeros((gates.shape[1], wh.shape[0]), jnp.float32)
  _, (h, c, active) = jax.lax.scan(step, (zero, zero), (gates, keep))
  return h, (h, c, active, wh, keep)


def _backward(saved, dh_out):
  h, c, active, wh, keep = saved
  kept = keep[..., None]
  h_before = jnp.where(kept, jnp.roll(h, 1, axis=0), 0.0)
  c_before = jnp.where(kept, jnp.roll(c, 1, axis=0), 0.0)

  def step(carry, inputs):
    dh, dc = carry
    dh_out, c, c_before, active, kept = inputs
    i, f, g, o = jnp.split(active, 4, axis=-1)
    tanh_c, dh = jnp.tanh(c), dh + dh_out
    dc = dc + dh * o * (1 - tanh_c**2)
    da = jnp.concatenate(
      [
        dc * g * i * (1 - i),
        dc * c_before * f * (1 - f),
        dc * i * (1 - g**2),
        dh * tanh_c * o * (1 - o),
      ],
      axis=-1,
    )
    dh = jnp.dot(da.astype(wh.dtype), wh.T, preferred_element_type=jnp.float32)
    return (jnp.where(kept, dh, 0.0), jnp.where(kept, dc * f, 0.0)), da

  zero = jnp.zeros_like(c[0])
  _, da = jax.lax.scan(
    step, (zero, zero), (dh_out, c, c_before, active, kept), reverse=True
  )
  dwh = jnp.dot(
    h_before.reshape(-1, h.shape[-1]).astype(wh.dtype).T,
    da.reshape(-1, da.shape[-1]).astype(wh.dtype),
    preferred_element_type=jnp.float32,
  )
  return da, dwh.astype(wh.dtype), None


recur.defvjp(_forward, _backward)
