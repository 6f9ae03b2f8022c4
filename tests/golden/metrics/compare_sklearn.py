"""Our metrics against scikit-learn's, on random scores of many kinds, to 1e-9.

What scikit-learn does not have (slope, intercept, ECE) is computed here by other means: slope and
intercept from its unpenalised regression, the ECE with numpy's histogram.
"""
import subprocess
import sys

try:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
except ImportError as missing:
    print("1..0 # SKIP", missing)
    sys.exit(0)

PROBE = sys.argv[1]


def ours(label, score):
    text = "".join(f"{y} {float(s)!r}\n" for y, s in zip(label, score))
    out = subprocess.run([PROBE], input=text, capture_output=True, text=True, check=True).stdout
    return {name: float(value) for name, value in (line.split() for line in out.splitlines())}


def newton(design, label, offset):
    """Unpenalised maximum likelihood in numpy: the independent half of slope and intercept."""
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-(design @ beta + offset)))
        hessian = design.T @ (design * (p * (1 - p))[:, None])
        step = np.linalg.solve(hessian, design.T @ (label - p))
        beta += step
        if np.abs(step).max() < 1e-13:
            break
    return beta


def theirs(label, score):
    logit = np.log(score) - np.log1p(-score)
    one = np.ones((len(score), 1))
    bins = np.minimum(np.floor(score * 10).astype(int), 9)
    gap = sum(abs(score[bins == b].sum() - label[bins == b].sum()) for b in range(10))
    return {
        "auroc": roc_auc_score(label, score),
        "average_precision": average_precision_score(label, score),
        "brier": brier_score_loss(label, score),
        "ece": gap / len(score),
        "slope": newton(np.column_stack([one, logit]), label, 0.0)[1],
        "intercept": newton(one, label, logit)[0],
        "ratio": label.sum() / score.sum(),
    }


def cases():
    rng = np.random.default_rng(20240501)
    for n, decimals, prevalence in [(50, 6, 0.3), (400, 1, 0.5), (400, 2, 0.1), (3000, 3, 0.02),
                                    (3000, 6, 0.15), (2000, 1, 0.9)]:
        eta = rng.normal(np.log(prevalence / (1 - prevalence)), 1.0, n)
        label = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
        label[:2] = [0, 1]
        score = np.round(1 / (1 + np.exp(-(0.7 * eta + 0.2))), decimals)
        yield f"n={n}, {decimals} decimals, prevalence {prevalence}", label, np.clip(score, 0.001, 0.999)


def regression_case(number, print_line):
    """The age-and-sex regression: penalty 1/C on everything but the intercept."""
    rng = np.random.default_rng(7)
    n, d, ridge = 800, 5, 0.25
    x = rng.normal(size=(n, d)) * [1, 2, 0.5, 1, 3]
    y = (rng.random(n) < 1 / (1 + np.exp(-(x @ [0.5, -0.3, 1, 0, 0.1] - 2)))).astype(int)
    text = "".join(f"{b} " + " ".join(repr(float(v)) for v in row) + "\n" for b, row in zip(y, x))
    out = subprocess.run([PROBE, str(d), str(ridge)], input=text, capture_output=True, text=True,
                         check=True).stdout
    beta = np.array([float(v) for v in out.split()])
    fit = LogisticRegression(C=1 / ridge, solver="newton-cg", tol=1e-12, max_iter=10000).fit(x, y)
    wanted = np.concatenate([fit.intercept_, fit.coef_[0]])
    worst = np.abs(beta - wanted).max()
    print_line(number, worst < 1e-6, f"ridge regression, largest difference {worst:.2e}")


def main():
    failed = False

    def print_line(number, passed, text):
        nonlocal failed
        failed = failed or not passed
        print(f"{'ok' if passed else 'not ok'} {number} - {text}")

    all_cases = list(cases())
    print(f"1..{len(all_cases) + 1}")
    for number, (name, label, score) in enumerate(all_cases, 1):
        a, b = ours(label, score), theirs(label, score)
        worst = max(b, key=lambda key: abs(a[key] - b[key]) if a[key] == a[key] else np.inf)
        difference = abs(a[worst] - b[worst])
        print_line(number, difference < 1e-9,
                   f"{name}: {worst} differs most, {a[worst]!r} and {b[worst]!r}")
    regression_case(len(all_cases) + 1, print_line)
    sys.exit(1 if failed else 0)


main()
