#!/usr/bin/python3
"""Makes what the API tests need besides a daemon: 900 small patients, a store and a model trained on
them for some seconds (its risks mean nothing). fixture.py BUILD OUT; remade after each build."""
import json
import os
import random
import subprocess
import sys

TASKS = {
    "ckd": ("disease", "Chronic kidney disease", {"icd10": ["N18"]}),
    "amlodipine": ("medication", "Amlodipine", {"yj": ["2171022"]}),
}
COMMON = ["I10", "E119", "E785", "J069", "M545", "K219", "H259", "L309"]


def patient(random_source, number):
    """Claims of one patient, every second month from 2019 to 2024."""
    sex, birth = random_source.choice("FM"), 1930 + random_source.randrange(60)
    sick = random_source.random() < 0.3
    onset = random_source.randrange(14, 36)
    for month in range(0, 36):
        year, month_of_year = 2019 + month * 2 // 12, month * 2 % 12 + 1
        day = f"{year}-{month_of_year:02d}-{random_source.randrange(1, 28):02d}"
        codes = [random_source.choice(COMMON)] + (["I10"] if sick else [])
        medications = []
        if sick and month >= onset:
            codes.append("N189")
        if sick and month >= onset + 1:
            medications = [{"system": "yj", "code": "2171022F1029", "date": day, "days": 30}]
        yield {"claim_id": f"{number}-{month}", "facility": f"H{number % 3}",
               "patient": {"id": f"p{number}", "sex": sex, "birth_date": f"{birth}-04-01"},
               "setting": "outpatient", "start": day, "end": day, "known": day,
               "diagnoses": [{"system": "icd10", "code": code, "date": day}
                             for code in sorted(set(codes))],
               "medications": medications, "procedures": [], "labs": []}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def main():
    build, out = sys.argv[1:3]
    train = f"{build}/models/rezept-train"
    os.makedirs(f"{out}/tasks", exist_ok=True)
    done = f"{out}/models/risks/DONE"
    if os.path.exists(done) and os.path.getmtime(done) > os.path.getmtime(train):
        return
    for name, (kind, title, outcome) in TASKS.items():
        with open(f"{out}/tasks/{name}.json", "w", encoding="utf-8") as file:
            json.dump({"name": name, "kind": kind, "title": {"en": title, "ja": title},
                       "outcome": outcome, "washout": "all_history",
                       "index": "claim_day_by_patient_hash", "population": {},
                       "min_history_days": 365, "horizon_days": 365}, file)
    source = random.Random(1)
    with open(f"{out}/claims.ndjson", "w", encoding="utf-8") as file:
        for number in range(900):
            for claim in patient(source, number):
                file.write(json.dumps(claim) + "\n")
    for name in os.listdir(out):
        if name.startswith("train.db"):
            os.unlink(f"{out}/{name}")
    run(train, "import", "--db", f"{out}/train.db", "--format", "native", f"{out}/claims.ndjson")
    os.makedirs(f"{out}/models", exist_ok=True)
    common = ["--db", f"{out}/train.db", "--force", "--seed", "1"]
    run(train, "pretrain", *common, "--out", f"{out}/models/base", "--steps", "2",
        "--evaluations", "1", "--tuning-tokens", "1000")
    run(train, "finetune", *common, "--model", f"{out}/models/base", "--tasks", f"{out}/tasks",
        "--out", f"{out}/models/risks", "--shared", "--steps", "6", "--evaluations", "1",
        "--tuning-tokens", "2000")


if __name__ == "__main__":
    main()
