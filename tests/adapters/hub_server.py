"""A stand-in for the Hugging Face hub: the few endpoints that huggingface_hub uses to push and load an adapter.

Written from the requests that the library makes (version 2.4, without its Xet protocol). State lives in memory; a test
may look at it, damage it, or make it answer badly.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """A running server.

    Attributes:
        commits: For each repository its commits, oldest first, each as files by path.
        private: Repositories made private.
        tokens: Authorization headers seen.
        downloads: Paths of files that were sent.
        refuse: HTTP status that every request is answered with instead, if any.
        cut: Send files only half, and close the connection.
    """

    def __init__(self):
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.tokens: list[str | None] = []
        self.downloads: list[str] = []
        self.refuse: int | None = None
        self.cut = False
        self.objects: dict[str, bytes] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def revision(self, repo, name):
        """Number of the commit that a branch or a commit's hash names, or None."""
        hashes = [self.hash(repo, number) for number in range(len(self.commits[repo]))]
        if name == "main" and hashes:
            return len(hashes) - 1
        return hashes.index(name) if name in hashes else None

    def hash(self, repo, number):
        return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.tokens.append(self.headers.get("Authorization"))
        if hub.refuse:
            return self.answer({"error": "refused"}, hub.refuse)
        for pattern, method in _ROUTES.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, body, **match.groupdict())
        return self.answer({"error": "no such page"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def answer(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code):
        return self.answer({"error": code}, 404, X_Error_Code=code)

    def log_message(self, *arguments):
        pass

    def create(self, body):
        wanted = json.loads(body)
        repo = f"{wanted['organization']}/{wanted['name']}"
        known = repo in self.hub.commits
        self.hub.commits.setdefault(repo, [])
        if not known and (wanted.get("private") or wanted.get("visibility") == "private"):
            self.hub.private.add(repo)
        return self.answer({"url": f"{self.hub.url}/{repo}", "id": repo, "name": repo}, 409 if known else 200)

    def check_card(self, body):
        return self.answer({"errors": [], "warnings": []})

    def preupload(self, body, repo, revision):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        return self.answer({"files": files})

    def batch(self, body, repo):
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/objects/{each['oid']}"}}}
            for each in json.loads(body)["objects"]
        ]
        return self.answer({"transfer": "basic", "objects": objects})

    def put(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            return self.answer({"error": "damaged"}, 400)
        self.hub.objects[oid] = body
        return self.answer({})

    def commit(self, body, repo, revision):
        commits = self.hub.commits[repo]
        files = dict(commits[-1]) if commits else {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commits.append(files)
        oid = self.hub.hash(repo, len(commits) - 1)
        url = f"{self.hub.url}/{repo}/commit/{oid}"
        return self.answer({"success": True, "commitUrl": url, "commitOid": oid})

    def info(self, body, repo, revision="main"):
        if repo not in self.hub.commits:
            return self.missing("RepoNotFound")
        number = self.hub.revision(repo, revision)
        if number is None and self.hub.commits[repo]:
            return self.missing("RevisionNotFound")
        files = self.hub.commits[repo][number] if number is not None else {}
        sha = self.hub.hash(repo, number or 0)
        return self.answer({"id": repo, "sha": sha, "siblings": [{"rfilename": name} for name in files]})

    def tree(self, body, repo, revision):
        files = self.hub.commits[repo][self.hub.revision(repo, revision)]
        return self.answer(
            [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
        )

    def file(self, body, repo, revision, name):
        files = self.hub.commits[repo][self.hub.revision(repo, revision)]
        if name not in files:
            return self.missing("EntryNotFound")
        data = files[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X_Repo_Commit": revision}
        if self.command == "HEAD":
            return self.answer(data, **headers)
        self.hub.downloads.append(name)
        if self.hub.cut:
            self.close_connection = True
            return self.answer(data[: len(data) // 2], Content_Length=len(data), **headers)
        return self.answer(data, **headers)


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES = {
    "POST /api/repos/create": _Handler.create,
    "POST /api/validate-yaml": _Handler.check_card,
    rf"POST /api/models/{_REPO}/preupload/(?P<revision>.+)": _Handler.preupload,
    rf"POST /{_REPO}\.git/info/lfs/objects/batch": _Handler.batch,
    r"PUT /objects/(?P<oid>\w+)": _Handler.put,
    rf"POST /api/models/{_REPO}/commit/(?P<revision>.+)": _Handler.commit,
    rf"GET /api/models/{_REPO}": _Handler.info,
    rf"GET /api/models/{_REPO}/revision/(?P<revision>.+)": _Handler.info,
    rf"GET /api/models/{_REPO}/tree/(?P<revision>[^/]+)": _Handler.tree,
    rf"(?:GET|HEAD) /{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)": _Handler.file,
}
