#!/usr/bin/python3
"""All onsets at once, from training to the table on the terminal: finetune --onset, the daemon's
task=onset:CODE and top=, cache and audit, evaluate --tasks, and what each of them refuses."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import unittest

import daemon
from daemon import Daemon, claim, fixture
from documented import Documented
from test_risks import history
from training import PROGRAM, Trained, digests, read, show, train

REZEPT = f"{daemon.BUILD}/client/rezept"
AS_OF = "2021-06-01"


def onset_model(folder, *more, code=0, steps=6, base="base", timeout=600):
    """An onset model of the fixture's record, trained for moments."""
    return train("finetune", "--onset", "--db", f"{fixture()}/train.db", "--model",
                 f"{fixture()}/models/{base}", "--out", folder, "--steps", steps, "--evaluations", "2",
                 "--tuning-tokens", "1500", "--seed", "1", *more, code=code, timeout=timeout)


def shared_model():
    """The one that tests only read, made once per build."""
    folder = f"{fixture()}/onset"
    done, program = f"{folder}/DONE", PROGRAM
    if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(program):
        shutil.rmtree(folder, ignore_errors=True)
        onset_model(folder)
    return folder


class Training(Trained):
    def test_a_model_of_onsets(self):
        folder = self.at("onset")
        text = onset_model(folder)
        self.assertIn("tuning split", text)
        config, table = read(folder, "config.json"), read(folder, "onset.json")
        self.assertEqual((config["format_version"], config["heads"], config["model"]["onset"]),
                         (2, [], True))
        codes = len(read(folder, "vocab.json")["codes"])
        self.assertEqual(len(table["codes"]), codes)
        self.assertEqual({len(row) for row in table["codes"]}, {len(table["columns"])})
        self.assertFalse(os.path.exists(f"{folder}/tasks.json"))
        self.assertFalse(os.path.exists(f"{folder}/resume"))
        self.assertEqual(table["metrics"]["onsets"], sum(row[-1] for row in table["codes"]))
        shown = show(folder)
        self.assertEqual((shown["done"], shown["onset"]["codes"]), ("verified", codes))
        with open(f"{folder}/card.md", encoding="utf-8") as file:
            card = file.read()
        for words in ("## Onsets", "| onset |", "not a diagnosis", "codes with at least"):
            self.assertIn(words, card)
        with open(f"{folder}/log.csv", encoding="utf-8") as file:
            self.assertIn(",loss_onset,", file.readline())
        self.assertIn("finished", onset_model(folder, "--resume"))
        self.assertIn("--force", onset_model(folder, code=5))
        # Onsets of a model that was made so: tasks over the same encoder leave the head behind.
        train("finetune", "--db", self.db, "--model", folder, "--tasks", self.tasks, "--out",
              self.at("again"), "--steps", "2", "--evaluations", "1", "--tuning-tokens", "1500")
        self.assertEqual(read(self.at("again"), "config.json")["format_version"], 1)

    def test_what_does_not_go_with_it(self):
        for flags in (["--labels", "20"], ["--separate"], ["--task", "ckd"], ["--cross-fit"],
                      ["--negatives", "3"], ["--method", "isotonic"], ["--prevalence", "0.1"]):
            self.assertIn(f"{flags[0]} does not go", onset_model(self.at("x"), *flags, code=2))
        self.assertFalse(os.path.exists(self.at("x")))
        small = self.store("small", (c for n in range(30) for c in history_of(n)))
        error = train("finetune", "--onset", "--db", small, "--model", self.base, "--out",
                      self.at("small"), "--steps", "2", code=3)
        self.assertIn("onsets are needed to calibrate on", error)
        self.assertIn("the onset head is calibrated by finetune --onset",
                      train("calibrate", "--db", self.db, "--model", shared_model(), code=3))

    def test_an_interrupted_run_comes_to_the_same_bytes(self):
        whole, broken = self.at("whole"), self.at("broken")
        onset_model(whole, steps=20)
        command = ["finetune", "--onset", "--db", self.db, "--model", self.base, "--out", broken,
                   "--steps", "20", "--evaluations", "2", "--tuning-tokens", "1500", "--seed", "1",
                   "--save-seconds", "0.01", "--resume"]
        code, error = self.interrupted(command, signal.SIGINT,
                                       lambda: os.path.exists(f"{broken}/resume/state.json"))
        self.assertEqual(code, 130, error)
        self.assertIn("--resume continues", error)
        self.assertFalse(os.path.exists(f"{broken}/DONE"))
        train(*command)
        a, b = digests(whole), digests(broken)
        self.assertEqual(a["model.safetensors"], b["model.safetensors"])
        self.assertEqual(a["onset.json"], b["onset.json"])

    def test_tasks_through_the_onset_head(self):
        model, out = shared_model(), self.at("report")
        call = ["evaluate", "--db", self.db, "--model", model, "--out", out, "--bootstraps", "50"]
        text = train(*call, "--tasks", self.tasks)
        report = read(out, "report.json")
        own = train("evaluate", "--db", self.db, "--model", self.risks, "--out", self.at("own"),
                    "--bootstraps", "50")
        self.assertIn("AUROC", own)
        for task, same in zip(report["tasks"], read(self.at("own"), "report.json")["tasks"]):
            # The same patients with the same labels as by the task's own head.
            for part in ("n", "positives"):
                self.assertEqual(task["model"][part], same["model"][part])
            self.assertEqual(task["onset"]["codes"], 1)
            self.assertEqual(task["onset"]["positives_without_these_codes"], 0)
            self.assertGreater(task["onset"]["tuning_positives"], 5)
            self.assertNotIn("onset", same)
            self.assertIn(f'{task["name"]:<16} through the onset head: any of 1 codes', text)
        self.assertIn("give --tasks DIR", train(*call, code=2))
        self.assertIn("no onset head", train("evaluate", "--db", self.db, "--model", self.risks,
                                             "--tasks", self.tasks, code=3))
        self.assertIn("no task none", train(*call, "--tasks", self.tasks, "--task", "none", code=4))
        self.change_task("ckd", outcome={"icd10": ["Q99"]})
        self.assertIn("task ckd: the vocabulary has none of its outcome codes",
                      train(*call, "--tasks", self.at("tasks"), "--task", "ckd", code=3))
        self.change_task("ckd", outcome={"icd10": ["N18999"]})
        self.assertIn("(1 that are coarser)",
                      train(*call, "--tasks", self.at("tasks"), "--task", "ckd", code=3))
        self.change_task("ckd", horizon_days=730)
        self.assertIn("horizon of 730",
                      train(*call, "--tasks", self.at("tasks"), "--task", "ckd", code=3))

    def change_task(self, name, **changes):
        os.makedirs(self.at("tasks"), exist_ok=True)
        task = {**read(self.tasks, f"{name}.json"), **changes}
        with open(self.at(f"tasks/{name}.json"), "w", encoding="utf-8") as file:
            json.dump(task, file)


