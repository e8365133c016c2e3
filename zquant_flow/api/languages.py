"""In which language does an answer speak? The messages that the origin prints are Chinese unless English is asked for."""

from __future__ import annotations

from fastapi import Request

_MESSAGES = {"triggered": {"zh": "任务已触发", "en": "task triggered"}}


def message(key: str, request: Request) -> str:
    """The message in the language of `Accept-Language`; Chinese without one."""
    asked = request.headers.get("accept-language", "").lower()
    first = asked.split(",")[0].split(";")[0].strip()
    return _MESSAGES[key]["en" if first.startswith("en") else "zh"]
