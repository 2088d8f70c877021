"""The browser of this machine, for tests of pages."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Nothing but what is asked for: no sandbox for root, no calls home.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
