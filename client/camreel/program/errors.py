"""Errors of programs. The texts are meant for users."""


class ProgramError(Exception):
    """Base of the errors of this package."""


class InvalidProgram(ProgramError):
    """A program, or its tensors, are not acceptable. `field` is a path: `steps.3.arguments.dim`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class ExportError(ProgramError):
    """A module cannot be exported. `location` is the line of the user's code, where it is known."""

    def __init__(self, reason: str, location: str | None = None) -> None:
        super().__init__(f"{reason} ({location})" if location else reason)
        self.reason = reason
        self.location = location


class BakedWeights(ExportError):
    """The exported graph has weights as constants: it would compute the same at each epoch."""
