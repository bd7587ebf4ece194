#!/usr/bin/env python3
"""What the trending-hashtags job must print, computed without Wiesel.

    oracle_trending.py [--repeat N] FILE               prints the expected lines
    job | oracle_trending.py [--repeat N] --compare FILE    exit 1 and the first difference, if there is one

A line is an entry of a window's top ten, sorted by window end, then rank (from 1):

    window_start_ms window_end_ms rank count tag

Rules:
  - A hashtag is `#` and the longest run of ASCII letters, digits and `_` after it; an empty run is none.
    Case is kept; each occurrence counts; `##x` is the hashtag `x`.
  - Windows are [k * 10 s, (k + 1) * 10 s) of event time. A window without hashtags prints nothing.
  - The top ten go by count, descending, then by the bytes of the tag, ascending.
  - Replay: pass k (from 0) reads the file with every event time moved on by k * SPAN, where
    SPAN = ((newest - oldest) // 10_000 + 1) * 10_000: the file's span, rounded up to the next whole window
    that is longer. For examples/data/posts.jsonl it is 600_000 ms.
"""

import argparse
import collections
import json
import re
import sys

WINDOW_MS = 10_000
TOP = 10
HASHTAG = re.compile(r"#([A-Za-z0-9_]+)")


def expected(path, repeat):
    posts = []
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            post = json.loads(line)
            posts.append((post["at"], HASHTAG.findall(post["text"])))
    times = [at for at, _ in posts]
    span = ((max(times) - min(times)) // WINDOW_MS + 1) * WINDOW_MS if times else 0
    windows = collections.defaultdict(collections.Counter)
    for k in range(repeat):
        for at, tags in posts:
            if tags:
                windows[(at + k * span) // WINDOW_MS].update(tags)
    for window, counts in sorted(windows.items()):
        best = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encode()))[:TOP]
        for rank, (tag, count) in enumerate(best, 1):
            yield f"{window * WINDOW_MS} {(window + 1) * WINDOW_MS} {rank} {count} {tag}"


def main():
    parser = argparse.ArgumentParser(description="the expected output of trending_hashtags")
    parser.add_argument("file")
    parser.add_argument("--repeat", type=int, default=1, help="passes over the file")
    parser.add_argument("--compare", action="store_true", help="compare with standard input")
    arguments = parser.parse_args()
    lines = expected(arguments.file, arguments.repeat)
    if not arguments.compare:
        sys.stdout.writelines(line + "\n" for line in lines)
        return 0
    want = list(lines)
    got = sys.stdin.read().split("\n")
    if got and not got[-1]:
        got.pop()
    for number, (a, b) in enumerate(zip(want, got), 1):
        if a != b:
            print(f"line {number}: expected `{a}`, got `{b}`", file=sys.stderr)
            return 1
    if len(want) != len(got):
        print(f"expected {len(want)} lines, got {len(got)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
