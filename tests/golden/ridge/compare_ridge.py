"""Our penalised regression on sparse rows against scikit-learn's on the same columns, standardised
there by StandardScaler: coefficients and logits to 1e-6, and the same bytes with any threads."""
import subprocess
import sys
import warnings

try:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
except ImportError as missing:
    print("1..0 # SKIP", missing)
    sys.exit(0)

PROBE = sys.argv[1]
# At this tolerance scikit-learn ends where rounding ends, and says so.
warnings.filterwarnings("ignore")


def ours(x, label, penalty, threads):
    lines = [f"{x.shape[1]} {penalty!r} {threads}"]
    for row, y in zip(x, label):
        filled = np.flatnonzero(row)
        lines.append(f"{y} {len(filled)} " + " ".join(f"{j} {float(row[j])!r}" for j in filled))
    done = subprocess.run([PROBE], input="\n".join(lines), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"not ok - the probe ended with {done.returncode}: {done.stderr}")
    return done.stdout


def case(rng, n, d, prevalence, constant=False):
    """Sparse counts as features have them, some dense columns far from 0, and a label of some."""
    x = np.where(rng.random((n, d)) < 0.1, np.log1p(rng.integers(1, 20, (n, d))), 0)
    x[:, 0] = rng.normal(7, 0.5, n)
    x[:, 1] = rng.normal(-3, 0.01, n)
    if constant:
        x[:, 2], x[:, 3] = 0, 1.5
    weight = rng.normal(0, 0.7, d) * (rng.random(d) < 0.3)
    eta = x @ weight
    eta += np.log(prevalence / (1 - prevalence)) - eta.mean()
    return x.astype(np.float32), (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)


def main():
    rng = np.random.default_rng(20261126)
    cases = [(400, 20, 0.3, 1.0, False), (2000, 150, 0.05, 10.0, False), (300, 500, 0.5, 30.0, False),
             (1000, 60, 0.1, 0.1, True), (3000, 100, 0.03, 1000.0, False)]
    print(f"1..{len(cases)}")
    failed = False
    for number, (n, d, prevalence, penalty, constant) in enumerate(cases, 1):
        x, label = case(rng, n, d, prevalence, constant)
        text = ours(x, label, penalty, 1)
        got = np.array([float(v) for v in text.split()])
        scaled = StandardScaler().fit_transform(x.astype(np.float64))
        fit = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-10,
                                 max_iter=300).fit(scaled, label)
        wanted = np.concatenate([fit.intercept_, fit.coef_[0], fit.decision_function(scaled)])
        worst = np.abs(got - wanted).max()
        same = text == ours(x, label, penalty, 3)
        passed = worst < 1e-6 and same
        failed = failed or not passed
        print(f"{'ok' if passed else 'not ok'} {number} - {n} rows, {d} columns, penalty {penalty}: "
              f"largest difference {worst:.1e}, {'same' if same else 'OTHER'} bytes on 3 threads")
    sys.exit(1 if failed else 0)


main()
