"""Native rows of published models are those of their own training."""

import jax
import numpy as np
import pytest
import small_corpus
import small_imports
from test_families import forward

from research.config import BadInput
from research.data import pipeline
from research.evals import perplexity
from research.inference import score
from research.interop import imported
from research.study import loaded

WINDOW = 24


@pytest.fixture(scope='module', params=['bert', 't5'])
def asked(request, tmp_path_factory):
  """What a model of each kind was given, and the rows it made of that."""
  here, given = tmp_path_factory.mktemp(request.param), []
  found = loaded.load(small_imports.write(request.param, here, scale=0.7))
  spec = imported.read(here / 'ours').tokenizer
  dataset = pipeline.prepare(small_corpus.config(here, tokenizer=spec))
  with pytest.MonkeyPatch.context() as patch:

    def kept(model, batch, *how):
      given.append(batch)
      return score.target_nll(model, batch, *how)

    patch.setattr(perplexity, 'target_nll', kept)
    rows = perplexity.evaluate(
      found.model, dataset, window=WINDOW, n_tokens=100, batch_size=8
    )
  (batch,) = given
  return request.param, found, dataset, batch, rows


def texts(dataset) -> str:
  """Ids of all held-out text, without separators, with blanks around each."""
  bos = dataset.tokenizer.bos
  domains = dataset.validation.values()
  return ' '.join(f' {i} ' for tokens in domains for i in tokens if i != bos)


def test_rows_are_text_in_the_model_s_frame(asked):
  kind, found, dataset, batch, _ = asked
  specials, held = dataset.tokenizer.specials, texts(dataset)
  first = specials.sentinel(0) if kind == 't5' else None
  for i, row in enumerate(batch['tokens'].tolist()):
    weighed = batch['weights'][i] > 0
    targets = batch['targets'][i][weighed].tolist()
    if kind == 'bert':
      assert len(row) == WINDOW and row[0] == 2 and row[-1] == 3
      whole = np.where(weighed, batch['targets'][i], row)[1:-1]
    else:
      # T5 (Raffel et al. 2020, figure 2): each sentinel stands for its span,
      # and both sides end with </s>.
      *row, end = row
      assert end == targets.pop() == 1
      assert batch['decoder_tokens'][i, : len(targets) + 1].tolist() == [
        0,
        *targets,
      ]
      spans = {}
      for token in targets:
        if first - 10 < token <= first:
          spans[token] = latest = []
        else:
          latest.append(token)
      whole = [x for token in row for x in spans.pop(token, [token])]
      assert not spans
    assert ' '.join(f' {x} ' for x in whole) in held
  assert found.frame.n_text == dataset.tokenizer.n_text


def test_losses_are_those_of_the_model_on_these_rows(asked):
  _, found, _, batch, rows = asked
  arrays = {k: x for k, x in batch.items() if k not in ('targets', 'weights')}
  log_p = jax.nn.log_softmax(forward(found.model, arrays))
  nats = -np.take_along_axis(
    np.asarray(log_p), batch['targets'][..., None], axis=2
  )[..., 0]
  expected = nats[batch['weights'] > 0].mean()
  assert np.std(nats[batch['weights'] > 0]) > 0.3
  loss = next(row for row in rows if row['metric'] == 'loss')
  assert loss['value'] == pytest.approx(expected, rel=1e-5)
  assert 'documents run on; framed: ' in loss['rule']


def test_a_window_without_room_is_refused_in_one_line(asked):
  kind, found, dataset, *_ = asked
  with pytest.raises(BadInput, match='holds no text beside its frame'):
    perplexity.evaluate(found.model, dataset, window=1 + (kind == 'bert'))
