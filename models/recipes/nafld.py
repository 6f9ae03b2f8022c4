#!/usr/bin/python3
"""The NAFLD cohort of Olmsted County (R package survival: nafld1, nafld2, nafld3) as MEDS.
usage: nafld.py FOLDER OUT.csv.gz

The data count days from each subject's entry and hide the calendar. Here the follow-up of everyone
who was alive at its end closes on one day, CLOSED, and entry lies so many days before: whoever has
`horizon_days` left before the record's end is then exactly who was followed for so long. How long
the dead would have been followed is unknown; the subjects that were matched with them tell, by the
median of those alive, but never less than the days until they died.

Values become codes between fixed cut points, which nothing has to be fitted for."""
import collections
import datetime
import statistics
import sys

import meds

CLOSED = datetime.date(2016, 12, 31)
CUTS = {"bmi": (18.5, 20, 22.5, 25, 27.5, 30, 32.5, 35, 40),
        "sbp": (100, 110, 120, 130, 140, 150, 160, 180), "dbp": (60, 70, 80, 90, 100, 110),
        "hdl": (30, 35, 40, 45, 50, 60, 75), "chol": (160, 180, 200, 220, 240, 280),
        "fib4": (1.3, 2.67, 3.25, 5)}
# Outside of these a value is no measurement of a living person but a slip.
POSSIBLE = {"sbp": (50, 300), "dbp": (20, 200), "hdl": (5, 250), "chol": (50, 1000),
            "fib4": (0, 100), "bmi": (8, 100)}
# In the release at hand these repeat another test's values, row by row.
COPIES = {"chol": "hdl", "dbp": "sbp"}


def whole(text):
    """A whole number of days; None for an empty field or R's NA."""
    return None if text in ("", "NA") else int(text)


def finding(test, value):
    return f"FINDING//{test}//{meds.band(value, CUTS[test])}"


def possible(test, value):
    low, high = POSSIBLE[test]
    return low <= value <= high


def entries(people):
    """When each subject entered, from what is known of follow-up: see the head of this file."""
    alive = collections.defaultdict(list)
    for person in people:
        if person["status"] == "0":
            alive[person["case.id"]].append(int(person["futime"]))
    everyone = sorted(days for group in alive.values() for days in group)
    for person in people:
        days = int(person["futime"])
        if person["status"] != "0":
            days = max(days, int(statistics.median_high(alive[person["case.id"]] or everyone)))
        yield meds.day_after(CLOSED, -days)


def read_people(folder):
    columns = ("id", "age", "male", "bmi", "case.id", "futime", "status")
    with meds.table(folder, "nafld1", columns) as rows:
        people = sorted(rows, key=lambda row: int(row["id"]))
    if not any(person["status"] == "0" for person in people):
        raise meds.Problem(f"{folder}: nafld1 has no subject with status 0")
    subjects = {}
    for person, entry in zip(people, entries(people)):
        subject = meds.Subject(int(person["id"]), "M" if person["male"] == "1" else "F",
                               meds.birth_of(entry, int(person["age"]) + 0.5))
        if subject.number in subjects:
            raise meds.Problem(f"{folder}: nafld1 has the subject {subject.number} twice")
        subjects[subject.number] = (subject, entry)
        subject.add(entry, "ENTRY")
        if person["bmi"] not in ("", "NA") and possible("bmi", float(person["bmi"])):
            subject.add(entry, finding("bmi", float(person["bmi"])), person["bmi"])
        if person["status"] == "0":
            subject.add(CLOSED, "FOLLOW_UP//END")
        else:
            subject.add(meds.day_after(entry, int(person["futime"])), "MEDS_DEATH")
    return subjects


def read_events(folder, subjects, leave_out):
    with meds.table(folder, "nafld3", ("id", "days", "event")) as rows:
        for row in rows:
            days = whole(row["days"])
            if int(row["id"]) not in subjects:
                leave_out("event of an unknown subject")
            elif days is None:
                leave_out("event without a day")
            else:
                subject, entry = subjects[int(row["id"])]
                subject.add(meds.day_after(entry, days), f"EVENT//{row['event']}")


def read_values(folder, subjects, leave_out):
    """A subject has one value of a test on a day. Copies of other tests are found, not assumed."""
    values = {}
    with meds.table(folder, "nafld2", ("id", "days", "test", "value")) as rows:
        for row in rows:
            values[int(row["id"]), int(row["days"]), row["test"]] = row["value"]
    for (number, days, test), text in values.items():
        if number not in subjects:
            leave_out("value of an unknown subject")
            continue
        subject, entry = subjects[number]
        day = meds.day_after(entry, days)
        if test in COPIES and values.get((number, days, COPIES[test])) == text:
            leave_out(f"{test} that repeats {COPIES[test]}")
        elif test == "smoke":
            subject.add(day, "FINDING//smoker//yes" if float(text) > 0 else "FINDING//smoker//no")
        elif test not in CUTS:
            leave_out(f"unknown test {test}")
        elif not possible(test, float(text)):
            leave_out(f"impossible {test}")
        else:
            subject.add(day, finding(test, float(text)), text)


def recipe(folder, left_out):
    counts = collections.Counter()
    subjects = read_people(folder)
    read_events(folder, subjects, lambda reason: counts.update([reason]))
    read_values(folder, subjects, lambda reason: counts.update([reason]))
    left_out.update(counts)
    for subject, _ in subjects.values():
        yield subject


if __name__ == "__main__":
    sys.exit(meds.main(recipe, __doc__.splitlines()[1]))
