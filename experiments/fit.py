"""Fits a scaling law to points, or refuses to.

    python -m experiments.fit --data=points.csv --law=chinchilla \
        --out=fit.json [--compute=5.76e23,…] [--bootstrap=1000] [--seed=0] \
        [--at=params:7e10,tokens:1.4e12] [--plot=fit.png] [--group=column]
    python -m experiments.fit --workdir=STUDY --law=isoflop --out=fit.json

Columns by name: params, tokens, loss; optional flops (else 6·params·tokens),
budget, unique_tokens, accuracy, weight, stderr, params_non_embedding. With a
column run, two_step takes the rows for checkpoints, as the paper does. Options
of laws: --law=power --options=floor:false,x:params, --law=isoflop
--options=curve:akima,over:tokens. Status 2 and one line if a fit is not
certified. Three to five seconds of one core.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
from typing import Any

from absl import flags
import numpy as np
import pandas as pd
import scipy

from research import config, files, provenance
from research.config import BadInput
from research.scaling import fit, points, record, sensitivity, summary
from research.scaling.laws import named, two_step
from research.scaling.laws.law import Law
from research.scaling.points import Points
from research.study import store

_DATA = flags.DEFINE_string('data', None, 'CSV file of points.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a study, instead.')
_TASK = flags.DEFINE_string('task', 'yardstick', "Of the study's table.")
_METRIC = flags.DEFINE_string('metric', 'bits_per_byte', 'And metric.')
_LAW = flags.DEFINE_string('law', None, ', '.join(named.LAWS), required=True)
_OPTIONS = flags.DEFINE_list('options', [], 'Of the law: NAME:VALUE,…')
_OUT = flags.DEFINE_string('out', None, 'JSON file to write.', required=True)
_PLOT = flags.DEFINE_string('plot', None, 'Figure to write.')
_GROUP = flags.DEFINE_string(
  'group', None, 'Column; each of its values is fit.'
)
_COMPUTE = flags.DEFINE_list('compute', [], 'FLOPs whose optimum is asked for.')
_AT = flags.DEFINE_multi_string('at', [], 'Point asked for: params:N,tokens:D.')
_BOOTSTRAP = flags.DEFINE_integer('bootstrap', 1000, 'Resamples.', 0)
_STARTS = flags.DEFINE_integer('starts', 500, 'Starts of the descent.', 1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of starts and bootstrap.', 0)
_CONVENTION = flags.DEFINE_string(
  'convention', 'model', 'How FLOPs and N are counted.'
)
_ALLOW = flags.DEFINE_bool(
  'allow_uncertified', False, 'Write a fit that is not certified, marked.'
)


def main() -> None:
  """Fits, prints and writes."""
  law = _law()
  compute = [_positive('compute', text) for text in _COMPUTE.value]
  at = [_place(text) for text in _AT.value]
  groups, source = _points()
  if isinstance(law, two_step.TwoStep):
    law, groups = _ladder(law, groups)
  fits, found = {}, {}
  for name, given in groups.items():
    fits[name] = _fit(law, given, name)
    found[name] = {
      **fits[name].to_dict(compute, at),
      'convention': _CONVENTION.value,
      'conventions': record.finite(
        sensitivity.conventions(law, given, _CONVENTION.value)
      ),
    }
    found[name]['provenance'] |= source
    print(f'{name}: ' * bool(name) + summary.summary(found[name]))
  whole = found[''] if list(found) == [''] else {'groups': found}
  text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
  files.write_whole(pathlib.Path(_OUT.value), text + '\n')
  print(f'fit: {_OUT.value}')
  if _PLOT.value:
    from research.plots import fits as drawn  # Matplotlib takes a second.

    path = pathlib.Path(_PLOT.value)
    files.write_whole(
      path, drawn.image(drawn.figure(fits, compute), path.suffix)
    )
    print(f'figure: {path}')


def _fit(law: Law, given: Points, name: str) -> fit.Fit:
  """The fit of one group, refused unless it is certified or allowed."""
  where = f'law={law.name}' + f', {name}' * bool(name)
  found = fit.fit(
    law,
    given.counted(_CONVENTION.value),
    resamples=_BOOTSTRAP.value,
    seed=_SEED.value,
    starts=_STARTS.value,
  )
  faults = found.certificate.faults
  if faults and not _ALLOW.value:
    first, *rest = faults
    more = f' (and {len(rest)} more)' if rest else ''
    raise BadInput(
      f'{where} is not certified: {first}{more}; --allow_uncertified '
      'writes it all the same'
    )
  return found


def _ladder(
  law: two_step.TwoStep, groups: dict[str, Points]
) -> tuple[Law, dict[str, Points]]:
  """With a column `run` rows are checkpoints, treated as the paper does."""
  table = pd.read_csv(_DATA.value) if _DATA.value else pd.DataFrame()
  if 'run' not in table or _GROUP.value:
    return law, groups
  finals, checkpoints = two_step.recipe(table)
  given = points.from_frame(finals, f'data={_DATA.value}')
  return dataclasses.replace(law, checkpoints=checkpoints), {'': given}


def _law() -> Law:
  return config.replace(
    named.law(_LAW.value), _pairs('options', _OPTIONS.value)
  )


def _points() -> tuple[dict[str, Points], dict[str, Any]]:
  """Points by group, and where they and this program come from."""
  data, workdir = _DATA.value, _WORKDIR.value
  if data and not workdir:
    path = pathlib.Path(data)
    groups = points.read_csv(path, _GROUP.value)
  elif workdir and not data:
    path = pathlib.Path(workdir) / store.RESULTS
    table = store.frame(workdir)
    groups = points.from_study(table, _TASK.value, _METRIC.value)
  else:
    raise BadInput('give either --data=CSV or --workdir=STUDY')
  return groups, {
    'source': str(path),
    'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
    **provenance.revision(pathlib.Path(__file__)),
    'numpy': np.__version__,
    'scipy': scipy.__version__,
  }


def _place(text: str) -> dict[str, float]:
  """The point that one `--at` asks for."""
  place = {
    name: _positive(f'at={name}', value)
    for name, value in _pairs('at', text.split(',')).items()
  }
  for name in ('params', 'tokens'):
    if name not in place:
      raise BadInput(f'at={text} lacks {name}: write --at=params:N,tokens:D')
  for name in place:
    if name not in points.REQUIRED + points.OPTIONAL:
      raise BadInput(f'at={text}: points have no {name!r}')
  return place


def _pairs(flag: str, parts: list[str]) -> dict[str, str]:
  """Values by name, of parts NAME:VALUE."""
  pairs = [part.partition(':') for part in parts]
  for name, colon, _ in pairs:
    if not colon:
      raise BadInput(f'{flag}={name} must be NAME:VALUE')
  return {name.strip(): value.strip() for name, _, value in pairs}


def _positive(flag: str, text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 < value < math.inf:
    raise BadInput(f'{flag}={text} must be a positive number')
  return value


if __name__ == '__main__':
  config.command(main)
