#!/usr/bin/python3
"""rezept-train study --hold-out-facility: what is learnt without some hospitals, and what it is worth
there."""
import csv
import os
import signal
import sqlite3
import sys
import unittest

from training import Trained, hospitals, read, show, train

FLAGS = ("--pretrain-flags", "--steps 3 --evaluations 1 --tuning-tokens 1500 --batch-tokens 1000",
         "--finetune-flags", "--steps 2 --evaluations 1 --tuning-tokens 1500",
         "--few-flags", "--steps 2 --evaluations 1",
         "--onset-flags", "--steps 2 --evaluations 1 --tuning-tokens 1500", "--baseline-flags", "--grid small")
GRID = {"pretrain-2.2m", "logistic-ckd-20-s1", "logistic-ckd-all-s1", "2.2m-pretrained-ckd-20-s1",
        "2.2m-scratch-ckd-20-s1", "2.2m-pretrained-shared-all-s1", "2.2m-scratch-shared-all-s1",
        "2.2m-onset-shared-all-s1"}
TRANSFER = {f"transfer-{name}-s1" for name in (
    "zero_shot-2.2m-pretrained-shared-all", "recalibrated-2.2m-pretrained-shared-all",
    "tuned-2.2m-pretrained-ckd-20", "tuned-2.2m-pretrained-shared-all",
    "local-2.2m-pretrained-ckd-20", "local-2.2m-pretrained-shared-all", "local-logistic-ckd-20",
    "local-logistic-ckd-all")} | {"transfer-local-pretrain-2.2m"}


