#!/usr/bin/python3
"""--hold-out-facility and --facility: whose patients each command looks at, and what models say of it."""
import csv
import json
import os
import sqlite3
import sys
import unittest

from training import Trained, digests, hospitals, read, show, train

PRETRAIN = ("--steps", "2", "--evaluations", "1", "--tuning-tokens", "1000")


class Facilities(Trained):
    """Patients go to H0, H1 and H2 in turn."""

    def setUp(self):
        super().setUp()
        self.db = self.store("hospitals", hospitals())

    def pretrain(self, out, *more, db=None, **how):
        return train("pretrain", "--db", db or self.db, "--out", self.at(out), *PRETRAIN, *more, **how)

    def bytes(self, name):
        with open(self.at(name), "rb") as file:
            return file.read()

    def facility_of(self, db=None):
        """Patient key -> facility."""
        with sqlite3.connect(f"file:{db or self.db}?mode=ro", uri=True) as base:
            return dict(base.execute("SELECT p.key, f.name FROM patients p JOIN facilities f "
                                     "ON f.key = p.namespace"))

    def scored(self, path):
        """Facilities of the patients of a file of scores."""
        where = self.facility_of()
        with open(path, encoding="ascii") as file:
            return {where[int(row["patient_key"])] for row in csv.DictReader(file)}

    def test_a_model_without_a_hospital_is_as_if_that_had_never_been(self):
        """The same weights and vocabulary as from a store that lacks it, a code of its own included."""
        without = self.store("without", [one for one in hospitals() if one["facility"] != "H1"])
        self.pretrain("a", "--hold-out-facility", "H1")
        self.pretrain("b", db=without)
        self.pretrain("c")
        self.pretrain("d", "--facility", "H0,H2")
        codes = {name: json.dumps(read(self.at(name), "vocab.json")) for name in "abcd"}
        self.assertIn("G35", codes["c"])
        self.assertNotIn("G35", codes["a"])
        files = {name: digests(self.at(name)) for name in "abcd"}
        for name in "bd":
            self.assertEqual(files["a"]["vocab.json"], files[name]["vocab.json"])
        self.assertNotEqual(files["a"]["vocab.json"], files["c"]["vocab.json"])
        sums = {name: show(self.at(name))["tensors"] for name in "abcd"}
        self.assertEqual(sums["a"], sums["b"])
        weights = {name: self.bytes(f"{name}/model.safetensors")[-200000:] for name in "abcd"}
        self.assertEqual(weights["a"], weights["b"])
        self.assertEqual(weights["a"], weights["d"])
        self.assertNotEqual(weights["a"], weights["c"])
        self.assertEqual(show(self.at("a"))["origin"]["facilities"], {"all_but": ["H1"]})
        self.assertEqual(show(self.at("d"))["origin"]["facilities"], {"only": ["H0", "H2"]})
        self.assertIsNone(show(self.at("c"))["origin"]["facilities"])
        card = self.bytes("a/card.md").decode()
        self.assertIn("learnt from the patients of these facilities: all but H1", card)
        self.assertIn("- hold-out-facility: H1", card)
        # The vocabulary alone, likewise.
        train("vocab", "--db", self.db, "--out", self.at("v.json"), "--hold-out-facility", "H1")
        self.assertEqual(read(self.at("v.json")), read(self.at("a/vocab.json")))

    def test_from_pretraining_elsewhere_to_risks_here(self):
        self.pretrain("base", "--hold-out-facility", "H1")
        train("finetune", "--db", self.db, "--model", self.at("base"), "--tasks", self.tasks, "--out",
              self.at("far"), *PRETRAIN, "--hold-out-facility", "H1")
        self.assertEqual(show(self.at("far"))["origin"]["facilities"], {"all_but": ["H1"]})
        out = train("evaluate", "--db", self.db, "--model", self.at("far"), "--facility", "H1",
                    "--bootstraps", "0", "--out", self.at("report"))
        self.assertIn("patients of H1 facilities; none of them in training", out)
        self.assertEqual(self.scored(self.at("report/scores.csv")), {"H1"})
        report = read(self.at("report/report.json"))
        self.assertEqual((report["facilities"], report["facilities_in_training"],
                          report["model"]["learnt_from"]),
                         ({"only": ["H1"]}, False, {"all_but": ["H1"]}))
        html = self.bytes("report/report.html").decode()
        self.assertIn("none of them in training", html)
        out = train("evaluate", "--db", self.db, "--model", self.at("far"), "--hold-out-facility", "H1",
                    "--bootstraps", "0", "--scores", self.at("others.csv"))
        self.assertIn("in training: all but H1", out)
        self.assertEqual(self.scored(self.at("others.csv")), {"H0", "H2"})

        # Calibrated on the patients there, beside the model it came from.
        before = digests(self.at("far"))
        train("calibrate", "--db", self.db, "--model", self.at("far"), "--facility", "H1", "--out",
              self.at("near"))
        self.assertEqual(digests(self.at("far")), before)
        after = digests(self.at("near"))
        self.assertEqual({n for n in before if before[n] != after[n]}, {"DONE", "card.md", "tasks.json"})
        tuning = {name: show(self.at(name))["tasks"][0]["calibration"] for name in ("far", "near")}
        self.assertLess(tuning["near"]["tuning_n"], tuning["far"]["tuning_n"])
        self.assertIn("- facility: H1", self.bytes("near/card.md").decode())
        error = train("calibrate", "--db", self.db, "--model", self.at("far"), "--facility", "H1",
                      "--out", self.at("near"), code=5)
        self.assertIn("overwrite it with --force", error)
        train("calibrate", "--db", self.db, "--model", self.at("far"), "--facility", "H2", "--out",
              self.at("near"), "--force")
        self.assertEqual(os.listdir(self.folder).count("near"), 1)
        self.assertFalse([name for name in os.listdir(self.folder) if name.startswith(".near")])

        # Fine-tuned there it has learnt from everybody, and says so.
        train("finetune", "--db", self.db, "--model", self.at("base"), "--tasks", self.tasks, "--out",
              self.at("tuned"), *PRETRAIN, "--facility", "H1")
        self.assertIsNone(show(self.at("tuned"))["origin"]["facilities"])
        out = train("evaluate", "--db", self.db, "--model", self.at("tuned"), "--facility", "H1",
                    "--bootstraps", "0")
        self.assertIn("in training: H1", out)
        out = train("evaluate", "--db", self.db, "--model", self.at("tuned"), "--bootstraps", "0")
        self.assertNotIn("in training", out)

    def test_a_baseline_of_one_hospital(self):
        train("baseline", "--db", self.db, "--task", f"{self.tasks}/ckd.json", "--engine", "logistic",
              "--grid", "small", "--facility", "H2", "--out", self.at("trees"), "--scores",
              self.at("s"), "--bootstraps", "0")
        for split in ("tuning", "held_out"):
            self.assertEqual(self.scored(self.at(f"s-{split}.csv")), {"H2"})
        self.assertEqual(read(self.at("trees/baseline.json"))["labels"]["facilities"], {"only": ["H2"]})

    def test_a_run_is_not_resumed_with_other_hospitals(self):
        command = ("pretrain", "--db", self.db, "--out", self.at("run"), "--batch-tokens", "500",
                   "--steps", "100000", "--save-seconds", "0.001")
        code, error = self.interrupted([*command, "--hold-out-facility", "H1"], 2,
                                       lambda: os.path.exists(self.at("run/resume/state.json")))
        self.assertEqual(code, 130, error)
        error = train(*command, "--hold-out-facility", "H2", "--resume", code=5)
        self.assertIn("settings", error)

    def test_refusals(self):
        for flags, code, words in (
                (("--hold-out-facility", "H7"), 4, "no facility H7 in"),
                (("--facility", "H7,H1"), 4, "there are H0, H1, H2"),
                (("--hold-out-facility", "H0,H1,H2"), 3, "no facility but those left out: H0, H1, H2"),
                (("--hold-out-facility", "H1", "--facility", "H2"), 2, "not both"),
                (("--facility", "H1,,H2"), 2, "--facility: a facility's name has 1 to 127 bytes"),
                (("--hold-out-facility", ""), 2, "--hold-out-facility: a facility's name")):
            self.assertIn(words, self.pretrain("no", *flags, code=code))
            self.assertFalse(os.path.exists(self.at("no/DONE")))
        for command in (("evaluate", "--model", self.risks), ("calibrate", "--model", self.risks),
                        ("vocab", "--out", self.at("v.json")),
                        ("finetune", "--model", self.base, "--tasks", self.tasks, "--out", self.at("x"),
                         "--steps", "1"),
                        ("baseline", "--task", f"{self.tasks}/ckd.json", "--out", self.at("y"),
                         "--engine", "logistic")):
            error = train(*command, "--db", self.db, "--facility", "H9", code=4)
            self.assertIn("there is no facility H9", error)


if __name__ == "__main__":
    sys.exit(unittest.main())
