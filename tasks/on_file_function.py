"""The same for a function: its argument is the path. The file has to stand still for two seconds, however it is written."""

import json
from pathlib import Path

from zquant_flow import task


@task(on_file={"glob": "../inbox/**/*.json", "settle": "2s"}, max_active_runs=4)
def on_json(file: str) -> dict[str, int]:
    return {"entries": len(json.loads(Path(file).read_text(encoding="utf-8")))}
