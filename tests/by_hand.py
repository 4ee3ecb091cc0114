"""Pieces of transformers in float64 numpy, written from their papers."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special


def perturbed(model: nnx.Module, seed: int = 0) -> Any:
  """The model with noise on all parameters, so that no bias or scale is idle.

  The noise is large, or logits would be near uniform and errors hide.
  """
  rng = np.random.default_rng(seed)

  def noisy(x):
    noise = rng.normal(size=x.shape) * 0.3
    return jnp.asarray(x + noise, jnp.float32)

  return jax.tree.map(noisy, model)


def layer(stacked: nnx.Module, i: int) -> Any:
  """Block `i` of stacked blocks, in float64."""
  return jax.tree.map(lambda x: np.asarray(x, np.float64)[i], stacked)


def get(param: nnx.Param) -> np.ndarray:
  """A parameter's array."""
  return np.asarray(param[...], np.float64)


def gelu(x):
  return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def gelu_tanh(x):
  return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def silu(x):
  return x / (1 + np.exp(-x))


def layer_norm(module, x, eps):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + eps) * get(module.scale) + (
    get(module.bias)
  )


def rms_norm(module, x, eps):
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * get(module.scale)


def dense(x, w, bias=None):
  y = x @ get(w)
  return y if bias is None else y + get(bias)


def heads(x, w, bias=None):
  """[t, d] projected to heads, [n, t, h]."""
  w = get(w)
  y = np.stack([x @ w[:, n] for n in range(w.shape[1])])
  return y if bias is None else y + get(bias).reshape(w.shape[1], 1, -1)


def softmax(scores):
  e = np.exp(scores - scores.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def joined(module, y):
  """Heads [n, t, h] projected back to [t, d]."""
  w = get(module.out)
  total = sum(y[n] @ w[n] for n in range(len(w)))
  return total if module.out_bias is None else total + get(module.out_bias)


def averages(q, k, v, mask, scale, bias):
  """Attention and its weights, one query of one head at a time."""
  q, k, v, bias = (np.asarray(x, np.float64) for x in (q, k, v, bias))
  b, t, n, h = q.shape
  group = n // k.shape[2]
  y, weights = np.zeros((b, t, n, h)), np.zeros((b, n, t, k.shape[1]))
  for i, j, m in np.ndindex(b, t, n):
    seen = np.flatnonzero(mask[i, j])
    if not seen.size:
      continue
    scores = k[i, seen, m // group] @ q[i, j, m] * scale + bias[m, j, seen]
    e = np.exp(scores - scores.max())
    weights[i, m, j, seen] = e / e.sum()
    y[i, j, m] = weights[i, m, j, seen] @ v[i, seen, m // group]
  return y, weights


def attention(module, x, memory, scale, bias=0.0, seen=None, turn=lambda y: y):
  """What each row of `x` reads from `memory`, where `seen` [t, s]."""
  q = turn(heads(x, module.query, module.query_bias))
  k = turn(heads(memory, module.key, module.key_bias))
  v = heads(memory, module.value, module.value_bias)
  group = len(q) // len(k)
  k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
  scores = q @ k.transpose(0, 2, 1) * scale + bias
  if seen is not None:
    scores = np.where(seen, scores, -np.inf)
  return joined(module, softmax(scores) @ v)
