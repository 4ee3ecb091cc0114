"""The command prints ours beside theirs, draws it, and fails when it misses."""

import dataclasses

from absl import flags
from absl.testing import flagsaver
import pytest

from experiments import reproduce
from research.config import BadInput
from research.data import published
from research.scaling.papers import schaeffer

flags.FLAGS.mark_as_parsed()


def run(**given):
  with flagsaver.flagsaver(**given):
    reproduce.main()


def test_it_prints_every_number_and_writes_the_figure(tmp_path, capsys):
  out = tmp_path / 'figures' / 'schaeffer.png'
  run(paper='schaeffer', out=str(out))
  said = capsys.readouterr().out.splitlines()
  assert said[0].startswith('Schaeffer et al. 2023')
  assert said[1].split() == ['ours', 'published', 'tolerance']
  assert sum(line.endswith('pass') for line in said) == 12
  assert said[-1] == f'figure: {out}'
  assert out.read_bytes().startswith(b'\x89PNG')


def test_a_missed_number_is_status_one_and_is_written_all_the_same(
  tmp_path, capsys, monkeypatch
):
  found = schaeffer.reproduce()
  off = dataclasses.replace(found.targets[0], published=1.0)
  missed = dataclasses.replace(found, targets=(off,))
  monkeypatch.setattr(schaeffer, 'reproduce', lambda folder: missed)
  with pytest.raises(SystemExit, match='1'):
    run(paper='schaeffer', out=str(tmp_path / 'x.png'))
  assert 'FAIL' in capsys.readouterr().out and (tmp_path / 'x.png').exists()


def test_without_a_folder_the_authors_files_are_asked_for(monkeypatch):
  asked = []

  def fetch(name, repository, commits):
    asked.append((name, repository, commits))
    raise BadInput('no network')

  monkeypatch.setattr(published, 'fetch', fetch)
  for paper in ('besiroglu', 'gadre', 'pythia'):
    with pytest.raises(BadInput, match='no network'):
      run(paper=paper)
  assert [name for name, *_ in asked] == ['besiroglu', 'gadre', 'pythia']
  for _, repository, commits in asked:
    assert repository.startswith('https://')
    for commit in commits.values():
      assert len(commit) == 40 and int(commit, 16)


def test_a_paper_whose_authors_publish_a_pickle_is_one_line():
  with pytest.raises(BadInput, match='which is never loaded: give --data_dir'):
    run(paper='porian')
