"""The page: one HTML document that asks nothing of any other server."""

from __future__ import annotations

from pathlib import Path

PARTS = ("page.css", "page.js", "placing.js", "asking.js")
RULES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page() -> str:
    here = Path(__file__).parent
    text = (here / "page.html").read_text(encoding="utf-8")
    for name in PARTS:
        text = text.replace(f"/* {name} */", (here / name).read_text(encoding="utf-8"))
    return text
