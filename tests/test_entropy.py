"""Real training checks the fit: a law's floor is the language's entropy."""

from etils import epath
import numpy as np
import pytest

from configs import entropy
from research.scaling import fit, points
from research.scaling.laws.chinchilla import Chinchilla
from research.study import runner, store


@pytest.mark.slow
def test_the_floor_of_the_law_holds_the_entropy_rate(tmp_path, monkeypatch):
  monkeypatch.setenv('SCALING_CACHE', str(tmp_path / 'cache'))
  workdir = epath.Path(tmp_path / 'study')
  runner.run(entropy.study(), workdir, lambda event: None)
  seen = points.from_study(store.frame(workdir))['decoder']
  rate = entropy.SOURCE.entropy_rate / np.log(2)
  assert len(seen) == 15 and seen.loss.min() > rate
  found = fit.fit(Chinchilla(), seen, held_out=False).to_dict()
  assert found['certified']
  low, high = found['interval95']['E']
  assert low < rate < high
  # The interval says something: it excludes what one character less of context
  # would leave, and what has been reached.
  more = entropy.SOURCE.conditional_entropy(1) / np.log(2)
  assert high < min(more, seen.loss.min())
