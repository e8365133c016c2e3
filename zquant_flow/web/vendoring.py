"""How do third-party scripts get here? From the npm registry, by its own client, checked and written down.

`python -m zquant_flow.web.vendoring` fetches the versions that are named below and writes files and checksums;
`--check` only compares the checksums with the files.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent / "vendor"
PACKAGES = {
    "swagger-ui-dist": {
        "version": "5.35.0",
        "licence": "Apache-2.0",
        "folder": "swagger-ui",
        "files": [
            "swagger-ui-bundle.js",
            "swagger-ui-bundle.js.LICENSE.txt",
            "swagger-ui.css",
            "LICENSE",
            "NOTICE",
        ],
    },
}


def main(arguments: list[str]) -> int:
    """Fetch, or check; the exit code."""
    if arguments == ["--check"]:
        wrong = changed_files()
        for path in wrong:
            print(f"{path} is not the file that was released", file=sys.stderr)  # noqa: T201
        return 1 if wrong else 0
    for name in PACKAGES:
        _fetch(name)
    (VENDOR / "VERSIONS.json").write_text(json.dumps(_described(), indent=2) + "\n")
    return 0


def changed_files() -> list[str]:
    """The files that differ from what `VERSIONS.json` says, below `vendor/`."""
    known = json.loads((VENDOR / "VERSIONS.json").read_text())
    return [
        f"{package['folder']}/{name}"
        for package in known.values()
        for name, digest in package["sha256"].items()
        if _digest(VENDOR / package["folder"] / name) != digest
    ]


def _fetch(name: str) -> None:
    package = PACKAGES[name]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", f"{name}@{package['version']}", "--silent"], cwd=scratch, check=True)
        [archive] = Path(scratch).glob("*.tgz")
        folder = VENDOR / str(package["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as released:
            for file in package["files"]:
                source = released.extractfile(f"package/{file}")
                assert source is not None
                (folder / file).write_bytes(source.read())


def _described() -> dict[str, object]:
    return {
        name: {
            **{key: package[key] for key in ("version", "licence", "folder")},
            "sha256": {file: _digest(VENDOR / str(package["folder"]) / file) for file in package["files"]},
        }
        for name, package in PACKAGES.items()
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
