"""Sampling: which token follows, given the logits.

The rules apply in the order of the fields of `Sampling`. Penalties are those
of the tools people know: repetition as in CTRL, presence and frequency as in
the OpenAI interface, which count what was written and not the prompt.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from research.config import BadInput

_INT32 = 2**31 - 1
_LARGEST = 1e30
"""Of numbers by which logits are multiplied or divided, or that are added.

Float32 ends at 3.4e38, which leaves room for logits and counts.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How the next token is chosen; the defaults draw from the model itself.

  Attributes:
    repetition_penalty: Divides positive and multiplies negative logits of
      tokens of the prompt or written so far (Keskar et al. 2019, section 4.1);
      what an encoder reads does not count, as in transformers.
    presence_penalty: Subtracted from the logits of tokens written so far.
    frequency_penalty: Subtracted as often as the token was written.
    temperature: Divides the logits; 0: the most probable token, always.
    top_k: Only the k most probable tokens; None, or more than there are: all.
    top_p: Of these only the fewest, most probable first, that have this much
      of their probability (Holtzman et al. 2020, eqs. 2 and 3); None: all.
    min_p: Only tokens at least this many times as probable as the most
      probable (Nguyen et al. 2024); None: all.
  """

  repetition_penalty: float = 1.0
  presence_penalty: float = 0.0
  frequency_penalty: float = 0.0
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  min_p: float | None = None

  def __post_init__(self):
    for name in ('presence_penalty', 'frequency_penalty'):
      if not abs(getattr(self, name)) <= _LARGEST:
        raise BadInput(
          f'{name}={getattr(self, name)}: choose a number within'
          f' ±{_LARGEST:g}; 0 changes nothing'
        )
    if not 1 / _LARGEST <= self.repetition_penalty <= _LARGEST:
      raise BadInput(
        f'repetition_penalty={self.repetition_penalty}: choose a positive'
        f' number from {1 / _LARGEST:g} to {_LARGEST:g}; 1 changes nothing'
      )
    if self.temperature and not 1 / _LARGEST <= self.temperature <= _LARGEST:
      raise BadInput(
        f'temperature={self.temperature}: choose 0 (the most probable token) or'
        f' a number from {1 / _LARGEST:g} to {_LARGEST:g}'
      )
    if self.top_k is not None and self.top_k < 1:
      raise BadInput(f'top_k={self.top_k}: choose at least 1, or none')
    for name in ('top_p', 'min_p'):
      value = getattr(self, name)
      if value is not None and not 0 < value <= 1:
        raise BadInput(f'{name}={value}: choose a share in (0, 1], or none')
    for name in ('top_k', 'top_p', 'min_p'):
      value = getattr(self, name)
      if self.temperature == 0 and value is not None:
        raise BadInput(
          f'{name}={value} contradicts temperature=0, which always takes the'
          ' most probable token: leave one of them out'
        )

  @property
  def rules(self) -> 'Rules':
    """The numbers of the rules that change anything."""

    def number(value, idle):
      return None if value in (None, idle) else jnp.float32(value)

    return Rules(
      number(self.repetition_penalty, 1.0),
      number(self.presence_penalty, 0.0),
      number(self.frequency_penalty, 0.0),
      number(self.temperature, 0.0),
      None if self.top_k is None else jnp.int32(min(self.top_k, _INT32)),
      number(self.top_p, 1.0),
      number(self.min_p, None),
    )


class Rules(NamedTuple):
  """The fields of a `Sampling` as arrays; None where a rule is idle.

  Arrays, so that a program compiled for some rules serves all their values.
  Temperature None is greedy.
  """

  repetition_penalty: Float[Array, ''] | None
  presence_penalty: Float[Array, ''] | None
  frequency_penalty: Float[Array, ''] | None
  temperature: Float[Array, ''] | None
  top_k: Int[Array, ''] | None
  top_p: Float[Array, ''] | None
  min_p: Float[Array, ''] | None

  @property
  def penal(self) -> bool:
    """Whether what was read or written matters."""
    return any(x is not None for x in self[:3])


def penalise(
  logits: Float[Array, 'b v'],
  rules: Rules,
  prompt: Bool[Array, 'b v'],
  counts: Int[Array, 'b v'],
) -> Float[Array, 'b v']:
  """Logits after the penalties.

  Args:
    logits: Of the model.
    rules: Whose penalties apply.
    prompt: Whether a token is in the prompt.
    counts: How often it was written since.
  """
  penalty = rules.repetition_penalty
  if penalty is not None:
    less = jnp.where(logits > 0, logits / penalty, logits * penalty)
    logits = jnp.where(prompt | (counts > 0), less, logits)
  if rules.presence_penalty is not None:
    logits = logits - rules.presence_penalty * (counts > 0)
  if rules.frequency_penalty is not None:
    logits = logits - rules.frequency_penalty * counts
  return logits


def restrict(logits: Float[Array, 'b v'], rules: Rules) -> Float[Array, 'b v']:
  """Logits, those that top-k, top-p or min-p leave out being -inf.

  Of equally probable tokens the lower id counts as more probable.
  """
  kept = jnp.ones(logits.shape, bool)
  if rules.top_k is not None or rules.top_p is not None:
    order = jnp.argsort(logits, axis=-1, descending=True, stable=True)
    sorted_logits = jnp.take_along_axis(logits, order, axis=-1)
    first = jnp.ones(logits.shape, bool)
    if rules.top_k is not None:
      first = first & (jnp.arange(logits.shape[-1]) < rules.top_k)
    if rules.top_p is not None:
      p = jax.nn.softmax(jnp.where(first, sorted_logits, -jnp.inf), axis=-1)
      before = jnp.cumsum(p, axis=-1)[:, :-1]
      first = first.at[:, 1:].set(first[:, 1:] & (before < rules.top_p))
    kept = jnp.put_along_axis(kept, order, first, axis=-1, inplace=False)
  if rules.min_p is not None:
    least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(rules.min_p)
    kept = kept & (logits >= least)
  return jnp.where(kept, logits, -jnp.inf)


def draw(
  logits: Float[Array, 'b v'], rules: Rules, keys: Key[Array, ' b']
) -> Int[Array, ' b']:
  """A token for each row: by its key, or the first of the most probable."""
  if rules.temperature is None:
    return likeliest(logits)
  left = restrict(logits / rules.temperature, rules)
  return jax.vmap(jax.random.categorical)(keys, left).astype(jnp.int32)


def likeliest(logits: Float[Array, 'b v']) -> Int[Array, ' b']:
  """The first of the most probable tokens of each row.

  `jnp.argmax` takes XLA's CPU backend eight times as long.
  """
  last = logits.shape[-1] - 1
  top = jnp.max(logits, axis=-1, keepdims=True)
  ids = jnp.where(logits == top, jnp.arange(last + 1), last)
  return jnp.min(ids, axis=-1).astype(jnp.int32)
