"""The curve holds whole lines of finished steps, and waits for none."""

import json
import math
import resource
import sys
import time

from etils import epath
import jax
import pytest

from research.config import BadInput
from research.train import peak
from research.train.metrics import Cost, Curve, Logging, NonFinite

KEYS = [
  'step',
  'loss',
  'grad_norm',
  'learning_rate',
  'tokens',
  'tokens_per_second',
  'mfu',
  'data_hash',
]


def values(loss=1.5, grad_norm=0.5):
  return {'loss': loss, 'grad_norm': grad_norm, 'learning_rate': 0.1}


def curve(path, n_steps=10, start=0, lag=0, **cfg):
  return Curve(
    epath.Path(path),
    Logging(**{'every': 1, **cfg}),
    Cost(tokens=100, flops=1000),
    n_steps=n_steps,
    n_devices=2,
    start=start,
    lag=lag,
  )


def rows(path):
  text = (path / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_what_the_step_was(tmp_path):
  c = curve(tmp_path, peak_flops=1e6)
  for step in range(1, 4):
    time.sleep(0.01)
    c.add(step, f'hash {step}', values(loss=step))
  c.close()
  found = rows(tmp_path)
  assert all(list(row) == KEYS for row in found)
  assert [row['step'] for row in found] == [1, 2, 3]
  assert [row['loss'] for row in found] == [1, 2, 3]
  assert [row['tokens'] for row in found] == [100, 200, 300]
  assert [row['data_hash'] for row in found] == ['hash 1', 'hash 2', 'hash 3']
  assert found[0]['tokens_per_second'] is found[0]['mfu'] is None  # compiled
  for row in found[1:]:
    assert 0 < row['tokens_per_second'] <= 100 / 0.01
    steps = row['tokens_per_second'] / 100
    assert row['mfu'] == pytest.approx(steps * 1000 / (2 * 1e6))


def test_mfu_of_an_unknown_device_is_null(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'another')
  c = curve(tmp_path)
  for step in 1, 2:
    c.add(step, '', values())
  c.close()
  assert rows(tmp_path)[1]['mfu'] is None


def test_peaks_go_by_the_longest_name():
  assert peak.stated('NVIDIA H100 80GB HBM3') == 989e12
  assert peak.stated('NVIDIA H100 PCIe') == 756e12
  assert peak.stated('TPU v5 lite') == 197e12
  assert peak.stated('TPU v5p') == 459e12
  assert peak.stated('cpu') is None


def test_cpu_devices_share_what_a_matrix_product_reaches():
  assert peak.peak(1) == peak.peak(8) == peak.measured()
  assert 1e9 < peak.measured() < 1e14


def test_every_so_many_steps_and_the_last_are_logged(tmp_path):
  c = curve(tmp_path, every=4)
  for step in range(1, 11):
    c.add(step, '', values())
  c.close()
  assert [row['step'] for row in rows(tmp_path)] == [4, 8, 10]


class Later:
  """A number that a device has yet to compute."""

  ready = False

  def __float__(self):
    assert self.ready, 'waited for the device'
    return 1.0


def test_a_step_under_way_is_not_waited_for(tmp_path):
  c = curve(tmp_path, lag=2)
  started = [Later() for _ in range(5)]
  for step, loss in enumerate(started, 1):
    if step > 2:
      started[step - 3].ready = True
    c.add(step, '', {**values(), 'loss': loss})
    assert c.step == max(step - 2, 0)
  for loss in started:
    loss.ready = True
  c.drain()
  assert c.step == 5
  c.close()


@pytest.mark.parametrize(
  'bad', [{'loss': math.nan}, {'loss': math.inf}, {'grad_norm': math.nan}]
)
def test_what_is_no_number_stops_the_run_by_name(tmp_path, bad):
  c = curve(tmp_path, every=100)
  c.add(1, 'good', values())
  with pytest.raises(NonFinite, match='step 2: .*data hash bad'):
    c.add(2, 'bad', values(**bad))
  c.close()


def test_lines_past_the_restored_step_are_dropped(tmp_path):
  c = curve(tmp_path)
  for step in 1, 2, 3, 4:
    c.add(step, 'first', values(loss=step))
  c.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 5, "lo')  # killed
  c = curve(tmp_path, start=2)
  assert c.last['step'] == 2
  c.add(3, 'second', values())
  c.close()
  found = [(row['step'], row['data_hash']) for row in rows(tmp_path)]
  assert found == [(1, 'first'), (2, 'first'), (3, 'second')]


def test_a_full_disk_leaves_whole_lines(tmp_path):
  c = curve(tmp_path)
  c.add(1, '', values())
  size = (tmp_path / 'metrics.jsonl').stat().st_size
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
  try:
    with pytest.raises(OSError):
      c.add(2, '', values())
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    c.close()
  assert [row['step'] for row in rows(tmp_path)] == [1]


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
  c = curve(tmp_path, tensorboard=True)
  c.add(1, '', values())
  c.close()
  (events,) = (tmp_path / 'tensorboard').iterdir()
  assert b'learning_rate' in events.read_bytes()
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(BadInput, match='pip install tensorboardX'):
    curve(tmp_path, tensorboard=True)


def test_settings_that_make_no_sense_are_bad_input():
  with pytest.raises(BadInput, match='every=0'):
    Logging(every=0)
  with pytest.raises(BadInput, match='peak_flops'):
    Logging(peak_flops=-1.0)
