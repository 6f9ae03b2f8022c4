#!/usr/bin/python3
"""Risks out, with a real (small, briefly trained) model: every route against openapi.yaml, reasons,
batches, cache, worklist, overload, and the exchange of a model under load."""
import json
import re
import shutil
import tempfile
import threading
import time
import unittest

import daemon
from daemon import CANARY, Case, Daemon, claim, fixture
from documented import OPENAPI, Documented

def history(number=1):
    """The claims of one patient of the fixture."""
    with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
        return [c for c in map(json.loads, file) if c["patient"]["id"] == f"p{number}"]


def healthy():
    return [c for c in history(1) + history(2) + history(3) + history(5)
            if not any(d["code"] == "N189" for d in c["diagnoses"])]


class Risks(Case):
    needs_model = True

    def setUp(self):
        self.daemon.push(history(1) + history(2) + history(3))

    def test_every_route_is_as_documented(self):
        d, check = self.daemon, Documented.check
        body = {"claims": history(2), "as_of": "2022-06-01"}
        lines = "".join(json.dumps({**body, "id": i}) + "\n" for i in range(3)) + "{bad\n"
        check("POST", "/v1/claims", d.post("/v1/claims", claim(1, "doc")))
        check("POST", "/v1/claims", d.post("/v1/claims", {"claim_id": "x"}))
        check("POST", "/v1/claims", d.push([claim(2, "doc"), {"claim_id": "x"}]))
        check("GET", "/v1/patients", d.get("/v1/patients?limit=2"))
        check("GET", "/v1/patients/{id}", d.get("/v1/patients/doc"))
        check("GET", "/v1/patients/{id}", d.get("/v1/patients/nobody"))
        check("GET", "/v1/patients/{id}/timeline", d.get("/v1/patients/p1/timeline?as_of=2020-01-01"))
        for query in ("", "as_of=2021-06-01&explain=8", "as_of=2019-02-01", "task=ckd&model=risks",
                      "task=none", "model=none", "as_of=x", "model=base", "explain=9",
                      "recorded=2001-01-01T00:00:00Z"):
            check("GET", "/v1/patients/{id}/risks", d.get(f"/v1/patients/p2/risks?{query}"))
        check("GET", "/v1/risks", d.get("/v1/risks?task=ckd"))
        check("GET", "/v1/risks", d.get("/v1/risks"))
        check("GET", "/v1/risks", d.get("/v1/risks?sort=age"))
        check("GET", "/v1/patients/{id}/trend", d.get("/v1/patients/p2/trend?task=ckd"))
        check("GET", "/v1/patients/{id}/trend", d.get("/v1/patients/p2/trend"))
        verdict = {"patient": {"id": "doc"}, "task": "ckd", "verdict": "agree", "as_of": "2024-05-01",
                   "probability": 0.25, "model_sha256": "0" * 64}
        check("POST", "/v1/feedback", d.post("/v1/feedback", verdict))
        check("POST", "/v1/feedback", d.post("/v1/feedback", {}))
        check("GET", "/v1/feedback", d.get("/v1/feedback"))
        for path in ("/v1/models/{id}/card", "/v1/study", "/v1/whoami"):
            check("GET", path, d.get(path.replace("{id}", "risks")))
        check("POST", "/v1/predict", d.post("/v1/predict?explain=3", body))
        check("POST", "/v1/predict", d.post("/v1/predict", {"claims": []}))
        check("POST", "/v1/predict:batch", d.post("/v1/predict:batch", lines, "application/x-ndjson"))
        for path in ("/v1/tasks", "/v1/models", "/v1/server", "/livez", "/readyz", "/healthz",
                     "/metrics", "/openapi.json"):
            check("GET", path, d.get(path))
        check("GET", "/v1/codes", d.get("/v1/codes?code=icd10:I10,yj:2171022"))
        check("GET", "/v1/codes", d.get("/v1/codes?code=none"))
        check("GET", "/", d.get("/"))
        for name in ("main.js", "style.css", "icon.svg", "none"):
            check("GET", "/page/{file}", d.get(f"/page/{name}"))
        for name in ("risks", "base", "none", "No:Model"):
            check("GET", "/v1/models/{id}", d.get(f"/v1/models/{name}"))
        self.assertEqual(d.get("/v1/models/none").status, 404)
        one = d.get("/v1/models/risks").json
        listed = next(m for m in d.get("/v1/models").json["models"] if m["id"] == "risks")
        for told in one["calibrations"].values():  # what one model tells besides
            del told["figures"], told["title"], told["title_ja"]
        self.assertEqual({**one, "drift": 0}, {**listed, "drift": 0})
        self.assertEqual(one["drift"].keys(), {"ckd", "amlodipine"})
        self.assertEqual(d.get("/v1/models/risks:load").headers["allow"], "POST")
        check("POST", "/v1/models/{id}:load", d.post("/v1/models/risks:load"))
        check("POST", "/v1/models/{id}:load", d.post("/v1/models/base:load"))
        check("POST", "/v1/models/{id}:unload", d.post("/v1/models/none:unload"))
        check("DELETE", "/v1/claims/{facility}/{claim_id}", d.call("DELETE", "/v1/claims/H1/doc-2"))
        check("DELETE", "/v1/patients/{id}", d.call("DELETE", "/v1/patients/doc"))
        every = {f"{m.upper()} {p}" for p, o in OPENAPI["paths"].items() for m in o
                 if m in ("get", "post", "delete", "put")}
        self.assertEqual(every - Documented.seen, set())
        routes = set(d.get("/nothing").json["routes"])
        self.assertEqual(routes, every)
        document = d.get("/openapi.json").json
        self.assertEqual(document["paths"].keys(), OPENAPI["paths"].keys())

    def risks(self, path):
        got = self.daemon.get(path)
        self.assertEqual(got.status, 200, got.body)
        return {r["task"]: r for r in got.json["risks"]}

    def test_reasons_and_numbers(self):
        early = self.risks("/v1/patients/p2/risks?as_of=2019-03-01")
        self.assertEqual({r["reason"] for r in early.values()}, {"short_history"})
        some = [self.risks(f"/v1/patients/p{n}/risks?as_of=2020-12-31") for n in (1, 2, 3)]
        for risk in (r for answer in some for r in answer.values() if r["probability"] is not None):
            low, high = risk["interval"]
            self.assertTrue(0 <= low <= risk["probability"] <= high <= 1, risk)
            self.assertTrue(0 < risk["average_age_sex"] < 1)
            self.assertEqual(risk["data_window"]["last_day"][:4], "2020")
        dead = history(2)[:20]
        dead[-1]["death"] = dead[-1]["start"]
        got = self.daemon.post("/v1/predict?as_of=2024-01-01", {"claims": dead}).json["risks"]
        self.assertEqual({r["reason"] for r in got}, {"dead"})
        self.assertNotIn("NaN", json.dumps(got))

    def test_stored_and_inline_agree(self):
        stored = self.risks("/v1/patients/p2/risks?as_of=2021-06-01&explain=3")
        inline = self.daemon.post("/v1/predict?as_of=2021-06-01&explain=3",
                                  {"claims": history(2)}).json
        self.assertEqual(stored, {r["task"]: r for r in inline["risks"]})

    def test_batch_equals_single(self):
        bodies = [{"id": n, "claims": history(n), "as_of": "2021-06-01"} for n in range(1, 90)]
        got = self.daemon.post("/v1/predict:batch", "\n".join(map(json.dumps, bodies)),
                               "application/x-ndjson")
        rows = [json.loads(line) for line in got.body.splitlines()]
        self.assertEqual([r["id"] for r in rows], list(range(1, 90)))
        for n in (1, 40, 89):
            alone = self.daemon.post("/v1/predict", bodies[n - 1]).json
            self.assertEqual(rows[n - 1]["risks"], alone["risks"])

    def test_a_bad_line_of_a_batch_is_told_by_column_and_limit(self):
        body = "\n\n{bad\n" + '{"id":"' + "x" * (4 << 20) + '"}'
        got = self.daemon.post("/v1/predict:batch", body, "application/x-ndjson")
        bad, long = [json.loads(line) for line in got.body.splitlines()]
        self.assertEqual(bad["line"], 3)
        self.assertTrue(bad["problem"]["detail"].startswith("column "), bad)
        self.assertEqual((long["line"], long["problem"]["limit"], long["problem"]["setting"]),
                         (4, 4 << 20, "predict-bytes-max"))

    def test_metrics_tell_of_reading_histories_and_of_the_build(self):
        stored = self.daemon.get("/v1/patients?limit=1").json["patients"][0]
        self.daemon.get(f"/v1/patients/{stored['id']}/risks?facility={stored['facility']}"
                        "&as_of=2020-02-29")
        text = self.daemon.get("/metrics").body.decode()
        count = re.search(r"rezeptd_predict_store_duration_seconds_count (\d+)", text)
        self.assertGreater(int(count.group(1)), 0)
        self.assertRegex(text, r'rezeptd_build_info{version="\S+",blas="\w+",kernels="\w+"} 1')

    def test_metrics_tell_of_scores_and_unknown_codes(self):
        def figures():
            text = self.daemon.get("/metrics").body.decode()
            found = re.findall(r"^(rezeptd_\w+)(?:{(.*)})? (\S+)$", text, re.MULTILINE)
            return {(name, labels): float(value) for name, labels, value in found}

        def total(now, name, word=""):
            return sum(v for (n, labels), v in now.items() if n == name and word in labels)

        # What the background scores must not come in between: it is done when it rests.
        before, rested = figures(), time.monotonic() + 60
        while time.monotonic() < rested:
            time.sleep(0.5)
            now = figures()
            if total(now, "rezeptd_predict_total") == total(before, "rezeptd_predict_total"):
                break
            before = now
        one = history(7)
        one[0]["diagnoses"].append({"system": "icd10", "code": "Q91.3",
                                    "date": one[0]["diagnoses"][0]["date"]})
        got = self.daemon.post("/v1/predict", {"claims": one, "as_of": "2020-06-01"}).json
        risks = [r for r in got["risks"] if r["probability"] is not None]
        self.assertGreater(len(risks), 0)
        after = figures()

        def grown(name, word=""):
            return total(after, name, word) - total(before, name, word)

        self.assertEqual(grown("rezeptd_score_bucket_total"), len(risks))
        for risk in risks:
            self.assertEqual(grown("rezeptd_score_bucket_total", f'target="{risk["task"]}"'), 1)
        self.assertEqual(grown("rezeptd_events_unmapped_total"), 1)
        self.assertGreater(grown("rezeptd_batch_tokens_sum"), len(one))
        self.assertEqual(grown("rezeptd_batch_tokens_count"), grown("rezeptd_batch_patients_count"))
        loaded = total(after, "rezeptd_model_loaded_timestamp_seconds")
        self.assertLess(abs(loaded - time.time()), 3600)

    def test_cache_follows_the_history(self):
        path = "/v1/patients/p3/risks?as_of=2021-01-01"
        first = self.daemon.get(path).body
        def hits():
            return int(re.search(r'cache_requests_total{outcome="hit"} (\d+)',
                                 self.daemon.get("/metrics").body.decode())[1])
        before = hits()
        self.assertEqual(self.daemon.get(path).body, first)
        self.assertEqual(hits(), before + 1)
        new = claim("late", "p3", "H0", start="2020-12-01", end="2020-12-01", known="2020-12-02",
                    diagnoses=[{"system": "icd10", "code": "N18.9", "date": "2020-12-01"}])
        new["patient"] = history(3)[0]["patient"]
        self.assertEqual(self.daemon.post("/v1/claims", new).status, 201)
        self.assertEqual(self.risks(path)["ckd"]["recorded"], {"code": "N189", "date": "2020-12-01"})

    def test_worklist(self):
        end = time.time() + 30
        while time.time() < end:
            got = self.daemon.get("/v1/risks?task=ckd&limit=5").json
            if got["scored"] + got["left_out"] >= 3 and got["stale"] == 0:
                break
            time.sleep(0.2)
        self.assertGreaterEqual(got["scored"] + got["left_out"], 3)
        Documented.check("GET", "/v1/risks", self.daemon.get("/v1/risks?task=ckd"))
        patients = self.daemon.get("/v1/patients?limit=1000").json["patients"]
        self.assertEqual(got["scored"] + got["left_out"] + got["unscored"], len(patients))
        reasons = got["left_out_reasons"]
        self.assertEqual(sum(reasons.values()), got["left_out"], reasons)
        self.assertGreaterEqual(reasons.get("already_recorded", 0), 1, "p1 has N189")
        excess = [r["excess"] for r in got["risks"]]
        self.assertEqual(excess, sorted(excess, reverse=True))

    def test_privacy(self):
        made = [dict(c, patient=dict(c["patient"], id=CANARY), claim_id=f"z{i}")
                for i, c in enumerate(history(2))]
        self.daemon.push(made)
        self.daemon.get(f"/v1/patients/{CANARY}/risks?explain=3")
        self.daemon.post("/v1/predict", {"claims": made})
        self.assertNotIn(CANARY, self.daemon.get("/metrics").body.decode())
        self.assertNotIn(CANARY, self.daemon.log())


