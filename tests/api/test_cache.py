#!/usr/bin/python3
"""Kept answers are exact: what a claim, its void, an erasure, a moved claim, a second facility or a
model changes is seen by the next question, however hard the same question is asked meanwhile."""
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

import daemon
from daemon import REZEPTD, Daemon, claim, fixture


def visit(number, patient="p1", facility="H1", **more):
    """A claim with one event of a day of its own, known before the day that is asked for."""
    day = f"20{16 + number // 336:02d}-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}"
    return claim(number, patient, facility, start=day, end=day, known=day,
                 diagnoses=[{"system": "icd10", "code": "J00", "date": day}], **more)


class Cache(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        shutil.copytree(f"{fixture()}/models", f"{self.folder}/models")
        self.d = None

    def tearDown(self):
        if self.d is not None:
            self.assertEqual(self.d.stop(), 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *flags):
        self.d = Daemon("--no-rescore", *flags, folder=self.folder, wait="/readyz")
        return self.d

    def post(self, what):
        self.assertIn(self.d.post("/v1/claims", what).status, (200, 201))

    def path(self, patient, query=""):
        return f"/v1/patients/{patient}/risks?as_of=2024-01-01{query}"

    def events(self, patient, query=""):
        got = self.d.get(self.path(patient, query))
        self.assertEqual(got.status, 200, got.body)
        return got.json["risks"][0]["data_window"]["events"]

    def figure(self, line):
        text = self.d.get("/metrics").body.decode()
        return int(re.search(rf"^{re.escape(line)} (\d+)$", text, re.MULTILINE)[1])

    def hits(self):
        return self.figure('rezeptd_cache_requests_total{outcome="hit"}')

    def kept(self, patient, query="", times=2):
        """Asks until the answer is kept, and shows that it is."""
        answers = [self.d.get(self.path(patient, query)).body for _ in range(times)]
        before = self.hits()
        self.assertEqual({self.d.get(self.path(patient, query)).body, *answers}, {answers[0]})
        self.assertEqual(self.hits(), before + 1)
        return json.loads(answers[0])["risks"][0]["data_window"]["events"]

    def test_every_change_is_seen(self):
        d = self.start()
        for number in (1, 2):
            self.post(visit(number, "a"))
        self.post(visit(1, "b"))
        self.assertEqual((self.kept("a"), self.kept("b")), (4, 2))
        self.post(visit(3, "a"))
        self.assertEqual(self.events("a"), 6)
        before = self.hits()
        self.events("b")
        self.assertEqual(self.hits(), before + 1)  # others keep their answers
        self.kept("a")
        self.post(visit(3, "a"))  # the same content changes nothing
        before = self.hits()
        self.assertEqual(self.events("a"), 6)
        self.assertEqual(self.hits(), before + 1)
        self.post({**visit(3, "a"), "diagnoses": []})  # superseded
        self.assertEqual(self.kept("a"), 5)
        self.assertEqual(d.call("DELETE", "/v1/claims/H1/a-3").status, 200)
        self.assertEqual(self.kept("a"), 4)
        self.kept("b")
        self.post({**visit(2, "b"), "claim_id": "a-2"})  # the claim was about another patient
        self.assertEqual((self.events("a"), self.events("b")), (2, 4))
        self.kept("b")
        self.assertEqual(d.call("DELETE", "/v1/patients/b").status, 200)
        self.assertEqual(d.get(self.path("b")).status, 404)
        self.post(visit(9, "b"))
        self.assertEqual(self.events("b"), 2)

    def test_an_id_of_two_facilities(self):
        d = self.start()
        self.post(visit(1, "same", "H1"))
        self.assertEqual(self.kept("same"), 2)
        self.assertEqual(self.kept("same", "&facility=H1"), 2)
        self.post({**visit(2, "same", "H2"), "claim_id": "other"})
        self.assertEqual(d.get(self.path("same")).status, 409)
        self.assertEqual(self.events("same", "&facility=H1"), 2)
        self.assertEqual(d.call("DELETE", "/v1/patients/same?facility=H2").status, 200)
        self.assertEqual(self.events("same"), 2)

    def test_shared_and_pseudonymous_ids(self):
        with open(f"{self.folder}/key", "w") as file:
            file.write("5a" * 32)
        self.start("--patient-ids", "shared", "--pseudonym-key-file", f"{self.folder}/key")
        self.post(visit(1, "one", "H1"))
        self.assertEqual(self.kept("one"), 2)
        self.assertEqual(self.d.get(self.path("one", "&facility=H2")).status, 404)
        self.post({**visit(2, "one", "H2"), "claim_id": "other"})
        self.assertEqual(self.events("one"), 4)
        self.assertEqual(self.kept("one", "&facility=H2"), 4)
        self.assertEqual(self.d.call("DELETE", "/v1/claims/H2/other").status, 200)
        self.assertEqual(self.events("one", "&facility=H2"), 2)

    def test_questions_are_told_apart(self):
        d = self.start()
        self.post(visit(1, "q"))
        self.post(visit(30, "q"))
        queries = ["", "&task=ckd", "&task=amlodipine", "&task=ckd,amlodipine", "&model=risks", "&explain=1",
                   "&explain=2", "&facility=H1", "&recorded=2100-01-01T00:00:00Z"]
        first = {q: d.get(self.path("q", q)).body for q in queries}
        again = {q: d.get(self.path("q", q)).body for q in queries}
        self.assertEqual(first, again)
        early = d.get("/v1/patients/q/risks?as_of=2016-01-20").json
        self.assertEqual(early["risks"][0]["data_window"]["events"], 2)
        self.post(visit(2, "q"))
        self.assertEqual(self.events("q", "&recorded=2100-01-01T00:00:00Z"), 6)
        self.assertEqual({self.events("q", q) for q in queries}, {6})
        past = d.get(self.path("q", "&recorded=2001-01-01T00:00:00Z"))
        self.assertEqual(past.status, 404)

    def test_models_and_their_routing(self):
        d = self.start()
        self.post(visit(1, "m"))
        self.kept("m")
        shutil.copytree(f"{self.folder}/models/risks", f"{self.folder}/models/again")
        self.assertEqual(d.post("/v1/models/again:load").status, 200)
        names = lambda query="": {r["model"]["id"] for r in d.get(self.path("m", query)).json["risks"]}
        self.assertEqual(names(), {"again"})  # the first by name answers
        why = lambda: {t["name"]: (t["model"], t["size"], t["why"]) for t in d.get("/v1/tasks").json["tasks"]}
        self.assertEqual(why()["ckd"], ("again", "2.2m", "the first by name of 2 models that have the task; "
                                        "routing.json names none"))
        self.kept("m")
        with open(f"{self.folder}/models/routing.json", "w") as file:
            json.dump({"tasks": {"ckd": "risks"}}, file)
        self.assertEqual(d.post("/v1/models/again:load").status, 200)
        self.assertEqual(names("&task=ckd"), {"risks"})
        self.assertEqual(why()["ckd"], ("risks", "2.2m", "routing.json names it"))
        self.assertEqual(why()["amlodipine"][0], "again")
        self.kept("m", "&model=again")
        self.assertEqual(d.post("/v1/models/again:unload").status, 200)
        self.assertEqual(d.get(self.path("m", "&model=again")).status, 409)
        self.assertEqual(names(), {"risks"})

    def test_tokens_come_before_answers(self):
        d = self.start()
        self.post(visit(1, "t"))
        self.kept("t")
        made = subprocess.run([REZEPTD, "token", "create", "--name", "writer", "--scopes",
                               "claims:write", "--db", f"{self.folder}/t.db"], check=True,
                              capture_output=True, text=True).stdout.strip()
        self.assertEqual(d.get(self.path("t")).status, 401)
        d.token = made
        self.assertEqual(d.get(self.path("t")).status, 403)

    def test_no_stale_answer_after_an_acknowledged_claim(self):
        d = self.start()
        patients, rounds = ["r1", "r2"], 80
        for p in patients:
            self.post(visit(0, p))
        stop, wrong = threading.Event(), []

        def ask(patient):
            connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=60)
            with contextlib.closing(connection):
                while not stop.is_set():
                    connection.request("GET", self.path(patient))
                    connection.getresponse().read()

        def push(patient):
            connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=60)
            with contextlib.closing(connection):
                for number in range(1, rounds):
                    connection.request("POST", "/v1/claims", json.dumps(visit(number, patient)),
                                       {"Content-Type": "application/json"})
                    connection.getresponse().read()
                    connection.request("GET", self.path(patient))
                    got = json.loads(connection.getresponse().read())
                    seen = got["risks"][0]["data_window"]["events"]
                    if seen != 2 * (number + 1):
                        wrong.append((patient, number, seen))

        askers = [threading.Thread(target=ask, args=(p,)) for p in patients * 3]
        pushers = [threading.Thread(target=push, args=(p,)) for p in patients]
        for t in askers + pushers:
            t.start()
        for t in pushers:
            t.join()
        stop.set()
        for t in askers:
            t.join()
        self.assertEqual(wrong, [])
        self.assertGreater(self.hits(), 0)

    def test_every_answer_is_audited(self):
        d = self.start()
        self.post(visit(1, "x"))
        for _ in range(50):
            self.assertEqual(d.get(self.path("x")).status, 200)
        self.assertEqual(self.figure("rezeptd_audit_lost_total"), 0)
        self.assertEqual(d.stop(), 0)
        self.d = None
        import sqlite3
        with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db")) as db:
            rows = db.execute("SELECT patient, details FROM audit WHERE action = 'predict'").fetchall()
        self.assertEqual(len(rows), 50)
        self.assertEqual(len({patient for patient, _ in rows}), 1)
        self.assertNotEqual(rows[0][0], "")
        cached = [json.loads(details)["cached"] for _, details in rows]
        self.assertEqual((cached.count(True), cached.count(False)), (49, 1))


if __name__ == "__main__":
    daemon.main()
