"""What the address of a page says: its query string, decoded."""

from __future__ import annotations

from urllib.parse import parse_qsl

from turnout import Event

__all__ = ["query_value", "query_values"]


def query_value(event: Event, name: str) -> str | None:
    """Return a parameter of the page's address that is not empty (see `query_values`), or None."""
    return query_values(event, (name,)).get(name)


def query_values(event: Event, names: tuple[str, ...]) -> dict[str, str]:
    """Return those parameters of the page's address that are not empty, in the order of `names`.

    `context.page.search` is looked at first, then the query of `context.page.url`. Values are URL-decoded, `+` is a
    space, blank ones are empty, and of several the first counts (AMP-DEV-05).
    """
    page = event.context.page
    address = (page.url or "").partition("#")[0]
    queries = ((page.search or "").removeprefix("?").partition("#")[0], address.partition("?")[2])
    places = [_parsed(query) for query in queries if _may_hold(query, names)]
    found = {}
    for name in names:
        value = next((place[name] for place in places if name in place), None)
        if value is not None:
            found[name] = value
    return found


def _may_hold(query: str, names: tuple[str, ...]) -> bool:
    """Return whether it is worth while to take a query apart: a name stands in it, or may be encoded."""
    return "%" in query or any(name in query for name in names)


def _parsed(query: str) -> dict[str, str]:
    return {name: value for name, value in reversed(parse_qsl(query)) if value.strip()}
