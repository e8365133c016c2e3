"""Where are plugins looked for?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zquant_flow.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """`folder`: of plugin files. `modules`: named by the operator. `blocked`: names of plugins that stay out.

    `entry_points`: whether installed packages are asked (group `zquant_flow`).
    """

    folder: Path | None = None
    modules: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()
    entry_points: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Sources:
        """As the settings say; the folder as it stands, of which a server makes a copy first (`folder.Snapshots`)."""
        return cls(
            folder=settings.plugins_dir,
            modules=tuple(settings.plugins),
            blocked=frozenset(settings.blocked_plugins),
        )

    def to_json(self) -> dict[str, Any]:
        """For a child process."""
        return {
            "folder": str(self.folder) if self.folder is not None else None,
            "modules": list(self.modules),
            "blocked": sorted(self.blocked),
            "entry_points": self.entry_points,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Sources:
        """The same, in the child."""
        return cls(
            folder=Path(said["folder"]) if said["folder"] is not None else None,
            modules=tuple(said["modules"]),
            blocked=frozenset(said["blocked"]),
            entry_points=said["entry_points"],
        )