class Transfer(Trained):
    """Patients go to H0, H1 and H2 in turn; H1 is held out."""

    def setUp(self):
        super().setUp()
        self.db = self.store("hospitals", hospitals())

    def command(self, out, *more):
        return ["study", "--db", self.db, "--out", self.at(out), "--tasks", self.tasks, "--sizes",
                "2.2m", "--seeds", "1", "--labels", "20,all", "--task", "ckd", "--engines", "logistic",
                "--bootstraps", "50", *FLAGS, *more]

    def names(self, out):
        return {name[:-5] for name in os.listdir(self.at(f"{out}/cells"))}

    def facilities(self, path):
        with sqlite3.connect(f"file:{self.db}?mode=ro", uri=True) as base:
            where = dict(base.execute("SELECT p.key, f.name FROM patients p JOIN facilities f "
                                      "ON f.key = p.namespace"))
        with open(path, encoding="ascii") as file:
            rows = list(csv.DictReader(file))
        return {where[int(row["patient_key"])] for row in rows}, len(rows)

    def test_a_study_with_a_hospital_held_out(self):
        command = self.command("one", "--hold-out-facility", "H1")
        zero = self.at("one/cells/transfer-zero_shot-2.2m-pretrained-shared-all-s1.json")
        code, error = self.interrupted(command, signal.SIGINT, lambda: os.path.exists(zero), 400)
        self.assertEqual(code, 130, error)
        report = self.at("one/report.json")
        self.assertFalse(os.path.exists(report))
        first = {name: os.stat(self.at(f"one/cells/{name}.json")).st_mtime_ns
                 for name in self.names("one")}
        self.assertLess(len(first), 17)
        text = train(*command)
        self.assertIn("17 cells, 17 done", text)
        self.assertIn("complete, with held-out patients", text)
        self.assertEqual(self.names("one"), GRID | TRANSFER)
        for name, when in first.items():
            self.assertEqual(os.stat(self.at(f"one/cells/{name}.json")).st_mtime_ns, when)

        # The grid never sees H1, the rest sees nobody else, all of it the same patients.
        seen = {}
        for name in (GRID | TRANSFER) - {"pretrain-2.2m", "transfer-local-pretrain-2.2m"}:
            for split in ("tuning", "held_out"):
                where, n = self.facilities(self.at(f"one/scores/{name}-{split}.csv"))
                self.assertEqual(where, {"H1"} if name in TRANSFER else {"H0", "H2"}, name)
                seen.setdefault((name in TRANSFER, split), set()).add(n)
        self.assertEqual({len(counts) for counts in seen.values()}, {1})
        self.assertEqual(show(self.at("one/pretrained/2.2m"))["origin"]["facilities"],
                         {"all_but": ["H1"]})
        self.assertEqual(show(self.at("one/local/2.2m"))["origin"]["facilities"], {"only": ["H1"]})
        for name in GRID:
            for line in read(self.at(f"one/cells/{name}.json"))["commands"]:
                self.assertIn(" --hold-out-facility H1", line)
        few = {name: read(self.at(f"one/cells/{name}.json"))["commands"][0]
               for name in ("2.2m-pretrained-ckd-20-s1", "transfer-tuned-2.2m-pretrained-ckd-20-s1")}
        for command in few.values():
            self.assertIn(" --labels 20 --enriched", command)
        cell = read(self.at("one/cells/transfer-recalibrated-2.2m-pretrained-shared-all-s1.json"))
        self.assertEqual((cell["transfer"], cell["labels"], len(cell["commands"])), ("recalibrated", 0, 3))
        self.assertTrue(all(" --facility H1" in line for line in cell["commands"]))
        self.assertEqual(sorted(os.listdir(self.at("one/models"))),
                         ["2.2m-onset-shared-all-s1", "2.2m-pretrained-shared-all-s1", "routing.json"])
        # What is served and routed is what the others have learnt.
        self.assertEqual(read(self.at("one/routing.json"))["tasks"]["ckd"]["model"],
                         "2.2m-pretrained-shared-all-s1")

        found = read(report)["transfer"]
        self.assertEqual((found["facilities"], found["split"]), (["H1"], "held_out"))
        self.assertEqual(found["tasks"][0]["held_out"]["patients"], seen[(True, "held_out")].pop())
        rows = {(row["kind"], row["labels"], row["engine"]): row for row in found["rows"]}
        self.assertEqual(list(rows), [
            ("zero_shot", None, None), ("recalibrated", None, None), ("tuned", "20", None),
            ("tuned", "all", None), ("local", "20", None), ("local", "all", None),
            ("local", "20", "logistic"), ("local", "all", "logistic")])
        value = {key: row["average_precision"]["value"] for key, row in rows.items()}
        for key, row in rows.items():
            self.assertTrue(0 < value[key] <= 1 and row["seeds"] == [1])
            self.assertEqual(row["calibration"]["n"], found["tasks"][0]["held_out"]["patients"])
        tuned = rows[("tuned", "20", None)]
        for name, other in (("minus_zero_shot", ("zero_shot", None, None)),
                            ("minus_local", ("local", "20", None)),
                            ("minus_engine", ("local", "20", "logistic"))):
            self.assertAlmostEqual(tuned[name]["value"],
                                   value[("tuned", "20", None)] - value[other], 6)
            self.assertLessEqual(tuned[name]["low"], tuned[name]["high"])
        self.assertIsNone(rows[("local", "20", "logistic")]["minus_local"]["value"])
        # Calibration alone moves risks, not their order.
        self.assertAlmostEqual(value[("zero_shot", None, None)], value[("recalibrated", None, None)], 3)
        ratio = {kind: rows[(kind, None, None)]["calibration"]["observed_to_expected"]["value"]
                 for kind in ("zero_shot", "recalibrated")}
        self.assertNotEqual(ratio["zero_shot"], ratio["recalibrated"])
        costs = read(report)["costs"]["transfers"]
        self.assertEqual({name: cost["cells"] for name, cost in costs.items()},
                         {"zero_shot": 1, "recalibrated": 1, "tuned": 2, "local": 5})
        with open(self.at("one/report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("Transfer between institutions", page)
        self.assertIn("Calibration by kind of transfer", page)

        # The same folder with other facilities, or none, would mix what was learnt.
        for flags in ((), ("--hold-out-facility", "H2"), ("--hold-out-facility", "H1,H2")):
            error = train(*self.command("one", *flags), "--dry-run", code=5)
            self.assertIn("another --hold-out-facility; take a new --out", error)

    def test_pretrained_models_must_not_know_the_hospital(self):
        ready = self.at("ready")
        os.makedirs(ready)
        pretrain = ("pretrain", "--db", self.db, "--out", f"{ready}/2.2m", "--steps", "2",
                    "--evaluations", "1", "--tuning-tokens", "1000")
        train(*pretrain)
        flags = ("--pretrained", ready, "--dry-run", "--hold-out-facility")
        error = train(*self.command("two", *flags, "H1"), code=5)
        self.assertIn("ready/2.2m has learnt from patients of H1", error)
        self.assertFalse(os.path.exists(self.at("two/study.json")))
        train(*pretrain, "--hold-out-facility", "H1,H2", "--force")
        text = train(*self.command("two", *flags, "H1"))
        names = [line.split()[0] for line in text.splitlines()[1:] if "GB" in line]
        self.assertEqual(set(names), (GRID | TRANSFER) - {"pretrain-2.2m"})
        self.assertIn("ready/2.2m has learnt",
                      train(*self.command("three", *flags, "H0"), code=5))
        missing = ("--pretrained", self.at("nowhere"), "--dry-run", "--hold-out-facility", "H1")
        self.assertIn("nowhere/2.2m/config.json", train(*self.command("three", *missing), code=4))

    def test_refusals(self):
        error = train(*self.command("no", "--hold-out-facility", "H7"), code=4)
        self.assertIn("there is no facility H7", error)
        self.assertIn("there are H0, H1, H2", error)
        error = train(*self.command("no", "--hold-out-facility", "H0,H1,H2"), code=3)
        self.assertIn("no facility but those left out", error)
        command = self.command("no", "--hold-out-facility", "H1")
        command[command.index("20,all")] = "20"
        self.assertIn("--hold-out-facility needs all among --labels", train(*command, code=2))
        self.assertFalse(os.path.exists(self.at("no/study.json")))


if __name__ == "__main__":
    sys.exit(unittest.main())
