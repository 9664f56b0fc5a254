#!/usr/bin/env python3
"""Builds what `just up` builds and then what `just test` builds, and ends with 1 when a dependency was wanted with two sets of features:
it would be compiled twice, and everything that stands on it as well. Arguments go to both builds."""

import json
import subprocess
import sys

UP = ["--workspace", "--exclude", "faultline-tests", "--exclude", "faultline-test-container", "--exclude", "faultline-simulation", "--bins"]
TEST = ["--bins", "--tests"]


def artifacts(selection):
    """What a build makes of dependencies: (package, kind of target) -> the sets of features."""
    command = ["cargo", "build", "--release", "--locked", "--message-format", "json-render-diagnostics", *selection, *sys.argv[1:]]
    build = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found = {}
    for line in build.stdout:
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["package_id"].startswith("registry+"):
            key = (message["package_id"].split("#")[-1], message["target"]["kind"][0])
            found.setdefault(key, set()).add(tuple(sorted(message["features"])))
    if build.wait() != 0:
        sys.exit(build.returncode)
    return found


up, test = artifacts(UP), artifacts(TEST)
twice = [(key, features) for key, sets in sorted(test.items()) if key in up for features in sets - up[key]]
for (package, kind), features in twice:
    print(f"{package} ({kind}): `just test` wants it with the features {', '.join(features) or 'none'}; `just up` builds it without these")
print(f"{len(up)} artifacts of dependencies for `just up`, {len(test)} for `just test`, {len(twice)} of them compiled twice")
sys.exit(1 if twice else 0)
