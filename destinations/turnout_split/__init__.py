"""The Split destination of turnout: events for metrics, and the members of cohorts as keys of segments.

The package is laid out by topic; what each rule does stands in its docstring. `docs/destinations/split.md` is
generated from them.
"""

from turnout_split.destination import Split
from turnout_split.settings import SplitSettings

__all__ = ["Split", "SplitSettings"]
