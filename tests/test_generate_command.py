"""The commands that write and score, in real processes on real folders."""

import json
import subprocess
import sys

import numpy as np
import pytest
import small_corpus
import small_imports
import variants

from experiments.generate import Screen
from research.data.corruption import Causal, Masked, SuffixPrediction
from research.inference.generate import Generation
from research.inference.text import Text
from research.train import loop
from research.train.config import TrainConfig

OBJECTIVES = {
  'decoder': (Causal(),),
  'encoder': (Masked(),),
  'encoder_decoder': (SuffixPrediction(max_length=8),),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


@pytest.fixture(scope='module')
def run(folder):
  """Makes the folder of a run of one step, once for each architecture."""

  def made(architecture: str):
    workdir = folder / architecture
    if not workdir.exists():
      loop.train(
        TrainConfig(
          model=variants.config(architecture, vocab_size=274, seq_len=32),
          data=small_corpus.config(folder),
          objectives=OBJECTIVES[architecture],
          batch_size=8,
          n_steps=1,
        ),
        workdir,
      )
    return workdir

  return made


def command(name: str, *flags: str):
  return subprocess.run(
    [sys.executable, '-m', f'experiments.{name}', *flags],
    capture_output=True,
    text=True,
    timeout=600,
  )


def generated(run, architecture: str, *flags: str) -> str:
  done = command('generate', f'--workdir={run(architecture)}', *flags)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.slow
def test_a_trained_run_writes_on_from_a_prompt(run):
  rules = (
    '--prompt=abc',
    '--temperature=.8',
    '--top_k=10',
    '--top_p=.95',
    '--max_tokens=20',
    '--stop=\\n\\n',
    '--repetition_penalty=1.2',
    '--num_return=3',
  )
  first = generated(run, 'decoder', *rules, '--seed=0')
  texts = first.removesuffix('\n').split('\n\nabc')
  assert len(texts) == 3 and texts[0].startswith('abc')
  assert len({*texts}) == 3


@pytest.mark.slow
def test_the_same_seed_writes_the_same(run):
  rules = '--prompt=abc', '--max_tokens=20'
  first, again, other = (
    generated(run, 'decoder', *rules, f'--seed={seed}') for seed in (1, 1, 2)
  )
  assert first == again != other


@pytest.mark.slow
def test_several_prompts_and_beams_are_written_in_order(run):
  said = generated(
    run,
    'encoder_decoder',
    '--prompt=abcde',
    '--prompt=b',
    '--n_beams=3',
    '--num_return=2',
    '--max_tokens=6',
    '--min_tokens=2',
  )
  texts = said.split('\n\n')
  assert [
    text[: len(p)]
    for text, p in zip(texts, ['abcde'] * 2 + ['b'] * 2, strict=True)
  ] == ['abcde', 'abcde', 'b', 'b']


@pytest.mark.slow
def test_an_encoder_fills_masks(run):
  said = generated(run, 'encoder', '--prompt=ab<mask>d<mask>', '--top_k=2')
  text, *guesses = said.splitlines()
  assert text.startswith('ab') and len(guesses) == 2
  assert all(len(line.split('  ')) == 2 for line in guesses)


@pytest.mark.slow
def test_a_published_model_answers_in_its_template(tmp_path):
  workdir = small_imports.write('llama', tmp_path)
  (workdir / 'chat_template.jinja').write_text(
    "{{ bos_token + messages[0]['content'] + eos_token }}"
  )
  flags = f'--workdir={workdir}', '--temperature=0', '--max_tokens=6'
  answered, named = (
    command('generate', *flags, *more)
    for more in (
      ('--chat', '--prompt=a ship'),
      ('--specials', '--prompt=<s>a ship</s>'),
    )
  )
  assert answered.stderr == named.stderr == ''
  answer = answered.stdout.removeprefix('a ship\n')
  assert answer == named.stdout.removeprefix('<s>a ship</s>')
  plain = command('generate', *flags, '--prompt=a ship')
  assert answer != plain.stdout.removeprefix('a ship')


def test_nothing_is_shown_before_something_is_written(capsys):
  screen = Screen('ab', Generation())
  assert capsys.readouterr().out == ''
  nothing = np.zeros(0)
  screen.end([Text('c', nothing, nothing, 'end')])
  assert capsys.readouterr().out == 'abc\n'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('architecture', 'flags', 'says'),
  [
    ('decoder', ('--temprature=1',), "did you mean 'temperature'?"),
    ('decoder', ('--top_p=2',), 'top_p=2.0: choose a share in (0, 1], or none'),
    ('decoder', ('--temperature=0', '--top_k=3'), 'top_k=3 contradicts'),
    ('decoder', ('--n_beams=2', '--top_k=3'), '--top_k has no part in a beam'),
    ('encoder', ('--seed=1',), '--seed has no part in filling masks'),
    ('decoder', ('--chat',), '--chat: the model has no chat template'),
    ('decoder', ('--chat', '--specials'), '--specials has no part in --chat'),
    ('decoder', ('--prompt=a\udcff',), "--prompt='a\\udcff' is not UTF-8"),
    ('decoder', ('--stop=a\udcff',), "--stop='a\\udcff' is not UTF-8"),
    ('encoder', ('--chat',), '--chat has no part in filling masks'),
    ('encoder', ('--prompt=b<mask>',), 'prompt: there is no mask to fill'),
  ],
)
def test_what_cannot_be_is_said_in_one_line(run, architecture, flags, says):
  workdir = run(architecture)
  done = command('generate', f'--workdir={workdir}', *flags, '--prompt=a')
  assert done.returncode == 2 and done.stdout == ''
  assert says in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.parity
def test_the_harness_keeps_rows_with_their_origin(run, folder):
  pytest.importorskip('lm_eval', reason='pip install -e .[harness]')
  data = folder / 'pages.jsonl'
  pages = [{'page': 'abc de' * n} for n in (1, 4, 9)]
  data.write_text('\n'.join(map(json.dumps, pages)))
  (folder / 'pages.yaml').write_text(
    'task: pages\noutput_type: loglikelihood_rolling\ndataset_path: json\n'
    f'dataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n'
    'doc_to_text: ""\ndoc_to_target: "{{page}}"\n'
    'metric_list:\n  - metric: bits_per_byte\n'
  )
  workdir = run('encoder_decoder')
  flags = f'--workdir={workdir}', f'--include_path={folder}'
  done = command('harness', *flags, '--tasks=pages')
  assert done.returncode == 0, done.stderr
  (path,) = (workdir / 'evaluations').glob('harness-*.jsonl')
  (row,) = map(json.loads, path.read_text().splitlines())
  assert row['task'] == 'pages' and row['metric'] == 'bits_per_byte'
  assert 5 < row['value'] < 11  # Untrained, log2(256) = 8 a byte.
  for name in ('config', 'step', 'revision', 'jax', 'tokenizer_hash', 'rule'):
    assert row[name] is not None
  unknown = command('harness', *flags, '--tasks=page')
  assert unknown.returncode == 2 and 'tasks=page: there is no' in unknown.stderr
