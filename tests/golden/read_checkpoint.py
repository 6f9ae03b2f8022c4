"""Reads a checkpoint that write_checkpoint made, with nothing of Rezept's: its own safetensors
parser on numpy, hashlib for DONE, and PyTorch modules that take the tensors by name and shape.

usage: read_checkpoint.py FOLDER; prints nothing and exits 0 when all is as expected."""
import hashlib
import json
import os
import struct
import sys

import numpy as np


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    assert (8 + length) % 8 == 0, "the data does not begin at a multiple of 8"
    header = json.loads(data[8 : 8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__")
    assert all(isinstance(v, str) for v in metadata.values())
    buffer = memoryview(data)[8 + length :]
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        assert entry["dtype"] == "F32" and begin == end, name
        values = np.frombuffer(buffer[begin:stop], dtype="<f4").reshape(entry["shape"])
        assert np.isfinite(values).all(), name
        tensors[name], end = values, stop
    assert end == len(buffer), "bytes are left behind the last tensor"
    return tensors, metadata


def check_done(folder):
    listed = {}
    with open(os.path.join(folder, "DONE"), encoding="utf-8") as file:
        for line in file:
            sha256, size, name = line.rstrip("\n").split("  ", 2)
            listed[name] = (sha256, int(size))
    present = {
        name
        for name in os.listdir(folder)
        if name not in ("DONE", "resume") and not name.startswith(".")
    }
    assert present == set(listed), (present, set(listed))
    for name, (sha256, size) in listed.items():
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        assert len(data) == size and hashlib.sha256(data).hexdigest() == sha256, name


def check_config(folder, metadata):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)
    assert config["format"] == metadata["format"] == "rezept-model"
    assert str(config["format_version"]) == metadata["format_version"]
    assert config["vocabulary_sha256"] == vocabulary["sha256"] == metadata["vocabulary_sha256"]
    assert metadata["family"] == config["model"]["family"]
    assert metadata["seed"] == str(config["training"]["seed"]) == "5"
    codes = vocabulary["codes"]
    order = [(c[0] != "diagnosis", c[2]) for c in codes]
    assert order == sorted(set(order)), "codes are out of order"
    assert len(codes) == config["model"]["n_diagnoses"] + config["model"]["n_medications"]
    return config


def check_values(tensors):
    """write_checkpoint sets element i of tensor t to t + i / 1024."""
    for t, values in enumerate(tensors.values()):
        wanted = (t + np.arange(values.size) / 1024).astype("<f4")
        assert np.array_equal(values.ravel(), wanted), t


def check_torch(tensors, config):
    try:
        import torch
    except ImportError:
        print("PyTorch is absent: modules were not filled", file=sys.stderr)
        sys.exit(77)
    hidden, heads = config["model"]["hidden"], config["model"]["heads"]
    rows = tensors["embedding.code.weight"].shape[0]
    modules = {
        "embedding.code": torch.nn.Embedding(rows, hidden),
        "embedding.norm": torch.nn.LayerNorm(hidden),
        "age.input": torch.nn.Linear(config["model"]["age_bins"], config["model"]["age_hidden"]),
        "layers.0.feed_forward.input": torch.nn.Linear(hidden, config["model"]["feed_forward"]),
        "heads." + config["heads"][0]: torch.nn.Linear(hidden, 1),
    }
    for prefix, module in modules.items():
        state = {
            key: torch.from_numpy(tensors[prefix + "." + key].copy())
            for key in module.state_dict()
        }
        module.load_state_dict(state, strict=True)
    attention = torch.nn.MultiheadAttention(hidden, heads)
    joined = {
        "in_proj_" + part: torch.cat(
            [
                torch.from_numpy(tensors["layers.0.attention.%s.%s" % (name, part)].copy())
                for name in ("query", "key", "value")
            ]
        )
        for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        joined["out_proj." + part] = torch.from_numpy(
            tensors["layers.0.attention.output." + part].copy()
        )
    attention.load_state_dict(joined, strict=True)


def main():
    folder = sys.argv[1]
    check_done(folder)
    tensors, metadata = read_safetensors(os.path.join(folder, "model.safetensors"))
    config = check_config(folder, metadata)
    check_values(tensors)
    check_torch(tensors, config)


main()
