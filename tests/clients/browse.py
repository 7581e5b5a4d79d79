"""Open a page of this folder in a headless Chromium, with the gateway of the environment in place of the guide's.

    browse.py page.html     until a line comes
    browse.py many.html     sends in three parts, and before each it says so and waits for a line; then the same

The folder is served on a port of its own, so that for the browser the gateway is another site.
"""

import functools
import http.server
import os
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GATEWAY = os.environ["GATEWAY"].removeprefix("http://")


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves the folder."""

    def do_GET(self) -> None:
        if not self.path.endswith(".html"):
            return super().do_GET()
        text = Path(self.directory, self.path[1:]).read_text("utf-8").replace("127.0.0.1:8080", GATEWAY).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        return self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def wait() -> None:
    """Wait for a line."""
    sys.stdin.readline()


def main(name: str) -> None:
    """Open the page and do what it is for."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Pages, directory=str(Path(__file__).parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = chromium.new_page()
        page.on("pageerror", lambda error: print(f"page: {error}", file=sys.stderr, flush=True))
        page.goto(f"http://127.0.0.1:{server.server_port}/{name}")
        if name == "many.html":
            send_many(page)
        wait()
        if name == "many.html":
            print(f"{page.evaluate('givenUp')} given up", flush=True)
        chromium.close()


def send_many(page: Page) -> None:
    """Send the three parts."""
    for first, last in ((0, 70), (70, 140), (140, 200)):
        print("part", flush=True)
        wait()
        page.evaluate(f"send({first}, {last})")


main(sys.argv[1])
