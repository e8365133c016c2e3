"""Which files does the page have? Those that were released with it, and no other: nothing comes from another host.

Third-party scripts stand in `vendor/` as they were published; `vendor/VERSIONS.json` has their version, licence and
checksums, and `python -m zquant_flow.web.vendoring` fetches them anew.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_REFERENCE = {
    "index.html": HERE / "reference" / "index.html",
    "reference.js": HERE / "reference" / "reference.js",
    "reference.css": HERE / "reference" / "reference.css",
    "swagger-ui-bundle.js": HERE / "vendor" / "swagger-ui" / "swagger-ui-bundle.js",
    "swagger-ui.css": HERE / "vendor" / "swagger-ui" / "swagger-ui.css",
}


def media_type(name: str) -> str:
    """The content type of a file."""
    return _TYPES[Path(name).suffix]


@cache
def reference_file(name: str) -> bytes | None:
    """A file of the API's reference; None for a name that it has not."""
    path = _REFERENCE.get(name)
    return path.read_bytes() if path else None
