#!/usr/bin/env python3
"""Verifies an exported audit against its heads, as docs/audit-format.md describes it. Nothing but the standard library.

    verify.py FILE HEADS [FIRST [LAST]]

HEADS is a folder with a file for each head. FIRST and LAST are numbers of heads; all of them by default. Ends with 0
where the audit is as it was sealed, with 1 at the first finding, which it prints, and with 2 where it cannot read.
"""

import datetime
import hashlib
import os
import re
import sys

OP = re.compile(rb"[0-9a-f-]{36}")
ENTRY = re.compile(
    rb"([0-9a-f-]{36}) ([0-9a-f]{64})( late)?(?: expired=(0|[1-9][0-9]*))?(?: restored=([0-9a-f-]{1,36}))?"
)
HEAD = [
    re.compile(pattern)
    for pattern in (
        rb"azure-backup-scim audit head 1",
        rb"tenant ([a-z0-9-]{1,36})",
        rb"number (0|[1-9][0-9]*)",
        rb"day ([0-9]{4}-[0-9]{2}-[0-9]{2})",
        rb"previous ([0-9a-f]{64})",
        rb"sealed ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z)",
        rb"through ([0-9a-f-]{1,36})",
        rb"records (0|[1-9][0-9]*)",
    )
]
RECORDS_MAX = 5000
NUMBER_MAX = 2**64 - 1


class Found(Exception):
    """The first finding."""


class Entry:
    __slots__ = ("op", "hash", "expired", "restored")

    def __init__(self, op, digest, expired, restored):
        self.op = op
        self.hash = digest
        self.expired = expired
        self.restored = restored


class Head:
    def __init__(self, text):
        lines = text.split(b"\n")
        if len(lines) < 9 or lines[-1] != b"":
            raise ValueError("lines")
        matches = [pattern.fullmatch(line) for pattern, line in zip(HEAD, lines)]
        if not all(matches):
            raise ValueError("heading")
        self.tenant = matches[1][1]
        self.number = int(matches[2][1])
        self.day = matches[3][1].decode()
        datetime.date.fromisoformat(self.day)
        datetime.datetime.strptime(matches[5][1][:19].decode(), "%Y-%m-%dT%H:%M:%S")
        self.previous = matches[4][1].decode()
        self.hash = hashlib.sha256(text).hexdigest()
        count = int(matches[7][1])
        listed = lines[8:-1]
        if count != len(listed) or count > RECORDS_MAX:
            raise ValueError("records")
        self.entries = []
        for line in listed:
            match = ENTRY.fullmatch(line)
            if not match:
                raise ValueError("record")
            expired = None if match[4] is None else int(match[4])
            if expired is not None and expired > NUMBER_MAX:
                raise ValueError("expired")
            self.entries.append(Entry(match[1], match[2].decode(), expired, match[5]))


class Heads:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = sorted(int(name) for name in os.listdir(folder) if re.fullmatch("[0-9]{10}", name))

    def read(self, number):
        try:
            with open(os.path.join(self.folder, f"{number:010}"), "rb") as file:
                return Head(file.read())
        except FileNotFoundError:
            raise Found(f"missing head {number}") from None
        except ValueError:
            raise Found(f"malformed head {number}") from None


