#!/usr/bin/python3
"""rezept-train evaluate: its figures against scikit-learn, the truth, and what it refuses."""
import csv
import math
import os
import random
import unittest

import numpy
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training import ROOT, Trained, claim, history, read, train


def scores(folder, task):
    with open(os.path.join(folder, "scores.csv"), encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["task"] == task]


def column(rows, name, kind=float):
    return numpy.array([kind(row[name]) for row in rows])


def logit(risk):
    """With risks at least 1e-4 from 0 and 1, as the truth of finitely many continuations is."""
    risk = numpy.clip(risk, 1e-4, 1 - 1e-4)
    return numpy.log(risk / (1 - risk))


def fractional(x, share):
    """Slope of logit(E share) on x by Newton's method."""
    design, beta = numpy.column_stack([numpy.ones(len(x)), x]), numpy.zeros(2)
    for _ in range(50):
        p = 1 / (1 + numpy.exp(-design @ beta))
        beta += numpy.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]),
                                   design.T @ (share - p))
    return beta[1]


class Evaluate(Trained):
    def evaluate(self, *more, db=None, model=None, code=0):
        out = self.at("report")
        text = train("evaluate", "--db", db or self.db, "--model", model or self.risks,
                     "--out", out, "--bootstraps", "50", *more, code=code)
        return text if code else read(out, "report.json")

    def test_the_report_says_what_was_measured_on_whom(self):
        report = self.evaluate()
        config = read(self.risks, "config.json")
        self.assertEqual((report["format"], report["split"]), ("rezept-report", "held_out"))
        self.assertEqual(report["bootstraps"], 50)
        self.assertEqual([t["name"] for t in report["tasks"]], config["heads"])
        self.assertEqual(report["data_sha256"], config["training"]["data_sha256"])
        with open(self.at("report/report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("<svg", page)
        self.assertIn("not a diagnosis", page)
        parts = {split: self.evaluate("--split", split) for split in ("train", "tuning", "all")}
        parts["held_out"] = report
        for i, task in enumerate(report["tasks"]):
            steps = [row["patients"] for row in task["attrition"]]
            self.assertEqual(steps[0], 900)
            self.assertEqual(steps, sorted(steps, reverse=True))
            self.assertEqual(steps[-1], task["cohort"]["n"])
            for figure in ("n", "positives"):
                counted = {s: parts[s]["tasks"][i]["model"][figure] for s in parts}
                self.assertEqual(counted["all"], task["cohort"][figure])
                self.assertEqual(counted.pop("all"), sum(counted.values()), counted)

    def test_the_figures_are_those_of_scikit_learn(self):
        for split in ("held_out", "train"):
            report = self.evaluate("--split", split)
            for task in report["tasks"]:
                rows = scores(self.at("report"), task["name"])
                label = column(rows, "label", int)
                self.assertEqual((len(rows), label.sum()),
                                 (task["model"]["n"], task["model"]["positives"]))
                for part, name in (("model", "probability"), ("age_sex", "age_sex")):
                    risk, figures = column(rows, name), task[part]
                    for got, wanted in (
                            ("auroc", roc_auc_score(label, risk)),
                            ("average_precision", average_precision_score(label, risk)),
                            ("brier", brier_score_loss(label, risk)),
                            ("observed_to_expected", label.sum() / risk.sum())):
                        value = figures[got]["value"]
                        # Figures have nine digits.
                        self.assertAlmostEqual(value, wanted, delta=1e-9 * max(1, 6 * wanted),
                                               msg=f"{split} {task['name']} {part} {got}")
                        self.assertLessEqual(figures[got]["low"], figures[got]["high"])
                    self.assertEqual(sum(b["n"] for b in figures["deciles"]), len(rows))

    def test_scores_are_written_alone_and_in_the_report_s_folder(self):
        text = train("evaluate", "--db", self.db, "--model", self.risks, "--split", "all",
                     "--bootstraps", "0", "--scores", self.at("all.csv"))
        self.assertIn("ckd", text)
        with open(self.at("all.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), ["task", "patient_key", "index_day", "split", "label",
                                         "logit", "probability", "age_sex", "truth", "sex",
                                         "age_band", "facility"])
        self.assertEqual({r["split"] for r in rows}, {"train", "tuning", "held_out"})
        self.evaluate("--split", "tuning")
        for task in ("ckd", "amlodipine"):
            part = scores(self.at("report"), task)
            self.assertGreater(len(part), 20)
            self.assertEqual(part, [r for r in rows if r["task"] == task and
                                    r["split"] == "tuning"])
            calibration = next(t["calibration"] for t in read(self.risks, "tasks.json")["tasks"]
                               if t["task"]["name"] == task)
            prevalence, prior = calibration["prevalence"], calibration["training_prior"]
            shift = math.log(prevalence / (1 - prevalence)) - math.log(prior / (1 - prior))
            line = (calibration["map"]["intercept"] +
                    calibration["map"]["slope"] * (column(part, "logit") + shift))
            numpy.testing.assert_allclose(column(part, "probability"), 1 / (1 + numpy.exp(-line)),
                                          rtol=1e-6)

    def test_subgroups_are_the_whole_in_parts_and_those_of_scikit_learn(self):
        measured = 0
        for task in self.evaluate("--split", "all")["tasks"]:
            rows = scores(self.at("report"), task["name"])
            columns = {"sex": ("sex", {"F": "female", "M": "male", "U": "unknown"}),
                       "age": ("age_band", {}), "hospital": ("facility", {})}
            for by, (column_name, names) in columns.items():
                groups = [g for g in task["subgroups"] if g["by"] == by]
                parts = {}
                for row in rows:
                    name = names.get(row[column_name], row[column_name])
                    parts.setdefault(name, []).append(row)
                self.assertEqual({g["name"]: (g["n"], g["positives"]) for g in groups},
                                 {n: (len(p), sum(r["label"] == "1" for r in p))
                                  for n, p in parts.items()})
                for g in groups:
                    label = column(parts[g["name"]], "label", int)
                    risk = column(parts[g["name"]], "probability")
                    if min(label.sum(), (1 - label).sum()) < 10:
                        self.assertIn("too few", g["reason"])
                        self.assertIsNone(g["auroc"])
                        continue
                    measured += 1
                    for got, wanted in (
                            ("auroc", roc_auc_score(label, risk)),
                            ("average_precision", average_precision_score(label, risk)),
                            ("observed_to_expected", label.sum() / risk.sum())):
                        self.assertAlmostEqual(g[got]["value"], wanted, delta=1e-7 * (1 + wanted))
                        self.assertLessEqual(g[got]["low"], g[got]["high"])
        self.assertGreater(measured, 5)

    def test_decision_curves_are_those_of_numpy(self):
        for task in self.evaluate("--split", "all")["tasks"]:
            rows = scores(self.at("report"), task["name"])
            label = column(rows, "label", int)
            curve, n = task["decision_curve"], len(rows)
            self.assertIsNone(curve["reason"])
            self.assertAlmostEqual(curve["prevalence"], label.mean(), delta=1e-8)
            self.assertGreater(len(curve["points"]), 10)
            for k, p in enumerate(curve["points"]):
                t = label.mean() * (0.5 + 0.1 * k)
                self.assertAlmostEqual(p["threshold"], t, delta=1e-8)
                self.assertLess(t, 0.95)
                worth = {}
                for name, score in (("model", "probability"), ("age_sex", "age_sex")):
                    treated = column(rows, score) >= t
                    rightly = (treated & (label == 1)).sum()
                    worth[name] = (rightly - (treated.sum() - rightly) * t / (1 - t)) / n
                    if name == "model":
                        self.assertEqual((p["treated"], p["true_positives"]),
                                         (treated.sum(), rightly))
                    self.assertAlmostEqual(p["net_benefit"][name]["value"], worth[name], delta=1e-8)
                everybody = label.mean() - (1 - label.mean()) * t / (1 - t)
                self.assertAlmostEqual(p["net_benefit"]["treat_all"], everybody, delta=1e-8)
                for name, wanted in (
                        ("model_minus_default", worth["model"] - max(everybody, 0)),
                        ("model_minus_age_sex", worth["model"] - worth["age_sex"])):
                    self.assertAlmostEqual(p[name]["value"], wanted, delta=1e-8)
                    self.assertLessEqual(p[name]["low"], p[name]["high"])

    def test_one_task_of_several(self):
        report = self.evaluate("--task", "ckd")
        self.assertEqual([t["name"] for t in report["tasks"]], ["ckd"])

    def test_a_cohort_of_one_class_or_of_nobody_has_figures_of_null(self):
        well = self.store("well", [c for p in range(30) for c in history(f"w{p}")])
        report = self.evaluate("--split", "all", db=well)
        for task in report["tasks"]:
            self.assertEqual((task["model"]["n"], task["model"]["positives"]), (30, 0))
            self.assertIsNone(task["model"]["auroc"]["value"])
            self.assertIsNone(task["model"]["average_precision"]["value"])
            self.assertIn("positive", task["model"]["reason"])
            self.assertIsNotNone(task["model"]["brier"]["value"])
        brief = self.store("brief", [claim(1, f"b{p}", "2024-05-01", ["I10"]) for p in range(5)])
        report = self.evaluate("--split", "all", db=brief)
        for task in report["tasks"]:
            self.assertEqual(task["cohort"]["n"], 0)
            self.assertEqual(task["attrition"][0]["patients"], 5)
            self.assertIsNone(task["model"]["auroc"]["value"])
            self.assertIsNone(task["model"]["brier"]["value"])
            self.assertTrue(task["model"]["reason"])

    def test_patients_that_the_model_has_learnt_from_are_no_test(self):
        shares = read(self.risks, "config.json")["training"]["split"]
        self.assertRegex(shares, r"^\d+/\d+/\d+$")
        error = self.evaluate("--fold", "1/5", code=5)
        self.assertIn(f"trained on the split {shares}", error)
        self.assertIn("--split held_out", error)
        folded = self.at("folded")
        train("pretrain", "--db", self.db, "--out", self.at("base"), "--fold", "2/5", "--steps",
              "1", "--evaluations", "1", "--tuning-tokens", "500")
        more = ["--steps", "1", "--evaluations", "1", "--tuning-tokens", "500", "--db", self.db,
                "--tasks", self.tasks]
        error = train("finetune", "--model", self.at("base"), "--out", folded, *more, code=5)
        self.assertIn("trained on the split fold 2/5", error)
        self.assertFalse(os.path.exists(f"{folded}/DONE"))
        train("finetune", "--model", self.at("base"), "--out", folded, "--force", "--fold", "2/5",
              *more)
        self.assertEqual(read(folded, "config.json")["training"]["split"], "fold 2/5")
        for flags in ([], ["--split", "held_out"], ["--fold", "1/5"], ["--fold", "2/4"]):
            error = self.evaluate(*flags, model=folded, code=5)
            self.assertIn("give --fold 2/5", error)
        self.assertEqual(self.evaluate("--fold", "2/5", model=folded)["split"], "fold 2/5")
        self.assertEqual(self.evaluate("--split", "all", model=folded)["split"], "all")
        error = train("calibrate", "--db", self.db, "--model", folded, code=5)
        self.assertIn("fold 2/5", error)
        train("calibrate", "--db", self.db, "--model", folded, "--fold", "2/5")

    def test_refusals(self):
        self.assertIn("no task scurvy", self.evaluate("--task", "scurvy", code=4))
        self.assertIn("--model", train("evaluate", "--db", self.db, code=2))
        self.assertIn("--split half", self.evaluate("--split", "half", code=2))
        self.assertIn("not both", self.evaluate("--split", "all", "--fold", "1/5", code=2))
        self.assertIn("K/N", self.evaluate("--fold", "6/5", code=2))
        self.assertIn("bootstrap", self.evaluate("--bootstraps", "-1", code=2))
        self.assertIn("nothing-here", self.evaluate(model=self.at("nothing-here"), code=4))
        self.assertIn("fine-tune it first", self.evaluate(model=self.base, code=3))
        self.assertIn("nothing.db", self.evaluate(db=self.at("nothing.db"), code=4))
        self.assertFalse(os.path.exists(self.at("nothing.db")))
        self.assertIn("truth.csv", self.evaluate("--truth", self.at("truth.csv"), code=4))
        with open(self.at("damaged.csv"), "w", encoding="utf-8") as file:
            file.write("facility,patient,task,index_day,risk,standard_error\nH1,p1,ckd,2020-01-01,x,0\n")
        self.assertIn("damaged.csv: line 2", self.evaluate("--truth", self.at("damaged.csv"), code=3))
        self.assertFalse(os.path.exists(self.at("report/report.json")))
        error = train("evaluate", "--db", self.db, "--model", self.risks, "--out",
                      f"{self.db}/report", code=9)
        self.assertIn("cannot make the folder", error)
        self.assertNotIn("cohorts", error, "told after the work")


class Truth(Trained):
    """Against the risks that the simulator knows."""

    def test_the_truth_of_a_simulation(self):
        db, tasks = self.at("simulated.db"), f"{ROOT}/models/tasks"
        for more in ([], ["--draws", 2]):
            train("simulate", "--patients", 1600, "--hospitals", 2, "--seed", 3, "--tasks", tasks,
                  "--out", self.at("claims.ndjson"), "--truth", self.at(f"truth{len(more)}.csv"),
                  *more)
        train("import", "--db", db, self.at("claims.ndjson"))
        common = ["--db", db, "--steps", 1, "--evaluations", 1, "--tuning-tokens", 500]
        train("pretrain", *common, "--out", self.at("base"))
        train("finetune", *common, "--model", self.at("base"), "--out", self.at("model"),
              "--tasks", tasks, "--task", "hypertension", "--labels", 40, "--balanced")
        known, more = (self.table(f"truth{n}.csv") for n in (0, 2))
        kept = {tuple(row) for row in known}
        self.assertEqual([row for row in more if tuple(row) in kept], known)
        header, rows = known[0], [row for row in known[1:] if row[2] == "hypertension"]
        report = self.evaluate(db, known)
        task = report["tasks"][0]
        self.assertEqual(task["cohort"]["n"], task["truth"]["matched"])
        self.assertEqual((task["truth"]["missing"], task["truth"]["other_index_day"]), (0, 0))
        self.figures(task)
        self.more_days(db, more, scores(self.at("report"), "hypertension"))
        # Some are left out, some have their risk on another day.
        changed = random.Random(1).sample(rows, 60)
        for row in changed[:30]:
            row[3] = "2021-01-01" if row[3] != "2021-01-01" else "2021-01-02"
        left_out = {id(row) for row in changed[30:]}
        report = self.evaluate(db, [header] + [row for row in rows if id(row) not in left_out])
        task = report["tasks"][0]
        self.assertEqual((task["truth"]["other_index_day"], task["truth"]["missing"]), (30, 30))
        self.assertEqual(task["truth"]["matched"], task["cohort"]["n"] - 60)
        self.figures(task)

    def table(self, name):
        with open(self.at(name), encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    def more_days(self, db, known, first):
        """Further index days add rows, whose truth the simulator wrote, and change none."""
        report = self.evaluate(db, known, "--draws", 2)
        task, rows = report["tasks"][0], scores(self.at("report"), "hypertension")
        self.assertEqual((report["draws"], task["patients"] >= task["cohort"]["n"]), (2, True))
        self.assertEqual((task["model"]["n"], task["cohort"]["n"]), (len(rows), len(first)))
        self.assertEqual(task["patients"], len({row["patient_key"] for row in rows}))
        # There is none where the outcome was coded already, which the hospital did not know yet.
        self.assertGreater(task["truth"]["matched"], 0.99 * len(rows))
        self.assertGreater(len(rows), 1.5 * len(first))
        kept = [row for row in rows if row in first]
        self.assertEqual(kept, first)
        self.assertIn("Up to 2 index days of each patient", self.text)
        with open(self.at("report/report.html"), encoding="utf-8") as file:
            self.assertIn("intervals resample patients", file.read())
        self.figures(task)

    def evaluate(self, db, rows, *more):
        with open(self.at("given.csv"), "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        self.text = train("evaluate", "--db", db, "--model", self.at("model"), "--out",
                          self.at("report"), "--split", "all", "--truth", self.at("given.csv"),
                          "--bootstraps", 20, *more)
        return read(self.at("report"), "report.json")

    def figures(self, task):
        got = task["truth"]
        rows = [r for r in scores(self.at("report"), "hypertension") if r["truth"] != ""]
        self.assertEqual(len(rows), got["matched"])
        label, truth = column(rows, "label", int), column(rows, "truth")
        risk = column(rows, "probability")
        self.assertAlmostEqual(got["average_precision"]["value"],
                               average_precision_score(label, truth), delta=1e-9)
        self.assertAlmostEqual(got["auroc"]["value"], roc_auc_score(label, truth), delta=1e-9)
        self.assertAlmostEqual(got["predicted_to_true"], risk.sum() / truth.sum(), delta=1e-7)
        x, y = logit(risk), logit(truth)
        self.assertAlmostEqual(got["slope"], numpy.polyfit(x, y, 1)[0], delta=1e-6)
        self.assertAlmostEqual(got["intercept"], numpy.polyfit(x, y, 1)[1], delta=1e-5)
        self.assertAlmostEqual(got["intervals"]["mean_slope"]["value"], fractional(x, truth),
                               delta=1e-6)
        for name, value in (("predicted_to_true", got["predicted_to_true"]),
                            ("slope", got["slope"]), ("intercept", got["intercept"])):
            interval = got["intervals"][name]
            self.assertEqual(interval["value"], value)
            self.assertLess(interval["low"], interval["high"])
        goals = got["goals"]
        self.assertEqual((goals["slope"]["from"], goals["slope"]["to"]), (0.9, 1.1))
        for name, value in (("predicted_to_true", got["predicted_to_true"]),
                            ("slope", got["slope"])):
            self.assertIs(goals[name]["met"], goals[name]["from"] <= value <= goals[name]["to"])
        self.assertIn(f"logit slope {got['slope']:.3f} [", self.text)
        self.assertIn("within 0.90-1.10" if goals["slope"]["met"] else "OUTSIDE 0.90-1.10",
                      self.text)


if __name__ == "__main__":
    unittest.main()
