"""Under which names are the files of a plugins folder imported?

`plugins/greet.py` is the module `zquant_flow_plugins.greet` everywhere: in the control plane, in the loader, in workers. So
a plugin file may be called `http.py`. Beside that they find each other as `import helper`, after everything that is installed.

Imports nothing heavy: workers use it too.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

PACKAGE = "zquant_flow_plugins"


def open_folder(folder: str) -> None:
    """Let the modules of this folder be imported; what came from another one is forgotten."""
    package = sys.modules.get(PACKAGE)
    if package is not None and package.__path__ == [folder]:
        return
    if package is not None:
        _forget(package.__path__[0])
    made = ModuleType(PACKAGE, "The files of the plugins folder.")
    made.__path__ = [folder]
    sys.modules[PACKAGE] = made
    sys.path.append(folder)
    importlib.invalidate_caches()


def module_name(name: str) -> str:
    """The module of a plugin file or package of that name."""
    return f"{PACKAGE}.{name}"


def in_folder(module: str) -> bool:
    """Whether a module is of the plugins folder."""
    return module.startswith(f"{PACKAGE}.")


def _forget(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name == PACKAGE or in_folder(name) or file.startswith(f"{folder}/"):
            del sys.modules[name]
