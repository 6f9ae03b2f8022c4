#!/usr/bin/python3
"""What /metrics and /v1/models/{id} say of the store's waits, of the time to make tokens, of codes that
the vocabulary lacks, of drift, and of expected against observed outcomes: a real daemon, and the
figures computed once more here."""
import contextlib
import json
import math
import re
import shutil
import sqlite3
import tempfile
import time
import unittest

import daemon
from daemon import Daemon, claim, fixture


def visits(patient, days, codes=("I10",), drugs=(), birth="1950-03-02", sex="F"):
    return [{**claim(i, patient, start=day, end=day, known=day,
                     diagnoses=[{"system": "icd10", "code": c, "date": day} for c in codes],
                     medications=[{"system": "yj", "code": c, "date": day} for c in drugs]),
             "patient": {"id": patient, "sex": sex, "birth_date": birth}}
            for i, day in enumerate(days)]


def index(shares, n, values, edges):
    """The definition of schema/openapi.yaml."""
    counts = [0] * 10
    for v in values:
        counts[sum(v > edge for edge in edges)] += 1
    total = 0.0
    for share, count in zip(shares, counts):
        e, a = (share * n + 0.5) / (n + 5), (count + 0.5) / (len(values) + 5)
        total += (a - e) * math.log(a / e)
    return total


