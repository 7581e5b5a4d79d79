"""Acme Analytics as a destination of turnout."""

from turnout_acme_analytics.destination import AcmeAnalytics
from turnout_acme_analytics.settings import AcmeAnalyticsSettings

__all__ = ["AcmeAnalytics", "AcmeAnalyticsSettings"]
