#!/usr/bin/python3
"""What risks rest on: worked out once, kept with the score, gone with it. Asked without the cache of
whole answers, so that every question reaches the scores; where the background works too, its own
questions to the models are in the counts."""
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

import daemon
from daemon import BUILD, Daemon, fixture


def claims_of(*numbers):
    with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
        return [c for c in map(json.loads, file) if c["patient"]["id"] in {f"p{n}" for n in numbers}]


class Explain(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        self.d = None

    def tearDown(self):
        if self.d is not None:
            self.assertEqual(self.d.stop(), 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *flags, cache="0", top="0"):
        self.d = Daemon("--rescore-pause-ms", "20", "--cache-bytes-max", cache, "--rescore-explain", top,
                        *flags, folder=self.folder, models=f"{fixture()}/models", wait="/readyz")
        return self.d

    def restart(self, *flags, **more):
        self.assertEqual(self.d.stop(), 0)
        return self.start(*flags, **more)

    def until(self, what, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            got = what()
            if got:
                return got
            time.sleep(0.05)
        self.fail(f"{what} did not come true in {seconds} s: {self.d.log()[-2000:]}")

    def scored(self):
        """The worklist, when every patient has a fresh score."""
        def look():
            got = self.d.get("/v1/risks?task=ckd&limit=1000").json
            return got if got.get("unscored") == 0 and got["stale"] == 0 else None
        return self.until(look)

    def figure(self, name):
        text = self.d.get("/metrics").body.decode()
        return sum(float(v) for v in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def counts(self):
        """Explained risks from scores and from models, and patients that models have answered."""
        return (self.figure('rezeptd_explanations_total{from="score"}'),
                self.figure('rezeptd_explanations_total{from="model"}'), self.figure("rezeptd_predict_total"))

    def ask(self, patient, day, explain=8, more=""):
        got = self.d.get(f"/v1/patients/{patient}/risks?as_of={day}&explain={explain}{more}")
        self.assertEqual(got.status, 200, got.body)
        return got

    def kept(self, patient, day):
        """Asks until the answer comes from the score; returns it."""
        def look():
            before = self.counts()
            got = self.ask(patient, day)
            after = self.counts()
            if after[0] > before[0]:
                self.assertEqual(after[1], before[1])
                return got.body
            return None
        return self.until(look)

    def explained(self, body):
        return [r for r in json.loads(body)["risks"] if r["probability"] is not None]

    def test_the_second_question_needs_no_model(self):
        d = self.start()
        d.push(claims_of(2, 3))
        work = self.scored()
        day, patient = work["risks"][0]["as_of"], work["risks"][0]["patient"]
        before = self.counts()
        first = self.ask(patient, day).body
        risks = self.explained(first)
        self.assertGreater(len(risks), 0)
        after = self.counts()
        self.assertEqual(after[1] - before[1], len(risks))
        self.assertEqual(self.kept(patient, day), first)
        for n in (1, 3, 8):
            fewer = self.explained(self.ask(patient, day, n).body)
            self.assertEqual(fewer, [{**r, "contributions": r["contributions"][:n]} for r in risks])
        one = self.explained(self.ask(patient, day, 8, "&task=ckd").body)
        self.assertEqual(one, [r for r in risks if r["task"] == "ckd"])
        self.restart("--no-rescore")  # nobody asks the model but requests
        before = self.counts()
        self.assertEqual(self.ask(patient, day).body, first, "kept over a restart")
        self.assertEqual(self.counts(), (before[0] + len(risks), *before[1:]))

    def test_contributions_are_what_leaving_out_gives(self):
        self.start("--no-rescore")
        history = claims_of(3)
        got = self.d.post("/v1/predict?as_of=2021-06-01&explain=8", {"claims": history}).json["risks"]
        risks = [r for r in got if r["probability"] is not None]
        self.assertGreater(len(risks), 0)
        for risk in risks:
            sizes = [abs(c["logit_change"]) for c in risk["contributions"]]
            self.assertEqual(sizes, sorted(sizes, reverse=True))
            for told in risk["contributions"][:2]:
                less = [{**c, kind: [e for e in c[kind] if not e["code"].startswith(told["code"])]}
                        for kind in [told["kind"].replace("diagnosis", "diagnose") + "s"] for c in history]
                other = self.d.post(f"/v1/predict?as_of=2021-06-01&task={risk['task']}",
                                    {"claims": less}).json["risks"][0]
                self.assertAlmostEqual(risk["probability"] - other["probability"], told["risk_change"], 5)
                self.assertGreaterEqual(told["risk_change"] * told["logit_change"], 0)

    def test_what_is_kept_follows_the_history(self):
        d = self.start()
        d.push(claims_of(2, 3))
        work = self.scored()
        day, patient = work["risks"][0]["as_of"], work["risks"][0]["patient"]
        first = self.kept(patient, day)
        new = {**claims_of(int(patient[1:]))[-1], "claim_id": "new"}
        new["diagnoses"] = [{"system": "icd10", "code": "Q91.3", "date": new["start"]}]
        self.assertEqual(d.post("/v1/claims", new).status, 201)
        computed = self.counts()[1]
        then = self.ask(patient, day).body
        self.assertGreater(self.counts()[1], computed, "worked out again at once")
        self.assertEqual({r["unmapped_codes"] for r in self.explained(then)}, {1})
        self.scored()
        self.assertEqual(self.kept(patient, day), then)
        self.assertEqual(d.call("DELETE", f"/v1/claims/{new['facility']}/new").status, 200)
        self.scored()
        self.assertEqual(self.kept(patient, day), first)
        # Earlier days and earlier records are always worked out.
        computed = self.counts()[1]
        self.ask(patient, "2021-06-01")
        self.assertGreater(self.counts()[1], computed)
        before = self.counts()[0]
        self.ask(patient, day, 8, "&recorded=2100-01-01T00:00:00Z")
        self.assertEqual(self.counts()[0], before)
        # Erased with the patient.
        self.assertEqual(d.call("DELETE", f"/v1/patients/{patient}").status, 200)
        self.assertEqual(d.get(f"/v1/patients/{patient}/risks?explain=8").status, 404)
        self.assertEqual(d.stop(), 0)
        self.d = None
        with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db")) as db:
            rows = db.execute("SELECT count(*) FROM scores WHERE explanation IS NOT NULL").fetchone()
        self.assertEqual(rows, (0,))

    def test_the_top_of_the_worklists_is_explained_in_advance(self):
        d = self.start(top="2")
        d.push(claims_of(*range(2, 12)))
        work = self.scored()
        self.assertGreater(len(work["risks"]), 3)
        day = work["risks"][0]["as_of"]
        top = [r["patient"] for r in work["risks"][:2]]

        def explained():
            with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db")) as db:
                return db.execute("SELECT count(explanation) FROM (SELECT explanation FROM scores WHERE task = 'ckd' "
                                  "AND probability >= 0 ORDER BY excess DESC, patient LIMIT 2)").fetchone() == (2,)
        self.until(explained)
        d = self.restart("--no-rescore")
        with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db")) as db:
            rows = db.execute("SELECT count(DISTINCT patient) FROM scores WHERE explanation IS NOT NULL")
            self.assertLess(rows.fetchone()[0], 10, "not everybody")
        for patient in top:
            before = self.counts()
            got = self.ask(patient, day)
            after = self.counts()
            self.assertEqual(after[0] - before[0], len(self.explained(got.body)))
            self.assertEqual(after[1:], before[1:])
        inline = d.post(f"/v1/predict?as_of={day}&explain=8", {"claims": claims_of(int(patient[1:]))})
        self.assertEqual(self.explained(got.body), self.explained(inline.body))

    def test_a_whole_answer_is_kept_besides(self):
        d = self.start("--no-rescore", cache="1000000")
        d.push(claims_of(2))
        first = self.ask("p2", "2021-06-01").body
        before = self.counts()
        self.assertEqual(self.ask("p2", "2021-06-01").body, first)
        self.assertEqual(self.counts(), before)
        self.assertGreater(self.figure('rezeptd_cache_requests_total{outcome="hit"}'), 0)

    def test_a_text_that_cannot_be_read_is_worked_out_again(self):
        d = self.start()
        d.push(claims_of(2, 3))
        work = self.scored()
        day, patient = work["risks"][0]["as_of"], work["risks"][0]["patient"]
        first = self.kept(patient, day)
        self.assertEqual(d.stop(), 0)
        with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db")) as db:
            db.execute("UPDATE scores SET explanation = '{\"logit\":'")
            db.commit()
        self.start()
        computed = self.counts()[1]
        self.assertEqual(self.ask(patient, day).body, first)
        self.assertGreater(self.counts()[1], computed)
        self.assertIn("explanation_unread", self.d.log())
        self.assertEqual(self.kept(patient, day), first)

    def test_the_study_of_explanations_runs(self):
        shutil.copy(f"{fixture()}/train.db", f"{self.folder}/s.db")
        done = subprocess.run([f"{BUILD}/models/study-explanations", "--db", f"{self.folder}/s.db", "--model",
                               f"{fixture()}/models/risks", "--patients", "3"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^ckd: 3 patients, \d+\.\d codes each")
        shares = re.search(r"(?m)^  backward pass +([\d. ]+)$", done.stdout)[1].split()
        self.assertEqual(shares[-1], "1.000", "so few codes are all tried")
        bad = subprocess.run([f"{BUILD}/models/study-explanations"], capture_output=True, text=True)
        self.assertEqual(bad.returncode, 1)
        self.assertIn("--db and --model", bad.stderr)


if __name__ == "__main__":
    daemon.main()
