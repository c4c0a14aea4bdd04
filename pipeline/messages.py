"""What may be shown and stored of texts from outside: no credentials, nothing that commands a terminal.

What is stored keeps the query of a URL, tokens and all: without it nothing could be fetched again, and pictures are
told apart by it. What is shown or logged has *** for them.
"""

from __future__ import annotations

import re

# The user and password of a URL, up to the last @ before its path; as a Path, it has one slash.
_USERINFO = re.compile(r"""((?<=://)|(?<=https:/)|(?<=http:/))[^\s/?#"'<>]*@""")

# The user and password of a database's URL: there SQLAlchemy takes a password as it is, slashes and all, up to the @.
_DATABASE = re.compile(r"((?:postgres(?:ql)?|mysql|mariadb|mssql|oracle)(?:\+\w+)?://)[^\s/:@]{0,256}:[^\s@]{0,256}@")

# A parameter of a query (or of a fragment) whose name says that its value is a secret, up to that value: access_token,
# api_key, PHPSESSID, X-Amz-Signature, AWSAccessKeyId. The ; is that of &amp;. Names are bounded, and so is the time.
_SECRET = re.compile(
    r"""([?&;#](?:
        [\w.%-]{0,60}(?:
            token|secret|passw(?:or)?d|signature|credentials?|accesskeyid|oauth|bearer|hmac
            |(?:api|auth|secret|access|private)[_-]?key|sess(?:ion)?_?id
        )
        |(?:[\w.%-]{0,60}[_.-])?(?:key|sig|sign|sid|pw|pwd|pass|auth|authorization|jwt|session|policy)
    )(?:\[\w{0,60}\])?=)[^\s&#"'<>]+""",
    re.IGNORECASE | re.VERBOSE,
)
HIDDEN = "***"


def without_credentials(text: str) -> str:
    """Return text without the user and password of each URL in it, as it may be stored; queries stay."""
    return _USERINFO.sub("", _DATABASE.sub(r"\1", text))


def without_secrets(text: str) -> str:
    """Return text without the credentials of each URL in it, and with *** for the tokens in its query."""
    return _SECRET.sub(rf"\g<1>{HIDDEN}", without_credentials(text))


def printable(text: str) -> str:
    """Return a name without secrets, and all but letters, signs and spaces escaped: it can't command a terminal."""
    text = without_secrets(text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(message: object) -> str:
    """Return a message as it goes to a terminal, a log or MLflow; the ends of its lines stay."""
    return "\n".join(map(printable, str(message).split("\n")))
