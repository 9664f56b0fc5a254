"""A placement policy: the task goes to the node with the most free GPU share."""
import json
import sys

free = {}
for line in sys.stdin:
    said = json.loads(line)
    if said["type"] == "world":
        for node in said["nodes"]:
            free[node["node"]] = sum(gpu["free_milli"] for gpu in node["gpus"])
    elif said["type"] == "node":
        free[said["node"]] = sum(gpu["free_milli"] for gpu in said["gpus"])
    elif said["type"] == "left":
        del free[said["node"]]
    elif said["type"] == "ask":
        best = max(said["fits"], key=lambda node: (free[node], -node))
        free[best] -= said["task"]["gpus"] * said["task"]["gpu_milli"]
        print(json.dumps({"id": said["id"], "node": best}), flush=True)
