"""What is known of a metric from its name: how it judges, and on which scale.

Harsh metrics give all or nothing for a whole answer; graded ones give part
marks, token by token, or read a probability (Schaeffer et al. 2023).
"""

from collections.abc import Collection
import dataclasses
import re

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
  """A metric's nature.

  Attributes:
    name: As in the score table.
    harsh: Whether an item scores all or nothing; else it is graded.
    votes: Whether it measures ability at all (calibration error does not).
    bounded: Whether it lies between 0 and 1.
    logarithm: Whether its law is one of its logarithm.
    floor: The least value of a harsh metric that can be zero, else None.
  """

  name: str
  harsh: bool
  votes: bool
  bounded: bool
  logarithm: bool
  floor: float | None


_GRADED = re.compile(
  r'token|prob|p_correct|p\(correct\)|brier|likelihood|edit|pass_?until'
  r'|per_char|char_acc|margin|^p$'
)
_LOSS = re.compile(r'bits|nats|loss|nll|entropy|log_?p|log_?lik')
_LOGARITHM = re.compile(r'ppl|perplexity')
_ASIDE = re.compile(r'calibration|\bece\b|seconds')
_EXACT = re.compile(r'exact|\bem\b|_em\b|pass@|success')


def falls(name: str) -> bool:
  """Whether what is called `name` is a loss, so that less of it is better."""
  low = name.lower()
  return bool(_LOSS.search(low) or _LOGARITHM.search(low))


def of(name: str, values: np.ndarray, graded: Collection[str] = ()) -> Metric:
  """The nature of the metric called `name`.

  A name that says nothing is harsh, which can only make a verdict weaker;
  `graded` names metrics that are not.
  """
  low = name.lower()
  loss = falls(name)
  inside = bool(np.all((values >= 0) & (values <= 1)))
  harsh = not (loss or _GRADED.search(low) or name in graded)
  exact = bool(_EXACT.search(low))
  return Metric(
    name=name,
    harsh=harsh,
    votes=not _ASIDE.search(low),
    bounded=inside and not loss,
    logarithm=bool(_LOGARITHM.search(low)) and bool(np.all(values > 0)),
    floor=0.0 if harsh and (exact or bool(np.any(values == 0))) else None,
  )
