"""What is exported is what was there, for us and for transformers."""

import json

from family_parts import PARTS
import jax
import numpy as np
import published_models
import pytest
import small_corpus
import small_imports
from test_families import FAMILIES, forward, load, reference, unpack
import variants

from research.config import BadInput
from research.data import pipeline, tokenizer_file
from research.data.tokenizers import BPE
from research.interop import exporting, imported
from research.models.config import LayerNorm
from research.train import trained


def equal(a, b) -> bool:
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all((x == y).all() for x, y in pairs)


@FAMILIES
def test_an_exported_checkpoint_is_the_one_imported(name, tmp_path):
  model = load(unpack(name, tmp_path / 'theirs'))
  exporting.write(tmp_path / 'ours', model)
  again = load(tmp_path / 'ours')
  assert equal(model, again)
  assert again.cfg.n_params == model.cfg.n_params


@pytest.mark.parity
@FAMILIES
def test_transformers_gives_an_exported_checkpoint_the_same_logits(
  name, tmp_path
):
  pytest.importorskip('torch', reason='needs the test extra with torch')
  pytest.importorskip('transformers', reason='needs the test extra with torch')
  model = load(unpack(name, tmp_path / 'theirs'))
  kind = exporting.write(tmp_path / 'ours', model)
  case, rows = published_models.CASES[name], dict(reference(name))
  expected, positions = rows.pop('logits'), rows.pop('position_ids')
  told = json.loads((tmp_path / 'ours' / 'config.json').read_text())
  assert told['model_type'] in kind.model_types
  # An OPT of the usual layout has the parts of a GPT-2, a RoBERTa of a BERT.
  if case.positions == 'given' or told['model_type'] in ('gpt2', 'bert'):
    rows['position_ids'] = positions
  theirs = published_models.run(tmp_path / 'ours', case, rows)
  real = rows.get('decoder_attention_mask', rows['attention_mask']) == 1
  np.testing.assert_allclose(theirs[real], expected[real], atol=1e-4)


@pytest.mark.parity
@FAMILIES
def test_transformers_still_gives_the_logits_that_are_kept(name, tmp_path):
  pytest.importorskip('torch', reason='needs the test extra with torch')
  pytest.importorskip('transformers', reason='needs the test extra with torch')
  made, kept = published_models.make(name, tmp_path), reference(name)
  for key, x in made.items():
    np.testing.assert_allclose(x, kept[key], atol=1e-4)
  ours = unpack(name, tmp_path / 'kept')
  assert equal(load(tmp_path), load(ours))


OWN = PARTS | {
  'gpt_neox': (
    'decoder',
    {
      'norm': LayerNorm(),
      'residual': 'parallel',
      'bias': True,
      'tied_head': False,
    },
  )
}


@pytest.mark.parametrize('kind', OWN)
def test_our_own_models_find_their_family(kind, tmp_path):
  architecture, parts = OWN[kind]
  cfg = variants.config(architecture, **parts)
  model = variants.build(cfg)
  assert exporting.write(tmp_path, model).model_types[0] == kind
  again = load(tmp_path)
  batch = variants.batch(cfg)
  np.testing.assert_array_equal(forward(model, batch), forward(again, batch))


def test_parts_of_no_family_are_named():
  cfg = variants.config('decoder', embedding_norm=True, gated=True)
  with pytest.raises(BadInput, match='no family.*embedding_norm') as caught:
    exporting.expressing(cfg)
  assert '\n' not in str(caught.value)


def test_an_exported_tokenizer_cuts_text_alike_and_names_our_specials(tmp_path):
  import tokenizers

  data = small_corpus.config(
    tmp_path, tokenizer=BPE(vocab_size=300, n_sentinels=2)
  )
  ours = pipeline.tokenizer(data)
  model = variants.build(
    variants.config('decoder', gated=True, activation='silu', vocab_size=300)
  )
  exporting.write(tmp_path / 'out', model, ours)
  theirs = tokenizers.Tokenizer.from_file(
    str(tmp_path / 'out' / 'tokenizer.json')
  )
  text = 'a  naïve “word”\n\n of\t\u2581 many'
  assert theirs.encode(text).ids == list(ours.encode(text))
  assert theirs.token_to_id('<|bos|>') == ours.bos
  assert theirs.token_to_id('<|sentinel_1|>') == ours.sentinel(1)
  told = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert told['bos_token_id'] == ours.bos


