"""Which settings hold? Flags win over the environment, the environment over `zquant-flow.toml` in the working directory.

The only reader of the environment. CONTRACT names every setting.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import unicodedata
from functools import cached_property
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from zquant_flow.complaints import complaint
from zquant_flow.errors import BadRequest
from zquant_flow.plugin.channels import NotifySettings
from zquant_flow.wording import joined, say, spoken


class Settings(BaseSettings):
    """All settings, validated. Paths are resolved; nothing is created by reading them."""

    model_config = SettingsConfigDict(
        env_prefix="ZQUANT_FLOW_", toml_file="zquant-flow.toml", extra="ignore", frozen=True
    )

    tasks_dir: Path = Path("tasks")
    plugins_dir: Path = Path("plugins")
    plugins: Annotated[list[str], NoDecode] = []
    blocked_plugins: Annotated[list[str], NoDecode] = []
    backend: Annotated[str, Field(min_length=1, max_length=100)] = "local"
    calendars_dir: Path = Path("calendars")
    data_dir: Path = Path(".zquant-flow")
    database_url: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    timezone: str = ""
    thread_pool_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    admin_token: str = ""
    secret_key: str = ""
    server_url: str = ""
    token: str = ""
    shutdown_grace: Annotated[float, Field(ge=0)] = 30.0
    for_each_limit: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    lease_seconds: Annotated[float, Field(ge=1, le=300)] = 6.0
    locale: Literal["en", "zh"] = "en"
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    retention_count: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    log_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    notify: NotifySettings = NotifySettings()
    pools: dict[
        Annotated[str, Field(min_length=1, max_length=100)], Annotated[int, Field(ge=0, le=100_000)]
    ] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("tasks_dir", "plugins_dir", "calendars_dir", "data_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return Path.cwd() / path.expanduser()

    @field_validator("plugins", "blocked_plugins", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """The environment has one text: `a,b`."""
        return (
            [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
        )

    @field_validator("pools")
    @classmethod
    def _normal_names(cls, pools: dict[str, int]) -> dict[str, int]:
        return {unicodedata.normalize("NFC", name): slots for name, slots in pools.items()}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name:
            zone_named(name)
        return name

    @cached_property
    def zone(self) -> ZoneInfo:
        """The default zone of schedules: the setting, else the machine's."""
        return zone_named(self.timezone or machine_zone_name())

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'zquant-flow.db'}"

    def own_token(self) -> str:
        """The admin's bearer token: the setting, else one made once and kept in `<data>/admin.token`, mode 0600."""
        return self.kept_token() or _write_once(self.data_dir / "admin.token", secrets.token_urlsafe(32))

    def own_secret(self) -> str:
        """What secrets are made from: the setting, else text made once and kept in `<data>/secret.key`, mode 0600."""
        return self.secret_key or _write_once(self.data_dir / "secret.key", secrets.token_urlsafe(32))

    def kept_token(self) -> str | None:
        """The same, or None where there is none yet."""
        if self.admin_token:
            return self.admin_token
        try:
            return (self.data_dir / "admin.token").read_text().strip() or None
        except OSError:
            return None


def load_settings(**flags: Any) -> Settings:
    """Settings with these flags on top; a flag that is None was not given. Raises BadRequest that names the setting."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except TOMLDecodeError as exc:
        raise BadRequest(say("zquant-flow.toml can't be read: {error}", error=spoken(exc))) from exc
    except ValidationError as exc:
        faults = [
            complaint(error["type"], error["loc"], error.get("ctx", {}), error["msg"])
            for error in exc.errors()
        ]
        raise BadRequest(say("settings: {faults}", faults=joined("; ", faults))) from exc


def data_folder_around(settings: Settings) -> Path:
    """The data folder of the project that the working directory is in: looked for upwards from here, as git does.

    A folder that is not ours is passed by: whoever made it would say where our commands go. Where there is none it is
    the one of the settings, which may not be there yet.
    """
    here = Path.cwd()
    if settings.data_dir.is_dir() or not settings.data_dir.is_relative_to(here):
        return settings.data_dir
    relative = settings.data_dir.relative_to(here)
    for folder in here.parents:
        candidate = folder / relative
        if candidate.is_dir() and candidate.stat().st_uid == os.getuid():
            return candidate
    return settings.data_dir


def settings_around(**flags: Any) -> Settings:
    """The settings of that project, as its own folder has them. Changes the working directory meanwhile: for commands."""
    settings = load_settings(**flags)
    found = data_folder_around(settings)
    if found == settings.data_dir or flags.get("data_dir") is not None:
        return settings
    root = found.parents[len(settings.data_dir.relative_to(Path.cwd()).parts) - 1]
    with contextlib.chdir(root):
        return load_settings(**flags)


def zone_named(name: str) -> ZoneInfo:
    """The zone of that IANA name; raises BadRequest for a name that nobody knows."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadRequest(
            say("unknown time zone {name!r}; IANA names look like Asia/Shanghai or UTC", name=name)
        ) from None


def machine_zone_name() -> str:
    """The IANA name of the machine's zone; UTC where it has none."""
    from tzlocal import get_localzone_name

    return get_localzone_name() or "UTC"


def _write_once(path: Path, text: str) -> str:
    """Write a secret that only its owner reads, unless another process was faster; the text that stands there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text
