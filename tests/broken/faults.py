"""Which destination is broken in which way, and which check has to notice."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A broken destination, the check that has to notice, words of its message, and which others may fail as well."""

    place: str
    check: str
    words: tuple[str, ...]
    others: tuple[str, ...] = ()


COMPARING = (
    *("gives_the_same_answer_twice", "gives_the_same_answer_elsewhere", "ignores_the_order_of_keys"),
    *("takes_null_as_absent", "survives_pickling", "cases_match_their_snapshots"),
)
"""Checks that compare two answers to one event."""
HOSTILE = ("survives_hostile_events",)
NOT_CONFIGURED = ("can_be_configured",)

FAULTS = [
    Fault("stated:Unsaid", "is_found_by_its_entry_point", ("the class Unsaid has no docstring",)),
    Fault("stated:Newer", "is_found_by_its_entry_point", ("plugin API 2", "pip install --upgrade turnout")),
    Fault("turnout_untyped:Untyped", "ships_its_types", ("package turnout_untyped", "py.typed is missing")),
    Fault("stated:Undocumented", "rules_are_documented", ("the rule 'seen' has no docstring", "docstring what")),
    Fault("stated:Doubled", "rules_are_documented", ("two rules have the id 'seen'",), ("every_rule_has_a_case",)),
    Fault("stated:Factory", "rules_are_documented", ("'seen' has the id 'made'", "Name each rule")),
    Fault("stated:Wordless", "settings_are_documented", ("setting 'verbose'",)),
    Fault("stated:Contrary", "settings_are_documented", ("default 0 is refused: it must be a whole number",)),
    Fault("stated:Open", "secrets_are_marked", ("'access_token' sounds secret", "secret=False")),
    Fault("stated:Account", "secrets_are_marked", ("'account' authenticates the endpoint 'events'",)),
    Fault("stated:Gullible", "wrong_settings_are_refused", ("'extras' takes anything",)),
    Fault("stated:Crashing", "wrong_settings_are_refused", ("setting 'extras'", "AttributeError")),
    Fault("stated:HalfConfigured", "can_be_configured", ("KeyError: 'EU'", "region = 'EU'")),
    Fault("stated:Misnamed", "conditions_name_settings", ("rule 'seen'", "'named_screens'"), NOT_CONFIGURED),
    Fault("stated:Mistyped", "conditions_name_settings", ("rule 'seen'", "named_page"), NOT_CONFIGURED),
    Fault("stated:Unmovable", "base_url_moves_every_endpoint", ("endpoint 'events'", "https://api.sound.example")),
    Fault("stated:Forgetful", "survives_pickling", ("/requests/0/body/events/0/name", "__init__")),
    Fault("mapped:Endless", "comes_back", ("rule 'tracked'", "it was at broken.mapped, line", "in _parts")),
    Fault("mapped:Waiting", "comes_back", ("prepare() of destination 'waiting'", "turnout-broken 4.5.6")),
    Fault("stated:Idle", "every_rule_can_run", ("rule 'never'", "not named_pages"), ("every_rule_has_a_case",)),
    Fault("stated:Deserted", "every_endpoint_is_used", ("endpoint 'groups'",)),
    Fault("stated:Caseless", "every_rule_has_a_case", ("the rule seen", "cases/caseless/")),
    Fault("stated:Stale", "cases_match_their_snapshots", ("tracked", "/0/requests/0/body/events/0/name")),
    Fault("mapped:Grasping", "leaves_the_event_alone", ("/properties/price", "rule 'tracked'")),
    Fault("mapped:Remembering", "gives_the_same_answer_twice", ("/body/events/0/before", "rule 'tracked'"), COMPARING),
    Fault("mapped:Homely", "reads_nothing_but_the_event", ("os.environ", "broken.mapped, line", "in tracked")),
    Fault(
        "mapped:Today",
        "reads_nothing_but_the_event",
        ("date.today", "in tracked"),
        ("gives_the_same_answer_elsewhere",),
    ),
    Fault("mapped:Hurried", "reads_nothing_but_the_event", ("time.time", "in _era")),
    Fault("mapped:Gambling", "reads_nothing_but_the_event", ("random.random", "in tracked")),
    Fault("mapped:Reading", "reads_nothing_but_the_event", ("open", "in tracked")),
    Fault("mapped:Chatting", "reads_nothing_but_the_event", ("mapping calls print", "in tracked", "logging")),
    Fault("mapped:Hashing", "gives_the_same_answer_elsewhere", ("/body/events/0/bucket", "hash()")),
    Fault("mapped:Local", "gives_the_same_answer_elsewhere", ("/body/events/0/local",)),
    Fault("mapped:Ordered", "ignores_the_order_of_keys", ("/body/events/0/first",)),
    Fault("mapped:Hollow", "takes_null_as_absent", ("endpoint 'events'", "/os")),
    Fault("mapped:Blank", "takes_null_as_absent", ("endpoint 'events'", "/place")),
    Fault("mapped:Literal", "takes_null_as_absent", ("null at /anonymousId", "/body/events/0/known")),
    Fault(
        "mapped:Loose",
        "makes_clean_json",
        ("set is not a JSON value",),
        ("survives_hostile_events", "every_rule_has_a_case"),
    ),
    Fault("mapped:Textual", "makes_clean_json", ("rule 'tracked'", "an item is not clean JSON")),
    Fault("mapped:NotANumber", "makes_clean_json", ("'NaN' at /properties/price", "isfinite")),
    Fault("mapped:Twofold", "makes_clean_json", ("the key 'user' stands there twice", "rule 'tracked'")),
    Fault("mapped:HandMade", "items_fit_their_endpoints", ("it may have 20,000", "rule 'tracked'")),
    Fault("mapped:Elsewhere", "items_fit_their_endpoints", ("'hidden'", "rule 'named_page'")),
    Fault("mapped:Keyless", "keys_are_stable_and_distinct", ("no idempotency key", "keyed=False")),
    Fault("mapped:SameKeys", "keys_are_stable_and_distinct", ("two items of one event have the key",)),
    Fault("mapped:LateKeys", "keys_are_stable_and_distinct", ("sends an event once more",)),
    Fault("mapped:FewKeys", "keys_are_stable_and_distinct", ("another messageId gets the same key",)),
    Fault("mapped:SecretKeys", "keys_are_stable_and_distinct", ("the vendor never sees the key",)),
    Fault("mapped:ModestKeys", "keys_are_stable_and_distinct", ("endpoint 'people'", "says that it has none")),
    Fault("mapped:Trusting", "survives_hostile_events", ("rule 'tracked'", "/properties/price", "isinstance")),
    Fault("mapped:Rambling", "survives_hostile_events", ("items, not dict", "endpoint's item() makes")),
    Fault("mapped:Silent", "says_why_nothing_is_sent", ("no sentence says why",)),
    Fault("mapped:Pointless", "says_why_nothing_is_sent", ('"event.groupId" is no JSON Pointer',)),
    Fault("mapped:Confused", "says_why_nothing_is_sent", ("'vendor_refused' is one of delivery",)),
    Fault("mapped:Renamed", "honours_the_gates", ('{"integrations": {"Sound": false}}', "attribute 'name'")),
    Fault("mapped:Demanding", "honours_the_gates", ('integrations {"Sound": true}', "/integrations/Sound"), HOSTILE),
    Fault("mapped:Encoded", "shows_no_secret", ("the secret 'api_key'", "rule 'tracked', endpoint 'events'")),
    Fault("mapped:Chatty", "shows_no_secret", ("writes the secret 'api_key' to a log",)),
    Fault("mapped:Proud", "shows_no_secret", ("the destination's repr shows the secret 'api_key'",)),
    Fault("mapped:Blabbing", "shows_no_secret", ("an error about wrong settings", "secret 'api_key'")),
    Fault("mapped:Showing", "shows_no_secret", ("endpoint 'events'", "secret 'api_key'")),
    Fault("answered:Unwary", "answers_become_outcomes", ("AttributeError", "HTTP 400 with", "endpoints: events")),
    Fault("answered:Partial", "answers_become_outcomes", ("HTTP 207 with", "endpoints: events")),
    Fault("answered:Sparing", "answers_become_outcomes", ("gave 1 verdicts for 2 items",), ("success_is_delivered",)),
    Fault("answered:Easy", "answers_become_outcomes", ("counts as delivered", "HTTP 400")),
    Fault("answered:Picky", "success_is_delivered", ("not very good", "accepted = {…}")),
    Fault("answered:Rash", "trouble_is_tried_again", ("HTTP 500", "refused")),
    Fault("answered:Pushing", "trouble_is_tried_again", ("HTTP 429", "7 seconds")),
]
