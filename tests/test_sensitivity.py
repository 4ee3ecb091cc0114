"""How exponents move with what is counted, held to a closed form."""

import pytest
import surfaces

from research.scaling import sensitivity
from research.scaling.laws.chinchilla import Chinchilla


def test_the_exponent_moves_as_the_closed_form_says():
  """A surface in N is one in M = N^1.2, too, with α/1.2 for α."""
  given = surfaces.grid('hoffmann')
  both = surfaces.points.make(
    given.params,
    given.tokens,
    given.loss,
    params_non_embedding=given.params**1.2,
  )
  alpha, beta = 0.34, 0.28
  found = sensitivity.conventions(Chinchilla(), both, '6nd')
  a = beta / (alpha + beta)
  other = beta / (alpha / 1.2 + beta)
  assert found['6nd']['a'] == pytest.approx(a, rel=1e-5)
  moved = found['6nd_non_embedding']
  assert moved['a'] == pytest.approx(other, rel=1e-5)
  assert moved['moved'] == pytest.approx(other - a, rel=1e-4)


def test_what_the_points_do_not_tell_is_left_out():
  given = surfaces.grid('hoffmann')
  found = sensitivity.conventions(Chinchilla(), given, '6nd')
  assert set(found) == {'model', '6nd'}
  assert found['model']['moved'] == pytest.approx(0, abs=1e-6)
