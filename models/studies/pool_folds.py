"""Held-out scores of all folds in one table: AUROC within folds (weighted mean) and average precision
of the pooled risks, for the model and for age and sex alone, with intervals by resampling patients."""
import csv
import sys

import numpy
from sklearn.metrics import average_precision_score, roc_auc_score

folds = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folds.append({key: numpy.array([float(row[key]) for row in rows])
                  for key in ("label", "probability", "age_sex")})


def figures(parts, key):
    weighted, weight = 0.0, 0
    for part in parts:
        positives = part["label"].sum()
        if 0 < positives < len(part["label"]):
            weighted += len(part["label"]) * roc_auc_score(part["label"], part[key])
            weight += len(part["label"])
    label = numpy.concatenate([part["label"] for part in parts])
    score = numpy.concatenate([part[key] for part in parts])
    if weight == 0:
        return numpy.nan, numpy.nan
    return weighted / weight, average_precision_score(label, score)


labels = numpy.concatenate([fold["label"] for fold in folds])
print(f"{len(folds)} folds, {len(labels)} patients, {int(labels.sum())} with the outcome")
rng = numpy.random.default_rng(1)
resampled = {"probability": [], "age_sex": []}
for _ in range(1000):
    parts = []
    for fold in folds:
        pick = rng.integers(0, len(fold["label"]), len(fold["label"]))
        parts.append({key: values[pick] for key, values in fold.items()})
    for key, values in resampled.items():
        values.append(figures(parts, key))
for key, title in (("probability", "model"), ("age_sex", "age and sex alone")):
    auroc, precision = figures(folds, key)
    low, high = numpy.nanpercentile(resampled[key], [2.5, 97.5], axis=0)
    print(f"{title:<18} AUROC {auroc:.3f} ({low[0]:.3f} to {high[0]:.3f})"
          f"   average precision {precision:.3f} ({low[1]:.3f} to {high[1]:.3f})")
difference = numpy.array(resampled["probability"]) - numpy.array(resampled["age_sex"])
low, high = numpy.nanpercentile(difference, [2.5, 97.5], axis=0)
print(f"difference         AUROC {low[0]:+.3f} to {high[0]:+.3f}"
      f"   average precision {low[1]:+.3f} to {high[1]:+.3f}")
