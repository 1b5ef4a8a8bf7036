"""A bucket to test against: moto's S3 server, which checks no signatures, behind a check of every signature.

Prints its port as the first line and ends when its standard input does. Every ninth request is told to slow down, so
that clients which do not try again fail.
"""

import hashlib
import hmac
import itertools
import os
import sys
import threading
import time
import urllib.parse

os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "3"

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET, BUCKET = "the-key", "the secret/with+signs", "traces"


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def is_signed(environ):
    """Signature Version 4 in the query, as Amazon documents it."""
    path, _, query = environ["RAW_URI"].partition("?")
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    said = {name: urllib.parse.unquote(value) for name, value in pairs}
    try:
        key, day, region, service, _ = said["X-Amz-Credential"].split("/")
        names = said["X-Amz-SignedHeaders"].split(";")
        age = time.time() - time.mktime(time.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%SZ")) + time.timezone
    except (KeyError, ValueError):
        return False
    if key != KEY or service != "s3" or not -60 <= age <= int(said["X-Amz-Expires"]):
        return False
    headers = {name: environ.get("HTTP_" + name.upper().replace("-", "_"), "") for name in names}
    unsigned = [name for name in environ if name.startswith("HTTP_X_AMZ_") and name[5:].lower().replace("_", "-") not in names]
    if unsigned:
        return False
    canonical = "\n".join(
        [
            environ["REQUEST_METHOD"],
            path,
            "&".join(sorted(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", said["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = digest(digest(digest(digest(("AWS4" + SECRET).encode(), day), region), service), "aws4_request")
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), said["X-Amz-Signature"])


def answer(start, status, code, message):
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


def checked(app):
    numbers = itertools.count(1)

    def serve(environ, start):
        if environ.get("HTTP_X_TEST_SETUP") != "yes":
            if not is_signed(environ):
                return answer(start, "403 Forbidden", "SignatureDoesNotMatch", "The signature does not match")
            if next(numbers) % 9 == 0:
                return answer(start, "503 Slow Down", "SlowDown", "Please reduce your request rate")
        return app(environ, start)

    return serve


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


server = make_server("127.0.0.1", 0, checked(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
