"""Abilities of a model with known probabilities are what they must be."""

import dataclasses
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.data import skills
from research.data.items import Item, Prompt, Template
from research.data.tokenizers import Bytes
from research.evals import abilities, outputs
from research.evals.prompts import Posed, pose
from research.evals.tasks.questions import Questions
from research.models.config import ModelConfig

TOKENIZER = Bytes(n_sentinels=2).load(b'bytes')
# Asked as an LSTM is, without a cache.
CFG = types.SimpleNamespace(architecture='lstm', seq_len=128)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Bigram:
  """A model whose next token hangs on the last alone.

  `table` [v, v] holds logits; token i is followed by the likeliest of row i.
  """

  table: jax.Array
  cfg: types.SimpleNamespace = dataclasses.field(
    default_factory=lambda: CFG, metadata={'static': True}
  )

  def __call__(self, batch):
    return self.table[jnp.asarray(batch['tokens'])]


def bigram(**after) -> Bigram:
  """A model that follows each character by others at given odds."""
  table = np.full((TOKENIZER.vocab_size,) * 2, -60.0)
  names = {'space': ' ', 'line': '\n', 'colon': ':', 'equals': '='}
  for first, odds in after.items():
    for second, p in odds.items():
      row, column = (ord(names.get(x, x)) for x in (first, second))
      table[row, column] = math.log(p)
  # The specials are likeliest of all, and never said.
  table[:, TOKENIZER.n_text :] = 50.0
  return Bigram(jnp.asarray(table))


MODEL = bigram(
  colon={'space': 1.0},
  space={'a': 0.6, 'b': 0.4},
  a={'line': 0.5, 'b': 0.3, 'a': 0.2},
  b={'line': 0.75, 'a': 0.25},
  line={'line': 1.0},
)


@pytest.fixture
def task(tmp_path):
  path = tmp_path / 'letters.jsonl'
  answers = ['a', 'b', 'ab', 'ba']
  lines = [
    {'prompt': f'which, {i}?', 'answer': a, 'choices': answers}
    for i, a in enumerate(answers)
  ]
  path.write_text('\n'.join(map(json.dumps, lines)))
  return Questions(path=str(path))


P = {
  'a': 0.6 * 0.5,
  'b': 0.4 * 0.75,
  'ab': 0.6 * 0.3 * 0.75,
  'ba': 0.4 * 0.25 * 0.5,
}


def evaluated(task, model=MODEL, **how):
  rows = abilities.evaluate(model, TOKENIZER, [task], n_items=4, **how)
  return {row['metric']: row for row in rows}


def test_every_metric_follows_from_the_models_probabilities(task):
  found = {name: row['value'] for name, row in evaluated(task).items()}
  bits = -sum(map(math.log2, P.values()))
  # An answer stands between a space and an empty line.
  n_bytes = sum(len(answer) + 3 for answer in P)
  assert found['exact_match'] == 1 / 4
  assert found['p_correct'] == pytest.approx(sum(P.values()) / 4, abs=1e-5)
  assert found['bits_per_byte'] == pytest.approx(bits / n_bytes, abs=1e-5)
  # ' a' and two ends; b, ab and ba each have a place that is not likeliest.
  accuracies = 4 / 4, 3 / 4, 4 / 5, 3 / 5
  assert found['token_accuracy'] == pytest.approx(np.mean(accuracies))
  assert found['token_edit_distance'] == pytest.approx((0 + 1 + 1 + 1) / 4)
  # a and b are equally likely: where either is right, they share it.
  assert found['multiple_choice'] == pytest.approx((0.5 + 0.5) / 4)
  odds = np.array(list(P.values())) / sum(P.values())
  brier = np.mean([np.sum((odds - np.eye(4)[i]) ** 2) for i in range(4)])
  assert found['brier'] == pytest.approx(brier, abs=1e-5)
  # What comes after an empty question is what comes after this one.
  assert found['multiple_choice_unconditional'] == pytest.approx(1 / 4)


