#!/usr/bin/python3
"""The command `rezept` against a real daemon and against small servers that misbehave on purpose."""
import gzip
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import daemon
from daemon import Case, Daemon, claim

REZEPT = f"{daemon.BUILD}/client/rezept"
REZEPTD = daemon.REZEPTD
CLEAN = {k: v for k, v in os.environ.items() if not k.lower().startswith(("rezept_", "http_proxy"))}


def rezept(url, *arguments, stdin=b"", env=None, timeout=120):
    done = subprocess.run([REZEPT, *arguments], input=stdin, capture_output=True, timeout=timeout,
                          env={**CLEAN, "REZEPT_URL": url, **(env or {})}, check=False)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    if "Sanitizer" in done.err or "runtime error" in done.err:
        raise AssertionError(done.err[-6000:])
    return done


class Scratch:
    """A folder of the test's own, and the command against self.daemon."""

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="rezept-")
        self.addCleanup(self.scratch.cleanup)

    def write(self, name, content):
        path = os.path.join(self.scratch.name, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def rezept(self, *arguments, code=0, url=None, **more):
        done = rezept(url or f"http://127.0.0.1:{self.daemon.port}", *arguments, **more)
        self.assertEqual(done.returncode, code, done.out + done.err)
        return done

    def stored(self, patient):
        got = self.daemon.get(f"/v1/patients/{patient}")
        return got.json["claims"] if got.status == 200 else 0


def ndjson(claims):
    return "".join(json.dumps(c) + "\n" for c in claims)


class Usage(Scratch, unittest.TestCase):
    def test_wrong_usage(self):
        for arguments in ([], ["dance"], ["risk"], ["risk", "a", "b"], ["risk", "--colour", "p"],
                          ["risk", "--explain", "9", "p"], ["risk", "--explain", "x", "p"],
                          ["tasks", "extra"], ["delete", "p1"], ["delete", "patient", "p1"],
                          ["delete", "claim", "H1"], ["push", "a", "b"], ["watch", "--change", "2"],
                          ["patients", "--limit", "0"], ["health", "--url", "ftp://host"],
                          ["health", "--url"], ["health", "--tries", "0"],
                          ["push", "--state", "s"], ["push", self.scratch.name],
                          ["health", "--token", "two words"], ["health", "--token", ""]):
            with self.subTest(arguments):
                done = rezept("http://127.0.0.1:1", *arguments)
                self.assertEqual(done.returncode, 2, done.err)
                self.assertTrue(done.err)

    def test_help_and_version(self):
        listed = re.findall(r"^  (\w+) ", rezept("http://x", "--help").out, re.M)
        self.assertEqual(len(listed), 8)
        for name in listed:
            done = rezept("http://x", name, "--help")
            self.assertEqual((done.returncode, done.err), (0, ""))
            self.assertIn("--token-file", done.out)
        self.assertRegex(rezept("http://x", "--version").out, r"^rezept \d+\.\d+\.\d+\n$")

    def test_missing_files(self):
        self.assertEqual(rezept("http://127.0.0.1:1", "push", "no-such-file").returncode, 4)
        self.assertEqual(rezept("http://127.0.0.1:1", "health", "--token-file",
                                "no-such-file").returncode, 4)
        self.assertEqual(rezept("http://127.0.0.1:1", "health", "--token-file",
                                self.write("token", "\n")).returncode, 2)

    def test_server_away(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
            done = rezept(url, "tasks", "--tries", "2")
        self.assertEqual(done.returncode, 7)
        self.assertIn("cannot be reached after 2 tries", done.err)
        self.assertEqual(rezept(url, "health").returncode, 7)
        self.assertIn("after 1 try:", rezept(url, "health", "--tries", "1").err)


class Push(Scratch, Case):
    def test_counts(self):
        path = self.write("a.ndjson", ndjson(claim(i, "count1") for i in range(5)))
        first = self.rezept("push", path, "--json", "--batch-lines", "2")
        self.assertEqual(json.loads(first.out), {"lines": 5, "added": 5, "unchanged": 0,
                                                 "superseded": 0, "refused": 0})
        changed = ndjson([claim(0, "count1", setting="inpatient"), claim(1, "count1")])
        again = self.rezept("push", stdin=changed.encode())
        self.assertEqual(again.out,
                         "pushed 2 lines: 0 added, 1 unchanged, 1 superseded, 0 refused\n")
        self.assertEqual(os.listdir(self.scratch.name), ["a.ndjson"])

    def test_refused_lines_are_numbered(self):
        good = [json.dumps(claim(i, "num1")) for i in range(4)]
        bad = json.dumps(claim(9, "num1", start="2024-02-30"))
        text = f"\n{good[0]}\n\n  \t\r\n{good[1]}\n{bad}\n\n{{broken\n{good[2]}\n{bad}\n\n{good[3]}"
        path = self.write("a.ndjson", text)
        for lines in ("1", "2", "3", "1000"):
            done = self.rezept("push", path, "--batch-lines", lines, code=3)
            self.assertEqual(re.findall(r"^refused: line (\d+): ", done.err, re.M), ["6", "8", "10"],
                             done.err)
            self.assertIn("  /start: ", done.err)
            self.assertIn("3 of 7 claims were refused; the others are stored", done.err)
            self.assertIn("pushed 12 lines: ", done.out)
        self.assertEqual(self.stored("num1"), 4)
        self.assertEqual(os.listdir(self.scratch.name), ["a.ndjson"])

    def test_a_compressed_file_is_named_as_such(self):
        packed = gzip.compress(ndjson([claim(1, "packed")]).encode())
        done = self.rezept("push", stdin=packed, code=3)
        self.assertIn("zcat", done.err)
        self.assertNotIn("refused", done.err)

    def test_many_refusals_are_cut(self):
        done = self.rezept("push", "-", stdin=b"{}\n" * 50, code=3)
        self.assertEqual(len(re.findall("^refused: line", done.err, re.M)), 20)
        self.assertIn("and 30 more refused", done.err)

    def test_long_lines(self):
        """Above what one request holds: refused here, whatever its length; the others go on."""
        huge = json.dumps(claim(1, "long1", note="x" * 300_000))
        text = f"{json.dumps(claim(2, 'long1'))}\n{huge}\n{huge}\n{json.dumps(claim(3, 'long1'))}\n{huge}"
        done = self.rezept("push", self.write("a.ndjson", text), "--batch-bytes", "2000", code=3)
        self.assertEqual(re.findall(r"line (\d+): the line has more than 2000 bytes", done.err),
                         ["2", "3", "5"])
        self.assertIn("pushed 5 lines: 2 added", done.out)
        self.assertEqual(self.stored("long1"), 2)

    def test_the_servers_limits_are_named(self):
        done = self.rezept("push", "--batch-lines", "100000", code=3,
                           stdin=b"{}\n" * 20001)
        self.assertIn("claims-lines-max = 20000", done.err)

    def test_empty(self):
        for content in ("", "\n", "\n \n"):
            self.assertIn("0 added", self.rezept("push", self.write("a", content)).out)
        self.assertIn("pushed 0 lines", self.rezept("push", "-").out)

    def test_one_document(self):
        text = "\n" + json.dumps(claim(1, "doc1"), indent=2)
        self.assertIn("1 added", self.rezept("push", self.write("a.json", text)).out)
        self.assertIn("1 unchanged", self.rezept("push", stdin=text.encode()).out)
        wrong = json.dumps(claim(2, "doc1", start="2024-02-30", setting="moon"), indent=2)
        done = self.rezept("push", stdin=wrong.encode(), code=3)
        self.assertIn("  /start: ", done.err)
        self.assertIn("  /setting: ", done.err)
        other = claim(3, "doc1")
        other["patient"]["sex"] = "M"
        self.rezept("push", stdin=json.dumps(other, indent=2).encode(), code=5)
        done = self.rezept("push", stdin=b"[\n1]\n", code=3)
        self.assertEqual(self.stored("doc1"), 1)

    def test_not_utf8(self):
        text = json.dumps(claim(1, "utf1")).encode() + b"\n" + \
            json.dumps(claim(2, "utf1", unit="?")).encode().replace(b"?", b"\xff") + b"\n" + \
            json.dumps(claim(3, "utf1")).encode()
        done = self.rezept("push", self.write("a", text), code=3)
        self.assertIn("refused: line 2: ", done.err)
        self.rezept("push", self.write("b", b"\xff" + text), code=3)
        self.rezept("push", self.write("c", os.urandom(100_000)), code=3)
        self.assertEqual(self.stored("utf1"), 2)

    def test_a_pipe_has_no_state(self):
        path = os.path.join(self.scratch.name, "pipe")
        os.mkfifo(path)
        def feed():
            with open(path, "w", encoding="utf-8") as pipe:
                pipe.write(ndjson([claim(1, "pipe1")]))
        writer = threading.Thread(target=feed)
        writer.start()
        self.assertIn("1 added", self.rezept("push", path).out)
        writer.join()
        self.assertEqual(os.listdir(self.scratch.name), ["pipe"])

    def test_the_state_is_told_of_early_and_never_overwrites(self):
        path = self.write("a.ndjson", ndjson([claim(1, "state1")]))
        done = self.rezept("push", path, "--state", f"{self.scratch.name}/none/x", code=4)
        self.assertIn("name another file", done.err)
        precious = self.write("precious", "{}")
        self.rezept("push", path, "--state", precious, code=2)
        with open(precious, encoding="utf-8") as file:
            self.assertEqual((file.read(), self.stored("state1")), ("{}", 0))

    def test_a_proxy_of_the_environment_is_not_used(self):
        self.rezept("push", stdin=ndjson([claim(1, "proxy1")]).encode(),
                    env={"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"})

    def push_until(self, path, lines, *flags):
        """Starts a push and returns its process once the state names so many lines."""
        process = subprocess.Popen([REZEPT, "push", path, *flags], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={
                                       **CLEAN, "REZEPT_URL": f"http://127.0.0.1:{self.daemon.port}"})
        end = time.time() + 60
        while time.time() < end and process.poll() is None:
            try:
                with open(f"{path}.rezept-push", encoding="utf-8") as file:
                    if json.load(file)["lines"] >= lines:
                        return process
            except (FileNotFoundError, ValueError):
                pass
            time.sleep(0.002)
        process.kill()
        self.fail(f"the push did not reach line {lines}: {process.communicate()}")

    def test_interrupted_and_killed(self):
        claims = [claim(i, f"int{i % 7}") for i in range(1500)]
        claims[3]["start"] = "2024-02-30"
        path = self.write("a.ndjson", ndjson(claims))
        process = self.push_until(path, 20, "--batch-lines", "5")
        process.send_signal(signal.SIGINT)
        out, err = (text.decode() for text in process.communicate(timeout=60))
        self.assertEqual(process.returncode, 130, out + err)
        first = int(re.search(r"the same command goes on after line (\d+)", err).group(1))
        self.assertTrue(20 <= first < 1500, first)
        process = self.push_until(path, first + 20, "--batch-lines", "5")
        process.kill()
        process.communicate(timeout=60)
        with open(f"{path}.rezept-push", encoding="utf-8") as file:
            second = json.load(file)["lines"]
        self.assertTrue(first + 20 <= second < 1500, second)
        done = self.rezept("push", path, "--json", code=3)
        counts = json.loads(done.out)
        self.assertEqual((counts["lines"], counts["refused"], counts["added"] + counts["unchanged"]),
                         (1500, 1, 1499))
        self.assertEqual(sum(self.stored(f"int{i}") for i in range(7)), 1499)
        self.assertFalse(os.path.exists(f"{path}.rezept-push"))
        self.assertEqual(json.loads(self.rezept("push", path, "--json", code=3).out)["unchanged"], 1499)

    def test_a_state_of_other_bytes_or_another_server_is_not_believed(self):
        """What was corrected in the acknowledged part must be sent; so must all to another server."""
        claims = [claim(i, "other1") for i in range(400)]
        path = self.write("a.ndjson", ndjson(claims))
        process = self.push_until(path, 10, "--batch-lines", "5")
        process.kill()
        process.communicate(timeout=60)
        with open(f"{path}.rezept-push", encoding="utf-8") as file:
            state = file.read()
        claims[8]["setting"] = "inpatient"
        self.write("a.ndjson", ndjson(claims))
        counts = json.loads(self.rezept("push", path, "--json").out)
        self.assertEqual((counts["lines"], counts["superseded"]), (400, 1))
        self.write("a.ndjson", ndjson(claims[:1]))  # shorter than what was acknowledged
        self.write("a.ndjson.rezept-push", state)
        self.assertEqual(json.loads(self.rezept("push", path, "--json").out)["lines"], 1)
        claims[8]["setting"] = "outpatient"
        path = self.write("a.ndjson", ndjson(claims))
        self.write("a.ndjson.rezept-push", state.replace(f":{self.daemon.port}", ":1"))
        counts = json.loads(self.rezept("push", path, "--json").out)
        self.assertEqual((counts["unchanged"], counts["superseded"]), (399, 1))

    def test_interrupted_while_reading(self):
        process = subprocess.Popen([REZEPT, "push"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=CLEAN)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 130)
        process.communicate()


class Fake:
    """A server that gives the listed answers, one a request: (status, headers, body) or "reset"."""

    def __init__(self, *answers):
        self.answers, self.times, self.bodies = list(answers), [], []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                fake.times.append(time.monotonic())
                fake.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                what = fake.answers.pop(0) if fake.answers else (500, {}, b"{}")
                if what == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                               b"\1\0\0\0\0\0\0\0")
                    self.connection.close()
                    self.close_connection = True
                    return
                if what == "half":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"cl")
                    self.close_connection = True
                    return
                status, headers, body = what
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

            def finish(self):
                try:
                    super().finish()
                except OSError:
                    pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


