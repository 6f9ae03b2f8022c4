#!/usr/bin/python3
"""rezept-train pretrain, finetune and calibrate: their modes, interruption and resumption, refusals,
and that what was there before a failure is there after it."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import unittest

from training import (CLEAN, PROGRAM, ROOT, Trained, attempt, digest, digests, history, hospitals,
                      read, show, train)


def small_files():
    """No file may grow past 300 kB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and children inherit that
    resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000))


class Finetune(Trained):
    def test_one_model_for_each_task(self):
        self.finetune("one", "--separate", "--prevalence", "ckd=0.05,amlodipine=0.2")
        for task, prevalence in (("ckd", 0.05), ("amlodipine", 0.2)):
            folder = self.at(f"one-{task}")
            self.assertEqual(read(folder, "config.json")["heads"], [task])
            head = read(folder, "tasks.json")["tasks"][0]
            self.assertAlmostEqual(head["calibration"]["prevalence"], prevalence)
            self.assertEqual(show(folder)["done"], "verified")
        self.assertFalse(os.path.exists(self.at("one")))
        self.assertIn("share between 0 and 1",
                      self.finetune("two", "--prevalence", "ckd=1.5", code=2))

    def test_a_frozen_encoder_keeps_its_values_and_scratch_has_none_of_them(self):
        self.finetune("frozen", "--freeze-encoder")
        self.finetune("scratch", "--scratch", "--dropout", "0")
        base, frozen, scratch = (self.tensors(f) for f in (self.base, self.at("frozen"),
                                                           self.at("scratch")))
        shared = [name for name in base if name in frozen and not name.startswith("heads.")]
        self.assertGreater(len(shared), 20)
        self.assertEqual([n for n in shared if base[n] != frozen[n]], [])
        self.assertNotEqual(base["embedding.weight"] if "embedding.weight" in base else
                            base[shared[0]], scratch.get("embedding.weight", scratch[shared[0]]))
        parent = read(self.at("frozen"), "config.json")["training"]["parent_sha256"]
        self.assertEqual(parent, digest(self.base, "model.safetensors"))
        self.assertEqual(read(self.at("scratch"), "config.json")["training"]["parent_sha256"], "")

    def tensors(self, folder):
        with open(os.path.join(folder, "model.safetensors"), "rb") as file:
            data = file.read()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + size])
        return {name: data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]
                for name, t in header.items() if name != "__metadata__"}

    def test_the_factor_multiplies_the_rate(self):
        self.finetune("rate", "--lr", "0.002")
        self.finetune("factor", "--lr", "0.004", "--lr-factor", "0.5")
        self.finetune("own", "--lr-factor", "0.5")
        rate, factor, own = (self.tensors(self.at(f)) for f in ("rate", "factor", "own"))
        self.assertEqual(rate, factor)
        self.assertNotEqual(rate, own)
        self.assertIn("--lr-factor", self.finetune("none", "--lr-factor", "0", code=2))

    def test_few_labels_and_nothing_else(self):
        self.finetune("few", "--labels", "20", "--balanced", "--prevalence", "0.07",
                      "--task", "ckd")
        head = read(self.at("few"), "tasks.json")["tasks"][0]
        self.assertEqual((head["calibration"]["tuning_n"], head["calibration"]["tuning_positives"]),
                         (20, 10))
        self.assertAlmostEqual(head["calibration"]["training_prior"], 0.5)
        self.assertAlmostEqual(head["calibration"]["prevalence"], 0.07)
        self.assertEqual(head["metrics"]["sample"], "drawn")
        self.assertEqual(head["metrics"]["n"], 20)
        self.assertIn("lower --labels",
                      self.finetune("more", "--labels", "500", "--balanced", code=3))
        self.assertIn("--labels", self.finetune("more", "--balanced", code=2))
        self.assertIn("--negatives", self.finetune("more", "--cross-fit", "--negatives", "3", code=2))

    def resumed(self, name, flags, ready):
        whole, broken = self.at(f"{name}-whole"), self.at(f"{name}-broken")
        call = [*flags, "--db", self.db, "--save-seconds", "0.01", "--tuning-tokens", "1500"]
        train(*call, "--out", whole)
        command = [*call, "--out", broken]
        for sign, wanted in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            code, error = self.interrupted([*command, "--resume"], sign,
                                           lambda: os.path.exists(f"{broken}/{ready}"))
            self.assertEqual(code, wanted, error)
            self.assertFalse(os.path.exists(f"{broken}/DONE"))
        self.assertIn("--resume", train(*command, code=5))
        train(*command, "--resume")
        for file in ("model.safetensors", "config.json", "vocab.json"):
            self.assertEqual(digest(whole, file), digest(broken, file), file)
        if os.path.exists(f"{whole}/tasks.json"):
            self.assertEqual(digest(whole, "tasks.json"), digest(broken, "tasks.json"))
        self.assertFalse(os.path.exists(f"{broken}/resume"))

    def test_interrupted_and_killed_pretraining_gives_the_same_bytes(self):
        self.resumed("pre", ["pretrain", "--steps", "4", "--evaluations", "1", "--batch-tokens",
                             "1000"], "resume/state.json")

    def test_interrupted_and_killed_pretraining_in_bf16_gives_the_same_bytes(self):
        self.resumed("low", ["pretrain", "--steps", "4", "--evaluations", "1", "--batch-tokens",
                             "1000", "--precision", "bf16"], "resume/state.json")

    def test_interrupted_and_killed_finetuning_gives_the_same_bytes(self):
        self.resumed("fine", ["finetune", "--model", self.base, "--tasks", self.tasks, "--steps",
                              "10", "--evaluations", "1"], "resume/state.json")

    def test_interrupted_and_killed_cross_fitting_gives_the_same_bytes(self):
        self.resumed("few", ["finetune", "--model", self.base, "--tasks", self.tasks, "--steps",
                             "4", "--evaluations", "1", "--labels", "40", "--balanced"], "resume/part-1.json")

    def test_bf16_learns_what_float32_learns(self):
        losses = {}
        for precision in ("float32", "bf16"):
            out = self.at(precision)
            train("pretrain", "--db", self.db, "--out", out, "--steps", "30", "--batch-tokens",
                  "1000", "--evaluations", "3", "--tuning-tokens", "1500", "--dropout", "0",
                  "--precision", precision)
            with open(f"{out}/log.csv", encoding="utf-8") as file:
                rows = [line.split(",") for line in file.read().split()]
            at = rows[0].index("loss")
            losses[precision] = [float(r[at]) for r in rows[1:] if r[at]]
            with open(f"{out}/card.md", encoding="utf-8") as file:
                self.assertIn(f"- precision: {precision}", file.read())
        self.assertEqual(len(losses["float32"]), len(losses["bf16"]))
        self.assertNotEqual(losses["float32"], losses["bf16"])
        for a, b in zip(losses["float32"], losses["bf16"]):
            self.assertAlmostEqual(a, b, delta=0.01 * a)
        self.assertIn("nothing learns in int8: --precision float32 or bf16",
                      self.finetune("int8", "--precision", "int8", code=2))
        self.assertIn("--precision fp8: float32, bf16 or int8",
                      self.finetune("fp8", "--precision", "fp8", code=2))

    def test_minutes_end_a_run(self):
        text = self.finetune("timed", "--minutes", "0.05", "--task", "ckd")
        self.assertIn("fine-tuned", text)
        self.assertEqual(show(self.at("timed"))["done"], "verified")


