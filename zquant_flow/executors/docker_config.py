"""How is a container described? `docker_container` runs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Words = str | list[str]


class DockerConfig(BaseModel):
    """One container. `volumes` as `docker run -v` has them: source, target, and perhaps `ro`."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, defer_build=True)

    image: Text
    command: Words | None = None
    entrypoint: Words | None = None
    environment: dict[Text, str] = {}
    volumes: list[Annotated[str, Field(pattern="^[^:]+:[^:]+(:[a-zA-Z,]+)?$")]] = []
    workdir: Text | None = None
    user: Text | None = None
    network: Text | None = None
    pull: Literal["missing", "always", "never"] = "missing"
    memory: Annotated[str, Field(pattern="^[1-9][0-9]*[bkmgBKMG]?$")] | None = None
    cpus: Annotated[float, Field(gt=0, le=4096)] | None = None
    labels: dict[Text, str] = {}
    auto_remove: bool = True
    stop_seconds: Annotated[int, Field(ge=0, le=8)] = 5
    host: Text | None = None