ADDED = (200, {"Content-Type": "application/json"},
         b'{"claims": [{"line": 1, "outcome": "added"}]}')
BUSY = json.dumps({"title": "busy", "detail": "come again"}).encode()


class Retry(unittest.TestCase):
    def push(self, fake, *flags, code=0):
        done = rezept(fake.url, "push", *flags, stdin=ndjson([claim(1)]).encode())
        self.assertEqual(done.returncode, code, done.out + done.err)
        return done

    def test_busy_then_done(self):
        for status in (503, 429):
            with Fake((status, {"Retry-After": "1"}, BUSY), ADDED) as fake:
                self.assertIn("1 added", self.push(fake).out)
                self.assertEqual(len(set(fake.bodies)), 1)
                self.assertGreaterEqual(fake.times[1] - fake.times[0], 1.0)

    def test_growing_pauses(self):
        with Fake(*[(503, {}, BUSY)] * 3, ADDED) as fake:
            self.push(fake)
            gaps = [b - a for a, b in zip(fake.times, fake.times[1:])]
            self.assertTrue(0.24 < gaps[0] < gaps[1] < gaps[2], gaps)

    def test_connections_cut(self):
        with Fake("reset", "half", ADDED) as fake:
            self.assertIn("1 added", self.push(fake).out)
            self.assertEqual(len(fake.times), 3)

    def test_giving_up(self):
        with Fake(*[(429, {}, BUSY)] * 3) as fake:
            done = self.push(fake, "--tries", "2", code=7)
            self.assertEqual(len(fake.times), 2)
            self.assertIn("come again", done.err)

    def test_no_retry_of_refusals(self):
        for status, code in ((400, 3), (401, 6), (403, 6), (404, 4), (409, 5), (413, 3), (415, 3),
                             (421, 6), (422, 3), (500, 1), (502, 7), (507, 8)):
            with self.subTest(status), Fake((status, {}, BUSY)) as fake:
                self.push(fake, code=code)
                self.assertEqual(len(fake.times), 1)

    def test_answers_that_are_none(self):
        for body in (b"", b"hello", b"[]", b'{"claims": []}', b'{"claims": 3}',
                     b'{"claims": [{"line": 1, "outcome": "eaten"}]}', b"[" * 100000):
            with self.subTest(body[:40]), Fake((200, {}, body)) as fake:
                self.push(fake, code=3)

    def test_a_pause_can_be_interrupted(self):
        with Fake((503, {"Retry-After": "100000000000"}, BUSY)) as fake:
            process = subprocess.Popen([REZEPT, "tasks", "--url", fake.url], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=CLEAN)
            while not fake.times:
                time.sleep(0.01)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=30), 130)
            process.communicate()

    def test_slow_server(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            started = time.monotonic()
            done = rezept(f"http://127.0.0.1:{deaf.getsockname()[1]}", "tasks", "--timeout-s", "1")
            self.assertEqual(done.returncode, 7)
            self.assertLess(time.monotonic() - started, 20)


class Questions(Scratch, Case):
    needs_model = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(f"{daemon.fixture()}/claims.ndjson", encoding="utf-8") as file:
            lines = [next(file) for _ in range(36 * 12)]
        done = rezept(f"http://127.0.0.1:{cls.daemon.port}", "push", stdin="".join(lines).encode())
        assert done.returncode == 0, done.err
        for facility in ("HA", "HB"):
            cls.daemon.push([claim(1, "twice", facility)])
        cls.daemon.push([claim(1, "young")])

    def test_risk_table(self):
        done = self.rezept("risk", "p0", "--as-of", "2025-01-15", "--explain", "3")
        asked = self.daemon.get("/v1/patients/p0/risks?as_of=2025-01-15&explain=3").json
        self.assertIn("Decision support for research use, not a diagnosis.", done.out)
        self.assertIn("as of 2025-01-15", done.out)
        self.assertEqual({r["task"] for r in asked["risks"]}, {"ckd", "amlodipine"})
        for risk in asked["risks"]:
            row = next(line for line in done.out.splitlines() if line.startswith(risk["title"]))
            if risk["probability"] is None:
                self.assertIn(risk["reason"].replace("_", " "), row)
                continue
            self.assertIn(f"{100 * risk['probability']:.1f} %", row)
            self.assertIn(" to ".join(f"{100 * x:.1f} %" for x in risk["interval"]), row)
            self.assertIn(f"{risk['similar']['positives']} of {risk['similar']['n']}", row)
            self.assertIn(f"{100 * risk['average_age_sex']:.1f} %", row)
            self.assertTrue(row.endswith(risk["model"]["id"]), row)
            for one in risk["contributions"]:
                self.assertIn(f"{100 * abs(one['risk_change']):.1f} points ({one['logit_change']:+.2f})  "
                              f"{one['system']} {one['code']}  {one['first_day']} to {one['last_day']}",
                              done.out)

    def test_risk_json_is_the_servers(self):
        for question, flags in (("", ()), ("?task=ckd", ("--task", "ckd")),
                                ("?task=ckd,amlodipine&model=risks",
                                 ("--task", "ckd", "--task", "amlodipine", "--model", "risks")),
                                ("?facility=H0&as_of=2024-01-01&explain=1",
                                 ("--facility", "H0", "--as-of", "2024-01-01", "--explain", "1"))):
            with self.subTest(question):
                done = self.rezept("risk", "p0", "--json", *flags)
                self.assertEqual(json.loads(done.out),
                                 self.daemon.get(f"/v1/patients/p0/risks{question}").json)

    def test_reasons(self):
        """Every reason that the daemon gives here is readable."""
        seen = set()
        for patient in [f"p{i}" for i in range(12)] + ["young"]:
            for risk in self.daemon.get(f"/v1/patients/{patient}/risks?as_of=2024-12-31").json["risks"]:
                if risk["probability"] is None and risk["reason"] not in seen:
                    seen.add(risk["reason"])
                    done = self.rezept("risk", patient, "--as-of", "2024-12-31")
                    self.assertIn(risk["reason"].replace("_", " "), done.out)
                    if "recorded" in risk:
                        self.assertIn(f"({risk['recorded']['code']} on {risk['recorded']['date']})",
                                      done.out)
        self.assertTrue({"already_recorded", "short_history"} <= seen, seen)

    def test_not_found_and_conflict(self):
        self.rezept("risk", "nobody", code=4)
        done = self.rezept("risk", "p0", "--task", "gout", code=4)
        self.assertIn("amlodipine", done.err)
        self.assertIn("risks", self.rezept("risk", "p0", "--model", "none", code=4).err)
        self.rezept("risk", "a/b ?#%", code=4)
        self.rezept("delete", "claim", "H1", "nothing", code=4)
        self.rezept("delete", "--yes", "patient", "nobody", code=4)
        self.rezept("watch", "--task", "gout", "--looks", "1", code=4)
        done = self.rezept("risk", "twice", code=5)
        self.assertIn("(HA, HB)", done.err)
        self.rezept("delete", "--yes", "patient", "twice", code=5)
        self.rezept("risk", "p0", "--as-of", "yesterday", code=3)
        self.assertEqual(self.stored("p0"), 36)

    def test_patients(self):
        done = self.rezept("patients", "--limit", "5")
        rows = done.out.splitlines()
        asked = self.daemon.get("/v1/patients?limit=5").json
        self.assertEqual(rows[0].split(), ["patient", "facility", "sex", "born", "claims", "events",
                                           "last"])
        for row, patient in zip(rows[1:], asked["patients"]):
            self.assertEqual(row.split(), [str(patient[k]) for k in (
                "id", "facility", "sex", "birth_date", "claims", "events", "last_day")])
        self.assertEqual(rows[6], f"more: --after {asked['next']}")
        seen, after = [], []
        while True:
            page = json.loads(self.rezept("patients", "--limit", "5", "--json", *after).out)
            seen += [(p["id"], p["facility"]) for p in page["patients"]]
            if page["next"] is None:
                break
            after = ["--after", page["next"]]
        self.assertEqual(len(seen), len(set(seen)))
        self.assertTrue({("p0", "H0"), ("twice", "HA"), ("twice", "HB")} <= set(seen))
        only = json.loads(self.rezept("patients", "--facility", "HA", "--json").out)
        self.assertEqual([p["facility"] for p in only["patients"]], ["HA"])

    def test_models_tasks_health(self):
        models = self.daemon.get("/v1/models").json
        told = json.loads(self.rezept("models", "--json").out)
        for model in models["models"] + told["models"]:
            self.assertIn("drift", model)
            del model["drift"]  # patients are scored in the background meanwhile
        self.assertEqual(told, models)
        row = next(r for r in self.rezept("models").out.splitlines() if r.startswith("risks"))
        risks = next(m for m in models["models"] if m["id"] == "risks")
        for part in ("ready", risks["size"], ", ".join(risks["tasks"])):
            self.assertIn(part, row)
        tasks = self.daemon.get("/v1/tasks").json
        self.assertEqual(json.loads(self.rezept("tasks", "--json").out), tasks)
        out = self.rezept("tasks").out
        for task in tasks["tasks"]:
            self.assertRegex(out, rf"(?m)^{task['name']} +{task['title']} +{task['kind']} +365 +risks +2\.2m +"
                                  r"the only model that has the task$")
        self.assertEqual(self.rezept("health").out, "ready\n")
        self.assertEqual(json.loads(self.rezept("health", "--json").out), {"status": "ready"})

    def test_a_full_output_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([REZEPT, "tasks", "--url", f"http://127.0.0.1:{self.daemon.port}"],
                                  stdout=full, stderr=subprocess.PIPE, env=CLEAN, check=False)
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertIn(b"No space left", done.stderr)

    def test_delete(self):
        self.daemon.push([claim(1, "gone", "HX"), claim(2, "gone", "HX"), claim(1, "gone", "HY")])
        self.assertEqual(self.rezept("delete", "claim", "HX", "gone-1").out, "claim voided\n")
        self.rezept("delete", "claim", "HX", "gone-1", code=4)
        self.rezept("delete", "patient", "gone", "--facility", "HY", code=2)
        done = self.rezept("delete", "--yes", "--json", "patient", "gone", "--facility", "HY")
        self.assertEqual(json.loads(done.out), {"erased": True})
        self.assertEqual(self.stored("gone"), 1)
        self.assertEqual(self.rezept("delete", "--yes", "patient", "gone").out, "patient erased\n")
        self.assertEqual(self.stored("gone"), 0)

    def test_watch(self):
        end = time.time() + 60
        while time.time() < end:  # the background scorer comes by every second
            listed = self.daemon.get("/v1/risks?task=ckd&limit=1000&sort=probability").json
            if listed["unscored"] == 0 and listed["stale"] == 0:
                break
            time.sleep(0.2)
        self.assertGreater(len(listed["risks"]), 2)
        done = self.rezept("watch", "--task", "ckd", "--looks", "2", "--interval-s", "1",
                           "--limit", "1000", "--json")
        rows = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual([(r["patient"], r["probability"], r["task"], r["probability_before"])
                          for r in rows],
                         [(r["patient"], r["probability"], "ckd", None) for r in listed["risks"]])
        text = self.rezept("watch", "--looks", "1", "--limit", "1").out
        top = listed["risks"][0]
        self.assertIn(f"ckd  {top['facility']}/{top['patient']}  {100 * top['probability']:.1f} %  (new)",
                      text)
        self.assertIn("not a diagnosis", text)

    def test_watch_sees_a_change(self):
        process = subprocess.Popen(
            [REZEPT, "watch", "--task", "ckd", "--interval-s", "1", "--limit", "1000", "--json",
             "--change", "0", "--url", f"http://127.0.0.1:{self.daemon.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN)
        try:
            self.daemon.push([claim(f"new{i}", "fresh", "HZ", start=f"20{20 + i}-05-01",
                                    end=f"20{20 + i}-05-02", known=f"20{20 + i}-05-03",
                                    diagnoses=[{"system": "icd10", "code": "E119",
                                                "date": f"20{20 + i}-05-01"}]) for i in range(6)])
            watchdog = threading.Timer(90, process.kill)
            watchdog.start()
            def next_change():
                rows = (json.loads(line) for line in process.stdout)
                return next(row for row in rows if row["patient"] == "fresh")
            came = next_change()
            self.assertEqual((came["facility"], came["probability_before"]), ("HZ", None))
            self.assertTrue(0 < came["probability"] < 1)
            self.daemon.push([claim("sick", "fresh", "HZ", start="2025-06-01", end="2025-06-02",
                                    known="2025-06-03",
                                    diagnoses=[{"system": "icd10", "code": "N189",
                                                "date": "2025-06-01"}])])
            left = next_change()  # the outcome is recorded, so there is no risk any more
            self.assertEqual((left["probability"], left["probability_before"]),
                             (None, came["probability"]))
            watchdog.cancel()
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=30), 130)
        finally:
            process.kill()
            process.communicate()


class Tokens(Scratch, Case):
    def token(self, name, scopes):
        done = subprocess.run([REZEPTD, "token", "create", "--name", name, "--scopes", scopes, "--db",
                               f"{self.daemon.folder}/t.db"], capture_output=True, text=True, check=True)
        return max(re.findall(r"\S+", done.stdout), key=len)

    def test_tokens(self):
        reader = self.token("reader", "patients:read")
        self.daemon.token = reader
        self.rezept("patients", code=6)
        self.rezept("patients", "--token", "x" * len(reader), code=6)
        self.rezept("patients", "--token", reader)
        self.rezept("patients", env={"REZEPT_TOKEN": reader})
        path = self.write("token", reader + "\n")
        self.rezept("patients", "--token-file", path)
        self.rezept("patients", "--token-file", path, env={"REZEPT_TOKEN": "wrong"})
        self.rezept("patients", "--token", reader, env={"REZEPT_TOKEN_FILE": self.write("w", "wrong")})
        done = self.rezept("push", "--token", reader, stdin=ndjson([claim(1, "tok")]).encode(), code=6)
        self.assertNotIn(reader, done.err)
        self.assertIn("no model", self.rezept("health", code=7).err)  # asked without a token


class NotReady(Scratch, Case):
    """Without a model the daemon is alive and not ready."""

    def test_health(self):
        done = self.rezept("health", code=7)
        self.assertIn("no model is ready", done.err)
        done = self.rezept("health", "--json", code=7)
        self.assertEqual(json.loads(done.out)["status"], 503)
        self.rezept("watch", "--looks", "1", code=4)


if __name__ == "__main__":
    daemon.main()
