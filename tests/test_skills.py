"""Skills tell the truth, at any size, and never practise what they test."""

import itertools
import random
import string
import typing

import pytest

from research.config import BadInput, from_dict, to_dict
from research.data import items, skills
from research.data.items import Template, held_out
from research.data.mapping import Labels
from research.data.verses import Verses

ALL = [kind() for kind in typing.get_args(skills.AnySkill)]
HARDER = [
  skills.Copy(length=20),
  skills.Recall(pairs=9),
  skills.Addition(digits=7),
  skills.Modular(modulus=97),
  skills.Parity(bits=20, subset=5, secret=3),
  skills.Hops(hops=4, nodes=9),
  skills.Dyck(depth=9, pairs=7),
]


def drawn(skill, n=300, seed=0):
  return list(itertools.islice(skill.items(random.Random(seed)), n))


def by_name(skill):
  return skill.name


def solve(skill, question):
  """The answer by another way than the skill's own."""
  _, _, rest = question.partition(': ')
  words = rest.split()
  match skill:
    case skills.Copy():
      return rest
    case skills.Reverse():
      return ''.join(rest[-1 - i] for i in range(len(rest)))
    case skills.Sort():
      return ''.join(c for c in string.ascii_lowercase if c in rest)
    case skills.Induction():
      return words[0].partition(words[1])[2][0]
    case skills.Recall() | skills.Hops():
      table = {pair[0]: pair[1] for pair in words[:-1]}
      at = words[-1]
      for _ in range(getattr(skill, 'hops', 1)):
        at = table[at]
      return at
    case skills.Addition():
      return str(eval(rest))
    case skills.Modular():
      return str(eval(f'({rest}) % {skill.modulus}'))
    case skills.Dyck():
      while True:
        short = rest
        for pair in ('()', '[]', '{}', '<>'):
          short = short.replace(pair, '')
        if short == rest:
          return short[::-1].translate(str.maketrans('([{<', ')]}>'))
        rest = short
  raise AssertionError(skill)


SOLVED = [
  s
  for s in ALL + HARDER
  if not isinstance(s, skills.Parity | skills.Unscramble | Labels | Verses)
]


@pytest.mark.parametrize('skill', SOLVED, ids=by_name)
def test_an_answer_is_what_solving_the_question_gives(skill):
  for item in drawn(skill):
    assert item.answer == solve(skill, item.question)


@pytest.mark.parametrize('skill', ALL + HARDER, ids=by_name)
def test_choices_differ_and_hold_the_answer(skill):
  for item in drawn(skill):
    if item.choices:
      assert item.answer in item.choices
      assert len(set(item.choices)) == len(item.choices) > 1


def test_parity_is_linear_in_exactly_its_bits():
  skill = skills.Parity(bits=9, subset=4, secret=1)
  table = {i.question[8:]: int(i.answer) for i in drawn(skill, 20_000)}
  assert len(table) == 2**9
  for text, odd in table.items():
    for i in range(9):
      flipped = text[:i] + '10'[int(text[i])] + text[i + 1 :]
      assert (table[flipped] != odd) == (i in skill.places)
  assert len(skill.places) == 4


def test_a_scrambled_word_has_the_letters_of_one_word_alone():
  words = {}
  for item in drawn(skills.Unscramble(length=5), 3000):
    letters = sorted(item.question.removeprefix('unscramble: '))
    assert letters == sorted(item.answer)
    words.setdefault(tuple(letters), set()).add(item.answer)
  assert len(words) > 300
  assert all(len(same) == 1 for same in words.values())
  assert {'water', 'whale'} & set().union(*words.values())


def test_a_sum_is_worked_out_by_columns():
  item = next(
    i for i in drawn(skills.Addition(), 20_000) if i.question == 'add: 57+68'
  )
  assert (item.rationale, item.answer) == ('7+8=15 5+6+1=12', '125')
  for item in drawn(skills.Addition(digits=4)):
    steps = [step.split('=') for step in item.rationale.split()]
    assert all(eval(left) == int(right) for left, right in steps)
    digits = [right[-1] for _, right in steps]
    top = steps[-1][1][:-1]
    assert top + ''.join(reversed(digits)) == item.answer


