import pytest

from zquant_flow.definitions.loader import Loader


@pytest.fixture(scope="module")
def tasks_dir(tmp_path_factory):
    """One folder and one loader process for all tests of a module: the process is warm, files have names of their own."""
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def loader(tasks_dir):
    made = Loader(tasks_dir, yaml_timeout=10, python_timeout=1.5, timezone="Asia/Shanghai")
    yield made
    made.stop()


@pytest.fixture
def load(tasks_dir, loader):
    """Writes files and loads the first of them."""

    def load(files):
        for path, text in files.items():
            target = tasks_dir / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
        (found,) = loader.load([next(iter(files))])
        return found

    return load
