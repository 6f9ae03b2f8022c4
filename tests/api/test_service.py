#!/usr/bin/python3
"""The daemon under a service manager: readiness and watchdog over a real datagram socket, secrets from
credentials, a plain user, and one clear line for each reason why it cannot start."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest

import daemon
from daemon import Daemon, claim, fixture

KEY = "0123456789abcdef" * 4
NOBODY = 65534


def plain_user():
    """What subprocess needs to start a program as somebody who is not root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.d = None
        self.addCleanup(lambda: self.d and self.d.stop(signal.SIGKILL))

    def start(self, *flags, env=None, **more):
        self.d = Daemon(*flags, folder=self.folder, env=env, **more)
        return self.d


class Supervised(Folder):
    """The test is the service manager."""

    def setUp(self):
        super().setUp()
        self.path = f"{self.folder}/notify"

    def listen(self, name):
        box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(box.close)
        box.bind("\0" + name[1:] if name.startswith("@") else name)
        box.settimeout(30)
        return box

    @staticmethod
    def message(box):
        return dict(line.split("=", 1) for line in box.recv(4096).decode().split("\n"))

    def test_ready_when_the_models_are_there(self):
        for name in (self.path, f"@rezept-test-{os.getpid()}"):
            with self.subTest(name):
                box = self.listen(name)
                d = self.start(models=f"{fixture()}/models", env={"NOTIFY_SOCKET": name}, wait=None)
                self.assertEqual(self.message(box), {"STATUS": "loading the models"})
                ready = self.message(box)
                self.assertEqual(d.get("/readyz").status, 200)  # at once
                self.assertEqual(ready["READY"], "1")
                self.assertRegex(ready["STATUS"], rf"^listening on 127\.0\.0\.1 port {d.port}, \d+ models ready$")
                self.assertNotIn(" 0 models", ready["STATUS"])
                self.assertIn('"event":"ready","models_ready":', d.log())
                d.process.send_signal(signal.SIGTERM)
                self.assertEqual(self.message(box), {"STOPPING": "1", "STATUS": "draining"})
                self.assertEqual(d.process.wait(60), 0)

    def test_a_daemon_without_models_takes_claims_and_is_up(self):
        box = self.listen(self.path)
        d = self.start(env={"NOTIFY_SOCKET": self.path}, wait=None)
        self.assertEqual(set(self.message(box)), {"STATUS"})
        self.assertRegex(self.message(box)["STATUS"], ", 0 models ready$")
        self.assertEqual(d.post("/v1/claims", claim()).status, 201)
        self.assertEqual(d.get("/readyz").status, 503)

    def pings(self, box, seconds):
        n, end = 0, time.time() + seconds
        while (left := end - time.time()) > 0:
            box.settimeout(left)
            with contextlib.suppress(TimeoutError):
                n += self.message(box) == {"WATCHDOG": "1"}
        return n

    def test_watchdog(self):
        """It hears of a daemon that answers, and nothing of one whose threads all hang on others."""
        box = self.listen(self.path)
        d = self.start("--connections-max", "1", "--http-threads", "1", "--header-timeout-s", "3600",
                       "--idle-timeout-s", "3600",
                       env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "800000"})
        self.assertGreaterEqual(self.pings(box, 4), 4)
        with contextlib.ExitStack() as held:
            for _ in range(8):  # connections that say nothing take every place
                held.enter_context(socket.create_connection(("127.0.0.1", d.port)))
            self.pings(box, 3)  # what was on its way
            self.assertEqual(self.pings(box, 5), 0)
            self.assertIn('"event":"not_answering"', d.log())
        self.assertGreaterEqual(self.pings(box, 6), 2)
        self.assertEqual(d.stop(), 0)

    def test_a_watchdog_of_another_process(self):
        box = self.listen(self.path)
        self.start(env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"})
        self.assertEqual(self.pings(box, 2), 0)

    def test_nobody_listens(self):
        d = self.start(env={"NOTIFY_SOCKET": self.path})
        end = time.time() + 30
        while '"event":"ready"' not in d.log() and time.time() < end:
            time.sleep(0.05)
        self.assertEqual(d.stop(), 0)
        self.assertEqual(d.log().count('"event":"supervisor_deaf"'), 1)

    def test_wrong_names(self):
        for variable, value in (("NOTIFY_SOCKET", "notify"), ("NOTIFY_SOCKET", ""), ("NOTIFY_SOCKET", "@"),
                                ("NOTIFY_SOCKET", "/" + "x" * 120), ("WATCHDOG_USEC", "soon"),
                                ("WATCHDOG_USEC", "-5"), ("WATCHDOG_PID", "1x")):
            env = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "1000000", variable: value}
            with self.subTest(f"{variable}={value[:20]}"):
                os.makedirs(f"{self.folder}/models", exist_ok=True)
                done = subprocess.run([daemon.REZEPTD, "serve", "--db", f"{self.folder}/t.db", "--port", "0",
                                       "--models", f"{self.folder}/models"], capture_output=True, text=True,
                                      env={**os.environ, **env}, timeout=60)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"rezeptd: {variable} = \"{value[:100]}", done.stderr)