def test_rows_say_what_was_asked(task):
  row = evaluated(task)['multiple_choice']
  posed = pose(task, 'plain', 0, 4, 0)
  assert (row['task'], row['prompting'], row['shots']) == (
    'letters',
    'plain',
    0,
  )
  assert row['prompt_hash'] == posed.hash
  assert (row['n'], row['chance']) == (4, 0.25)
  # A space, one letter or two, and two ends.
  assert row['answer_length'] == (4 + 4 + 5 + 5) / 4
  assert row['stderr'] == pytest.approx(np.std([0.5, 0.5, 0, 0], ddof=1) / 2)


def test_samples_pass_as_often_as_the_answer_is_likely(task):
  found = evaluated(task, n_samples=200)['pass_until']['value']
  # Four standard errors of 4 x 200 draws are below .08.
  assert found == pytest.approx(np.mean(list(P.values())), abs=0.08)


def test_a_new_metric_needs_no_forward_pass(task, tmp_path):
  first = evaluated(task, folder=tmp_path / 'kept')
  (path,) = (tmp_path / 'kept').iterdir()
  assert len(outputs.read(path)) == 4
  again = evaluated(task, model=None, folder=tmp_path / 'kept')
  assert again == first
  with pytest.raises(AttributeError):
    evaluated(task, model=None, folder=tmp_path / 'kept', seed=1)


def test_a_chain_of_thought_is_cut_where_it_concludes_and_then_answered():
  item = Item('add', 'a', 'add', ('a', 'b'), rationale='bb')
  posed = Posed(
    'toy', 'chain_of_thought', 0, Template(), (Prompt(item),), None, False
  )
  model = bigram(
    space={'b': 0.6, 'equals': 0.3, 'a': 0.1},
    b={'space': 0.9, 'line': 0.1},
    equals={'space': 1.0},
    a={'line': 1.0},
    line={'line': 1.0},
    **{'?': {'space': 1.0}},
  )
  (found,) = outputs.outputs(model, posed, TOKENIZER)
  # It goes on about b and never concludes: then the cue is put there.
  assert found['prompt'] == 'add ?'
  # The longest rationale has ' bb = ', as many tokens as there are here.
  assert found['rationale'] == ' b b b'
  assert found['said'] == ' b b'[: len(found['said'])]
  assert found['log_p'] == pytest.approx(np.log([1, 0.1, 1]), abs=1e-4)
  concludes = bigram(
    space={'equals': 0.9, 'a': 0.1},
    equals={'space': 1.0},
    a={'line': 1.0},
    **{'?': {'space': 1.0}},
  )
  (found,) = outputs.outputs(concludes, posed, TOKENIZER)
  assert found['rationale'] == ''


def test_a_skill_without_rationales_is_asked_for_none():
  ways = 'plain', 'chain_of_thought'
  rows = list(
    abilities.evaluate(
      MODEL,
      TOKENIZER,
      [skills.Copy(length=3), skills.Addition(digits=1)],
      prompting=ways,
      n_items=3,
    )
  )
  asked = {(row['task'], row['prompting']) for row in rows}
  assert asked == {
    ('copy_3', 'plain'),
    ('addition_1', 'plain'),
    ('addition_1', 'chain_of_thought'),
  }


def test_practice_writes_a_skill_as_its_test_asks_it():
  posed = pose(skills.Addition(), 'chain_of_thought', 2, 5, 0)
  for text, prompt in zip(posed.texts, posed.prompts, strict=True):
    *shots, question = text.split('\n')
    for line, shot in zip(shots, prompt.shots, strict=True):
      assert line == f'{shot.question} ? {shot.rationale} = {shot.answer}'
    assert question == f'{prompt.item.question} ?'


@pytest.mark.parametrize(
  ('architecture', 'lengths', 'message'),
  [
    ('decoder', {'seq_len': 64}, '22 for its answer do not fit seq_len=64'),
    (
      'encoder_decoder',
      {'seq_len': 512, 'target_len': 8},
      'copy_20: 22 tokens of answer or rationale do not fit target_len=8',
    ),
  ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(
  architecture, lengths, message
):
  cfg = ModelConfig(architecture=architecture, **lengths)
  how = {'shots': (4,), 'prompting': ('plain',), 'n_items': 5, 'seed': 0}
  task = skills.Copy(length=20)
  with pytest.raises(BadInput, match=message):
    abilities.check(cfg, TOKENIZER, [task], **how)
