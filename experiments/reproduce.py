"""Reproduces what papers published, our number beside theirs.

    python -m experiments.reproduce --paper=gadre --data_dir=FOLDER
    python -m experiments.reproduce --paper=schaeffer

Without `--data_dir` the authors' own files are fetched, as a named commit of
theirs has them, for the papers that have such files; kaplan, hoffmann and
muennighoff are held to surfaces of their constants, schaeffer and passuntil to
simulated models, and need no data. A figure is written beside the numbers.
Exit status 1 if a number is missed. Seconds on one core.
"""

import io
import pathlib
import sys

from absl import flags

from research import command, files
from research.data import published
from research.plots import papers
from research.scaling.papers import (
  besiroglu,
  gadre,
  hoffmann,
  kaplan,
  muennighoff,
  passuntil,
  porian,
  pythia,
  schaeffer,
)
from research.scaling.papers.reproduction import unlike

PAPERS = {
  'besiroglu': besiroglu,
  'gadre': gadre,
  'hoffmann': hoffmann,
  'kaplan': kaplan,
  'muennighoff': muennighoff,
  'passuntil': passuntil,
  'porian': porian,
  'pythia': pythia,
  'schaeffer': schaeffer,
}

_PAPER = flags.DEFINE_enum(
  'paper', None, list(PAPERS), 'Which paper.', required=True
)
_DATA = flags.DEFINE_string(
  'data_dir', None, 'Folder of the published tables or files.'
)
_OUT = flags.DEFINE_string(
  'out', None, 'Where the figure goes; by default reproduction_PAPER.png.'
)


def main() -> None:
  """Prints the table and writes the figure."""
  name = _PAPER.value
  paper = PAPERS[name]
  folder = pathlib.Path(_DATA.value) if _DATA.value else None
  if folder is None and hasattr(paper, 'FILES'):
    folder = published.fetch(name, paper.REPOSITORY, paper.FILES)
  found = paper.reproduce(folder)
  print(found)
  for table in unlike(folder) if folder else ():
    print(f'{table} is not the table on which the numbers were met')
  image = io.BytesIO()
  papers.reproduction(found).savefig(image, format='png', dpi=150)
  out = pathlib.Path(_OUT.value or f'reproduction_{name}.png')
  files.write_whole(out, image.getvalue())
  print(f'figure: {out}')
  if not found.met:
    sys.exit(1)


if __name__ == '__main__':
  command.without_config(main)
