#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the examples that are clients to servers that go away: PostgreSQL, Redis and nginx are killed in the middle,
and started again. What failed is told of, the rest goes on, the exit status says so, and nothing is left behind. Beside
them are psql and redis-cli, on the same server, and by a relay of aio's (peer.cpp).

    python3 databases.py BUILD [postgres] [redis] [sqlite] [fetch] [--long]
"""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from harness import (Peer, Program, arguments, check, descriptors, eventually, example, finish, free_port,
                     peer_program, settled_descriptors, wait_for_port)

LIMIT = 120  # seconds that a program may take, with sanitizers on a busy machine


def found(name):
    """Where a program of Debian is, or None; PostgreSQL's are in no folder of the PATH."""
    homes = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name))
    return shutil.which(name, path=":".join([os.environ["PATH"], "/usr/sbin", *map(str, reversed(homes))]))


def wait_until(condition, what, seconds=30):
    if not eventually(condition, seconds):
        raise TimeoutError(f"waited {seconds} s in vain until {what}")


class Server:
    """What can be killed, and started again on the same port and with the same data."""

    def __init__(self, root, command, user=None):
        self.root = root
        self.command = command
        self.user = user
        self.process = None

    def start(self):
        log = open(self.root / "log", "ab")
        options = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root,
                                        start_new_session=True, **options)
        log.close()
        wait_until(self.answers, f"{self.command[0]} answers")

    def kill(self, how=signal.SIGKILL):
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("it has ended: " + (self.root / "log").read_text(errors="replace")[-2000:])
        with contextlib.suppress(OSError):
            wait_for_port(self.port, seconds=0)
            return True
        return False


