# SPDX-License-Identifier: MIT
"""Certificates that OpenSSL makes for a script: of a server on this host, of a client, of two authorities

    with tempfile.TemporaryDirectory() as folder:
        files = Files(pathlib.Path(folder))
        files["ca.pem"], files["server.pem"], files["server.key"]
"""

import subprocess


def openssl(*words):
    done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


class Files:
    """An authority, another one, and whom the first vouches for"""

    def __init__(self, folder):
        self.folder = folder
        self.authority("ca")
        self.authority("other")
        self.signed("server", "localhost", "DNS:localhost,IP:127.0.0.1")
        self.signed("client", "Ann", "DNS:ann.example.org")

    def __getitem__(self, name):
        return str(self.folder / name)

    def authority(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", self[name + ".key"], "-out", self[name + ".pem"])

    def signed(self, name, subject, alternatives):
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName={alternatives}\nbasicConstraints=critical,CA:FALSE\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={subject}",
                "-keyout", self[name + ".key"], "-out", self[name + ".csr"])
        openssl("x509", "-req", "-in", self[name + ".csr"], "-CA", self["ca.pem"], "-CAkey", self["ca.key"],
                "-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", self[name + ".pem"])
