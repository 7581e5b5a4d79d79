"""Identify, alias and deletion: who the user is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turnout import Code, Destination, Item, Note, Refusal, rule
from turnout_amplitude.call import Call
from turnout_amplitude.context import event_groups
from turnout_amplitude.properties import Operations, beside_traits
from turnout_amplitude.values import text_of

__all__ = ["IdentityRules"]

_WITH_ID = ("server", "browser")  # AMP-IDENT-14

if TYPE_CHECKING:
    from turnout import Endpoint

    class _Base(Destination):
        identify: Endpoint
        usermap: Endpoint
        deletions: Endpoint
else:
    _Base = object


class IdentityRules(_Base):
    """What is known of a user, and which users are one."""

    operations: dict[str, Operations]
    """Sort traits as the settings ask, on each platform."""

    @rule("identify")
    def identified(self, call: Call) -> Iterator[Item | Note]:
        """Send the traits as user properties: to the Identify API, from devices as a `$identify` event.

        AMP-IDENT-01 to AMP-IDENT-19, AMP-CTX-13, AMP-TRACK-04.
        """
        event, platform = call.event, call.shape.platform
        traits = event.traits
        if event.user_id is not None and platform in _WITH_ID:
            traits = {**traits, "id": event.user_id}
        groups = event_groups(call.options.get("groups"))
        beside = beside_traits(event, self.config, platform) | groups
        user_properties, notes = self.operations[platform].sort(traits, beside)
        yield from notes
        if platform != "server":
            yield call.identify_item(user_properties, groups)
            return
        fields = identification(call)
        if user_properties:
            fields["user_properties"] = user_properties
        if groups:
            fields["groups"] = groups
        for option in ("paying", "start_version"):
            text = text_of(call.options.get(option))
            if text is not None:
                fields[option] = text
        yield self.identify.item(fields)

    @rule("alias", when="enable_alias")
    def aliased(self, call: Call) -> Item:
        """Map `previousId` to the global user `userId`, or unmap the id that the option `unmap` names.

        From every platform, through the same request. AMP-ALIAS-01 to AMP-ALIAS-05.
        """
        unmap = _unmapped(call)
        if unmap is not None:
            return self.usermap.item({"user_id": unmap, "unmap": True})
        event = call.event
        if event.previous_id is None:
            message = "alias needs a previousId, or the option integrations.Amplitude.unmap."
            raise Refusal(Code.ID_REQUIRED, message, "/previousId")
        if event.user_id is None:
            raise Refusal(Code.ID_REQUIRED, "alias needs a userId.", "/userId")
        return self.usermap.item({"user_id": event.previous_id, "global_user_id": event.user_id})

    @rule("delete")
    def deleted(self, call: Call) -> Item:
        """Ask Amplitude to delete the user. AMP-DEL-01, AMP-DEL-02."""
        if not self.config.secret_key:
            message = "Deleting a user at Amplitude needs the setting secret_key."
            raise Refusal(Code.SETTING_REQUIRED, message)
        if call.event.user_id is None:
            raise Refusal(Code.ID_REQUIRED, "delete needs a userId.", "/userId")
        return self.deletions.item(call.event.user_id)


def _unmapped(call: Call) -> str | None:
    """Return the id of the option `unmap`, None when it is null, "" or false (AMP-ALIAS-04).

    Anything else is refused: mapping the ids instead would be the opposite of what was asked.
    """
    unmap = call.options.get("unmap")
    if unmap is None or unmap is False or unmap == "":
        return None
    if isinstance(unmap, str):
        return unmap
    if isinstance(unmap, int | float) and not isinstance(unmap, bool) and unmap == int(unmap):
        return str(int(unmap))
    message = "The option unmap must be the id to unmap: a string or an integer."
    raise Refusal(Code.ID_NOT_STRING, message, "/integrations/Amplitude/unmap")


def identification(call: Call) -> dict[str, Any]:
    """Return what every identification carries, `insert_id` included (sections 6 and 8 of the rule book)."""
    fields = call.identity()
    fields["insert_id"] = call.event.message_id
    return fields