class Postgres(Server):
    def __init__(self, root):
        self.port = free_port()
        user = None
        if os.getuid() == 0:  # who is root may not run it
            names = {each.pw_name for each in pwd.getpwall()}
            user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(root, user)
            os.chmod(root, 0o755)
        super().__init__(root, [found("postgres"), "-D", str(root / "data"), "-p", str(self.port),
                                "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                                "-c", "fsync=off", "-c", "max_connections=30"], user)
        group = {"group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        made = subprocess.run([found("initdb"), "-D", str(root / "data"), "-A", "trust", "-U", "aio", "--no-sync",
                               "--locale=C", "-E", "UTF8"], user=user, cwd=root, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT, **group)
        if made.returncode != 0:
            raise RuntimeError(made.stdout)

    def info(self):
        return f"host=127.0.0.1 port={self.port} user=aio dbname=postgres"

    def ask(self, question):
        return subprocess.run([found("psql"), self.info(), "-Atc", question], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=LIMIT).stdout.strip()

    def answers(self):
        return super().answers() and self.ask("select 1") == "1"

    def kill(self, how=signal.SIGQUIT):  # at once: none of its processes is left, as a SIGKILL of the first would leave
        super().kill(how)


class Redis(Server):
    def __init__(self, root):
        self.port = free_port()
        super().__init__(root, [found("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                                "--dir", str(root)])


class Nginx(Server):
    CONFIG = """
daemon off;
master_process off;
{user}
pid {root}/pid;
error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {root}/access.log;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {root}/pages;
    limit_rate 100k;  # slow enough to have a middle
  }}
}}
"""

    def __init__(self, root, pages):
        self.port = free_port()
        (root / "pages").mkdir()
        for number in range(pages):
            (root / "pages" / str(number)).write_bytes(b"x" * self.size(number))
        self.urls = root / "urls"
        self.urls.write_text("".join(f"http://127.0.0.1:{self.port}/{number}\n" for number in range(pages)))
        user = "user root;" if os.getuid() == 0 else ""  # the folder is ours alone
        (root / "conf").write_text(self.CONFIG.format(root=root, port=self.port, user=user))
        super().__init__(root, [found("nginx"), "-p", str(root), "-c", str(root / "conf")])

    @staticmethod
    def size(number):
        return 1000 + number * 7919 % 50_000

    def answered(self):
        return len((self.root / "access.log").read_text().splitlines())


class Client(Program):
    """An example that is watched: what it prints, and how many descriptors it has."""

    def __init__(self, *command):
        super().__init__(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.out = ""

    def until(self, text):
        """Reads what it prints up to a line that contains the text."""
        while text not in (line := self.stdout.readline()):
            if not line:
                raise RuntimeError("it has ended: " + self.out + self.stderr.read())
            self.out += line
        self.out += line

    def ended(self):
        """Its exit status; .out and .errors is what it said."""
        out, self.errors = self.communicate(timeout=LIMIT)
        self.out += out
        return self.returncode


@contextlib.contextmanager
def running(kind, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        server = kind(root, *arguments)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def count(pattern, text):
    return sum(int(each) for each in re.findall(pattern, text, re.MULTILINE))


@contextlib.contextmanager
def relay_to(port, build):
    """A port from which aio passes all on to that one, or None, where that program is not built."""
    if not os.path.exists(peer_program(build)):
        print("left out, not built:", peer_program(build))
        yield None
        return
    here = free_port()
    with Peer(build, f"tcp:127.0.0.1:{here}", f"relay:tcp:127.0.0.1:{port}") as relay:
        before = settled_descriptors(relay.pid)
        yield here
        check("by a relay of aio's: no descriptor is left", eventually(lambda: descriptors(relay.pid) == before))


def postgres(program, given):
    long = given.long
    with running(Postgres) as server:
        with Client(program, server.info()) as client:
            check("postgres: 1,000 queries by ten connections, a copy in and out", client.ended() == 0 and
                  "1000 of 1000 queries answered" in client.out and "10000 lines copied out" in client.out,
                  client.errors)
            check("postgres: errors have their SQLSTATE", "SQLSTATE 23505" in client.out)
            check("postgres: a query that was given up leaves a connection that is good for the next",
                  "its connection answers the next" in client.out)
        check("postgres: its connections are closed", eventually(lambda: connections(server) == "0"))
        beside_psql(program, server, given.build, long)

        queries = 10_000 if long else 1000
        with Client(program, server.info(), str(queries), "0.02") as client:
            client.until("answers the next")
            wait_until(lambda: connections(server) == "10", "ten connections are busy")
            before = descriptors(client.pid)
            server.kill()
            time.sleep(0.5)
            server.start()
            wait_until(lambda: connections(server) == "10", "ten connections are there again")
            after = descriptors(client.pid)
            status = client.ended()
            failed = len(re.findall(r"^query \d+: (08|57)", client.errors, re.MULTILINE))
            answered = count(r"^(\d+) of \d+ queries answered$", client.out)
            check("postgres: of a server that was killed and came back only what it did then is lost, and told of",
                  1 <= failed <= 10 and answered == queries - failed, f"{answered} answered, {failed} failed")
            check("postgres: the exit status says that some failed", status == 1, status)
            check("postgres: broken connections leave no descriptors behind", after <= before, f"{before}, {after}")

        with Client(program, server.info(), "1000", "0.5") as client:
            client.until("answers the next")
            wait_until(lambda: connections(server) == "10", "ten connections are busy")
            client.send_signal(signal.SIGINT)
            begin = time.monotonic()
            check("postgres: Ctrl-C ends it by that signal", client.ended() == -signal.SIGINT and
                  client.errors == "", client.errors)
            check("postgres: and soon, for the server is asked to stop", time.monotonic() - begin < 10)
        check("postgres: the server does nothing for it any more", eventually(lambda: connections(server) == "0"))

    if not long:
        return
    begin = time.monotonic()
    with Client(program, f"host=127.0.0.1 port={free_port()} user=aio") as client:
        check("postgres: without a server it tries for 20 s, then says why", client.ended() == 2 and
              "refused" in client.errors and 15 < time.monotonic() - begin < 60, client.errors)


def connections(server):
    return server.ask("select count(*) from pg_stat_activity where backend_type = 'client backend' and "
                      "pid <> pg_backend_pid()")


def beside_psql(program, server, build, long):
    """psql and the example on the same tables, and psql by a relay of aio's"""
    with Client(program, server.info(), "500", "0.02") as client:
        client.until("answers the next")
        wait_until(lambda: connections(server) == "10", "ten connections are busy")
        check("postgres: psql reads what the example has written",
              server.ask("select count(*), min(name) from aio_articles") == "10000|article 1")
        server.ask("begin; lock table aio_articles in access exclusive mode; select pg_sleep(0.5); commit")
        check("postgres: the example waits for psql's lock, and goes on", client.ended() == 0 and
              client.errors == "" and "500 of 500 queries answered" in client.out, client.errors)
    with Client(program, server.info(), "500", "0.02") as client:
        client.until("answers the next")
        wait_until(lambda: connections(server) == "10", "ten connections are busy")
        ended = server.ask("select count(pg_terminate_backend(pid)) from pg_stat_activity where "
                           "backend_type = 'client backend' and pid <> pg_backend_pid()")
        status = client.ended()
        failed = len(re.findall(r"^query \d+: (57P01|08)", client.errors, re.MULTILINE))
        answered = count(r"^(\d+) of \d+ queries answered$", client.out)
        check("postgres: psql ends its connections: what they did is told of, and the rest is answered by others",
              (ended, status) == ("10", 1) and 1 <= failed <= 10 and "57P01" in client.errors and
              answered == 500 - failed, f"{answered} answered, {failed} failed, {ended} ended" +
              ("" if answered == 500 - failed else f", {status}\n{client.errors}"))

    with relay_to(server.port, build) as port:
        if port is None:
            return
        info = server.info().replace(f"port={server.port}", f"port={port}")
        lines = 1_000_000 if long else 30_000
        wanted = "".join(f"{number}\t{number * 7}\n" for number in range(1, lines + 1))

        def psql(question, text=""):
            return subprocess.run([found("psql"), info, "-qAtc", question], input=text, text=True, timeout=LIMIT,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout

        check(f"postgres: psql by a relay of aio's: {lines:,} lines out",
              psql(f"copy (select n, n * 7 from generate_series(1, {lines}) n) to stdout") == wanted)
        said = psql("create table seven (n int primary key, seven int)") + psql("copy seven from stdin", wanted)
        check("and in", said == "" and server.ask("select count(*), sum(seven) from seven") ==
              f"{lines}|{7 * lines * (lines + 1) // 2}", said)
        with Client(program, info) as client:
            check("postgres: the example by a relay of aio's", client.ended() == 0 and
                  "1000 of 1000 queries answered" in client.out, client.errors)


def beside_redis_cli(program, server, build, long):
    """redis-cli and the example on the same server and channel, and redis-cli by a relay of aio's"""
    cli = [found("redis-cli"), "-h", "127.0.0.1", "-p", str(server.port)]
    with Client(*cli, "subscribe", "aio:news") as hearer:
        hearer.until("1")  # it has subscribed
        with Client(program, "127.0.0.1", str(server.port), "200" if long else "50") as client:
            client.until("heard the beginning")
            hearers = subprocess.run([*cli, "publish", "aio:news", "from redis-cli"], stdout=subprocess.PIPE, text=True,
                                     timeout=LIMIT).stdout
            check("redis: redis-cli publishes, and the example hears", client.ended() == 0 and hearers == "2\n" and
                  "heard from redis-cli, too" in client.out, client.out + client.errors)
            hearer.until("the end")
            check("redis: the example publishes, and redis-cli hears", [
                line for line in hearer.out.splitlines() if line.startswith(("from", "the "))] ==
                  ["the beginning", "from redis-cli", "the end"], hearer.out)
        # At first it may not subscribe, and others hear what it publishes.
        subprocess.run([*cli, "acl", "setuser", "default", "-subscribe"], stdout=subprocess.DEVNULL, timeout=LIMIT)
        with Client(program, "127.0.0.1", str(server.port), "1") as client:
            hearer.until("the beginning")
            subprocess.run([*cli, "acl", "setuser", "default", "+subscribe"], stdout=subprocess.DEVNULL, timeout=LIMIT)
            check("redis: where only redis-cli hears the example at first, it publishes until it hears itself",
                  client.ended() == 0 and "published the beginning, heard the beginning" in client.out, client.errors)
        check("redis: the example has taken away what it stored", subprocess.run(
            [*cli, "keys", "aio:*"], stdout=subprocess.PIPE, text=True, timeout=LIMIT).stdout.strip() == "")

    with relay_to(server.port, build) as port:
        if port is None:
            return
        many = 500_000 if long else 50_000
        by_relay = [found("redis-cli"), "-h", "127.0.0.1", "-p", str(port)]
        said = subprocess.run([*by_relay, "--pipe"], text=True, timeout=LIMIT, stdout=subprocess.PIPE, input="".join(
            f"SET key:{number} {number * 7}\r\n" for number in range(many))).stdout
        check(f"redis: redis-cli --pipe by a relay of aio's: {many:,} commands without an error",
              f"errors: 0, replies: {many}\n" in said, said)
        values = subprocess.run([*by_relay, "mget", *(f"key:{number}" for number in range(0, many, 97))], text=True,
                                timeout=LIMIT, stdout=subprocess.PIPE).stdout.split()
        check("and the values are there", values == [str(number * 7) for number in range(0, many, 97)])
        if found("redis-benchmark"):
            requests = 200_000 if long else 20_000
            said = subprocess.run([found("redis-benchmark"), "-h", "127.0.0.1", "-p", str(port), "-q", "-c", "50", "-P",
                                   "4", "-n", str(requests), "-t", "set,get"], text=True, timeout=LIMIT,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            check(f"redis: redis-benchmark by a relay of aio's: 2 times {requests:,} requests by 50 connections",
                  said.count("requests per second") == 2 and "rror" not in said, said)


def redis(program, given):
    long = given.long
    with running(Redis) as server:
        with Client(program, "127.0.0.1", str(server.port)) as client:
            check("redis: 10 times 1,000 commands at once", client.ended() == 0 and client.errors == "" and
                  "10000 of 10000 commands answered, by 1 connection\n" in client.out, client.errors)
            check("redis: what is published is heard", "published the end, heard the end" in client.out)
            check("redis: errors are the server's words", "refused: ERR wrong number of arguments" in client.out)

        if found("redis-cli"):
            beside_redis_cli(program, server, given.build, long)
        else:
            print("left out, not installed: redis-cli")

        rounds = 2000 if long else 100
        with Client(program, "127.0.0.1", str(server.port), str(rounds)) as client:
            client.until("heard the beginning")
            server.kill()
            time.sleep(0.5)
            server.start()
            status = client.ended()
            failed = count(r"^round \d+: (\d+) commands failed", client.errors)
            answered = count(r"^(\d+) of \d+ commands answered, by 2 connections$", client.out)
            check("redis: of a server that was killed and came back only what was asked then is lost, and told of",
                  0 <= failed <= 1000 and answered == rounds * 1000 - failed, f"{answered} answered, {failed} failed")
            check("redis: the exit status says whether some failed", status == (1 if failed else 0), status)
            check("redis: it has subscribed again", "published the end, heard the end" in client.out)

        with Client(program, "127.0.0.1", str(server.port), "1000000") as client:
            client.until("heard the beginning")
            before = descriptors(client.pid)
            for _ in range(10 if long else 2):
                server.kill()
                wait_until(lambda: descriptors(client.pid) < before, "it has noticed")
                server.start()
                check("redis: it has two connections again, and no descriptor more",
                      eventually(lambda: descriptors(client.pid) == before), f"{before}, {descriptors(client.pid)}")
            client.send_signal(signal.SIGINT)
            check("redis: Ctrl-C ends it by that signal", client.ended() == -signal.SIGINT)
            told = re.sub(r"^round \d+: \d+ commands failed: the connection was lost before the answer\n", "",
                          client.errors, flags=re.MULTILINE)
            check("redis: and nothing is said but what was lost", told == "", told)

    with Client(program, "127.0.0.1", str(free_port())) as client:
        check("redis: without a server it says so", client.ended() == 2 and
              client.errors == "redis: the operation timed out\n", client.errors)


def sqlite(program, given):
    long = given.long
    with tempfile.TemporaryDirectory() as folder:
        with Client(program, folder + "/articles", "10000" if long else "1000") as client:
            check("sqlite: written and read by many tasks at once, undone, given up", client.ended() == 0 and
                  client.errors == "", client.out + client.errors)
        check("sqlite: the file is closed", os.listdir(folder) == ["articles"], os.listdir(folder))
    with Client(program, "/nowhere/articles") as client:
        check("sqlite: a file that cannot be opened is an error", client.ended() == 2 and
              "unable to open database file" in client.errors, client.errors)


def nginx(program, given):
    long = given.long
    pages = 3000 if long else 300
    with running(Nginx, pages) as server:
        for retries, sentence in ((6, "fetch: of an nginx that was killed and came back every page arrives in the end"),
                                  (0, "fetch: without another try what failed then has a row that says why")):
            already = server.answered()
            with Client(program, "--limit", "30", "--retries", str(retries), "--file", str(server.urls)) as client:
                wait_until(lambda: server.answered() >= already + 60, "60 pages are answered")
                server.kill()
                time.sleep(0.3)
                server.start()
                status = client.ended()
                rows = re.findall(r"^http\S+/(\d+) +(\d+|-) +(\d+) +\d+ +\d+(?:  (.*))?$", client.out, re.MULTILINE)
                whole = sum(1 for number, code, size, error in rows
                            if code == "200" and int(size) == Nginx.size(int(number)) and error == "")
                told = sum(1 for number, code, size, error in rows if code == "-" and error != "")
                check(sentence, len(rows) == pages == whole + told and (told == 0) == (retries > 0),
                      f"{whole} arrived, {told} did not")
                check("fetch: and the exit status says so", status == (1 if told else 0) and client.errors == "",
                      f"{status} {client.errors}")


def main():
    parts = {"postgres": (postgres, ["initdb", "postgres", "psql"]), "redis": (redis, ["redis-server"]),
             "sqlite": (sqlite, []), "fetch": (nginx, ["nginx"])}
    wanted = parts.keys() & sys.argv[1:] or parts.keys()
    sys.argv[1:] = [each for each in sys.argv[1:] if each not in parts]
    given = arguments()
    possible = {name: part for name, (part, programs) in parts.items() if name in wanted and
                os.path.exists(example(given.build, name)) and all(map(found, programs))}
    for name in wanted - possible.keys():
        print(f"left out: {name}, the example or its server is not here")
    if not possible:
        sys.exit(77)
    for name, part in possible.items():
        begin = time.monotonic()
        part(example(given.build, name), given)
        print(f"       {name} took {time.monotonic() - begin:.1f} s", flush=True)
    finish()


main()
