"""Send 200 events with a Python SDK (`segment` or `rudder`), in three parts.

Before each part it says so and waits for a line. In the end it says how many the SDK gave up.
"""

import os
import sys
import time

if sys.argv[1] == "segment":
    from segment.analytics import Client
else:
    from rudderstack.analytics.client import Client

given_up = []
key = os.environ["WRITE_KEY"]
client = Client(
    key,
    host=os.environ["GATEWAY"],
    upload_size=5,
    upload_interval=0.05,
    on_error=lambda _error, batch: given_up.extend(batch),
)
for number in range(200):
    if number in (0, 70, 140):
        print("part", flush=True)
        sys.stdin.readline()
    time.sleep(0.01)
    client.track(f"user-{number % 20}", "Counted", {"number": number, "sender": key})
client.shutdown()
print(f"{len(given_up)} given up", flush=True)
