#!/usr/bin/env python3
"""Tests scripts/import-circles.py: planted circles are found, and what looks like one is not."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).parent / "import-circles.py"


def run(files):
    """The exit status and the output for a folder with these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, PROGRAM, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def crate(**files):
    """A package of which these are the files below `src`; `__` stands for `/`."""
    named = {f"room/src/{name.replace('__', '/')}.rs": text for name, text in files.items()}
    return {"room/Cargo.toml": "[package]\nname = 'room'\n", **named}


class Circles(unittest.TestCase):
    def found(self, files, *expected):
        status, output = run(files)
        self.assertEqual(status, 1, output)
        for text in expected:
            self.assertIn(text, output)

    def clean(self, files):
        status, output = run(files)
        self.assertEqual(status, 0, output)

    def test_two_files_that_use_each_other(self):
        self.found(
            crate(lib="mod a;\nmod b;", a="use crate::b::B;\npub struct A(B);", b="pub struct B;\nimpl B { fn a(_: crate::a::A) {} }"),
            "2 files",
            "room/src/a.rs:1 -> room/src/b.rs (crate::b::B)",
            "room/src/b.rs:2 -> room/src/a.rs (crate::a::A)",
        )

    def test_a_way_round_through_three(self):
        files = crate(
            lib="mod a;\nmod b;\nmod c;",
            a="use super::b;\nfn x() { b::x(); }",
            b="use super::{c as other};\npub fn x() { other::x(); }",
            c="pub fn x() {}\nfn y() { super::a::y::<u8>(); }",
        )
        self.found(files, "3 files")

    def test_a_parent_and_its_child(self):
        files = crate(lib="mod parent;", parent="mod child;\nuse child::C;\npub struct P(C);", parent__child="use super::P;\npub struct C;")
        self.found(files, "room/src/parent.rs:2 -> room/src/parent/child.rs")

    def test_a_declaration_and_a_re_export_are_no_use(self):
        files = crate(lib="mod parent;", parent="mod child;\npub use child::C;\npub struct P;", parent__child="use super::P;\npub struct C(P);")
        self.clean(files)

    def test_a_re_export_is_looked_through(self):
        files = crate(
            lib="mod a;\nmod b;",
            a="mod inner;\npub use inner::*;\npub use inner::I as J;",
            a__inner="use crate::b::B;\npub struct I(B);",
            b="use crate::a::J;\npub struct B(J);",
        )
        self.found(files, "room/src/b.rs:1 -> room/src/a/inner.rs (crate::a::J)")

    def test_tests_comments_and_strings_do_not_count(self):
        files = crate(
            lib="mod a;\nmod b;",
            a="use crate::b::B;\npub struct A(B);",
            b='//! Of `crate::a::A`.\npub struct B;\nconst C: &str = "crate::a::A";\n/* crate::a::A */\n'
            "#[cfg(test)]\nmod tests {\n use crate::a::A;\n fn t<'a>(_: A) -> char { '\"' }\n}",
        )
        self.clean(files)

    def test_another_crate_of_a_modules_name(self):
        self.clean(crate(lib="mod a;\nmod b;", a="use crate::b::B;\npub struct A(B);", b="use other::a;\npub struct B;\nfn x() { a::y(); }"))

    def test_programs_are_crates_of_their_own(self):
        files = crate(lib="pub mod a;", a="pub struct A;", bin__tool__main="mod a;\nfn main() { a::x(); }\npub struct M;", bin__tool__a="use crate::M;\npub fn x() {}")
        self.found(files, "room/src/bin/tool/main.rs:2 -> room/src/bin/tool/a.rs (a::x)")

    def test_the_page(self):
        page = {"page/tsconfig.json": "{}", "page/src/a.ts": "import { b } from './b';\nexport const a = b;"}
        self.clean({**page, "page/src/b.tsx": "import type {\n  C,\n} from 'preact';\nexport const b = 1;"})
        self.found({**page, "page/src/b.tsx": "import type {\n  A,\n} from './a';\nexport const b = 1;"}, "page/src/b.tsx:1 -> page/src/a.ts (./a)")


if __name__ == "__main__":
    unittest.main()
