"""What the `nats` commands of docs/protocol.md do, with nats-py alone: nats_commands.py URL NKEY_FILE FAULTLINE.

`nats sub SUBJECT --translate 'faultline decode'` starts the command once a message, gives it the body as standard input, and shows its
standard output and standard error together; an exit code other than 0 is shown as an error. Ends when every kind of subject
has been seen, and prints how many of each.
"""

import asyncio
import collections
import json
import sys

import nats

WANTED = {"job.q", "job.res", "job.done", "job.ev", "job.dead", "node.hb"}
PATIENCE = 40


async def translate(faultline, subject, body):
    process = await asyncio.create_subprocess_exec(
        faultline, "decode", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    shown, _ = await process.communicate(body)
    if process.returncode != 0:
        sys.exit(f"{subject}: exit code {process.returncode}: {shown!r}, of {body!r}")
    lines = shown.decode().splitlines()
    if len(lines) != 1:
        sys.exit(f"{subject}: {len(lines)} lines of {body!r}: {shown!r}")
    return json.loads(lines[0])


async def sub(nc, faultline):
    """`nats sub 'job.>'` and `nats sub 'node.hb.>'`."""
    queue = asyncio.Queue()
    for subject in ["job.>", "node.hb.>"]:
        await nc.subscribe(subject, cb=queue.put)
    await nc.flush()
    print("listening", file=sys.stderr, flush=True)
    seen = collections.Counter()
    while not WANTED <= seen.keys():
        message = await queue.get()
        kind = ".".join(message.subject.split(".")[:2])
        # A hundred of each are enough; heartbeats would go on for ever.
        if seen[kind] < 100:
            value = await translate(faultline, message.subject, message.data)
            if not isinstance(value, dict):
                sys.exit(f"{message.subject}: {value!r} is not an object")
            seen[kind] += 1
    return seen


async def main(url, nkey, faultline):
    nc = await nats.connect(url, nkeys_seed=nkey)
    seen = await asyncio.wait_for(sub(nc, faultline), PATIENCE)
    js = nc.jetstream()
    # `nats kv get CONTROL rate --raw | faultline decode`: a direct read of the newest message.
    bucket = await js.key_value("CONTROL")
    entry = await bucket.get("rate")
    rate = await translate(faultline, "rate", entry.value)
    # `nats stream report`, `nats stream info JOBS` and `nats consumer report JOBS`.
    streams = sorted(stream.config.name for stream in await js.streams_info())
    queue = (await js.stream_info("JOBS")).config.name
    consumers = sorted(consumer.name for consumer in await js.consumers_info("JOBS"))
    print(json.dumps({"seen": seen, "rate": rate, "streams": streams, "queue": queue, "consumers": consumers}))
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
