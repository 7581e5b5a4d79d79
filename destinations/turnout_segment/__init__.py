"""The Segment destination of turnout: whole events go on to Segment's tracking API, or to another turnout.

What each rule does stands in its docstring; `docs/destinations/segment.md` is generated from them.
"""

from turnout_segment.destination import Segment
from turnout_segment.settings import SegmentSettings

__all__ = ["Segment", "SegmentSettings"]
