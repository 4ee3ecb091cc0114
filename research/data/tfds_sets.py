"""Text sets of TensorFlow Datasets, read with no TensorFlow."""

from collections.abc import Iterator
import dataclasses
import difflib
import hashlib
import importlib
import json
from typing import Any

from research.config import BadInput
from research.data.documents import Document, decoded, one_line

_PACKAGES = (
  'text',
  'summarization',
  'translate',
  'question_answering',
  'text_simplification',
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDS:
  """A TensorFlow Datasets text set, read with no TensorFlow.

  A set that is not on disk yet is downloaded and prepared as array_record,
  the format that TFDS can read back without TensorFlow.

  Attributes:
    name: As TFDS writes it: `ag_news_subset`, `wiki40b/en`, `lm1b:1.1.0`.
    split: A split or slice of one: `train`, `train[:10%]`.
    feature: The feature that is the text; None takes `text`, or else the only
      text feature there is. Features `domain`, `title` and `group` are used
      where they exist.
    data_dir: Where prepared sets are; None is TFDS's own default.
  """

  name: str
  split: str = 'train'
  feature: str | None = None
  data_dir: str | None = None

  def documents(self) -> Iterator[Document]:
    """The set's records in stored order.

    Raises:
      BadInput: No such set, split or feature; a set that is on disk in
        another format; a record that is not UTF-8.
    """
    builder = self._builder()
    feature = self._text_feature(builder)
    for i, record in enumerate(self._source(builder)):
      where = f'record {i} of TFDS set {self.name!r}'
      text = {
        key: decoded(record[key], where)
        for key in (feature, 'domain', 'title', 'group')
        if isinstance(record.get(key), str | bytes)
      }
      yield Document(
        domain=text.get('domain', str(builder.name)),
        title=text.get('title', str(i)),
        text=text[feature],
        group=text.get('group') or None,
      )

  def content(self) -> str:
    """Hash of the set's name, version, config, split and feature."""
    builder = self._builder()
    parts = [builder.info.full_name, self.split, self._text_feature(builder)]
    return hashlib.blake2b(
      json.dumps(parts).encode(), digest_size=16
    ).hexdigest()

  def _builder(self) -> Any:
    import tensorflow_datasets as tfds

    # Registers the embedded corpus.
    importlib.import_module('research.data.builder')
    missing = tfds.core.DatasetNotFoundError
    try:
      try:
        return self._found(tfds)
      except missing:
        # TFDS registers its older sets only when their package is imported.
        for package in _PACKAGES:
          importlib.import_module(f'tensorflow_datasets.{package}')
        return self._found(tfds)
    except missing as error:
      known = [line.strip('\t -') for line in str(error).splitlines()]
      name = self.name.partition('/')[0].partition(':')[0]
      near = difflib.get_close_matches(name, known, 3) or ['none']
      raise BadInput(
        f'corpus.name: TFDS has no set {self.name!r}; nearest: '
        + ', '.join(near)
      ) from None
    except (ValueError, AssertionError, ImportError) as error:
      raise BadInput(one_line(f'corpus.name={self.name!r}', error)) from error

  def _found(self, tfds: Any) -> Any:
    return tfds.builder(
      self.name, data_dir=self.data_dir, file_format='array_record'
    )

  def _source(self, builder: Any) -> Any:
    try:
      builder.download_and_prepare()
    except ImportError as error:
      raise BadInput(
        one_line(
          f'corpus.name: preparing {self.name!r} needs a package that is not'
          ' installed; prepare it elsewhere with'
          " file_format='array_record' and give corpus.data_dir",
          error,
        )
      ) from error
    try:
      return builder.as_data_source(split=self.split)
    except (ValueError, KeyError, NotImplementedError) as error:
      raise BadInput(
        one_line(f'corpus.split={self.split!r} of {self.name!r}', error)
      ) from error

  def _text_feature(self, builder: Any) -> str:
    import tensorflow_datasets as tfds

    texts = [
      name
      for name, feature in (builder.info.features or {}).items()
      if isinstance(feature, tfds.features.Text)
    ]
    name = self.feature or ('text' if 'text' in texts else None)
    if name is None and len(texts) == 1:
      name = texts[0]
    if name is None or name not in texts:
      raise BadInput(
        f'corpus.feature={self.feature}: {self.name!r} has text features'
        f' {", ".join(texts) or "none"}; choose one'
      )
    return name
