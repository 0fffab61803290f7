#!/usr/bin/env python3
"""Reduces a vendor's official OpenAPI description to the operations that the product and its stand-ins use.

Usage, from the root of the repository (the official files: see README.md):

    python3 tests/specs/trim.py jira   <official jira file>   > tests/specs/jira-platform-v3.json
    python3 tests/specs/trim.py sentry <official sentry file> > tests/specs/sentry.json

What stays is verbatim: paths, parameters, bodies, answers, and every schema they reach. What goes: other operations,
texts for people, examples, security, vendor extensions (`x-...`). Nothing is corrected here; see deviations.json.
"""

import json
import sys

JIRA = """
GET    /rest/api/3/comment/{commentId}/properties/{propertyKey}
GET    /rest/api/3/field
POST   /rest/api/3/issue
GET    /rest/api/3/issue/{issueIdOrKey}
PUT    /rest/api/3/issue/{issueIdOrKey}
GET    /rest/api/3/issue/{issueIdOrKey}/comment
POST   /rest/api/3/issue/{issueIdOrKey}/comment
GET    /rest/api/3/issue/{issueIdOrKey}/comment/{id}
PUT    /rest/api/3/issue/{issueIdOrKey}/comment/{id}
DELETE /rest/api/3/issue/{issueIdOrKey}/comment/{id}
GET    /rest/api/3/issue/{issueIdOrKey}/properties
GET    /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}
PUT    /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}
DELETE /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}
GET    /rest/api/3/issue/{issueIdOrKey}/remotelink
POST   /rest/api/3/issue/{issueIdOrKey}/remotelink
GET    /rest/api/3/issue/{issueIdOrKey}/transitions
POST   /rest/api/3/issue/{issueIdOrKey}/transitions
GET    /rest/api/3/label
GET    /rest/api/3/mypermissions
GET    /rest/api/3/myself
GET    /rest/api/3/project/search
GET    /rest/api/3/project/{projectIdOrKey}
POST   /rest/api/3/search/jql
GET    /rest/api/3/serverInfo
"""

SENTRY = """
GET  /api/0/organizations/{organization_id_or_slug}/
GET  /api/0/organizations/{organization_id_or_slug}/issues/
GET  /api/0/organizations/{organization_id_or_slug}/issues/{issue_id}/
PUT  /api/0/organizations/{organization_id_or_slug}/issues/{issue_id}/
GET  /api/0/organizations/{organization_id_or_slug}/issues/{issue_id}/events/{event_id}/
GET  /api/0/organizations/{organization_id_or_slug}/issues/{issue_id}/external-issues/
GET  /api/0/organizations/{organization_id_or_slug}/issues/{issue_id}/hashes/
GET  /api/0/organizations/{organization_id_or_slug}/sentry-app-installations/
POST /api/0/sentry-app-installations/{uuid}/external-issues/
"""

OPERATIONS = {"jira": JIRA, "sentry": SENTRY}
REFERENCE = "#/components/schemas/"
# Keywords that say something about people or tools, not about requests.
TEXTS = {"description", "example", "examples", "title", "externalDocs", "xml", "deprecated", "default"}


def schema(node, reached):
    """A schema without its texts; the names of the components it refers to are added to `reached`."""
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        assert node["$ref"].startswith(REFERENCE), node["$ref"]
        reached.add(node["$ref"].removeprefix(REFERENCE))
    kept = {}
    for keyword, value in node.items():
        if keyword in TEXTS or keyword.startswith("x-"):
            continue
        if keyword == "properties":
            # The keys below are names of members: one may be called "description".
            value = {name: schema(member, reached) for name, member in value.items()}
        elif keyword in ("allOf", "anyOf", "oneOf"):
            value = [schema(one, reached) for one in value]
        elif keyword in ("items", "additionalProperties", "not"):
            value = schema(value, reached)
        kept[keyword] = value
    return kept


def content(node, reached):
    return {kind: {"schema": schema(media.get("schema", {}), reached)} for kind, media in node.items()}


def parameter(node, reached):
    assert "$ref" not in node, node
    kept = {name: node[name] for name in ("name", "in", "required", "style", "explode", "allowEmptyValue") if name in node}
    return kept | {"schema": schema(node["schema"], reached)}


def operation(node, shared, reached):
    kept = {"operationId": node["operationId"]}
    kept["parameters"] = [parameter(one, reached) for one in shared + node.get("parameters", [])]
    if "requestBody" in node:
        body = node["requestBody"]
        kept["requestBody"] = {"required": body.get("required", False), "content": content(body["content"], reached)}
    kept["responses"] = {}
    for status, answer in node["responses"].items():
        described = {"description": (answer.get("description") or "").strip().split("\n")[0]}
        if "content" in answer:
            described["content"] = content(answer["content"], reached)
        kept["responses"][status] = described
    return kept


def trim(official, wanted):
    paths, reached = {}, set()
    for line in wanted.split("\n"):
        if not line.strip():
            continue
        method, path = line.split()
        item = official["paths"].get(path, {})
        if method.lower() not in item:
            sys.exit(f"the official description has no {method} {path}")
        paths.setdefault(path, {})[method.lower()] = operation(item[method.lower()], item.get("parameters", []), reached)
    components, done = official.get("components", {}).get("schemas", {}), {}
    while missing := sorted(reached - set(done)):
        for name in missing:
            done[name] = schema(components[name], reached)
    return {
        "openapi": official["openapi"],
        "info": official["info"],
        "x-trimmed": f"{len(official['paths'])} paths in the official file; reduced by tests/specs/trim.py",
        "servers": official.get("servers", []),
        "paths": paths,
        "components": {"schemas": dict(sorted(done.items()))},
    }


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in OPERATIONS:
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        official = json.load(file)
    json.dump(trim(official, OPERATIONS[sys.argv[1]]), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
