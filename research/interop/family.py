"""A family of published models: a choice of parts and a table of names."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import dataclasses
import numbers
import types
from typing import Any

from research.config import BadInput
from research.interop.table import Tensor
from research.models import parts
from research.models.config import ModelConfig, Rotary

_ACTIVATIONS: dict[str, parts.Activation] = {
  'gelu': 'gelu',
  'gelu_python': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_fast': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'relu': 'relu',
  'relu2': 'relu2',
  'silu': 'silu',
  'swish': 'silu',
}
_BACK = {
  'gelu': 'gelu',
  'gelu_tanh': 'gelu_new',
  'relu': 'relu',
  'relu2': 'relu2',
  'silu': 'silu',
}


# What a field should be, in words, and what is taken for it.
_KINDS: dict[type, tuple[str, type | tuple[type, ...]]] = {
  bool: ('true or false', bool),
  int: ('a whole number', numbers.Integral),
  float: ('a number', numbers.Real),
  str: ('text', str),
  dict: ('an object', Mapping),
  types.NoneType: ('anything', object),
}


def _is(kind: type, value: Any) -> bool:
  return isinstance(value, _KINDS[kind][1]) and (
    kind in (bool, types.NoneType) or not isinstance(value, bool)
  )


class Settings:
  """A `config.json` of either style, whose absent fields have defaults."""

  def __init__(self, data: Mapping[str, Any]):
    self.data = data

  def __call__(
    self, *names: str, default: Any = None, kind: type | None = None
  ) -> Any:
    """The first of these fields that is there and not null.

    Raises:
      BadInput: It is not of this kind, which without one is the default's.
    """
    kind = type(default) if kind is None else kind
    for name in names:
      value = self.data.get(name)
      if value is not None:
        if not _is(kind, value):
          raise BadInput(
            f'config.json: {name}={value!r} should be {_KINDS[kind][0]}'
          )
        return value
    return default

  def only(self, name: str, *allowed: Any) -> None:
    """Refuses a field that has none of these values; absent is the first.

    Raises:
      BadInput: Saying so.
    """
    value = self.data.get(name)
    value = allowed[0] if value is None else value
    if value not in allowed:
      wished = ' or '.join(map(repr, allowed))
      raise BadInput(f'config.json: {name}={value!r}; only {wished} is read')

  def activation(self, name: str, default: str) -> parts.Activation:
    """The activation that a field names.

    Raises:
      BadInput: We have none like it.
    """
    value = self(name, default=default)
    if value not in _ACTIVATIONS:
      raise BadInput(
        f'config.json: {name}={value!r}; known are {", ".join(_ACTIVATIONS)}'
      )
    return _ACTIVATIONS[value]

  def rotary(self, fraction: float = 1.0) -> Rotary:
    """Rotary positions, told as transformers 5 or as older ones do.

    Raises:
      BadInput: Frequencies are scaled in a way that we have not, or a field is
        of another kind.
    """
    new = Settings(self('rope_parameters', default={}))
    old = Settings(self('rope_scaling', default={}))
    kind = new('rope_type', kind=str) or old('rope_type', 'type', kind=str)
    if kind not in (None, 'default', 'linear'):
      raise BadInput(
        f'config.json: rope_type={kind!r}; only default and linear are read'
      )
    base = new('rope_theta', kind=float) or self(
      'rope_theta', 'rotary_emb_base', default=10_000.0
    )
    share = new('partial_rotary_factor', kind=float) or self(
      'partial_rotary_factor', 'rotary_pct', default=fraction
    )
    factor = new('factor', kind=float) or old('factor', kind=float)
    if kind != 'linear':
      factor = 1.0
    return Rotary(
      fraction=float(share), base=float(base), stretch=float(factor or 1.0)
    )


def activation_name(activation: parts.Activation) -> str:
  """What transformers calls an activation."""
  return _BACK[activation]


def rope_parameters(
  spec: parts.Position, partial: bool = False
) -> dict[str, Any]:
  """Rotary positions as transformers 5 tells them; nothing of other kinds."""
  if not isinstance(spec, Rotary):
    return {}
  told = {'rope_type': 'default', 'rope_theta': spec.base}
  if spec.stretch != 1:
    told |= {'rope_type': 'linear', 'factor': spec.stretch}
  return told | ({'partial_rotary_factor': spec.fraction} if partial else {})


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
  """What is known of a family; no code of its own runs in the model.

  Attributes:
    model_types: What `config.json` may call it.
    read: From its `config.json`, and the names of the tensors there are, to a
      choice of parts.
    write: Back to a `config.json`, as far as it can tell the parts: exact
      where `read` gives the same parts again.
    tensors: Its table. Entries whose parameters a choice of parts lacks are
      left out.
    prefix: Of the body's tensors; a file of the body alone lacks it.
    aliases: Other names of its tensors, by the other name; where a file has
      both, the one in the table is read.
    ignored: Patterns of names that hold nothing the model needs.
  """

  model_types: tuple[str, ...]
  read: Callable[[Settings, Collection[str]], ModelConfig]
  write: Callable[[ModelConfig], dict[str, Any]]
  tensors: Callable[[ModelConfig], Iterator[Tensor]]
  prefix: str = ''
  aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
  ignored: tuple[str, ...] = ()

  def table(
    self, cfg: ModelConfig, parameters: Iterable[str]
  ) -> dict[str, Tensor]:
    """The entries that hold `parameters`, by their tensors' names."""
    wanted = {name.replace('.blocks.', '.blocks.{}.') for name in parameters}
    return {
      entry.name: entry
      for entry in self.tensors(cfg)
      if wanted.issuperset(entry.ours)
    }