def test_labels_are_new_in_each_prompt_and_the_same_within():
  pairs = set()
  for seed in range(100):
    seen = {}
    for item in drawn(Labels(), 20, seed):
      kind = item.question[-1].isdigit()
      assert seen.setdefault(kind, item.answer) == item.answer
    assert len(set(seen.values())) == len(seen) == 2
    pairs.add(tuple(seen.values()))
  assert len(pairs) > 80


@pytest.mark.parametrize('skill', ALL, ids=by_name)
def test_what_is_tested_is_never_practised_whatever_the_seeds(skill):
  template = Template()
  practised = ''.join(
    items.practice(skill, random.Random(seed), template) for seed in range(300)
  )
  asked = {line.partition(' =')[0] for line in practised.splitlines()}
  found = [
    prompt for seed in (0, 7) for prompt in items.prompts(skill, 100, 3, seed)
  ]
  for prompt in found:
    assert held_out(prompt.item)
    assert prompt.item.question not in asked
    assert not any(map(held_out, prompt.shots))
  shots = [shot.question for prompt in found for shot in prompt.shots]
  assert len(shots) == 600


@pytest.mark.parametrize('skill', [skills.Addition(), skills.Modular()])
def test_sums_that_commute_fall_on_one_side(skill):
  sides = {}
  for item in drawn(skill, 3000):
    sign = item.question.partition(': ')[2]
    both = frozenset(map(int, sign.split('+')))
    assert sides.setdefault(both, held_out(item)) == held_out(item)


def test_shots_change_nothing_of_the_questions():
  skill = skills.Addition()
  none, four = (items.prompts(skill, 50, k, seed=1) for k in (0, 4))
  assert [p.item for p in none] == [p.item for p in four]
  assert {len(p.shots) for p in four} == {4}
  assert len({p.item.key for p in four}) == 50
  assert items.prompts(skill, 20, 4, seed=1) == four[:20]
  assert items.prompts(skill, 50, 4, seed=2) != four


def test_a_quarter_of_questions_is_kept_for_testing():
  found = drawn(skills.Copy(), 4000)
  share = sum(map(held_out, found)) / len(found)
  assert abs(share - items.HELD_OUT) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_a_skill_without_enough_questions_says_so():
  with pytest.raises(BadInput, match='n_items=60: modular_11 has only'):
    items.prompts(skills.Modular(modulus=11), 60, 0, seed=0)


def test_guess_is_what_guessing_gets():
  draw = random.Random(5)
  for skill in (skills.Hops(), skills.Induction(), skills.Recall()):
    right = [draw.choice(i.choices) == i.answer for i in drawn(skill, 4000)]
    p = skill.guess
    assert abs(sum(right) / 4000 - p) < 4 * (p * (1 - p) / 4000) ** 0.5


@pytest.mark.parametrize('skill', ALL + HARDER, ids=by_name)
def test_difficulty_is_in_the_config_and_in_the_name(skill):
  assert from_dict(type(skill), to_dict(skill)) == skill
  number = next(v for v in to_dict(skill).values() if isinstance(v, int))
  assert str(number) in skill.name


@pytest.mark.parametrize(
  ('kind', 'field'),
  [
    (skills.Copy, 'length'),
    (skills.Recall, 'pairs'),
    (skills.Addition, 'digits'),
    (skills.Modular, 'modulus'),
    (skills.Parity, 'subset'),
    (skills.Hops, 'nodes'),
    (skills.Dyck, 'kinds'),
    (Labels, 'length'),
  ],
)
def test_a_difficulty_out_of_range_is_refused(kind, field):
  with pytest.raises(BadInput, match=f'{field}=0 must be'):
    kind(**{field: 0})
