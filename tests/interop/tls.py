# SPDX-License-Identifier: MIT
"""TLS with others: openssl s_client and s_server, curl, nginx, stunnel, and Python's asyncio, in both directions."""

import asyncio
import http.server
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from certificates import Files
from harness import (Program, arguments, check, descriptors, eventually, example, finish, free_port, needs,
                     settled_descriptors, wait_for_port)

options = arguments()
needs("openssl", "curl", "nginx", "stunnel")
server_program = str(options.build / "tests" / "aio_tls_server")
https_get = example(options.build, "https_get")
environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
nginx = shutil.which("nginx", path=environment["PATH"])


def run(command, text="", seconds=20, **more):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds, **more)
    return done.returncode, done.stdout, done.stderr


class Server(Program):
    """The server of aio, and what it says"""

    def __init__(self, files, *more):
        self.port = free_port()
        super().__init__([server_program, str(self.port), files["server.pem"], files["server.key"], *more],
                         stdout=subprocess.PIPE, text=True)
        self.said = []
        assert self.stdout.readline() == "serving\n"
        threading.Thread(target=lambda: self.said.extend(self.stdout), daemon=True).start()

    def says(self, text):
        return eventually(lambda: any(text in line for line in self.said))


def s_client(port, files, *more):
    # It ends with its input: what is answered has to come before.
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
               files["ca.pem"], "-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-no_ign_eof",
               *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as client:
        try:
            client.stdin.write("hello\n")
            client.stdin.flush()
            answer = client.stdout.readline()
            client.stdin.close()
            client.wait(10)
        except OSError:
            answer = ""
        finally:
            client.kill()
        return answer


def clients_of_others(files):
    with Server(files) as server:
        before = settled_descriptors(server.pid)
        for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            answer = s_client(server.port, files, version)
            check(f"openssl s_client {version} talks to aio", answer == f"{name} nobody: hello\n", repr(answer))
        url = f"https://localhost:{server.port}/"
        for version in ("1.2", "1.3"):
            code, text, errors = run(["curl", "-sS", "--cacert", files["ca.pem"], f"--tlsv{version}", "--tls-max",
                                      version, "--resolve", f"localhost:{server.port}:127.0.0.1", url])
            check(f"curl with TLS {version} gets a page of aio's", text == f"TLSv{version} nobody\n", errors)
        count = 500 if options.long else 40
        urls = [f"https://127.0.0.1:{server.port}/{each}" for each in range(count)]
        code, text, errors = run(["curl", "-sS", "--no-progress-meter", "--cacert", files["ca.pem"], "-Z",
                                  "--parallel-max", "20", *urls], seconds=120)
        check(f"curl gets {count} pages, 20 at once", code == 0 and text.count("TLSv1.3 nobody\n") == count,
              errors if code else "")
        code, _, errors = run(["curl", "-sS", "--cacert", files["other.pem"], url])
        check("curl refuses aio's certificate without its authority", code == 60, errors[:80])
        check("and aio says what it was told", server.says("failed: tlsv1 alert unknown ca"))
        run(["curl", "-sS", f"http://127.0.0.1:{server.port}/"])
        check("plain HTTP is told from TLS", server.says("failed: http request"))
        run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1", "-cipher",
             "DEFAULT:@SECLEVEL=0"])
        check("TLS 1.1 is refused", server.says("failed: unsupported protocol"))
        with socket.create_connection(("127.0.0.1", server.port)):
            check("one that says nothing is given up", server.says("failed: Connection timed out"))
        python_clients(server, files)
        check("no descriptor is left", eventually(lambda: descriptors(server.pid) == before))

    with Server(files, files["ca.pem"]) as server:
        for version in ("-tls1_2", "-tls1_3"):
            answer = s_client(server.port, files, version, "-cert", files["client.pem"], "-key", files["client.key"])
            check(f"s_client {version} is known by its certificate", answer.endswith(" CN=Ann: hello\n"), repr(answer))
            answer = s_client(server.port, files, version)
            check(f"s_client {version} is refused without one", answer == "", repr(answer))
        check("and aio says so", server.says("failed: peer did not return a certificate"))


def python_clients(server, files):
    count = 300 if options.long else 30
    context = ssl.create_default_context(cafile=files["ca.pem"])

    async def one(each, few):
        async with few:  # the server gives each two seconds to agree with it
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context,
                                                           server_hostname="localhost")
            writer.write(f"{each} here\n".encode())
            if await reader.readline() != f"TLSv1.3 nobody: {each} here\n".encode():
                return False
        for line in range(20):
            writer.write(f"{each} {line}\n".encode())
        for line in range(20):
            if await reader.readline() != f"TLSv1.3 nobody: {each} {line}\n".encode():
                return False
        writer.close()
        await writer.wait_closed()
        return True

    async def all_of_them():
        few = asyncio.Semaphore(20)
        return await asyncio.gather(*(one(each, few) for each in range(count)))

    check(f"{count} clients of asyncio talk to aio at once", all(asyncio.run(all_of_them())))

    async def cut():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context,
                                                       server_hostname="localhost")
        writer.write(b"half")
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)  # an end of TCP, not of TLS
        await asyncio.sleep(0.2)
        writer.transport.abort()

    asyncio.run(cut())
    check("a client that cuts the connection is told from one that ends", server.says("ended: the TLS stream was cut"))


