"""The encoder once more, in PyTorch, from the text of models/MODEL.md: what the C code is held against.

    make_reference.py --write DIR [--wide]   writes the cases as safetensors files
    make_reference.py --check DIR            computes them again and compares (exit 77: no PyTorch)

Everything is computed in double precision from float32 parameters. --wide writes one case at the
width of the 2.2m model instead of the small ones that are committed."""
import argparse, json, math, os, struct, sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    print(f"skipped: {missing}; install python3-torch")
    sys.exit(77)

RECENCY_KNOTS = 16
CLS, MASK, HIDDEN_AGE, UNKNOWN_DX, UNKNOWN_RX, FEMALE, MALE, SEX_UNKNOWN, SPECIALS = range(9)
BIN_DAYS, EPSILON = 30.4375, 1e-5
SMALL = dict(hidden=16, layers=2, heads=4, feed_forward=16, age_hidden=16, age_bins=24, context=96,
             n_diagnoses=6, n_medications=6)
WIDE = dict(hidden=128, layers=2, heads=16, feed_forward=1024, age_hidden=256, age_bins=1200,
            context=512, n_diagnoses=50, n_medications=50)
HEADS = ["alpha", "beta", "gamma"]


def parameter_shapes(c, norm):
    h, f, a = c["hidden"], c["feed_forward"], c["age_hidden"]
    shapes = {"embedding.code.weight": (SPECIALS + c["n_diagnoses"] + c["n_medications"], h)}

    def linear(name, n_out, n_in):
        shapes[name + ".weight"], shapes[name + ".bias"] = (n_out, n_in), (n_out,)

    def layer_norm(name):
        shapes[name + ".weight"], shapes[name + ".bias"] = (h,), (h,)

    layer_norm("embedding.norm")
    linear("age.input", a, c["age_bins"])
    linear("age.output", h, a)
    if c.get("recency"):
        shapes["recency.weight"] = (RECENCY_KNOTS, h)
    for i in range(c["layers"]):
        for part in ("query", "key", "value", "output"):
            linear(f"layers.{i}.attention.{part}", h, h)
        layer_norm(f"layers.{i}.attention.norm")
        linear(f"layers.{i}.feed_forward.input", f, h)
        linear(f"layers.{i}.feed_forward.output", h, f)
        layer_norm(f"layers.{i}.feed_forward.norm")
    if norm == "pre":
        layer_norm("final.norm")
    for kind in ("diagnoses", "medications"):
        linear(f"pretrain.{kind}.transform", h, h)
        layer_norm(f"pretrain.{kind}.norm")
        linear(f"pretrain.{kind}.decoder", c["n_" + kind], h)
    linear("pretrain.age", 1, h)
    for head in HEADS:
        linear(f"heads.{head}", 1, h)
    return shapes


def make_parameters(c, norm, generator):
    parameters = {}
    for name, shape in parameter_shapes(c, norm).items():
        scale = 0.3 if len(shape) == 1 else 1.0 / math.sqrt(shape[1])
        value = torch.randn(shape, generator=generator) * scale
        if name.endswith("norm.weight"):
            value = 1.0 + 0.3 * value
        parameters[name] = value.to(torch.float32).double().requires_grad_(True)
    return parameters


def make_batch(c, generator):
    """Timelines of different length, one without codes, one with unknown ages, ages past the last bin."""
    def draw(low, high, n):
        return torch.randint(low, high, (n,), generator=generator)

    lengths, tokens, ages, hidden = [2, 5, 17, 80, 33, 2, 11], [], [], []
    most = int(c["age_bins"] * BIN_DAYS * 1.1)
    n_codes = c["n_diagnoses"] + c["n_medications"]
    for i, length in enumerate(lengths):
        as_of = int(draw(100, most, 1))
        codes = draw(MASK, SPECIALS + n_codes, length - 2)
        codes[(codes == HIDDEN_AGE) | ((codes >= FEMALE) & (codes < SPECIALS))] = UNKNOWN_DX
        tokens += [CLS, FEMALE + i % 3] + codes.tolist()
        days = torch.sort(draw(0, as_of, length - 2))[0] // 7 * 7
        ages += [as_of, as_of] + days.tolist()
        hidden += [1] * length if i == 4 else [0] * length
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    hidden = torch.tensor(hidden)
    hidden[torch.rand(len(hidden), generator=generator) < 0.1] = 1
    return dict(offsets=offsets, tokens=torch.tensor(tokens), ages=torch.tensor(ages).double(),
                hidden=hidden)


