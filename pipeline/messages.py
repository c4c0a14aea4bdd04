"""What may be shown and stored of texts from outside: no credentials, nothing that commands a terminal."""

from __future__ import annotations

import re

# The user and password of a URL, up to the last @ before its path; as a Path, it has one slash.
_USERINFO = re.compile(r"""((?<=://)|(?<=https:/)|(?<=http:/))[^\s/?#"'<>]*@""")


def without_credentials(text: str) -> str:
    """Return text without the user and password of each URL in it; a query stays, because it tells pictures apart."""
    return _USERINFO.sub("", text)


def printable(text: str) -> str:
    """Return a name with all but letters, signs and spaces escaped, so that it can't command a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(message: object) -> str:
    """Return a message as it goes to a terminal, a log or MLflow; the ends of its lines stay."""
    return "\n".join(map(printable, without_credentials(str(message)).split("\n")))