class Refusals(Trained):
    def test_a_finished_model_is_not_overwritten(self):
        before = digests(self.risks)
        self.assertIn("--force", self.finetune("risks", code=5))
        self.assertIn("nothing is left to do", self.finetune("risks", "--resume"))
        self.assertEqual(digests(self.risks), before)
        # What --force throws away is not lost to a mistake in the same command.
        empty, base = self.store("none", []), self.at("base")
        shutil.copytree(self.base, base)
        for code, wrong in ((2, ["--db", self.db]), (4, ["--db", self.at("no.db"), "--steps", "1"]),
                            (3, ["--db", empty, "--steps", "1"])):
            train("finetune", "--model", self.base, "--tasks", self.tasks, "--out", self.risks,
                  "--force", *wrong, code=code)
            train("pretrain", "--out", base, "--force", *wrong, code=code)
            self.assertEqual(digests(self.risks), before)
            self.assertEqual(show(base)["done"], "verified")
        self.finetune("risks", "--force", "--task", "ckd")
        self.assertEqual(read(self.risks, "config.json")["heads"], ["ckd"])

    def test_a_full_disk_names_the_file_and_leaves_no_model(self):
        error = self.finetune("full", code=8, limit=small_files)
        self.assertRegex(error, r"full/.*(cache|state|model|safetensors)")
        self.assertFalse(os.path.exists(self.at("full/DONE")))
        before = digests(self.risks)
        error = train("calibrate", "--db", self.db, "--model", self.risks, code=8,
                      limit=small_files)
        self.assertIn(self.folder, error)
        self.assertEqual(digests(self.risks), before)
        self.finetune("full", "--force")
        self.assertEqual(show(self.at("full"))["done"], "verified")

    def test_wrong_calls(self):
        call = ["--out", self.at("x"), "--tasks", self.tasks, "--steps", "1"]
        self.assertIn("--model", train("finetune", "--db", self.db, *call, code=2))
        self.assertIn("--out", train("finetune", "--db", self.db, "--model", self.base, "--tasks",
                                     self.tasks, code=2))
        self.assertIn("--depth", train("finetune", "--depth", "3", code=2))
        self.assertIn("no task scurvy", self.finetune("x", "--task", "scurvy", code=4))
        self.assertIn("platt or isotonic", self.finetune("x", "--method", "beta", code=2))
        self.assertIn("--fold", self.finetune("x", "--fold", "0/5", code=2))
        self.assertIn("needs an end", train("pretrain", "--db", self.db, "--out", self.at("y"),
                                            code=2))
        self.assertIn("nothing.db", train("pretrain", "--db", self.at("nothing.db"), "--out",
                                          self.at("y"), "--steps", "1", "--force", code=4))
        self.assertFalse(os.path.exists(self.at("nothing.db")))
        self.assertFalse(os.path.exists(self.at("x/DONE")))

    def test_an_empty_store_has_nothing_to_learn_from(self):
        empty = self.store("empty", [])
        error = train("pretrain", "--db", empty, "--out", self.at("p"), "--steps", "1", code=3)
        self.assertRegex(error, r"patients|items")
        error = train("finetune", "--db", empty, "--model", self.base, "--out", self.at("f"),
                      "--tasks", self.tasks, "--steps", "1", code=3)
        self.assertRegex(error, r"task \w+: the train part has 0 positives among 0 patients")
        error = train("calibrate", "--db", empty, "--model", self.risks, code=3)
        self.assertRegex(error, r"task \w+: the tuning part has 0 positives among 0 patients")
        self.assertEqual(show(self.risks)["done"], "verified")

    def test_operands_are_refused(self):
        for command in ("simulate", "vocab", "pretrain", "finetune", "baseline", "calibrate",
                        "evaluate"):
            self.assertIn(f'{command} takes no operand, not "yes"', train(command, "yes", code=2))

    def test_a_base_model_has_nothing_to_calibrate(self):
        error = train("calibrate", "--db", self.db, "--model", self.base, code=3)
        self.assertIn("no task heads to calibrate; fine-tune it first", error)


