"""Validation of text that users enter, and display of stored text that would not be valid.

Refused are characters that alter how the surrounding text is displayed or stored: control
characters (C0, C1, DEL), line and paragraph separators, bidirectional controls, unpaired
surrogates and noncharacters. Joiners and variation selectors are allowed: emoji and several scripts
need them.
"""

import re
import unicodedata

from pydantic_core import PydanticCustomError

_REFUSED = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's Bidi_Control
    "\ud800-\udfff"  # surrogates
    "\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
)
_REFUSED_IN_LINE = re.compile(f"[{_REFUSED}]")
_REFUSED_IN_PARAGRAPHS = re.compile(f"(?![\t\n])[{_REFUSED}]")
_VISIBLE = re.compile(
    # Neither white space, nor Default_Ignorable_Code_Point, nor the blank pattern of Braille.
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

REPLACEMENT = "\ufffd"

NAME_PATTERN = (
    "^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069"
    "\\ufdd0-\\ufdef\\ufffe\\uffff]*$"
)
"""For JSON schemas: refuses the same characters, except those beyond U+FFFF."""


def check_line(text: str) -> str:
    """The text, a single line. Raises ValueError that names the first refused character."""
    return _check(text, _REFUSED_IN_LINE)


def check_paragraphs(text: str) -> str:
    """The text, of any number of lines. Raises ValueError like `check_line`."""
    return _check(text, _REFUSED_IN_PARAGRAPHS)


def check_name(text: str) -> str:
    """The text, a single line that is empty or has a visible character. Raises ValueError."""
    check_line(text)
    if text and not _VISIBLE.search(text):
        raise PydanticCustomError("invisible_text", "has only characters that cannot be seen")
    return text


def sanitize_line(text: str) -> str:
    """Stored text for display, with refused characters replaced by U+FFFD."""
    return _REFUSED_IN_LINE.sub(REPLACEMENT, text)


def sanitize_name(text: str) -> str:
    """A stored name for display, as `sanitize_line`; empty if no character is visible."""
    line = sanitize_line(text)
    return line if _VISIBLE.search(line) else ""


def _check(text: str, refused_characters: re.Pattern[str]) -> str:
    match = refused_characters.search(text)
    if match is not None:
        character = match[0]
        name = unicodedata.name(character, "a control" if character < "\xa0" else "no character")
        raise PydanticCustomError(
            "refused_character",
            "has {character} ({name}) at position {position}; controls, line separators and "
            "controls of direction are refused",
            {
                "character": f"U+{ord(character):04X}",
                "name": name.lower(),
                "position": match.start(),
            },
        )
    return text
