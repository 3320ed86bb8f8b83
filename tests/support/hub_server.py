"""A stand-in for the Hub on 127.0.0.1: the bits of its HTTP API that huggingface_hub uses to read a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """Files by commit, what branches and tags stand for, and what the server does wrong."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    large: set[str] = field(default_factory=set)
    """Names served as large files: listed with SHA-256 and reached by a redirect."""
    gated: bool = False
    private: bool = False
    tampered: dict[str, bytes] = field(default_factory=dict)
    """Names served with other bytes than listed."""
    fail_status: int | None = None


@dataclass
class Hub:
    endpoint: str
    repos: dict[str, Repo]
    requests: list[str] = field(default_factory=list)


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    server: ThreadingHTTPServer

    def log_message(self, *_arguments: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        owner_name = "/".join(parts[2:4] if is_api else parts[1:3] if parts[0] == "cdn" else parts[:2])
        repo = self.hub.repos.get(owner_name)
        if repo is None or repo.private:
            return self._fail(401, "RepoNotFound", "Repository not found")
        if repo.gated:
            return self._fail(403, "GatedRepo", "Access to this model is restricted")
        if repo.fail_status is not None:
            return self._fail(repo.fail_status, "", "broken")
        if is_api:
            return self._info(repo, "/".join(parts[5:]) or "main")
        if parts[0] == "cdn":
            return self._send(200, repo.commits[parts[3]]["/".join(parts[4:])], {})
        return self._resolve(repo, owner_name, parts[3], "/".join(parts[4:]))

    def _info(self, repo: Repo, revision: str) -> None:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self._fail(404, "RevisionNotFound", "Invalid rev id")
        siblings = []
        for name, data in repo.commits[commit].items():
            item: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_blob_id(data)}
            if name in repo.large:
                item["lfs"] = {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 130,
                }
            siblings.append(item)
        body = {"_id": "1", "id": "x/y", "sha": commit, "siblings": siblings, "tags": [], "private": False}
        return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo: Repo, owner_name: str, revision: str, name: str) -> None:
        commit = repo.refs.get(revision, revision)
        data = repo.commits.get(commit, {}).get(name)
        if data is None:
            return self._fail(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_blob_id(data)}"'}
        if name in repo.large:
            headers |= {
                "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Linked-Size": str(len(data)),
                # Another host name, as on the Hub: the client follows redirects within a host by itself.
                "Location": f"http://localhost:{self.server.server_port}/cdn/{owner_name}/{commit}/{name}",
            }
            return self._send(302, b"", headers)
        return self._send(200, repo.tampered.get(name, data), headers)

    def _fail(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(repos: dict[str, Repo]) -> Iterator[Hub]:
    """Serve `repos` on a free port of 127.0.0.1 until the block is left."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}", repos)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
