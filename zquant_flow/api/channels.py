"""Channels over REST: by which ways are people told, and do they work?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import AfterValidator

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Ctl
from zquant_flow.api.languages import language_of, said
from zquant_flow.api.models import ChannelPage, TrialOut
from zquant_flow.api.security import signed_in
from zquant_flow.core.instants import from_micros
from zquant_flow.definitions.forms import check_name
from zquant_flow.notifiers.channels import ChannelState

router = APIRouter(prefix="/channels", tags=["notifications"], dependencies=[Depends(signed_in)])

ChannelName = Annotated[str, Path(description="The name of a channel."), AfterValidator(check_name)]


@router.get("", operation_id="list_channels", response_model=ChannelPage)
def list_channels(request: Request, control: Ctl) -> Response:
    """The channels of the settings by name, and how sending went since this server has started."""
    found = [_shown(state) for state in control.channels.listed()]
    return Json({"channels": said(found, language_of(request)), "total": len(found)})


@router.post("/{name:path}/test", operation_id="test_channel", response_model=TrialOut)
def test_channel(request: Request, control: Ctl, name: ChannelName) -> Response:
    """Send a message by this channel, once; the answer says whether it got there. Throttling does not hold it back."""
    error = control.channels.trial(name)
    answer = {"name": name, "sent": error is None, "error": error}
    return Json(said(answer, language_of(request)))


def _shown(state: ChannelState) -> Mapping[str, Any]:
    tally = state.tally
    return {
        "name": state.name,
        "type": state.type,
        "ready": not state.error,
        "error": state.error,
        "waiting": state.waiting,
        "sent": tally.sent,
        "failed": tally.failed,
        "dropped": tally.dropped,
        "last_success_time": from_micros(tally.last_success),
        "last_failure_time": from_micros(tally.last_failure),
        "last_error": tally.last_error,
    }
