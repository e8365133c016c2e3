"""How is work for a database described? `sql_work` does it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zquant_flow.wording import say

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
FILES = (".csv", ".parquet")


class SqlConfig(BaseModel):
    """One statement or several, in one transaction unless `autocommit`. The last one that gives rows gives the result."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    url: Text | None = None
    url_env: Text | None = None
    statements: Text | Annotated[list[Text], Field(min_length=1)]
    parameters: dict[str, Any] = {}
    autocommit: bool = False
    limit: Annotated[int, Field(ge=0, le=100_000)] = 1000
    to: Text | None = None
    min_rows: Count | None = None
    max_rows: Count | None = None
    expect: Any = None
    connect_args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> SqlConfig:
        if (self.url is None) == (self.url_env is None):
            raise ValueError(say("give one of url and url_env"))
        if self.to is not None and not self.to.endswith(FILES):
            raise ValueError(say("to names a file that ends in .csv or .parquet"))
        if self.to is not None and "expect" in self.model_fields_set:
            raise ValueError(say("expect goes without to: rows that go into a file are not compared"))
        return self

    def listed(self) -> list[str]:
        """The statements as a list."""
        return [self.statements] if isinstance(self.statements, str) else self.statements
