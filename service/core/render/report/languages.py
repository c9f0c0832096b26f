"""The languages that a report can be in. A new one is a file and a line in the table."""

from typing import Literal

from service.core.render.report.english import ENGLISH
from service.core.render.report.japanese import JAPANESE
from service.core.render.report.texts import Texts

Language = Literal["en", "ja"]

LANGUAGES: dict[Language, Texts] = {"en": ENGLISH, "ja": JAPANESE}
