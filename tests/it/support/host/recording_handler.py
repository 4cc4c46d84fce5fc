"""A custom handler that says what it got: the other end of the tests of the stand-in host.

Every request is written to standard output as one line of JSON, and answered with the same, unless the header `x-do`
(JSON) asks for something else: {"status", "headers", "body", "chunks", "pause", "wait", "exit", "warn"}.

RECORDER_EXIT ends it at once with that code, RECORDER_STALL leaves the host's probe without an answer, RECORDER_TIMER is
what it answers to an envelope ("hang": nothing) and RECORDER_TIMER_WAIT after how many seconds, RECORDER_SERVE_AFTER is how many seconds it waits before it listens.
"""
import http.server
import json
import os
import socketserver
import sys
import threading
import time

ENV = os.environ
LOCK = threading.Lock()
UNDER_WAY = set()


def say(value, to=sys.stdout):
    with LOCK:
        to.write(json.dumps(value) + "\n")
        to.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read_body(self):
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return body

    def answer(self):
        with LOCK:
            self.beside = len(UNDER_WAY)
            UNDER_WAY.add(self)
        try:
            self.answer_alone()
        finally:
            with LOCK:
                UNDER_WAY.discard(self)

    def answer_alone(self):
        if self.path == "/" and self.command == "GET":
            if "RECORDER_STALL" in ENV:
                time.sleep(60)
            return self.send(200, [], b"ok")
        body = self.read_body()
        got = {"method": self.command, "target": self.path, "body_bytes": len(body), "beside": self.beside,
               "headers": [[k.lower(), v] for k, v in self.headers.items()],
               "body": body[:4096].decode("utf-8", "replace")}
        say(got)
        if self.path == "/Reconcile":
            wanted = ENV.get("RECORDER_TIMER", "{}")
            time.sleep(float(ENV.get("RECORDER_TIMER_WAIT", "0")))
            if wanted == "hang":
                time.sleep(60)
            return self.send(200, [["content-type", "application/json"]], wanted.encode())
        do = json.loads(self.headers.get("x-do") or "{}")
        if "warn" in do:
            say(do["warn"], sys.stderr)
        if "exit" in do:
            os._exit(do["exit"])
        time.sleep(do.get("wait", 0))
        if "chunks" in do:
            return self.send_chunks(do)
        text = do["body"] if "body" in do else json.dumps(got)
        headers = do.get("headers", [["content-type", "application/json"]])
        self.send(do.get("status", 200), headers, text.encode())

    def send(self, status, headers, body):
        # Before the answer: whoever has read it may ask again at once.
        with LOCK:
            UNDER_WAY.discard(self)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_chunks(self, do):
        """Each chunk, and a pause of `pause` seconds after each; a chunk of null ends the process instead."""
        self.send_response(do.get("status", 200))
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for chunk in do["chunks"]:
            if chunk is None:
                os._exit(1)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk.encode()))
            self.wfile.flush()
            time.sleep(do.get("pause", 0))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_TRACE = do_PURGE = answer


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    say({"environment": dict(ENV), "cwd": os.getcwd(), "arguments": sys.argv[1:]})
    if "RECORDER_EXIT" in ENV:
        sys.exit(int(ENV["RECORDER_EXIT"]))
    time.sleep(float(ENV.get("RECORDER_SERVE_AFTER", "0")))
    Server(("127.0.0.1", int(ENV["FUNCTIONS_CUSTOMHANDLER_PORT"])), Handler).serve_forever()
