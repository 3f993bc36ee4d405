"""What the tests of the funnel run on."""

import pytest

from mrcnn_steps.data import CocoFolder
from tests.debug.funnel.photos import quick, write_photos


@pytest.fixture(scope="session")
def small():
    """The bundled model with a small input; who changes it, changes it back."""
    return quick()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Six photos in a folder, and their annotations."""
    folder = tmp_path_factory.mktemp("photos")
    return folder, write_photos(folder)


@pytest.fixture(scope="session")
def dataset(photos):
    """The six photos as a dataset."""
    return CocoFolder(*photos)
