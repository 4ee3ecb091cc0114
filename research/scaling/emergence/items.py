"""Items: what models scored on each, and how alike that makes their errors.

All models of a curve read the same items. An item that is hard for one is hard
for the next, so much of the error of their means is common to them, and says
nothing of a step between them. A bootstrap that draws items anew for all models
at once keeps that. The drawn means have a covariance that is known in closed
form; normal draws of it take the place of drawn items, since at sizes where no
item is right, or all are, drawn items would have no error at all.
"""

import numpy as np
import pandas as pd

COLUMN = 'by_item'
"""Of a score table: each row's marks, an array over items, or None."""

_MORE = 4
"""Items added, on which sizes share nothing."""

_NOTHING = 1e-12
"""Marks that differ by less are the same."""


def together(rows: pd.DataFrame, size: np.ndarray) -> np.ndarray | None:
  """Marks of each size, averaged over its runs, [n items, sizes].

  Args:
    rows: One a run.
    size: Number of each row's size, [r].

  Returns:
    None where a row has no marks, or has them of other items.
  """
  if COLUMN not in rows:
    return None
  hashes = rows.get('prompt_hash')
  if hashes is not None and hashes.nunique(dropna=False) > 1:
    return None
  kept = [m for m in rows[COLUMN] if isinstance(m, np.ndarray)]
  if len(kept) < len(rows) or len({len(m) for m in kept}) > 1:
    return None
  marks = np.stack(kept, axis=1)
  if len(marks) < 2:
    return None
  means = [marks[:, size == i].mean(axis=1) for i in range(size.max() + 1)]
  return np.stack(means, axis=1)


def errors(
  marks: np.ndarray, stated: np.ndarray, share: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Standard errors of the mean marks, [k], and their correlation, [k, k].

  Shares have the error of Agresti and Coull (1998), which adds two items that
  are right and two that are wrong. The correlation is that of the marks and of
  as many items more, on which sizes have nothing in common: so the difference
  of two sizes that always agree still has an error.

  Args:
    marks: Of n items at k sizes, [n, k]; runs of a size may be averaged.
    stated: Errors for sizes whose marks do not differ, [k].
    share: Whether marks are 0 or 1.
  """
  n = len(marks)
  centred = marks - marks.mean(axis=0)
  covariance = centred.T @ centred / (n * (n - 1))
  own = np.sqrt(covariance.diagonal())
  differ = own > _NOTHING
  if share:
    mean = (marks.sum(axis=0) + _MORE / 2) / (n + _MORE)
    square = ((marks**2).sum(axis=0) + _MORE / 2) / (n + _MORE)
    error = np.sqrt((square - mean**2) / (n + _MORE))
  else:
    error = np.where(differ, own, stated)
  own = np.where(differ, own, np.inf)
  alike = covariance / np.outer(own, own) * n / (n + _MORE)
  np.fill_diagonal(alike, 1.0)
  return error, alike
