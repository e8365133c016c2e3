"""Channels over REST and from the command line: what there is, and whether it works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Api, make
from tests.executors.web import Answer, Web, serving
from zquant_flow.executors.installed import built_in
from zquant_flow.notifiers.channels import Channels
from zquant_flow.plugin.channels import NotifySettings


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as made:
        yield made


@pytest.fixture
def channels(api: Api, web: Web) -> Iterator[None]:
    said = {
        "ops": {"type": "webhook", "url": f"{web.url}/a-token-of-the-channel", "allow_private": True},
        "bad": {"type": "smoke"},
    }
    control: Any = api.client.app.state.control  # type: ignore[attr-defined]
    before = control.channels
    control.channels = Channels(NotifySettings.model_validate({"channels": said}))
    control.channels.use(built_in().notifiers)
    yield
    control.channels = before


def test_channels_are_listed_with_how_they_are_and_without_where_they_lead(api: Api, channels: None) -> None:
    answer = api("GET", "/channels", status=200, headers={"Accept-Language": "zh"})
    bad, ops = answer["channels"]
    assert (ops["name"], ops["type"], ops["ready"], ops["sent"], ops["last_error"]) == (
        "ops",
        "webhook",
        True,
        0,
        None,
    )
    assert (bad["ready"], bad["error"][:6]) == (False, "没有名为 '")
    assert "a-token" not in str(answer)


def test_a_test_says_whether_it_got_there(api: Api, channels: None, web: Web) -> None:
    web.says(Answer(200), Answer(503))
    assert api("POST", "/channels/ops/test", status=200) == {"name": "ops", "sent": True, "error": None}
    failed = api("POST", "/channels/ops/test", status=200)
    assert failed == {"name": "ops", "sent": False, "error": "the answer was 503"}
    ops = api("GET", "/channels")["channels"][1]
    assert (ops["sent"], ops["failed"], ops["last_error"]) == (1, 1, "the answer was 503")
    assert ops["last_success_time"] <= ops["last_failure_time"]
    assert (
        api("POST", "/channels/opps/test", status=404)["detail"]
        == "no channel is named 'opps': there are bad, ops"
    )


def test_a_task_shows_whom_it_tells_and_warns_of_channels_that_are_not_there(
    api: Api, channels: None
) -> None:
    task = make(api, notify={"on_failure": ["ops"]})
    assert (task["notify"], task["warnings"]) == ({"on_failure": ["ops"]}, [])
    changed = api("PUT", f"/tasks/{task['id']}", json={"notify": "opps"}, status=200)
    assert changed["notify"] == {"on_failure": ["opps"], "on_recovery": ["opps"]}
    assert changed["warnings"] == ["unknown_channel"]
    assert api("PUT", f"/tasks/{task['id']}", json={"notify": None}, status=200)["notify"] is None
