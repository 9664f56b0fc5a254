"""Lets a newer Docker client speak to an older engine: docker-api-bridge.py SOCKET

An engine refuses requests that name a newer API version than its own ("client version is too new"), and the client inside
testcontainers always names its newest. This listens on the Unix socket SOCKET and passes everything to the engine of
DOCKER_HOST (a Unix socket, by default /var/run/docker.sock) with the engine's own version in place of a newer one; the few calls
that our tests make mean the same in both. It serves until standard input ends, so it never outlives the test run.

Exit status before the first line on standard output: 3 when no bridge is needed, 4 when no engine answers.
"""

import http.client
import json
import os
import re
import socket
import sys
import threading

CLIENT_VERSION = (1, 53)  # what bollard 0.21, the client inside testcontainers 0.28, asks for
HEAD_LIMIT = 1 << 20


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def engine_version(path):
    connection = UnixConnection(path)
    connection.request("GET", "/version")
    reply = json.load(connection.getresponse())
    return tuple(int(part) for part in reply["ApiVersion"].split("."))


def rewritten(head, version):
    """The request's head with an API version that the engine knows, and with one request a connection: the next head would
    otherwise have to be found behind this one's body."""
    line, _, fields = head.partition(b"\r\n")

    def lower(match):
        asked = (int(match[1]), int(match[2]))
        return b"/v%d.%d/" % min(asked, version)

    line = re.sub(rb"/v(\d+)\.(\d+)/", lower, line, count=1)
    kept = [field for field in fields.split(b"\r\n") if not field.lower().startswith(b"connection:")]
    return b"\r\n".join([line, b"Connection: close", *kept])


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side went away; the other copy ends by itself


def serve(client, path, version):
    with client, socket.socket(socket.AF_UNIX) as engine:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_LIMIT:
            data = client.recv(65536)
            if not data:
                return
            head += data
        head, end, body = head.partition(b"\r\n\r\n")
        try:
            engine.connect(path)
            engine.sendall(rewritten(head, version) + end + body)
        except OSError:
            return
        threading.Thread(target=copy, args=(client, engine), daemon=True).start()
        copy(engine, client)


def accept(listener, path, version):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, path, version), daemon=True).start()


def main():
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        sys.exit(3)
    path = host.removeprefix("unix://")
    try:
        version = engine_version(path)
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        sys.exit(4)
    if version >= CLIENT_VERSION:
        sys.exit(3)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    threading.Thread(target=accept, args=(listener, path, version), daemon=True).start()
    print(f"docker API {version[0]}.{version[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
