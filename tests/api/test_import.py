"""rezept-train import from the outside: exit codes, the summary, and that nothing is half-imported."""
import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)


def claim(number, **changes):
    record = {"claim_id": f"c{number}", "facility": "H001",
              "patient": {"id": f"p{number // 10}", "sex": "F", "birth_date": "1956-03-02"},
              "setting": "outpatient", "start": "2024-05-01", "end": "2024-05-31",
              "diagnoses": [{"system": "icd10", "code": "N18.9", "date": "2024-05-01"}],
              "medications": [{"system": "yj", "code": "2171022F1029", "date": "2024-05-02", "days": 30}]}
    record.update(changes)
    return record


def lines(records):
    return "".join(json.dumps(r) + "\n" for r in records).encode()


class Import(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.db = os.path.join(self.folder.name, "rezept.db")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, content):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_import(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, "import", "--db", self.db, *arguments], capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def figure(self, summary, name):
        found = re.search(rf"^ *{name} +(\d+)", summary, re.M)
        self.assertIsNotNone(found, summary)
        return int(found.group(1))

    def count(self, table):
        with sqlite3.connect(f"file:{self.db}?mode=ro", uri=True) as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def test_importing_twice_changes_nothing(self):
        path = self.write("a.ndjson", lines(claim(i) for i in range(50)))
        first = self.run_import(path)
        self.assertEqual((self.figure(first, "rows read"), self.figure(first, "claims"),
                          self.figure(first, "added"), self.figure(first, "events kept")),
                         (50, 50, 50, 150))
        counts = self.count("claims"), self.count("events"), self.count("patients")
        again = self.run_import(path)
        self.assertEqual((self.figure(again, "added"), self.figure(again, "unchanged"),
                          self.figure(again, "superseding")), (0, 50, 0))
        self.assertEqual((self.count("claims"), self.count("events"), self.count("patients")), counts)
        changed = self.run_import(self.write("b.ndjson", lines([claim(1, setting="inpatient")])))
        self.assertEqual(self.figure(changed, "superseding"), 1)

    def test_refusals_are_named_and_the_rest_is_kept(self):
        records = [claim(0), claim(1, start="2024-02-30"), claim(2, facility=None), claim(3),
                   claim(4, patient={"id": "p0", "sex": "M"})]
        summary = self.run_import(self.write("a.ndjson", lines(records)))
        self.assertEqual((self.figure(summary, "rows read"), self.figure(summary, "added")), (5, 2))
        self.assertIn("refused: impossible_date 1 (first: a.ndjson:2)", summary)
        self.assertIn("refused: missing 1 (first: a.ndjson:3)", summary)
        self.assertIn("refused: demographics conflict 1 (first: a.ndjson:5)", summary)

    def test_a_damaged_file_imports_nothing(self):
        good = self.write("a.ndjson", lines(claim(i) for i in range(8000)))
        packed = gzip.compress(lines(claim(i) for i in range(8000, 16000)))
        damaged = self.write("b.ndjson.gz", packed[:-200])
        message = self.run_import(good, damaged, code=3)
        self.assertRegex(message, r"b\.ndjson\.gz: line \d+: the gzip data is damaged")
        self.assertEqual((self.count("claims"), self.count("events")), (0, 0))
        self.assertEqual(self.figure(self.run_import(good), "added"), 8000)

    def test_interruption_and_kill_import_nothing(self):
        """Through a pipe, so that the signal surely comes in the middle, after rows were written."""
        pipe = os.path.join(self.folder.name, "pipe.ndjson")
        os.mkfifo(pipe)
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
            process = subprocess.Popen([PROGRAM, "import", "--db", self.db, pipe], text=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            with open(pipe, "wb", buffering=0) as stream:
                stream.write(lines(claim(i) for i in range(12000)))
                process.send_signal(number)
                try:
                    stream.write(lines(claim(i) for i in range(12000, 14000)))
                except BrokenPipeError:
                    pass
                self.assertEqual(process.wait(timeout=60), code)
            with process.stderr as stream:
                said = stream.read().splitlines()
            if number == signal.SIGINT:
                self.assertRegex(said[-2], r"removing the \d+ claims of this import again")
                self.assertIn("nothing of this import was kept", said[-1])
                self.assertIn("the same command begins again", said[-1])
        few = self.write("b.ndjson", lines([claim(1)]))
        self.assertEqual(self.figure(self.run_import(few), "added"), 1)
        self.assertEqual((self.count("claims"), self.count("events")), (1, 3))

    def test_one_writer(self):
        pipe = os.path.join(self.folder.name, "pipe.ndjson")
        few = self.write("b.ndjson", lines([claim(1)]))
        os.mkfifo(pipe)
        process = subprocess.Popen([PROGRAM, "import", "--db", self.db, pipe],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(pipe, "wb", buffering=0) as stream:
            stream.write(lines(claim(i) for i in range(2, 3000)))
            message = self.run_import(few, code=7)
        self.assertIn("rezept push", message)
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(self.count("claims"), 2998)

    def test_usage(self):
        path = self.write("a.ndjson", lines([claim(1)]))
        self.assertIn("there is no import format fhir", self.run_import("--format", "fhir", path, code=3))
        self.assertIn("at least one file", self.run_import(code=2))
        self.assertIn("64 hexadecimal", self.run_import("--pseudonym-key", "12", path, code=2))
        self.assertFalse(os.path.exists(self.db))
        done = subprocess.run([PROGRAM, "import", path], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--db", done.stderr)

    def test_a_key_hides_the_ids(self):
        path = self.write("a.ndjson", lines([claim(1, patient={"id": "very-secret-id"})]))
        self.run_import("--pseudonym-key", "0123456789abcdef" * 4, path)
        with open(self.db, "rb") as file:
            self.assertNotIn(b"very-secret-id", file.read())
        self.run_import(path, code=5)


if __name__ == "__main__":
    unittest.main()
