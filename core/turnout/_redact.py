"""Secrets taken out of any text, in every form in which they are likely to stand there."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "redact"]

MASK = "***"
_BASE64 = "[A-Za-z0-9+/_-]*"


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with `***` in place of each secret.

    A secret is found as it is, URL-quoted, JSON-, HTML- or Python-escaped, and inside base64 (the pair of
    Basic authentication, for example), of which the whole run of letters is masked. One of fewer than four
    characters is masked where it stands alone: inside words it would only spoil the text.
    """
    hide = frozenset(secret for secret in secrets if secret)
    return _pattern(hide).sub(MASK, text) if hide else text


@functools.lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    plain = {form for secret in secrets for form in _forms(secret)}
    cores = {core for secret in secrets for core in _base64_cores(secret)}
    # Longest first: one secret may be the start of another.
    words = [_word(form) for form in sorted(plain, key=len, reverse=True)]
    runs = [f"{_BASE64}{re.escape(core)}{_BASE64}={{0,2}}" for core in sorted(cores)]
    return re.compile("|".join(words + runs))


def _word(form: str) -> str:
    return re.escape(form) if len(form) > 3 else rf"(?<!\w){re.escape(form)}(?!\w)"


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield html.escape(secret)
    yield repr(secret)[1:-1]
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
    data = secret.encode(errors="surrogatepass")
    for quoted in (quote(data), quote(data, safe=""), quote_plus(data)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted)


def _base64_cores(secret: str) -> Iterator[str]:
    """Yield what base64 of any text that contains the secret must contain, for its three alignments."""
    data = secret.encode(errors="surrogatepass")
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        end = (offset + len(data)) * 8 // 6
        core = whole[-(-offset * 8 // 6) : end]
        if len(core) >= 4:
            yield core
            yield core.translate(str.maketrans("+/", "-_"))
