"""What `nats micro ls`, `info`, `ping` and `stats` do, with nats-py alone: services_api.py URL NKEY_FILE.

Prints what every process said as JSON. An answer that the schemas io.nats.micro.v1 would refuse is an error, as it is for the `nats`
command, which checks them.
"""

import asyncio
import json
import re
import sys

import nats

NAME = re.compile(r"[a-zA-Z0-9_-]+")
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
QUIET = 0.7


def need(condition, what, answer):
    if not condition:
        sys.exit(f"{what}: {json.dumps(answer)}")


def check_identity(answer, kind):
    need(answer.get("type") == f"io.nats.micro.v1.{kind}_response", "type", answer)
    need(NAME.fullmatch(answer.get("name", "")), "name", answer)
    need(isinstance(answer.get("id"), str) and answer["id"], "id", answer)
    need(VERSION.fullmatch(answer.get("version", "")), "version", answer)
    check_metadata(answer, answer)


def check_metadata(holder, answer):
    metadata = holder.get("metadata")
    ok = metadata is None or (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()))
    need(ok, "metadata", answer)


def check_info(answer):
    need(isinstance(answer.get("description"), str), "description", answer)
    for endpoint in answer.get("endpoints", []):
        need(NAME.fullmatch(endpoint.get("name", "")) and endpoint.get("subject"), "endpoint", answer)
        check_metadata(endpoint, answer)


def check_stats(answer):
    need(RFC3339.fullmatch(answer.get("started", "")), "started", answer)
    need(isinstance(answer.get("endpoints"), list), "endpoints", answer)
    for endpoint in answer["endpoints"]:
        need(NAME.fullmatch(endpoint.get("name", "")) and endpoint.get("subject"), "endpoint", answer)
        for key in ["num_requests", "num_errors", "processing_time", "average_processing_time"]:
            need(isinstance(endpoint.get(key), int), key, answer)
        need(isinstance(endpoint.get("last_error"), str), "last_error", answer)
        need(isinstance(endpoint.get("data", {}), dict), "data", answer)


async def ask(nc, subject):
    """All answers, until nothing has come for a while."""
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox)
    await nc.publish(subject, reply=inbox)
    answers = []
    while True:
        try:
            answers.append(json.loads((await subscription.next_msg(timeout=QUIET)).data))
        except nats.errors.TimeoutError:
            await subscription.unsubscribe()
            return answers


async def main(url, nkey):
    nc = await nats.connect(url, nkeys_seed=nkey)
    pings, infos, stats = await asyncio.gather(*[ask(nc, f"$SRV.{verb}") for verb in ["PING", "INFO", "STATS"]])
    for answers, kind in [(pings, "ping"), (infos, "info"), (stats, "stats")]:
        for answer in answers:
            check_identity(answer, kind)
        need(len({answer["id"] for answer in answers}) == len(answers), f"two {kind} answers have one id", answers)
    for answer in infos:
        check_info(answer)
    for answer in stats:
        check_stats(answer)
    ids = {answer["id"] for answer in infos}
    need(ids == {answer["id"] for answer in pings} == {answer["id"] for answer in stats}, "PING, INFO and STATS differ", infos)
    # By name, and one process alone: what `nats micro info NAME ID` asks.
    one = infos[0]
    named = await ask(nc, f"$SRV.INFO.{one['name']}")
    need({answer["id"] for answer in named} == {answer["id"] for answer in infos if answer["name"] == one["name"]}, "by name", named)
    alone = await ask(nc, f"$SRV.STATS.{one['name']}.{one['id']}")
    need([answer["id"] for answer in alone] == [one["id"]], "by id", alone)
    for answer in infos:
        answer["stats"] = next(other for other in stats if other["id"] == answer["id"])
    print(json.dumps(infos))
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
