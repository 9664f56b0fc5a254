"""An executor that does what none should, for tests: odd_executor.py URL NKEY_FILE. It answers exec.odd; `how` says what it does."""

import asyncio
import json
import sys

import nats


async def main(url, nkey):
    nc = await nats.connect(url, nkeys_seed=nkey, inbox_prefix="_INBOX_executor")

    async def on_request(message):
        request = json.loads(message.data)
        how = request["params"]["how"]

        async def say(answer):
            await message.respond(json.dumps(answer).encode())

        if how == "nonsense":
            await message.respond(b"\xff\xfe no JSON")
        elif how == "misspelt":
            await say({"type": "finished", "result": "x"})
        elif how == "huge":
            await say({"type": "result", "result": "x" * 5000})
        elif how == "hang":
            await say({"type": "accepted"})
            await say({"type": "progress", "progress": 0.4, "text": "loading the model"})
        elif how == "chatty":
            # Far more answers than `allow_responses` would let pass.
            for number in range(3000):
                await say({"type": "progress", "progress": number / 3000})
            await say({"type": "result", "result": {"answers": 3001}, "unknown": True})
        elif how == "echo":
            await say({"type": "result", "result": {"headers": dict(message.headers), "request": request}})
        elif how == "deputy":
            # The worker may write where this executor may not; it must not be led to.
            await nc.publish(message.reply, json.dumps({"type": "progress"}).encode(), reply="job.res.deputy")
            await say({"type": "result", "result": "told"})

    await nc.subscribe("exec.odd", queue="q", cb=on_request)
    await nc.flush()
    print("odd: ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
