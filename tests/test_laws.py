"""Laws give back the constants that points were made with."""

import numpy as np
import pytest
import surfaces

from research.scaling import bootstrap, fit
from research.scaling.laws.chinchilla import Chinchilla


@pytest.mark.parametrize('surface', surfaces.SURFACES)
def test_huber_recovers_a_noise_free_surface(surface):
  found = fit.fit(
    Chinchilla(),
    surfaces.grid(surface),
    resamples=0,
    held_out=False,
  )
  assert found.certificate.certified
  for name, true in zip(
    surfaces.NAMES, surfaces.SURFACES[surface], strict=True
  ):
    assert found.parameters[name] == pytest.approx(true, rel=1e-4)


def test_the_optimum_is_the_cheapest_way_to_its_loss():
  found = fit.fit(
    Chinchilla(), surfaces.grid('hoffmann'), resamples=0, held_out=False
  )
  (best,) = found.optimum(5.76e23)
  sizes = best['params']['value'] * np.geomspace(0.5, 2, 20001)
  losses = surfaces.loss('hoffmann', sizes, 5.76e23 / (6 * sizes))
  assert sizes[losses.argmin()] == pytest.approx(
    best['params']['value'], rel=1e-4
  )


def test_an_interval_may_be_open_and_is_of_arrays():
  low, high = bootstrap.interval(np.array([1.0, 2.0, 3.0, np.inf]))
  assert (low, high) == (1, np.inf)
  assert isinstance(low, np.ndarray)
  low, high = bootstrap.interval(np.arange(2002.0).reshape(1001, 2))
  np.testing.assert_array_equal(high - low, [1900, 1900])