class Calibrate(Trained):
    def test_another_hospital_gives_another_calibration_of_the_same_weights(self):
        before, old = digests(self.risks), read(self.risks, "tasks.json")
        other = self.store("other", [c for p in range(600) for c in history(
            f"q{p}", 26 if p % 3 == 0 else None, code="N189")])
        # Nobody there takes amlodipine: nothing to calibrate that head on, nothing is changed.
        error = train("calibrate", "--db", other, "--model", self.risks, code=3)
        self.assertIn("task amlodipine", error)
        self.assertEqual(digests(self.risks), before)
        self.finetune("ckd", "--task", "ckd")
        weights, first = digest(self.at("ckd"), "model.safetensors"), read(self.at("ckd"),
                                                                           "tasks.json")
        train("calibrate", "--db", other, "--model", self.at("ckd"))
        second = read(self.at("ckd"), "tasks.json")
        self.assertNotEqual(first["tasks"][0]["calibration"]["id"],
                            second["tasks"][0]["calibration"]["id"])
        self.assertEqual(weights, digest(self.at("ckd"), "model.safetensors"))
        self.assertEqual(show(self.at("ckd"))["done"], "verified")
        self.assertEqual(old["tasks"][0]["task"], read(self.risks, "tasks.json")["tasks"][0]["task"])
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith(".")], [])

    def test_a_precision_is_served_where_it_ranks_alike_and_refused_elsewhere(self):
        error = train("calibrate", "--db", self.db, "--model", self.risks, "--precision", "fp8",
                      code=2)
        self.assertIn("--precision fp8: float32, bf16 or int8", error)
        served = set()
        for precision in ("bf16", "int8"):
            before, name = digests(self.risks), self.at(precision)
            shutil.copytree(self.risks, name)
            done = attempt("calibrate", "--db", self.db, "--model", name, "--precision", precision)
            if done.returncode != 0:
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(f"in {precision} and", done.stderr)
                self.assertIn("in another --precision", done.stderr)
                self.assertEqual(digests(name), before)
                continue
            self.assertEqual({t["precision"] for t in show(name)["tasks"]}, {precision})
            with open(os.path.join(name, "card.md"), encoding="utf-8") as file:
                card = file.read()
            for head in read(name, "tasks.json")["tasks"]:
                chosen = head["metrics"]["precision"]
                low, whole = chosen["average_precision"], chosen["average_precision_float32"]
                self.assertLessEqual(abs(low - whole), chosen["difference_max"])
                self.assertIn(f"Computed in {precision}: average precision on the tuning split {low:.4f}, "
                              f"in float32 {whole:.4f}; they may differ by "
                              f"{chosen['difference_max']:.3f}.", card)
            self.assertEqual(card.count(f" | {precision} |"), 2)
            train("calibrate", "--db", self.db, "--model", name)  # as it is
            self.assertEqual({t["precision"] for t in show(name)["tasks"]}, {precision})
            train("calibrate", "--db", self.db, "--model", name, "--precision", "float32")
            self.assertEqual({t["precision"] for t in show(name)["tasks"]}, {"float32"})
            with open(os.path.join(name, "card.md"), encoding="utf-8") as file:
                self.assertEqual(file.read().count("Computed in float32."), 2)
            served.add(precision)
        print("served in", served or "float32 alone", file=sys.stderr)

    def test_an_interrupted_calibration_leaves_the_old_model(self):
        before = digests(self.risks)
        code, error = self.interrupted(
            ["calibrate", "--db", self.db, "--model", self.risks], signal.SIGKILL,
            lambda: any(n.startswith(".risks.") for n in os.listdir(self.folder)))
        self.assertEqual(code, -9, error)
        self.assertEqual(digests(self.risks), before)
        self.assertEqual(show(self.risks)["done"], "verified")
        train("calibrate", "--db", self.db, "--model", self.risks, "--prevalence", "0.04")
        after = read(self.risks, "tasks.json")["tasks"]
        self.assertEqual([round(t["calibration"]["prevalence"], 9) for t in after], [0.04, 0.04])

    def test_the_log_is_no_more_open_than_the_model(self):
        self.finetune("modes")
        modes = {n: os.stat(os.path.join(self.at("modes"), n)).st_mode & 0o777
                 for n in os.listdir(self.at("modes")) if not n.startswith(".")}
        self.assertIn("log.csv", modes)
        self.assertEqual(set(modes.values()), {0o640}, modes)

    def test_a_full_disk_is_named_and_has_its_code(self):
        out = self.at("claims.ndjson")
        error = train("simulate", "--patients", "300", "--out", out, limit=small_files, code=8)
        self.assertIn(f"{out}: cannot write the claims", error)
        self.assertFalse([n for n in os.listdir(self.folder) if n.startswith("claims")])
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "show", "--size", "2.2m", "--no-blas"], stdout=full,
                                  stderr=subprocess.PIPE, env=CLEAN, check=False)
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertIn(b"No space left", done.stderr)


