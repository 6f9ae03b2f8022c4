#!/usr/bin/python3
"""The closing table of a recipe, out of a study's report.json: for each task average precision and
AUROC with 95 % intervals of the model that answers, beside boosted trees, the regression, and age and
sex; the paired difference to the trees; calibration.
usage: table.py OUT/report.json"""
import json
import sys

MEASURES = (("average precision", "average_precision"), ("AUROC", "auroc"))


def interval(figure, sign=""):
    """0.412 (0.351 to 0.487); a figure that does not exist is a dash."""
    if not figure or figure["value"] is None:
        return "-"
    text = f"{figure['value']:{sign}.3f}"
    if figure.get("low") is None:
        return text
    return f"{text} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"


def name_of(arm):
    return arm["engine"] or f"{arm['size']} {'from scratch' if arm['init'] == 'scratch' else arm['init']}"


def same(item, **wanted):
    return all(item[key] == value for key, value in wanted.items())


def task_lines(report, task, split):
    name, labels = task["name"], "all"
    groups = [group for group in report["groups"] if same(group, split=split, task=name, labels=labels)]
    chosen = next((row for row in report["saturation"]
                   if same(row, task=name, labels=labels) and row["chosen"] is not None), None)
    panel = task[split]
    yield f"{name}, {split}: {panel['patients']} patients, {panel['positives']} with the outcome"
    rows = [(name_of(group["arm"]), group) for group in groups]
    model = next((group for group in groups if chosen is not None and group["arm"]["engine"] is None
                  and same(group["arm"], size=chosen["chosen"], init=chosen["init"])), None)
    if model is not None:
        rows.append(("age and sex", model["age_sex"]))
    yield f"  {'':<28}" + "".join(f"{title:<28}" for title, _ in MEASURES)
    for title, figures in rows:
        mark = "*" if figures is model else " "
        cells = "".join(f"{interval(figures[key]):<28}" for _, key in MEASURES)
        yield f"  {title:<26}{mark} {cells}".rstrip()
    for contrast in report["contrasts"]:
        if model is not None and same(contrast, split=split, task=name, labels=labels,
                                      a=model["arm"]) and contrast["kind"] in (
                                          "model_minus_engine", "pretrained_minus_scratch"):
            cells = "".join(f"{interval(contrast[key], '+'):<28}" for _, key in MEASURES)
            yield f"  {'* minus ' + name_of(contrast['b']):<28}{cells}".rstrip()
    for check in report["calibration"]:
        if same(check, task=name, split=split):
            metrics = check["metrics"]
            yield (f"  * observed / expected {interval(metrics['observed_to_expected'])}, calibration "
                   f"slope {interval(metrics['calibration_slope'])}")


def lines(report):
    split = "held_out" if report["options"]["held_out_open"] else "tuning"
    if split == "tuning":
        yield "So far, on the tuning split alone: the study is not finished."
    for task in report["tasks"]:
        if task[split] is not None and task[split]["cells"] > 0:
            yield from task_lines(report, task, split)
            yield ""
    yield "* the model that answers; differences are paired by patient. " + report["notice"]


def main():
    if len(sys.argv) != 2:
        print(__doc__.splitlines()[-1], file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as problem:
        print(f"table.py: {problem}", file=sys.stderr)
        return 3
    print("\n".join(lines(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