def make_targets(c, batch, generator):
    n, n_seqs = len(batch["tokens"]), len(batch["offsets"]) - 1
    targets = {}
    for kind in ("diagnoses", "medications"):
        positions = torch.nonzero(torch.rand(n, generator=generator) < 0.15).flatten()
        targets[kind] = positions
        targets[kind + "_labels"] = torch.randint(0, c["n_" + kind], (len(positions),),
                                                  generator=generator)
    targets["ages"] = torch.nonzero(torch.rand(n, generator=generator) < 0.15).flatten()
    targets["age_values"] = torch.rand(len(targets["ages"]), generator=generator).float().double()
    labels = torch.randint(0, 2, (n_seqs, len(HEADS)), generator=generator).double()
    labels[torch.rand(n_seqs, len(HEADS), generator=generator) < 0.3] = -1  # not this patient
    labels[0] = torch.tensor([1.0, 0.0, 1.0])
    targets["labels"] = labels
    targets["onset"] = None
    weights = [1 / max(1, len(targets[k])) for k in ("diagnoses", "medications", "ages")]
    targets["weights"] = [float(np.float32(w)) for w in weights]
    targets["head_weights"] = [float(np.float32(1 / max(1, int((labels[:, i] >= 0).sum()))))
                               for i in range(len(HEADS))]
    return targets


def add_onset(c, p, batch, targets, generator):
    """The head over all codes: onsets within the horizon, and the codes that do not count."""
    n_codes, n_seqs = c["n_diagnoses"] + c["n_medications"], len(batch["offsets"]) - 1
    for name, shape in (("onset.weight", (n_codes, c["hidden"])), ("onset.bias", (n_codes,))):
        value = torch.randn(shape, generator=generator) * 0.3
        p[name] = value.to(torch.float32).double().requires_grad_(True)
    draw = torch.rand(n_seqs, n_codes, generator=generator)
    onset = torch.where(draw < 0.3, -1.0, (draw > 0.8).double()).double()  # -1: recorded before
    onset[2] = -1.0
    targets["onset"] = onset
    targets["onset_weight"] = float(np.float32(1 / int((onset >= 0).sum())))


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def layer_norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"], EPSILON)


