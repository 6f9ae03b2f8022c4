"""Answers held against schema/openapi.yaml."""
import json
import os

import jsonschema
import yaml

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "schema")
with open(f"{SCHEMA}/openapi.yaml", encoding="utf-8") as source:
    OPENAPI = yaml.safe_load(source)
with open(f"{SCHEMA}/openapi-schemas.yaml", encoding="utf-8") as source:
    OPENAPI["components"].update(yaml.safe_load(source)["components"])


class Documented:
    """Checks answers against the document."""
    seen = set()

    @classmethod
    def check(cls, method, pattern, answer):
        operation = OPENAPI["paths"][pattern][method.lower()]
        responses = operation["responses"]
        described = responses.get(str(answer.status), responses.get("default"))
        if described is None:
            raise AssertionError(f"{method} {pattern}: {answer.status} is not in the document")
        while "$ref" in described:
            described = cls.resolve(described["$ref"])
        kind = answer.headers["content-type"].split(";")[0]
        if kind not in described["content"]:
            raise AssertionError(f"{method} {pattern}: {kind} is not in the document")
        cls.seen.add(f"{method} {pattern}")
        schema = {**described["content"][kind]["schema"], "components": OPENAPI["components"]}
        if kind.endswith("json") and kind != "application/x-ndjson":
            jsonschema.Draft202012Validator(schema).validate(answer.json)
        if kind == "application/x-ndjson":
            for line in answer.body.splitlines():
                jsonschema.Draft202012Validator(schema).validate(json.loads(line))
        return answer

    @staticmethod
    def resolve(reference):
        found = OPENAPI
        for part in reference[2:].split("/"):
            found = found[part]
        return found
