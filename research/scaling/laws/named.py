"""Named: the laws that a command line can ask for."""

from research import fields
from research.config import BadInput
from research.scaling.laws.broken import Broken
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.data_constrained import DataConstrained
from research.scaling.laws.envelope import Envelope
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.laws.kaplan import Kaplan
from research.scaling.laws.law import Law
from research.scaling.laws.overtrained import Overtrained
from research.scaling.laws.power import Power
from research.scaling.laws.two_step import TwoStep

LAWS: dict[str, Law] = {
  law.name: law
  for law in (
    Power(),
    Kaplan(),
    Chinchilla(),
    IsoFlop(),
    Envelope(),
    DataConstrained(),
    Overtrained(delta=None, space='linear'),
    TwoStep(),
    Broken(),
  )
}


def law(name: str) -> Law:
  """The law of this name, as its paper fits it.

  Raises:
    BadInput: There is none.
  """
  if name not in LAWS:
    hint = fields.nearest(name, LAWS)
    raise BadInput(f'law={name!r} is none of {", ".join(LAWS)}; {hint}')
  return LAWS[name]
