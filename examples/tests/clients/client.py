"""Asks for the list of posts as programs do that know nothing but the standard library."""

import gzip
import json
import sys
import urllib.error
import urllib.request

URL = sys.argv[1]


def ask(method="GET", **fields):
    """The status, the fields and the content of an answer."""
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    request = urllib.request.Request(URL, headers=fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:  # whatever is not 2xx
        with answer:
            return answer.code, answer.headers, answer.read()


def check(holds, *told):
    if not holds:
        raise SystemExit("\n".join(str(one) for one in told))


status, fields, plain = ask()
check(status == 200 and fields["content-encoding"] is None, status, fields)
check(fields["vary"] == "accept-encoding", fields)
check(len(json.loads(plain)["items"]) == 100, plain)
strong = fields["etag"]

status, fields, coded = ask(accept_encoding="gzip")
check(fields["content-encoding"] == "gzip" and gzip.decompress(coded) == plain, fields)
check(fields["etag"] == "W/" + strong and fields["vary"] == "accept-encoding", fields)
check(int(fields["content-length"]) == len(coded) < len(plain), fields)

for accepted in ["identity", "gzip"]:
    for held in [strong, "W/" + strong, '"other", ' + strong, "*"]:
        status, fields, nothing = ask(accept_encoding=accepted, if_none_match=held)
        check(status == 304 and nothing == b"", accepted, held, status, fields)
        check(fields["vary"] == "accept-encoding", fields)
    status, fields, _ = ask(accept_encoding=accepted, if_none_match='"other"')
    check(status == 200, status, fields)

status, fields, part = ask(range="bytes=10-99", if_range=strong)
check(status == 206 and part == plain[10:100], status, fields)
status, fields, whole = ask(range="bytes=10-99", if_range="W/" + strong)
check(status == 200 and whole == plain, status, fields)
status, fields, nothing = ask(range="bytes=1000000-")
check(status == 416 and fields["content-range"] == f"bytes */{len(plain)}", status, fields)

status, fields, nothing = ask(method="HEAD")
check(status == 200 and fields["etag"] == strong and nothing == b"", status, fields)
check(int(fields["content-length"]) == len(plain), fields)

print("done")
