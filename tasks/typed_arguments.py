"""Annotations are the types of a task's params. The same in YAML: typed_params.yaml"""

from datetime import date
from typing import Literal

from zquant_flow import task


@task
def typed_arguments(day: date, symbol: Literal["ALL", "SH", "SZ"] = "ALL", limit: int = 100):
    print(symbol, limit, day)  # a day arrives as text: 2026-01-05
    return [symbol, limit, day]
