"""Where a destination's items go and how: URL, body, authentication, limits, and how to read an answer."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from turnout._itemfields import check_fields, check_form, filled, url_fields
from turnout._json import dumps, encode
from turnout.answer import Reader, read_status
from turnout.envelope import Body, Placeholder, fill, value_of
from turnout.errors import ConfigError, Refusal
from turnout.reasons import Code
from turnout.settings import Config

__all__ = ["Auth", "Batch", "BoundEndpoint", "Endpoint", "Item", "basic", "bearer", "share"]

_MASK = "***"


class Batch(msgspec.Struct, frozen=True):
    """How much one request may hold: at most `items` items and `bytes` bytes of body, before compression.

    `linger_ms` is how long an item may wait for others when events come one by one; 0 sends what is there at once.
    `item_bytes` is how many bytes one item may have; 0 for as many as a request has room for.
    """

    items: int = 1
    bytes: int = 1_000_000
    linger_ms: int = 0
    item_bytes: int = 0


class Auth(msgspec.Struct, frozen=True):
    """An `authorization` header made from settings; made by `basic` and `bearer`."""

    scheme: str
    names: tuple[str, ...]

    def is_set(self, config: Config) -> bool:
        """Return whether any of its settings has a value."""
        return any(value_of(name, config) for name in self.names)

    def value(self, config: Config, masked: bool) -> str:
        """Return the header's value; masked, the scheme and three stars."""
        if masked:
            return f"{self.scheme} {_MASK}"
        parts = [str(value_of(name, config)) for name in self.names]
        if self.scheme == "Basic":
            pair = f"{parts[0]}:{''.join(parts[1:])}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        return f"{self.scheme} {parts[0]}"


def basic(user: str, password: str | None = None) -> Auth:
    """Return HTTP Basic authentication from the settings of these two names; without a second one, no password."""
    return Auth("Basic", (user,) if password is None else (user, password))


def bearer(token: str) -> Auth:
    """Return bearer authentication from the setting of this name."""
    return Auth("Bearer", (token,))


def share(fields: Mapping[str, Any]) -> bytes:
    """Return `fields` encoded once, to be given to calls of `Endpoint.item`.

    It pays where one event becomes several items, or where several destinations make the same fields of it.
    """
    return b"," + encode(fields)[1:] if fields else b"}"


class Item(msgspec.Struct, gc=False):
    """One object for a vendor, bound to one endpoint.

    `data` is its JSON text; `key` the idempotency key that the vendor honours (None: it has none);
    `rule` the id of the rule that made it, which the framework fills in.
    """

    endpoint: BoundEndpoint
    data: bytes
    key: str | None = None
    rule: str = ""


class Endpoint:
    """Where items go and how; a class attribute of a destination.

    `url` is a template in which `{name}` stands for a setting, or a function of the settings. In both `{item.name}`
    stands for a field of the item, which then does not stand in the body; items share a request when it makes the same
    URL of them. `body` is the envelope, `batch` its limits (or a function of the settings), `read` turns an answer into
    one verdict for each item of the body (by default, judged by the status alone). `doc` is one sentence for the
    generated page. `keyed=False` says that the vendor has no key by which it recognises an item that it gets twice.
    With `gzip` (or a function of the settings that says so) bodies are compressed. `once` says that equal items mean no
    more than one: of those that go together, one is sent. `resend=False` (or a function of the settings that says so)
    gives items up when no answer came and they may have arrived: where the vendor would count them twice, and that is
    worse than to lose them. A header or an `auth` whose settings are empty is left out.

    Inside a configured destination the attribute is *bound*: it knows the settings, and `base_url`, when set,
    has replaced scheme and host.
    """

    name = ""
    owner = ""
    """The name of the destination that it belongs to, once bound."""

    def __init__(
        self,
        method: str,
        url: str | Callable[[Config], str],
        *,
        body: Body,
        auth: Auth | None = None,
        headers: Mapping[str, Any] | None = None,
        batch: Batch | Callable[[Config], Batch] | None = None,
        read: Reader = read_status,
        doc: str = "",
        keyed: bool = True,
        gzip: bool | Callable[[Config], bool] = False,
        once: bool = False,
        resend: bool | Callable[[Config], bool] = True,
    ) -> None:
        self.method = method
        self.url = url
        self.body = body
        self.auth = auth
        self.headers = dict(headers or {})
        self.limits = batch or Batch()
        self.read = read
        self.doc = doc
        self.keyed = keyed
        self.gzip = gzip
        self.once = once
        self.resend = resend

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def item(self, value: Any, shared: bytes = b"", key: str | None = None) -> Item:
        """Return an item for this endpoint (see `BoundEndpoint.item`)."""
        raise ConfigError(f"The endpoint '{self.name}' is not configured: use it through a destination's instance.")

    def bind(self, config: Config, owner: str = "") -> BoundEndpoint:
        """Return this endpoint with the settings filled in, and a twin for showing it without secrets."""
        bound = BoundEndpoint(self, config, owner)
        bound.masked = BoundEndpoint(self, config.masked(), owner, unmasked=bound)
        return bound


