"""What the tests of the HTTP functions share."""

from collections.abc import Callable

import pytest

from tests.fakes import World
from tests.http_api import HttpApi


@pytest.fixture
def http_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], HttpApi]:
    """The HTTP API over a world."""
    return lambda world: HttpApi(world, monkeypatch)
