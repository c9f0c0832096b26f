"""Text that people give: what may stand in a name, and how stored text that may not is shown.

Refused is what would alter how the text around it is shown or stored: controls (C0, C1, DEL), line
and paragraph separators, controls of direction, halves of surrogate pairs, noncharacters. Joiners
and variation selectors stay: emoji and several scripts are written with them.
"""

import re
import unicodedata

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
    # Besides blanks: Default_Ignorable_Code_Point, and the blank pattern of Braille.
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

REPLACEMENT = "\ufffd"

NAME_PATTERN = (
    "^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069"
    "\\ufdd0-\\ufdef\\ufffe\\uffff]*$"
)
"""For schemas: the characters that are refused, as far as a regular expression of them has them."""


def check_line(text: str) -> str:
    """The text, of one line. Raises ValueError that names the first character that is refused."""
    return _checked(text, _REFUSED_IN_LINE)


def check_paragraphs(text: str) -> str:
    """The text, of any number of lines. Raises ValueError as `check_line` does."""
    return _checked(text, _REFUSED_IN_PARAGRAPHS)


def check_name(text: str) -> str:
    """A line, empty or with something to be seen. Raises ValueError."""
    check_line(text)
    if text and not _VISIBLE.search(text):
        raise ValueError("has only characters that cannot be seen")
    return text


def sanitize_line(text: str) -> str:
    """Stored text for display: each character that `check_line` refuses becomes U+FFFD."""
    return _REFUSED_IN_LINE.sub(REPLACEMENT, text)


def sanitize_name(text: str) -> str:
    """A stored name as `check_name` takes it: as `shown_line`, and empty where nothing is seen."""
    shown = sanitize_line(text)
    return shown if _VISIBLE.search(shown) else ""


def _checked(text: str, refused: re.Pattern[str]) -> str:
    match = refused.search(text)
    if match is not None:
        character = match[0]
        name = unicodedata.name(character, "a control" if character < "\xa0" else "no character")
        raise ValueError(
            f"has U+{ord(character):04X} ({name.lower()}) at position {match.start()}; controls, "
            "line separators and controls of direction are refused"
        )
    return text
