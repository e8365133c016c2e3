"""What fault tests share with those of the engine."""

from tests.engine.conftest import h, url

__all__ = ["h", "url"]
