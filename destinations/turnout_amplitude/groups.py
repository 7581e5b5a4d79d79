"""Group calls: the user's membership, and the group's own properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from turnout import Code, Destination, Item, Refusal, rule
from turnout_amplitude.call import Call
from turnout_amplitude.identity import identification
from turnout_amplitude.properties import unmixed
from turnout_amplitude.values import text_of

__all__ = ["GroupRules"]

LEGACY_TYPE = "[Segment] Group"

if TYPE_CHECKING:
    from turnout import Endpoint

    class _Base(Destination):
        identify: Endpoint
        groupidentify: Endpoint
        mobile_groupidentify: Endpoint
else:
    _Base = object


class GroupRules(_Base):
    """Type and value of the group come from two traits, named by `group_type_trait` and `group_value_trait`."""

    @rule("group")
    def grouped(self, call: Call) -> Item:
        """Associate the user with the group, also as a user property.

        Without both settings and both traits: type `[Segment] Group`, value the group id. The server does so through
        the Identify API, devices with a `$identify` event. AMP-GROUP-01 to AMP-GROUP-09.
        """
        if call.event.group_id is None:
            raise Refusal(Code.ID_REQUIRED, "group needs a groupId.", "/groupId")
        kind, value = self._mapped(call) or (LEGACY_TYPE, call.event.group_id)
        membership = {kind: value}
        if call.shape.platform != "server":
            return call.identify_item({"$set": membership}, membership)
        return self.identify.item(identification(call) | {"groups": membership, "user_properties": unmixed(membership)})

    @rule("group", when=("group_type_trait", "group_value_trait"), platforms=("server", "android"))
    def group_described(self, call: Call) -> Iterator[Item]:
        """Send all traits as properties of the group, unless it is a legacy group.

        AMP-GROUP-02, AMP-GROUP-04, AMP-HTTP-04.
        """
        mapped = self._mapped(call)
        if mapped is not None:
            kind, value = mapped
            endpoint = self.groupidentify if call.shape.platform == "server" else self.mobile_groupidentify
            yield endpoint.item(
                {"group_type": kind, "group_value": value, "group_properties": unmixed(call.event.traits)}
            )

    def _mapped(self, call: Call) -> tuple[str, str] | None:
        config, traits = self.config, call.event.traits
        if not (config.group_type_trait and config.group_value_trait):
            return None
        kind, value = (
            text_of(traits.get(config.group_type_trait)),
            text_of(traits.get(config.group_value_trait)),
        )
        return (kind, value) if kind is not None and value is not None else None