def attention(p, c, name, x):
    n, h = x.shape
    split = [linear(p, f"{name}.{part}", x).view(n, c["heads"], h // c["heads"]).transpose(0, 1)
             for part in ("query", "key", "value")]
    scores = split[0] @ split[1].transpose(1, 2) / math.sqrt(h // c["heads"])
    mixed = torch.softmax(scores, dim=-1) @ split[2]
    return linear(p, name + ".output", mixed.transpose(0, 1).reshape(n, h))


def feed_forward(p, name, x):
    return linear(p, name + ".output", F.gelu(linear(p, name + ".input", x)))


def hats(days):
    """[n, knots] what each knot, 2^k - 1 days ago, gives to a token; the last holds for all before."""
    knots = [2.0 ** k - 1.0 for k in range(RECENCY_KNOTS)]
    columns = [np.interp(days, knots, np.eye(RECENCY_KNOTS)[k]) for k in range(RECENCY_KNOTS)]
    return torch.from_numpy(np.stack(columns, axis=1))


def encode(p, c, norm, tokens, ages, hidden):
    """One timeline to its states."""
    edges = torch.arange(c["age_bins"], dtype=torch.float64) * BIN_DAYS
    bins = torch.clamp((ages[:, None] - edges) / BIN_DAYS, 0.0, 1.0)
    age = linear(p, "age.output", F.gelu(linear(p, "age.input", bins)))
    codes = p["embedding.code.weight"]
    age = torch.where(hidden[:, None] == 1, codes[HIDDEN_AGE].expand_as(age), age)
    x = codes[tokens] + age
    if c.get("recency"):  # the age of [CLS] is that of the as_of day
        x = x + hats((ages[0] - ages).numpy()) @ p["recency.weight"]
    x = layer_norm(p, "embedding.norm", x)
    for i in range(c["layers"]):
        a, f = f"layers.{i}.attention", f"layers.{i}.feed_forward"
        if norm == "post":
            x = layer_norm(p, a + ".norm", x + attention(p, c, a, x))
            x = layer_norm(p, f + ".norm", x + feed_forward(p, f, x))
        else:
            x = x + attention(p, c, a, layer_norm(p, a + ".norm", x))
            x = x + feed_forward(p, f, layer_norm(p, f + ".norm", x))
    return layer_norm(p, "final.norm", x) if norm == "pre" else x


def run(p, c, norm, pooling, batch, targets):
    states = torch.cat([encode(p, c, norm, batch["tokens"][a:b], batch["ages"][a:b],
                               batch["hidden"][a:b])
                        for a, b in zip(batch["offsets"], batch["offsets"][1:])])
    pooled = torch.stack([states[a] if pooling == "cls" else states[a:b].mean(0)
                          for a, b in zip(batch["offsets"], batch["offsets"][1:])])
    logits = torch.cat([linear(p, f"heads.{head}", pooled) for head in HEADS], dim=1)
    losses = []
    for kind in ("diagnoses", "medications"):
        x = F.gelu(linear(p, f"pretrain.{kind}.transform", states[targets[kind]]))
        x = linear(p, f"pretrain.{kind}.decoder", layer_norm(p, f"pretrain.{kind}.norm", x))
        losses.append(F.cross_entropy(x, targets[kind + "_labels"], reduction="sum"))
    guess = linear(p, "pretrain.age", states[targets["ages"]]).flatten()
    losses.append(((guess - targets["age_values"]) ** 2).sum())
    head_losses = []
    for i in range(len(HEADS)):
        asked = targets["labels"][:, i] >= 0
        head_losses.append(F.binary_cross_entropy_with_logits(
            logits[asked, i], targets["labels"][asked, i], reduction="sum"))
    if targets["onset"] is not None:
        counted = targets["onset"] >= 0
        head_losses.append(F.binary_cross_entropy_with_logits(
            linear(p, "onset", pooled)[counted], targets["onset"][counted], reduction="sum"))
    return pooled, logits, losses, head_losses


def total(targets, losses, head_losses, pretrain=True):
    weights = targets["head_weights"] + ([] if targets["onset"] is None else [targets["onset_weight"]])
    sums = [w * l for w, l in zip(weights, head_losses)]
    if pretrain:
        sums += [w * l for w, l in zip(targets["weights"], losses)]
    return sum(sums)


def gradients(p, loss):
    names = list(p)
    found = torch.autograd.grad(loss, [p[n] for n in names], allow_unused=True, retain_graph=True)
    return {n: torch.zeros_like(p[n]) if g is None else g for n, g in zip(names, found)}


def ten_steps(p, c, norm, pooling, batch, targets):
    """AdamW as PyTorch has it: decoupled decay of matrices, not of biases and norms."""
    p = {n: v.detach().clone().requires_grad_(True) for n, v in p.items()}
    matrices = [v for v in p.values() if v.dim() == 2]
    vectors = [v for v in p.values() if v.dim() == 1]
    optimiser = torch.optim.AdamW([dict(params=matrices, weight_decay=0.01),
                                   dict(params=vectors, weight_decay=0.0)],
                                  lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    series = []
    for _ in range(10):
        _, _, losses, head_losses = run(p, c, norm, pooling, batch, targets)
        loss = total(targets, losses, head_losses)
        series.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return series


def make_case(c, norm, pooling, seed, onset=False):
    generator = torch.Generator().manual_seed(seed)
    p = make_parameters(c, norm, generator)
    batch = make_batch(c, generator)
    targets = make_targets(c, batch, generator)
    if onset:
        add_onset(c, p, batch, targets, generator)
    pooled, logits, losses, head_losses = run(p, c, norm, pooling, batch, targets)
    shape = [c[k] for k in ("hidden", "layers", "heads", "feed_forward", "age_hidden", "age_bins",
                            "context", "n_diagnoses", "n_medications")]
    options = [onset, True] if c.get("recency") else [True] if onset else []
    out = {"config": shape + [norm == "pre", pooling == "mean"] + options,
           "batch.offsets": batch["offsets"], "batch.tokens": batch["tokens"],
           "batch.age_days": batch["ages"], "batch.age_hidden": batch["hidden"],
           "targets.weights": targets["weights"], "targets.head_weights": targets["head_weights"],
           "targets.labels": targets["labels"],
           "targets.diagnosis_positions": targets["diagnoses"],
           "targets.diagnosis_labels": targets["diagnoses_labels"],
           "targets.medication_positions": targets["medications"],
           "targets.medication_labels": targets["medications_labels"],
           "targets.age_positions": targets["ages"], "targets.age_values": targets["age_values"],
           "expected.pooled": pooled, "expected.logits": logits,
           "expected.losses": torch.stack(losses), "expected.head_losses": torch.stack(head_losses),
           "expected.steps": ten_steps(p, c, norm, pooling, batch, targets)}
    if c.get("recency"):
        out["batch.days_before"] = torch.cat([batch["ages"][a] - batch["ages"][a:b] for a, b in
                                              zip(batch["offsets"], batch["offsets"][1:])])
    if onset:
        out["targets.onset"] = targets["onset"]
        out["targets.onset_weight"] = [targets["onset_weight"]]
        out["expected.onsets"] = linear(p, "onset", pooled)
    for name, value in p.items():
        out["parameter." + name] = value
    for name, value in gradients(p, total(targets, losses, head_losses)).items():
        out["gradient." + name] = value
    if pooling == "cls":  # the path whose last layer computes [CLS] only
        for name, value in gradients(p, total(targets, losses, head_losses, False)).items():
            if not name.startswith("pretrain."):
                out["finetune_gradient." + name] = value
    return {k: torch.as_tensor(v).detach().double().numpy().astype("<f4") for k, v in out.items()}


def write(path, tensors):
    header, offset = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value).tobytes())


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    n = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + n]).items():
        a, b = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + n + a:8 + n + b], "<f4").reshape(entry["shape"])
    return tensors


