"""The one exception for mistakes a person can mend."""

from __future__ import annotations

_LONGEST = 4000  # characters; a value quoted from a hostile file can have any length


class UserError(Exception):
    """A mistake in input or set-up: one line that says what is wrong, where, and the mend.

    Command-line doors print the message without a traceback and exit with code 2; any other
    exception is a defect of ours and keeps its traceback.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        parts = [f"{where}: {what}" if where else what]
        if mend:
            parts.append(mend)
        super().__init__(_printable("; ".join(parts).replace("\n", " "))[:_LONGEST])


def _printable(text: str) -> str:
    """Return the text with what a terminal would obey or could not print written as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
