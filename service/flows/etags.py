"""Entity tags: equal parts, drawn or computed by equal code, have equal tags."""

import hashlib
from importlib.metadata import PackageNotFoundError, version

from service import __version__

LIBRARIES = ("isal", "numpy", "pillow", "torch")
"""Their versions decide bytes: numbers of maps, typefaces, and how pictures are compressed."""


def etag_of(*parts: object) -> str:
    """128 bits of the SHA-256 of the parts and the code's versions, in hexadecimal digits.

    A part's `repr` is hashed, so it has to show everything that the answer depends on.
    """
    return hashlib.sha256(repr((CODE_VERSIONS, parts)).encode()).hexdigest()[:32]


def content_etag(content: bytes) -> str:
    """The same of bytes that are there already."""
    return hashlib.sha256(content).hexdigest()[:32]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # isal has no build for every interpreter
        return None


CODE_VERSIONS = (__version__, *((library, _version(library)) for library in LIBRARIES))
