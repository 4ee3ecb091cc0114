"""Sensitivity: how far the exponents move with the way FLOPs are counted."""

from typing import Any

from research.config import BadInput
from research.scaling import compute
from research.scaling.cost import cost
from research.scaling.laws.law import Law
from research.scaling.points import Points


def conventions(
  law: Law, points: Points, under: str, starts: int = 100, seed: int = 0
) -> dict[str, dict[str, Any]]:
  """The exponents of N* and D* refitted under every convention.

  A convention that counts what the points do not tell is left out; without
  exponents there is nothing to move.

  Args:
    law: Fitted anew for each.
    points: As they were read, before a convention was applied.
    under: The convention that the others are compared with.
    starts: Of each fit.
    seed: Of the starts.

  Returns:
    By convention: `a`, `b`, `moved` (a less that under `under`), and whether
    the fit is `certified`.
  """
  found = {}
  for name in compute.CONVENTIONS:
    try:
      counted = points.counted(name)
    except BadInput:
      continue
    solution = law.solve(counted, starts, seed)
    exponents = law.exponents(solution.theta[None], cost(counted))
    if not exponents:
      return {}
    found[name] = {n: float(v[0]) for n, v in exponents.items()}
    found[name]['certified'] = solution.certificate.certified
  here = found[under]['a']
  return {
    name: {**row, 'moved': row['a'] - here} for name, row in found.items()
  }
