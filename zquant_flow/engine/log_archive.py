"""How do the logs of attempts, what they have kept and their large results go beside a backup, and come back?"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

from zquant_flow.engine.log_files import PER_FOLDER, folders, logs_in
from zquant_flow.errors import BadRequest, Unavailable
from zquant_flow.store.backup import place
from zquant_flow.wording import say

_NAME = re.compile(r"logs/(\d+)/(\d+)(?:-\d+\.log|\.(?:state|result)\.json)", re.ASCII)


def beside(backup: Path) -> Path:
    """Where the logs of a backup are."""
    return backup.with_name(f"{backup.name}.logs.tar")


def pack(data_dir: Path, target: Path, last_id: int) -> int:
    """Write the logs of the executions up to that id to a new file, mode 0600; how many there were."""
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    count = 0
    try:
        with open(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            # Results that executions share are links: each is a file of its own here.
            with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
                for folder in folders(data_dir):
                    if folder * PER_FOLDER > last_id:
                        break
                    for log in logs_in(data_dir, folder):
                        count += log.execution_id <= last_id and _add(archive, data_dir, log.path)
            file.flush()
            os.fsync(file.fileno())
        place(building, target)
    except FileExistsError as exc:
        raise BadRequest(say("{file} is there already; choose another name", file=str(target))) from exc
    except OSError as exc:
        raise Unavailable(
            say("{file} can't be written: {error}", file=str(target), error=exc.strerror or str(exc))
        ) from exc
    finally:
        building.unlink(missing_ok=True)
    return count


def _add(archive: tarfile.TarFile, data_dir: Path, path: str) -> bool:
    """Add a log as long as it is now; False for one that has gone meanwhile."""
    try:
        with open(path, "rb") as log:
            facts = archive.gettarinfo(arcname=os.path.relpath(path, data_dir), fileobj=log)
            facts.uid = facts.gid = 0
            facts.uname = facts.gname = ""
            archive.addfile(facts, log)
    except FileNotFoundError:
        return False
    return True


def unpack(archive: Path, data_dir: Path) -> int:
    """Bring back the logs that are not there any more; how many there were. What is no log of ours is left alone."""
    count = 0
    try:
        with tarfile.open(archive, mode="r:") as opened:
            for member in opened:
                name = _NAME.fullmatch(member.name)
                if name and member.isreg() and int(name[2]) // PER_FOLDER == int(name[1]):
                    count += _extract(opened, member, data_dir)
    except (OSError, tarfile.TarError) as exc:
        raise BadRequest(say("{file} can't be read: {error}", file=str(archive), error=str(exc))) from exc
    return count


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, data_dir: Path) -> bool:
    path, content = data_dir / member.name, archive.extractfile(member)
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        while content is not None and (data := content.read(1 << 20)):
            file.write(data)
    os.utime(path, (member.mtime, member.mtime))
    return True
