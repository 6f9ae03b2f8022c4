#!/usr/bin/python3
"""rezept-train study: the plan, cells and what they leave, interruption, and what is refused."""
import json
import os
import signal
import sys
import time
import unittest

from training import Trained, attempt, digest, history, read, train

FLAGS = ("--pretrain-flags", "--steps 3 --evaluations 1 --tuning-tokens 1500 --batch-tokens 1000",
         "--finetune-flags", "--steps 2 --evaluations 1 --tuning-tokens 1500",
         "--few-flags", "--steps 2 --evaluations 1",
         "--onset-flags", "--steps 2 --evaluations 1 --tuning-tokens 1500", "--baseline-flags", "--grid small")


class Study(Trained):
    def study(self, out, *more, **how):
        how.setdefault("timeout", 250)
        return train("study", "--db", self.db, "--out", self.at(out), "--tasks", self.tasks,
                     "--sizes", "2.2m", "--seeds", "1", *FLAGS, *more, **how)

    def cells(self, out):
        return sorted(os.listdir(self.at(f"{out}/cells")))

    def test_a_plan_is_printed_with_time_and_memory_and_nothing_runs(self):
        text = self.study("plan", "--labels", "20,all", "--dry-run")
        names = [line.split()[0] for line in text.splitlines()[1:] if "GB" in line]
        self.assertEqual(names[0], "pretrain-2.2m")
        self.assertEqual(len(names), 1 + 2 * 2 * 2 + 2 * 2 + 2 + 1)
        self.assertIn("xgboost-ckd-20-s1", names)
        self.assertIn("2.2m-scratch-shared-all-s1", names)
        self.assertIn("2.2m-onset-shared-all-s1", names)
        self.assertIn(f"{len(names)} cells, 0 done", text)
        self.assertEqual(self.cells("plan"), [])

    def test_tasks_of_another_horizon_are_not_asked_of_all_onsets(self):
        os.mkdir(self.at("tasks"))
        task = {**read(self.tasks, "ckd.json"), "horizon_days": 180}
        with open(self.at("tasks/ckd.json"), "w", encoding="utf-8") as file:
            json.dump(task, file)
        text = train("study", "--db", self.db, "--out", self.at("half"), "--tasks", self.at("tasks"),
                     "--sizes", "2.2m", "--seeds", "1", "--labels", "all", *FLAGS)
        self.assertIn("5 cells, 5 done", text)
        self.assertNotIn("onset", text)
        self.assertFalse(read(self.at("half/study.json"))["onsets"])
        self.assertEqual(read(self.at("half/study.json"))["begin"], "pretrained")
        self.assertIn("take --begin pretrained",
                      train("study", "--db", self.db, "--out", self.at("half"), "--tasks",
                            self.at("tasks"), "--begin", "onset", code=2))
        self.assertEqual(read(self.at("half/report.json"))["progress"], {
            "cells": 5, "fits": 4, "fits_of_the_grid": 4})

    def test_a_study_goes_on_where_it_was_and_repeats_nothing(self):
        flags = ("--labels", "20,all", "--task", "ckd", "--engines", "logistic")
        command = ["study", "--db", self.db, "--out", self.at("one"), "--tasks", self.tasks,
                   "--sizes", "2.2m", "--seeds", "1", *FLAGS, *flags]
        code, error = self.interrupted(command, signal.SIGINT,
                                       lambda: os.path.exists(self.at("one/cells/pretrain-2.2m.json")))
        self.assertEqual(code, 130, error)
        self.assertIn("the same command goes on", error)
        first = {name: os.stat(self.at(f"one/cells/{name}")).st_mtime_ns
                 for name in self.cells("one")}
        text = self.study("one", *flags)
        names = self.cells("one")
        self.assertEqual(names, sorted(f"{n}.json" for n in (
            "pretrain-2.2m", "logistic-ckd-20-s1", "logistic-ckd-all-s1", "2.2m-pretrained-ckd-20-s1",
            "2.2m-scratch-ckd-20-s1", "2.2m-pretrained-shared-all-s1", "2.2m-scratch-shared-all-s1",
            "2.2m-onset-shared-all-s1")))
        for name, when in first.items():
            self.assertEqual(os.stat(self.at(f"one/cells/{name}")).st_mtime_ns, when)
        self.assertIn("8 cells, 8 done", text)
        cell = read(self.at("one/cells/2.2m-pretrained-shared-all-s1.json"))
        self.assertEqual((cell["kind"], cell["size"], cell["init"], cell["labels"], cell["seed"],
                          cell["tasks"]), ("finetune", "2.2m", "pretrained", 0, 1, ["ckd"]))
        self.assertTrue(cell["cpu_seconds"] > 0 and cell["peak_bytes"] > 1e7 and
                        cell["parameters"] > 1e6 and cell["tokens"] > 0)
        self.assertEqual(len(cell["commands"]), 3)
        # Served is what the first seed learnt from all labels; other models are gone, but the one
        # of all onsets, with which it began. Few labels begin with the pretrained one.
        onset, shared = (self.at(f"one/models/2.2m-{init}-shared-all-s1")
                         for init in ("onset", "pretrained"))
        self.assertEqual(sorted(os.listdir(self.at("one/models"))),
                         [os.path.basename(onset), os.path.basename(shared), "routing.json"])
        self.assertEqual(read(shared, "config.json")["training"]["parent_sha256"],
                         digest(onset, "model.safetensors"))
        few = read(self.at("one/cells/2.2m-pretrained-ckd-20-s1.json"))["commands"][0]
        self.assertIn(f" --model {self.at('one/pretrained/2.2m')} ", few)
        # Figures are made of several days of a patient.
        self.assertTrue(all(" --draws 6 " in line for line in cell["commands"][1:]))
        panel = read(self.at("one/report.json"))["tasks"][0]["tuning"]
        self.assertGreater(panel["rows"], 2 * panel["patients"])
        self.assertEqual(read(self.at("one/models/routing.json"))["tasks"]["ckd"]["model"],
                         "2.2m-pretrained-shared-all-s1")
        self.assertIn("complete, with held-out patients", text)
        for name in ("report.html", "report.json"):
            self.assertTrue(os.path.getsize(self.at(f"one/{name}")) > 1000)
        rows = {}
        for name in names:
            for split in ("tuning", "held_out"):
                path = self.at(f"one/scores/{name[:-5]}-{split}.csv")
                if name.startswith("pretrain-"):
                    self.assertFalse(os.path.exists(path))
                    continue
                with open(path, encoding="ascii") as file:
                    lines = [line.split(",") for line in file.read().splitlines()]
                self.assertEqual({line[3] for line in lines[1:]}, {split})
                rows.setdefault(split, set()).add(tuple(tuple(line[:5]) for line in lines))
        # The same patients, days and labels in every cell.
        self.assertEqual({split: len(kinds) for split, kinds in rows.items()},
                         {"tuning": 1, "held_out": 1})
        self.assertEqual(len(read(self.at("one/cells/pretrain-2.2m.json"))["loss_by_tokens"]), 2)
        # Who took part, and for whom the model that answers holds.
        cohort = read(self.at("one/cohorts.json"))["tasks"][0]
        report = read(self.at("one/report.json"))
        self.assertEqual((cohort["name"], report["cohorts"]["tasks"][0]), ("ckd", cohort))
        self.assertEqual(sum(s["patients"] for s in cohort["splits"].values()),
                         cohort["attrition"][-1]["patients"])
        for split in ("tuning", "held_out"):  # whom the first draw passes over a later one may take
            self.assertGreaterEqual(report["tasks"][0][split]["patients"],
                                    cohort["splits"][split]["patients"])
        self.assertNotIn("positives", cohort["splits"]["held_out"])
        check = report["calibration"][0]
        for by in ("sex", "age", "hospital"):
            self.assertEqual(sum(g["n"] for g in check["subgroups"] if g["by"] == by),
                             check["metrics"]["n"])
        self.assertGreater(len(check["decision_curve"]["points"]), 10)
        with open(self.at("one/report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("with enough history", page)
        self.assertIn("For whom it holds", page)

    def test_what_the_data_do_not_allow_is_skipped_with_the_reason(self):
        text = self.study("many", "--labels", "5000", "--task", "ckd", "--engines", "logistic",
                          "--pretrained", self.pretrained())
        self.assertIn("3 cells, 0 done, 3 not possible", text)
        for name in ("logistic-ckd-5000-s1", "2.2m-pretrained-ckd-5000-s1"):
            self.assertRegex(read(self.at(f"many/skipped/{name}.json"))["reason"],
                             "task ckd has [0-9]+ negatives to learn from, not [0-9]+")

    def pretrained(self):
        os.makedirs(self.at("ready"), exist_ok=True)
        if not os.path.lexists(self.at("ready/2.2m")):
            os.symlink(self.base, self.at("ready/2.2m"))
        return self.at("ready")

    def test_minutes_bound_a_run(self):
        begun = time.time()
        text = self.study("short", "--labels", "all", "--task", "ckd", "--minutes", "0.02",
                          "--pretrain-flags", "--steps 100000 --batch-tokens 1000")
        self.assertLess(time.time() - begun, 60)
        self.assertIn("0 done", text)
        self.assertIn("left about", text)

    def test_refusals(self):
        for flags, code, words in (
                (("--sizes", "3m"), 2, "2.2m, 4.7m, 11m, 32m and 101m exist, not 3m"),
                (("--labels", "100,some"), 2, "not some"), (("--labels", "1"), 2, "not 1"),
                (("--labels", "100,100"), 2, "twice"),
                (("--begin", "trees"), 2, "pretrained or onset"),
                (("--engines", "svm"), 2, "not svm"), (("--prefer", "speed"), 2, "accuracy or cost"),
                (("--task", "flu"), 4, "no task flu")):
            self.assertIn(words, self.study("no", *flags, code=code))
        self.study("mine", "--labels", "all", "--dry-run")
        other = self.store("other", [c for i in range(40) for c in history(f"p{i}")])
        error = train("study", "--db", other, "--out", self.at("mine"), "--tasks", self.tasks,
                      "--sizes", "2.2m", "--dry-run", code=5)
        self.assertIn("was begun with another data_sha256; take a new --out", error)
        error = self.study("mine", "--labels", "all", "--few-flags", "--epochs 2", "--dry-run", code=5)
        self.assertIn("another flags (few)", error)

    def test_a_cell_that_fails_is_named_with_what_its_program_said(self):
        done = attempt("study", "--db", self.db, "--out", self.at("bad"), "--tasks", self.tasks,
                       "--sizes", "2.2m", "--seeds", "1", "--labels", "all", "--engines", "none",
                       "--pretrain-flags", "--steps 3 --norm sideways")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cell pretrain-2.2m ended with 2: rezept-train: --norm sideways", done.stderr)
        self.assertEqual(self.cells("bad"), [])


if __name__ == "__main__":
    sys.exit(unittest.main())
