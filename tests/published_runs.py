"""The folder of other people's runs, for tests that are held to them."""

import os
import pathlib

import pytest


def folder():
  """The folder that SCALING_PUBLISHED names; skips the test without one."""
  name = os.environ.get('SCALING_PUBLISHED')
  if not name:
    pytest.skip('SCALING_PUBLISHED names no folder of published runs')
  return pathlib.Path(name)
