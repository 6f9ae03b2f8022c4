#!/usr/bin/python3
"""The model card of every kind of checkpoint: TRIPOD+AI's headings, and numbers that are true."""
import re
import unittest

from training import Trained, read, show, train

HEADINGS = ["Title and abstract (1, 2)", "Background and objectives (3, 4)", "Methods",
            "Source of data (5)", "Participants (6)", "Data preparation (7)", "Outcome (8)",
            "Predictors (9)", "Sample size (10)", "Missing data (11)", "Analytical methods (12)",
            "Class imbalance (13)", "Fairness (14)", "Model output (15)",
            "Training versus evaluation (16)", "Ethical approval (17)", "Open science (18)",
            "Patient and public involvement (19)", "Results", "Participants (20)",
            "Model development (21)", "Model specification (22)", "Model performance (23)",
            "Model updating (24)", "Discussion", "Interpretation (25)", "Limitations (26)",
            "Usability in care (27)"]


class Card(Trained):
    def sections(self, folder):
        """Heading -> text; the headings are all there, once and in their order."""
        card = show(folder)["card"]
        parts = re.split(r"^#{2,3} (.+)$", card, flags=re.MULTILINE)
        self.assertEqual(parts[1::2], HEADINGS)
        self.assertIn("not a diagnosis", card)
        for name, text in zip(parts[1::2], parts[2::2]):
            self.assertTrue(text.strip() or name in ("Methods", "Results", "Discussion"), name)
            self.assertLessEqual(text.lower().count("to be filled in by the hospital"), 1, name)
        self.assertNotRegex(card, r"\bnan\b|\(null\)|\binf\b")
        return dict(zip(parts[1::2], parts[2::2]))

    def test_a_fine_tuned_model(self):
        self.finetune("made")
        card = self.sections(self.at("made"))
        heads = read(self.at("made"), "tasks.json")["tasks"]
        for head in heads:
            name, metrics = head["task"]["name"], head["metrics"]
            auroc = metrics["auroc"]
            self.assertIn(f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})",
                          card["Model performance (23)"])
            self.assertIn(f"- {name}: AUROC {auroc['value']:.3f}", card["Interpretation (25)"])
            for by in ("sex", "age"):
                groups = [g for g in metrics["subgroups"] if g["by"] == by]
                for figure in ("n", "positives"):
                    self.assertEqual(sum(g[figure] for g in groups), metrics[figure])
                for g in groups:
                    row = f"| {name} | {by} {g['name']} | {g['n']} ({g['positives']}) |"
                    self.assertIn(row, card["Model performance (23)"])
                    few = min(g["positives"], g["n"] - g["positives"]) < 10
                    self.assertEqual(g["auroc"] is None, few)
        people = card["Participants (20)"]
        members = [int(n) for n in re.search(r"^\| with enough history \| (.+) \|$", people,
                                             re.MULTILINE)[1].split(" | ")]
        sexes = [[int(cell.split()[0]) for cell in row.split(" | ")] for row in
                 re.findall(r"^\| (?:female|male|sex unknown) \| (.+) \|$", people, re.MULTILINE)]
        self.assertEqual([sum(column) for column in zip(*sexes)], members)
        ages = [[int(cell.split()[0]) for cell in row.split(" | ")] for row in
                re.findall(r"^\| age \S+ \| (.+) \|$", people, re.MULTILINE)]
        self.assertEqual([sum(column) for column in zip(*ages)], members)
        self.assertIn("- steps: 2", card["Analytical methods (12)"])
        self.assertIn("Computed in float32.", card["Outcome (8)"])

    def test_drawn_labels_are_told(self):
        self.finetune("few", "--labels", "40", "--balanced", "--task", "ckd")
        card = self.sections(self.at("few"))
        self.assertIn("scores out of fold", card["Analytical methods (12)"])
        self.assertIn("| ckd | 40 (20) |", card["Sample size (10)"])
        self.assertIn("learnt from 50.00 % positives", card["Class imbalance (13)"])

    def test_calibrated_anew(self):
        train("calibrate", "--db", self.db, "--model", self.risks)
        card = self.sections(self.risks)
        self.assertIn("Calibrated anew", card["Model updating (24)"])
        self.assertIn("| task | group |", card["Model performance (23)"])

    def test_pretrained(self):
        train("pretrain", "--db", self.db, "--out", self.at("new"), "--steps", "1",
              "--evaluations", "1", "--tuning-tokens", "500", "--fold", "2/5")
        card = self.sections(self.at("new"))
        self.assertIn("predicts no outcome yet", card["Title and abstract (1, 2)"])
        self.assertIn("fold 2/5 is held out", card["Training versus evaluation (16)"])

    def test_onsets(self):
        train("finetune", "--onset", "--db", self.db, "--model", self.base, "--out",
              self.at("onset"), "--steps", "2", "--evaluations", "1", "--tuning-tokens", "1500")
        card = self.sections(self.at("onset"))
        self.assertIn("#### Onsets", card["Model performance (23)"])
        self.assertIn("first record of any code", card["Title and abstract (1, 2)"])


if __name__ == "__main__":
    unittest.main()
