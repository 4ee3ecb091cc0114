"""A law that leaves more than noise is warned of, and no other is."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
import surfaces

from research.scaling import fit, misfit, points
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.envelope import Envelope
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.laws.kaplan import Kaplan
from research.scaling.laws.power import Power

NOISE = 0.005
SIZES = np.geomspace(1e7, 1e10, 12)


def curve(bend, seed, repeats=1, **columns):
  """A power law of N whose exponent grows by `bend` at 3e8, repeated."""
  n = np.tile(SIZES, repeats)
  noise = NOISE * np.random.default_rng(seed).standard_normal(n.size)
  loss = 20 * n**-0.1 * (1 + n / 3e8) ** -bend
  return points.make(n, 1e10, loss * np.exp(noise), **columns)


def warnings(law, given):
  found = fit.fit(law, given, resamples=0, starts=30, held_out=False)
  return [w for w in found.certificate.warnings if 'lack of fit' in w]


def with_errors(given):
  return dataclasses.replace(given, stderr=NOISE * given.loss)


def test_a_break_fitted_by_a_plain_power_law_is_warned_of():
  law = Power(x='params', floor=False)
  (said,) = warnings(law, with_errors(curve(0.1, 0)))
  assert "points' errors" in said
  (said,) = warnings(law, curve(0.1, 0, repeats=3))
  assert 'repetitions' in said


def test_a_warning_is_no_refusal():
  law = Power(x='params', floor=False, delta=None)
  found = fit.fit(law, with_errors(curve(0.1, 0)), resamples=0)
  assert found.certificate.certified


def test_without_errors_and_repeats_nothing_can_be_said():
  assert not warnings(Power(x='params', floor=False), curve(0.1, 0))


@pytest.mark.parametrize('repeats', [1, 3])
def test_a_true_law_is_warned_of_once_in_a_hundred(repeats):
  """Four of fifty would come by chance in one of 600 such tests."""
  law, count = Power(x='params', floor=False, delta=None), 0
  for seed in range(50):
    given = curve(0, seed, repeats)
    count += len(warnings(law, with_errors(given) if repeats == 1 else given))
  assert count <= 3


def test_the_statistic_is_that_of_the_textbook():
  """By polyfit: χ² about a straight line, and the F of its lack of fit."""
  law = Power(x='params', floor=False, delta=None)
  given = curve(0.02, 1, repeats=3)
  x, y = np.log(given.params), np.log(given.loss)
  residual = y - np.polyval(np.polyfit(x, y, 1), x)
  means = y.reshape(3, 12).mean(axis=0)
  within = ((y.reshape(3, 12) - means) ** 2).sum()
  lack = (residual**2).sum() - within
  p = stats.f.sf(lack / 10 / (within / 24), 10, 24)
  (said,) = warnings(law, given)
  assert f'p = {p:.1g}' in said
  (said,) = warnings(law, with_errors(given))
  p = stats.chi2.sf((residual**2).sum() / NOISE**2, 34)
  assert f'p = {p:.1g}' in said


def test_kaplans_law_on_chinchillas_surface_is_warned_of():
  given = surfaces.grid('hoffmann', noise=NOISE)
  assert warnings(Kaplan(), with_errors(given))
  assert not warnings(Chinchilla(), with_errors(given))


def test_parabolas_too_wide_for_their_form_are_warned_of():
  """At a tenth of a per cent of noise a factor of 30 either way is too wide."""
  for width, expected in ((30.0, 1), (2.0, 0)):
    given = surfaces.isoflop('hoffmann', width=width, noise=0.001)
    known = dataclasses.replace(given, stderr=0.001 * given.loss)
    assert len(warnings(IsoFlop(), known)) == expected


def test_what_meets_every_point_and_what_is_not_fitted_leave_nothing():
  assert not warnings(Envelope(), with_errors(surfaces.grid('hoffmann')))
  given = with_errors(curve(0, 0))
  wild = dataclasses.replace(
    given,
    loss=given.loss * np.where(np.arange(12) == 4, 2, 1),
    weight=np.where(np.arange(12) == 4, 0.0, 1.0),
  )
  assert not warnings(Power(x='params', floor=False), wild)
  assert misfit.warning(given, given.loss, np.ones(12)) is None
