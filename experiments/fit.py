"""Fits a scaling law to points, or refuses to.

    python -m experiments.fit --data=points.csv --law=chinchilla \
        --out=fit.json [--compute=5.76e23,…] [--bootstrap=1000] [--seed=0] \
        [--at=params:7e10,tokens:1.4e12] [--plot=fit.png] [--group=column]
    python -m experiments.fit --workdir=STUDY --law=isoflop --out=fit.json \
        --allow_uncertified

Columns by name: params, tokens, loss; optional flops (else 6·params·tokens),
budget, unique_tokens, accuracy, weight, stderr, params_non_embedding. With a
column run, two_step takes the rows for checkpoints, as the paper does. Options
of laws: --law=power --options=floor:false,x:params, --law=isoflop
--options=curve:akima,over:tokens. A study is fitted by architecture. Status 2,
one line and no file if a fit, of one group even, is not certified.
Three to five seconds of one core.
"""

import hashlib
import json
import pathlib
from typing import Any

from absl import flags
import numpy as np
import scipy

from research import command, config, files, provenance
from research.config import BadInput
from research.scaling import (
  asked,
  fit,
  points,
  record,
  sensitivity,
  summary,
)
from research.scaling.laws import named
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
  law = config.replace(
    named.law(_LAW.value), asked.pairs('options', _OPTIONS.value)
  )
  compute = [asked.positive('compute', text) for text in _COMPUTE.value]
  at = [asked.place(text) for text in _AT.value]
  groups, source = _points(law)
  fits, found = {}, {}
  for name, (its, given) in groups.items():
    fits[name] = fit.fit(
      its,
      given.counted(_CONVENTION.value),
      resamples=_BOOTSTRAP.value,
      seed=_SEED.value,
      starts=_STARTS.value,
    )
    if not _ALLOW.value:
      fit.refuse(fits[name], name)
    found[name] = fits[name].to_dict(compute, at)
    found[name]['convention'] = _CONVENTION.value
    moved = sensitivity.conventions(its, given, _CONVENTION.value)
    found[name]['conventions'] = record.finite(moved)
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


def _points(law: Law) -> tuple[dict[str, tuple[Law, Points]], dict[str, Any]]:
  """Law and points by group, and where they and this program come from."""
  data, workdir = _DATA.value, _WORKDIR.value
  if data and not workdir:
    path = pathlib.Path(data)
    groups = {
      name: law.read(table, where)
      for name, (table, where) in points.tables(path, _GROUP.value).items()
    }
  elif workdir and not data and not _GROUP.value:
    path = pathlib.Path(workdir) / store.RESULTS
    found = points.from_study(store.frame(workdir), _TASK.value, _METRIC.value)
    groups = {name: (law, given) for name, given in found.items()}
  else:
    raise BadInput(
      'give either --data=CSV (and --group) or --workdir=STUDY, whose groups '
      'are its architectures'
    )
  return groups, {
    'source': str(path),
    'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
    **provenance.revision(pathlib.Path(__file__)),
    'numpy': np.__version__,
    'scipy': scipy.__version__,
  }


if __name__ == '__main__':
  command.without_config(main)
