#!/usr/bin/python3
"""The HTTP abuse table: what the listener must refuse, and slow clients that it must cut."""
import socket
import time
import unittest

import daemon
from daemon import Case, Daemon, claim


def request(line="GET /livez HTTP/1.1", *headers, host="Host: 127.0.0.1", body=""):
    lines = [line] + ([host] if host else []) + list(headers)
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


POST = "POST /v1/claims HTTP/1.1"
JSON = "Content-Type: application/json"


class Abuse(Case):
    # what, bytes, first statuses that are right
    TABLE = [
        ("two lengths", request(POST, JSON, "Content-Length: 2", "Content-Length: 3", body="{}"), {400}),
        ("equal lengths twice", request(POST, JSON, "Content-Length: 2", "Content-Length: 2", body="{}"), {400}),
        ("negative length", request(POST, JSON, "Content-Length: -1"), {400}),
        ("signed length", request(POST, JSON, "Content-Length: +2", body="{}"), {400}),
        ("length overflow", request(POST, JSON, "Content-Length: 99999999999999999999999"), {400, 413}),
        ("unknown encoding", request(POST, JSON, "Transfer-Encoding: xchunked", body="0\r\n\r\n"), {400}),
        ("encoding list", request(POST, JSON, "Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), {400}),
        ("no host", request(host=None), {400}),
        ("two hosts", request("GET /livez HTTP/1.1", "Host: localhost"), {400}),
        ("space before colon", request("GET /livez HTTP/1.1", "X-A : b"), {400}),
        ("control byte in a value", request("GET /livez HTTP/1.1", "X-A: b\x01c"), {400}),
        ("NUL in the path", request("GET /livez%00x HTTP/1.1"), {400}),
        ("control byte in the path", request("GET /v1/patients/a%0ab HTTP/1.1"), {400}),
        ("dot dot", request("GET /../../etc/passwd HTTP/1.1"), {400}),
        ("encoded dot dot", request("GET /v1/%2e%2e/patients HTTP/1.1"), {400}),
        ("half encoded dot dot", request("GET /v1/.%2e/patients HTTP/1.1"), {400}),
        ("bad escape", request("GET /v1/patients/%zz HTTP/1.1"), {400}),
        ("not UTF-8", request("GET /v1/patients/%ff HTTP/1.1"), {400}),
        ("no path", request("GET livez HTTP/1.1"), {400}),
        ("unknown method", request("FOO /livez HTTP/1.1"), {405}),
        ("other name", request(host="Host: evil.example"), {421}),
        ("long header", request("GET /livez HTTP/1.1", "X-A: " + "a" * 20000), {431}),
        ("huge header", request("GET /livez HTTP/1.1", "X-A: " + "a" * 60000), {431, 400, 414}),
        ("huge target", request("GET /" + "a" * 60000 + " HTTP/1.1"), {414, 431}),
        ("HTTP/9.9", request("GET /livez HTTP/9.9"), {505, 400}),
        ("announced terabyte", request(POST, JSON, "Content-Length: 1099511627776"), {413}),
        ("body without a type", request(POST, "Content-Length: 2", body="{}"), {415}),
        ("body of a GET", request("GET /v1/patients HTTP/1.1", "Content-Length: 2", body="{}"), {413}),
        ("cross-origin change", request("POST /v1/models/a:load HTTP/1.1", "Origin: http://evil.example",
                                        "Content-Length: 0"), {403}),
    ]

    def test_table(self):
        for what, data, wanted in self.TABLE:
            with self.subTest(what):
                got = self.daemon.raw(data)
                status = int(got.split(b" ", 2)[1]) if got.startswith(b"HTTP/1.") else 0
                self.assertIn(status, wanted, got[:300])
                self.assertLessEqual(got.count(b"X-Request-Id"), 1, got)

    def test_smuggled_request_is_not_run(self):
        hidden = request("GET /livez HTTP/1.1", "X-Smuggled: yes").decode()
        for headers in (["Content-Length: 4", "Transfer-Encoding: chunked"],
                        ["Transfer-Encoding: chunked", "Content-Length: 4"]):
            got = self.daemon.raw(request(POST, JSON, *headers, body="0\r\n\r\n" + hidden))
            self.assertTrue(got.startswith(b"HTTP/1.1 400"), got[:200])
            self.assertNotIn(b"alive", got)
            self.assertIn(b"connection: close", got.lower())

    def test_keep_alive(self):
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as s:
            for path in ("livez", "v1/nothing", "livez"):
                s.sendall(request(f"GET /{path} HTTP/1.1"))
                self.assertTrue(s.recv(65536).startswith(b"HTTP/1.1 "))

    def test_tiny_chunks(self):
        body = daemon.json.dumps(claim(77)).encode()
        chunks = b"".join(b"1\r\n" + bytes([b]) + b"\r\n" for b in body) + b"0\r\n\r\n"
        got = self.daemon.raw(request(POST, JSON, "Transfer-Encoding: chunked",
                                      "Connection: close") + chunks)
        self.assertTrue(got.startswith(b"HTTP/1.1 201"), got[:300])

    def test_chunked_body_too_large(self):
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        got = self.daemon.raw(request(POST, JSON, "Transfer-Encoding: chunked") + piece * 20 +
                              b"0\r\n\r\n")
        self.assertTrue(got.startswith(b"HTTP/1.1 413"), got[:300])
        self.assertIn(b"claim-bytes-max", got)


class Slow(Case):
    flags = ("--header-timeout-s", "1", "--body-timeout-s", "1", "--idle-timeout-s", "1",
             "--connections-max", "60", "--connections-per-ip-max", "60")

    def drip(self, first, rest, seconds=6):
        """How long a client lives that sends one byte every 0.2 s."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as s:
            began = time.time()
            s.sendall(first)
            s.settimeout(0.2)
            got = b""
            for byte in rest * 1000:
                try:
                    s.sendall(bytes([byte]))
                    got += s.recv(4096) or b"|closed"
                except TimeoutError:
                    pass
                except OSError:
                    break
                if b"|closed" in got or time.time() - began > seconds:
                    break
            return time.time() - began, got

    def test_dripped_header_and_body(self):
        for what, first in (("header", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "),
                            ("body", request(POST, JSON, "Content-Length: 1000"))):
            with self.subTest(what):
                lived, got = self.drip(first, b"a")
                self.assertLess(lived, 4.0)
                self.assertIn(b" 408 ", got)

    def test_idle_connection_ends(self):
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as s:
            s.sendall(request())
            s.recv(4096)
            began = time.time()
            self.assertEqual(s.recv(4096), b"")
            self.assertLess(time.time() - began, 4.0)

    def test_slots_come_back(self):
        slow = [socket.create_connection(("127.0.0.1", self.daemon.port)) for _ in range(50)]
        for s in slow:
            s.sendall(b"GET /livez HT")
        self.assertEqual(self.daemon.get("/livez").status, 200)
        time.sleep(2.5)
        self.assertIn('rejected_total{reason="header_timeout"} 5',
                      self.daemon.get("/metrics").body.decode())
        for s in slow:
            s.close()


if __name__ == "__main__":
    daemon.main()
