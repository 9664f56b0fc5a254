#!/usr/bin/env python3
"""Runs Faultline jobs of the kinds service:greet and service:divide. The protocol is described in docs/executors.md.

    executor.py --url nats://127.0.0.1:4222 --nkey .data/nkeys/executor.nk
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys

import nats
import nats.micro
from nats.errors import NoRespondersError, TimeoutError

PROTOCOL_VERSION = "1"


class Final(Exception):
    """The job can never succeed: no retry helps."""


async def greet(attempt, params):
    """name: who is greeted; seconds: how long that takes."""
    name, seconds = params.get("name", "World"), params.get("seconds", 0.2)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        raise Final(f"`seconds` must be a number that is not negative, not {seconds!r}")
    steps = 20
    for step in range(steps):
        await asyncio.sleep(seconds / steps)
        attempt.say((step + 1) / steps, f"step {step + 1} of {steps}")
    return f"Hello, {name}! ({attempt.executor.instance})"


async def divide(attempt, params):
    """a / b. Work that computes for long belongs into a thread, else no sign of life gets out."""
    return {"quotient": await asyncio.to_thread(lambda: params["a"] / params["b"])}


KINDS = {"greet": greet, "divide": divide}


class Attempt:
    """One attempt of a job: runs `work`, says how far it is, and how it ended."""

    def __init__(self, executor, work, message):
        self.executor, self.work = executor, work
        self.request = json.loads(message.data)
        self.id, self.job, self.reply_to = self.request["attempt"], self.request["job"], self.request["reply"]
        self.share, self.text = None, ""
        self.task = asyncio.create_task(self.run())

    def say(self, share, text=""):
        """How far the work is, 0 to 1. Goes out with the next sign of life."""
        self.share, self.text = share, text

    async def run(self):
        try:
            await self.tell({"type": "accepted"})
            self.executor.log(f"accepted {self.job} attempt {self.request['number']}")
            alive = asyncio.create_task(self.stay_alive())
            try:
                result = await self.work(self, self.request["params"])
            finally:
                alive.cancel()
            await self.finish({"type": "result", "result": result})
            self.executor.log(f"finished {self.job}")
        except asyncio.CancelledError:
            # The worker no longer waits, so no answer is needed.
            self.executor.log(f"cancelled {self.job}")
        except Final as error:
            await self.finish({"type": "error", "message": str(error), "retry": False})
        except Exception as error:
            await self.finish({"type": "error", "message": repr(error)})
        finally:
            self.executor.running.pop(self.id, None)

    async def stay_alive(self):
        """Signs of life, much more often than is asked for. Each asks for a receipt: is the attempt still wanted?"""
        pause = min(1.0, self.request["silence_ms"] / 4000)
        while True:
            await asyncio.sleep(pause)
            progress = {"type": "progress", "text": self.text}
            if self.share is not None:
                progress["progress"] = self.share
            try:
                answer = await self.executor.nc.request(self.reply_to, json.dumps(progress).encode(), timeout=pause)
                wanted = json.loads(answer.data).get("running", True)
            except NoRespondersError:
                wanted = False
            except TimeoutError:
                wanted = True
            if not wanted:
                self.task.cancel()
                return

    async def tell(self, answer):
        await self.executor.nc.publish(self.reply_to, json.dumps(answer).encode())

    async def finish(self, answer):
        """The end of an attempt is repeated until the worker says that it has it, or is gone."""
        for _ in range(5):
            try:
                await self.executor.nc.request(self.reply_to, json.dumps(answer).encode(), timeout=1)
                return
            except NoRespondersError:
                return
            except TimeoutError:
                continue


class Executor:
    def __init__(self, instance):
        self.instance, self.running = instance, {}

    def log(self, text):
        print(f"{self.instance}: {text}", flush=True)

    def handler(self, work):
        async def handle(message):
            # The services API hands over one message at a time: the work goes on beside it.
            version = (message.headers or {}).get("Faultline-Version")
            if version != PROTOCOL_VERSION:
                await message.respond(json.dumps({"type": "error", "message": f"version {version} is unknown", "retry": False}).encode())
                return
            attempt = Attempt(self, work, message)
            self.running[attempt.id] = attempt

        return handle

    async def on_cancel(self, message):
        order = json.loads(message.data)
        if attempt := self.running.get(order["attempt"]):
            self.log(f"told to stop {attempt.job}: {order['reason']}")
            attempt.task.cancel()

    async def on_error(self, error):
        self.log(f"NATS: {error!r}")

    async def serve(self, url, nkey):
        self.nc = await nats.connect(
            url,
            name=self.instance,
            nkeys_seed=nkey,
            inbox_prefix="_INBOX_executor",
            error_cb=self.on_error,
            max_reconnect_attempts=-1,
        )
        # One subscription for all attempts, made before the first: no cancellation can come too early.
        await self.nc.subscribe("exec.cancel.*", cb=self.on_cancel)
        service = await nats.micro.add_service(
            self.nc,
            name="python-executor",
            version="1.0.0",
            description="Runs service:greet and service:divide jobs of Faultline",
            metadata={"instance": self.instance, "pid": str(os.getpid())},
            stats_handler=lambda endpoint: {"running": len(self.running)},
        )
        for name, work in KINDS.items():
            await service.add_endpoint(name=name, subject=f"exec.{name}", handler=self.handler(work), metadata={})
        await self.nc.flush()
        self.log(f"answers {', '.join(f'exec.{name}' for name in KINDS)}")
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await stop.wait()
        # Nothing new is taken; what runs may finish.
        await service.stop()
        if tasks := [attempt.task for attempt in self.running.values()]:
            await asyncio.wait(tasks)
        await self.nc.drain()


def main():
    arguments = argparse.ArgumentParser(description="Runs service:greet and service:divide jobs of Faultline.")
    arguments.add_argument("--url", default="nats://127.0.0.1:4222")
    arguments.add_argument("--nkey", metavar="FILE", help="seed of the NATS user `executor`, such as .data/nkeys/executor.nk")
    arguments.add_argument("--instance", default=f"{socket.gethostname()}-{os.getpid()}", help="what this process calls itself")
    args = arguments.parse_args()
    try:
        asyncio.run(Executor(args.instance).serve(args.url, args.nkey))
    except (OSError, nats.errors.Error) as error:
        sys.exit(f"executor: {args.url}: {error!r}")


if __name__ == "__main__":
    main()
