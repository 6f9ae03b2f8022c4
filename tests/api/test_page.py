#!/usr/bin/python3
"""The files of the clinicians' page as the daemon serves them, and what holds of their sources."""
import gzip
import hashlib
import os
import re
import unittest

from daemon import Case, main

ROOT = os.environ.get("REZEPT_SOURCE_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FOLDER = os.path.join(ROOT, "server", "page")
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
SERVED = sorted(name for name in os.listdir(FOLDER) if not name.endswith((".png", ".sha256")))
OWN = [name for name in SERVED if not name.startswith("uPlot")]


def source(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


class Served(Case):
    def test_every_file_as_it_is(self):
        for name in SERVED:
            answer = self.daemon.get(f"/page/{name}")
            self.assertEqual((answer.status, answer.body), (200, source(name)), name)
            self.assertNotIn("content-encoding", answer.headers)

    def test_index_and_its_policy(self):
        answer = self.daemon.get("/")
        self.assertEqual((answer.status, answer.body), (200, source("index.html")))
        said = {name: answer.headers.get(name) for name in ("content-security-policy", "x-content-type-options", "referrer-policy",
                                                            "content-type", "cache-control", "vary")}
        self.assertEqual(said, {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
                                "content-type": "text/html; charset=utf-8", "cache-control": "no-cache", "vary": "Accept-Encoding"})
        self.assertEqual(self.daemon.get("/livez").headers["cache-control"], "no-store")

    def test_gzip_where_it_is_taken(self):
        for accepted, packed in (("gzip", True), ("br, GZIP;q=0.5", True), ("deflate,gzip", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
                                 ("identity", False), ("x-gzip-not", False), ("", False)):
            answer = self.daemon.get("/page/style.css", headers={"Accept-Encoding": accepted})
            self.assertEqual(answer.headers.get("content-encoding"), "gzip" if packed else None, accepted)
            self.assertEqual(gzip.decompress(answer.body) if packed else answer.body, source("style.css"))

    def test_tags(self):
        tag = self.daemon.get("/page/main.js").headers["etag"]
        for given, status in ((tag, 304), (f'"x", {tag}', 304), (tag.replace("W/", ""), 304), ("*", 304), ('W/"other"', 200)):
            answer = self.daemon.get("/page/main.js", headers={"If-None-Match": given, "Accept-Encoding": "gzip"})
            self.assertEqual((answer.status, answer.headers["etag"]), (status, tag), given)
            self.assertEqual(answer.body == b"", status == 304)
        self.assertNotEqual(tag, self.daemon.get("/page/dom.js").headers["etag"])

    def test_what_is_not_there(self):
        self.problem(self.daemon.get("/page/none.js"), 404, "unknown_route")
        self.problem(self.daemon.get("/page/uPlot.sha256"), 404, "unknown_route")
        self.problem(self.daemon.get("/page/%2e%2e%2fmain.c"), 400, "malformed_request")
        self.problem(self.daemon.post("/", {}), 405, "method_not_allowed")
        self.assertEqual(self.daemon.call("HEAD", "/").status, 200)


class Sources(unittest.TestCase):
    def test_vendored_files_are_those_of_the_release(self):
        for line in source("uPlot.sha256").decode().splitlines():
            digest, name = line.split()
            self.assertEqual(hashlib.sha256(source(name)).hexdigest(), digest, name)
        self.assertIn(b"MIT License", source("uPlot.LICENSE"))

    def test_data_never_becomes_markup(self):
        for name in OWN:
            found = re.findall(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:|style=", source(name))
            self.assertEqual(found, [], name)

    def test_nothing_is_asked_elsewhere(self):
        for name in OWN:
            found = set(re.findall(rb"https?://[^\s\"'`)]+", source(name))) - {b"http://www.w3.org/2000/svg"}
            self.assertEqual(found, set(), name)

    def test_languages_say_the_same(self):
        keys = {name: re.findall(r'(?:^|[\s,])(\w+): "', source(f"text_{name}.js").decode(), re.M) for name in ("en", "ja")}
        holes = {name: dict(re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', source(f"text_{name}.js").decode())) for name in keys}
        self.assertEqual(len(set(keys["en"])), len(keys["en"]), "no key twice")
        self.assertEqual(sorted(keys["en"]), sorted(keys["ja"]))
        for key, text in holes["en"].items():
            self.assertEqual(sorted(re.findall(r"\{\w+\}", text)), sorted(re.findall(r"\{\w+\}", holes["ja"][key])), key)
        used = {key for name in OWN if name.endswith(".js") for key in re.findall(r'\bt\("(\w+)"', source(name).decode())}
        self.assertEqual(used - set(keys["en"]), set())


if __name__ == "__main__":
    main()
