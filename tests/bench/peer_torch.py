#!/usr/bin/python3
"""PyTorch's encoder at Rezept's shapes: what tests/bench/run holds Rezept against.

  tests/bench/peer_torch.py --lengths FILE [--sizes 2.2m,11m] [--work inference,training]
      [--batches 1,32] [--dropouts 0.1,0] [--precisions float32,bf16] [--seconds S] [--threads N]
      [--json FILE] [--export FOLDER]

The peer is nn.TransformerEncoder with its fused inference path (nested tensors, one call a layer),
4 layers, 16 heads, feed-forward 1,024, GELU, over an embedding of 1,930 codes with LayerNorm; no age
input, which is in the peer's favour. Patients have the lengths of FILE (bench-encoder
--write-lengths); batches are sorted by length and padded. A training step is forward, backward and
AdamW with a masked-token head on 15 % of the positions, 8 timelines of 512. malloc is tuned: the
script starts itself again with the settings of MALLOC below, without which PyTorch loses up to a
half to page faults. --export writes ONNX files for peer_onnx.mjs and stops. Debian: python3-torch."""
import argparse
import json
import os
import sys
import time

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184",
          "MALLOC_TOP_PAD_": "268435456"}
HIDDEN = {"2.2m": 128, "4.7m": 256, "11m": 512, "32m": 1024, "101m": 2048}
LAYERS, HEADS, FEED_FORWARD, CODES, SPECIALS, TASKS, LONGEST = 4, 16, 1024, 1930, 8, 4, 512


def torch_or_exit():
    try:
        import torch
        return torch
    except ImportError:
        print("peer_torch: skipped, this Python has no torch (Debian: python3-torch)")
        sys.exit(77)


def modules(torch):
    nn = torch.nn

    class Norm(nn.LayerNorm):
        """Under autocast the heads come in bfloat16, which LayerNorm does not take with float32."""

        def forward(self, x):
            return super().forward(x.float())

    class Encoder(nn.Module):
        def __init__(self, hidden, dropout):
            super().__init__()
            self.codes = nn.Embedding(CODES + SPECIALS, hidden)
            self.norm = nn.LayerNorm(hidden)
            layer = nn.TransformerEncoderLayer(hidden, HEADS, FEED_FORWARD, dropout, "gelu",
                                               batch_first=True)
            self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=True)
            self.tasks = nn.Linear(hidden, TASKS)
            self.heads = nn.ModuleList(
                nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), Norm(hidden),
                              nn.Linear(hidden, CODES // 2)) for _ in range(2))

        def states(self, tokens, padding=None):
            return self.layers(self.norm(self.codes(tokens)), src_key_padding_mask=padding)

        def forward(self, tokens, padding=None):
            return self.tasks(self.states(tokens, padding)[:, 0])

    return Encoder


def plain(torch, model, masked):
    """The same model in single operations, in the order that ONNX Runtime knows how to fuse."""
    nn = torch.nn

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.parts = nn.ModuleList()
            for layer in model.layers.layers:
                attention, hidden = layer.self_attn, layer.linear2.out_features
                part = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(3)])
                for i, linear in enumerate(part):
                    linear.weight.data = attention.in_proj_weight.data[i * hidden:(i + 1) * hidden]
                    linear.bias.data = attention.in_proj_bias.data[i * hidden:(i + 1) * hidden]
                self.parts.append(part)

        def forward(self, tokens, mask=None):
            x = self.model.norm(self.model.codes(tokens))
            size = x.size(-1) // HEADS
            for layer, part in zip(self.model.layers.layers, self.parts):
                q, k, v = (linear(x).view(x.size(0), x.size(1), HEADS, size).permute(0, 2, 1, 3)
                           for linear in part)
                scores = torch.matmul(q, k.transpose(-1, -2)) / size ** 0.5
                if masked:
                    scores = scores + (1.0 - mask[:, None, None, :].float()) * -10000.0
                y = torch.matmul(torch.softmax(scores, -1), v).permute(0, 2, 1, 3)
                y = layer.self_attn.out_proj(y.reshape(x.size(0), x.size(1), -1))
                x = layer.norm1(y + x)
                y = layer.linear2(nn.functional.gelu(layer.linear1(x)))
                x = layer.norm2(y + x)
            return self.model.tasks(x[:, 0])

    return Plain().eval()


def export(torch, folder, size):
    model = modules(torch)(HIDDEN[size], 0.0).eval()
    tokens = torch.randint(SPECIALS, CODES, (2, 40))
    for masked in (False, True):
        names = ["tokens", "mask"] if masked else ["tokens"]
        inputs = (tokens, torch.ones_like(tokens)) if masked else (tokens,)
        path = os.path.join(folder, f"{size}-{'batch' if masked else 'one'}.onnx")
        single = plain(torch, model, masked)
        with torch.no_grad():
            far = (single(*inputs) - model(tokens)).abs().max().item()
            if far > 1e-4:
                sys.exit(f"peer_torch: the exported form of {size} is {far:g} off")
            torch.onnx.export(single, inputs, path, input_names=names, output_names=["logits"],
                              dynamic_axes={n: {0: "batch", 1: "length"} for n in names},
                              opset_version=14)


