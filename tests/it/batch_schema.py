"""Whether a title is good by a JSON Schema: batch_schema.py SCHEMA_FILE TITLE."""

import json
import sys

import jsonschema

with open(sys.argv[1]) as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
print("good" if validator.is_valid(json.loads(sys.argv[2])) else "bad")
