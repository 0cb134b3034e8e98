"""A loopback Xet store: what ``hf_xet`` sends large files to and fetches them from.

It lies under a path of the loopback Hub's server, so that the Hub's faults and its list of requests
are the store's too. A client cuts files into chunks and sends those in xorbs; a shard says which
chunks make each file. Nothing is believed: a file must come out of its chunks with the SHA-256 that
the shard and the Hub's commit name.

Routes and formats are those of the Xet protocol specification in the Hub's documentation (pages
api, auth, xorb, shard, download-protocol); how a xorb is granted, sent and committed is from
xet-core's note on upload grants (2026-10-06). Hashes of chunks and xorbs (BLAKE3) are not checked.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

ROOT = "/xet/"  # where the store is on the Hub's server
SECRET = "SecretOfTheStore"  # in its tokens, and in the query of its signed addresses
FOOTER = b"XETBLOB"  # what the part of a xorb after its chunks begins with
END = b"\xff" * 32  # instead of a hash: the end of a section of a shard
VERIFIED, WITH_SHA = 1 << 31, 1 << 30  # flags of a file in a shard
SIGNED = ("granted/", "xorb/")  # what needs no token
Answer = tuple[int, bytes, dict[str, str]]


class Refused(Exception):
    """A request that the store answers with a status other than success: (status, reason)."""


@dataclass(frozen=True)
class Xorb:
    """What was sent, the offset of each chunk in it and of the end, and the chunks' contents."""

    data: bytes
    offsets: list[int]
    chunks: list[bytes]


@dataclass(frozen=True)
class Term:
    """A part of a file: the chunks from ``start`` to before ``end`` of a xorb."""

    xorb: str
    start: int
    end: int
    length: int  # bytes of content


class XetStore:
    """The xorbs by hash, the parts of each file by its Xet hash, and that by its SHA-256."""

    def __init__(self, hub: str) -> None:
        self.url = hub + ROOT.rstrip("/")
        self.xorbs: dict[str, Xorb] = {}
        self.files: dict[str, list[Term]] = {}
        self.hashes: dict[str, str] = {}
        self._granted: list[tuple[str, int]] = []  # the hash and length that each grant is for
        self._uploaded: dict[int, bytes] = {}  # by grant, until it is committed

    def token(self, scope: str) -> str:
        """What must be sent to the store's API, "read" or "write"."""
        return f"xet_{scope}_{SECRET}"

    def access(self, scope: str) -> tuple[dict[str, Any], dict[str, str]]:
        """What the Hub says about the store to who may use it: as JSON, and as headers."""
        token, expiry = self.token(scope), 9_999_999_999
        named = {"Cas-Url": self.url, "Access-Token": token, "Token-Expiration": str(expiry)}
        values = {"casUrl": self.url, "accessToken": token, "exp": expiry}
        return values, {f"X-Xet-{name}": value for name, value in named.items()}

    def content(self, sha256: str) -> bytes | None:
        """A file put together from its chunks."""
        if sha256 not in self.hashes:
            return None
        return b"".join(map(self._part, self.files[self.hashes[sha256]]))

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What is answered to a request: status, body, headers."""
        try:
            path, _, query = path.removeprefix(ROOT).partition("?")
            self._admit(method, path, query, headers.get("Authorization"))
            return self._answer((method, *path.split("/")), headers, body)
        except Refused as refused:
            status, reason = refused.args
        except (ValueError, IndexError, KeyError, struct.error) as error:
            status, reason = 400, repr(error)
        return _json(status, {"error": reason})

    def _admit(self, method: str, path: str, query: str, said: str | None) -> None:
        """Refuse whoever has not the right token, or sends one where none is asked for."""
        if path.startswith(SIGNED):
            if said or query != f"signature={SECRET}":
                raise Refused(403, "a signed address needs its signature and nothing else")
            return
        write, read = (f"Bearer {self.token(scope)}" for scope in ("write", "read"))
        if said not in (write, read):
            raise Refused(401, "no token of this store")
        if method != "GET" and said != write:
            raise Refused(403, "a token for reading alone")

    def _signed(self, path: str) -> str:
        return f"{self.url}/{path}?signature={SECRET}"

    def _answer(self, request: tuple[str, ...], headers: Mapping[str, str], body: bytes) -> Answer:
        match request:
            case ("POST", "v1", "xorb-grants", "default", name):
                return self._grant(name, json.loads(body)["length"])
            case ("PUT", "granted", number):
                _demand(len(body) == self._granted[int(number)][1], "not of the granted length")
                self._uploaded[int(number)] = body
                return 200, b"", {}
            case ("POST", "v1", "xorb-commits", "default", name, "grant", number):
                _demand(self._granted[int(number)][0] == name, "granted for another xorb")
                self.xorbs[name] = xorb(self._uploaded.pop(int(number)))
                return _json(200, {"was_inserted": True})
            case ("POST", "v1", "xorbs", "default", name):
                self.xorbs[name] = xorb(body)
                return _json(200, {"was_inserted": True})
            case ("POST", "v2", "shards"):
                self._register(body)
                return _json(200, {"type": "result"})
            case ("GET", "v2", "reconstructions", name):
                return self._reconstruct(name, headers["Range"])
            case ("GET", "xorb", name):
                return self._bytes(self.xorbs[name].data, headers["Range"])
        raise Refused(404, "no such thing")  # and no chunk that others have sent is told

    def _grant(self, name: str, length: int) -> Answer:
        """Leave to send a xorb, or word that it is there."""
        if name in self.xorbs:
            return _json(200, {"was_inserted": False})
        number = len(self._granted)
        self._granted.append((name, length))
        grant = {"id": str(number), "method": "PUT", "url": self._signed(f"granted/{number}")}
        return _json(201, {**grant, "headers": {}})

    def _register(self, body: bytes) -> None:
        """Note the files of a shard, once all of them are what they are said to be."""
        files = list(shard(body))
        for name, sha256, terms in files:
            parts = [self._part(term) for term in terms]
            lengths = [term.length for term in terms]
            _demand([len(part) for part in parts] == lengths, f"{name}: other lengths")
            found = hashlib.sha256(b"".join(parts)).hexdigest()
            _demand(found == sha256, f"{name} has the SHA-256 {found}, not {sha256}")
        for name, sha256, terms in files:
            self.files[name], self.hashes[sha256] = terms, name

    def _part(self, term: Term) -> bytes:
        return b"".join(self.xorbs[term.xorb].chunks[term.start : term.end])

    def _reconstruct(self, name: str, wanted: str) -> Answer:
        """Where the parts of a file are, each in one range of a xorb."""
        if name not in self.files:
            raise Refused(404, "no such file")
        terms = self.files[name]
        size = sum(term.length for term in terms)
        _demand(wanted == f"bytes=0-{size - 1}", "only whole files are told")
        told, xorbs = [], {term.xorb: [] for term in terms}
        for term in terms:
            chunks, offsets = {"start": term.start, "end": term.end}, self.xorbs[term.xorb].offsets
            where = {"start": offsets[term.start], "end": offsets[term.end] - 1}
            told.append({"hash": term.xorb, "unpacked_length": term.length, "range": chunks})
            ranges = [{"chunks": chunks, "bytes": where}]
            xorbs[term.xorb].append({"url": self._signed(f"xorb/{term.xorb}"), "ranges": ranges})
        return _json(200, {"offset_into_first_range": 0, "terms": told, "xorbs": xorbs})

    def _bytes(self, data: bytes, wanted: str) -> Answer:
        """A range of a xorb, of which the last byte is named."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        _demand(found is not None, f"cannot send the range {wanted}")
        begin, last = int(found[1]), int(found[2])
        where = {"Content-Range": f"bytes {begin}-{last}/{len(data)}"}
        return 206, data[begin : last + 1], where


