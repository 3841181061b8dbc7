"""A stand-in for the XML API of Google Cloud Storage, as far as ledgers use it, in memory.

The emulators there are speak the JSON API, or the XML API without preconditions; the client needs the XML API with them.
After https://cloud.google.com/storage/docs/xml-api/reference-methods. It shows that the client and this description
agree, not what Google does.
"""

import contextlib
import hashlib
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

TOKEN = "a token of the stand-in"
# Few, so that listings have several pages.
PAGE = 5
PART_MIN_BYTES = 5 << 20


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Object:
    def __init__(self, content, generation):
        self.content, self.generation, self.put_at = content, generation, time.time()
        self.etag = '"%s"' % hashlib.md5(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Heads and bodies are written apart; together with delayed answers that would cost 40 ms each.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_method(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, name = url.path[1:].partition("/")
        try:
            with self.server.lock:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise Refused(401, "AuthenticationRequired")
                if unquote(bucket) != self.server.bucket:
                    raise Refused(404, "NoSuchBucket")
                answer = self.of_object(unquote(name), query, content) if name else self.listing(query)
        except Refused as refused:
            answer = (refused.status, f"<Error><Code>{refused.code}</Code></Error>".encode(), {})
        status, body, headers = answer
        # Tests kill who asks.
        with contextlib.suppress(ConnectionError):
            self.answer(status, body, **headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_method

    def of_object(self, name, query, content):
        server = self.server
        if "uploads" in query:
            server.uploads[f"upload-{len(server.uploads)}"] = {}
            return 200, f"<R><UploadId>upload-{len(server.uploads) - 1}</UploadId></R>".encode(), {}
        if "uploadId" in query:
            return self.of_upload(name, query, content)
        there = server.objects.get(name)
        if self.command == "PUT":
            wanted = self.headers.get("x-goog-if-generation-match")
            if wanted is not None and int(wanted) != (there.generation if there else 0):
                raise Refused(412, "PreconditionFailed")
            return self.put(name, content)
        if there is None:
            raise Refused(404, "NoSuchKey")
        if self.command == "DELETE":
            del server.objects[name]
            return 204, b"", {}
        headers = {"Last_Modified": formatdate(there.put_at, usegmt=True)}
        return 200, there.content, headers | {"ETag": there.etag, "x_goog_generation": there.generation}

    def put(self, name, content, body=b""):
        self.server.generation += 1
        new = self.server.objects[name] = Object(content, self.server.generation)
        return 200, body, {"ETag": new.etag, "x_goog_generation": new.generation}

    def of_upload(self, name, query, content):
        parts = self.server.uploads.get(query["uploadId"])
        if parts is None:
            raise Refused(404, "NoSuchUpload")
        if self.command == "PUT":
            part = parts[int(query["partNumber"])] = Object(content, 0)
            return 200, b"", {"ETag": part.etag}
        del self.server.uploads[query["uploadId"]]
        if self.command == "DELETE":
            return 204, b"", {}
        asked = [
            (int(part.findtext("PartNumber")), part.findtext("ETag")) for part in ElementTree.fromstring(content)
        ]
        if [(number, part.etag) for number, part in sorted(parts.items())] != asked:
            raise Refused(400, "InvalidPart")
        contents = [part.content for _, part in sorted(parts.items())]
        if any(len(part) < PART_MIN_BYTES for part in contents[:-1]):
            raise Refused(400, "EntityTooSmall")
        whole = b"".join(contents)
        return self.put(name, whole, f"<R><ETag>{Object(whole, 0).etag}</ETag></R>".encode())

    def listing(self, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("continuation-token") or query.get("start-after") or ""
        found = {}
        for name, item in self.server.objects.items():
            if not name.startswith(prefix):
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            found[name if cut < 0 else name[: cut + len(delimiter)]] = None if cut >= 0 else item
        left = sorted(name for name in found if name > after)
        rows = []
        for name in left[:PAGE]:
            item, key = found[name], escape(name)
            if item is None:
                rows.append(f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>")
                continue
            put_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.put_at))
            rows.append(
                f"<Contents><Key>{key}</Key><Generation>{item.generation}</Generation><Size>{len(item.content)}</Size>"
                f"<LastModified>{put_at}</LastModified><ETag>{escape(item.etag)}</ETag></Contents>"
            )
        if len(left) > PAGE:
            rows.append(f"<NextContinuationToken>{escape(left[PAGE - 1])}</NextContinuationToken>")
        return 200, f"<ListBucketResult>{''.join(rows)}</ListBucketResult>".encode(), {}


def serve(bucket):
    """Serves one empty bucket on a free port of loopback until the process ends; returns the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.bucket, server.objects, server.uploads, server.generation = bucket, {}, {}, 0
    server.lock = threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
