#!/usr/bin/python3
"""What clinicians' pages ask for: worklists of all tasks, a risk's past, verdicts, what can be drawn
of a model, the study, and what a token may do."""
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import daemon
from daemon import CANARY, REZEPTD, Daemon, claim, fixture
from documented import Documented

TASKS = {"ckd", "amlodipine"}
STRANGE = "p/ü?&#%<script>alert('x')</script>\"\\"  # a patient id may hold anything


def claims_of(numbers):
    with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
        return [c for c in map(json.loads, file) if int(c["patient"]["id"][1:]) in numbers]


def renamed(number, name, facility=None):
    return [{**c, "claim_id": f"{name}-{i}", "facility": facility or c["facility"],
             "patient": {**c["patient"], "id": name}} for i, c in enumerate(claims_of({number}))]


def years(birth, day):
    return int(day[:4]) - int(birth[:4]) - (day[5:] < birth[5:])


class Clinic(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        shutil.copytree(f"{fixture()}/models", f"{self.folder}/models")
        self.d = None

    def tearDown(self):
        if self.d is not None:
            self.assertEqual(self.d.stop(), 0)

    def start(self, *flags, explain="0"):
        self.d = Daemon("--rescore-pause-ms", "20", "--rescore-explain", explain, *flags,
                        folder=self.folder, wait="/readyz")
        return self.d

    def stop(self):
        self.assertEqual(self.d.stop(), 0)
        self.d = None

    def get(self, path, pattern=None, status=200):
        got = self.d.get(path)
        Documented.check("GET", pattern or path.split("?")[0], got)
        self.assertEqual(got.status, status, got.body)
        return got.json

    def worklist(self, query="", status=200):
        return self.get(f"/v1/risks?{query}", status=status)

    def scored(self, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            got = self.worklist("limit=1000")
            if got["unscored"] == 0 and got["stale"] == 0:
                return got
            time.sleep(0.05)
        self.fail(f"not everybody is scored: {got['unscored']}, {got['stale']} stale")

    def database(self):
        return contextlib.closing(sqlite3.connect(f"{self.folder}/t.db"))

    def token(self, name, scopes):
        made = subprocess.run([REZEPTD, "token", "create", "--name", name, "--scopes", scopes, "--db",
                               f"{self.folder}/t.db"], capture_output=True, text=True, check=True)
        time.sleep(0.05)  # the daemon looks at the file every 10 ms
        return made.stdout.strip()

    # ---- worklists

    def test_worklist_of_all_tasks(self):
        d = self.start()
        d.push(claims_of(range(1, 60)) + [{**claim(1, "unborn"), "patient": {"id": "unborn"}}])
        all_rows = self.scored()
        rows = all_rows["risks"]
        self.assertEqual(all_rows["scored"], len(rows))
        self.assertEqual(all_rows["matching"], len(rows))
        self.assertEqual(all_rows["scored"] + all_rows["left_out"], 60 * 2)
        self.assertEqual(all_rows["facilities"], ["H0", "H1", "H2"])
        self.assertIn(("unborn", "U", None), {(r["patient"], r["sex"], r["age"]) for r in rows})
        self.assertEqual({r["task"] for r in rows}, TASKS)
        excess = [r["excess"] for r in rows]
        self.assertEqual(excess, sorted(excess, reverse=True))
        births = {p["id"]: p for p in d.get("/v1/patients?limit=1000").json["patients"]}
        for row in rows:
            self.assertAlmostEqual(row["probability"] - row["average_age_sex"], row["excess"], 4)
            birth = births[row["patient"]]["birth_date"]
            self.assertEqual(row["age"], years(birth, row["as_of"]) if birth else None)
            self.assertEqual(row["sex"], births[row["patient"]]["sex"])
            self.assertEqual(row["model"]["id"], "risks")
        for task in TASKS:
            one = self.worklist(f"task={task}&limit=1000")
            self.assertEqual(one["risks"], [r for r in rows if r["task"] == task])
        chances = [r["probability"] for r in self.worklist("sort=probability")["risks"]]
        self.assertEqual(chances, sorted(chances, reverse=True))

    def test_pages_and_filters(self):
        d = self.start()
        d.push(claims_of(range(1, 60)))
        rows = self.scored()["risks"]

        def pages(query, size=7):
            got, offset = [], 0
            while True:
                page = self.worklist(f"{query}&limit={size}&offset={offset}")
                got += page["risks"]
                if not page["risks"]:
                    self.assertEqual(page["matching"], len(got))
                    return got
                offset += size
        self.assertEqual(pages("sort=excess"), rows)
        self.assertEqual(pages("facility=H1"), [r for r in rows if r["facility"] == "H1"])
        old = pages("age_min=60")
        self.assertEqual(old, [r for r in rows if r["age"] >= 60])
        middle = pages("age_min=50&age_max=59&task=ckd")
        self.assertEqual(middle, [r for r in rows if 50 <= r["age"] <= 59 and r["task"] == "ckd"])
        self.assertGreater(len(old) * len(middle), 0)
        limit = sorted(r["probability"] for r in rows)[len(rows) // 2]
        self.assertEqual(len(pages(f"min_probability={limit:.4f}")),
                         sum(r["probability"] >= float(f"{limit:.4f}") for r in rows))
        self.assertEqual(self.worklist("facility=nowhere")["matching"], 0)
        for wrong in ("sort=age", "sort=", "age_min=-1", "age_min=151", "age_max=4.5", "age_max=",
                      "task=ckd,amlodipine", "task=onset:N189", "limit=0", "min_probability=2"):
            self.worklist(wrong, status=400)
        self.worklist("task=none", status=404)

    def test_rows_say_what_the_patient_page_says(self):
        d = self.start(explain="5")
        d.push(claims_of(range(1, 40)))
        self.scored()
        end = time.time() + 60
        while time.time() < end:
            top = [r for r in self.worklist("task=ckd&limit=5")["risks"] if r["contributions"]]
            if len(top) == 5:
                break
            time.sleep(0.1)
        self.assertEqual(len(top), 5, "the first rows are explained in advance")
        for row in top:
            path = f"/v1/patients/{row['patient']}/risks?task=ckd&explain=3&as_of={row['as_of']}"
            risk = d.get(path).json["risks"][0]
            for name in ("probability", "interval", "average_age_sex", "contributions", "model"):
                self.assertEqual(row[name], risk[name], name)
        last = self.worklist("task=ckd&limit=1000")["risks"][-1]
        self.assertEqual(last["contributions"], [])

    def test_counts_follow_what_changes(self):
        d = self.start()
        d.push(claims_of({2, 3}))
        first = self.scored()
        self.assertEqual(self.worklist(), {**first, "risks": self.worklist()["risks"]})
        d.push(renamed(5, "late"))
        then = self.scored()
        self.assertEqual(then["scored"] + then["left_out"], 6)
        self.assertEqual(d.call("DELETE", "/v1/patients/late").status, 200)
        gone = self.worklist()
        self.assertEqual(gone["scored"] + gone["left_out"], 4)

    # ---- trend

    def trend(self, patient, query="task=ckd", status=200):
        return self.get(f"/v1/patients/{urllib.parse.quote(patient, safe='')}/trend?{query}",
                        "/v1/patients/{id}/trend", status)

    def test_trend(self):
        d = self.start()
        d.push(claims_of({2, 3}) + renamed(5, STRANGE))
        self.scored()
        got = self.trend("p2", "task=ckd&months=60")
        points = got["points"]
        days = [p["as_of"] for p in points]
        self.assertEqual(days, sorted(days))
        self.assertEqual(len(points), 60)
        self.assertEqual([p["source"] for p in points], ["recomputed"] * 59 + ["kept"])
        self.assertEqual(got["model_changes"], [])
        for point in (points[0], points[20], points[40], points[-1]):
            risk = d.get(f"/v1/patients/p2/risks?task=ckd&as_of={point['as_of']}").json["risks"][0]
            for name in ("probability", "reason", "interval", "average_age_sex", "model", "calibration"):
                if name != "interval" or point["probability"] is not None:
                    if name != "average_age_sex" or point["probability"] is not None:
                        self.assertEqual(point.get(name), risk.get(name), (point["as_of"], name))
        self.assertEqual(len(self.trend("p2")["points"]), 12)
        self.assertEqual([p["source"] for p in self.trend("p2", "task=ckd&months=1")["points"]], ["kept"])
        self.assertEqual(self.trend(STRANGE)["patient"]["id"], STRANGE)
        for wrong in ("", "task=ckd&months=0", "task=ckd&months=61", "task=ckd,amlodipine",
                      "task=onset:N189"):
            self.trend("p2", wrong, 400)
        self.trend("p2", "task=none", 404)
        self.trend("nobody", status=404)
        d.push(renamed(3, "p2", "H9"))
        self.assertEqual(self.trend("p2", status=409)["facilities"], ["H2", "H9"])
        self.trend("p2", "task=ckd&facility=H9")

    def test_trend_without_a_model_and_of_other_models(self):
        d = self.start()
        d.push(claims_of({2}))
        self.scored()
        self.stop()
        with self.database() as db, db:
            db.execute("INSERT INTO score_contexts VALUES (99, 'old-model', 'old-tasks', 'old-calibration')")
            db.execute("INSERT INTO score_months SELECT patient, task, month - 2, 99, as_of - 61, 0.5, 0.4, 0.6, "
                       "0.1, '', scored_at - 5 FROM score_months WHERE task = 'ckd'")
            old = db.execute("SELECT month, as_of FROM score_months WHERE context = 99").fetchall()
        self.assertEqual(len(old), 1)
        d = self.start()
        self.scored()
        got = self.trend("p2", "task=ckd&months=6")
        kept = [p for p in got["points"] if p["source"] == "kept"]
        self.assertEqual((kept[0]["probability"], kept[0]["interval"]), (0.5, [0.4, 0.6]))
        self.assertEqual(kept[0]["model"], {"id": None, "sha256": "old-model"})
        self.assertEqual(kept[0]["calibration"], {"id": "old-calibration", "date": None})
        change, = got["model_changes"]
        self.assertEqual(change["date"], kept[-1]["as_of"])
        self.assertEqual(change["from"], {"model": kept[0]["model"], "calibration": kept[0]["calibration"]})
        self.assertEqual(change["to"], {"model": kept[-1]["model"], "calibration": kept[-1]["calibration"]})
        self.assertEqual(change["to"]["model"]["id"], "risks")
        self.assertEqual(d.post("/v1/models/risks:unload").status, 200)
        got = self.trend("p2", "task=ckd&months=6")
        for point in got["points"]:
            if point["source"] == "kept":
                self.assertIsNone(point["model"]["id"])
            else:
                self.assertEqual((point["reason"], point["model"]), ("no_model", None))

    # ---- feedback

    def verdict(self, **more):
        return {"patient": {"id": "p2", "facility": "H2"}, "task": "ckd", "verdict": "dismiss",
                "reason": "known_already", "as_of": "2026-01-02", "probability": 0.25,
                "model_sha256": "ab" * 32, **more}

    def say(self, status=201, **more):
        got = self.d.post("/v1/feedback", self.verdict(**more))
        Documented.check("POST", "/v1/feedback", got)
        self.assertEqual(got.status, status, got.body)
        return got.json

    def feedback(self, query="", status=200):
        return self.get(f"/v1/feedback?{query}", status=status)

    def test_feedback(self):
        d = self.start("--no-rescore")
        d.push(claims_of({2, 3}) + renamed(5, STRANGE, "H1"))
        first = self.say()
        self.say(verdict="agree", reason=None, probability=1)
        self.say(patient={"id": STRANGE}, task="amlodipine", reason="other")
        got = self.feedback()
        self.assertIsNone(got["next"])
        self.assertEqual([(f["patient"]["id"], f["verdict"], f["reason"], f["by"]) for f in got["feedback"]],
                         [(STRANGE, "dismiss", "other", "local"), ("p2", "agree", None, "local"),
                          ("p2", "dismiss", "known_already", "local")])
        last = got["feedback"][-1]
        self.assertEqual(last, {"id": first["id"], "recorded_at": first["recorded_at"], "by": "local",
                                **self.verdict()})
        page = self.feedback("limit=2")
        self.assertEqual(page["feedback"], got["feedback"][:2])
        self.assertEqual(self.feedback(f"limit=2&after={page['next']}")["feedback"], got["feedback"][2:])
        self.assertEqual(self.feedback("task=amlodipine")["feedback"], got["feedback"][:1])
        self.assertEqual(self.feedback("facility=H2")["feedback"], got["feedback"][1:])
        quoted = urllib.parse.quote(STRANGE, safe="")
        self.assertEqual(self.feedback(f"patient={quoted}")["feedback"], got["feedback"][:1])
        self.assertEqual(self.feedback("facility=nowhere")["feedback"], [])
        self.feedback("patient=nobody", 404)
        self.feedback("after=x", 400)
        self.feedback("limit=1001", 400)
        # A repeated verdict is another row; nothing is changed.
        self.say()
        self.assertEqual(len(self.feedback("patient=p2")["feedback"]), 3)
        # Two patients of the id: the verdict must say whose.
        d.push(renamed(3, "p2", "H9"))
        self.assertEqual(self.say(409, patient={"id": "p2"})["facilities"], ["H2", "H9"])
        # Erased with the patient.
        self.assertEqual(d.call("DELETE", "/v1/patients/p2?facility=H2").status, 200)
        self.assertEqual([f["patient"]["id"] for f in self.feedback()["feedback"]], [STRANGE])
        self.stop()
        with self.database() as db:
            self.assertEqual(db.execute("SELECT count(*) FROM feedback").fetchone(), (1,))
            audit = db.execute("SELECT patient, model, details FROM audit WHERE action = 'feedback'").fetchall()
        self.assertEqual(len(audit), 4)
        self.assertEqual(len(audit[0][0]), 32)
        self.assertEqual(audit[0][1], "ab" * 32)
        self.assertEqual(json.loads(audit[0][2])["verdict"], "dismiss")
        self.assertNotIn("script", "".join(map(str, audit)))

    def test_feedback_that_is_wrong(self):
        d = self.start("--no-rescore")
        d.push(claims_of({2}))
        for pointer, more in (("/verdict", {"verdict": "perhaps"}), ("/reason", {"reason": "I know her"}),
                              ("/as_of", {"as_of": "2026-02-30"}), ("/as_of", {"as_of": None}),
                              ("/probability", {"probability": 1.01}), ("/probability", {"probability": "0.2"}),
                              ("/model_sha256", {"model_sha256": "ab"}), ("/model_sha256", {"model_sha256": "AB" * 32}),
                              ("/task", {"task": 3}), ("/patient", {"patient": "p2"}),
                              ("/patient", {"patient": {"id": ""}}), ("/patient", {"patient": {"id": "p2", "name": "x"}}),
                              ("/patient", {"patient": {"id": "p2", "facility": 2}}),
                              ("", {"comment": CANARY})):
            got = self.say(422, **more)
            self.assertEqual([e["pointer"] for e in got["errors"]], [pointer], more)
            self.assertNotIn(CANARY, json.dumps(got))
        self.assertEqual(len(d.post("/v1/feedback", {}).json["errors"]), 6)
        self.assertIn("tasks", self.say(404, task="none"))
        self.say(404, task="onset:N189")
        self.say(404, patient={"id": CANARY})
        self.say(404, patient={"id": "x" * 5000})
        self.assertEqual(d.post("/v1/feedback", "{").status, 400)
        self.assertEqual(d.post("/v1/feedback", "x=1", "application/x-www-form-urlencoded").status, 415)
        self.assertEqual(self.feedback()["feedback"], [])
        self.assertNotIn(CANARY, d.log())

    # ---- who may what

    def test_whoami_and_scopes(self):
        d = self.start("--no-rescore")
        d.push(claims_of({2}))
        me = self.get("/v1/whoami")
        self.assertEqual(me["name"], "anonymous")
        self.assertEqual(len(me["scopes"]), 8)
        reader = self.token("reader", "risks:read,feedback:read")
        writer = self.token("writer", "feedback:write")
        everything = self.token("all", "all")
        self.get("/v1/whoami", status=401)
        d.token = reader
        self.assertEqual(self.get("/v1/whoami"), {"name": "reader", "scopes": ["risks:read", "feedback:read"]})
        self.assertIn("feedback:write", self.say(403)["detail"])
        d.token = writer
        self.assertEqual(self.get("/v1/whoami"), {"name": "writer", "scopes": ["feedback:write"]})
        self.say()
        self.assertIn("feedback:read", self.feedback(status=403)["detail"])
        for path, pattern in (("/v1/risks", None), ("/v1/study", None),
                              ("/v1/models/risks/card", "/v1/models/{id}/card")):
            self.get(path, pattern, 403)
        self.trend("p2", status=403)
        d.token = everything
        self.assertEqual(self.get("/v1/whoami")["scopes"], me["scopes"])
        self.assertEqual([f["by"] for f in self.feedback()["feedback"]], ["writer"])
        subprocess.run([REZEPTD, "token", "revoke", "--name", "all", "--db", f"{self.folder}/t.db"], check=True)
        time.sleep(0.05)
        self.get("/v1/whoami", status=401)

    # ---- models

    def test_figures_of_a_model(self):
        self.start("--no-rescore")
        with open(f"{self.folder}/models/risks/tasks.json", encoding="utf-8") as file:
            heads = {h["task"]["name"]: h for h in json.load(file)["tasks"]}
        model = self.get("/v1/models/risks", "/v1/models/{id}")
        self.assertEqual(model["calibrations"].keys(), heads.keys())
        for name, told in model["calibrations"].items():
            calibration, figures = heads[name]["calibration"], told["figures"]
            self.assertEqual(told["title"], heads[name]["task"]["title"]["en"])
            bins = figures["bins"]
            self.assertEqual([b["n"] for b in bins], calibration["bins"]["n"])
            self.assertEqual([b["positives"] for b in bins], calibration["bins"]["positives"])
            self.assertEqual(sum(b["n"] for b in bins), figures["n"])
            for b, low, high in zip(bins, calibration["bins"]["edges"], calibration["bins"]["edges"][1:]):
                self.assertAlmostEqual(b["from"], low, 5)
                self.assertAlmostEqual(b["to"], high, 5)
                self.assertAlmostEqual(b["observed"], b["positives"] / b["n"], 5)
                self.assertTrue(b["low"] <= b["observed"] <= b["high"], b)
                self.assertTrue(b["from"] <= b["predicted"] <= b["to"], b)
            self.assertEqual(len(figures["band"]), len(calibration["band"]["x"]))
            for point in figures["band"]:
                self.assertTrue(point["low"] <= point["predicted"] <= point["high"], point)
            n, sick = figures["n"], figures["positives"]
            self.assertEqual(len(figures["decision_curve"]), len(bins) - 1)
            for k, point in enumerate(figures["decision_curve"]):
                above = bins[k + 1:]
                treated, right = sum(b["n"] for b in above), sum(b["positives"] for b in above)
                odds = point["threshold"] / (1 - point["threshold"])
                self.assertEqual((point["treated"], point["true_positives"]), (treated, right))
                self.assertAlmostEqual(point["model"], (right - (treated - right) * odds) / n, 4)
                self.assertAlmostEqual(point["treat_all"], (sick - (n - sick) * odds) / n, 4)
        listed = {m["id"]: m for m in self.get("/v1/models")["models"]}
        self.assertNotIn("figures", listed["risks"]["calibrations"]["ckd"])
        self.assertEqual(self.get("/v1/models/base", "/v1/models/{id}")["calibrations"], {})

    def test_cards(self):
        d = self.start("--no-rescore")
        card = f"{self.folder}/models/risks/card.md"
        got = Documented.check("GET", "/v1/models/{id}/card", d.get("/v1/models/risks/card"))
        with open(card, "rb") as file:
            self.assertEqual(got.body, file.read())
        self.assertEqual(got.headers["content-type"], "text/markdown; charset=utf-8")
        os.unlink(card)
        os.symlink("/etc/hostname", card)
        for model, name in (("risks", "no_card"), ("none", "unknown_model"), ("No:Model", "unknown_model"),
                            ("..%2f..%2fetc", "unknown_model")):
            got = d.get(f"/v1/models/{model}/card")
            self.assertIn(got.status, (400, 404))
            if got.status == 404:
                self.assertEqual(got.json["type"].split(":")[-1], name)
        shutil.rmtree(f"{self.folder}/models/base")
        os.symlink(f"{self.folder}/models/risks", f"{self.folder}/models/base")
        self.assertEqual(d.get("/v1/models/base/card").status, 404)

    def test_titles_of_codes(self):
        table = f"{self.folder}/titles.csv"
        with open(table, "w", encoding="utf-8") as file:
            file.write("system,code,title,title_ja\nicd10,I10,<b>High blood pressure,高血圧\n"
                       "yj,2149042F2021,telmisartan,ミカルディス錠40mg\nyj,2149042F1017,telmisartan,\n")
        self.start("--no-rescore", "--code-titles", table)
        got = self.get("/v1/codes?code=icd10:i10,yj:2149042,icd10:E11.9")["codes"]
        self.assertEqual(got, [
            {"system": "icd10", "code": "I10", "title": "<b>High blood pressure", "title_ja": "高血圧"},
            {"system": "yj", "code": "2149042", "title": "telmisartan", "title_ja": None},
            {"system": "icd10", "code": "E119", "title": None, "title_ja": None}])
        self.assertEqual(len(self.get("/v1/codes?code=" + ",".join(["icd10:I10"] * 500))["codes"]), 500)
        for query, words in (("", "1 to 500"), ("code=", "1 to 500"), ("code=I10", "SYSTEM:CODE"), ("code=:I10", "SYSTEM:CODE"),
                             ("code=icd11:I10", "SYSTEM:CODE"), ("code=icd10:1", "not ICD-10"), ("code=icd10:", "icd10"),
                             ("code=" + ",".join(["icd10:I10"] * 501), "1 to 500"), (f"code={'x' * 90}:1", "SYSTEM:CODE")):
            self.assertIn(words, self.get(f"/v1/codes?{query}", status=400)["detail"])

    def test_no_titles(self):
        self.start("--no-rescore")
        self.assertIsNone(self.get("/v1/codes?code=icd10:I10")["codes"][0]["title"])
        table = f"{self.folder}/titles.csv"
        for text, words in (("system,code,title\nicd10,I10,a\nicd10,I10,b\n", "lines 2 and 3"), (None, table)):
            if text is None:
                os.unlink(table)
            else:
                with open(table, "w", encoding="utf-8") as file:
                    file.write(text)
            ended = subprocess.run([REZEPTD, "serve", "--db", f"{self.folder}/other.db", "--models", f"{self.folder}/models",
                                    "--port", "0", "--code-titles", table], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(ended.returncode, 0)
            self.assertIn(words, ended.stderr)

    def test_study(self):
        d = self.start("--no-rescore")
        self.assertEqual(self.get("/v1/study", status=404)["type"].split(":")[-1], "no_study")

        def route(routing):
            with open(f"{self.folder}/models/routing.json", "w", encoding="utf-8") as file:
                file.write(routing if isinstance(routing, str) else json.dumps(routing))
            self.assertEqual(d.post("/v1/models/risks:load").status, 200)
        route({"tasks": {"ckd": "risks"}})
        self.get("/v1/study", status=404)
        evidence = {"split": "tuning", "sizes": [{"size": "2.2m", "seeds": 2, "average_precision": {"value": 0.25}}]}
        route({"format_version": 1, "code_version": "0.1.0", "data_sha256": "ab",
               "tasks": {"ckd": {"model": "risks", "size": "2.2m", "why": "it is good", "evidence": evidence},
                         "amlodipine": {"model": "risks", "why": 3}, "bad": {"model": 5}}})
        got = self.get("/v1/study")
        self.assertEqual(got, {"code_version": "0.1.0", "data_sha256": "ab", "tasks": [
            {"task": "ckd", "model": "risks", "size": "2.2m", "why": "it is good", "evidence": evidence},
            {"task": "amlodipine", "model": "risks", "size": None, "why": None, "evidence": None}]})
        why = {t["name"]: t["why"] for t in self.get("/v1/tasks")["tasks"]}
        self.assertEqual(why["ckd"], "it is good")
        self.assertEqual(why["amlodipine"], "routing.json names it")
        route("{")
        self.get("/v1/study", status=404)


if __name__ == "__main__":
    daemon.main()
