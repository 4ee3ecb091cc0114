"""A study trains and tests: abilities are rows of its table, for all three."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from etils import epath
import pytest
from small_corpus import records

from research import config
from research.config import BadInput
from research.data import skills
from research.data.corpora import JSONL
from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.mixture import Mixed
from research.data.pipeline import DataConfig
from research.evals import abilities, outputs
from research.evals.prompts import pose
from research.models.config import ModelConfig
from research.study import runner, store
from research.study.evaluation import Evaluation
from research.study.plan import Grid, StudyConfig
from research.train.checkpoints import Checkpoints
from research.train.config import TrainConfig

ROOT = pathlib.Path(__file__).parents[1]
SUFFIX = SuffixPrediction(max_length=8)
OBJECTIVES = {
  'decoder': (Causal(),),
  'encoder': (Masked(), SUFFIX),
  'encoder_decoder': (SpanCorruption(), SUFFIX),
}
TASKS = (skills.Copy(length=2), skills.Parity(bits=6, subset=2))


def studied(folder, architectures=tuple(OBJECTIVES), **changes) -> StudyConfig:
  text = folder / 'text.jsonl'
  text.write_text('\n'.join(map(json.dumps, records(100))))
  data = DataConfig(
    corpus=Mixed(text=JSONL(path=str(text)), skills=TASKS),
    validation_share=0.1,
    cache_dir=str(folder / 'cache'),
  )
  designs = [
    Grid(
      train=TrainConfig(
        model=ModelConfig(
          architecture=name,
          vocab_size=274,
          seq_len=64,
          target_len=24 if name == 'encoder_decoder' else None,
          d_model=8,
          n_heads=1,
          n_layers=1,
        ),
        data=data,
        objectives=OBJECTIVES[name],
        batch_size=2,
        n_steps=3,
        warmup_steps=1,
        checkpoints=Checkpoints(every=None),
      )
    )
    for name in architectures
  ]
  evaluation = Evaluation(
    n_tokens=64, window=32, n_spans=2, span_length=2, context=8
  )
  evaluation = dataclasses.replace(
    evaluation, tasks=TASKS, shots=(0, 1), n_items=6, **changes
  )
  return StudyConfig(
    title='Asking', question='?', designs=tuple(designs), evaluation=evaluation
  )


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  folder = tmp_path_factory.mktemp('asking')
  study = studied(folder)
  runner.run(study, epath.Path(folder / 'study'), lambda event: None)
  return folder / 'study'


@pytest.mark.slow
def test_each_architecture_answers_the_same_items(study):
  frame = store.frame(study)
  asked = frame[frame.prompting.notna()]
  by = ['task', 'shots', 'metric']
  for name, rows in asked.groupby('architecture'):
    assert set(rows.task) == {task.name for task in TASKS}, name
    assert set(rows.shots) == {0, 1}
    assert not rows.duplicated(by).any()
  hashes = asked.groupby(['task', 'shots']).prompt_hash.nunique()
  assert (hashes == 1).all()
  assert asked.groupby(by).architecture.nunique().eq(3).all()


@pytest.mark.slow
def test_rows_say_where_they_come_from_and_how_much_was_practised(study):
  frame = store.frame(study)
  asked = frame[frame.prompting.notna()]
  needed = ['value', 'n', 'rule', 'config', 'revision', 'params', 'data_hash']
  assert asked[needed].notna().all(axis=None)
  assert (frame.skill_share == 0.5).all()
  parity = asked[asked.metric == 'exact_match'].set_index('task').chance
  assert set(parity[TASKS[1].name]) == {0.5}


@pytest.mark.slow
def test_outputs_beside_each_run_give_its_rows_again(study):
  frame = store.frame(study)
  for run, table in frame[frame.prompting.notna()].groupby('run'):
    files = list((study / 'runs' / str(run)).glob('answers/*/*.jsonl.xz'))
    assert len(files) == 4
    for path in files:
      found = outputs.read(path)
      hashed = path.name.split('-')[3]
      mine = table[table.prompt_hash == hashed].set_index('metric')
      task = next(t for t in TASKS if t.name == mine.task.iloc[0])
      posed = pose(task, 'plain', int(mine.shots.iloc[0]), 6, 0)
      for row in abilities.rows(posed, found):
        assert row['value'] == pytest.approx(mine.value[row['metric']])


def test_prompts_that_do_not_fit_stop_the_study_before_it_begins(tmp_path):
  study = studied(tmp_path, ('decoder',), prompting=('plain',))
  evaluation = dataclasses.replace(study.evaluation, shots=(9,))
  study = dataclasses.replace(study, evaluation=evaluation)
  with pytest.raises(BadInput, match='do not fit seq_len=64'):
    runner.run(study, epath.Path(tmp_path / 'study'), lambda event: None)
  assert not (tmp_path / 'study').exists()


def test_tasks_are_named_on_the_command_line():
  how = config.replace(
    Evaluation(),
    {
      'tasks': 'Addition,Copy,Questions',
      'tasks.0.digits': '3',
      'tasks.2.path': 'a.jsonl',
      'shots': '0,1,4',
      'prompting': 'plain,chain_of_thought',
    },
  )
  names = [task.name for task in how.tasks]
  assert names == ['addition_3', 'copy_8', 'a']
  assert how.shots == (0, 1, 4)
  assert how.prompting == ('plain', 'chain_of_thought')
  with pytest.raises(BadInput, match="did you mean 'Addition'"):
    config.replace(Evaluation(), {'tasks': 'Adition'})


@pytest.mark.slow
def test_a_run_is_asked_further_tasks_by_command(study):
  frame = store.frame(study)
  run = study / 'runs' / frame[frame.architecture == 'decoder'].run.iloc[0]
  command = [
    *(sys.executable, '-m', 'experiments.evaluate', f'--workdir={run}'),
    *('--config.tasks=Recall', '--config.tasks.0.pairs=2'),
    *('--config.n_items=5', '--config.shots=0,1'),
    *('--config.n_spans=2', '--config.span_length=2', '--config.context=8'),
  ]
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert 'recall_2 plain 1-shot' in done.stdout
  (path,) = (run / 'evaluations').iterdir()
  rows = store.read_rows(path)
  asked = [row for row in rows if row['task'] == 'recall_2']
  assert {row['shots'] for row in asked} == {0, 1}
  assert all(row['revision'] and row['prompt_hash'] for row in asked)
  # They stand in the study's table, beside what it asked.
  table = store.frame(study)
  (before,) = set(frame[frame.run == run.name].flops)
  more = table[table.task == 'recall_2']
  assert len(table) == len(frame) + len(asked) == len(frame) + len(more)
  assert set(more.run) == {run.name} and set(more.flops) == {before}


@pytest.mark.slow
def test_a_run_reads_other_text_by_command(study, tmp_path):
  frame = store.frame(study)
  run = study / 'runs' / frame[frame.architecture == 'decoder'].run.iloc[0]
  (tmp_path / 'news').mkdir()
  text = 'A port, and é ships. ' * 40
  (tmp_path / 'news' / '1.txt').write_text(text, encoding='utf-8')
  command = [
    *(sys.executable, '-m', 'experiments.evaluate', f'--workdir={run}'),
    *('--config.corpus=TextFolder', f'--config.corpus.path={tmp_path}'),
    *('--config.n_spans=2', '--config.span_length=2', '--config.context=8'),
  ]
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  rows = store.read_rows(epath.Path(done.stdout.split('rows: ')[1].strip()))
  read = [row for row in rows if row['task'] == 'validation']
  assert {row['domain'] for row in rows} == {'all', 'news'}
  # A byte is a token of this run: each of the text is predicted once.
  assert {row['n'] for row in read} == {len(text.encode())}
  assert all(f"path='{tmp_path}'" in row['rule'] for row in rows)
  assert not frame.data_hash.isin([row['data_hash'] for row in rows]).any()
