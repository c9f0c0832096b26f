"""How the bytes of CAMREEL_CACHE_BYTES are divided among the caches of a process."""

from dataclasses import dataclass, fields

MIB = 2**20


@dataclass(frozen=True)
class CacheSizes:
    """Limits of the caches of a process, in bytes; the defaults are the proportions of any total.

    Caches that are bounded by a number of small entries are not among them.
    """

    networks: int = 256 * MIB
    maps: int = 128 * MIB
    atlases: int = 96 * MIB
    pictures: int = 64 * MIB
    answers: int = 64 * MIB
    prepared_answers: int = 64 * MIB
    images: int = 16 * MIB  # PNGs of datasets' images

    @classmethod
    def share(cls, total_bytes: int, processes: int = 1) -> "CacheSizes":
        """The sizes in each of `processes` processes, whose caches together have `total_bytes`."""
        default = cls()
        scale = total_bytes / processes / default.total_bytes
        return cls(**{name: int(size * scale) for name, size in vars(default).items()})

    @property
    def total_bytes(self) -> int:
        """The sum of all caches of the process."""
        return sum(getattr(self, field.name) for field in fields(self))


DEFAULT_CACHE_SIZES = CacheSizes()
