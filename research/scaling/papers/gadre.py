"""Gadre et al. 2024: small runs predict large ones that are over-trained.

Language models scale reliably with over-training and on downstream tasks
(arXiv 2403.08540). Five RedPajama runs, together 2.4e19 FLOPs, predict the C4
loss of a 1.4B model trained on 640 tokens a parameter and of a 6.9B model; six
predict their mean error on 17 tasks.
"""

import json
import pathlib

import numpy as np
import pandas as pd

from research.scaling import points
from research.scaling.laws import overtrained
from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
  read,
)

TABLE = 'gadre_overtraining.csv'
"""All runs in one table, as prepared for this project."""

FITTED = (
  'rpj-d=96_l=8_h=4-1.0',
  'rpj-d=512_l=8_h=4-1.0',
  'rpj-d=576_l=24_h=8-1.0',
  'rpj-d=1024_l=24_h=8-1.0',
  'rpj-d=96_l=8_h=4-16.0',
)
"""The five runs of the loss; a suffix of 1.0 is 20 tokens a parameter."""

BRIDGE = 'rpj-open_lm_1b-1.0'
"""The sixth run, of the error alone."""

PREDICTED = {
  'rpj-open_lm_1b-32.0': ('1.4B, 640 tokens a parameter', 0.7103, 3.6365),
  'rpj-open_lm_7b-1.0': ('6.9B, 20 tokens a parameter', 0.7320, 0.0464),
}
"""Relative errors in percent, of the loss and of the mean error."""

COMMIT = '79adc26378fb1286fd9a31d0e40e86663d48dcf1'
REPOSITORY = 'https://github.com/mlfoundations/scaling'
_RUNS = (*FITTED, BRIDGE, *PREDICTED)
FILES = {
  path: COMMIT
  for run in _RUNS
  for path in (
    f'exp_data/models/{run}.json',
    f'exp_data/evals/evaluation_{run}_heavy.json',
  )
}
"""The authors' own files and their commit, for where there is no table."""

TASKS = (
  'arc_easy',
  'bigbench_cs_algorithms',
  'bigbench_dyck_languages',
  'bigbench_novel_concepts',
  'bigbench_operators',
  'bigbench_qa_wikidata',
  'boolq',
  'commonsense_qa',
  'copa',
  'coqa',
  'hellaswag',
  'hellaswag_zeroshot',
  'lambada_openai',
  'piqa',
  'pubmed_qa_labeled',
  'squad',
  'winograd',
)
"""The 17 tasks of the mean error."""


def reproduce(folder: pathlib.Path) -> Reproduction:
  """The four relative errors.

  Raises:
    BadInput: The folder holds neither the table nor the authors' files.
  """
  runs = _runs(folder).set_index('name').astype(float)  # 6ND overflows int64.
  five, six = runs.loc[[*FITTED]], runs.loc[[*FITTED, BRIDGE]]
  law = overtrained.Overtrained(delta=None, space='linear')
  seen = points.make(five['params'], five['tokens'], five['loss'])
  theta = law.solve(seen, 500, 0).theta[None]
  worst, k, gamma = overtrained.downstream(six['loss'], six['error'])
  targets = []
  for run, (name, of_loss, of_error) in PREDICTED.items():
    row = runs.loc[run]
    loss = law.loss(theta, points.at(row['params'], row['tokens']))[0, 0]
    error = worst - k * np.exp(-gamma * loss)
    targets += [
      Target(
        f'loss, {name}: % off', _percent(loss, row['loss']), of_loss, 1e-4
      ),
      Target(
        f'error, {name}: % off', _percent(error, row['error']), of_error, 1e-4
      ),
    ]
  return Reproduction(
    source='Gadre et al. 2024: C4 loss and 17-task error from RedPajama runs',
    targets=tuple(targets),
    panels=_panels(runs, law, theta, (worst, k, gamma)),
    notes=(
      law.text({n: float(v[0]) for n, v in law.parameters(theta).items()}),
    ),
  )


def _percent(predicted: float, actual: float) -> float:
  return float(100 * abs(predicted - actual) / actual)


def _runs(folder: pathlib.Path) -> pd.DataFrame:
  """`name`, `params`, `tokens`, `loss` and `error` of the eight runs."""
  if (folder / next(iter(FILES))).exists():
    return pd.DataFrame([_authors_run(folder, run) for run in _RUNS])
  columns = ['name', 'params', 'tokens', 'loss_c4_val', 'err_avg17']
  table = read(folder, TABLE, *columns).loc[:, columns]
  table = table.rename(columns={'loss_c4_val': 'loss', 'err_avg17': 'error'})
  return table.loc[table['name'].isin(_RUNS)]


def _authors_run(folder: pathlib.Path, run: str) -> dict[str, object]:
  model = json.loads((folder / f'exp_data/models/{run}.json').read_text())
  evals = folder / f'exp_data/evals/evaluation_{run}_heavy.json'
  scores = json.loads(evals.read_text())['eval_metrics']['icl']
  (loss,) = (
    result['loss']
    for result in model['results']
    if result['val_data'][0].split('/')[-2] == 'c4_val'
  )
  return {
    'name': run,
    'params': model['hyperparameters']['params'],
    'tokens': model['hyperparameters']['tokens'],
    'loss': loss,
    'error': 1 - sum(scores[task] for task in TASKS) / len(TASKS),
  }


def _panels(runs, law, theta, downstream) -> tuple[Panel, ...]:
  compute = 6 * runs['params'] * runs['tokens']
  ratio = (runs['tokens'] / runs['params']).round()
  worst, k, gamma = downstream
  of_loss = []
  for group, multiple in enumerate(sorted(ratio.unique())):
    mine = ratio == multiple
    c = np.geomspace(compute.min() / 2, compute.max() * 2, 60)
    n = np.sqrt(c / (6 * multiple))
    line = law.loss(theta, points.at(n, n * multiple))[0]
    label = f'{multiple:.0f} tokens a parameter'
    of_loss += [
      Series('', *_columns(compute[mine], runs['loss'][mine]), 'points', group),
      Series(label, c, line, 'line', group),
    ]
  grid = np.linspace(runs['loss'].min(), runs['loss'].max(), 60)
  of_error = (
    Series('', *_columns(runs['loss'], runs['error']), 'points'),
    Series('', grid, worst - k * np.exp(-gamma * grid), 'line'),
  )
  return (
    Panel('loss on C4', 'FLOPs (6ND)', 'nats a token', tuple(of_loss), 'x'),
    Panel('error', 'loss on C4', 'mean over 17 tasks', of_error, ''),
  )


def _columns(x: pd.Series, y: pd.Series) -> tuple[np.ndarray, np.ndarray]:
  return x.to_numpy(float), y.to_numpy(float)
