"""Practice is mixed into text at its share, and tests nothing it practises."""

import itertools
import json
import random

import numpy as np
import pytest
from small_corpus import records

from research.config import BadInput
from research.data import items, pipeline, skills
from research.data.corpora import JSONL, Embedded
from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.items import Template, held_out
from research.data.mixture import Mixed
from research.data.pipeline import DataConfig
from research.data.splits import chapter, in_validation
from research.data.tokenizers import BPE, Bytes
from research.data.verses import Verses, verses

SKILLS = (skills.Copy(length=4), skills.Addition(), skills.Parity())


@pytest.fixture
def mixed(tmp_path):
  path = tmp_path / 'text.jsonl'
  path.write_text('\n'.join(map(json.dumps, records(200))))
  return Mixed(text=JSONL(path=str(path)), skills=SKILLS, share=0.4)


def sizes(corpus):
  """Bytes of each domain."""
  found = {}
  for document in corpus.documents():
    size = len(document.text.encode())
    found[document.domain] = found.get(document.domain, 0) + size
  return found


def prepared(corpus, folder, tokenizer=None):
  return pipeline.prepare(
    DataConfig(
      corpus=corpus,
      tokenizer=tokenizer or Bytes(),
      validation_share=0.1,
      cache_dir=str(folder / 'cache'),
    )
  )


@pytest.mark.parametrize('share', [0.1, 0.4, 0.8])
def test_skills_have_their_share_of_bytes_and_share_it_alike(tmp_path, share):
  path = tmp_path / 'text.jsonl'
  path.write_text('\n'.join(map(json.dumps, records(400))))
  found = sizes(Mixed(text=JSONL(path=str(path)), skills=SKILLS, share=share))
  each = [found[skill.name] for skill in SKILLS]
  assert sum(each) / sum(found.values()) == pytest.approx(share, abs=0.01)
  assert max(each) - min(each) < 500  # a document


def test_at_every_point_of_the_stream_the_share_is_kept(mixed):
  text = practice = 0
  for document in mixed.documents():
    if document.domain in ('novel', 'speech'):
      text += len(document.text.encode())
    else:
      practice += len(document.text.encode())
    behind = 0.4 * text - 0.6 * practice
    assert -0.6 * 500 < behind <= 0.4 * 200


def test_the_text_itself_is_unchanged(mixed):
  names = {skill.name for skill in SKILLS}
  kept = [d for d in mixed.documents() if d.domain not in names]
  assert kept == list(mixed.text.documents())


def test_what_is_kept_of_the_text_is_as_much_of_each_domain():
  some = Mixed(skills=SKILLS[:1], keep=0.25, share=0.01)
  whole, part = sizes(Embedded()), sizes(some)
  for domain in whole:
    assert part[domain] / whole[domain] == pytest.approx(0.25, abs=0.08)


def test_a_practised_line_is_a_true_item_that_is_not_held_out(mixed):
  lines = [
    line
    for document in mixed.documents()
    if document.domain == 'addition_2'
    for line in document.text.splitlines()
  ]
  assert len(lines) > 20
  assert 0.2 < sum('?' in line for line in lines) / len(lines) < 0.8
  for line in lines:
    sign = line.removeprefix('add: ').replace('?', '=').partition(' =')[0]
    a, b = map(int, sign.split('+'))
    assert line.endswith(f' = {a + b}')
    assert not in_validation(f'add {min(a, b)}+{max(a, b)}', items.HELD_OUT)


def test_only_text_is_held_out(mixed, tmp_path):
  dataset = prepared(mixed, tmp_path)
  assert set(dataset.validation) == {'novel', 'speech'}
  text = prepared(mixed.text, tmp_path)
  for domain, tokens in text.validation.items():
    assert dataset.validation[domain].tolist() == tokens.tolist()


def test_a_mixture_is_the_same_each_time_and_another_by_another_seed(
  mixed, tmp_path
):
  other = Mixed(text=mixed.text, skills=SKILLS, share=0.4, seed=1)
  first = prepared(mixed, tmp_path / 'a')
  again = prepared(mixed, tmp_path / 'b')
  changed = prepared(other, tmp_path / 'a')
  assert first.hash == again.hash
  assert first.train.tolist() == again.train.tolist()
  assert first.hash != changed.hash


@pytest.mark.parametrize(
  ('architecture', 'objectives'),
  [
    ('decoder', (Causal(),)),
    ('encoder', (Masked(), SuffixPrediction(max_length=8))),
    ('encoder_decoder', (SpanCorruption(), SuffixPrediction(max_length=8))),
  ],
)
def test_each_architecture_reads_it_and_resumes_exactly(
  mixed, tmp_path, architecture, objectives
):
  dataset = prepared(mixed, tmp_path)
  batches = dict(
    architecture=architecture,
    objectives=objectives,
    seq_len=64,
    target_len=16 if architecture == 'encoder_decoder' else None,
    batch_size=4,
    seed=3,
  )
  whole = list(pipeline.batches(dataset, n_steps=6, **batches))
  rest = list(pipeline.batches(dataset, start_step=4, n_steps=2, **batches))
  assert [digest for _, digest in whole[4:]] == [digest for _, digest in rest]
  for (a, _), (b, _) in zip(whole[4:], rest, strict=True):
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_its_tokenizer_is_trained_on_practice_too(mixed, tmp_path):
  spec = BPE(vocab_size=320, n_sentinels=4)
  tokenizer = prepared(mixed, tmp_path, spec).tokenizer
  assert len(tokenizer.encode('parity:')) < len('parity:') - 3


def test_the_share_is_known_of_every_corpus(mixed):
  assert DataConfig(corpus=mixed).skill_share == 0.4
  assert DataConfig().skill_share == 0


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'skills': ()}, 'skills is empty'),
    ({'share': 1.0}, 'share=1.0 must be between'),
    ({'keep': 0.0}, 'keep=0.0 must be above'),
  ],
)
def test_an_impossible_mixture_is_refused(fields, message):
  with pytest.raises(BadInput, match=message):
    Mixed(**{'skills': SKILLS, **fields})


def test_verses_are_all_there():
  assert len(verses()) == 31_077
  first = verses()[2]
  assert first.reference == 'Gen 1:3'
  assert first.spanish == 'Y dijo Dios: Sea la luz: y fué la luz.'


@pytest.mark.parametrize(
  'share', [0.02, pytest.param(0.05, marks=pytest.mark.slow)]
)
def test_no_tested_verse_is_in_what_the_corpus_or_practice_trains_on(share):
  trained, validated = (
    '\n'.join(
      document.text
      for document in Embedded().documents()
      if (document.place < share) == held
    )
    for held in (False, True)
  )
  skill = Verses(share=share)
  prompts = items.prompts(skill, 100, 1, seed=0)
  practised = ''.join(
    items.practice(skill, random.Random(seed), Template())
    for seed in range(200)
  )
  by_english = {verse.english: verse for verse in verses()}
  for prompt in prompts:
    english = prompt.item.question.removeprefix('spanish: ')
    reference = by_english[english].reference
    assert in_validation(chapter(reference), share)
    assert english not in trained
    assert english not in practised
    assert prompt.item.answer not in practised
    assert english in validated
    assert all(not held_out(shot) for shot in prompt.shots)


def test_the_english_side_is_the_scripture_of_the_corpus():
  scripture = {
    document.title: document.text
    for document in Embedded().documents()
    if document.domain == 'scripture'
  }
  some = list(itertools.islice(verses(), 0, 31_000, 500))
  there = [v.english in scripture[chapter(v.reference)] for v in some]
  assert sum(there) == len(some)
