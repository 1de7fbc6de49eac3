"""A web server on this machine that misbehaves as a test wants it to.

Each request takes the next step of the server's script, the last one over and over. A step is a
function of the request's handler; `served` makes those that send the server's file.
"""

import contextlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A server with a file, a script, and the requests it has had: path, Range and If-Range."""

    daemon_threads = True

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.etag = body, '"first"'
        self.script, self.requests = [served()], []
        self.released = threading.Event()  # ends the steps that wait
        self._lock = threading.Lock()

    def url(self, name="file.bin"):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    @property
    def ranges(self):
        """What each request has asked for, "" for the whole file."""
        return [asked for _, asked, _ in self.requests]

    def next_step(self, handler):
        with self._lock:
            self.requests.append(
                (handler.path, handler.headers["Range"] or "", handler.headers["If-Range"] or "")
            )
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def handle_error(self, request, client_address):
        """Clients go away as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        self.server.next_step(self)(self)

    def log_message(self, *args):
        """Say nothing."""


@contextlib.contextmanager
def running(body):
    server = Server(body)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler, status, headers, body=b""):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(body)


def served(
    cut=None,
    ranges=True,
    length=True,
    chunked=False,
    stall=False,
    rude=False,
    body=None,
    moved=0,
    grown=0,
    validator="ETag",
    kind="application/zip",
):
    """The server's file, or `body`; what `Range` and `If-Range` ask for, if `ranges`.

    After `cut` bytes the connection ends (`rude`: by a reset; `stall`: once it is released). The
    answer to a range begins `moved` bytes late, and speaks of a file that is `grown` larger.
    """

    def step(handler):
        server = handler.server
        content = server.body if body is None else body
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
        same = handler.headers["If-Range"] in (None, server.etag)
        start = int(asked[1]) if asked and same and ranges else 0
        headers = {"Content-Type": kind} | ({validator: server.etag} if validator else {})
        status = 200
        if start:
            status, total, start = 206, len(content) + grown, start + moved
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{total}"
        if start >= len(content) > 0:
            total = {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
            return send(handler, 416, total)
        rest = content[start:]
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif length:
            headers["Content-Length"] = str(len(rest) if length is True else length)
        sent = rest[:cut]
        send(handler, status, headers, b"%x\r\n%b\r\n" % (len(sent), sent) if chunked else sent)
        if chunked and cut is None:
            handler.wfile.write(b"0\r\n\r\n")
        handler.wfile.flush()
        if stall:
            server.released.wait(60)
        if rude:  # what has not gone out is lost, and the client hears of a reset
            linger = b"\1\0\0\0\0\0\0\0"
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return step


def status(code, **headers):
    """An answer with this status and a short page."""
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    page = {"Content-Type": "text/html", "Content-Length": "6"}
    return lambda handler: send(handler, code, page | shown, b"<html>")


def redirect(to):
    return status(302, Location=to)


def hang_up(handler):
    """End the connection without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler):
    """Say nothing until the server is released."""
    handler.server.released.wait(60)


def by_path(steps):
    """Of these steps the one for the request's path."""
    return lambda handler: steps[handler.path](handler)
