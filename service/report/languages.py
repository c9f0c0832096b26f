"""The languages of a report. A new language is one file and one line in the table."""

from typing import Literal

from service.errors import UnknownName
from service.report.english import ENGLISH
from service.report.japanese import JAPANESE
from service.report.texts import Texts

Language = Literal["en", "ja"]

LANGUAGES: dict[Language, Texts] = {"en": ENGLISH, "ja": JAPANESE}


def parse_language(text: str) -> Language:
    """The language of that name. Raises UnknownName."""
    for language in LANGUAGES:
        if language == text:
            return language
    raise UnknownName("language", text, LANGUAGES)
