#!/usr/bin/python3
"""Claims in: the bad-input table, versions, conflicts, erasure; nothing that is refused changes
anything, and no patient shows up where patients must not."""
import datetime
import json
import unittest
from urllib.parse import quote

import daemon
from daemon import CANARY, Case, claim

NDJSON = "application/x-ndjson"


class Claims(Case):
    def test_outcomes(self):
        one = claim(1, "out1")
        for want, status in (("added", 201), ("unchanged", 200)):
            got = self.daemon.post("/v1/claims", one)
            self.assertEqual((got.status, got.json["claims"][0]["outcome"]), (status, want))
        one["diagnoses"][0]["code"] = "E11.9"
        got = self.daemon.post("/v1/claims", one)
        self.assertEqual((got.status, got.json["claims"][0]["outcome"]), (200, "superseded"))
        events = self.daemon.get("/v1/patients/out1/timeline").json["events"]
        self.assertEqual([e["code"] for e in events if e["kind"] == "diagnosis"], ["E119"])

    def test_bad_input(self):
        tomorrow2 = (datetime.datetime.now(datetime.timezone.utc).date() +
                     datetime.timedelta(days=2)).isoformat()
        table = [
            ("no claim id", {"claim_id": None}, "/claim_id"),
            ("no patient", {"patient": None}, "/patient"),
            ("no start", {"start": None}, "/start"),
            ("impossible date", {"start": "2023-02-30"}, "/start"),
            ("future", {"start": tomorrow2, "end": tomorrow2, "known": tomorrow2}, "/start"),
            ("before birth", {"start": "1950-01-01"}, "/start"),
            ("unknown system", {"diagnoses": [{"system": "icd11", "code": "I10",
                                               "date": "2024-05-01"}]}, "/diagnoses/0/system"),
            ("impossible code", {"diagnoses": [{"system": "icd10", "code": "??",
                                                "date": "2024-05-01"}]}, "/diagnoses/0/code"),
        ]
        for what, change, pointer in table:
            with self.subTest(what):
                made = {**claim(50, "bad1"), **change}
                made = {k: v for k, v in made.items() if v is not None}
                got = self.problem(self.daemon.post("/v1/claims", made), 422, "invalid_claim")
                self.assertIn(pointer, [e["pointer"] for e in got["errors"]])
                for error in got["errors"]:
                    self.assertTrue(error["code"] and len(error["detail"]) > 10)
        self.problem(self.daemon.get("/v1/patients/bad1"), 404, "unknown_patient")

    def test_ndjson_keeps_the_good_ones(self):
        lines = [claim(1, "nd1"), {"claim_id": "x"}, claim(2, "nd1")]
        body = "\n".join(json.dumps(l) for l in lines) + "\n\n{broken\n"
        got = self.daemon.post("/v1/claims", body, NDJSON)
        self.assertEqual(got.status, 200)
        self.assertEqual([(c["line"], c["outcome"]) for c in got.json["claims"]],
                         [(1, "added"), (2, "refused"), (3, "added"), (5, "refused")])
        self.assertEqual(got.json["counts"],
                         {"added": 2, "unchanged": 0, "superseded": 0, "refused": 2})
        self.assertEqual(self.daemon.get("/v1/patients/nd1").json["claims"], 2)
        # The answer counts the body's lines; the parser, which sees one, must not contradict it.
        self.assertTrue(got.json["claims"][3]["problem"]["detail"].startswith("column "))

    def test_a_line_that_is_too_long_names_limit_and_setting(self):
        body = '{"claim_id":"' + "x" * (1 << 20) + '"}\n' + json.dumps(claim(3, "nd2"))
        first, second = self.daemon.post("/v1/claims", body, NDJSON).json["claims"]
        self.assertEqual((first["problem"]["limit"], first["problem"]["setting"]),
                         (1 << 20, "claim-bytes-max"))
        self.assertEqual(second["outcome"], "added")

    def test_conflicts(self):
        self.daemon.push([claim(60, "con1"), claim(61, "con2", "HA"), claim(62, "con2", "HB")])
        other = claim(63, "con1")
        other["patient"]["sex"] = "M"
        self.problem(self.daemon.post("/v1/claims", other), 409, "demographics_conflict")
        self.assertEqual(self.daemon.get("/v1/patients/con1").json["claims"], 1)
        got = self.problem(self.daemon.get("/v1/patients/con2"), 409, "ambiguous_patient")
        self.assertEqual(got["facilities"], ["HA", "HB"])
        self.assertEqual(self.daemon.get("/v1/patients/con2?facility=HB").status, 200)

    def test_json(self):
        good = json.dumps(claim(70, "json1"))
        deep = '{"claim_id":' + "[" * 40 + "]" * 40 + "}"
        for what, body in (("empty", ""), ("open", "{"), ("array", "[]"), ("number", "1"),
                           ("twice", good[:-1] + ',"claim_id":"again"}'), ("deep", deep),
                           ("trailing", good + "x"), ("NUL", good + "\0"), ("NaN", '{"a":NaN}'),
                           ("bad UTF-8", b'{"a":"\xff"}'), ("big number", '{"a":1e9999}'),
                           ("control", '{"a":"\n"}'), ("comment", "{/**/}"), ("single", "{'a':1}"),
                           ("surrogate", '{"a":"\\ud800"}'), ("comma", '{"a":1,}')):
            with self.subTest(what):
                self.problem(self.daemon.post("/v1/claims", body), 400, "malformed_json")
        self.problem(self.daemon.post("/v1/claims", good, "text/plain"), 415,
                     "unsupported_media_type")
        self.problem(self.daemon.post("/v1/claims", good, headers={"Content-Encoding": "gzip"}),
                     415, "unsupported_media_type")
        got = self.problem(self.daemon.post("/v1/claims", " " * (1 << 20) + good), 413,
                           "body_too_large")
        self.assertEqual((got["limit"], got["setting"]), (1 << 20, "claim-bytes-max"))

    def test_void_and_erase(self):
        self.daemon.push([claim(80, "gone"), claim(81, "gone")])
        self.assertEqual(self.daemon.call("DELETE", "/v1/claims/H1/gone-80").json, {"voided": True})
        self.problem(self.daemon.call("DELETE", "/v1/claims/H1/gone-80"), 404, "unknown_claim")
        self.assertEqual(self.daemon.get("/v1/patients/gone").json["claims"], 1)
        self.assertEqual(self.daemon.call("DELETE", "/v1/patients/gone").json, {"erased": True})
        self.problem(self.daemon.get("/v1/patients/gone"), 404, "unknown_patient")

    def test_unknown(self):
        got = self.problem(self.daemon.get("/v2/none"), 404, "unknown_route")
        self.assertIn("POST /v1/claims", got["routes"])
        got = self.daemon.call("PUT", "/v1/claims")
        self.problem(got, 405, "method_not_allowed")
        self.assertEqual(got.headers["allow"], "POST")
        self.problem(self.daemon.get("/v1/patients?colour=red"), 400, "bad_parameter")
        self.problem(self.daemon.get("/v1/patients?limit=0"), 400, "bad_parameter")
        self.problem(self.daemon.get("/v1/patients/x/timeline?as_of=now"), 400, "bad_parameter")
        self.problem(self.daemon.post("/v1/models/not-there:load"), 404, "unknown_model")

    def test_ids_of_all_kinds(self):
        for name in ("山田 1", "a/b", "a%b", "a+b", "日本:load"):
            with self.subTest(name):
                self.assertEqual(self.daemon.post("/v1/claims", claim(name, name)).status, 201)
                got = self.daemon.get(f"/v1/patients/{quote(name, safe='')}")
                self.assertEqual((got.status, got.json["id"]), (200, name))

    def test_paging(self):
        self.daemon.push([claim(100 + i, f"page{i}", "HP") for i in range(7)])
        seen, after = [], ""
        while True:
            page = self.daemon.get(f"/v1/patients?facility=HP&limit=3{after}").json
            seen += [p["id"] for p in page["patients"]]
            if not page["next"]:
                break
            after = f"&after={page['next']}"
        self.assertEqual(seen, [f"page{i}" for i in range(7)])

    def test_no_patient_where_none_must_be(self):
        self.daemon.post("/v1/claims", claim(90, CANARY))
        wrong = claim(91, CANARY)
        wrong["patient"]["sex"] = "M"
        answers = [self.daemon.post("/v1/claims", wrong),
                   self.daemon.post("/v1/claims", claim(92, CANARY, start="2024-99-99")),
                   self.daemon.post("/v1/claims", f'{{"patient":{{"id":"{CANARY}" broken'),
                   self.daemon.get(f"/v1/patients/{CANARY}-unknown"),
                   self.daemon.get(f"/v1/{CANARY}"), self.daemon.get("/metrics")]
        self.daemon.get(f"/v1/patients/{CANARY}/timeline")
        for got in answers:
            self.assertNotIn(CANARY, got.body.decode())
        self.assertNotIn(CANARY, self.daemon.log())


if __name__ == "__main__":
    daemon.main()