class Drift(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(f"{fixture()}/models/risks", f"{self.folder}/models/risks")
        self.d = None

    def tearDown(self):
        if self.d is not None:
            self.assertEqual(self.d.stop(), 0)

    def start(self, *flags):
        self.d = Daemon(*flags, folder=self.folder, wait="/readyz")
        return self.d

    def figures(self, name):
        """{labels: value} of the lines of one metric."""
        text = self.d.get("/metrics").body.decode()
        self.assertEqual(len(re.findall(f"^# TYPE {re.sub('_(sum|count)$', '', name)} ", text, re.M)), 1, name)
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.M)
        return {labels: float(value) for labels, value in found}

    def drift(self, task="ckd"):
        return self.d.get("/v1/models/risks").json["drift"][task]

    def ask(self, histories, as_of="2022-06-01"):
        lines = [json.dumps({"claims": h, "as_of": as_of}) for h in histories]
        got = self.d.post("/v1/predict:batch", "\n".join(lines), "application/x-ndjson")
        return [{r["task"]: r for r in json.loads(line)["risks"]} for line in got.body.splitlines()]

    def test_times_of_a_batch(self):
        d = self.start("--no-rescore")
        for n in range(5):
            d.post("/v1/predict", {"claims": visits("a", ["2019-01-05", f"2021-0{n + 1}-05"] * 40)})
        label = 'model="risks"'
        parts = {part: self.figures(f"rezeptd_predict_{part}_duration_seconds_sum")[label]
                 for part in ("queue", "tokenize", "infer")}
        self.assertTrue(all(seconds > 0 for seconds in parts.values()), parts)
        self.assertLess(parts["tokenize"], parts["infer"])
        self.assertEqual(self.figures("rezeptd_predict_tokenize_duration_seconds_count")[label], 5)

    def test_unknown_codes_by_system(self):
        self.start("--no-rescore")
        self.ask([visits("a", ["2020-01-05"], codes=("I10", "Q913"), drugs=("9999999X9999",)),
                  visits("b", ["2020-01-05", "2020-02-05"], codes=("Q914",))])
        got = self.figures("rezeptd_events_unmapped_total")
        counts = {re.search('system="(.*)"', k)[1]: v for k, v in got.items() if 'model="risks"' in k}
        self.assertEqual({k: v for k, v in counts.items() if v > 0}, {"icd10": 3, "yj": 1})

    def test_the_store_waits(self):
        d = self.start("--no-rescore", "--store-busy-ms", "200")
        d.push(visits("a-long-name", ["2020-01-05"]) + visits("b", ["2020-01-05"]))
        self.assertEqual(self.figures("rezeptd_db_busy_total"), {"": 0})
        self.assertEqual(self.figures("rezeptd_db_checkpoint_duration_seconds_count"), {"": 0})
        with contextlib.closing(sqlite3.connect(f"{self.folder}/t.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM claims").fetchall()
            d.call("DELETE", "/v1/patients/b")  # erasing empties the log
            self.assertEqual(self.figures("rezeptd_db_busy_total"), {"": 1})
        self.assertEqual(d.call("DELETE", "/v1/patients/a-long-name").status, 200)
        self.assertEqual(self.figures("rezeptd_db_busy_total"), {"": 1})
        self.assertGreaterEqual(self.figures("rezeptd_db_checkpoint_duration_seconds_count")[""], 1)
        self.assertGreater(self.figures("rezeptd_db_checkpoint_duration_seconds_sum")[""], 0)

    def test_stability_of_inputs(self):
        d = self.start("--no-rescore", "--cache-bytes-max", "0")
        with open(f"{self.folder}/models/risks/tasks.json", encoding="utf-8") as file:
            reference = {t["task"]["name"]: t["reference"] for t in json.load(file)["tasks"]}["ckd"]
        self.assertAlmostEqual(sum(reference["age_shares"]), 1)

        def history(i, birth):
            return visits("x", [f"2020-{m:02d}-{1 + i % 27:02d}" for m in range(1, 3 + i % 10)],
                          codes=("I10", ["E119", "M545", "Q913"][i % 3]), sex="FM"[i % 2],
                          birth=f"{birth + i % 25}-04-01")

        self.ask([history(i, 1930) for i in range(190)])
        self.assertEqual(self.drift()["patients"], 190)
        self.assertEqual(set(self.drift()["input_psi"].values()), {None})
        self.assertEqual(self.figures("rezeptd_input_psi"), {})
        self.ask([history(i, 1930) for i in range(190, 600)])
        # What the same patients are given one by one is counted as well.
        risks = [r["ckd"]["probability"] for r in self.ask([history(i, 1930) for i in range(600)])]
        self.assertNotIn(None, risks)
        got = self.drift()
        self.assertEqual(got["patients"], 1200)
        births = [1930 + i % 25 for i in range(600)] * 2
        ages = [(2022 - b) + (61 / 365.25) for b in births]  # 1 April to 1 June
        want = {name: index(reference[f"{key}_shares"], reference["n"], values,
                            reference[f"{key}_deciles"][1:10])
                for name, key, values in (("score", "score", risks * 2), ("age", "age", ages))}
        for name, value in want.items():
            self.assertAlmostEqual(got["input_psi"][name], value, delta=1e-6 + 0.02 * value, msg=name)
        shown = self.figures("rezeptd_input_psi")
        for name in ("score", "tokens", "age", "unmapped"):
            label = f'model="risks",feature="{name}",target="ckd"'
            self.assertAlmostEqual(shown[label], got["input_psi"][name], delta=1e-5 * (1 + shown[label]))
        self.assertGreater(got["input_psi"]["unmapped"], 0.25)  # every sixth code is unknown now
        # All much younger: after two windows of them nothing else is remembered.
        for _ in range(5):
            self.ask([history(i, 1990) for i in range(600)])
        young = self.drift()
        self.assertTrue(1000 <= young["patients"] <= 2000, young)
        self.assertGreater(young["input_psi"]["age"], max(1.0, got["input_psi"]["age"]))
        self.assertEqual(d.post("/v1/models/risks:load").json["drift"]["ckd"]["patients"], 0)

    def test_expected_and_observed(self):
        d = self.start("--rescore-pause-ms", "20")
        # One possible index day, a year before the data end; all histories up to there are the same.
        first, day, sick, end = "2019-01-10", "2022-12-31", "2023-09-01", "2023-12-31"
        claims = []
        for i in range(500):
            claims += visits(f"s{i}", [first, day])
            claims += [{**c, "claim_id": f"s{i}-sick"} for c in visits(
                f"s{i}", [sick], codes=("N189",), drugs=("2171022F1029",) if i % 2 else ())]
            claims += [{**c, "claim_id": f"s{i}-end"} for c in visits(f"s{i}", [end], codes=("J069",))]
        self.assertEqual(d.push(claims).json["counts"]["added"], len(claims))
        self.assertEqual(d.post("/v1/models/risks:load").status, 200)
        end_s = time.time() + 60
        while self.drift()["calibration"]["reason"] == "not_computed" and time.time() < end_s:
            time.sleep(0.1)
        got = {task: self.drift(task)["calibration"] for task in ("ckd", "amlodipine")}
        risks = {r["task"]: r["probability"]
                 for r in d.get(f"/v1/patients/s1/risks?as_of={day}").json["risks"]}
        n = got["ckd"]["patients"]
        self.assertTrue(500 * 0.22 < n < 500 * 0.38, n)  # the training split, 70 %, is left out
        self.assertEqual(got["ckd"]["observed"], n)
        self.assertEqual(got["amlodipine"]["patients"], n)
        self.assertTrue(0.3 * n < got["amlodipine"]["observed"] < 0.7 * n, got)
        for task, c in got.items():
            self.assertEqual((c["index_from"], c["index_to"]), (day, day))
            self.assertAlmostEqual(c["expected"], n * risks[task], delta=1e-6 * n)
            self.assertAlmostEqual(c["oe_ratio"], c["observed"] / c["expected"],
                                   delta=1e-5 * c["oe_ratio"])
            self.assertIsNone(c["reason"])
            label = f'model="risks",target="{task}"'
            for name, value in (("oe_ratio", c["oe_ratio"]), ("observed", c["observed"]),
                                ("expected", c["expected"]), ("patients", n)):
                shown = self.figures(f"rezeptd_calibration_{name}")[label]
                self.assertAlmostEqual(shown, value, delta=1e-5 * (1 + value))
        # These questions are of the past: all patients have the outcome today, none was given a risk.
        self.assertEqual(self.drift("ckd")["patients"], 1)

    def test_too_few_outcomes_are_no_ratio(self):
        d = self.start("--rescore-pause-ms", "20")
        d.push(visits("a", ["2019-01-10", "2022-12-31", "2023-12-31"]))
        self.assertEqual(d.post("/v1/models/risks:load").status, 200)
        end_s = time.time() + 60
        while self.drift()["calibration"]["computed_at"] is None and time.time() < end_s:
            time.sleep(0.1)
        got = self.drift()["calibration"]
        self.assertEqual((got["oe_ratio"], got["reason"]), (None, "too_few_outcomes"))
        self.assertEqual(self.figures("rezeptd_calibration_oe_ratio"), {})
        self.assertEqual(len(self.figures("rezeptd_calibration_observed")), 2)


if __name__ == "__main__":
    daemon.main()