class Readme(Trained):
    """The README's commands for one's own claims, word for word but for a length of two steps and the
    tasks that a small record has."""

    def test_the_commands_run_as_they_stand(self):
        with open(f"{ROOT}/README.md", encoding="utf-8") as file:
            block = file.read().split("## Your own claims")[1].split("```")[1]
        lines = [line.split("#")[0].split() for line in
                 block.removeprefix("sh").replace("\\\n", " ").splitlines() if line.strip()]
        commands = [line[1] for line in lines]
        self.assertEqual(commands, ["import", "pretrain", "finetune", "finetune", "evaluate",
                                    "baseline", "serve"])
        os.makedirs(self.at("models"))
        os.symlink(self.tasks, self.at("models/tasks"))
        with open(self.at("claims.ndjson"), "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(one)}\n" for one in hospitals())
        short = {"REZEPT_STEPS": "2", "REZEPT_EVALUATIONS": "1", "REZEPT_BOOTSTRAPS": "20",
                 "REZEPT_GRID": "small", "REZEPT_TUNING_TOKENS": "1500"}
        for line in lines[:-1]:
            self.assertEqual(line[0], "rezept-train")
            if line[1] in ("pretrain", "finetune"):  # which without an end of its own is refused
                self.assertIn("--epochs", line)
            done = subprocess.run([PROGRAM, *line[1:]], cwd=self.folder, env={**CLEAN, **short},
                                  capture_output=True, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, f"{' '.join(line)}: {done.stderr}")
        self.assertEqual([show(self.at(f"models/{name}"))["done"]
                          for name in ("base", "onset", "risks")], ["verified"] * 3)
        self.assertTrue(os.path.exists(self.at("report/report.html")))


if __name__ == "__main__":
    unittest.main()