class Exchange(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        shutil.copytree(f"{fixture()}/models", f"{self.folder}/models")
        self.d = None

    def tearDown(self):
        if self.d is not None:
            self.assertEqual(self.d.stop(), 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *flags):
        self.d = Daemon(*flags, folder=self.folder, wait="/readyz")
        return self.d

    def load(self, threads, seconds, act):
        """Many clients ask while `act` runs; returns how often each status came."""
        body = json.dumps({"claims": history(2)[:10], "as_of": "2021-06-01"})
        counts, stop, lock = {}, threading.Event(), threading.Lock()

        def ask():
            while not stop.is_set():
                got = self.d.post("/v1/predict", body)
                with lock:
                    counts[got.status] = counts.get(got.status, 0) + 1
                if got.status in (429, 503):
                    assert "retry-after" in got.headers

        workers = [threading.Thread(target=ask) for _ in range(threads)]
        for w in workers:
            w.start()
        act()
        time.sleep(seconds)
        stop.set()
        for w in workers:
            w.join()
        return counts

    def test_exchange_loses_nothing(self):
        d = self.start()

        def swaps():
            for _ in range(5):
                self.assertEqual(d.post("/v1/models/risks:load").status, 200)

        counts = self.load(4, 0.2, swaps)
        self.assertEqual(set(counts), {200}, counts)
        self.assertGreater(counts[200], 10)

    def test_damaged_model_leaves_the_old_one(self):
        d = self.start()
        weights = f"{self.folder}/models/risks/model.safetensors"
        with open(weights, "r+b") as file:
            file.seek(100000)
            file.write(b"\xff" * 64)
        got = d.post("/v1/models/risks:load")
        self.assertEqual(got.status, 409)
        self.assertEqual(d.post("/v1/predict", {"claims": history(2)}).status, 200)
        states = {m["id"]: m for m in d.get("/v1/models").json["models"]}
        self.assertEqual(states["risks"]["state"], "ready")
        self.assertIn("the old one serves", states["risks"]["reason"])
        self.assertEqual(states["base"]["state"], "unloaded")
        shutil.copytree(f"{self.folder}/models/risks", f"{self.folder}/models/broken")
        self.assertEqual(d.post("/v1/models/broken:load").status, 409)
        states = {m["id"]: m["state"] for m in d.get("/v1/models").json["models"]}
        self.assertEqual(states["broken"], "failed")

    def test_unloaded_model(self):
        d = self.start()
        self.assertEqual(d.post("/v1/models/risks:unload").json["state"], "unloaded")
        got = d.post("/v1/predict?task=ckd", {"claims": history(2)})
        self.assertEqual(got.json["risks"][0]["reason"], "no_model")
        self.assertEqual(d.get("/readyz").status, 503)
        self.assertEqual(d.post("/v1/models/risks:load").json["state"], "ready")
        self.assertEqual(d.get("/readyz").status, 200)

    def background_batch(self, ms):
        """Patients of a background batch, on average, after 300 new patients were scored."""
        with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
            claims = [c for c in map(json.loads, file) if int(c["patient"]["id"][1:]) <= 300]
        d = self.start("--rescore-batch-ms", str(ms), "--rescore-pause-ms", "20",
                       "--batch-patients-max", "64", "--db", f"{self.folder}/{ms}.db")
        d.push(claims)
        end = time.time() + 60
        while time.time() < end:
            got = d.get("/v1/risks?task=ckd&limit=1").json
            if got["scored"] + got["left_out"] >= 300 and got["stale"] == 0:
                break
            time.sleep(0.1)
        self.assertGreaterEqual(got["scored"] + got["left_out"], 300)
        text = d.get("/metrics").body.decode()
        figure = lambda end: float(re.search(f"batch_patients_{end}{{.*}} (\\S+)", text)[1])
        self.assertEqual(d.stop(), 0)
        self.d = None
        return figure("sum") / figure("count")

    def test_background_batches_leave_room_for_requests(self):
        self.assertLess(2 * self.background_batch(1), self.background_batch(60000))

    def test_full_queue(self):
        self.start("--queue-patients-max", "1", "--batch-patients-max", "1", "--no-rescore",
                   "--cache-bytes-max", "0")
        counts = self.load(16, 2.0, lambda: None)
        self.assertTrue(set(counts) <= {200, 429}, counts)
        self.assertGreater(counts.get(429, 0), 0)
        self.assertGreater(counts.get(200, 0), 0)

    def test_deadline(self):
        d = self.start("--request-timeout-s", "1", "--batch-wait-ms", "4000", "--no-rescore")
        got = d.post("/v1/predict", {"claims": history(2)})
        self.assertEqual(got.status, 503)
        self.assertEqual(got.json["type"], "urn:rezept:problems:timed_out")
        self.assertIn("retry-after", got.headers)


if __name__ == "__main__":
    daemon.main()
