#!/usr/bin/python3
"""Pictures of the page of a running daemon, to look at: pictures.py URL OUT [PATIENT FACILITY]
Wide, narrow, Japanese and printed, of the worklist, a patient (the first of the worklist unless named), the
models and a card; and how long the worklist takes."""
import json
import os
import sys
import urllib.parse
import urllib.request

import chromium

VIEWS = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 400, "height": 800}, "ja": {"width": 1280, "height": 800, "language": "ja"}}
# From the start of navigation, in milliseconds: the first pixels, and the last part that came.
TIMES = """(() => { const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
return {paint: Math.round(paint), ready: Math.round(window.ready ?? performance.now()),
bytes: performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).filter(e => !e.name.includes("/v1/"))
.reduce((all, e) => ({sent: all.sent + e.transferSize, raw: all.raw + e.decodedBodySize}), {sent: 0, raw: 0})}; })()"""


def first_patient(url):
    with urllib.request.urlopen(f"{url}/v1/risks?limit=1") as answer:
        row = json.load(answer)["risks"][0]
    return row["patient"], row["facility"]


def main():
    url, out, *named = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    patient, facility = named or first_patient(url)
    query = urllib.parse.urlencode({"id": patient, "facility": facility})
    browser = chromium.Browser()
    try:
        for view, shape in VIEWS.items():
            for name, address in {"worklist": "#/worklist", "patient": f"#/patient?{query}", "models": "#/models", "card": "#/card?id=risks"}.items():
                page = chromium.Page(browser, **shape)
                page.open(f"{url}/{address}")
                page.settled()
                times = page.run(TIMES)
                page.run("new Promise(done => setTimeout(done, 300))")
                page.screenshot(f"{out}/{name}-{view}.png")
                with open(f"{out}/{name}-{view}.pdf", "wb") as file:
                    file.write(page.pdf())
                print(name, view, times, page.mistakes() or "")
                page.close()
    finally:
        browser.close()


if __name__ == "__main__":
    main()
