"""Every name that `mrcnn_widgets` offers is there, and loaded only when it is asked for."""

import pytest

import mrcnn_widgets


@pytest.mark.parametrize("name", mrcnn_widgets.__all__)
def test_every_name_is_there(name):
    assert getattr(mrcnn_widgets, name).__name__ == name


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        mrcnn_widgets.nonsense  # noqa: B018
