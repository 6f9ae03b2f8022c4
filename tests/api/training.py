"""Calls rezept-train and looks at what it leaves: shared by the tests of training and evaluation."""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import daemon

PROGRAM = f"{daemon.BUILD}/models/rezept-train"
ROOT = os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{daemon.HERE}/../.."))
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "REZEPT_"))}


def attempt(*arguments, limit=None, timeout=600):
    """One call, which may fail; `limit` is a function run in the child before the program."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, env=CLEAN, check=False, preexec_fn=limit)
    if "Sanitizer" in done.stderr or "runtime error" in done.stderr:
        raise AssertionError((done.args[1:], done.stderr[-6000:]))
    return done


def train(*arguments, code=0, limit=None, timeout=600):
    """Output, or errors where they are expected, of one call that ends with `code`."""
    done = attempt(*arguments, limit=limit, timeout=timeout)
    if done.returncode != code:
        raise AssertionError((done.args[1:], done.returncode, done.stdout[-2000:],
                              done.stderr[-6000:]))
    return done.stdout if code == 0 else done.stderr


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return json.load(file)


def digest(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def digests(folder):
    """Every file of a model but the lock; none may change when a command fails."""
    return {name: digest(folder, name) for name in sorted(os.listdir(folder))
            if not name.startswith(".") and os.path.isfile(os.path.join(folder, name))}


def show(folder):
    return json.loads(train("show", folder, "--json", "--no-blas"))


def claim(number, patient, day, codes, medications=()):
    return {"claim_id": f"{patient}-{number}", "facility": "H9",
            "patient": {"id": patient, "sex": "FM"[len(patient) % 2], "birth_date": "1950-03-02"},
            "setting": "outpatient", "start": day, "end": day, "known": day,
            "diagnoses": [{"system": "icd10", "code": c, "date": day} for c in codes],
            "medications": [{"system": "yj", "code": c, "date": day} for c in medications],
            "procedures": [], "labs": []}


def history(patient, outcome_month=None, months=36, code="N189"):
    """Claims of every month from 2020 on; the outcome is coded from its month on."""
    for month in range(months):
        day = f"{2020 + month // 12}-{month % 12 + 1:02d}-05"
        sick = outcome_month is not None and month >= outcome_month
        yield claim(month, patient, day, ["I10"] + ([code] if sick else []))


def hospitals(names=("H0", "H1", "H2"), each=240):
    """Claims of patients who go to one of several hospitals; every second one falls ill of what the
    fixture's tasks ask about, and H1 alone codes G35."""
    draw = random.Random(4)
    for number in range(each * len(names)):
        facility = names[number % len(names)]
        sick, onset = number // len(names) % 2 == 0, draw.randrange(7, 18)
        birth = 1930 + draw.randrange(60)
        for month in range(18):
            day = f"{2020 + month // 6}-{month % 6 * 2 + 1:02d}-{draw.randrange(1, 28):02d}"
            codes = [draw.choice(["E119", "J069", "M545"])] + (["I10"] if sick else [])
            codes += ["N189"] if sick and month >= onset else []
            codes += ["G35"] if facility == "H1" and month == 3 else []
            one = claim(month, f"p{number}", day, codes,
                        ["2171022F1029"] if sick and month >= onset else [])
            one["facility"] = facility
            one["patient"] = {"id": f"p{number}", "sex": "FM"[number % 7 % 2],
                              "birth_date": f"{birth}-03-02"}
            yield one


class Trained(unittest.TestCase):
    """self.db, self.tasks and self.base are the fixture's, self.risks is a copy to be changed."""

    def setUp(self):
        fixture = daemon.fixture()
        self.folder = tempfile.mkdtemp(prefix="rezept-train-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.db, self.tasks = f"{fixture}/train.db", f"{fixture}/tasks"
        self.base, self.risks = f"{fixture}/models/base", self.at("risks")
        shutil.copytree(f"{fixture}/models/risks", self.risks)

    def at(self, name):
        return os.path.join(self.folder, name)

    def store(self, name, claims):
        with open(self.at(f"{name}.ndjson"), "w", encoding="utf-8") as file:
            for one in claims:
                print(json.dumps(one), file=file)
        train("import", "--db", self.at(f"{name}.db"), self.at(f"{name}.ndjson"))
        return self.at(f"{name}.db")

    def finetune(self, out, *more, **how):
        """Two steps of both tasks, unless told otherwise."""
        flags = list(map(str, more))
        if "--steps" not in flags and "--minutes" not in flags and "--epochs" not in flags:
            flags += ["--steps", "2"]
        return train("finetune", "--db", self.db, "--model", self.base, "--tasks", self.tasks,
                     "--out", self.at(out), "--evaluations", "1", "--tuning-tokens", "1500",
                     *flags, **how)

    def interrupted(self, arguments, sign, ready, seconds=60):
        """Starts the program, sends the signal once ready() holds, gives exit code and errors."""
        with open(self.at("stderr"), "w+", encoding="utf-8") as errors:
            process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=CLEAN, stderr=errors,
                                       stdout=subprocess.DEVNULL)
            end = time.time() + seconds
            while not ready() and process.poll() is None and time.time() < end:
                time.sleep(0.005)
            self.assertIsNone(process.poll(), "it ended before it was interrupted")
            process.send_signal(sign)
            code = process.wait(60)
            errors.seek(0)
            return code, errors.read()