def _json(status: int, value: Any) -> Answer:
    return status, json.dumps(value).encode() + b"\n", {"Content-Type": "application/json"}


def _demand(true: bool, otherwise: str) -> None:
    if not true:
        raise Refused(400, otherwise)


# --------------------------------------------------------------------------- formats


def shard(data: bytes) -> Iterator[tuple[str, str, list[Term]]]:
    """The files of a shard as it is uploaded: Xet hash, SHA-256, parts."""
    at = 48
    _demand(struct.unpack_from("<Q", data, 32) == (2,), "not a shard of version 2")
    while data[at : at + 32] != END:
        name, flags, count = struct.unpack_from("<32sII", data, at)
        _demand(flags & VERIFIED and flags & WITH_SHA, "a file without verification or SHA-256")
        terms = []
        for entry in range(at + 48, at + 48 * (1 + count), 48):
            where, _, length, start, end = struct.unpack_from("<32s4I", data, entry)
            terms.append(Term(_hex(where), start, end, length))
        at += 48 * (1 + 2 * count)  # a line of verification for each part
        yield _hex(name), _hex(data[at : at + 32]), terms
        at += 48


def _hex(value: bytes) -> str:
    """A hash as it is written: four 64-bit numbers, the low byte first in the data."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))


def xorb(data: bytes) -> Xorb:
    """Take a xorb apart."""
    at, offsets, chunks = 0, [0], []
    while at < len(data) and not data.startswith(FOOTER, at):
        packed, whole = (int.from_bytes(data[at + i : at + i + 3], "little") for i in (1, 5))
        version, scheme, at = data[at], data[at + 4], at + 8
        chunk = (bytes, lz4, lambda frame: ungrouped(lz4(frame)))[scheme](data[at : at + packed])
        _demand(version == 0 and len(chunk) == whole, f"chunk {len(chunks)} is damaged")
        chunks.append(chunk)
        at += packed
        offsets.append(at)
    return Xorb(data, offsets, chunks)


def ungrouped(grouped: bytes) -> bytes:
    """The bytes in order, of which every fourth stood together."""
    data, at = bytearray(len(grouped)), 0
    for first in range(4):
        size = len(data[first::4])
        data[first::4] = grouped[at : at + size]
        at += size
    return bytes(data)


def lz4(frame: bytes) -> bytes:
    """The content of a frame of LZ4, by its published frame and block formats."""
    magic, flags = struct.unpack_from("<IB", frame)
    _demand(magic == 0x184D2204, "not a frame of LZ4")
    at, out = 7 + 8 * bool(flags & 8) + 4 * bool(flags & 1), bytearray()
    while size := int.from_bytes(frame[at : at + 4], "little"):
        block = frame[at + 4 : at + 4 + (size & 0x7FFFFFFF)]
        at += 4 + len(block) + 4 * bool(flags & 16)
        if size >> 31:
            out += block
        else:
            _unpack(block, out)
    return bytes(out)


def _unpack(block: bytes, out: bytearray) -> None:
    """Add the content of a block: literal bytes, then some that were there before, in turn."""
    values = iter(block)

    def length(nibble: int) -> int:
        total, more = nibble, 255 if nibble == 15 else 0
        while more == 255:
            more = next(values)
            total += more
        return total

    for token in values:
        out += bytes(islice(values, length(token >> 4)))
        low = next(values, None)
        if low is None:  # the last literals have nothing after them
            return
        start = len(out) - (low + 256 * next(values))
        for i in range(length(token & 15) + 4):
            out.append(out[start + i])
