"""Why an event came to its outcome: one documented list of codes, and the `Reason` that carries one."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Code", "Outcome", "Reason"]


class Outcome(StrEnum):
    """What became of an event at a destination."""

    PLANNED = "planned"
    """There are requests to send."""
    DROPPED = "dropped"
    """Deliberately nothing is sent: a gate, a setting, a filter or a rule decided so."""
    INVALID = "invalid"
    """The event can't be accepted, or the vendor would refuse it."""
    FAILED = "failed"
    """A plugin raised an exception."""
    DELIVERED = "delivered"
    """The vendor took every item."""
    RETRYING = "retrying"
    """At least one item is still to be delivered."""
    DEAD = "dead"
    """At least one item was refused or given up."""


class Code(StrEnum):
    """The reason codes. Those of Segment's discard table keep Segment's names.

    The text under each code says when it is given; `docs/reference/reasons.md` is made from it.
    """

    # dropped
    INTEGRATION_DISABLED = "integration_disabled"
    """`integrations` switches the destination off, by its name or by `All`."""
    HANDLED_ON_DEVICE = "handled_on_device"
    """`_metadata.bundled` names the destination: the device has sent the event already."""
    CALL_TYPE_UNSUPPORTED = "call_type_unsupported"
    """The destination has no rule for this call type."""
    SETTING_OFF = "setting_off"
    """The rules for this call type are switched off by settings; the message names them."""
    NOTHING_TO_MAP = "nothing_to_map"
    """The rules ran and none of them applied to this event."""
    FILTERED = "filtered"
    """A hook dropped the event before it was mapped."""
    SOURCE_NOT_CONNECTED = "source_not_connected"
    """The event's source names its destinations, and this is none of them."""
    PLAN_VIOLATION = "plan_violation"
    """The event violates the tracking plan, which blocks such events."""
    PLAN_UNPLANNED = "plan_unplanned"
    """The tracking plan has no event (or page, or screen) of this name, and blocks those."""
    DELETED_UNREAD = "deleted_unread"
    """The log was told to delete the event before the destination had it."""
    # invalid: the event can't be accepted
    BAD_REQUEST = "bad_request"
    """The input is not JSON, not UTF-8, or not an object."""
    EMPTY_BATCH = "empty_batch"
    """A batch without events."""
    TYPE_NOT_DEFINED = "type_not_defined"
    """The event has no `type`."""
    TYPE_UNKNOWN = "type_unknown"
    """`type` is none of the call types of the spec."""
    NO_USER_ANON_ID = "no_user_anon_id"
    """Neither `userId` nor `anonymousId` is given."""
    ID_REQUIRED = "id_required"
    """An id that this call type needs (`groupId`, `previousId`, `userId`) is missing."""
    ID_NOT_STRING = "id_not_string"
    """An id is neither a string nor an integer."""
    MESSAGE_ID_TOO_LONG = "message_id_too_long"
    """`messageId` has more than 100 characters."""
    EVENT_NOT_DEFINED = "event_not_defined"
    """A track call without an `event` name."""
    EVENT_NOT_STRING = "event_not_string"
    """`event` is not a string."""
    NAME_NOT_STRING = "name_not_string"
    """`name` of a page or screen call is not a string."""
    CATEGORY_NOT_STRING = "category_not_string"
    """`category` of a page or screen call is not a string."""
    PROPERTIES_NOT_OBJECT = "properties_not_object"
    """`properties` is not an object."""
    TRAITS_NOT_OBJECT = "traits_not_object"
    """`traits` or `context.traits` is not an object."""
    CONTEXT_NOT_OBJECT = "context_not_object"
    """`context` is not an object."""
    CONTEXT_INVALID = "context_invalid"
    """A key of `context` has a type that the spec does not allow."""
    DEVICE_ADVERTISING_ID_NOT_STRING = "device_advertisingid_should_be_string"
    """`context.device.advertisingId` is not a string."""
    INTEGRATIONS_NOT_OBJECT = "integrations_not_object"
    """`integrations` is not an object."""
    TIMESTAMP_INVALID = "timestamp_invalid"
    """A time that can't be read as ISO 8601."""
    FIELD_INVALID = "field_invalid"
    """Another common field has a type that the spec does not allow."""
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    """A number that no double can hold (1e999), NaN or infinity."""
    EVENT_TOO_LARGE = "event_too_large"
    """The event has more than 32 KB."""
    TOO_MANY_PROPERTIES = "too_many_properties"
    """`properties` or `traits` has more than 10,000 keys."""
    NESTING_TOO_DEEP = "nesting_too_deep"
    """Objects and lists nest deeper than the limit."""
    # refused at the gateway
    WRITE_KEY_UNKNOWN = "write_key_unknown"
    """No source has this write key, or the request has none, or not the token that its source wants."""
    DELETE_NOT_ALLOWED = "delete_not_allowed"
    """A `delete` call from a source that may not delete."""
    BATCH_TOO_LONG = "batch_too_long"
    """An event behind the number that a batch may have."""
    BODY_TOO_LARGE = "body_too_large"
    """A body of too many bytes, unpacked."""
    BODY_TIMED_OUT = "body_timed_out"
    """A body that did not come in time."""
    ENCODING_UNSUPPORTED = "encoding_unsupported"
    """A body that is packed in another way than gzip."""
    TOO_BUSY = "too_busy"
    """More calls wait for the log than may wait; the answer says when to come again."""
    LOG_UNAVAILABLE = "log_unavailable"
    """The log is full or can't be written, or the gateway is being stopped; nothing of the call was kept."""
    NOT_FOUND = "not_found"
    """There is nothing at this path."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path does not know this HTTP method."""
    # invalid: at the destination
    VALUE_REQUIRED = "value_required"
    """The destination needs a value that the event doesn't have."""
    VALUE_INVALID = "value_invalid"
    """A value of the event can't be used by the destination."""
    VENDOR_WOULD_REFUSE = "vendor_would_refuse"
    """The vendor is documented to refuse such a value."""
    ITEM_TOO_LARGE = "item_too_large"
    """One item is larger than the endpoint takes, by itself or as a request."""
    SETTING_REQUIRED = "setting_required"
    """This event needs a setting that is not set; the message names it."""
    # failed
    PLUGIN_RAISED = "plugin_raised"
    """A plugin raised an exception; the message names rule, plugin and version."""
    PLUGIN_BAD_RESULT = "plugin_bad_result"
    """A plugin returned something that is not an item, or an item that is not JSON."""
    PLUGIN_TOO_SLOW = "plugin_too_slow"
    """A mapping did not come back and was interrupted."""
    PROCESS_DIED = "process_died"
    """The delivering process ended several times while it mapped this event; it is not tried again."""
    # at delivery
    DELIVERED = "delivered"
    """The vendor took every item of the event."""
    VENDOR_REFUSED = "vendor_refused"
    """The vendor refused an item; the message holds its words."""
    VENDOR_UNAVAILABLE = "vendor_unavailable"
    """The vendor answered with a server error until the attempts were used up."""
    ENDPOINT_GONE = "endpoint_gone"
    """The item had waited, and the plugin's present version has no such endpoint any more."""
    RATE_LIMITED = "rate_limited"
    """The vendor asked to slow down until the attempts were used up."""
    CREDENTIALS_REFUSED = "credentials_refused"
    """The vendor refused the key: a matter of the settings, not of the event."""
    UNREACHABLE = "unreachable"
    """No connection to the vendor's host could be made, or it broke."""
    TIMED_OUT = "timed_out"
    """The vendor did not answer in time; the items may have arrived."""


class Reason(msgspec.Struct, frozen=True):
    """Why an event came to its outcome.

    `code` is stable, `message` is for people, `path` is a JSON Pointer into the event (None: the event as a whole).
    """

    code: Code
    message: str
    path: str | None = None
