#!/usr/bin/python3
"""Diabetes in 130 US hospitals, 1999-2008 (UCI, Strack et al. 2014) as MEDS.
usage: uci.py FOLDER OUT.csv.gz

The data have encounters in an order but no dates. Here they lie SPACING days apart, and the last one
of every patient on one day, CLOSED. A horizon of SPACING days then holds the next encounter and no
other, and whoever has no next encounter has no horizon inside the record and is not asked about. The
record of a patient opens SPACING - 1 days before the first encounter: a day drawn from the record
then falls as often to the first encounter as to any other.

Left out: `readmitted`, which is known only later; race, payer and weight (97 % missing)."""
import collections
import datetime
import sys

import meds

CLOSED = datetime.date(2008, 12, 31)
SPACING = 91
NAME = "diabetic_data"
DIAGNOSES = ("diag_1", "diag_2", "diag_3")
DRUGS = ("metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride",
         "acetohexamide", "glipizide", "glyburide", "tolbutamide", "pioglitazone",
         "rosiglitazone", "acarbose", "miglitol", "troglitazone", "tolazamide", "examide",
         "citoglipton", "insulin", "glyburide-metformin", "glipizide-metformin",
         "glimepiride-pioglitazone", "metformin-rosiglitazone", "metformin-pioglitazone")
# column: name of the finding, values that say nothing
CATEGORIES = {"admission_type_id": ("admission", {"5", "6", "8"}),
              "admission_source_id": ("source", {"9", "15", "17", "20", "21"}),
              "discharge_disposition_id": ("discharge", {"18", "25", "26"}),
              "medical_specialty": ("specialty", {"?"}), "max_glu_serum": ("glucose", {"None"}),
              "A1Cresult": ("a1c", {"None"}), "change": ("change", {"No"})}
# column: name of the finding, cut points; below the first one there is nothing to say
COUNTS = {"time_in_hospital": ("stay", (1, 2, 3, 4, 6, 9)),
          "num_lab_procedures": ("labs", (1, 20, 35, 45, 55, 65)),
          "num_procedures": ("procedures", (1, 2, 3, 5)),
          "num_medications": ("drugs", (1, 8, 12, 16, 20, 26)),
          "number_outpatient": ("outpatient", (1, 2, 4)),
          "number_emergency": ("emergency", (1, 2, 4)),
          "number_inpatient": ("inpatient", (1, 2, 3, 5)),
          "number_diagnoses": ("diagnoses", (1, 4, 5, 6, 7, 8, 9))}
EXPIRED = {"11", "19", "20", "21"}
SEXES = {"Female": "F", "Male": "M"}


def icd9(code):
    """ICD-9-CM as it is written: numbers have lost the zeros in front (8 is 008, infections)."""
    whole, dot, rest = code.partition(".")
    return (whole.zfill(3) if whole.isdigit() else whole) + dot + rest


def middle(age):
    """55 for [50-60)."""
    low, high = age.strip("[)").split("-")
    return (int(low) + int(high)) / 2


def add_encounter(subject, day, row):
    subject.add(day, "HOSPITAL_ADMISSION")
    for column in DIAGNOSES:
        if row[column] != "?":
            subject.add(day, f"DIAGNOSIS//ICD//9//{icd9(row[column])}")
    for drug in DRUGS:
        if row[drug] != "No":
            subject.add(day, f"MEDICATION//{drug}//{row[drug].lower()}")
    for column, (name, nothing) in CATEGORIES.items():
        if row[column] not in nothing:
            subject.add(day, f"FINDING//{name}//{row[column]}")
    for column, (name, cuts) in COUNTS.items():
        if int(row[column]) >= cuts[0]:
            subject.add(day, f"FINDING//{name}//{meds.band(int(row[column]), cuts)}", row[column])


def subject_of(number, encounters):
    first, last = encounters[0], encounters[-1]
    days = [meds.day_after(CLOSED, -SPACING * back) for back in reversed(range(len(encounters)))]
    subject = meds.Subject(number, SEXES.get(first["gender"]),
                           meds.birth_of(days[0], middle(first["age"])))
    subject.add(meds.day_after(days[0], 1 - SPACING), "RECORD//START")
    for day, row in zip(days, encounters):
        add_encounter(subject, day, row)
    # A few go on after they have "expired": there the later encounter is believed.
    if last["discharge_disposition_id"] in EXPIRED:
        subject.add(CLOSED, "MEDS_DEATH")
    return subject


def recipe(folder, left_out):
    columns = ("encounter_id", "patient_nbr", "gender", "age", *DIAGNOSES, *DRUGS, *CATEGORIES,
               *COUNTS)
    patients = collections.defaultdict(list)
    with meds.table(folder, NAME, columns) as rows:
        for row in rows:
            patients[int(row["patient_nbr"])].append({column: row[column] for column in columns})
    unknown = 0
    for number, encounters in sorted(patients.items()):
        encounters.sort(key=lambda row: int(row["encounter_id"]))
        unknown += encounters[0]["gender"] not in SEXES
        yield subject_of(number, encounters)
    if unknown:
        left_out["sex that is neither Female nor Male"] = unknown


if __name__ == "__main__":
    sys.exit(meds.main(recipe, __doc__.splitlines()[1]))
