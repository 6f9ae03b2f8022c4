"""The goals of speed, in one place: what tests/bench/run holds its rows against.

A goal belongs to a row (work, size, batch, precision, unit) and speaks of its ratio (value to the
limit, or to the peer) or of its value."""

SIZES = ("2.2m", "4.7m", "11m", "32m", "101m")
BATCHES = (1, 8, 32, 256)
PEERS = ("PyTorch", "ONNX Runtime")

INFERENCE = {"2.2m": 0.55, "4.7m": 0.62, "11m": 0.72, "32m": 0.80, "101m": 0.80}
INFERENCE_BF16, INFERENCE_INT8 = 0.60, 0.45  # from 11m up
PEER_ONE = {"2.2m": 1.25, "4.7m": 1.25, "11m": 1.15, "32m": 1.0, "101m": 1.0}
PEER_BATCH = {"2.2m": 2.0, "4.7m": 2.0, "11m": 2.0, "32m": 1.4, "101m": 1.4}
PEER_LOW = {"2.2m": 1.5, "4.7m": 1.5, "11m": 1.5, "32m": 1.0, "101m": 1.0}
TRAINING = {"2.2m": 0.45, "4.7m": 0.45, "11m": 0.68, "32m": 0.68, "101m": 0.68}
PEER_TRAINING = {"2.2m": 2.0, "4.7m": 2.0, "11m": 1.5, "32m": 1.5, "101m": 1.5}
TRAINING_BF16, PEER_TRAINING_BF16 = 1.6, 1.1  # times our float32 step, times PyTorch's bf16 step
BATCH_SPREAD = 10.0                           # percent, from batch 8 on
OFF_LINE = 15.0                               # percent from the straight line that linear work lies on
MEMORY = 1.25                                 # times, 4,096 patients to 128

LARGE = ("11m", "32m", "101m")
STEP = "training step, dropout 0.1"


def _goals():
    """(work, size, batch, precision, unit) -> (number, "ratio" or "value", "at least" or "at most")"""
    goals = {}

    def share(work, size, batch, precision, unit, number):
        goals[work, size, batch, precision, unit] = (number, "ratio", "at least")

    def value(work, size, batch, unit, number, how="at most"):
        goals[work, size, batch, "float32", unit] = (number, "value", how)

    for size in SIZES:
        for batch in BATCHES:
            share("encoder inference", size, batch, "float32", "GFLOP/s", INFERENCE[size])
            if batch >= 32 or size not in ("32m", "101m"):  # minutes each
                share("encoder inference, imported", size, batch, "float32", "GFLOP/s",
                      INFERENCE[size])
            if size in LARGE:
                share("encoder inference", size, batch, "bf16", "GFLOP/s", INFERENCE_BF16)
                share("encoder inference", size, batch, "int8", "GOP/s", INFERENCE_INT8)
        value("encoder inference, spread of batches", size, None, "%", BATCH_SPREAD)
        share(STEP, size, 8, "float32", "GFLOP/s", TRAINING[size])
        if size in LARGE:
            share(STEP + ", to our float32", size, 8, "bf16", "tokens/s", TRAINING_BF16)
        for peer in PEERS:
            to = f", to {peer}"
            share("encoder inference" + to, size, 1, "float32", "tokens/s", PEER_ONE[size])
            share("encoder inference" + to, size, 32, "float32", "tokens/s", PEER_BATCH[size])
        for batch in (1, 32):
            share("encoder inference, to PyTorch", size, batch, "bf16", "tokens/s", PEER_LOW[size])
        for dropout in ("0.1", "0"):
            share(f"training step, dropout {dropout}, to PyTorch", size, 8, "float32", "tokens/s",
                  PEER_TRAINING[size])
        if size in LARGE:
            share(STEP + ", to PyTorch", size, 8, "bf16", "tokens/s", PEER_TRAINING_BF16)
    value("latency p50, 100 events", "2.2m", 1, "ms", 1.2)
    value("latency p99, 100 events", "2.2m", 1, "ms", 3.0)
    for size in ("2.2m", "11m"):
        share("HTTP, cold scores", size, 32, "float32", "requests/s", 0.9)
    value("HTTP, cached scores", "2.2m", 64, "requests/s", 40000.0, "at least")
    value("linear in tokens but for attention", "2.2m", None, "% off line", OFF_LINE)
    value("linear in patients from 32", "2.2m", None, "% off line", OFF_LINE)
    value("peak memory, most patients to 128", "2.2m", None, "times", MEMORY)
    for way in ("in the process", "through HTTP"):
        value(f"start to first score, {way}", "101m", None, "s", 1.0)
    return goals


GOALS = _goals()


OURS_LEAST = 80.0   # percent of the cores, below which nothing is judged
ABOVE_LIMIT = 1.05  # a share of the machine's limit that only a disturbed measurement has


def judge(row, ours):
    """Fills in goal and ok of a row, and why not; ok stays None where there is no goal, nothing was
    measured, or others used the cores. ours: per cent of the cores that were ours, None = unknown."""
    goal = GOALS.get((row["work"], row["size"], row["batch"], row["precision"], row["unit"]))
    if goal is None:
        return
    number, member, how = goal
    row["goal"] = number
    of_machine = row["unit"] in ("GFLOP/s", "GOP/s") and row["limit"] is not None
    if row[member] is None:
        return
    if ours is not None and ours < OURS_LEAST:
        row["note"] = f"not judged: only {ours:.0f} % of the cores were ours"
    elif of_machine and row["ratio"] > ABOVE_LIMIT:
        row["note"] = "not judged: above the limit, the measurement was disturbed"
    else:
        row["ok"] = row[member] >= number if how == "at least" else row[member] <= number
