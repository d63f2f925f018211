"""A provider of API keys, for trying rotators out: it knows its keys until it is restarted."""

import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEYS = set()


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        match self.path.strip("/").split("/"):
            case ["keys"]:
                key = secrets.token_hex(20)
                KEYS.add(key)
                self.answer(200, key)
            case ["keys", key]:
                KEYS.add(key)
                self.answer(200, "known")
            case ["revoke", key]:
                KEYS.discard(key)
                self.answer(200, "revoked")
            case _:
                self.answer(404, "")

    def do_GET(self):
        match self.path.strip("/").split("/"):
            case ["check", key]:
                valid = key in KEYS
                self.answer(200 if valid else 403, "valid" if valid else "not valid")
            case ["count"]:
                self.answer(200, str(len(KEYS)))
            case _:
                self.answer(404, "")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Paths have keys in them."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Provider).serve_forever()
