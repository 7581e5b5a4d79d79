"""The settings of the Segment destination."""

from __future__ import annotations

from turnout.settings import Settings, choice, flag, text

__all__ = ["SegmentSettings"]


class SegmentSettings(Settings):
    """Settings of the Segment destination, each also under its name in camelCase."""

    write_key = text(
        "Write key of the source at Segment (an HTTP API source, for example).",
        required=True,
        secret=True,
        routing=True,
    )
    region = choice(
        "Where the workspace is. Segment refuses what comes to the other region.",
        ["US", "EU"],
        default="US",
        synonyms={"eu1": "EU", "us1": "US"},
        routing=True,
    )
    gzip = flag("Compress the bodies of requests.", routing=True)
    forward_deletions = flag(
        "Pass `delete` calls on as well: turnout's gateway takes them. Segment drops them without a word, "
        "and deletes users through another API."
    )
