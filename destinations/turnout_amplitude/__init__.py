"""The Amplitude destination of turnout: pages, identify, revenue, orders, groups, alias and deletion.

The package is laid out by topic; what each rule does stands in its docstring, with the ids of the rules that it
implements. `docs/destinations/amplitude.md` is generated from them.
"""

from turnout_amplitude.destination import Amplitude
from turnout_amplitude.settings import AmplitudeSettings

__all__ = ["Amplitude", "AmplitudeSettings"]
