#!/usr/bin/python3
"""The log: every line is JSON, every answer's request id is in it once, and nothing of a patient is,
whatever is asked, posted, refused or broken."""
import json
import subprocess
import unittest

import daemon
from daemon import Case, claim

# Recognisable in whatever form something of a patient could slip in.
ID, CLAIM, BIRTH, CODE, UNIT = "CANARY-id-5e", "CANARY-claim-5e", "1931-07-19", "Q9998", "canary/unit"
LEAKS = ("canary", BIRTH, CODE, "%43anary", "19310719")


def canary(number=0, **more):
    return {**claim(number, ID), "claim_id": f"{CLAIM}-{number}",
            "patient": {"id": ID, "sex": "F", "birth_date": BIRTH},
            "diagnoses": [{"system": "icd10", "code": CODE, "date": "2024-05-01"}],
            "labs": [{"system": "loinc", "code": "4548-4", "date": "2024-05-01", "value": 7.1, "unit": UNIT}], **more}


class NoPatientInTheLog(Case):
    needs_model, flags = True, ("--claim-bytes-max", "4096", "--rescore-pause-ms", "50")

    def answers(self):
        d = self.daemon
        wrong = [{**canary(), "patient": {"id": ID, "sex": "M", "birth_date": BIRTH}},  # contradicts the store
                 {**canary(), "patient": {"id": ID * 200, "sex": "F", "birth_date": BIRTH}},
                 {**canary(), "patient": {"id": ID, "sex": ID, "birth_date": ID}}, {**canary(), ID: ID},
                 canary(start=ID), canary(setting=ID), canary(facility=f"{ID}\n"),
                 {**canary(), "diagnoses": [{"system": ID, "code": CODE, "date": BIRTH}]},
                 {**canary(), "medications": [{"system": "yj", "code": CODE, "date": ID, "days": ID}]}]
        yield d.post("/v1/claims", canary(1))
        yield d.push([canary(n) for n in range(2, 6)])
        yield d.push(wrong)
        for one in wrong:
            yield d.post("/v1/claims", one)
            yield d.post("/v1/predict", {"claims": [one]})
        for body in (f'{{"{ID}', f'"{ID}"', f'{{"a": "{ID}"}} {ID}', f"\xff{ID}".encode("latin-1"), ID * 1000):
            for kind in ("application/json", "application/x-ndjson", ID, None):
                yield d.post("/v1/claims", body, kind)
        yield d.post("/v1/predict", {"claims": [canary()]})
        yield d.post("/v1/predict:batch", json.dumps({"claims": [canary()], "as_of": ID}) + "\n" + ID,
                     "application/x-ndjson")
        for path in ("", "/timeline", "/risks", "/risks?explain=5", "/risks?task=onset:" + CODE,
                     f"/risks?as_of={BIRTH}", f"/{ID}"):
            yield d.get(f"/v1/patients/{ID}{path}")
            yield d.get(f"/v1/patients/{ID}-nobody{path}")
        for path in (f"/{ID}", f"/v1/{ID}?{ID}={ID}", f"/v1/patients?after={ID}", f"/v1/patients?facility={ID}",
                     f"/v1/patients?{ID}=1", f"/v1/risks?task={ID}", f"/v1/risks?task=ckd&facility={ID}",
                     f"/v1/models/{ID}", f"/v1/patients/%43ANARY-id-5e/risks?as_of={ID}",
                     f"/v1/patients/{ID}/risks?model={ID}", "/v1/patients/" + ID * 2000):
            yield d.get(path)
        yield d.call("BREW", f"/v1/patients/{ID}")
        yield d.call("PUT", f"/v1/patients/{ID}", ID)
        yield d.get("/v1/patients", headers={"User-Agent": ID, "Referer": f"http://{ID}/", "Cookie": ID,
                                             "Authorization": f"Bearer {ID}"})
        yield d.get("/livez", headers={ID: ID * 2000})
        yield d.call("DELETE", f"/v1/claims/{ID}/{ID}")
        yield d.call("DELETE", f"/v1/claims/H1/{CLAIM}-1")
        yield d.call("DELETE", f"/v1/patients/{ID}")
        yield d.call("DELETE", f"/v1/patients/{ID}")

    def test_lines(self):
        answers = list(self.answers())
        statuses = {a.status for a in answers}
        self.assertTrue({200, 201, 400, 404, 405, 409, 413, 415, 422, 431} <= statuses, statuses)
        for broken in (f"GET /{ID}\r\n\r\n", f"{ID}\r\n\r\n", f"GET /{ID} HTTP/1.1\r\nHost: a\r\nHost: {ID}\r\n\r\n",
                       f"GET /v1/patients/{ID}%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       f"POST /v1/claims HTTP/1.1\r\nHost: localhost\r\nContent-Length: {ID}\r\n\r\n{ID}",
                       f"GET http://{ID}/livez HTTP/1.1\r\nHost: {ID}\r\n\r\n"):
            self.daemon.raw(broken.encode())
        log, metrics = self.daemon.log(), self.daemon.get("/metrics").body.decode()
        lines = [json.loads(line) for line in log.splitlines()]
        for line in lines:
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertIn(line["level"], ("info", "warning", "error"))
            self.assertRegex(line["event"], "^[a-z_]+$")
        logged = [line["request_id"] for line in lines if line["event"] == "request"]
        self.assertEqual(len(set(logged)), len(logged))
        # What does not even fit into its memory the HTTP library refuses before we see it.
        nameless = [a for a in answers if a.headers.get("x-request-id") not in logged]
        self.assertEqual([a.body for a in nameless if b"too big for the memory" not in a.body], [])
        self.assertLessEqual(len(nameless), 2)
        for text, name in ((log, "the log"), (metrics, "the metrics")):
            for leak in LEAKS:
                at = text.lower().find(leak.lower())
                self.assertEqual(at, -1, f"{leak} in {name}: {text[max(0, at - 200):at + 100]}")

    def test_what_goes_wrong_at_the_start(self):
        """A store that is refused is named by its path alone."""
        done = subprocess.run([daemon.REZEPTD, "serve", "--db", f"{self.daemon.folder}/t.db", "--port", "0",
                               "--models", self.daemon.models], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 7)
        self.assertNotIn("canary", done.stderr.lower())

    def test_the_search_finds(self):
        """The test above could not fail if nothing were ever logged of a request."""
        self.daemon.get("/v1/tasks")
        self.assertIn('"route":"/v1/tasks"', self.daemon.log())


if __name__ == "__main__":
    daemon.main()
