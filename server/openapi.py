#!/usr/bin/python3
"""Turns schema/openapi.yaml and its schemas into a C array with the same document as JSON:
openapi.py IN SCHEMAS OUT VERSION"""
import json
import sys

import yaml

source, schemas, target, version = sys.argv[1:5]
with open(source, encoding="utf-8") as file:
    document = yaml.safe_load(file)
with open(schemas, encoding="utf-8") as file:
    document["components"].update(yaml.safe_load(file)["components"])
document["info"]["version"] = version
text = json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()
rows = [", ".join(str(byte) for byte in text[i:i + 24]) for i in range(0, len(text), 24)]
with open(target, "w", encoding="ascii") as file:
    file.write("#include \"openapi.h\"\n\nconst char openapi_json[] = {\n    ")
    file.write(",\n    ".join(rows))
    file.write(f"}};\nconst size_t openapi_json_length = {len(text)};\n")
