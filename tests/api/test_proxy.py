#!/usr/bin/python3
"""The configurations of deploy/proxy before a real daemon: TLS, whole bodies, refusals that come from the
daemon, a daemon that is away, and no patient in what the proxy writes. A proxy that is not installed is
skipped (Debian: nginx-light, haproxy)."""
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import warnings

import daemon
from daemon import CANARY, Daemon, claim, fixture
from proxies import HAProxy, Nginx, program


class Case:
    @classmethod
    def setUpClass(cls):
        if program(cls.kind.name) is None or program("openssl") is None:
            raise unittest.SkipTest(f"{cls.kind.name} or openssl is not installed; deploy/install-packages ops")
        cls.folder = tempfile.mkdtemp(prefix="rezeptd-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.token = subprocess.run([daemon.REZEPTD, "token", "create", "--name", "t", "--scopes", "all", "--db",
                                    f"{cls.folder}/t.db"], capture_output=True, text=True, check=True).stdout.strip()
        cls.d = Daemon("--behind-proxy", models=f"{fixture()}/models", folder=cls.folder, wait="/readyz")
        cls.d.token = cls.token
        cls.addClassCleanup(lambda: cls.d.stop())
        cls.files = tempfile.mkdtemp(prefix="proxy-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        cls.proxy = cls.kind(cls.files, cls.d.port)
        cls.addClassCleanup(cls.proxy.stop)

    def call(self, method, path, body=None, kind=None, token=True):
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        if kind:
            headers["Content-Type"] = kind
        return self.proxy.call(method, path, body, headers)

    def test_a_whole_path_and_no_patient_in_the_logs(self):
        claims = [claim(n, CANARY) for n in range(5)]
        sent = "".join(json.dumps(c) + "\n" for c in claims)
        got = self.call("POST", "/v1/claims", sent, "application/x-ndjson")
        self.assertEqual((got.status, got.json["counts"]["added"]), (200, 5), got.body)
        paths = (f"/v1/patients/{CANARY}", f"/v1/patients/{CANARY}/timeline?facility=H1", f"/v1/patients?after={CANARY}",
                 f"/v1/patients/{CANARY}/risks?as_of=2024-07-01", f"/v1/patients/{CANARY}/nothing")
        for path in paths:
            got, direct = self.call("GET", path), self.d.get(path)
            self.assertEqual((got.status, got.headers["content-type"]),
                             (direct.status, direct.headers["content-type"]), path)
            if got.status == 200:
                self.assertEqual(got.body, direct.body)
            self.assertEqual(got.headers["strict-transport-security"], "max-age=31536000")
        request = got.headers["x-request-id"]
        end = time.time() + 10
        while request not in self.proxy.written() and time.time() < end:
            time.sleep(0.05)
        self.assertIn(request, self.proxy.written())  # the same name in both logs
        self.assertIn(request, self.d.log())
        for odd in (f"GET /v1/patients/{CANARY}\x01 HTTP/1.1", f"GET /v1/patients/{CANARY} HTTP/9.9",
                    f"GET /v1/../{CANARY}%00 HTTP/1.1", f"{CANARY}"):  # what the proxy itself refuses
            with self.proxy.context.wrap_socket(socket.create_connection(
                    ("127.0.0.1", self.proxy.port), timeout=10), server_hostname="localhost") as s:
                s.sendall(f"{odd}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                self.assertNotIn(b" 200 ", s.recv(4096))
        self.assertNotIn(CANARY, self.proxy.written())

    def test_large_bodies(self):
        lines = "".join(json.dumps(claim(n, f"big{n % 50}", diagnoses=[
            {"system": "icd10", "code": "I10", "date": f"2024-05-{d:02d}"} for d in range(1, 29)]))
            + "\n" for n in range(3000))
        self.assertGreater(len(lines), 5 << 20)
        got = self.call("POST", "/v1/claims", lines, "application/x-ndjson")
        self.assertEqual((got.status, got.json["counts"]["added"]), (200, 3000), got.body[:300])
        histories = "".join(json.dumps({"claims": [claim(n, f"h{n}")], "as_of": "2025-06-01"}) + "\n"
                            for n in range(2000))
        got = self.call("POST", "/v1/predict:batch", histories, "application/x-ndjson")
        self.assertEqual(got.status, 200)
        self.assertEqual(len(got.body.splitlines()), 2000)
        self.assertNotIn("big7", self.proxy.written())

    def test_refusals_are_the_daemons_own(self):
        unauthorised = self.call("GET", "/v1/patients", token=False)
        self.assertEqual((unauthorised.status, unauthorised.headers["www-authenticate"]), (401, "Bearer"))
        self.assertEqual(unauthorised.json["type"].split(":")[-1], "unauthorized")
        for size, status in ((17 << 20, 413), (60 << 20, 413)):
            got = self.refused_body("/v1/claims", size)
            self.assertIn(b" 413 ", got.split(b"\r\n")[0], got[:200])
            self.assertIn(b"claims-bytes-max", got)
        self.assertEqual(self.call("POST", "/v1/claims", "{", "application/json").status, 400)

    def refused_body(self, path, size):
        """The announced length is enough for the answer; the body never comes."""
        with self.proxy.context.wrap_socket(socket.create_connection(("127.0.0.1", self.proxy.port), timeout=30),
                                            server_hostname="localhost") as s:
            s.sendall((f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
                       f"Content-Type: application/x-ndjson\r\nContent-Length: {size}\r\n\r\n").encode())
            got = b""
            while b"claims-bytes-max" not in got and (piece := s.recv(65536)):
                got += piece
            return got

    def test_tls(self):
        with self.assertRaises(ssl.SSLError):  # a certificate that nobody vouches for
            connection = self.proxy.connection(context=ssl.create_default_context())
            connection.request("GET", "/livez")
        old = ssl.create_default_context(cafile=f"{self.files}/cert.pem")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert protocol version|unsupported protocol"):
            self.proxy.connection(context=old).request("GET", "/livez")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=f"{self.files}/cert.pem")
            context.minimum_version = context.maximum_version = version
            connection = self.proxy.connection(context=context)
            connection.request("GET", "/livez")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertNotIn(b" 200 ", plain.recv(4096))

    def test_http2(self):
        done = subprocess.run(["curl", "-sS", "--http2", "--cacert", f"{self.files}/cert.pem", "-o", "/dev/null", "-w",
                               "%{http_version} %{http_code}", f"https://localhost:{self.proxy.port}/readyz"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, "2 200", done.stderr)

    def test_smuggling_ends_at_the_proxy_or_the_daemon(self):
        for headers in ("Content-Length: 3\r\nContent-Length: 5", "Transfer-Encoding: chunked\r\nContent-Length: 4",
                        "Transfer-Encoding: xchunked"):
            with self.proxy.context.wrap_socket(socket.create_connection(
                    ("127.0.0.1", self.proxy.port), timeout=10), server_hostname="localhost") as s:
                s.sendall((f"POST /v1/claims HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
                           f"Content-Type: application/json\r\n{headers}\r\n\r\n"
                           "0\r\n\r\nGET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
                got = b""
                try:
                    while piece := s.recv(65536):
                        got += piece
                except OSError:
                    pass
            self.assertNotIn(b'"settings"', got, headers)
            self.assertNotRegex(got.split(b"\r\n")[0], rb" 20\d ", headers)

    def test_the_daemon_is_away(self):
        self.assertEqual(self.d.stop(), 0)
        try:
            end = time.time() + 15
            while (got := self.call("GET", f"/v1/patients/{CANARY}-away")).status == 200 and time.time() < end:
                time.sleep(0.1)
            self.assertEqual((got.status, got.headers["content-type"], got.headers["retry-after"]),
                             (503, "application/problem+json", "5"))
            self.assertEqual(got.json["status"], 503)
            self.assertNotIn(CANARY, self.proxy.written())
        finally:
            port = self.d.port
            with open(self.d.log_path, "ab") as log:
                self.d.process = subprocess.Popen(self.d.command, stderr=log, stdout=log)
            self.assertEqual(self.d.port, port)
            self.d.wait_for("/readyz")
        self.proxy.wait()
        self.assertEqual(self.call("GET", "/readyz").status, 200)


class BehindNginx(Case, unittest.TestCase):
    kind = Nginx


class BehindHAProxy(Case, unittest.TestCase):
    kind = HAProxy


if __name__ == "__main__":
    daemon.main()
