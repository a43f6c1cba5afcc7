"""Servers for tests that need more of one than the lab's built-in server has: programs, run by Python as they stand.

Each answers HTTP with JSON as the built-in server does: "pod", who answers, and "clientAddress", whom it sees.
"""

_PAGE = r"""
import http.server, json, os, signal, socket, socketserver, sys, threading
def plain(address): return address.removeprefix("::ffff:")
def answer(who, client): return json.dumps({"pod": who, "clientAddress": plain(client[0])}).encode()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = answer(name(self.connection), self.client_address)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Pages(http.server.ThreadingHTTPServer):
    address_family, request_queue_size = socket.AF_INET6, 256
"""

# On port 8080, by its pod's name; after SIGTERM it goes on for so long, as a server that drains its clients.
DRAINING = f"""{_PAGE}
def name(_): return os.environ.get("HOSTNAME", "?")
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(3, os._exit, [0]).start())
Pages(("::", 8080), Page).serve_forever()
"""

# On TCP and UDP of the port that is its argument, as "outside"; says "ready" when it is.
OUTSIDE = f"""{_PAGE}
def name(_): return "outside"
class Datagram(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(answer("outside", self.client_address), self.client_address)
class Datagrams(socketserver.UDPServer):
    address_family = socket.AF_INET6
threading.Thread(target=Datagrams(("::", int(sys.argv[1])), Datagram).serve_forever, daemon=True).start()
pages = Pages(("::", int(sys.argv[1])), Page)
print("ready", flush=True)
pages.serve_forever()
"""

# On the port that is its argument, by the address at which it was reached; says "ready" when it is.
EACH_ADDRESS = f"""{_PAGE}
def name(connection): return plain(connection.getsockname()[0])
pages = Pages(("::", int(sys.argv[1])), Page)
print("ready", flush=True)
pages.serve_forever()
"""
