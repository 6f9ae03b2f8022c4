#!/usr/bin/python3
"""The process: tokens, a second daemon, closed doors at start, kill -9, SIGTERM, few descriptors."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import daemon
from daemon import Case, Daemon, claim


def token(folder, *arguments):
    return subprocess.run([daemon.REZEPTD, "token", *arguments, "--db", f"{folder}/t.db"],
                          capture_output=True, text=True)


class Tokens(Case):
    def test_scopes(self):
        d = self.daemon
        self.assertEqual(d.get("/v1/patients").status, 200)
        made = {}
        for name, scopes in (("reader", "patients:read"), ("writer", "claims:write"),
                             ("boss", "all"), ("old", "all")):
            more = ["--expires", "2399-12-31"] if name == "old" else []
            done = token(d.folder, "create", "--name", name, "--scopes", scopes, *more)
            self.assertEqual(done.returncode, 0, done.stderr)
            made[name] = done.stdout.strip()
            self.assertRegex(made[name], "^rzt_[0-9a-f]{64}$")
        with open(f"{d.folder}/t.db.tokens.json", "r+", encoding="utf-8") as file:
            text = file.read()  # time passes
            file.seek(0)
            file.write(text.replace("2399-12-31", "2020-01-01"))
        self.assertEqual(os.stat(f"{d.folder}/t.db.tokens.json").st_mode & 0o077, 0)
        for secret in made.values():
            self.assertNotIn(secret[4:], text)
        table = [(None, "/v1/patients", 401), ("rzt_" + "0" * 64, "/v1/patients", 401),
                 (made["old"], "/v1/patients", 401), (made["reader"], "/v1/patients", 200),
                 (made["reader"], "/metrics", 403), (made["writer"], "/v1/patients", 403),
                 (made["boss"], "/metrics", 200), (None, "/livez", 200), (None, "/readyz", 503),
                 (None, "/openapi.json", 200), (made["boss"][:-1], "/metrics", 401),
                 (made["boss"] + " ", "/v1/patients", 200)]
        for secret, path, wanted in table:
            with self.subTest(f"{path} {wanted}"):
                d.token = secret
                got = d.get(path)
                self.assertEqual(got.status, wanted, got.body)
                if wanted == 401:
                    self.assertEqual(got.headers["www-authenticate"], "Bearer")
        d.token = made["reader"]
        self.problem(d.post("/v1/claims", claim()), 403, "forbidden")
        self.problem(d.call("DELETE", "/v1/patients/p1"), 403, "forbidden")
        d.token = made["writer"]
        self.assertEqual(d.post("/v1/claims", claim()).status, 201)
        self.assertEqual(token(d.folder, "revoke", "--name", "writer").returncode, 0)
        self.problem(d.post("/v1/claims", claim(2)), 401, "unauthorized")
        listed = token(d.folder, "list").stdout
        self.assertRegex(listed, r"writer .*revoked")
        self.assertRegex(listed, r"old .*expired")
        self.assertEqual(token(d.folder, "create", "--name", "boss", "--scopes", "all").returncode, 5)
        self.assertEqual(token(d.folder, "create", "--name", "x", "--scopes", "root").returncode, 2)
        for secret in made.values():
            self.assertNotIn(secret, d.log())


class Start(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")

    def tearDown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def fails(self, *flags):
        os.makedirs(f"{self.folder}/models", exist_ok=True)
        done = subprocess.run([daemon.REZEPTD, "serve", "--db", f"{self.folder}/t.db", "--models",
                               f"{self.folder}/models", "--port", "0", *flags],
                              capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_doors_are_closed(self):
        self.assertIn("rezeptd token create", self.fails("--listen", "0.0.0.0"))
        token(self.folder, "create", "--name", "a", "--scopes", "all")
        self.assertIn("behind-proxy", self.fails("--listen", "0.0.0.0"))
        self.assertIn("no address", self.fails("--listen", "nowhere.invalid", "--behind-proxy"))
        self.assertIn("connections-max", self.fails("--connections-max", "0"))
        self.assertIn("there is no flag", self.fails("--colour", "red"))

    def test_second_daemon(self):
        first = Daemon(folder=self.folder)
        try:
            self.assertIn("is being written by", self.fails())
            other = tempfile.mkdtemp(prefix="rezeptd-")
            done = subprocess.run([daemon.REZEPTD, "serve", "--db", f"{other}/t.db", "--models",
                                   first.models, "--port", str(first.port)], capture_output=True, text=True, timeout=60)
            shutil.rmtree(other)
            self.assertEqual(done.returncode, 7)
            self.assertIn(f"port {first.port}", done.stderr)
        finally:
            self.assertEqual(first.stop(), 0)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_model_folder_that_may_not_be_read_is_listed_with_the_reason(self):
        os.makedirs(f"{self.folder}/models/closed", mode=0)
        started = Daemon(folder=self.folder)
        try:
            model, = started.get("/v1/models").json["models"]
            self.assertEqual((model["id"], model["state"]), ("closed", "failed"))
            self.assertIn("Permission denied", model["reason"])
        finally:
            self.assertEqual(started.stop(), 0)

    def test_a_linked_model_is_listed_with_the_reason(self):
        os.makedirs(f"{self.folder}/models")
        os.makedirs(f"{self.folder}/elsewhere/m")
        os.symlink(f"{self.folder}/elsewhere/m", f"{self.folder}/models/linked")
        os.symlink("nowhere", f"{self.folder}/models/dangling")
        with open(f"{self.folder}/elsewhere/routing.json", "w", encoding="utf-8") as file:
            file.write('{"tasks": {}}')
        os.symlink("../elsewhere/routing.json", f"{self.folder}/models/routing.json")
        started = Daemon(folder=self.folder)
        try:
            end = time.time() + 30
            while "symbolic" not in started.log() and time.time() < end:
                time.sleep(0.05)
            for _ in range(2):
                models = started.get("/v1/models").json["models"]
                self.assertEqual([(m["id"], m["state"]) for m in models],
                                 [("dangling", "failed"), ("linked", "failed")])
                for model in models:
                    self.assertIn("a symbolic link, which is not followed", model["reason"])
                self.assertEqual(started.post("/v1/models/linked:load").status, 409)
            self.assertRegex(started.log(), r'"model":"linked","state":"failed"')
        finally:
            self.assertEqual(started.stop(), 0)

    def test_a_token_that_is_over_is_not_made(self):
        def made(name, seconds):
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + seconds))
            return token(self.folder, "create", "--name", name, "--scopes", "all", "--expires", day)
        past = made("past", -2 * 86400)
        self.assertEqual(past.returncode, 2, past.stderr)
        self.assertRegex(past.stderr, r"--expires \S+ is over: .* today is \d{4}-\d\d-\d\d \(UTC\)")
        self.assertEqual(made("soon", 86400).returncode, 0)
        self.assertNotIn("past", token(self.folder, "list").stdout)

    def test_settings(self):
        with open(f"{self.folder}/a.ini", "w", encoding="utf-8") as file:
            file.write("[rezeptd]\nport = 1111\nqueue_patients_max = 77\nbatch-wait-ms = 5\n")
        done = subprocess.run([daemon.REZEPTD, "--check-config", "--config",
                               f"{self.folder}/a.ini", "--batch-wait-ms", "6"],
                              capture_output=True, text=True, timeout=120,
                              env={**os.environ, "REZEPTD_PORT": "2222"})
        self.assertEqual(done.returncode, 0, done.stderr)
        for row in (r"port +?= 2222 +\(environment\)", r"queue-patients-max +?= 77 +\(file\)",
                    r"batch-wait-ms +?= 6 +\(flag\)", r"idle-timeout-s +?= 30 +\(default\)",
                    r"GFLOP/s"):
            self.assertRegex(done.stdout, row)

    def test_kill_keeps_what_was_acknowledged(self):
        for cycle in range(3):
            d = Daemon(folder=self.folder)
            known = []

            def push(worker):
                for number in range(1000):
                    try:
                        got = d.post("/v1/claims", claim(f"{cycle}-{worker}-{number}",
                                                         f"w{worker}"))
                    except OSError:
                        return
                    except Exception:  # the connection ended in the middle of an answer
                        return
                    if got.status == 201:
                        known.append((f"w{worker}-{cycle}-{worker}-{number}", worker))

            threads = [threading.Thread(target=push, args=(w,)) for w in range(4)]
            for t in threads:
                t.start()
            time.sleep(1.0)
            d.process.kill()
            for t in threads:
                t.join()
            d.stop(signal.SIGKILL)
            self.assertGreater(len(known), 10)
            again = Daemon(folder=self.folder)
            for claim_id, worker in known:
                number = claim_id.split("-", 1)[1]
                got = again.post("/v1/claims", claim(number, f"w{worker}"))
                self.assertEqual(got.json["claims"][0]["outcome"], "unchanged", claim_id)
            self.assertEqual(again.stop(), 0)

    def test_sigterm_under_load(self):
        d = Daemon(folder=self.folder)
        statuses, refused = [], []

        def push(worker):
            for number in range(10000):
                try:
                    statuses.append(d.post("/v1/claims", claim(f"{worker}-{number}")).status)
                except OSError:
                    refused.append(worker)
                    return
                except Exception as problem:
                    statuses.append(repr(problem))
                    return

        threads = [threading.Thread(target=push, args=(w,)) for w in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.7)
        began = time.time()
        self.assertEqual(d.stop(), 0)
        self.assertLess(time.time() - began, 20)
        for t in threads:
            t.join()
        self.assertTrue(set(statuses) <= {200, 201, 503}, set(statuses))
        self.assertEqual(len(refused), 4)
        self.assertIn('"all_answered":true', d.log())

    def test_sigterm_while_connections_come(self):
        """Two threads that let go of the same socket at once must not end the process."""
        env = {"LD_PRELOAD": f"{daemon.BUILD}/tests/api/slow-epoll.so",
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        d = Daemon("--http-threads", "4", folder=self.folder, env=env)
        over = threading.Event()

        def connect():
            while not over.is_set():
                try:
                    socket.create_connection(("127.0.0.1", d.port), timeout=5).close()
                except OSError:
                    over.wait(0.01)

        callers = [threading.Thread(target=connect) for _ in range(2)]
        for caller in callers:
            caller.start()
        try:
            time.sleep(0.3)
            self.assertEqual(d.stop(), 0, d.log())
        finally:
            over.set()
            for caller in callers:
                caller.join()

    def test_more_connections_than_may_be_open_wait(self):
        d = Daemon("--connections-max", "3", folder=self.folder)
        callers = [socket.create_connection(("127.0.0.1", d.port), timeout=10) for _ in range(5)]
        try:
            for caller in callers:
                caller.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for caller in callers[:3]:
                self.assertIn(b" 200 ", caller.recv(4096))
            callers[3].settimeout(0.5)
            with self.assertRaises(TimeoutError):
                callers[3].recv(4096)
            for caller in callers[:2]:
                caller.close()
            for caller in callers[3:]:
                caller.settimeout(10)
                self.assertIn(b" 200 ", caller.recv(4096))
        finally:
            for caller in callers:
                caller.close()
            self.assertEqual(d.stop(), 0)

    def test_disk_full(self):
        """A file size limit stands in for a full disk; reading goes on, writing is refused and comes back."""
        d = Daemon(folder=self.folder)
        d.post("/v1/claims", claim(1))
        _, hard = resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, (400000, hard))
        got = None
        for number in range(60):
            got = d.push([claim(f"{number}-{i}", f"q{number}") for i in range(200)])
            if got.status != 200:
                break
        self.assertIn(got.status, (500, 503, 507), got.body[:300])
        self.assertEqual(d.get("/v1/patients/p1").status, 200)
        resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        self.assertEqual(d.post("/v1/claims", claim(2)).status, 201)
        self.assertEqual(d.stop(), 0)


if __name__ == "__main__":
    daemon.main()