class Chain:
    """The heads from `first` to `last`: checked, and what they say of deleted and lost records."""

    def __init__(self, heads, first, last):
        self.heads, self.first, self.last = heads, first, last
        self.expired = -1
        self.restores = []
        before = None
        for number in range(first, last + 1):
            head = heads.read(number)
            if head.number != number:
                raise Found(f"malformed head {number}")
            if number == 0 and head.previous != "0" * 64:
                raise Found("changed head 0")
            if before is not None and head.previous != before.hash:
                raise Found(f"changed head {number if self.next_differs(head) else number - 1}")
            if before is not None and (head.tenant != before.tenant or head.day < before.day):
                raise Found(f"malformed head {number}")
            self.declare(head)
            before = head
        self.declare_what_follows(before)

    def declare(self, head):
        for entry in head.entries:
            if entry.expired is not None and entry.expired < head.number:
                self.expired = max(self.expired, entry.expired)
            if entry.restored is not None:
                self.restores.append((head.number, entry.restored, entry.op))

    def declare_what_follows(self, before):
        while True:
            try:
                head = self.heads.read(before.number + 1)
            except Found:
                return
            if head.number != before.number + 1 or head.previous != before.hash:
                return
            if head.tenant != before.tenant or head.day < before.day:
                return
            self.declare(head)
            before = head

    def next_differs(self, head):
        if head.number == self.last:
            return False
        try:
            return self.heads.read(head.number + 1).previous != head.hash
        except Found:
            return False

    def is_gone(self, head, entry):
        """Whether the record was deleted because of its age, or lost in a restore."""
        lost = any(head.number < at and since <= entry.op < op for at, since, op in self.restores)
        return head.number <= self.expired or lost

    def expected(self, start=None):
        """The head and the entry of each record, from the start or from behind a place."""
        at, index = start or (self.first, 0)
        for number in range(at, self.last + 1):
            head = self.heads.read(number)
            for position in range(index, len(head.entries)):
                yield (number, position + 1), head, head.entries[position]
            index = 0


def read_lines(file):
    """Each line with its number, its op where it has one, and its hash."""
    number = 0
    for line in file:
        number += 1
        line = line[:-1] if line.endswith(b"\n") else line
        begins = line.startswith(b'{"op":"') and line[43:44] == b'"' and OP.fullmatch(line[7:43])
        yield number, line[7:43] if begins else None, hashlib.sha256(line).hexdigest()


def about(kind, head, entry, line):
    return Found(f"{kind} record {entry.op.decode()} head {head.number} day {head.day} line {line}")


def verify(chain, lines):
    verified = gone = number = 0
    expected = chain.expected()
    place, head, entry = next(expected, (None, None, None))
    for number, op, digest in lines:
        if entry is not None and digest != entry.hash and op != entry.op:
            named = named_later(chain, place, op)
            while named is not None and entry.op != op:
                if not chain.is_gone(head, entry):
                    if named.hash != digest:
                        raise about("changed", head, entry, number)
                    moved = any(later == entry.op for _, later, _ in lines)
                    raise about("reordered" if moved else "missing", head, entry, number)
                gone += 1
                place, head, entry = next(expected)
        if entry is not None and digest == entry.hash:
            verified += 1
            place, head, entry = next(expected, (None, None, None))
            continue
        if entry is not None and op == entry.op:
            raise about("changed", head, entry, number)
        raise unexpected(chain, head, entry, (number, op, digest), lines)
    while entry is not None:
        if not chain.is_gone(head, entry):
            raise about("missing", head, entry, number + 1)
        gone += 1
        place, head, entry = next(expected, (None, None, None))
    return verified, gone


def named_later(chain, place, op):
    """The record with that op, if it is expected later."""
    if op is None:
        return None
    return next((entry for _, _, entry in chain.expected(place) if entry.op == op), None)


def unexpected(chain, head, entry, line, lines):
    """The finding about a line whose record is not expected any more."""
    number, op, digest = line
    if op is not None:
        for _, earlier, listed in chain.expected():
            if listed.op == op and listed.hash == digest:
                return about("reordered", earlier, listed, number)
    following = next(lines, None)
    if entry is None or (following is not None and following[2] == entry.hash):
        return Found(f"added record {'-' if op is None else op.decode()} line {number}")
    return about("changed", head, entry, number)


def main(arguments):
    if len(arguments) not in (2, 3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        heads = Heads(arguments[1])
        if not heads.numbers:
            print(f"{arguments[1]} has no heads", file=sys.stderr)
            return 2
        first = int(arguments[2]) if len(arguments) > 2 else heads.numbers[0]
        last = int(arguments[3]) if len(arguments) > 3 else heads.numbers[-1]
        chain = Chain(heads, first, last)
        with open(arguments[0], "rb") as file:
            verified, gone = verify(chain, read_lines(file))
    except Found as found:
        print(found)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"verified {verified} records, heads {first} to {last}; {gone} deleted or lost")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
