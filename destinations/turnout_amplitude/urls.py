"""What the address of a page says: its query string, decoded."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from turnout import Event

__all__ = ["query_value", "query_values"]


def query_value(event: Event, name: str) -> str | None:
    """Return a parameter of the page's address that is not empty (see `query_values`), or None."""
    return query_values(event, (name,)).get(name)


def query_values(event: Event, names: tuple[str, ...]) -> dict[str, str]:
    """Return those parameters of the page's address that are not empty, in the order of `names`.

    `context.page.search` is looked at first, then the query of `context.page.url`. Values are URL-decoded, `+` is a
    space, and of several the first counts (AMP-DEV-05).
    """
    page = event.context.page
    places = [_parsed(text) for text in (page.search, _query(page.url)) if text]
    found = {}
    for name in names:
        value = next((place[name] for place in places if place.get(name)), None)
        if value is not None:
            found[name] = value
    return found


def _query(url: str | None) -> str:
    try:
        return urlsplit(url).query if url else ""
    except ValueError:  # not an address, such as http://[
        return ""


def _parsed(query: str) -> dict[str, str]:
    pairs = parse_qsl(query.removeprefix("?").partition("#")[0], keep_blank_values=False)
    return dict(reversed(pairs))
