"""Local servers that behave as a vendor's API is documented to: the base class of every simulator.

A simulator is an ASGI app with a ledger of what it was asked, faults that can be ordered in advance,
and whatever store its author gives it. `Simulator` does the first two; a subclass names its routes
and answers them.

    class Acme(Simulator):
        def routes(self):
            return {"POST /v1/events": self.events}

        def events(self, call):
            return Answer(200, {"accepted": len(call.json()["events"])})

Nothing here needs an HTTP server before `Simulator.serve` or `Simulator.run` is called; those need the extra
`turnout[server]`.
"""

from __future__ import annotations

from turnout.testing._call import Answer, Call
from turnout.testing._faults import Fault
from turnout.testing._ledger import Entry
from turnout.testing._simulator import Handler, Simulator

__all__ = ["Answer", "Call", "Entry", "Fault", "Handler", "Simulator"]
