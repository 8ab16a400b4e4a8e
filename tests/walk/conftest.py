"""What every walk has."""

from collections.abc import Iterator

import pytest

from tests.walk.quick import remembering


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    """See ``quick``."""
    with remembering():
        yield
