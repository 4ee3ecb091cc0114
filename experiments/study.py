"""Runs a study: plans its cells, trains (or reads) and evaluates them, reports.

    python -m experiments.study --config=configs.quickstart:study \
        --workdir=runs/quick [--mode=run|plan|status|report] [--max_hours=2]

Cells that are done are not run again, one that was interrupted goes on where
it was, and one that failed is tried anew. Cost: the plan prints it first.
`--mode=plan` and `--max_hours` try some shapes on this device, for about a
minute, to say what each cell takes. A study that takes longer than
`--max_hours`, or more memory than there is, is refused before it starts.
"""

import sys

from absl import flags
from etils import epath
from tqdm import tqdm

from research import command
from research.config import BadInput
from research.study import calibration, listing, report, runner, store
from research.study.plan import StudyConfig, cells
from research.train import process

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the study.', required=True
)
_MODE = flags.DEFINE_enum(
  'mode',
  'run',
  ['run', 'plan', 'status', 'report'],
  'Run the study, or only print its plan or status, or only write its report.',
)
_MAX_HOURS = flags.DEFINE_float(
  'max_hours', None, 'Refuse a study that would take longer.', lower_bound=0
)


def main(study: StudyConfig) -> None:
  """Does what `--mode` says; exits with status 1 if a cell failed."""
  workdir = epath.Path(_WORKDIR.value)
  process.prepare()
  if _MODE.value == 'plan':
    costs = _costs(study, asked=True)
    print(listing.plan(study, costs), flush=True)
    if costs is not None:
      calibration.check_memory(study, costs)
    return
  runner.check(study, workdir)
  if _MODE.value == 'status':
    print(listing.status(cells(study), workdir))
    return
  if _MODE.value == 'run':
    costs = _costs(study)
    print(listing.plan(study, costs), flush=True)
    calibration.check_memory(study, costs)
    train(study, workdir)
  table = store.frame(workdir)
  print(listing.results(table))
  if not table.empty:
    print(f'report: {report.make(study, workdir)}')
  states = [(c.name, store.status(c.folder(workdir))) for c in cells(study)]
  for name, (state, reason) in states:
    if state in ('skipped', 'failed'):
      print(f'{state}: {name}: {reason}')
  if any(status.state == 'failed' for _, status in states):
    sys.exit(1)


def _costs(study: StudyConfig, asked: bool = False) -> calibration.Costs | None:
  """What cells take here, if that is asked, or limited by `--max_hours`.

  A study that would take longer than that is refused. Where there is no limit,
  a device on which nothing can be tried is no error: studies are planned on
  laptops.
  """
  limit = _MAX_HOURS.value
  if limit is None and not asked:
    return None
  try:
    costs = calibration.calibrate(study)
  except BadInput as error:
    if limit is not None:
      raise
    print(f'not tried here: {error}')
    return None
  if limit is not None:
    calibration.check_time(study, costs, limit)
  return costs


def train(study: StudyConfig, workdir: store.Path) -> None:
  """Runs the cells behind a progress bar that counts FLOPs.

  Where stderr is no terminal, a line on stdout tells of each cell instead.
  """
  planned = cells(study)
  shares = [
    float(store.status(cell.folder(workdir)).state == 'done')
    for cell in planned
  ]
  weights = [cell.flops + 1e9 for cell in planned]
  bar = tqdm(
    total=sum(weights),
    initial=sum(w * s for w, s in zip(weights, shares, strict=True)),
    unit='FLOP',
    unit_scale=True,
    smoothing=0.05,
    desc='study',
    disable=None,
  )

  def listen(event):
    if event.state == 'failed':
      bar.write(f'failed: {planned[event.cell].name}: {event.reason}')
    bar.update(weights[event.cell] * (event.share - shares[event.cell]))
    shares[event.cell] = event.share
    finished = f'{sum(share == 1 for share in shares)}/{len(planned)} cells'
    bar.set_postfix_str(finished)
    if bar.disable and event.state == 'done':
      cell = planned[event.cell]
      # A cell that was skipped ended without an error, too.
      state = store.status(cell.folder(workdir)).state
      print(f'{state}: {cell.name}: {finished}', flush=True)

  with bar:
    runner.run(study, workdir, listen)


if __name__ == '__main__':
  command.run(main)
