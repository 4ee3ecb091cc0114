"""Asked: what a command line asks of a fit, from text."""

from collections.abc import Sequence
import math

from research.config import BadInput
from research.scaling import points


def place(text: str) -> dict[str, float]:
  """The point of `params:N,tokens:D` and what other columns it names.

  Raises:
    BadInput: It lacks N or D, names what points have not, or is no number.
  """
  asked = {
    name: positive(f'at={name}', value)
    for name, value in pairs('at', text.split(',')).items()
  }
  for name in ('params', 'tokens'):
    if name not in asked:
      raise BadInput(f'at={text} lacks {name}: write --at=params:N,tokens:D')
  for name in asked:
    if name not in points.REQUIRED + points.OPTIONAL:
      raise BadInput(f'at={text}: points have no {name!r}')
  return asked


def pairs(flag: str, parts: Sequence[str]) -> dict[str, str]:
  """Values by name, of parts NAME:VALUE.

  Raises:
    BadInput: A part has no colon.
  """
  found = [part.partition(':') for part in parts]
  for name, colon, _ in found:
    if not colon:
      raise BadInput(f'{flag}={name} must be NAME:VALUE')
  return {name.strip(): value.strip() for name, _, value in found}


def positive(flag: str, text: str) -> float:
  """The number.

  Raises:
    BadInput: It is none, not finite or not above zero.
  """
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 < value < math.inf:
    raise BadInput(f'{flag}={text} must be a positive number')
  return value
