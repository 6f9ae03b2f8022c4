#!/usr/bin/python3
"""What a study writes, a daemon serves: each task by the model chosen for it, with the reason. The
study's scores are made up; the models are real ones."""
import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import BUILD, Daemon, fixture

REZEPT = f"{BUILD}/client/rezept"
WRITE = f"{BUILD}/tests/api/write-study-report"
TASKS = ["amlodipine", "ckd"]
SIZES = ["2.2m", "11m", "32m"]
# What each size gets wrong: ckd gains up to the largest, amlodipine loses by growing.
NOISE = {"ckd": {"2.2m": 3.0, "11m": 1.5, "32m": 0.0}, "amlodipine": {"2.2m": 0.0, "11m": 2.0, "32m": 2.0}}


def study(folder):
    for part in ("cells", "scores"):
        os.makedirs(f"{folder}/{part}")
    with open(f"{folder}/study.json", "w", encoding="utf-8") as file:
        json.dump({"format_version": 1, "code_version": "0.1.0", "db": "t.db", "data_sha256": "00",
                   "tasks": [{"name": t, "kind": "disease", "title_en": t, "title_ja": t, "prevalence": 0.2}
                             for t in TASKS],
                   "sizes": SIZES, "labels": [0], "seeds": 2, "engines": [], "margin": 0.05,
                   "prefer": "accuracy", "pretrained": {}, "truth": False, "command": "rezept-train study",
                   "started_at": "2026-01-01T00:00:00Z"}, file)
    for size in SIZES:
        for task in TASKS:
            for seed in (1, 2):
                name = f"{task}-{size}-pretrained-all-{seed}"
                for split in ("tuning", "held_out"):
                    people = random.Random(f"{task} {split}")
                    noise = random.Random(f"{name} {split}")
                    with open(f"{folder}/scores/{name}-{split}.csv", "w", encoding="utf-8") as file:
                        file.write("task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n")
                        for key in range(1, 601):
                            risk = people.random()
                            label = int(people.random() < risk * risk * 0.6)
                            seen = 0.999 * risk / (1 + NOISE[task][size] * noise.random())
                            file.write(f"{task},{key},2020-02-03,{split},{label},0,{seen:.9f},0.2,\n")
                with open(f"{folder}/cells/{name}.json", "w", encoding="utf-8") as file:
                    json.dump({"cell": name, "kind": "finetune", "size": size, "init": "pretrained",
                               "engine": None, "tasks": [task], "labels": 0, "seed": seed,
                               "parameters": {"2.2m": 2191000, "11m": 11361000, "32m": 31847000}[size],
                               "seconds": 9.0, "cpu_seconds": 17.0, "peak_bytes": 10 ** 8, "tokens": None,
                               "steps": None, "tuning_loss": None, "model": f"models/{name}",
                               "commands": []}, file)


class StudyRouting(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="study-routing-")
        study(f"{self.folder}/study")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def test_each_task_is_served_by_the_model_chosen_for_it(self):
        subprocess.run([WRITE, f"{self.folder}/study", "accuracy"], check=True)
        for name in ("report.html", "report.json", "routing.json"):
            self.assertGreater(os.path.getsize(f"{self.folder}/study/{name}"), 500)
        with open(f"{self.folder}/study/routing.json", encoding="utf-8") as file:
            routing = json.load(file)["tasks"]
        self.assertEqual({task: routing[task]["size"] for task in TASKS}, {"ckd": "32m", "amlodipine": "2.2m"})
        models = f"{self.folder}/models"
        # A model that is first by name and has both tasks, and those that the study chose.
        for name in ["a-first", *(routing[task]["model"] for task in TASKS)]:
            shutil.copytree(f"{fixture()}/models/risks", f"{models}/{name}")
        shutil.copy(f"{self.folder}/study/routing.json", models)
        d = Daemon(folder=self.folder, models=models, wait="/readyz")
        try:
            tasks = {t["name"]: t for t in d.get("/v1/tasks").json["tasks"]}
            for task in TASKS:
                self.assertEqual((tasks[task]["model"], tasks[task]["why"]),
                                 (routing[task]["model"], routing[task]["why"]))
            self.assertRegex(tasks["ckd"]["why"], r"^32m has the highest average precision of 3 sizes on "
                                                  r"tuning patients, 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)$")
            self.assertIn("93 % fewer parameters than 32m", tasks["amlodipine"]["why"])
            out = subprocess.run([REZEPT, "tasks", "--url", f"http://127.0.0.1:{d.port}"], check=True,
                                 capture_output=True, text=True).stdout
            for task in TASKS:
                row, = [line for line in out.splitlines() if line.startswith(task)]
                self.assertIn(routing[task]["model"], row)
                self.assertTrue(row.endswith(routing[task]["why"]), row)
            # A chosen model that does not answer is told, not hidden.
            self.assertEqual(d.post(f"/v1/models/{routing['ckd']['model']}:unload").status, 200)
            ckd = next(t for t in d.get("/v1/tasks").json["tasks"] if t["name"] == "ckd")
            self.assertEqual((ckd["model"], ckd["why"]), (
                "a-first", f"routing.json names {routing['ckd']['model']}, which does not answer now; this is "
                           "the first by name that does"))
        finally:
            self.assertEqual(d.stop(), 0)

    def test_seeds_of_an_earlier_command_are_no_fits_of_this_grid(self):
        path = f"{self.folder}/study/study.json"
        with open(path, encoding="utf-8") as file:
            design = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**design, "seeds": 1}, file)
        subprocess.run([WRITE, f"{self.folder}/study", "accuracy"], check=True)
        with open(f"{self.folder}/study/report.json", encoding="utf-8") as file:
            self.assertEqual(json.load(file)["progress"], {"cells": 12, "fits": 6, "fits_of_the_grid": 18})

    def test_a_study_that_does_not_fit_together_is_refused(self):
        with open(f"{self.folder}/study/scores/ckd-11m-pretrained-all-2-tuning.csv", "a", encoding="utf-8") as file:
            file.write("ckd,999,2020-02-03,tuning,0,0,0.1,0.2,\n")
        done = subprocess.run([WRITE, f"{self.folder}/study", "cost"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 5)
        self.assertIn("cell ckd-11m-pretrained-all-2: tuning, task ckd: 601 rows, but cell "
                      "ckd-11m-pretrained-all-1 has 600", done.stderr)
        self.assertFalse(os.path.exists(f"{self.folder}/study/report.json"))


if __name__ == "__main__":
    daemon.main()
