"""The service of an application: GET answers with its data, POST takes reports on updates and writes them down."""

from __future__ import annotations

import argparse
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Application(SimpleHTTPRequestHandler):
    """Serves a folder, and prints each report on a line of its own."""

    def do_POST(self) -> None:
        """Take a report."""
        report = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(f"report for {self.path}: {report.decode()}")
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description="The service of an application.")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--folder", default="data")
    given = parser.parse_args()
    handler = partial(Application, directory=given.folder)
    with ThreadingHTTPServer((given.bind, given.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
