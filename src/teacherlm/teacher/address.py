"""Where a teacher listens and the key that it asks for: checked before anything is stored, shown or sent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from teacherlm.core.errors import Mistake

TOKEN = "TEACHERLM_TEACHER_TOKEN"
"""Environment variable with the server's key."""

HIDDEN = "***"
"""What stands in the place of a secret."""


def checked_url(url: str, where: str = "--teacher") -> str:
    """The root URL of a server, with its scheme and without a last slash.

    Raises:
        Mistake: it is none, or holds what may be a secret; the message does not show that.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_url = is_url and not re.search(r"[\s\x00-\x1f\x7f]", url)
    except ValueError:  # a port that is no number, brackets that do not close
        is_url = False
    if not is_url:
        raise Mistake(f'"{without_secrets(url)}" is no URL of a teacher', "write it as http://HOST:PORT", where)
    if "@" in parts.netloc:
        raise Mistake("a teacher's URL must not hold a key", f"put the key into ${TOKEN}", where)
    if parts.query or parts.fragment:
        found = "a query" if parts.query else "a fragment"
        raise Mistake(
            f"a teacher's URL must not hold {found}", f"write the root alone; a key goes into ${TOKEN}", where
        )
    return parts.geturl().rstrip("/")


def without_secrets(url: str) -> str:
    """A URL, or what was taken for one, without its parts that may hold a key."""
    scheme, divider, rest = url.rpartition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    if "@" in rest:
        rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
    return scheme.rpartition("@")[2] + divider + rest


def checked_token(token: str | None, where: str = f"${TOKEN}") -> str | None:
    """A key that can be sent; None where there is none.

    Raises:
        Mistake: a header cannot hold it.
    """
    token = (token or "").strip()
    if not re.fullmatch(r"[\x20-\x7e]*", token):
        raise Mistake(
            "the key holds a line break or another character that cannot be sent", "give the key's letters alone", where
        )
    return token or None


def hidden(text: str, secret: str | None) -> str:
    """A server's words without the key, which some servers repeat."""
    return text.replace(secret, HIDDEN) if secret else text
