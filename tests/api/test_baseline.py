#!/usr/bin/python3
"""rezept-train baseline: the labels are fine-tuning's, the figures those of its scores, and what it
refuses and leaves."""
import csv
import os
import signal
import unittest

import numpy
from sklearn.metrics import average_precision_score, roc_auc_score

from training import Trained, digest, history, read, train

HEADER = ["task", "patient_key", "index_day", "split", "label", "logit", "probability", "age_sex",
          "truth", "sex", "age_band", "facility"]


def scores(*parts):
    with open(os.path.join(*parts), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name, kind=float):
    return numpy.array([kind(row[name]) for row in rows])


class Baseline(Trained):
    def baseline(self, out, *more, db=None, task="ckd", code=0):
        flags = list(map(str, more))
        for name, value in (("--grid", "small"), ("--bootstraps", "50")):
            flags += [] if name in flags else [name, value]
        text = train("baseline", "--db", db or self.db, "--task", f"{self.tasks}/{task}.json",
                     "--out", self.at(out), *flags, code=code)
        return text if code else read(self.at(out), "baseline.json")

    def test_trees_and_the_floor_are_measured_as_models_are(self):
        for engine, model in (("xgboost", "trees.json"), ("logistic", "coefficients.csv")):
            # On the days that it is chosen and calibrated on, several for a patient.
            told = self.baseline(engine, "--engine", engine, "--scored-draws", "6")
            folder = self.at(engine)
            self.assertEqual(sorted(os.listdir(folder)), sorted([
                "DONE", "baseline.json", "features.csv", "report.html", "report.json", "scores.csv",
                "tasks.json", model]))
            with open(f"{folder}/DONE", encoding="utf-8") as file:
                for line in file:
                    sha256, size, name = line.split()
                    self.assertEqual((sha256, int(size)), (
                        digest(folder, name), os.path.getsize(f"{folder}/{name}")))
            report = read(folder, "report.json")
            self.assertEqual((report["format"], report["split"], report["model"]["family"]),
                             ("rezept-report", "tuning", engine))
            self.assertEqual(report["model"]["sha256"], digest(folder, model))
            self.assertEqual(report["data_sha256"],
                             read(self.risks, "config.json")["training"]["data_sha256"])
            rows = scores(folder, "scores.csv")
            self.assertEqual(list(rows[0]), HEADER)
            self.assertEqual({row["split"] for row in rows}, {"tuning"})
            patients = {row["patient_key"] for row in rows}
            self.assertEqual((report["draws"], report["tasks"][0]["patients"]),
                             (6, len(patients)))
            self.assertGreater(len(rows), 2 * len(patients))
            self.assertEqual(len({(row["patient_key"], row["index_day"]) for row in rows}),
                             len(rows))
            task, label = report["tasks"][0], column(rows, "label", int)
            risk, logit = column(rows, "probability"), column(rows, "logit")
            self.assertEqual((len(rows), label.sum()), (task["model"]["n"],
                                                        task["model"]["positives"]))
            self.assertAlmostEqual(task["model"]["auroc"]["value"], roc_auc_score(label, risk),
                                   delta=1e-8)
            self.assertAlmostEqual(task["model"]["average_precision"]["value"],
                                   average_precision_score(label, risk), delta=1e-8)
            self.assertLess(task["model"]["auroc"]["low"], task["model"]["auroc"]["value"])
            # Who is sick has I10 at every visit: easy from counts, unknown to age and sex.
            self.assertGreater(roc_auc_score(label, logit), 0.8)
            self.assertLess(task["age_sex"]["auroc"]["value"], 0.7)
            chosen = [s for s in told["settings"] if s["chosen"]]
            self.assertEqual(len(chosen), 1)
            self.assertEqual(chosen[0]["loss"], min(s["loss"] for s in told["settings"]))
            self.assertEqual(told["labels"]["chosen_on"], {
                "part": "tuning", "n": len(rows), "positives": int(label.sum())})
            # Calibrated on these rows: as many are expected as there are.
            self.assertAlmostEqual(task["model"]["observed_to_expected"]["value"], 1.0, delta=0.01)
            loss = numpy.logaddexp(0, logit) - label * logit
            self.assertAlmostEqual(chosen[0]["loss"], loss.mean(), delta=1e-5)

    def heads(self, folder):
        return read(self.at(folder), "tasks.json")["tasks"][0]

    def check_same_labels(self, name, *flags):
        """Age and sex are regressed on the labels that were learnt from, and on nothing else: the
        same eight numbers to the last digits mean the same patients on the same days."""
        self.finetune(f"{name}-model", "--task", "ckd", *flags)
        self.baseline(f"{name}-floor", "--engine", "logistic", *flags)
        ours, theirs = self.heads(f"{name}-floor"), self.heads(f"{name}-model")
        self.assertEqual(ours["age_sex"]["beta"], theirs["age_sex"]["beta"])
        self.assertEqual(ours["task"], theirs["task"])
        for figure in ("training_prior", "prevalence", "tuning_n", "tuning_positives", "method"):
            self.assertEqual(ours["calibration"][figure], theirs["calibration"][figure], figure)
        return ours

    def test_the_labels_are_those_of_finetune(self):
        whole = self.check_same_labels("all")
        few = self.check_same_labels("few", "--labels", "40", "--balanced", "--seed", "5")
        self.assertEqual((few["calibration"]["tuning_n"], few["calibration"]["training_prior"]),
                         (40, 0.5))
        told = read(self.at("few-floor"), "baseline.json")["labels"]
        self.assertEqual((told["learnt_from"], told["chosen_on"]["part"]),
                         ({"n": 40, "positives": 20}, "train, out of fold"))
        self.baseline("other", "--labels", "40", "--balanced", "--seed", "6")
        betas = [h["age_sex"]["beta"] for h in (whole, few, self.heads("other"))]
        self.assertEqual(len({tuple(beta) for beta in betas}), 3)

    def test_cross_fitting_learns_from_the_tuning_part_as_well(self):
        self.baseline("parts", "--engine", "logistic", "--draws", "1")
        self.baseline("cross", "--engine", "logistic", "--cross-fit", "--prevalence", "0.07")
        parts, cross = (read(self.at(f), "baseline.json")["labels"] for f in ("parts", "cross"))
        both = {f: parts["learnt_from"][f] + parts["chosen_on"][f] for f in ("n", "positives")}
        self.assertEqual(cross["learnt_from"], both)
        self.assertEqual(cross["chosen_on"], {"part": "train, out of fold", **both})
        calibration = self.heads("cross")["calibration"]
        self.assertEqual((calibration["tuning_n"], calibration["prevalence"]), (both["n"], 0.07))

    def test_few_balanced_labels_give_risks_of_the_population(self):
        self.baseline("few", "--engine", "logistic", "--labels", "80", "--balanced")
        rows = scores(self.at("few"), "scores.csv")
        label, risk = column(rows, "label", int), column(rows, "probability")
        self.assertGreater(roc_auc_score(label, risk), 0.7)
        # Half of the labels were positive; the risks are not.
        self.assertLess(abs(risk.mean() - label.mean()), 0.5 * abs(0.5 - label.mean()))

    def test_the_same_call_gives_the_same_bytes(self):
        for name in ("one", "two"):
            self.baseline(name, "--threads", "2")
        for file in ("trees.json", "tasks.json", "scores.csv", "features.csv", "report.json"):
            self.assertEqual(digest(self.at("one"), file), digest(self.at("two"), file), file)

    def test_rows_pair_with_those_of_a_model(self):
        self.baseline("trees", "--split", "held_out")
        train("evaluate", "--db", self.db, "--model", self.risks, "--task", "ckd", "--bootstraps",
              "0", "--scores", self.at("model.csv"))
        trees, model = scores(self.at("trees"), "scores.csv"), scores(self.at("model.csv"))
        self.assertGreater(len(trees), 20)
        for name in ("task", "patient_key", "index_day", "split", "label"):
            self.assertEqual([r[name] for r in trees], [r[name] for r in model], name)
        self.assertNotEqual(column(trees, "logit").tolist(), column(model, "logit").tolist())

    def test_a_fold(self):
        self.baseline("fold", "--fold", "2/5", "--split", "held_out", "--engine", "logistic")
        self.assertEqual(read(self.at("fold"), "report.json")["split"], "fold 2/5")
        rows = scores(self.at("fold"), "scores.csv")
        self.assertEqual({row["split"] for row in rows}, {"held_out"})
        self.assertGreater(len(rows), 80)
        self.baseline("tuned", "--fold", "2/5", "--engine", "logistic")
        self.assertEqual(read(self.at("tuned"), "report.json")["split"], "fold 2/5, tuning")
        tuned = scores(self.at("tuned"), "scores.csv")
        self.assertFalse({r["patient_key"] for r in rows} & {r["patient_key"] for r in tuned})

    def test_refusals(self):
        call = ["baseline", "--db", self.db, "--out", self.at("x")]
        task = ["--task", f"{self.tasks}/ckd.json"]
        self.assertIn("--task is missing", train(*call, code=2))
        self.assertIn("--out is missing", train("baseline", "--db", self.db, *task, code=2))
        self.assertIn("--engine catboost: xgboost, lightgbm or logistic",
                      train(*call, *task, "--engine", "catboost", code=2))
        self.assertIn("--grid huge", train(*call, *task, "--grid", "huge", code=2))
        self.assertIn("--split train", train(*call, *task, "--split", "train", code=2))
        self.assertIn("--balanced needs --labels", train(*call, *task, "--balanced", code=2))
        self.assertIn("--enriched needs --labels", train(*call, *task, "--enriched", code=2))
        self.assertIn("not both", train(*call, *task, "--labels", "40", "--enriched", "--balanced",
                                        code=2))
        self.assertIn("no-such.json", train(*call, "--task", self.at("no-such.json"), code=4))
        with open(self.at("wrong.json"), "w", encoding="utf-8") as file:
            file.write('{"name": "ckd"}')
        self.assertIn("wrong.json: ", train(*call, "--task", self.at("wrong.json"), code=3))
        self.assertFalse(os.path.exists(self.at("x")), "a wrong call makes no folder")
        self.assertIn("nothing.db", self.baseline("x", db=self.at("nothing.db"), code=4))
        self.assertIn("lower --labels", self.baseline("x", "--labels", 300, "--balanced", code=3))
        labels = self.baseline("rich", "--engine", "logistic", "--labels", 300,
                               "--enriched")["labels"]
        self.assertTrue(labels["enriched"] and labels["learnt_from"]["n"] == 300)
        self.assertTrue(5 <= labels["learnt_from"]["positives"] < 150)
        self.assertIn("negatives to learn", self.baseline("x", "--labels", 900, "--enriched", code=3))
        well = self.store("well", [c for p in range(60) for c in history(f"w{p}")])
        self.assertIn("task ckd: the train part has 0 positives among",
                      self.baseline("x", db=well, code=3))
        self.assertFalse(os.path.exists(self.at("x/DONE")))
        self.assertNotIn("LD_LIBRARY_PATH", os.environ)
        error = train(*call, *task, "--engine", "lightgbm", code=3)
        self.assertIn("LightGBM is not installed", error)
        self.assertIn("--engine xgboost", error)

    def test_what_is_finished_stays_until_it_is_to_be_replaced(self):
        self.baseline("done", "--engine", "logistic")
        before = digest(self.at("done"), "DONE")
        self.assertIn("--force", self.baseline("done", "--engine", "logistic", code=5))
        self.assertIn("nothing.db", self.baseline("done", "--force", db=self.at("nothing.db"),
                                                  code=4))
        self.assertEqual(digest(self.at("done"), "DONE"), before)
        self.baseline("done", "--engine", "logistic", "--labels", "60", "--balanced",
                      "--force")
        self.assertNotEqual(digest(self.at("done"), "DONE"), before)

    def test_interrupted_it_leaves_nothing_that_looks_finished(self):
        command = ["baseline", "--db", self.db, "--task", f"{self.tasks}/ckd.json", "--out",
                   self.at("broken")]
        code, error = self.interrupted(
            command, signal.SIGINT, lambda: os.path.exists(self.at("broken/resume/cache.bin")))
        self.assertEqual(code, 130, error)
        self.assertIn("interrupted", error)
        self.assertFalse(os.path.exists(self.at("broken/DONE")))
        self.assertFalse(os.path.exists(self.at("broken/report.json")))
        self.baseline("broken")
        self.assertTrue(os.path.exists(self.at("broken/DONE")))


if __name__ == "__main__":
    unittest.main()
