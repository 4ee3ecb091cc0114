"""Tasks are read as they were written, and shots are never what is asked."""

import json
import pathlib
import sys
import types

import pytest

from research.config import BadInput
from research.evals.prompts import pose
from research.evals.tasks.bigbench import BigBench
from research.evals.tasks.gym import ReasoningGym
from research.evals.tasks.questions import Questions

CHOICE = {
  'name': 'capitals',
  'examples': [
    {'input': f'{i} of {{x}}?', 'target_scores': {'a': 0, f'b{i}': 1, 'c': 0}}
    for i in range(6)
  ],
}
GENERATIVE = {
  'task_prefix': 'Add.\n',
  'example_input_prefix': 'In: ',
  'example_output_prefix': ' Out: ',
  'few_shot_example_separator': '\n\n',
  'examples': [
    {'input': f'{i} + {i}', 'target': [str(2 * i), f'{2 * i}.0']}
    for i in range(6)
  ],
}


def write(path, data):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(data))


@pytest.fixture
def folder(tmp_path):
  write(tmp_path / 'capitals' / 'task.json', CHOICE)
  write(tmp_path / 'sums' / 'small' / 'task.json', GENERATIVE)
  return str(tmp_path)


@pytest.fixture
def questions(tmp_path):
  path = tmp_path / 'riddles.jsonl'
  lines = [{'prompt': f'{i} + 1', 'answer': str(i + 1)} for i in range(20)]
  lines[3] |= {'answer': ['4', 'four'], 'rationale': '3 and one more.'}
  path.write_text('\n'.join(map(json.dumps, lines)))
  return Questions(path=str(path))


def test_a_choice_of_bigbench_is_asked_as_bigbench_asks(folder):
  posed = pose(BigBench(task='capitals', folder=folder), 'plain', 0, 6, 0)
  texts = dict(zip(posed.texts, posed.prompts, strict=True))
  prompt = texts['\nQ: 2 of {x}?\n  choice: a\n  choice: b2\n  choice: c\nA:']
  assert prompt.item.answer == 'b2'
  assert prompt.item.choices == ('a', 'b2', 'c')
  assert posed.template.reply.format(answer='b2') == ' b2\n'
  assert posed.guess == pytest.approx(1 / 3)


def test_a_generated_answer_of_bigbench_may_have_several_forms(folder):
  task = BigBench(task='sums/small', folder=folder)
  posed = pose(task, 'plain', 1, 4, 0)
  for text, prompt in zip(posed.texts, posed.prompts, strict=True):
    (shot,) = prompt.shots
    assert text == (
      f'Add.\nIn: {shot.question} Out: {shot.answer}\n\n'
      f'In: {prompt.item.question} Out:'
    )
    assert prompt.item.others == (f'{prompt.item.answer}.0',)
  assert task.guess is None
  assert posed.task == 'sums:small'


def test_bigbench_is_found_where_it_is_installed_without_importing_it(
  folder, tmp_path, monkeypatch
):
  package = tmp_path / 'site' / 'bigbench'
  write(package / 'benchmark_tasks' / 'capitals' / 'task.json', CHOICE)
  (package / '__init__.py').write_text('raise RuntimeError')
  monkeypatch.syspath_prepend(str(tmp_path / 'site'))
  assert pose(BigBench(task='capitals'), 'plain', 0, 6, 0) == pose(
    BigBench(task='capitals', folder=folder), 'plain', 0, 6, 0
  )


def test_a_file_of_questions_is_asked_with_others_as_shots(questions):
  none, three = (pose(questions, 'plain', k, 10, 1) for k in (0, 3))
  assert [p.item for p in none.prompts] == [p.item for p in three.prompts]
  asked = {p.item for p in none.prompts}
  assert len(asked) == 10
  assert all(len({*p.shots} - asked) == 3 for p in three.prompts)
  assert none.texts[0] == f'Q: {none.prompts[0].item.question}\nA:'
  assert pose(questions, 'plain', 3, 10, 2) != three


def test_a_chain_of_thought_shows_rationales_where_there_are_some(questions):
  posed = pose(questions, 'chain_of_thought', 10, 10, 0)
  text = next(text for text in posed.texts if 'one more' in text)
  cue = "Let's think step by step."
  assert f'Q: 3 + 1\nA: {cue} 3 and one more. So the answer is 4.\n\n' in text
  assert text.endswith(cue)
  zero = pose(questions, 'chain_of_thought', 0, 10, 0)
  assert all(text.count(cue) == 1 for text in zero.texts)


def test_the_hash_is_of_all_that_is_read_and_expected(questions, folder):
  hashes = [
    pose(task, way, k, n, seed).hash
    for task, way, k, n, seed in (
      (questions, 'plain', 0, 10, 0),
      (questions, 'plain', 1, 10, 0),
      (questions, 'plain', 0, 9, 0),
      (questions, 'plain', 0, 10, 1),
      (questions, 'chain_of_thought', 0, 10, 0),
      (BigBench(task='capitals', folder=folder), 'plain', 0, 6, 0),
    )
  ]
  assert len(set(hashes)) == len(hashes)
  assert pose(questions, 'plain', 0, 10, 0).hash == hashes[0]
  path = pathlib.Path(questions.path)
  path.write_text(path.read_text().replace('"answer": "9"', '"answer": "99"'))
  assert pose(questions, 'plain', 0, 20, 0).hash not in hashes


def test_reasoning_gym_is_asked_of_its_own_items(monkeypatch):
  def create_dataset(family, size, seed):
    if family != 'sums':
      raise ValueError('no such family')
    return [
      {'question': f'{seed} + {i}', 'answer': seed + i} for i in range(size)
    ] + [{'question': 'why', 'answer': None}]

  module = types.ModuleType('reasoning_gym')
  module.create_dataset = create_dataset
  module.__spec__ = types.SimpleNamespace()
  monkeypatch.setitem(sys.modules, 'reasoning_gym', module)
  posed = pose(ReasoningGym(family='sums'), 'plain', 2, 10, 5)
  for prompt in posed.prompts:
    assert str(eval(prompt.item.question)) == prompt.item.answer
  with pytest.raises(BadInput, match='no such family'):
    pose(ReasoningGym(family='other'), 'plain', 0, 10, 5)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'bigbench', None)
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(BadInput, match='pip install it'):
    pose(ReasoningGym(family='absent'), 'plain', 0, 10, 0)
  with pytest.raises(BadInput, match='pip install --no-deps bigbench'):
    pose(BigBench(task='x'), 'plain', 0, 10, 0)


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('', 'is empty'),
    ('{', 'line 1 of .* is not JSON'),
    ('[]', 'needs a text `prompt`'),
    ('{"prompt": "a"}', 'needs a text `prompt`'),
    ('{"prompt": "a", "answer": ""}', 'none empty'),
    ('{"prompt": "a", "answer": "b", "choices": ["c"]}', "lack the answer 'b'"),
  ],
)
def test_a_bad_line_of_questions_is_named(tmp_path, line, message):
  (tmp_path / 'q.jsonl').write_text(line)
  with pytest.raises(BadInput, match=message):
    pose(Questions(path=str(tmp_path / 'q.jsonl')), 'plain', 0, 1, 0)


def test_a_missing_task_and_too_few_items_for_shots_are_named(
  folder, questions
):
  with pytest.raises(BadInput, match="tasks.task='none': there is no file"):
    pose(BigBench(task='none', folder=folder), 'plain', 0, 1, 0)
  with pytest.raises(BadInput, match='shots=1: riddles has 20 items'):
    pose(questions, 'plain', 1, 20, 0)
