"""The settings of the RudderStack destination."""

from __future__ import annotations

from turnout.settings import Settings, flag, text, url

__all__ = ["RudderStackSettings"]


class RudderStackSettings(Settings):
    """Settings of the RudderStack destination, each also under its name in camelCase."""

    data_plane_url = url(
        "The data plane URL of the workspace, as the dashboard shows it.",
        required=True,
        routing=True,
    )
    write_key = text(
        "Write key of the source at RudderStack (an HTTP source, for example).",
        required=True,
        secret=True,
        routing=True,
    )
    gzip = flag("Compress the bodies of requests, as RudderStack's own libraries do.", default=True, routing=True)
    forward_deletions = flag(
        "Pass `delete` calls on as well: turnout's gateway takes them. RudderStack has no such call, and deletes users "
        "through another API."
    )
