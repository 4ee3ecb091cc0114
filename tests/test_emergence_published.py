"""Published runs get the verdicts that their authors' data allow.

The files are not part of the project: SCALING_PUBLISHED names their folder.
"""

import os
import pathlib

import pytest

from research.scaling.emergence import kinds, scores, verdict

FOLDER = os.environ.get('SCALING_PUBLISHED')
pytestmark = pytest.mark.skipif(
  FOLDER is None, reason='SCALING_PUBLISHED names no folder of published runs'
)


def judged(scale, **where):
  """Verdicts on Pythia (Biderman et al. 2023) by task."""
  path = pathlib.Path(FOLDER or '') / 'pythia_evals.csv'
  found = verdict.verdicts(scores.read(path, scale, where))
  return {v.task: v for v in found}


@pytest.fixture(scope='module', params=['0', '5'])
def sizes(request):
  """All sizes at the last step, deduplicated data and not as two runs."""
  return judged('params', step='143000', shots=request.param)


def test_the_onset_of_lambada_over_training_is_the_metrics():
  by_task = judged('step', model='pythia-1.4b', shots='0')
  lambada = by_task['lambada_openai']
  assert lambada.verdict == kinds.ARTEFACT
  # Accuracy is 0 through step 512; log perplexity had come from 15.1 to 11.6
  # of the way to 1.8.
  assert 'above 512, having made 0% of its way' in lambada.evidence
  assert 'ppl had made 26%' in lambada.evidence
  assert kinds.BREAK not in {v.verdict for v in by_task.values()}


def test_accuracy_alone_tells_of_lambadas_onset_only_that_it_saw_nothing():
  lambada = judged(
    'step', model='pythia-1.4b', shots='0', task='lambada_openai', metric='acc'
  )['lambada_openai']
  assert lambada.verdict == kinds.FLOOR and lambada.n_items == 5153


@pytest.mark.parametrize('task', ['lambada_openai', 'sciq'])
def test_concave_curves_across_sizes_are_smooth(sizes, task):
  assert sizes[task].verdict == kinds.SMOOTH
  assert sizes[task].to_dict()['interval95'] is None


def test_a_hundred_items_show_nothing_but_noise(sizes):
  assert sizes['wsc'].n_items == 104
  assert sizes['wsc'].verdict == kinds.NOISE


def test_no_published_task_breaks_across_sizes(sizes):
  said = {v.verdict for v in sizes.values()}
  assert said <= {kinds.SMOOTH, kinds.NOISE}


@pytest.mark.parametrize('deduped', ['True', 'False'])
def test_one_run_a_size_says_the_same(deduped):
  by_task = judged('params', step='143000', shots='0', deduped=deduped)
  assert by_task['lambada_openai'].verdict == kinds.SMOOTH
  assert by_task['sciq'].verdict == kinds.SMOOTH
  assert by_task['wsc'].verdict == kinds.NOISE
