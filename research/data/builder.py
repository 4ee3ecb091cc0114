"""The embedded corpus as a TFDS builder that needs no TensorFlow."""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from research.data.corpora import Embedded


class PublicDomainEnglish(tfds.core.GeneratorBasedBuilder):
  """Speeches, novels and scripture, all in the public domain.

  Importing this module makes the name `public_domain_english` known to TFDS.
  Prepare with `file_format='array_record'` and read with `as_data_source`.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': '2,026 documents, 20.9 MB of text.'}
  # Shuffling would part the chapters of a book from each other.
  DISABLE_SHUFFLING = True

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      description='Public-domain English: speeches, novels, scripture.',
      features=tfds.features.FeaturesDict(
        {
          'domain': tfds.features.Text(),
          'title': tfds.features.Text(),
          'text': tfds.features.Text(),
          'group': tfds.features.Text(),
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    del dl_manager
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, str]]]:
    for i, document in enumerate(Embedded().documents()):
      yield (
        i,
        {
          'domain': document.domain,
          'title': document.title,
          'text': document.text,
          'group': document.group or '',
        },
      )
