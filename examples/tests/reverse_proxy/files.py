"""Serves a directory as python's http.server does, in HTTP/1.1; POST writes a file. Prints its address."""

import http.server
import sys


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with open(self.translate_path(self.path), "wb") as file:
            file.write(content)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), lambda *args: Files(*args, directory=sys.argv[1])
)
print("%s:%d" % server.server_address, flush=True)
server.serve_forever()
