"""The RudderStack destination of turnout: whole events go on to a RudderStack data plane.

What each rule does stands in its docstring; `docs/destinations/rudderstack.md` is generated from them.
"""

from turnout_rudderstack.destination import RudderStack
from turnout_rudderstack.settings import RudderStackSettings

__all__ = ["RudderStack", "RudderStackSettings"]
