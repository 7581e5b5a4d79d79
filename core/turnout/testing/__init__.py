"""What tests of a destination are made of: simulators of vendors, and the contract suite.

A simulator is a local server that behaves as a vendor's API is documented to. It is an ASGI app with a ledger of what
it was asked, faults that can be ordered in advance, and whatever store its author gives it. `Simulator` does the first
two; a subclass names its routes and answers them.

    class Acme(Simulator):
        def routes(self):
            return {"POST /v1/events": self.events}

        def events(self, call):
            return Answer(200, {"accepted": len(call.json()["events"])})

`DestinationContract` is the contract suite of a destination, as tests to inherit (see `turnout.testing.contract`);
`SourceContract` that of a source (see `turnout.testing.sourcecontract`).

Nothing here needs an HTTP server before `Simulator.serve` or `Simulator.run` is called; those need the extra
`turnout[server]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout.testing._call import Answer, Call
from turnout.testing._faults import Fault
from turnout.testing._ledger import Entry
from turnout.testing._simulator import Handler, Simulator

if TYPE_CHECKING:
    from turnout.testing.contract import DestinationContract
    from turnout.testing.sourcecontract import SourceContract

__all__ = ["Answer", "Call", "DestinationContract", "Entry", "Fault", "Handler", "Simulator", "SourceContract"]


def __getattr__(name: str) -> Any:
    # Imported late: serving a simulator needs nothing of the contract suite.
    if name == "DestinationContract":
        from turnout.testing.contract import DestinationContract

        return DestinationContract
    if name == "SourceContract":
        from turnout.testing.sourcecontract import SourceContract

        return SourceContract
    raise AttributeError(f"module 'turnout.testing' has no attribute '{name}'")