def test_ids_that_no_piece_was_learned_for_move_no_special(tmp_path):
  import tokenizers

  data = small_corpus.config(
    tmp_path, tokenizer=BPE(vocab_size=9000, n_sentinels=2)
  )
  ours = pipeline.tokenizer(data)
  told = exporting.tokenizer_json(ours)
  assert told is not None and '<|unused_' in told
  theirs = tokenizers.Tokenizer.from_str(told)
  assert theirs.token_to_id('<|bos|>') == ours.bos
  assert theirs.token_to_id('<|sentinel_1|>') == ours.sentinel(1)


TEXTS = ('a  naïve “word”\n\n of\t\u2581 many', ' lead', 'The sea', '')


def automatic(folder):
  """What transformers makes of the tokenizer in `folder`."""
  transformers = pytest.importorskip('transformers')
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  told = json.loads((folder / 'config.json').read_text())
  for field in ('bos_token_id', 'eos_token_id', 'pad_token_id'):
    if field in told:
      assert getattr(theirs, field) == told[field], field
  return theirs


@pytest.mark.parity
@pytest.mark.parametrize('kind', OWN)
def test_transformers_gives_the_ids_of_our_tokenizer(kind, tmp_path):
  data = small_corpus.config(
    tmp_path, tokenizer=BPE(vocab_size=300, n_sentinels=2)
  )
  ours = pipeline.tokenizer(data)
  architecture, parts = OWN[kind]
  cfg = variants.config(architecture, vocab_size=300, **parts)
  exporting.write(tmp_path / 'out', small_imports.filled(cfg), ours)
  theirs = automatic(tmp_path / 'out')
  for text in TEXTS:
    assert theirs.encode(text) == list(ours.encode(text)), text
    assert theirs.decode(theirs.encode(text)) == text
  assert (theirs.mask_token_id, len(theirs)) == (ours.mask, ours.vocab_size)


@pytest.mark.parity
@pytest.mark.parametrize('kind', small_imports.SIZES)
def test_transformers_gives_the_ids_of_an_imported_tokenizer(kind, tmp_path):
  found = trained.load(small_imports.write(kind, tmp_path))
  ours = pipeline.tokenizer(found.data)
  exporting.write(tmp_path / 'out', found.model, ours, '[{{ messages }}]')
  theirs = automatic(tmp_path / 'out')
  for text in TEXTS:
    expected = tokenizer_file.library(ours).encode(text).ids
    assert theirs.encode(text) == expected, text
  assert theirs.chat_template == '[{{ messages }}]'
  assert kind != 'bert' or theirs.mask_token_id == ours.mask


def test_an_imported_folder_holds_what_was_imported(tmp_path):
  theirs = unpack('opt', tmp_path / 'a' / 'step300')
  found = imported.checkpoint.read(theirs)
  made, said = imported.write(tmp_path / 'b', found, str(theirs))
  assert equal(made.model(), load(theirs))
  assert made.step == 300 and made.tokenizer is None and 'no tok' in said
  assert imported.read(tmp_path / 'b') == made
  again, _ = imported.write(tmp_path / 'c', found, str(theirs))
  assert again.hash == made.hash
  with pytest.raises(BadInput, match='not empty'):
    imported.write(tmp_path / 'b', found, str(theirs))


def full(*_):
  raise OSError(28, 'No space left on device')


def test_a_failed_import_leaves_nothing(tmp_path, monkeypatch):
  found = imported.checkpoint.read(unpack('opt', tmp_path / 'a'))
  monkeypatch.setattr(imported.tensors, 'write', full)
  with pytest.raises(OSError, match='No space'):
    imported.write(tmp_path / 'b', found, 'opt')
  assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
  model = load(unpack('opt', tmp_path / 'a'))
  monkeypatch.setattr(exporting, 'write_whole', full)  # after the weights
  with pytest.raises(OSError, match='No space'):
    exporting.write(tmp_path / 'b', model)
  assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_nothing_is_exported_over_what_is_there(tmp_path):
  folder = unpack('opt', tmp_path / 'a')
  before = {path.name: path.read_bytes() for path in folder.iterdir()}
  with pytest.raises(BadInput, match='a is not empty: name another'):
    exporting.write(folder, load(folder))
  assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_empty_folder_behind_a_link_is_filled(tmp_path):
  model = load(unpack('opt', tmp_path / 'a'))
  (tmp_path / 'real').mkdir()
  (tmp_path / 'link').symlink_to('real')
  exporting.write(tmp_path / 'link', model)
  assert (tmp_path / 'link').is_symlink()
  assert equal(load(tmp_path / 'real'), model)
