"""Who of a group's devices is left, page by page, over HTTP."""

from dataclasses import replace
from typing import Any

import pytest

from shared.fleet import Work
from tests.fleet.kit import Fleet, a_fleet, names
from tests.fleet.moving import Asked
from tests.http_api import HttpApi

pytestmark = pytest.mark.usefixtures("quiet")
FIRST = "group.pumps.1"


@pytest.fixture
def fleet() -> Fleet:
    fleet = a_fleet(450, Work.WAVE)
    fleet.world.settings = replace(fleet.world.settings, waves=replace(fleet.world.settings.waves, moved_share=0.5))
    return fleet


@pytest.fixture
def http(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> HttpApi:
    return HttpApi(fleet.world, monkeypatch)


WHO_IS_LEFT = f"/api/rollovers/{FIRST}/stragglers"


def page(http: HttpApi, **query: str) -> dict[str, Any]:
    answer = http.get(WHO_IS_LEFT, **query)
    assert answer.status == 200, answer.json
    return answer.json


def test_all_that_are_left_are_named_page_by_page_with_the_reason(fleet, http):
    asked = Asked(fleet)
    late = names(450)[300:]
    asked.disconnect(*late)
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 300)
    pages = [page(http)]
    while (more := pages[-1]["next"]) is not None:
        pages.append(page(http, work="wave", after=more))
    found = [one for shown in pages for one in shown["stragglers"]]
    assert [one["device_id"] for one in found] == late
    assert len(pages) > 1
    assert {one["connected"] for one in found} == {False}


def test_there_is_no_list_before_a_work_is_begun_and_none_of_an_unknown_work(fleet, http):
    assert page(http) == {"work": None, "stragglers": [], "next": None}
    assert http.get(WHO_IS_LEFT, work="dance").status == 400
    assert http.get(WHO_IS_LEFT, after="-1").status == 400
    assert http.get(WHO_IS_LEFT, who_else="me").status == 400
