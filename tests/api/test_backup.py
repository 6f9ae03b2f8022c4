#!/usr/bin/python3
"""The drill: claims come in, a backup is made meanwhile, everything is destroyed and restored; what was
acknowledged is there and scores answer the same bytes. And what must not happen: half backups, restored
damage, a running daemon's files overwritten, older backups lost."""
import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

import daemon
from daemon import Daemon, claim, fixture

DEPLOY = os.path.join(os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{daemon.HERE}/../..")), "deploy")
DAY = "2024-06-30"


def run(program, *arguments, limit=None):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return subprocess.run([f"{DEPLOY}/{program}", *arguments], capture_output=True, text=True, timeout=120,
                          preexec_fn=limited if limit else None)


class Backups(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezept-backup-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.home, self.to = f"{self.folder}/home", f"{self.folder}/backups"
        os.makedirs(f"{self.home}/models")
        shutil.copytree(f"{fixture()}/models/risks", f"{self.home}/models/risks")
        self.place = ("--db", f"{self.home}/t.db", "--models", f"{self.home}/models")
        self.d = None
        self.addCleanup(lambda: self.d and self.d.stop(signal.SIGKILL))

    def start(self, *flags, wait="/readyz"):
        self.d = Daemon(*flags, folder=self.home, wait=wait)
        return self.d

    def stop(self):
        self.assertEqual(self.d.stop(), 0)

    def backup(self, *more, code=0, limit=None, to=None):
        """The path of a new backup, or standard error where it must fail."""
        while True:  # names have seconds
            done = run("backup", *self.place, "--to", to or self.to, *more, limit=limit)
            if "was made in this second" not in done.stderr:
                break
            time.sleep(0.3)
        self.assertEqual(done.returncode, code, done.stderr)
        if code:
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.stderr if code else done.stdout.splitlines()[-1].split(": ")[0]

    def restore(self, what, *more, code=0, place=None):
        done = run("restore", what, *(place or self.place), *more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stderr if code else done.stdout

    def names(self, folder=None):
        return sorted(n for n in os.listdir(folder or self.to) if n.startswith("rezept-"))


class Drill(Backups):
    PATIENTS = 40

    def answers(self):
        """The risks of stored patients as they were at a day, and the worklist's rows: the bytes."""
        got = {}
        for number in range(self.PATIENTS):
            answer = self.d.get(f"/v1/patients/p{number}/risks?as_of={DAY}&explain=3")
            self.assertEqual(answer.status, 200, answer.body)
            got[number] = answer.body
        got["tasks"] = self.d.get("/v1/tasks").body
        return got

    def scored(self):
        end = time.time() + 60
        rows = []
        while len(rows) < 2 * self.PATIENTS and time.time() < end:
            with contextlib.closing(sqlite3.connect(f"{self.home}/t.db")) as db:
                rows = db.execute("SELECT patient, task, probability, low, high, reason, scored_at FROM scores "
                                  "WHERE patient <= ? ORDER BY patient, task", (self.PATIENTS,)).fetchall()
            time.sleep(0.1)
        return rows

    def test_drill(self):
        with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
            claims = [json.loads(next(file)) for _ in range(36 * self.PATIENTS)]
        made = subprocess.run([daemon.REZEPTD, "token", "create", "--name", "drill", "--scopes", "all", "--db",
                               f"{self.home}/t.db"], capture_output=True, text=True, check=True).stdout.strip()
        d = self.start("--rescore-pause-ms", "50", wait="/livez")
        d.token = made
        d.wait_for("/readyz")
        self.assertEqual(d.push(claims).json["counts"]["added"], len(claims))
        scores, before = self.scored(), self.answers()
        self.assertEqual(len(scores), 2 * self.PATIENTS)

        known, stop = [], threading.Event()

        def post(worker):
            for number in range(100000):
                if stop.is_set():
                    return
                one = claim(number, f"w{worker}")
                if d.post("/v1/claims", one).status == 201:
                    known.append(one)

        threads = [threading.Thread(target=post, args=(w,)) for w in range(3)]
        for t in threads:
            t.start()
        time.sleep(1)
        acknowledged = list(known)
        backup = self.backup()
        during = len(known) - len(acknowledged)
        stop.set()
        for t in threads:
            t.join()
        self.assertGreater(len(acknowledged), 20)
        self.assertGreater(during, 0)  # the daemon went on meanwhile

        d.process.kill()
        d.stop(signal.SIGKILL)
        began = time.monotonic()
        for name in os.listdir(self.home):  # the disk is gone
            path = f"{self.home}/{name}"
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
        self.restore(self.to)
        d = self.start("--rescore-pause-ms", "50", wait="/livez")
        d.token = made  # tokens are part of the backup
        d.wait_for("/readyz")
        self.assertEqual(self.answers(), before)
        took = time.monotonic() - began
        self.assertEqual(self.scored(), scores)
        lines = d.push(acknowledged).json
        self.assertEqual((lines["counts"]["unchanged"], lines["counts"]["added"]), (len(acknowledged), 0))
        self.stop()
        print(f"drill: {len(claims) + len(acknowledged)} claims, {during} came in during the backup; "
              f"restored, started and answering in {took:.2f} s")
        self.assertTrue(backup)


class Kept(Backups):
    def fill(self, n=3):
        d = self.start()
        for number in range(n):
            self.assertEqual(d.post("/v1/claims", claim(number, f"p{number}")).status, 201)

    def test_of_a_stopped_daemon_and_restored_elsewhere(self):
        self.fill()
        self.stop()
        backup = self.backup()
        self.assertEqual(os.stat(backup).st_mode & 0o077, 0)
        elsewhere = f"{self.folder}/elsewhere"
        os.makedirs(elsewhere)
        place = ("--db", f"{elsewhere}/t.db", "--models", f"{elsewhere}/models")
        self.assertIn("3 patients, 3 claims, 1 models", self.restore(backup, place=place))
        shutil.rmtree(self.home)
        self.home = elsewhere
        self.assertEqual(self.start().get("/v1/patients").json["patients"][0]["id"], "p0")
        self.stop()

    def test_erased_patients_are_in_no_later_backup(self):
        d = self.start()
        for number in range(30):
            d.post("/v1/claims", claim(number, daemon.CANARY))
        with open(f"{self.backup()}/rezept.db", "rb") as file:
            self.assertIn(daemon.CANARY.encode(), file.read())
        self.assertEqual(d.call("DELETE", f"/v1/patients/{daemon.CANARY}").status, 200)
        with open(f"{self.backup()}/rezept.db", "rb") as file:
            self.assertNotIn(daemon.CANARY.encode(), file.read())

    def test_keeps_n_and_links_models(self):
        self.fill()
        made = [self.backup("--keep", "2") for _ in range(3)]
        self.assertEqual(self.names(), [os.path.basename(path) for path in made[1:]])
        weights = [os.stat(f"{path}/models/risks/model.safetensors") for path in made[1:]]
        self.assertEqual(weights[0].st_ino, weights[1].st_ino)
        # What has decayed in the last backup is copied anew.
        with open(f"{made[2]}/models/risks/model.safetensors", "r+b") as file:
            file.write(b"x")
        self.restore(made[2], "--verify", code=10)
        fresh = self.backup("--keep", "2")
        self.assertIn("is whole", self.restore(fresh, "--verify"))

    def test_metrics(self):
        self.fill()
        self.backup("--metrics", f"{self.folder}/backup.prom")
        with open(f"{self.folder}/backup.prom", encoding="utf-8") as file:
            text = file.read()
        value = float(text.split("\nrezept_backup_last_success_timestamp_seconds ")[1].split()[0])
        self.assertLess(abs(time.time() - value), 60)

    def test_damage_is_never_backed_up_or_restored(self):
        self.fill()
        whole = self.backup()
        self.stop()
        # A model whose weights decayed, here and in the last backup, is left out; the claims are kept, and
        # nothing older goes.
        for path in (self.home, whole):
            with open(f"{path}/models/risks/model.safetensors", "r+b") as file:
                file.seek(1000)
                good = file.read(5)
                file.seek(1000)
                file.write(b"decay")
        self.assertIn("model risks was left out", self.backup("--keep", "1", code=10))
        self.assertEqual(len(self.names()), 2)
        self.assertIn("3 claims, 0 models", self.restore(f"{self.to}/{self.names()[1]}", "--verify"))
        with open(f"{whole}/models/risks/model.safetensors", "r+b") as file:
            file.seek(1000)
            file.write(good)
        # A damaged store makes no backup at all.
        with open(f"{self.home}/t.db", "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            for page in range(4096, size - 4096, 4096):
                file.seek(page)
                file.write(os.urandom(4096))
        self.backup(code=10)
        self.assertEqual(len(self.names()), 2)
        # Each damage of a backup is found before anything is written.
        for name in ("rezept.db", "models/risks/vocab.json", "models/risks/DONE", "MANIFEST.json"):
            with self.subTest(name):
                copy = f"{self.folder}/copy"
                shutil.copytree(whole, copy)
                with open(f"{copy}/{name}", "r+b") as file:
                    file.seek(20)
                    file.write(b"\xff")
                self.restore(copy, "--replace", code=10)
                shutil.rmtree(copy)
        shutil.copytree(whole, copy)
        os.unlink(f"{copy}/models/risks/vocab.json")
        self.restore(copy, "--replace", code=4)
        self.assertEqual([n for n in os.listdir(self.home) if "before" in n or "restoring" in n], [])

    def test_a_running_daemon_is_not_overwritten(self):
        self.fill()
        backup = self.backup()
        self.assertIn(f"is in use; stop rezeptd first (process {self.d.process.pid}",
                      self.restore(backup, "--replace", code=7))
        self.assertEqual(self.d.get("/v1/patients/p1").status, 200)
        self.d.post("/v1/claims", claim(1, "later"))
        self.stop()
        self.assertIn("--replace", self.restore(backup, code=5))
        said = self.restore(backup, "--replace")
        # What was there is whole beside it, its log included.
        aside = [line.split(": ")[1] for line in said.splitlines() if line.startswith("kept: ")]
        old, = [path for path in aside if ".db.before-" in path and path.endswith("Z")]
        with contextlib.closing(sqlite3.connect(old)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM patients").fetchone()[0], 4)
        self.assertTrue(any(os.path.isdir(f"{path}/risks") for path in aside))
        self.assertEqual(self.start().get("/v1/patients/later").status, 404)
        self.stop()

    def test_a_log_left_by_a_crash_is_not_played_into_another_store(self):
        self.fill()
        backup = self.backup()
        self.d.post("/v1/claims", claim(9, "after"))
        self.d.process.kill()
        self.d.stop(signal.SIGKILL)
        self.assertGreater(os.stat(f"{self.home}/t.db-wal").st_size, 0)
        self.restore(backup, "--replace")
        self.assertFalse(os.path.exists(f"{self.home}/t.db-wal"))
        d = self.start()
        self.assertEqual(d.get("/v1/patients/after").status, 404)
        self.assertEqual(d.get("/v1/patients/p2").status, 200)
        self.stop()

    def test_full_disk(self):
        """A limit on the size of files stands in for it: what was there stays, no half backup remains."""
        self.fill()
        first = self.backup()
        said = self.backup(code=9, limit=100000)  # what SQLite makes of that limit; of a full disk, 8
        self.assertRegex(said, "I/O error|disk is full")
        self.assertEqual(os.listdir(self.to).count(".lock"), 1)
        self.assertEqual(self.names(), [os.path.basename(first)])
        self.assertEqual([n for n in os.listdir(self.to) if n.startswith(".making")], [])
        self.assertEqual(self.d.post("/v1/claims", claim(50)).status, 201)
        self.stop()
        done = subprocess.run([f"{DEPLOY}/restore", first, *self.place, "--replace"], capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)))
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertEqual(self.start().get("/v1/patients/p1").status, 200)
        self.stop()

    def test_a_file_system_that_is_too_small(self):
        """One of 10 MB has no room for the store, one of 20 MB none for the model."""
        self.fill()
        os.makedirs(self.to)
        script = ('mount -t tmpfs -o "size=$1" none "$2" 2>/dev/null || exit 99; folder=$2; shift 2; "$@"; code=$?; '
                  'ls -A "$folder"; exit $code')
        for size in ("10m", "20m"):
            done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", size, self.to, f"{DEPLOY}/backup",
                                   *self.place, "--to", self.to], capture_output=True, text=True, timeout=60)
            if done.returncode in (1, 99):
                self.skipTest(f"no file system can be mounted here: {done.stderr}")
            self.assertEqual((done.returncode, done.stdout), (8, ".lock\n"), done.stderr)
            self.assertIn("MB are needed; nothing was changed", done.stderr)

    def test_two_at_once_and_a_killed_one(self):
        self.fill()
        os.makedirs(f"{self.to}/.making-rezept-20200101T000000Z")
        with open(f"{self.to}/.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertIn("another backup runs", self.backup(code=7))
        self.backup()
        self.assertEqual([n for n in os.listdir(self.to) if n.startswith(".making")], [])

    def test_what_is_no_model_is_left_out(self):
        self.fill()
        os.makedirs(f"{self.home}/models/half/resume")
        os.symlink("risks", f"{self.home}/models/linked")
        with open(f"{self.home}/models/routing.json", "w", encoding="utf-8") as file:
            file.write('{"tasks": {}}')
        backup = self.backup()
        self.assertEqual(sorted(os.listdir(f"{backup}/models")), ["risks", "routing.json"])

    def test_wrong_usage(self):
        place = ("--db", f"{self.folder}/none.db", "--to", self.to)
        for program, arguments, code in (("backup", place, 4), ("backup", (*place, "--keep", "0"), 2),
                                         ("backup", (), 2), ("restore", (f"{self.folder}/none",), 4),
                                         ("restore", (self.folder,), 4), ("restore", (), 2),
                                         ("backup", ("--config", f"{self.folder}/none.ini", "--to", self.to), 4)):
            done = run(program, *arguments)
            self.assertEqual(done.returncode, code, (program, arguments, done.stderr))

    def test_paths_of_the_daemons_settings(self):
        self.fill()
        with open(f"{self.folder}/a.ini", "w", encoding="utf-8") as file:
            file.write(f"; a comment\n[rezeptd]\nport = 1\ndb = {self.home}/t.db ; the store\n"
                       f"models = {self.home}/models\n")
        self.place = ("--config", f"{self.folder}/a.ini")
        self.assertIn("3 patients", self.restore(self.backup(), "--verify"))


if __name__ == "__main__":
    daemon.main()
