"""Where the reference cases lie."""

from tests.relevance.conftest import idc

__all__ = ["idc"]