def flop(hidden, lengths):
    return sum(LAYERS * (n * (8 * hidden ** 2 + 4 * hidden * FEED_FORWARD) + 4 * n * n * hidden)
               for n in lengths)


def median(values):
    return sorted(values)[len(values) // 2]


class Peer:
    def __init__(self, torch, options):
        self.torch, self.options = torch, options
        with open(options.lengths, encoding="ascii") as file:
            self.lengths = [int(line) for line in file]
        self.file = open(options.json, "a", encoding="utf-8") if options.json else None

    def report(self, work, size, batch, precision, value, unit, value_cpu=None, note=None):
        row = {"work": work, "size": size, "batch": batch, "precision": precision, "value": value,
               "unit": unit, "limit": None, "ratio": None, "goal": None, "ok": None,
               "peer": "PyTorch"}
        if value_cpu:
            row["value_cpu"] = value_cpu
        if note:
            row["note"] = note
        shown = "-" if value is None else f"{value:.1f}"
        print(f"PyTorch: {work:<32} {size:<6} {batch or '':>4} {precision:<8} {shown:>10} {unit}  "
              f"{note or ''}", flush=True)
        if self.file:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()

    def timed(self, function, tokens, operations, work, size, batch, precision):
        took, used, started = [], [], time.perf_counter()
        while not took or time.perf_counter() - started < self.options.seconds:
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            took.append(time.perf_counter() - wall)
            used.append(time.process_time() - cpu)
        threads = self.options.threads
        self.report(work, size, batch, precision, tokens / median(took), "tokens/s",
                    tokens / median(used) * threads)
        self.report(work, size, batch, precision, operations / median(took) * 1e-9, "GFLOP/s")

    def inputs(self, batch):
        """Batches of token ids with their padding (None where nothing is padded)."""
        torch = self.torch
        torch.manual_seed(1)
        lengths = sorted(self.lengths) if batch > 1 else self.lengths
        out = []
        for first in range(0, len(lengths), batch):
            some = lengths[first:first + batch]
            tokens = torch.randint(SPECIALS, CODES + SPECIALS, (len(some), max(some)))
            padding = torch.arange(max(some))[None, :] >= torch.tensor(some)[:, None]
            out.append((tokens, padding if padding.any() else None))
        return out

    def inference(self, size, batch, precision):
        torch = self.torch
        torch.manual_seed(1)
        model = modules(torch)(HIDDEN[size], 0.1).eval()
        if precision == "bf16":
            model = model.bfloat16()
        inputs = self.inputs(batch)
        with torch.no_grad():
            def run():
                for tokens, padding in inputs:
                    model(tokens, padding)

            model(*inputs[len(inputs) // 2])
            self.timed(run, sum(self.lengths), flop(HIDDEN[size], self.lengths),
                       "encoder inference", size, batch, precision)

    def training(self, size, dropout, precision):
        torch, hidden, n = self.torch, HIDDEN[size], 8
        torch.manual_seed(1)
        model = modules(torch)(hidden, dropout).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        tokens = torch.randint(SPECIALS, CODES + SPECIALS, (n, LONGEST))
        places = torch.randperm(n * LONGEST)[:n * LONGEST * 15 // 100].chunk(2)
        labels = [torch.randint(0, CODES // 2, (len(p),)) for p in places]
        bf16 = precision == "bf16"

        def step():
            optimizer.zero_grad(set_to_none=False)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                states = model.states(tokens).reshape(-1, hidden)
                loss = sum(torch.nn.functional.cross_entropy(head(states[p]).float(), wanted)
                           for head, p, wanted in zip(model.heads, places, labels))
            loss.backward()
            optimizer.step()

        step()
        heads = sum(len(p) for p in places) * (2 * hidden ** 2 + 2 * hidden * (CODES // 2))
        self.timed(step, n * LONGEST, 3 * (flop(hidden, [LONGEST] * n) + heads),
                   f"training step, dropout {dropout:g}", size, n, precision)


def has_bf16():
    try:
        with open("/proc/cpuinfo", encoding="ascii") as file:
            return "avx512_bf16" in file.read()
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lengths")
    parser.add_argument("--sizes", default="2.2m,11m")
    parser.add_argument("--work", default="inference,training")
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--dropouts", default="0.1,0")
    parser.add_argument("--precisions", default="float32,bf16")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json")
    parser.add_argument("--export")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    torch = torch_or_exit()
    torch.set_num_threads(options.threads)
    if options.export:
        for size in options.sizes.split(","):
            export(torch, options.export, size)
        return
    if not options.lengths:
        parser.error("--lengths is needed (bench-encoder --write-lengths FILE)")
    peer = Peer(torch, options)
    for precision in options.precisions.split(","):
        if precision == "bf16" and not has_bf16():
            print("PyTorch: bf16 is left out, this CPU lacks AVX512_BF16", flush=True)
            continue
        for size in options.sizes.split(","):
            if "inference" in options.work:
                for batch in options.batches.split(","):
                    peer.inference(size, int(batch), precision)
            if "training" in options.work:
                for dropout in options.dropouts.split(","):
                    peer.training(size, float(dropout), precision)


if __name__ == "__main__":
    main()