class Signals(Folder):
    """Whenever the first one comes it drains, and the second ends at once."""

    def test_right_after_the_start_and_before(self):
        os.makedirs(f"{self.folder}/models")
        for wait_for in ['"started"'] * 6 + ['"ready"'] * 4 + [None] * 4:
            process = subprocess.Popen([daemon.REZEPTD, "serve", "--db", f"{self.folder}/t.db", "--port", "0",
                                        "--models", f"{self.folder}/models"], stderr=subprocess.PIPE, text=True)
            if wait_for is None:  # main() runs when the program has made the store
                while not os.path.exists(f"{self.folder}/t.db"):
                    time.sleep(0.001)
                process.send_signal(signal.SIGTERM)
            for line in process.stderr:
                if wait_for and wait_for in line:
                    process.send_signal(signal.SIGTERM)
            process.stderr.close()
            self.assertEqual(process.wait(60), 0, wait_for)
            os.unlink(f"{self.folder}/t.db")


class Secrets(Folder):
    def credential(self, text, name="pseudonym-key"):
        os.makedirs(f"{self.folder}/credentials", exist_ok=True)
        with open(f"{self.folder}/credentials/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        return {"CREDENTIALS_DIRECTORY": f"{self.folder}/credentials"}

    def test_the_pseudonym_key_is_a_credential(self):
        env = self.credential(KEY + "\n")
        d = self.start(env=env)
        self.assertEqual(d.post("/v1/claims", claim(1, daemon.CANARY, claim_id="c1")).status, 201)
        self.assertEqual(d.get(f"/v1/patients/{daemon.CANARY}").status, 200)
        self.assertEqual(d.stop(), 0)
        self.assertNotIn(KEY, d.log())
        for name in os.listdir(self.folder):
            if name.startswith("t.db"):
                with open(f"{self.folder}/{name}", "rb") as file:
                    self.assertNotIn(daemon.CANARY.encode(), file.read(), name)
        # The same key from a file that a setting names is the same key, and stronger than a credential.
        other = self.credential("f" * 64)
        d = self.start("--pseudonym-key-file", self.key_file(), env=other)
        self.assertEqual(d.get(f"/v1/patients/{daemon.CANARY}").status, 200)
        self.assertEqual(d.stop(), 0)
        shown = subprocess.run([daemon.REZEPTD, "--check-config"], env={**os.environ, **other}, text=True,
                               capture_output=True, timeout=120, check=True).stdout
        self.assertRegex(shown, rf"pseudonym-key-file += {self.folder}/credentials/pseudonym-key +\(in use\)")
        self.assertNotIn("f" * 64, shown)
        # A key that is wrong or gone is never a new beginning.
        for case in (other, {"CREDENTIALS_DIRECTORY": f"{self.folder}/nothing"}, {}):
            done = self.run_once(case)
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("set pseudonym_key accordingly", done.stderr)
        self.assertEqual(self.run_once(self.credential(KEY[:63] + "x")).returncode, 2)

    def key_file(self):
        path = f"{self.folder}/key"
        with open(path, "w", encoding="utf-8") as file:
            file.write(KEY)
        return path

    def run_once(self, env):
        clean = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
        return subprocess.run([daemon.REZEPTD, "serve", "--db", f"{self.folder}/t.db", "--port", "0",
                               "--models", f"{self.folder}/models"], env={**clean, **env},
                              capture_output=True, text=True, timeout=60)


class PlainUser(Folder):
    """As the service runs it: a user of its own who may write in one folder only."""

    def setUp(self):
        super().setUp()
        self.program = shutil.copy(daemon.REZEPTD, f"{self.folder}/rezeptd")  # readable by that user
        os.chmod(self.folder, 0o755)
        self.home = f"{self.folder}/home"
        os.makedirs(f"{self.home}/models")
        for path in (self.home, f"{self.home}/models"):
            os.chmod(path, 0o750)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)

    def command(self, **changes):
        given = {"db": f"{self.home}/t.db", "models": f"{self.home}/models", "port": "0", **changes}
        return [self.program, "serve",
                *(word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value))]

    def test_it_serves(self):
        port = daemon.free_port()
        with open(f"{self.folder}/err", "wb") as err:
            process = subprocess.Popen(self.command(port=str(port)), stdout=subprocess.PIPE, stderr=err,
                                       cwd="/", **plain_user())
        self.addCleanup(process.kill)
        self.d = Daemon.__new__(Daemon)
        self.d.process, self.d.port, self.d.token = process, port, None
        self.d.own, self.d.log_path = False, f"{self.folder}/err"
        self.d.wait_for("/livez")
        self.assertEqual(self.d.post("/v1/claims", claim()).status, 201)
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            uid, = [line.split()[1] for line in file if line.startswith("Uid:")]
        self.assertEqual(int(uid), NOBODY if os.geteuid() == 0 else os.getuid())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(process.stdout.read(), b"")  # the log is standard error alone
        process.stdout.close()
        for line in self.d.log().splitlines():
            self.assertIn("event", json.loads(line))
        self.d = None

    def refused(self, command, code, *words, **more):
        """It ends with this exit code and says why in one line that is no log line."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/",
                              **{**plain_user(), **more})
        said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        self.assertEqual((done.returncode, len(said), done.stdout), (code, 1, ""), done.stderr)
        self.assertTrue(said[0].startswith("rezeptd: "), said)
        for word in words:
            self.assertIn(word, said[0])

    def test_port_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            self.refused(self.command(port=port), 7, f"port {port}", "--port")

    def test_database_not_writable(self):
        os.makedirs(f"{self.folder}/closed", mode=0o555)
        self.refused(self.command(db=f"{self.folder}/closed/t.db"), 9, f"{self.folder}/closed/t.db",
                     "Permission denied")
        self.refused(self.command(db=f"{self.home}/nowhere/t.db"), 4, "nowhere/t.db", "No such file")
        self.refused(self.command(db=self.home), 9, self.home)
        self.make_store()
        os.chmod(f"{self.home}/t.db", 0o444)
        self.refused(self.command(), 9, f"{self.home}/t.db may only be read")

    def make_store(self):
        process = subprocess.Popen(self.command(), stderr=subprocess.PIPE, text=True, cwd="/", **plain_user())
        for line in process.stderr:
            if '"started"' in line:
                process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        process.stderr.close()

    def test_database_locked(self):
        with open(f"{self.folder}/err", "wb") as err:
            first = subprocess.Popen(self.command(), stderr=err, cwd="/", **plain_user())
        self.addCleanup(first.wait)
        self.addCleanup(first.kill)
        end = time.time() + 60
        said = ""
        while '"started"' not in said and time.time() < end:
            time.sleep(0.05)
            with open(f"{self.folder}/err", encoding="utf-8") as file:
                said = file.read()
        self.refused(self.command(), 7, f"is being written by process {first.pid}")

    def test_database_of_a_newer_rezept(self):
        path = f"{self.home}/t.db"
        self.make_store()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA user_version = 999")
        for name in os.listdir(self.home):
            if os.geteuid() == 0 and name.startswith("t.db"):
                os.chown(f"{self.home}/{name}", NOBODY, NOBODY)
        self.refused(self.command(), 3, f"{path} has schema 999", "use the newer Rezept")

    def test_database_of_another_program(self):
        with open(f"{self.home}/t.db", "wb") as file:
            file.write(b"this is no database\n" * 1000)
        os.chmod(f"{self.home}/t.db", 0o666)
        self.refused(self.command(), 10, f"{self.home}/t.db")

    def test_no_models_folder(self):
        path = f"{self.home}/modles"
        self.refused(self.command(models=path), 4, f"no folder of models {path}", "--models")
        with open(path, "w", encoding="utf-8"):
            pass
        self.refused(self.command(models=path), 9, path, "Not a directory")
        os.chmod(f"{self.home}/models", 0)
        self.refused(self.command(), 9, f"{self.home}/models", "Permission denied")

    def test_bad_settings(self):
        ini = f"{self.home}/a.ini"
        with open(ini, "w", encoding="utf-8") as file:
            file.write("[rezeptd]\nport = 1\nprot = 2\n")
        os.chmod(ini, 0o644)
        self.refused(self.command(config=ini), 2, "prot", ini)
        self.refused(self.command(config=f"{self.home}/none.ini"), 4, "none.ini")
        self.refused(self.command(port="80800"), 2, "port", "80800", "65535")
        self.refused(self.command(connections_max="a lot"), 2, "connections-max", "a lot")
        self.refused([*self.command(), "--colour", "red"], 2, "--colour")
        self.refused(self.command(listen="0.0.0.0"), 2, "rezeptd token create")
        self.refused(self.command(), 2, "REZEPTD_PORT", "x", env={"REZEPTD_PORT": "x"})
        self.refused(self.command(pseudonym_key_file=f"{self.home}/key"), 4, f"{self.home}/key")

    def test_privileged_port(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) <= 1:
                self.skipTest("every port is free for everybody here")
        self.refused(self.command(port="1"), 9, "port 1", "Permission denied")


if __name__ == "__main__":
    daemon.main()