def history_of(number):
    """A record of 13 months, too short for anyone to be asked about."""
    for month in range(13):
        day = f"{2020 + month // 12}-{month % 12 + 1:02d}-05"
        yield claim(month, f"q{number}", "H9", start=day, end=day, known=day,
                    diagnoses=[{"system": "icd10", "code": "I10", "date": day}])


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shared_model()
        cls.folder = tempfile.mkdtemp(prefix="rezeptd-")
        shutil.copytree(f"{fixture()}/models", f"{cls.folder}/models")
        shutil.copytree(shared_model(), f"{cls.folder}/models/onset")
        cls.d = Daemon(folder=cls.folder, wait="/readyz")
        cls.d.push([c for n in range(1, 9) for c in history(n)])

    @classmethod
    def tearDownClass(cls):
        code = cls.d.stop()
        shutil.rmtree(cls.folder, ignore_errors=True)
        if code != 0:
            raise AssertionError(f"exit code {code}")

    def risks(self, query, patient="p2", status=200):
        got = Documented.check("GET", "/v1/patients/{id}/risks",
                               self.d.get(f"/v1/patients/{patient}/risks?as_of={AS_OF}&{query}"))
        self.assertEqual(got.status, status, got.body)
        return got.json["risks"] if status == 200 else got.json

    def vocabulary(self):
        return [(system, code) for _, system, code, _ in
                read(self.folder, "models/onset/vocab.json")["codes"]]

    def recorded(self, patient):
        """First day of every code that is known by AS_OF."""
        seen = {}
        for one in history(int(patient[1:])):
            for event in one["diagnoses"] + one["medications"]:
                if one["known"] <= AS_OF:
                    seen.setdefault((event["system"], event["code"][:4 if event["system"] == "icd10"
                                                                     else 7]), event["date"])
        return seen

    def test_every_code_has_an_answer(self):
        answered = recorded = 0
        table = read(self.folder, "models/onset/onset.json")
        for patient in ("p1", "p2", "p3", "p4"):
            seen = self.recorded(patient)
            names = ",".join(f"onset:{system}:{code}" for system, code in self.vocabulary())
            rows = self.risks(f"task={names}", patient)
            self.assertEqual([r["task"] for r in rows], names.split(","))
            for row, (system, code), numbers in zip(rows, self.vocabulary(), table["codes"]):
                self.assertEqual(row["code"], {"system": system, "code": code})
                if (system, code) in seen:
                    self.assertEqual(row["reason"], "already_recorded")
                    self.assertEqual(row["recorded"]["date"], seen[system, code])
                    recorded += 1
                    continue
                low, high = row["interval"]
                self.assertTrue(0 < low < row["probability"] < high < 1, row)
                self.assertEqual(row["tuning"], {"n": numbers[-2], "positives": numbers[-1]})
                self.assertAlmostEqual(row["excess"],
                                       row["probability"] - row["average_age_sex"], 5)
                self.assertEqual(row["interval_kind"], "calibration_curve_95_percent_posterior")
                answered += 1
        self.assertGreater(answered, 4)
        self.assertGreater(recorded, 4)

    def test_codes_are_found_however_they_are_written(self):
        alone = self.risks("task=onset:N189")[0]
        self.assertEqual(alone["task"], "onset:icd10:N189")
        for text in ("onset:N18.9", "onset:n189", "onset:icd10:N18.9"):
            self.assertEqual(self.risks(f"task={text}")[0], alone)
        longer = self.risks("task=onset:N18.91")[0]
        self.assertEqual(longer["code"], {"system": "icd10", "code": "N189",
                                          "truncated_from": "N18.91"})
        self.assertEqual(longer["probability"], alone["probability"])
        drug = self.risks("task=onset:2171022F1029")[0]
        self.assertEqual((drug["kind"], drug["code"]["code"]), ("medication", "2171022"))
        self.assertEqual(len(self.risks("task=onset:N189,onset:N18.9")), 1)
        both = self.risks("task=ckd,onset:N189")
        self.assertEqual([r["task"] for r in both], ["ckd", "onset:icd10:N189"])
        self.assertEqual(both[1], alone)
        self.assertEqual(self.risks("task=onset:N189&model=onset")[0], alone)

    def test_the_largest_come_first(self):
        names = ",".join(f"onset:{system}:{code}" for system, code in self.vocabulary())
        most = []
        for patient in (f"p{n}" for n in (1, 2, 3, 4, 6, 7, 8)):
            rows = [r for r in self.risks(f"task={names}", patient) if r["probability"] is not None]
            rows.sort(key=lambda r: -r["excess"])
            wanted = [r["task"] for r in rows if r["excess"] > 0]
            got = self.risks("top=100", patient)
            self.assertEqual([r["task"] for r in got], wanted)
            self.assertEqual(self.risks("top=1", patient), got[:1])
            with_task = self.risks("top=1&task=ckd,onset:N189", patient)
            self.assertEqual([r["task"] for r in with_task],
                             ["ckd", "onset:icd10:N189", *wanted[:1]])
            most.append(len(wanted))
        self.assertGreater(sum(most), 2, most)
        dead = history(2)[:20]
        dead[-1]["death"] = dead[-1]["start"]
        got = self.d.post("/v1/predict?as_of=2024-01-01&top=5", {"claims": dead}).json["risks"]
        self.assertEqual([(r["task"], r["reason"]) for r in got], [("onset:*", "dead")])
        early = self.d.get("/v1/patients/p2/risks?as_of=2019-03-01&top=5&task=onset:N189").json
        self.assertEqual([(r["task"], r["reason"]) for r in early["risks"]],
                         [("onset:icd10:N189", "short_history"), ("onset:*", "short_history")])

    def test_stored_inline_and_batch_agree(self):
        query = f"as_of={AS_OF}&task=onset:N189&top=3"
        stored = self.d.get(f"/v1/patients/p2/risks?{query}").json["risks"]
        Documented.check("POST", "/v1/predict",
                         self.d.post(f"/v1/predict?{query}", {"claims": history(2)}))
        inline = self.d.post(f"/v1/predict?{query}", {"claims": history(2)}).json["risks"]
        self.assertEqual(stored, inline)
        lines = "\n".join(json.dumps({"id": n, "claims": history(n)}) for n in range(1, 60))
        got = Documented.check("POST", "/v1/predict:batch",
                               self.d.post(f"/v1/predict:batch?{query}", lines,
                                           "application/x-ndjson"))
        rows = [json.loads(line) for line in got.body.splitlines()]
        self.assertEqual(rows[1]["risks"], stored)
        self.assertEqual([r["id"] for r in rows], list(range(1, 60)))

    def test_they_are_explained(self):
        """Each with codes of its own; tasks beside them as ever, and kept for them alone."""
        named = self.risks("task=onset:N189&explain=3")[0]
        told = named["contributions"]
        self.assertTrue(1 <= len(told) <= 3)
        sizes = [abs(c["logit_change"]) for c in told]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        timeline = self.d.get(f"/v1/patients/p2/timeline?as_of={AS_OF}").json["events"]
        for c in told:
            same = [e for e in timeline if e["code"].startswith(c["code"])]
            self.assertGreaterEqual(len(same), c["events"])
        listed = 0
        for patient in (f"p{n}" for n in (1, 2, 3, 4, 6, 7, 8)):
            rows = self.risks("task=ckd&top=2&explain=2", patient)
            self.assertEqual(rows[0]["task"], "ckd")
            for risk in rows:
                self.assertEqual("contributions" in risk, risk["probability"] is not None)
            listed += len(rows) - 1
        self.assertGreater(listed, 1)
        self.assertEqual(self.risks("task=onset:N189&explain=3")[0], named)
        self.assertNotIn("contributions", self.risks("task=onset:N189")[0])

    def test_what_is_refused(self):
        unknown = self.risks("task=onset:N999", status=404)
        self.assertEqual(unknown["type"], "urn:rezept:problems:unknown_task")
        for words in ("model onset", "N999", "icd10 (", "yj ("):
            self.assertIn(words, unknown["detail"])
        self.assertEqual(unknown["codes"], ["onset:icd10:N189"])
        self.assertIn("atc A10BA02", self.risks("task=onset:atc:A10BA02", status=404)["detail"])
        for query, words in (("task=onset:icd10:1", "not ICD-10"), ("top=0", "1 to 100"),
                             ("top=101", "1 to 100"), ("top=x", "1 to 100"), ("top=-1", "1 to 100"),
                             ("task=onset:N189&explain=9", "0 to 8"),
                             (f"task=onset:{'9' * 90}", "at most 63")):
            self.assertIn(words, self.risks(query, status=400)["detail"])
        self.assertIn("answers no onsets", self.risks("task=onset:N189&model=risks",
                                                      status=404)["detail"])
        self.assertIn("answers no onset of", self.risks("task=onset:", status=404)["detail"])
        self.assertIn("no task", self.risks("task=ckd2,onset:N189", status=404)["detail"])
        got = self.d.get("/v1/risks?task=onset:N189")
        self.assertEqual(got.status, 400)
        self.assertIn("patient by patient", got.json["detail"])

    def test_lists_tell_of_it(self):
        tasks = Documented.check("GET", "/v1/tasks", self.d.get("/v1/tasks")).json
        self.assertEqual(tasks["onset"]["model"], "onset")
        self.assertEqual(sum(tasks["onset"]["systems"].values()), tasks["onset"]["codes"])
        self.assertEqual({t["name"] for t in tasks["tasks"]}, {"ckd", "amlodipine"})
        models = Documented.check("GET", "/v1/models", self.d.get("/v1/models")).json["models"]
        one = {m["id"]: m for m in models}["onset"]
        self.assertEqual((one["state"], one["onset"]["codes"], one["tasks"]),
                         ("ready", tasks["onset"]["codes"], []))
        self.assertNotIn("onset", {m["id"]: m for m in models}["risks"])

    def test_answers_are_kept_and_audited(self):
        def hits():
            text = self.d.get("/metrics").body.decode()
            return int(text.split('cache_requests_total{outcome="hit"} ')[1].split()[0])
        path = f"/v1/patients/p5/risks?as_of={AS_OF}&task=onset:N189&top=2"
        first = self.d.get(path).body
        before = hits()
        self.assertEqual(self.d.get(path).body, first)
        self.assertEqual(hits(), before + 1)
        self.assertNotEqual(self.d.get(path[:-1] + "3").body, first)
        self.assertEqual(hits(), before + 1)
        new = claim("onset", "p5", history(5)[0]["facility"], start="2021-05-01", end="2021-05-01",
                    known="2021-05-02",
                    diagnoses=[{"system": "icd10", "code": "N18.9", "date": "2021-05-01"}])
        new["patient"] = history(5)[0]["patient"]
        self.assertEqual(self.d.post("/v1/claims", new).status, 201)
        after = json.loads(self.d.get(path).body)["risks"][0]
        self.assertEqual(after["reason"], "already_recorded")
        self.assertEqual(after["recorded"]["code"], "N189")
        wanted = {r["task"]: r.get("probability") for r in json.loads(first)["risks"]}
        for _ in range(100):
            rows = [json.loads(text) for (text,) in sqlite3.connect(
                f"file:{self.folder}/t.db?mode=ro", uri=True).execute(
                    "SELECT details FROM audit WHERE action = 'predict'")]
            found = [r for r in rows if r["tasks"].keys() == wanted.keys()]
            if found:
                break
            threading.Event().wait(0.1)
        self.assertTrue(found, wanted)
        for task, said in found[0]["tasks"].items():
            if wanted[task] is not None:
                self.assertAlmostEqual(said["probability"], wanted[task], 5)
            self.assertEqual(said["calibration"],
                             digests(f"{self.folder}/models/onset")["onset.json"])

    def test_the_background_scores_tasks_alone(self):
        for _ in range(300):
            got = self.d.get("/v1/risks?task=ckd").json
            if got["unscored"] == 0 and got["stale"] == 0:
                break
            threading.Event().wait(0.1)
        store = sqlite3.connect(f"file:{self.folder}/t.db?mode=ro", uri=True)
        tasks = {name for (name,) in store.execute("SELECT DISTINCT task FROM scores")}
        self.assertEqual(tasks, {"ckd", "amlodipine"})

    def rezept(self, *arguments, code=0):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REZEPT_")}
        done = subprocess.run([REZEPT, *arguments], capture_output=True, text=True, timeout=60,
                              env={**clean, "REZEPT_URL": f"http://127.0.0.1:{self.d.port}"},
                              check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_the_table_on_the_terminal(self):
        text = self.rezept("risk", "--as-of", AS_OF, "--task", "ckd,onset:N18.91", "--top", "2", "p3")
        lines = text.splitlines()
        self.assertIn("scored alike", lines[0])
        heading = next(line for line in lines if line.startswith("first record"))
        for words in ("system", "95 % band", "excess", "had it"):
            self.assertIn(words, heading)
        rows = lines[lines.index(heading) + 1:]
        self.assertTrue(any(row.startswith("N189 (of N18.91)") for row in rows), text)
        self.assertIn("not a diagnosis", text)
        only = self.rezept("risk", "--as-of", AS_OF, "--top", "2", "p3")
        self.assertNotIn("scored alike", only)
        self.assertIn("short history", self.rezept("risk", "--as-of", "2019-03-01", "--top", "5", "p3"))
        self.assertIn("answers no onset of", self.rezept("risk", "--task", "onset:Q99", "p3", code=4))
        self.assertIn("onset:CODE", self.rezept("tasks"))
        self.assertIn("onsets", self.rezept("models"))
        self.rezept("risk", "--top", "0", "p3", code=2)


class Exchange(unittest.TestCase):
    """Models come and go while onsets are asked for."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezeptd-")
        os.makedirs(f"{self.folder}/models")
        shutil.copytree(shared_model(), f"{self.folder}/models/onset")

    def tearDown(self):
        self.assertEqual(self.d.stop(), 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, query="task=onset:N189"):
        return self.d.post(f"/v1/predict?as_of={AS_OF}&{query}", {"claims": history(2)})

    def test_one_onset_model_is_enough_to_be_ready(self):
        self.d = Daemon("--no-rescore", folder=self.folder, wait="/readyz")
        self.assertEqual(self.ask().status, 200)
        self.assertEqual(self.d.get("/v1/tasks").json["tasks"], [])
        stop, seen = threading.Event(), set()

        def load():
            while not stop.is_set():
                seen.add(self.ask("task=onset:N189&top=3").status)

        worker = threading.Thread(target=load)
        worker.start()
        for _ in range(4):
            self.assertEqual(self.d.post("/v1/models/onset:load").status, 200)
        stop.set()
        worker.join()
        self.assertEqual(seen, {200})
        self.assertEqual(self.d.post("/v1/models/onset:unload").status, 200)
        gone = self.ask()
        self.assertEqual(gone.status, 404)
        self.assertIn("finetune --onset", gone.json["detail"])
        self.assertNotIn("onset", self.d.get("/v1/tasks").json)

    def test_a_damaged_table_is_not_served(self):
        with open(f"{self.folder}/models/onset/onset.json", "a", encoding="utf-8") as file:
            file.write(" ")
        self.d = Daemon("--no-rescore", folder=self.folder)
        for _ in range(300):
            state = self.d.get("/v1/models").json["models"][0]
            if state["state"] not in ("loading", "unloaded"):
                break
            threading.Event().wait(0.1)
        self.assertEqual(state["state"], "failed")
        self.assertIn("onset.json", state["reason"])

    def test_routing_chooses_the_model(self):
        shutil.copytree(f"{self.folder}/models/onset", f"{self.folder}/models/zweite")
        with open(f"{self.folder}/models/routing.json", "w", encoding="utf-8") as file:
            json.dump({"tasks": {"onset:*": {"model": "zweite"}}}, file)
        self.d = Daemon("--no-rescore", folder=self.folder, wait="/readyz")
        for _ in range(300):
            if all(m["state"] == "ready" for m in self.d.get("/v1/models").json["models"]):
                break
            threading.Event().wait(0.1)
        self.assertEqual(self.ask().json["risks"][0]["model"]["id"], "zweite")
        self.assertEqual(self.d.get("/v1/tasks").json["tasks"], [])


if __name__ == "__main__":
    daemon.main()
