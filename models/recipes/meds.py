"""MEDS as CSV: subject_id,time,code,numeric_value, the rows of a subject together and static ones
first, as `rezept-train import --format meds` reads them. The same rows give the same bytes."""
import contextlib
import csv
import datetime
import gzip
import io
import os
import sys

HEADER = ("subject_id", "time", "code", "numeric_value")
DAYS_IN_YEAR = 365.25


class Problem(Exception):
    """What is wrong with a file, and where."""


def day_after(day, days):
    return day + datetime.timedelta(days=days)


def birth_of(day, age_years):
    """The birth date of someone of this age, which may be a fraction, on a day."""
    return day_after(day, -round(age_years * DAYS_IN_YEAR))


def band(value, cuts):
    """The band of a value between fixed cut points: "<120", "120-130" (130 is in the next), ">=160"."""
    below = [cut for cut in cuts if cut <= value]
    if not below:
        return f"<{cuts[0]}"
    return f">={cuts[-1]}" if len(below) == len(cuts) else f"{below[-1]}-{cuts[len(below)]}"


class Subject:
    """One subject: static facts and dated codes, of which equal ones on a day are one."""

    def __init__(self, number, sex=None, birth=None):
        self.number, self.sex, self.birth = number, sex, birth
        self.codes = {}

    def add(self, day, code, value=""):
        self.codes.setdefault((day, code), value)

    def rows(self):
        if self.sex is not None:
            yield (self.number, "", f"GENDER//{self.sex}", "")
        if self.birth is not None:
            yield (self.number, f"{self.birth} 00:00:00", "MEDS_BIRTH", "")
        for (day, code), value in sorted(self.codes.items()):
            yield (self.number, f"{day} 00:00:00", code, value)


@contextlib.contextmanager
def table(folder, name, columns):
    """The rows of NAME.csv or NAME.csv.gz of a folder as dictionaries, once its columns are there."""
    path = os.path.join(folder, f"{name}.csv")
    if not os.path.exists(path):
        path += ".gz"
    if not os.path.exists(path):
        raise Problem(f"{folder} has neither {name}.csv nor {name}.csv.gz")
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or [])]
        if missing:
            raise Problem(f"{path}: no column {', '.join(missing)}")
        yield reader


def write_rows(path, packed, subjects):
    n_subjects = n_rows = 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "wb"))
        if packed:  # the header of gzip holds no time and no name, which would differ
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        text = stack.enter_context(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        for subject in subjects:
            n_subjects += 1
            for row in subject.rows():
                writer.writerow(row)
                n_rows += 1
    return n_subjects, n_rows


def write(path, subjects):
    """Writes the subjects in their order, gzip where the name ends in .gz, whole or not at all; gives
    how many subjects and rows."""
    part = f"{path}.part"
    try:
        counts = write_rows(part, path.endswith(".gz"), subjects)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    os.replace(part, path)
    return counts


def main(recipe, usage):
    """RECIPE DATA OUT: `recipe(folder, left_out)` yields subjects and counts in left_out, by reason,
    the rows that it does not use."""
    if len(sys.argv) != 3:
        print(usage, file=sys.stderr)
        return 2
    left_out = {}
    try:
        n_subjects, n_rows = write(sys.argv[2], recipe(sys.argv[1], left_out))
    except (Problem, OSError, EOFError) as problem:
        print(f"{os.path.basename(sys.argv[0])}: {problem}", file=sys.stderr)
        return 3
    print(f"{sys.argv[2]}: {n_subjects} subjects, {n_rows} rows")
    for reason, rows in sorted(left_out.items()):
        print(f"  left out: {reason} {rows}")
    return 0
