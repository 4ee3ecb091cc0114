"""What a field of a config may hold: as a value, as text, as JSON.

A field's type is None, bool, int, float, str, a Literal, a config (a frozen
dataclass), a union of these, or a tuple of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import decimal
import difflib
import functools
import math
import numbers
import types
import typing
from typing import Any

_WORDS = {
  bool: 'true or false',
  int: 'a whole number',
  float: 'a finite number',
  str: 'text',
  types.NoneType: 'none',
}


class BadInput(ValueError):
  """Input that its giver can mend; says field, value and remedy in a line."""


class _Refused(Exception):
  """A value is not of a type; another alternative may still take it."""


@functools.cache
def fields(cls: type) -> dict[str, Any]:
  """Each field of a config that can be set, with its type."""
  hints = typing.get_type_hints(cls)
  return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def default(cls: type, name: str) -> Any:
  """The default of a field, or `dataclasses.MISSING`."""
  field = next(f for f in dataclasses.fields(cls) if f.name == name)
  if field.default_factory is not dataclasses.MISSING:
    return field.default_factory()
  return field.default


def build(cls: type, values: Mapping[str, Any], path: str) -> Any:
  """The config at `path` that has these values.

  Raises:
    BadInput: A field has no value, or the config's own check refused them.
  """
  where = f'{path}: ' if path else ''
  for name in fields(cls):
    if name not in values and default(cls, name) is dataclasses.MISSING:
      raise BadInput(f'{where}{cls.__name__} needs a value for {name!r}')
  try:
    return cls(**values)
  except BadInput as e:
    raise BadInput(f'{where}{e}') from None


def items(kind: Any, n: int) -> Sequence[Any]:
  """The type of each item of an `n`-tuple, which is of type `kind`."""
  for member in _members(kind):
    if typing.get_origin(member) is tuple:
      try:
        return _items(member, n)
      except _Refused:
        continue
  raise TypeError(f'{kind} takes no tuple of {n}')


def check(value: Any, kind: Any, path: str) -> Any:
  """`value`, if it is of type `kind`; lists are tuples, dicts are configs.

  Raises:
    BadInput: It is not.
  """
  return _first(_checked, value, _members(kind), kind, path)


def parse(text: str, kind: Any, current: Any, path: str) -> Any:
  """`text` as a value of type `kind`.

  The name of a class gives `current` where that is of this class, and
  otherwise the class itself, for its fields may still be set.

  Raises:
    BadInput: The text is no such value.
  """
  members = sorted(
    _members(kind), key=lambda k: (k is str, typing.get_origin(k) is tuple)
  )
  read = functools.partial(_parsed, current)
  return _first(read, text, members, kind, path)


def describe(kind: Any, value: Any = None) -> str:
  """What a field of type `kind` takes, and which of it is nearest `value`."""
  names, others = [], []
  for member in _members(kind):
    if dataclasses.is_dataclass(member):
      names.append(getattr(member, '__name__', str(member)))
    elif typing.get_origin(member) is typing.Literal:
      names += map(_word, typing.get_args(member))
    elif typing.get_origin(member) is tuple:
      item, *_ = typing.get_args(member) or (str,)
      others.append(f'a comma-separated list of {describe(item)}')
    else:
      others.append(_WORDS.get(member, str(member)))
  choices = (
    [f'{"one of " * (len(names) > 1)}{", ".join(names)}'] if names else []
  )
  text = ' or '.join(choices + others)
  if names and isinstance(value, str):
    close = difflib.get_close_matches(value, names, n=1)
    text += f'; did you mean {close[0]!r}?' if close else ''
  return text


def nearest(name: str, names: Iterable[str], otherwise: str = '') -> str:
  """A hint at what was meant by `name`, which is none of `names`."""
  names = [n for n in names if not n.startswith('_')]
  close = difflib.get_close_matches(name, names, n=1)
  if close:
    return f'did you mean {close[0]!r}?'
  return otherwise or f'there are: {", ".join(names) or "none"}'


def _members(kind: Any) -> tuple:
  """The alternatives of a union, or the one type."""
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


def _items(kind: Any, n: int) -> Sequence[Any]:
  args = typing.get_args(kind)
  if args[1:] == (...,):
    return args[:1] * n
  if len(args) != n:
    raise _Refused
  return args


def _first(
  read: Callable[..., Any], value: Any, members, kind: Any, path: str
) -> Any:
  """What the first of `members` that takes `value` makes of it."""
  for member in members:
    try:
      return read(value, member, path)
    except _Refused:
      continue
  shown = repr(value)
  shown = shown if len(shown) <= 80 else shown[:77] + '…'
  raise BadInput(f'{path or "config"}={shown}: must be {describe(kind, value)}')


def _checked(value: Any, kind: Any, path: str) -> Any:
  if dataclasses.is_dataclass(kind):
    return _checked_config(value, kind, path)
  if typing.get_origin(kind) is typing.Literal:
    allowed = [(type(a), a) for a in typing.get_args(kind)]
    return _if((type(value), value) in allowed, value)
  if typing.get_origin(kind) is tuple:
    kinds = _items(kind, len(_if(isinstance(value, tuple | list), value)))
    pairs = enumerate(zip(value, kinds, strict=True))
    return tuple(check(v, k, f'{path}.{i}') for i, (v, k) in pairs)
  if kind is int:
    return int(_if(_is_number(value, numbers.Integral), value))
  if kind is float:
    value = float(_if(_is_number(value, numbers.Real), value))
    return _if(math.isfinite(value), value)
  if kind in _WORDS:
    return _if(isinstance(value, kind), value)
  raise TypeError(f'{path}: a config cannot hold a {kind}')


def _checked_config(value: Any, kind: Any, path: str) -> Any:
  if not isinstance(value, dict):
    return _if(isinstance(value, kind), value)
  _if(value.get('type') == kind.__name__, value)
  kinds, values = fields(kind), {}
  for name, inner in value.items():
    where = f'{path}.{name}'.removeprefix('.')
    if name in kinds:
      values[name] = check(inner, kinds[name], where)
    elif name != 'type':
      hint = nearest(name, kinds)
      raise BadInput(f'{where}: {kind.__name__} has no field {name!r}; {hint}')
  return build(kind, values, path)


def _parsed(current: Any, text: str, kind: Any, path: str) -> Any:
  if dataclasses.is_dataclass(kind):
    _if(text == getattr(kind, '__name__', None), text)
    return current if type(current) is kind else kind
  if typing.get_origin(kind) is typing.Literal:
    named = {_word(value): value for value in typing.get_args(kind)}
    return named[_if(text in named, text)]
  if typing.get_origin(kind) is tuple:
    return _parsed_tuple(current, text, kind, path)
  if kind in (bool, types.NoneType):
    words = {'true': True, 'false': False} if kind is bool else {'none': None}
    return words[_if(text.lower() in words, text.lower())]
  if kind in (int, float):
    return _checked(_number(text, kind), kind, path)
  return _checked(text, kind, path)


def _parsed_tuple(current: Any, text: str, kind: Any, path: str) -> tuple:
  parts = text.removesuffix(',').split(',') if text else []
  present = dict(enumerate(current)) if isinstance(current, tuple) else {}
  return tuple(
    parse(part.strip(), item, present.get(i), f'{path}.{i}')
    for i, (part, item) in enumerate(
      zip(parts, _items(kind, len(parts)), strict=True)
    )
  )


def _number(text: str, kind: type) -> int | float:
  """`text` as a number; '1e6' and '1_000_000' are whole."""
  try:
    exact = decimal.Decimal(text)
    if kind is float:
      return float(text)
  except (decimal.InvalidOperation, ValueError):
    raise _Refused from None
  small = exact.is_finite() and exact.adjusted() < 30
  return int(_if(small and exact == int(exact), exact))


def _is_number(value: Any, kind: type) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)


def _word(value: Any) -> str:
  """How a value is written on the command line."""
  plain = value is None or isinstance(value, bool)
  return str(value).lower() if plain else str(value)


def _if(accepted: bool, value: Any) -> Any:
  if not accepted:
    raise _Refused
  return value
