#!/usr/bin/python3
"""The recipes of models/recipes: rows that become MEDS, what is left out, and that the patients who are
asked about are those the recipe means, with nothing of the answer in their history. On small made-up
files, and on the real ones where they are present."""
import collections
import csv
import datetime
import gzip
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest

from training import CLEAN, PROGRAM, ROOT, train

RECIPES = f"{ROOT}/models/recipes"
sys.dont_write_bytecode = True
sys.path.insert(0, RECIPES)
import meds  # noqa: E402
import nafld  # noqa: E402
import uci  # noqa: E402

SHARED = os.environ.get("REZEPT_SHARED_DATA", "")
NAFLD = {"nafld1": ("id", "age", "male", "weight", "height", "bmi", "case.id", "futime", "status"),
         "nafld2": ("id", "days", "test", "value"), "nafld3": ("id", "days", "event")}
UCI_COLUMNS = ("encounter_id", "patient_nbr", "race", "gender", "age", *uci.DIAGNOSES, *uci.DRUGS,
               *uci.CATEGORIES, *uci.COUNTS, "readmitted")


def encounter(number, patient, diagnoses=("?", "?", "?"), **changes):
    """A row of the UCI file that says nothing but what it is told to."""
    row = {"encounter_id": number, "patient_nbr": patient, "race": "?", "gender": "Female",
           "age": "[60-70)", "readmitted": "<30", **dict.fromkeys(uci.DRUGS, "No"),
           **dict(zip(uci.DIAGNOSES, diagnoses)), **dict.fromkeys(uci.COUNTS, "0"),
           "admission_type_id": "5", "admission_source_id": "17", "discharge_disposition_id": "18",
           "medical_specialty": "?", "max_glu_serum": "None", "A1Cresult": "None", "change": "No"}
    assert not set(changes) - set(row), changes
    return {**row, **changes}


def days_before(day, days):
    return day - datetime.timedelta(days=days)


