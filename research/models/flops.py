"""Counts the FLOPs of the matrix products in a traced program.

The check on the counts that a config makes from its sizes. Elementwise work,
convolutions and look-ups count nothing, and no product hidden in a custom call
is seen: count the plain path, on one device.
"""

from collections.abc import Callable, Iterator
import math

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def count(function: Callable, *args, **kwargs) -> int:
  """FLOPs of every `dot_general` that `function(*args, **kwargs)` traces to.

  A product of [m, k] and [k, n] is 2·m·k·n; the body of a scan counts once for
  each turn. Arguments may be `jax.ShapeDtypeStruct`s: nothing is computed.

  Raises:
    ValueError: A product depends on values: it stands in a while loop, or in
      only one branch of a condition.
  """
  return _count(jax.make_jaxpr(function)(*args, **kwargs).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
  return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation) -> int:
  name, params = equation.primitive.name, equation.params
  if name == 'dot_general':
    (contracted, _), _ = params['dimension_numbers']
    shape = equation.invars[0].aval.shape
    summed = math.prod(shape[i] for i in contracted)
    return 2 * summed * math.prod(equation.outvars[0].aval.shape)
  inner = [_count(jaxpr) for jaxpr in _jaxprs(params)]
  if name == 'scan':
    return params['length'] * sum(inner)
  if name == 'while' and any(inner):
    raise ValueError('a matrix product in a while loop: turns are not known')
  if name == 'cond':
    if len(set(inner)) > 1:
      raise ValueError(f'branches of a condition differ in FLOPs: {inner}')
    return inner[0]
  return sum(inner)


def _jaxprs(params) -> Iterator[Jaxpr]:
  """The programs among an equation's parameters."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, Jaxpr):
        yield item