class BoundEndpoint(Endpoint):
    """An endpoint of a configured destination: `target`, `sent_headers` and `envelope` are ready to be used."""

    masked: BoundEndpoint
    batch: Batch
    """The limits with these settings."""
    compresses: bool
    """Whether bodies are compressed with gzip."""
    resends: bool
    """Whether items that may have arrived are sent again when no answer came."""

    def __init__(self, plain: Endpoint, config: Config, owner: str = "", unmasked: BoundEndpoint | None = None) -> None:
        super().__init__(
            plain.method,
            plain.url,
            body=plain.body,
            auth=plain.auth,
            headers=plain.headers,
            batch=plain.limits,
            read=plain.read,
            doc=plain.doc,
            keyed=plain.keyed,
            gzip=plain.gzip,
            once=plain.once,
            resend=plain.resend,
        )
        self.name = plain.name
        self.owner = owner
        self.envelope = plain.body.bind(config)
        self.batch = plain.limits(config) if callable(plain.limits) else plain.limits
        if self.envelope.single:
            self.batch = msgspec.structs.replace(self.batch, items=1)
        self.target = _target(plain.url, config) if unmasked is None else _shown_target(unmasked, config)
        """The URL, in which `{item.name}` stands for a field of the item."""
        self._in_url = url_fields(unmasked.target if unmasked else self.target)
        self.varies = bool(self._in_url)
        """Whether the URL holds a part of the item."""
        self._in_body = self.envelope.field
        if self._in_url:
            self.envelope = msgspec.structs.replace(self.envelope, left_out=frozenset(self._in_url))
        self.apart = bool(self._in_url) or (self.once and self.envelope.single)
        """Whether some of its items can't share a request, however much room there is."""
        self.sent_headers = {"content-type": plain.body.content_type}
        for name, value in plain.headers.items():
            filling = str(fill(value, config))
            if filling or not isinstance(value, Placeholder):
                self.sent_headers[name.lower()] = filling
        self.compresses = bool(plain.gzip(config) if callable(plain.gzip) else plain.gzip)
        if self.compresses:
            self.sent_headers["content-encoding"] = "gzip"
        self.resends = bool(plain.resend(config) if callable(plain.resend) else plain.resend)
        if plain.auth and plain.auth.is_set(config):
            self.sent_headers["authorization"] = plain.auth.value(config, unmasked is not None)
        roomy = self.batch.bytes // 3 - self.envelope.overhead
        self.roomy = min(roomy, self.batch.item_bytes or roomy)
        """Items of up to this many bytes fit into a request in any encoding."""
        self._unchecked = -1 if self._in_url or self._in_body or self.envelope.flat else self.roomy

    def item(self, value: Any, shared: bytes = b"", key: str | None = None) -> Item:
        """Return an item for this endpoint.

        `value` is the vendor's object (a JSON object, or any JSON value when `shared` is not used). `shared`
        holds more fields of the same object, encoded once by `share`; no field may stand in both, and then
        `value` may not be empty. `key` is the idempotency key that the vendor will see, when it has one. NaN and
        infinity, which JSON lacks, become null: to look for them here would cost as much as encoding, so the contract
        suite looks for them.
        Raises `Refusal` when the item is larger than one may be, or alone larger than a request, and `PluginError` when
        it has not the fields that the endpoint takes out of it for URL or body, or its own can't be those of a form.
        """
        try:
            data = dumps(value)
        except TypeError:
            data = encode(value)
        if shared:
            data = data[:-1] + shared
        if len(data) > self._unchecked:
            self._check(data)
        return Item(self, data, key)

    def _check(self, data: bytes) -> None:
        if self._in_url or self._in_body:
            check_fields(data, self._in_url, self._in_body, self.name)
        if self.envelope.flat:
            check_form(data, self.envelope.beside.difference(self._in_url), self.name)
        if len(data) <= self.roomy:
            return
        most, size = self.batch.item_bytes, len(self.envelope.join([data]))
        if 0 < most < len(data):
            message = f"An item has {len(data):,} bytes; {self.name} takes items of up to {most:,}."
        elif size > self.batch.bytes:
            message = f"One item alone makes a request of {size:,} bytes; {self.name} takes {self.batch.bytes:,}."
        else:
            return
        raise Refusal(Code.ITEM_TOO_LARGE, message + " Send less in one event.")

    def url_for(self, data: bytes) -> str:
        """Return the URL to which an item of these bytes goes."""
        return filled(self.target, data) if self._in_url and self.target != _MASK else self.target

    def spot(self, item: Item) -> Hashable:
        """Return what two items of the endpoint have in common when they can share a request."""
        return (self.url_for(item.data), item.data if self.once and self.envelope.single else b"")

    def compressed(self, body: bytes) -> bytes:
        """Return a body as it goes over the wire: compressed, when the endpoint compresses.

        The same body gives the same bytes every time. The level is the quickest: the best would take nine times as long
        for a fifth less.
        """
        return zlib.compress(body, 1, wbits=31) if self.compresses else body


def _shown_target(unmasked: BoundEndpoint, config: Config) -> str:
    """Return the URL that the masked settings make; a URL that depends on what a secret says is shown as `***`."""
    try:
        return _target(unmasked.url, config)
    except Exception:
        return _MASK


_FIELD = re.compile(r"\{(\w+)\}")


def _target(url: str | Callable[[Config], str], config: Config) -> str:
    if callable(url):
        target = url(config)
    else:
        target = _FIELD.sub(lambda found: quote(str(value_of(found[1], config)), safe="*"), url)
    base = str(config["base_url"])
    if not base:
        return target
    parts = urlsplit(target)
    query = f"?{parts.query}" if parts.query else ""
    return f"{base.rstrip('/')}{parts.path}{query}"
