"""The sources that come with turnout: each turns a foreign payload into events."""
