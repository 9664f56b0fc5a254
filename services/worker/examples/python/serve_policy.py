#!/usr/bin/env python3
"""Puts a policy program of the lab behind a live scheduler: it reads and answers the same lines. See docs/policies.md.

    serve_policy.py --name emptiest --nkey .data/nkeys/policy.nk python3 docs/examples/emptiest_node.py
"""

import argparse
import asyncio
import json
import signal
import sys

import nats
from nats.errors import Error

PROTOCOL_VERSION = "1"
UNKNOWN_WORLD = b'{"type": "unknown_world"}\n'


class Program:
    """The program as a child process. It is started anew for each world, and sees one world only."""

    def __init__(self, command, answer_within):
        self.command, self.answer_within = command, answer_within
        self.process, self.at = None, None

    async def answer(self, world, number, lines):
        if lines.startswith(b'{"type":"world"'):
            await self.end()
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe)
        elif self.process is None or self.at != (world, number - 1):
            # This wrapper was started after the world was told, or a request was lost.
            return UNKNOWN_WORLD
        self.at = (world, number)
        try:
            return await asyncio.wait_for(self.talk(lines), self.answer_within)
        except asyncio.TimeoutError:
            return await self.give_up(f"the program did not answer within {self.answer_within} s")
        except (OSError, EOFError, ValueError) as error:
            return await self.give_up(f"the program ended, or wrote what is no line: {error!r}")

    async def talk(self, lines):
        self.process.stdin.write(lines)
        await self.process.stdin.drain()
        answers = []
        for _ in range(lines.count(b'{"type":"ask"')):
            line = await self.process.stdout.readline()
            if not line.endswith(b"\n"):
                raise EOFError("its output has ended")
            answers.append(line)
        return b"".join(answers)

    async def give_up(self, why):
        print(f"policy: {why}", file=sys.stderr, flush=True)
        await self.end()
        return json.dumps({"type": "error", "message": why}).encode()

    async def end(self):
        """It sees the end of its input, and has two seconds to end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


async def serve(args):
    program = Program(args.command, args.answer_within)

    async def on_request(message):
        headers = message.headers or {}
        if headers.get("Faultline-Version") != PROTOCOL_VERSION:
            answer = json.dumps({"type": "error", "message": f"version {headers.get('Faultline-Version')} is unknown"}).encode()
        else:
            try:
                answer = await program.answer(headers["Faultline-World"], int(headers["Faultline-Number"]), message.data)
            except (OSError, KeyError, ValueError) as error:
                answer = json.dumps({"type": "error", "message": repr(error)}).encode()
        await message.respond(answer)

    async def on_error(error):
        print(f"policy: NATS: {error!r}", file=sys.stderr, flush=True)

    nc = await nats.connect(
        args.url,
        name=f"policy-{args.name}",
        nkeys_seed=args.nkey,
        inbox_prefix="_INBOX_policy",
        error_cb=on_error,
        max_reconnect_attempts=-1,
    )
    # Not in a queue group: each program that listens is to hear every change.
    await nc.subscribe(f"policy.{args.name}", cb=on_request)
    await nc.flush()
    print(f"policy: answers policy.{args.name}", flush=True)
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await stop.wait()
    await nc.drain()
    await program.end()


def main():
    arguments = argparse.ArgumentParser(description="Puts a policy program of the lab behind a live scheduler.")
    arguments.add_argument("--url", default="nats://127.0.0.1:4222", help="where NATS is")
    arguments.add_argument("--nkey", metavar="FILE", help="seed of the NATS user `policy`, such as .data/nkeys/policy.nk")
    arguments.add_argument("--name", required=True, help="NAME of service:NAME, the policy that the scheduler is set to")
    arguments.add_argument("--answer-within", type=float, default=10, metavar="SECONDS", help="how long the program may take for one request")
    arguments.add_argument("command", nargs=argparse.REMAINDER, help="the program and its arguments, as behind exec: in the lab")
    args = arguments.parse_args()
    if not args.command:
        arguments.error("name the program, such as `python3 docs/examples/emptiest_node.py`")
    try:
        asyncio.run(serve(args))
    except (OSError, Error) as error:
        sys.exit(f"policy: {args.url}: {error!r}")


if __name__ == "__main__":
    main()