def got(files, *words):
    code, text, errors = run([https_get, "--ca", files["ca.pem"], "--timeout", "10", *words], seconds=60)
    return code, text + errors


def servers_of_others(files):
    for version in ("-tls1_2", "-tls1_3"):
        for asks in ([], ["-Verify", "1", "-CAfile", files["ca.pem"], "-verify_return_error"]):
            port = free_port()
            with Program(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", files["server.pem"], "-key",
                          files["server.key"], version, "-www", "-quiet", *asks], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL):
                wait_for_port(port)
                url = f"https://127.0.0.1:{port}/"
                known = ["--cert", files["client.pem"], "--key", files["client.key"]] if asks else []
                code, text = got(files, *known, url)
                check(f"https_get has a page of s_server {version}{' with a certificate' if asks else ''}",
                      code == 0 and text.startswith("200 "), text.strip())
                if asks:
                    code, text = got(files, url)
                    check(f"s_server {version} refuses it without one", code == 1 and "alert" in text, text.strip())

    body = os.urandom(700000).hex()
    (files.folder / "page").write_text(body)
    port = free_port()
    (files.folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {files['nginx.pid']}; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {files['t1']}; proxy_temp_path {files['t2']}; fastcgi_temp_path {files['t3']};
  uwsgi_temp_path {files['t4']}; scgi_temp_path {files['t5']};
  server {{ listen 127.0.0.1:{port} ssl; root {files.folder};
           ssl_certificate {files['server.pem']}; ssl_certificate_key {files['server.key']}; }}
}}
""")
    with Program([nginx, "-p", str(files.folder), "-c", files["nginx.conf"]]):
        wait_for_port(port)
        code, text = got(files, "--body", f"https://localhost:{port}/page")
        check("https_get has a large page of nginx, every byte", code == 0 and text.endswith(body))
        count = 300 if options.long else 60
        code, text = got(files, *[f"https://localhost:{port}/page?{each}" for each in range(count)])
        wrong = [line for line in text.splitlines() if not line.startswith(f"200 {len(body)} ")]
        check(f"and {count} at once", code == 0 and text.count(f"200 {len(body)} ") == count,
              f"{len(wrong)} of them not: {wrong[:3]}" if wrong else "")
        code, text = got(files, f"https://localhost:{port}/none", f"https://127.0.0.2:{port}/",
                         f"https://localhost:{free_port()}/")
        check("errors are told for each: 404", code == 1 and "404 " in text)
        check("nobody there", text.count("cannot connect to") == 2)
        code, text, _ = run([https_get, f"https://localhost:{port}/page"])
        check("nginx is refused where the system's roots do not know it",
              code == 1 and "certificate verify failed: " in text, text.strip())

    class Plain(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(files.folder))

        def log_message(self, *_):
            pass

    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    port = free_port()
    (files.folder / "stunnel.conf").write_text(f"""
foreground = yes
pid =
debug = 3
[https]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{plain.server_address[1]}
cert = {files['server.pem']}
key = {files['server.key']}
""")
    with Program(["stunnel", files["stunnel.conf"]], stderr=subprocess.DEVNULL):
        wait_for_port(port)
        code, text = got(files, "--body", f"https://localhost:{port}/page")
        check("https_get has a page of a plain server behind stunnel, every byte", code == 0 and text.endswith(body))
    plain.shutdown()
    python_server(files)


def python_server(files):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["server.pem"], files["server.key"])
    pages = {
        "/length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "/end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "/cut": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel",
        "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "/continue": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "/garbage": b"220 mail.example.org\r\n",
    }

    async def answer(reader, writer):
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            if path == "/slow":
                await reader.read()  # until the client gives up
                return
            writer.write(pages[path])
            await writer.drain()
            if path == "/cut":
                writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass

    async def serve():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        urls = {path: f"https://127.0.0.1:{port}{path}" for path in [*pages, "/slow"]}
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(https_get, "--ca", files["ca.pem"], "--timeout", "2",
                                                       *urls.values(), stdout=subprocess.PIPE)
        text = (await process.communicate())[0].decode()
        took = time.monotonic() - begun
        server.close()
        for path in ("/length", "/chunked", "/end", "/continue"):
            check(f"https_get has the page {path} of asyncio", f"200 5 {urls[path]}\n" in text)
        for path, why in (("/cut", "the TLS stream was cut short"), ("/short", "5 bytes read on a total of 50"),
                          ("/garbage", "this is no HTTP"), ("/slow", "no answer in time")):
            lines = [line for line in text.splitlines() if line.startswith(f"failed {urls[path]}: ")]
            check(f"and says of {path}: {why}", len(lines) == 1 and why in lines[0], lines)
        check("all of them at once", process.returncode == 1 and took < 15, f"{took:.1f} s")

    asyncio.run(serve())


with tempfile.TemporaryDirectory() as name:
    made = Files(pathlib.Path(name))
    clients_of_others(made)
    servers_of_others(made)
finish()
