"""Writes seeds for the fuzzers: make_corpus.py FOLDER makes FOLDER/checkpoint and
FOLDER/model_json with a few small files each, right ones and nearly right ones."""
import hashlib
import json
import os
import struct
import sys


def safetensors(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def checkpoints():
    zeros = bytes(64)
    yield safetensors({}, b"")
    yield safetensors({"__metadata__": {"format": "rezept-model", "seed": "1"}}, b"")
    yield safetensors({"w": tensor([2, 3], 0, 24)}, zeros[:24])
    yield safetensors(
        {"__metadata__": {"a": "é"}, "a.b": tensor([4], 0, 16), "c": tensor([], 16, 20)}, zeros[:20]
    )
    yield safetensors({"a": tensor([0, 7], 0, 0), "b": tensor([1], 0, 4)}, zeros[:4])
    yield safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 2, 6)}, zeros[:6])
    yield safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, zeros[:12])
    yield safetensors({"w": tensor([1 << 62], 0, 0)}, b"")
    yield safetensors({"w": tensor([2], 8, 0)}, zeros[:8])
    yield safetensors({"w": tensor([2], 0, 8)}, struct.pack("<ff", 0.0, float("nan")))
    yield safetensors({"w": tensor([4], 0, 8, "F16")}, zeros[:8])
    yield safetensors(b'{"\\ud83d\\ude00":{"shape":[],"data_offsets":[0,4],"dtype":"F32"}}', zeros[:4])
    yield safetensors({}, b"", 1 << 63)


def vocabulary():
    levels = {"icd10_chars": 4, "icd9_chars": 0, "yj_chars": 7, "atc_chars": 7, "ndc_chars": 9}
    codes = [
        ["diagnosis", "icd10", "I10", 12],
        ["diagnosis", "icd10", "N189", 3],
        ["medication", "atc", "C08CA01", 5],
        ["medication", "yj", "2171022", 8],
    ]
    # The digest of core/model/vocabulary.c, so that the fuzzer gets past it.
    text = "rezept-vocabulary 1\n4 0 7 7 9\n2 100 1200\n2 2\n" + "".join(
        "%s %s %d:%s %d\n" % (kind, system, len(code), code, n) for kind, system, code, n in codes
    )
    return {
        "format_version": 1,
        "levels": levels,
        "min_patients": 2,
        "training_patients": 100,
        "age_bins": 1200,
        "codes": codes,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def tasks():
    calibration = {
        "method": "platt",
        "training_prior": 0.5,
        "prevalence": 0.125,
        "map": {"intercept": 0.25, "slope": 0.75},
        "band": {"x": [-2.0, 2.0], "low": [0.0625, 0.25], "high": [0.25, 0.75]},
        "bins": {"edges": [0.0, 0.5, 1.0], "n": [80, 20], "positives": [4, 6]},
        "tuning_n": 100,
        "tuning_positives": 10,
        "bootstraps": 1000,
    }
    # Reals that print alike here and in C, so that the id is right.
    text = json.dumps(calibration, sort_keys=True, separators=(",", ":"))
    calibration = dict(
        calibration, date="2026-02-28", id=hashlib.sha256(text.encode()).hexdigest()
    )
    task = {
        "name": "ckd",
        "kind": "disease",
        "title": {"en": "Chronic kidney disease", "ja": "慢性腎臓病"},
        "outcome": {"icd10": ["N18"]},
        "washout": "all_history",
        "index": "claim_day_by_patient_hash",
        "population": {},
        "min_history_days": 365,
        "horizon_days": 365,
    }
    head = {
        "task": task,
        "calibration": calibration,
        "age_sex": {"beta": [-3.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]},
        "metrics": {},
        "reference": {},
    }
    return {"format_version": 1, "tasks": [head]}


def onsets():
    # The digest of the vocabulary of two made-up codes (rz_vocabulary_synthetic).
    text = "rezept-vocabulary 1\n4 0 7 7 9\n0 0 1200\n1 1\n"
    text += "diagnosis local 7:D000000 0\nmedication local 7:M000001 0\n"
    row = [-3.0, 0.1, 0.9, 0.04, -0.002, 0.01, -4.0, 0, 0, 0, 0, 0, 0, 0, 100, 5, 20, 1]
    return {
        "format_version": 1,
        "vocabulary_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "precision": "float32",
        "date": "2026-02-28",
        "min_history_days": 365,
        "horizon_days": 365,
        "kinds": [],
        "metrics": {},
        "columns": [],
        "codes": [row, row],
    }


def write(folder, seeds):
    os.makedirs(folder, exist_ok=True)
    for i, seed in enumerate(seeds):
        with open(os.path.join(folder, "seed-%02d" % i), "wb") as file:
            file.write(seed)


def main():
    root = sys.argv[1]
    write(os.path.join(root, "checkpoint"), checkpoints())
    texts = [b"v" + json.dumps(vocabulary()).encode(), b"t" + json.dumps(tasks()).encode()]
    texts += [b"v{}", b'v{"format_version":1,"codes":[[]]}', b't{"format_version":1,"tasks":[{}]}']
    texts += [b"o" + json.dumps(onsets()).encode()]
    write(os.path.join(root, "model_json"), texts)


main()
