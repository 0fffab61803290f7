"""Checks requests to Amazon Bedrock against AWS's own description of the service.

Reads one request a line from standard input: {"operation": "ConverseStream", "model": "<id>", "body": {...}}.
Writes one fault a line: {"line": <number, from 1>, "fault": "<place>: <what does not fit>"}. Exit code 1: there were faults.

botocore's validator knows types, required and unknown members, minima and unions; the service's description also has
patterns, maxima and enums, which botocore leaves to the service. Both are checked here.
"""

import base64
import binascii
import json
import re
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


def beyond_botocore(shape, value, place):
    """Faults that botocore's validator does not look for."""
    if shape.type_name == "structure":
        if getattr(shape, "is_document_type", False) or not isinstance(value, dict):
            return
        for name, member in shape.members.items():
            if name in value:
                yield from beyond_botocore(member, value[name], f"{place}.{name}")
    elif shape.type_name == "list":
        if isinstance(value, list):
            yield from too_much(shape, len(value), place, "entries")
            for n, entry in enumerate(value):
                yield from beyond_botocore(shape.member, entry, f"{place}[{n}]")
    elif shape.type_name == "map":
        if isinstance(value, dict):
            yield from too_much(shape, len(value), place, "entries")
            for key, entry in value.items():
                yield from beyond_botocore(shape.key, key, f"{place} (key {key!r})")
                yield from beyond_botocore(shape.value, entry, f"{place}.{key}")
    elif shape.type_name == "string":
        if isinstance(value, str):
            yield from of_text(shape, value, place)
    elif shape.type_name == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            yield f"{place}: is no base64"
    elif shape.type_name in ("integer", "long", "float", "double") and not isinstance(value, bool):
        maximum = shape.metadata.get("max")
        if maximum is not None and value > maximum:
            yield f"{place}: {value} is more than {maximum}"


def of_text(shape, text, place):
    yield from too_much(shape, len(text), place, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, text):
        yield f"{place}: {text[:80]!r} does not match {pattern}"
    if shape.enum and text not in shape.enum:
        yield f"{place}: {text[:80]!r} is none of {', '.join(shape.enum)}"


def too_much(shape, size, place, what):
    maximum = shape.metadata.get("max")
    if maximum is not None and size > maximum:
        yield f"{place}: {size} {what} are more than {maximum}"


def faults(service, request):
    """Everything about one request that does not fit."""
    operation = service.operation_model(request["operation"])
    shape, body = operation.input_shape, request["body"]
    for name, member in shape.members.items():
        if name in body and member.serialization.get("location"):
            yield f"{name}: belongs into the {member.serialization['location']}, not into the body"
    parameters = {**body, "modelId": request["model"]}
    for line in ParamValidator().validate(parameters, shape).generate_report().splitlines():
        yield line
    yield from beyond_botocore(shape, parameters, "request")


def main():
    service = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
    found = 0
    for number, line in enumerate(sys.stdin, 1):
        for fault in faults(service, json.loads(line)):
            found += 1
            print(json.dumps({"line": number, "fault": fault}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
