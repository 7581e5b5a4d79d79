"""What turnout asks of every destination; each check says what it guards when it fails."""

from turnout.testing import DestinationContract


class TestAcmeAnalytics(DestinationContract):
    """Acme Analytics, as it is installed."""

    destination = "acme_analytics"