def cases(wide):
    if wide:
        yield "wide-post-cls", make_case(WIDE, "post", "cls", 11)
        return
    for norm in ("post", "pre"):
        for pooling in ("cls", "mean"):
            yield f"{norm}-{pooling}", make_case(SMALL, norm, pooling, 7)
    yield "onset-post-cls", make_case(SMALL, "post", "cls", 13, onset=True)
    yield "onset-pre-mean", make_case(SMALL, "pre", "mean", 13, onset=True)
    yield "recency-pre-mean", make_case(dict(SMALL, recency=True), "pre", "mean", 17)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--write")
    arguments.add_argument("--check")
    arguments.add_argument("--wide", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.write:
        os.makedirs(options.write, exist_ok=True)
        for name, tensors in cases(options.wide):
            write(os.path.join(options.write, name + ".safetensors"), tensors)
        return 0
    worst = 0.0
    for name, tensors in cases(False):
        committed = read(os.path.join(options.check, name + ".safetensors"))
        if committed.keys() != tensors.keys():
            print(f"{name}: other tensors than committed")
            return 1
        for key, value in tensors.items():
            scale = max(1e-3, float(np.abs(committed[key]).max(initial=0.0)))
            worst = max(worst, float(np.abs(value - committed[key]).max(initial=0.0)) / scale)
    print(f"largest difference from the committed reference: {worst:.2e}")
    return 0 if worst <= 1e-6 else 1


sys.exit(main())
