"""Which texts do the sources say, and what do the catalogues make of them?

`make messages` (this module) writes the `.po` anew, with every text of the sources and the translations it had, and
compiles it. Texts that are new stand there with an empty translation.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

from zquant_flow.wording import CATALOGUES, DOMAIN

PACKAGE = Path(__file__).parent.parent / "zquant_flow"
PO = Path(CATALOGUES) / "zh" / "LC_MESSAGES" / f"{DOMAIN}.po"
MO = PO.with_suffix(".mo")
SPEAKERS = {"say": None, "joined": None, "t": None}
"""The functions whose first argument is a text."""

_HEADER = """\
# The Chinese texts of zquant-flow. `make messages` keeps this file in line with the sources.
msgid ""
msgstr ""
"Language: zh\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


def extracted() -> set[str]:
    """Every text in the sources."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        with path.open("rb") as file:
            found |= {str(text) for _, text, _, _ in extract("python", file, keywords=SPEAKERS) if text}
    return found


def written() -> dict[str, str]:
    """The translations in the `.po`."""
    with PO.open("rb") as file:
        return _texts(read_po(file, locale="zh"))


def compiled() -> dict[str, str]:
    """The translations in the `.mo`."""
    with MO.open("rb") as file:
        return _texts(read_mo(file))


def main() -> None:
    """Bring both files in line with the sources."""
    before = written() if PO.exists() else {}
    catalog = Catalog(locale="zh", creation_date=_UNDATED, revision_date=_UNDATED)
    for text in sorted(extracted()):
        catalog.add(text, before.get(text, ""))
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(_HEADER.encode() + _po(catalog))
    with MO.open("wb") as file:
        write_mo(file, catalog)
    for text in sorted(text for text, translation in _texts(catalog).items() if not translation):
        print(f"not translated: {text}")


def _po(catalog: Catalog) -> bytes:
    out = io.BytesIO()
    write_po(out, catalog, width=0, no_location=True, omit_header=True, sort_output=True)
    return out.getvalue()


def _texts(catalog: Catalog) -> dict[str, str]:
    return {str(message.id): str(message.string or "") for message in catalog if message.id}


if __name__ == "__main__":
    main()
