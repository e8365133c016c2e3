"""Which kinds of files fill a folder? A Python task with params, live progress and a JSON result.

Relative paths start at the folder of this file, so that the default looks at the tasks themselves.
"""

from collections import Counter
from pathlib import Path

from zquant_flow import current, task


@task(cron="30 7 * * *", timeout="10m", max_retries=2, retry_interval=30)
def disk_report(folder: str = ".", largest: int = 3):
    """Files and bytes below a folder, by suffix, and the largest files."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"{root.resolve()} is no folder")
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    sizes = {path: path.stat().st_size for path in current().track(paths, "files")}

    by_suffix: Counter[str] = Counter()
    for path, size in sizes.items():
        by_suffix[path.suffix or "(none)"] += size
    biggest = sorted(sizes, key=lambda path: sizes[path], reverse=True)[:largest]
    for path in biggest:
        print(f"{sizes[path]:>12,}  {path}")
    return {
        "files": len(sizes),
        "bytes": sum(sizes.values()),
        "bytes_by_suffix": dict(by_suffix.most_common()),
        "largest": [str(path) for path in biggest],
    }
