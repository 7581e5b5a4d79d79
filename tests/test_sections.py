"""`sections.py`: what is refused in `[gateway]` and `[sources.<id>]`, since it could never work."""

from __future__ import annotations

import pytest

from turnout import SettingsError
from turnout.sections import GatewaySettings, HttpSourceSettings


@pytest.mark.parametrize("proxy", ["*", "127.0.0.1", "::1", "10.0.0.0/8", "2001:db8::/32"])
def test_a_proxy_is_an_address_or_a_network(proxy: str) -> None:
    """Of either version."""
    assert GatewaySettings.configure({"trusted_proxies": [proxy]}).trusted_proxies == [proxy]


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/8", "10.0.0", "http://10.0.0.1", "10.0.0.1:80"])
def test_another_proxy_is_refused(proxy: str) -> None:
    """It would never be the one that a call comes from, and the sender's address would be wrong in silence."""
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.configure({"trusted_proxies": ["127.0.0.1", proxy]})
    form = "must be a list of addresses such as '192.0.2.1' or '192.0.2.0/24'"
    assert str(caught.value) == f"settings: Setting 'trusted_proxies' {form}; {proxy!r} is none."


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://acme.example", "http://localhost:3000", "capacitor://localhost"]
)
def test_an_origin_is_what_a_browser_sends(origin: str) -> None:
    """Apps have schemes of their own."""
    assert GatewaySettings.configure({"allowed_origins": [origin]}).allowed_origins == [origin]


@pytest.mark.parametrize("origin", ["acme.example", "https://acme.example/", "https://acme.example/shop", "https://"])
def test_another_origin_is_refused(origin: str) -> None:
    """No browser sends it, so its pages would be kept out in silence."""
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.configure({"allowed_origins": [origin]})
    form = "web sites such as 'https://acme.example', without a path or a slash behind them"
    assert str(caught.value) == f"settings: Setting 'allowed_origins' must be a list of {form}; {origin!r} is none."


def test_a_write_key_with_a_colon_is_refused() -> None:
    """Basic authentication would cut it there. The key itself doesn't show."""
    with pytest.raises(SettingsError) as caught:
        HttpSourceSettings.configure({"write_key": "key-1:x"})
    assert str(caught.value) == (
        "settings: Setting 'write_key' must not have a colon: libraries send it as a user name, which ends there."
    )
