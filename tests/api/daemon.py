"""A real rezeptd on a free loopback port with a store of its own, for the API tests."""
import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("REZEPT_BUILD", "build"))
REZEPTD = f"{BUILD}/server/rezeptd"
CANARY = "CANARY-patient-7f3a"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fixture():
    """The folder with a trained model; made once per build folder."""
    out = f"{BUILD}/api-fixture"
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([sys.executable, f"{HERE}/fixture.py", BUILD, out], check=True)
    return out


def claim(number=1, patient="p1", facility="H1", **more):
    made = {"claim_id": f"{patient}-{number}", "facility": facility,
            "patient": {"id": patient, "sex": "F", "birth_date": "1956-03-02"},
            "setting": "outpatient", "start": "2024-05-01", "end": "2024-05-31",
            "known": "2024-06-10",
            "diagnoses": [{"system": "icd10", "code": "I10", "date": "2024-05-01"}],
            "medications": [], "procedures": [], "labs": []}
    made.update(more)
    return made


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Daemon:
    def __init__(self, *flags, models=None, folder=None, env=None, wait="/livez"):
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="rezeptd-")
        self.port = free_port()
        self.log_path = f"{self.folder}/log"
        self.models = models or f"{self.folder}/models"
        os.makedirs(self.models, exist_ok=True)
        self.command = [REZEPTD, "serve", "--db", f"{self.folder}/t.db", "--models", self.models,
                        "--port", str(self.port), *flags]
        self.token = None
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REZEPTD_")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stderr=log, stdout=log,
                                            env={**clean, **(env or {})})
        if wait:
            self.wait_for(wait)

    def wait_for(self, path, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"rezeptd ended: {self.log()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(path).status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{path} is not 200 after {seconds} s: {self.log()}")

    def call(self, method, path, body=None, kind=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = dict(headers or {})
            if kind:
                sent["Content-Type"] = kind
            if self.token:
                sent["Authorization"] = f"Bearer {self.token}"
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body, sent)
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, kind="application/json", **more):
        return self.call("POST", path, body, kind, **more)

    def push(self, claims):
        return self.post("/v1/claims", "".join(json.dumps(c) + "\n" for c in claims),
                         "application/x-ndjson")

    def raw(self, data, timeout=10):
        """Sends bytes as they are and returns everything that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            with contextlib.suppress(OSError):
                s.sendall(data)
            got = b""
            with contextlib.suppress(OSError):
                while chunk := s.recv(65536):
                    got += chunk
            return got

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, sig=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(timeout)
        text = self.log()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)
        # Why a daemon was ended from within stands in its log, which is gone otherwise.
        if "Sanitizer" in text or "runtime error" in text or "Fatal error in" in text:
            raise AssertionError(text[-6000:])
        return code


class Case(unittest.TestCase):
    flags, needs_model = (), False

    @classmethod
    def setUpClass(cls):
        models = f"{fixture()}/models" if cls.needs_model else None
        cls.daemon = Daemon(*cls.flags, models=models,
                            wait="/readyz" if cls.needs_model else "/livez")

    @classmethod
    def tearDownClass(cls):
        code = cls.daemon.stop()
        if code != 0:
            raise AssertionError(f"exit code {code}")

    def problem(self, answer, status, name):
        self.assertEqual((answer.status, answer.json["type"].split(":")[-1]), (status, name),
                         answer.body[:500])
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        if status in (429, 503):
            self.assertIn("retry-after", answer.headers)
        return answer.json


def main():
    result = unittest.main(exit=False, verbosity=1).result
    bad = len(result.failures) + len(result.errors)
    print(f"{max(0, result.testsRun - bad - len(result.skipped))} passed, {bad} failed, "
          f"{len(result.skipped)} skipped")
    sys.exit(1 if bad else 0)
