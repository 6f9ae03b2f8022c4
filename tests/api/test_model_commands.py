"""rezept-train vocab and show from the outside: what they print, the split, and what they refuse."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
MILLIONS = {"2.2m": 2.191, "4.7m": 4.658, "11m": 11.361, "32m": 31.847, "101m": 101.128}


def run(*arguments, code=0, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120,
                          env={**clean, **environment}, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def claim(patient, month, diagnoses, medications=()):
    day = f"2023-{month:02}-01"
    return {"claim_id": f"{patient}-{month}", "facility": "H001",
            "patient": {"id": f"p{patient}", "sex": "FM"[patient % 2], "birth_date": "1956-03-02"},
            "setting": "outpatient", "start": day, "end": day,
            "diagnoses": [{"system": "icd10", "code": code, "date": day, "suspected": suspected}
                          for code, suspected in diagnoses],
            "medications": [{"system": "yj", "code": code, "date": day} for code in medications]}


class Show(unittest.TestCase):
    def test_the_sizes_of_the_design(self):
        for size, millions in MILLIONS.items():
            shown = json.loads(run("show", "--size", size, "--vocabulary", "1930", "--json", "--no-blas"))
            self.assertEqual(shown["size"], size)
            self.assertEqual(shown["vocabulary"], 1930)
            self.assertAlmostEqual(shown["parameters"] / 1e6, millions, delta=0.0005)
            self.assertEqual(shown["parameters"], sum(t["count"] for t in shown["tensors"]))
            for tensor in shown["tensors"]:
                product = 1
                for extent in tensor["shape"]:
                    product *= extent
                self.assertEqual(product, tensor["count"], tensor["name"])

    def test_the_blas_is_named_and_inherited_settings_are_warned_of(self):
        blas = json.loads(run("show", "--size", "2.2m", "--json"))["blas"]
        self.assertGreater(blas["gflops"], 0)
        self.assertIn("OpenBLAS", blas["config"])
        self.assertNotIn("OPENBLAS", " ".join(blas["warnings"]))
        for name, value in (("OPENBLAS_CORETYPE", "Haswell"), ("OPENBLAS_L2_SIZE", "262144")):
            text = run("show", "--size", "2.2m", **{name: value})
            self.assertRegex(text, rf"warning +{name}")

    def test_usage(self):
        self.assertIn("2.2m, 4.7m", run("show", "--size", "3m", code=3))
        self.assertIn("needs one of", run("show", code=2))
        self.assertIn("needs one of", run("show", "--size", "11m", "folder", code=2))
        self.assertIn("/nonexistent", run("show", "/nonexistent", code=4))
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("DONE is missing", run("show", folder, code=4))


class Vocabulary(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.db = os.path.join(self.folder.name, "rezept.db")
        self.out = os.path.join(self.folder.name, "vocab.json")
        claims = os.path.join(self.folder.name, "claims.ndjson")
        with open(claims, "w", encoding="utf-8") as file:
            for patient in range(200):
                diagnoses = [("I10", False), ("C50.9", True)]
                if patient % 2 == 0:
                    diagnoses.append(("N18.9", False))
                medications = ["2171022F1029", "2171022F2050"] if patient % 4 else []
                for month in range(1, 4):
                    print(json.dumps(claim(patient, month, diagnoses, medications)), file=file)
        run("import", "--db", self.db, claims)

    def tearDown(self):
        self.folder.cleanup()

    def digest(self):
        with open(self.out, "rb") as file:
            return hashlib.sha256(file.read()).digest()

    def read(self):
        with open(self.out, encoding="utf-8") as file:
            return json.load(file)

    def test_codes_and_counts_of_the_training_split(self):
        text = run("vocab", "--db", self.db, "--out", self.out)
        made = self.read()
        codes = {tuple(c[:3]): c[3] for c in made["codes"]}
        self.assertEqual(set(codes), {("diagnosis", "icd10", "I10"), ("diagnosis", "icd10", "N189"),
                                      ("medication", "yj", "2171022")})
        self.assertEqual(codes["diagnosis", "icd10", "I10"], made["training_patients"])
        self.assertTrue(130 < made["training_patients"] < 190, made["training_patients"])
        self.assertIn(made["sha256"], text)
        self.assertIn("100.00 %", text)

    def test_levels_and_minimum(self):
        run("vocab", "--db", self.db, "--out", self.out, "--levels", "icd10=3,yj=4")
        self.assertEqual([c[2] for c in self.read()["codes"]], ["I10", "N18", "2171"])
        first = self.digest()
        run("vocab", "--db", self.db, "--out", self.out, "--levels", "icd10=3,yj=4")
        self.assertEqual(self.digest(), first)
        self.assertIn("minimum of 500 patients",
                      run("vocab", "--db", self.db, "--out", self.out, "--min-patients", "500", code=3))
        self.assertIn("icd10=x", run("vocab", "--db", self.db, "--levels", "icd10=x", code=2))
        self.assertIn("--db FILE", run("vocab", code=2))
        self.assertIn("nothing.db", run("vocab", "--db", "/tmp/nothing.db", code=4))

    def test_a_trained_folder_is_shown_and_a_damaged_one_refused(self):
        run("vocab", "--db", self.db, "--out", self.out)
        model = os.path.join(self.folder.name, "model")
        run("pretrain", "--db", self.db, "--out", model, "--size", "2.2m", "--steps", "2",
            "--vocab", self.out)
        shown = json.loads(run("show", model, "--json", "--no-blas"))
        self.assertEqual(shown["done"], "verified")
        self.assertEqual(shown["vocabulary_sha256"], self.read()["sha256"])
        with open(os.path.join(model, "model.safetensors"), "rb") as file:
            weights = file.read()
        self.assertEqual(shown["sha256"], hashlib.sha256(weights).hexdigest())
        self.assertIn(shown["sha256"], run("show", model, "--no-blas"))
        with open(os.path.join(model, "model.safetensors"), "wb") as file:
            file.write(weights[:-1] + bytes([weights[-1] ^ 1]))
        self.assertIn("model.safetensors has SHA-256", run("show", model, code=10))


if __name__ == "__main__":
    unittest.main()