class Recipe(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rezept-recipe-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def at(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, columns, rows):
        with open(self.at(f"{name}.csv"), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def put_nafld(self, people, values=(), events=()):
        for name, rows in (("nafld1", people), ("nafld2", values), ("nafld3", events)):
            self.put(name, NAFLD[name], [dict(zip(NAFLD[name], row)) for row in rows])

    def make(self, recipe, folder=None, out="meds.csv.gz", code=0):
        done = subprocess.run([f"{RECIPES}/{recipe}.py", folder or self.folder, self.at(out)],
                              capture_output=True, text=True, timeout=600, check=False,
                              env={**CLEAN, "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def rows(self, out="meds.csv.gz"):
        with gzip.open(self.at(out), "rt", encoding="utf-8", newline="") as file:
            return [tuple(row) for row in csv.reader(file)][1:]

    def store(self, recipe):
        text = train("import", "--db", self.at("t.db"), "--format", "meds", "--facility", recipe,
                     "--prefix-map", f"{RECIPES}/{recipe}/prefixes.csv", self.at("meds.csv.gz"))
        self.assertNotIn("refused", text)
        return text

    def figure(self, text, name):
        return int(re.search(rf"^ *{name} +(\d+)", text, re.M).group(1))

    def asked(self, recipe, task):
        """(subject, index day, label) of every patient of both unseen splits of a task's cohort."""
        train("baseline", "--db", self.at("t.db"), "--task", f"{RECIPES}/{recipe}/tasks/{task}.json",
              "--engine", "logistic", "--grid", "small", "--bootstraps", "0", "--force",
              "--out", self.at("baseline"), "--scores", self.at("scores"))
        with sqlite3.connect(f"file:{self.at('t.db')}?mode=ro", uri=True) as db:
            names = dict(db.execute("SELECT key, id FROM patients"))
        for split in ("tuning", "held_out"):
            with open(self.at(f"scores-{split}.csv"), encoding="ascii") as file:
                for row in csv.DictReader(file):
                    yield (names[int(row["patient_key"])],
                           datetime.date.fromisoformat(row["index_day"]), int(row["label"]))


class Meds(Recipe):
    def test_bands(self):
        cuts = (120, 130, 160)
        self.assertEqual([meds.band(v, cuts) for v in (119.9, 120, 129, 130, 159, 160, 500)],
                         ["<120", "120-130", "120-130", "130-160", "130-160", ">=160", ">=160"])
        self.assertEqual([meds.band(v, (18.5, 20)) for v in (18, 18.5, 20)],
                         ["<18.5", "18.5-20", ">=20"])

    def test_what_is_missing_is_named_and_nothing_is_left(self):
        self.assertIn("neither nafld1.csv nor nafld1.csv.gz", self.make("nafld", code=3))
        self.put("nafld1", ("id", "age"), [])
        self.assertIn("nafld1.csv: no column male, bmi, case.id, futime, status",
                      self.make("nafld", code=3))
        self.put("diabetic_data", ("encounter_id",), [])
        self.assertIn("diabetic_data.csv: no column patient_nbr", self.make("uci", code=3))
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("meds")], [])
        done = subprocess.run([f"{RECIPES}/uci.py"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: uci.py", done.stderr)

    def test_the_run_script_refuses_what_it_does_not_know(self):
        for flags, words in ((("--recipe", "other", "--data", ".", "--out", self.folder), "no recipe"),
                             (("--recipe", "uci", "--data", ".", "--out", self.folder, "--train",
                               self.at("nothing")), "is not there"), (("--what", "x"), "no flag")):
            done = subprocess.run([f"{RECIPES}/run", *flags], capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)


class Nafld(Recipe):
    def test_rows(self):
        self.put_nafld(
            [(7, 50, 0, 80, 170, 27.6, 7, 3000, 0), (9, 60, 1, "NA", "NA", "NA", 7, 2000, 0),
             (11, 70, 1, "", "", "", 7, 400, 1), (12, 70, 1, "", "", "", 7, 2500, 0)],
            [(7, -10, "sbp", 131), (7, -10, "dbp", 131), (7, -10, "sbp", 131), (7, 5, "hdl", 75),
             (7, 5, "chol", 210), (9, 0, "sbp", 13682), (9, 0, "smoke", 1), (9, 1, "smoke", 0),
             (9, 2, "pulse", 70), (99, 2, "hdl", 40)],
            [(7, -100, "htn"), (7, -100, "htn"), (9, 12, "diabetes"), (9, "", "nafld"), (99, 1, "MI")])
        text = self.make("nafld")
        for words in ("4 subjects, 24 rows", "dbp that repeats sbp 1", "event of an unknown subject 1",
                      "event without a day 1", "impossible sbp 1", "unknown test pulse 1",
                      "value of an unknown subject 1"):
            self.assertIn(words, text)
        entry = days_before(nafld.CLOSED, 3000)
        self.assertEqual([row for row in self.rows() if row[0] == "7"], [
            ("7", "", "GENDER//F", ""),
            ("7", f"{days_before(entry, round(50.5 * 365.25))} 00:00:00", "MEDS_BIRTH", ""),
            ("7", f"{days_before(entry, 100)} 00:00:00", "EVENT//htn", ""),
            ("7", f"{days_before(entry, 10)} 00:00:00", "FINDING//sbp//130-140", "131"),
            ("7", f"{entry} 00:00:00", "ENTRY", ""),
            ("7", f"{entry} 00:00:00", "FINDING//bmi//27.5-30", "27.6"),
            ("7", f"{days_before(entry, -5)} 00:00:00", "FINDING//chol//200-220", "210"),
            ("7", f"{days_before(entry, -5)} 00:00:00", "FINDING//hdl//>=75", "75"),
            ("7", f"{nafld.CLOSED} 00:00:00", "FOLLOW_UP//END", "")])
        # Dead after 400 days; those alive of the same set were followed for 2000, 2500 and 3000.
        entry = days_before(nafld.CLOSED, 2500)
        self.assertEqual([row[1:3] for row in self.rows() if row[0] == "11"][2:], [
            (f"{entry} 00:00:00", "ENTRY"),
            (f"{days_before(entry, -400)} 00:00:00", "MEDS_DEATH")])
        summary = self.store("nafld")
        self.assertEqual([self.figure(summary, n) for n in ("rows read", "events kept", "procedure",
                                                            "death")], [24, 16, 3, 1])
        self.make("nafld", out="again.csv.gz")
        with open(self.at("meds.csv.gz"), "rb") as one, open(self.at("again.csv.gz"), "rb") as two:
            self.assertEqual(one.read(), two.read())

    def check_cohort(self, task, event, followed, events):
        """`followed` (days, alive) by subject, `events` days of the outcome by subject."""
        entries = {row[0]: datetime.date.fromisoformat(row[1][:10]) for row in self.rows()
                   if row[2] == "ENTRY"}
        answers = collections.Counter()
        for subject, index, label in self.asked("nafld", task):
            day, (days, alive) = (index - entries[subject]).days, followed[subject]
            self.assertGreaterEqual(day, 0)
            self.assertTrue(day + 1826 <= days if alive else day < days)
            self.assertFalse([d for d in events[subject] if d <= day], (event, day))
            self.assertEqual(label, any(day < d <= day + 1826 for d in events[subject]))
            answers[label] += 1
            answers["later"] += day > 0
        return answers

    def test_cohort(self):
        source = random.Random(1)
        people, values, events, followed = [], [], [], {}
        outcomes = collections.defaultdict(list)
        for number in range(1, 901):
            alive = source.random() < 0.9
            days = source.randrange(300, 6000)
            people.append((number, source.randrange(20, 90), number % 2, "", "", "", number // 4,
                           days, 0 if alive else 1))
            followed[str(number)] = (days, alive)
            for _ in range(4):
                values.append((number, source.randrange(-2000, days), "sbp", source.randrange(90, 190)))
            if source.random() < 0.5:
                outcomes[str(number)].append(source.randrange(-1000, days + 1))
                events.append((number, outcomes[str(number)][0], "htn"))
        self.put_nafld(people, values, events)
        self.make("nafld")
        self.store("nafld")
        answers = self.check_cohort("hypertension_5y", "htn", followed, outcomes)
        self.assertTrue(min(answers[0], answers[1], answers["later"]) >= 10, answers)

    def test_real(self):
        folder = f"{SHARED}/nafld-olmsted"
        if not os.path.isdir(folder):
            self.skipTest(f"{folder} is absent")
        text = self.make("nafld", folder)
        self.assertIn("8642 subjects", text)
        left_out = {words: int(n) for words, n in re.findall(r"left out: (.*) (\d+)$", text, re.M)}
        rows = collections.Counter(row[2].rsplit("//", 1)[0] for row in self.rows())
        raw = {name: list(self.raw(folder, name)) for name in NAFLD}
        # The README's counts, of which repeats on a day, and what is left out, are no rows.
        self.assertEqual([len(raw[name]) for name in ("nafld1", "nafld2", "nafld3")],
                         [8642, 198857, 17190])
        events = {(r["id"], r["days"], r["event"]) for r in raw["nafld3"] if r["days"] != ""}
        self.assertEqual(rows["EVENT"], len(events))
        self.assertEqual(left_out["event without a day"], 9)
        tests = {(r["id"], r["days"], r["test"]) for r in raw["nafld2"]}
        self.assertEqual(sum(n for code, n in rows.items() if code.startswith("FINDING//")) -
                         rows["FINDING//bmi"], len(tests) - sum(left_out.values()) + 9)
        self.assertEqual(rows["FINDING//bmi"], sum(r["bmi"] != "" for r in raw["nafld1"]))
        self.assertEqual((rows["ENTRY"], rows["FOLLOW_UP"], rows["MEDS_DEATH"]), (8642, 7966, 676))
        summary = self.store("nafld")
        self.assertEqual(self.figure(summary, "rows read"), sum(rows.values()))
        self.assertEqual(self.figure(summary, "diagnosis"), 8642 + rows["EVENT"] + sum(
            n for code, n in rows.items() if code.startswith("FINDING//")))
        followed = {r["id"]: (int(r["futime"]), r["status"] == "0") for r in raw["nafld1"]}
        for task, event in (("hypertension_5y", "htn"), ("diabetes_5y", "diabetes")):
            outcomes = collections.defaultdict(list)
            for r in raw["nafld3"]:
                if r["event"] == event:
                    outcomes[r["id"]].append(int(r["days"]))
            answers = self.check_cohort(task, event, followed, outcomes)
            self.assertTrue(answers[1] >= 50 and answers[0] >= 500, answers)

    def raw(self, folder, name):
        with gzip.open(f"{folder}/{name}.csv.gz", "rt", encoding="utf-8") as file:
            yield from csv.DictReader(file)


class Uci(Recipe):
    def test_rows(self):
        self.put("diabetic_data", UCI_COLUMNS, [
            encounter(30, 5, ("8", "250.4", "V45"), gender="Male", insulin="Up",
                      metformin="Steady", discharge_disposition_id="11", num_medications="13",
                      A1Cresult=">8", medical_specialty="Cardiology"),
            encounter(20, 5, ("428", "428", "?"), admission_type_id="1", number_inpatient="7",
                      discharge_disposition_id="11"),
            encounter(10, 3, ("E909", "?", "?"), age="[0-10)", gender="Unknown/Invalid")])
        self.assertIn("neither Female nor Male", self.make("uci"))
        days = [f"{days_before(uci.CLOSED, n)} 00:00:00" for n in (181, 91, 0)]
        self.assertEqual([row for row in self.rows() if row[0] == "5"][2:], [
            ("5", days[0], "RECORD//START", ""),
            ("5", days[1], "DIAGNOSIS//ICD//9//428", ""), ("5", days[1], "FINDING//admission//1", ""),
            ("5", days[1], "FINDING//discharge//11", ""),
            ("5", days[1], "FINDING//inpatient//>=5", "7"), ("5", days[1], "HOSPITAL_ADMISSION", ""),
            ("5", days[2], "DIAGNOSIS//ICD//9//008", ""), ("5", days[2], "DIAGNOSIS//ICD//9//250.4", ""),
            ("5", days[2], "DIAGNOSIS//ICD//9//V45", ""), ("5", days[2], "FINDING//a1c//>8", ""),
            ("5", days[2], "FINDING//discharge//11", ""), ("5", days[2], "FINDING//drugs//12-16", "13"),
            ("5", days[2], "FINDING//specialty//Cardiology", ""),
            ("5", days[2], "HOSPITAL_ADMISSION", ""), ("5", days[2], "MEDICATION//insulin//up", ""),
            ("5", days[2], "MEDICATION//metformin//steady", ""), ("5", days[2], "MEDS_DEATH", "")])
        # Sex and birth are those of the first encounter.
        self.assertEqual([row[1:3] for row in self.rows() if row[0] == "5"][:2], [
            ("", "GENDER//F"), (f"{days_before(uci.CLOSED, 91 + round(65 * 365.25))} 00:00:00",
                                "MEDS_BIRTH")])
        summary = self.store("uci")
        self.assertEqual([self.figure(summary, n) for n in ("encounter", "medication", "procedure",
                                                            "death", "icd9cm")], [3, 2, 2, 1, 5])

    def check_cohort(self, task, prefix, records):
        """`records` by patient: for each encounter its diagnoses, as the file writes them."""
        answers = collections.Counter()
        for patient, index, label in self.asked("uci", task):
            back, rest = divmod((uci.CLOSED - index).days, uci.SPACING)
            record = records[patient]
            at = len(record) - 1 - back
            self.assertEqual(rest, 0)
            self.assertTrue(0 <= at < len(record) - 1, (at, len(record)))
            self.assertFalse([d for past in record[:at + 1] for d in past if d.startswith(prefix)])
            self.assertEqual(label, any(d.startswith(prefix) for d in record[at + 1]))
            answers[label] += 1
            answers["first of several"] += at == 0 and len(record) > 2
        return answers

    def test_cohort(self):
        source = random.Random(2)
        rows, records = [], collections.defaultdict(list)
        for number in range(3000):
            patient = str(1 + number % 900)
            codes = [source.choice(("428.0", "250.4", "401", "585", "486")) for _ in range(3)]
            records[patient].append(codes)
            rows.append(encounter(number, patient, codes))
        source.shuffle(rows)  # the file has them in no order of time
        self.put("diabetic_data", UCI_COLUMNS, rows)
        self.make("uci")
        self.assertEqual(self.figure(self.store("uci"), "encounter"), 3000)
        answers = self.check_cohort("heart_failure_next", "428", records)
        self.assertTrue(min(answers[0], answers[1], answers["first of several"]) >= 10, answers)

    def test_from_the_files_to_the_table(self):
        source = random.Random(3)
        rows, number = [], 0
        for patient in range(1, 901):
            for at in range(3):
                number += 1
                codes = [source.choice(("401", "250.4", "486")), "?", "?"]
                if at == 2 and source.random() < 0.4:
                    codes[1:] = ["428.0", "585"]
                rows.append(encounter(number, patient, codes))
        self.put("diabetic_data", UCI_COLUMNS, rows)
        with open(self.at("flags"), "w", encoding="ascii") as file:
            file.write('pretrain="--steps 2 --evaluations 1 --tuning-tokens 1500"\nbaseline="--grid small"\n'
                       'finetune="--steps 2 --evaluations 1 --tuning-tokens 1500"\n')
        command = [f"{RECIPES}/run", "--recipe", "uci", "--data", self.folder, "--train", PROGRAM,
                   "--out", self.at("out"), "--flags", self.at("flags")]
        texts = []
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, timeout=600,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-4000:])
            texts.append(done.stdout.split("== uci: table")[1])
        self.assertEqual(texts[0], texts[1])
        figure = r"0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)"
        for task in ("heart_failure_next", "kidney_disease_next"):
            table = texts[0].split(f"\n{task}, held_out: ")[1].split("\n\n")[0]
            self.assertRegex(table, r"^\d+ patients, \d+ with the outcome\n")
            for row in ("xgboost", "logistic", "2.2m from scratch", r"2.2m pretrained +\*", "age and sex"):
                self.assertRegex(table, rf"  {row} +{figure} +{figure}")
            for row in ("minus xgboost", "minus logistic", "minus 2.2m from scratch"):
                self.assertRegex(table, rf"  \* {row} +[+-]0\.\d+ \([+-]0\.\d+ to [+-]0\.\d+\)")
            self.assertRegex(table, rf"observed / expected \d.*calibration slope -?\d")
        self.assertIn("not a diagnosis", texts[0])

    def test_nothing_that_is_known_later_is_written(self):
        self.put("diabetic_data", UCI_COLUMNS, [encounter(1, 1, readmitted="<30")])
        self.make("uci")
        one = self.rows()
        self.put("diabetic_data", UCI_COLUMNS, [encounter(1, 1, readmitted="NO")])
        self.make("uci")
        self.assertEqual(self.rows(), one)

    def test_real(self):
        folder = f"{SHARED}/uci-diabetes130"
        if not os.path.isdir(folder):
            self.skipTest(f"{folder} is absent")
        self.assertIn("35833 subjects", self.make("uci", folder))
        found = collections.Counter(row[2].split("//")[0] for row in self.rows())
        with gzip.open(f"{folder}/diabetic_data.csv.gz", "rt", encoding="utf-8") as file:
            raw = sorted(csv.DictReader(file), key=lambda row: int(row["encounter_id"]))
        records = collections.defaultdict(list)
        for row in raw:
            records[row["patient_nbr"]].append([row[c] for c in uci.DIAGNOSES if row[c] != "?"])
        # The README's counts; a diagnosis that an encounter has twice is one row.
        self.assertEqual((len(raw), len(records), sum(len(r) > 1 for r in records.values())),
                         (51028, 35833, 8407))
        self.assertEqual(sum(len(d) for r in records.values() for d in r), 152209)
        self.assertEqual((found["HOSPITAL_ADMISSION"], found["MEDICATION"], found["DIAGNOSIS"]),
                         (51028, 60205, sum(len(set(d)) for r in records.values() for d in r)))
        summary = self.store("uci")
        self.assertEqual((self.figure(summary, "encounter"), self.figure(summary, "medication"),
                          self.figure(summary, "icd9cm")),
                         (51028, 60205, found["DIAGNOSIS"]))
        for task, prefix in (("heart_failure_next", "428"), ("kidney_disease_next", "585")):
            answers = self.check_cohort(task, prefix, records)
            self.assertTrue(answers[1] >= 50 and answers[0] >= 1000 and
                            answers["first of several"] >= 50, answers)


if __name__ == "__main__":
    if not os.path.exists(PROGRAM):
        sys.exit(f"{PROGRAM} is not built")
    unittest.main()
