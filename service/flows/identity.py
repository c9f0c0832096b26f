"""Identity hashes: equal parts, computed or drawn by equal code, have equal identities."""

import hashlib
from importlib.metadata import PackageNotFoundError, version

from service import __version__

LIBRARIES = ("isal", "numpy", "pillow", "torch")
"""Libraries whose versions affect bytes: map values, typefaces, and compression."""


def identity_of(*parts: object) -> str:
    """Hash of the parts and the code's versions: 32 hexadecimal digits (128 bits of SHA-256).

    A part's `repr` is hashed, so it has to show everything that the result depends on.
    """
    return hashlib.sha256(repr((CODE_VERSIONS, parts)).encode()).hexdigest()[:32]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # isal has no build for every interpreter
        return None


CODE_VERSIONS = (__version__, *((library, _version(library)) for library in LIBRARIES))
