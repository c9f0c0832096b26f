"""Numbers in sentences: "1 epoch", "2 epochs"."""


class Count(int):
    """A number with the noun for it: `f"{Count(1):epoch|epochs}"` is "1 epoch"."""

    def __format__(self, nouns: str) -> str:
        one, separator, other = nouns.partition("|")
        if not separator:
            return super().__format__(nouns)
        return f"{int(self):,} {one if self == 1 else other}"
