#!/usr/bin/env python3
"""Finds files that import each other in a circle, in every Rust crate and in the dashboard's page. Ends with 1 when there is one.

    scripts/import-circles.py [FOLDER]

An edge goes from a file to each file that defines what it names: by `use`, and by paths such as `crate::a::b`, `super::b` or `child::b`.
A `mod` declaration is no edge, nor is a `pub use`, which is looked through to what it names. Code under `#[cfg(test)]` is left out: a test may
well use what its parent uses. Calls of methods are not seen, so a type's `impl` may be spread over files below the one that has the type.
"""

import re
import sys
from pathlib import Path

TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
  | (?P<str>(?:b|c)?"(?:\\(?:.|\n)|[^"\\])*")
  | (?P<char>b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])')
  | (?P<life>'\w+)
  | (?P<ident>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>\d\w*)
  | (?P<sep>::)
  | (?P<punct>.)
    """,
    re.VERBOSE,
)
DEFINES = {"fn", "struct", "enum", "trait", "type", "const", "static", "union"}
OPENS, CLOSES = "([{", ")]}"


class Token:
    __slots__ = ("kind", "text", "line")

    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line


def tokens_of(source):
    """The tokens of a Rust file, without comments."""
    found, at, line = [], 0, 1
    while at < len(source):
        match = TOKEN.match(source, at)
        text, kind = match.group(), match.lastgroup
        if match.group("block"):
            depth, end = 1, at + 2
            while depth and end < len(source):
                step = source[end : end + 2]
                depth += {"/*": 1, "*/": -1}.get(step, 0)
                end += 2 if step in ("/*", "*/") else 1
            text = source[at:end]
        elif match.group("raw"):
            kind = "str"
            found.append(Token(kind, text, line))
        elif not match.group("skip"):
            found.append(Token(kind, text.removeprefix("r#") if kind == "ident" else text, line))
        line += text.count("\n")
        at += len(text)
    return found


class Module:
    def __init__(self, file):
        self.file = file
        self.items = set()  # what is defined here
        self.names = {}  # what is imported here: name -> path
        self.globs = []  # paths of which everything is imported
        self.words = set()  # what its code mentions, imports aside
        self.uses = []  # (path, line): what makes an edge


class Crate:
    """The modules of one crate by their path, a tuple of names."""

    def __init__(self, root):
        self.modules = {}
        self.waiting = [((), root, root.parent)]
        while self.waiting:
            path, file, folder = self.waiting.pop()
            self.modules[path] = Module(file)
            Reader(self, tokens_of(file.read_text(encoding="utf-8")), file, folder).read(path, False)

    def edges(self):
        """(file, other file, line, name) of every use of one file by another."""
        for path, module in self.modules.items():
            for used, line in module.uses:
                for target in self.targets(path, used):
                    if target != module.file:
                        yield module.file, target, line, "::".join(used)

    def targets(self, path, used, seen=frozenset()):
        """The files that define what `used` names, seen from the module `path`; none for other crates and for a bare module."""
        rest = list(used)
        here = path
        if rest[0] == "crate":
            here, rest = (), rest[1:]
        else:
            while rest and rest[0] in ("self", "super"):
                if rest[0] == "super":
                    here = here[:-1]
                rest = rest[1:]
        is_relative = len(rest) == len(used)
        while rest and here + (rest[0],) in self.modules:
            here, rest, is_relative = here + (rest[0],), rest[1:], False
        if not rest:
            return set()
        module = self.modules.get(here)
        if module is None:
            return set()
        name = rest[0]
        if name == "*":
            return {module.file}
        if is_relative and (name not in module.names or (here, name) in seen):
            return set()
        if name in module.items:
            return {module.file}
        if name in module.names and (here, name) not in seen:
            seen = seen | {(here, name)}
            through = self.targets(here, module.names[name] + tuple(rest[1:]), seen)
            return through or (set() if is_relative else self.of_bare(here, module, name))
        for glob in module.globs:
            through = self.targets(here, glob + tuple(rest), seen)
            if through:
                return through
        return {module.file}

    def of_bare(self, here, module, name):
        """Something of another crate that is imported through this module makes an edge; a module of this crate does not."""
        full = module.names[name]
        internal = full[0] in ("crate", "self", "super") or here + (full[0],) in self.modules
        return set() if internal else {module.file}


class Reader:
    """Reads one file into the modules of its crate."""

    def __init__(self, crate, tokens, file, folder):
        self.crate, self.tokens, self.file, self.folder, self.at = crate, tokens, file, folder, 0

    def text(self, ahead=0):
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    def kind(self, ahead=0):
        return self.tokens[self.at + ahead].kind if self.at + ahead < len(self.tokens) else ""

    def read(self, path, is_inline):
        """Reads to the end of the file or of the inline module."""
        module = self.crate.modules[path]
        depth, is_public, file_of_next = 0, False, None
        while self.at < len(self.tokens):
            text = self.text()
            if text == "#" and (self.text(1) == "[" or (self.text(1) == "!" and self.text(2) == "[")):
                attribute = self.attribute(module)
                if attribute == "[cfg(test)]":
                    self.skip_item()
                elif attribute.startswith("[path="):
                    file_of_next = attribute.split('"')[1]
                continue
            if text == "use" and self.text(1) != "<":
                self.use(module, is_public)
                is_public = False
            elif text == "mod" and self.kind(1) == "ident" and self.text(2) in (";", "{"):
                self.module(path, self.text(1), file_of_next)
                file_of_next = None
            elif depth == 0 and text == "macro_rules" and self.text(1) == "!":
                module.items.add(self.text(2))
                self.at += 3
            elif depth == 0 and text in DEFINES and self.kind(1) == "ident":
                module.items.add(self.text(1))
                self.at += 1
            elif self.kind() == "ident" and text == "pub":
                is_public = True
                self.at += 1
                if self.text() == "(" and self.text(1) in ("crate", "super", "self", "in"):
                    self.skip_group()
            elif self.kind() == "ident":
                self.path(module)
                is_public = False
            else:
                depth += (text in OPENS) - (text in CLOSES)
                self.at += 1
                if depth < 0 and is_inline:
                    return
                is_public = False

    def attribute(self, module):
        self.at += 1
        if self.text() == "!":
            self.at += 1
        begin = self.at
        self.skip_group()
        inside = self.tokens[begin : self.at]
        module.words.update(token.text for token in inside if token.kind == "ident")
        return "".join(token.text for token in inside)

    def skip_group(self):
        depth = 0
        while self.at < len(self.tokens):
            depth += (self.text() in OPENS) - (self.text() in CLOSES)
            self.at += 1
            if depth == 0:
                return

    def skip_item(self):
        """Skips what an attribute belongs to, with its further attributes."""
        while self.text() == "#":
            self.at += 1
            self.skip_group()
        ends_with_semicolon = False
        while self.at < len(self.tokens):
            text = self.text()
            if text in ("use", "let", "const", "static", "type"):
                ends_with_semicolon = True
            if text in OPENS:
                self.skip_group()
                if text == "{" and not ends_with_semicolon:
                    return
                continue
            if text in CLOSES:
                return
            self.at += 1
            if text in (";", ","):
                return

    def module(self, path, name, file_of_next):
        child = path + (name,)
        is_inline = self.text(2) == "{"
        self.at += 3
        if is_inline:
            self.crate.modules[child] = Module(self.file)
            self.read(child, True)
            return
        # Files of inline modules' children are not looked for: there are none.
        own = self.folder if self.file.name in ("mod.rs", "lib.rs", "main.rs") or path == () else self.file.with_suffix("")
        tries = [self.file.parent / file_of_next] if file_of_next else [own / f"{name}.rs", own / name / "mod.rs"]
        for file in tries:
            if file.is_file():
                self.crate.waiting.append((child, file, file.parent))
                return

    def use(self, module, is_public):
        line = self.tokens[self.at].line
        self.at += 1
        leaves = []
        self.use_tree((), leaves)
        for path, name in leaves:
            if path[0] == "":
                continue
            if name == "*":
                module.globs.append(path[:-1])
            elif name != "_":
                module.names[name] = path
            if not is_public:
                module.uses.append((path, line))
            elif name != "*":
                # A re-export is an edge only when this file uses the name itself: seen at the end.
                module.uses.append((("", name) + path, line))

    def use_tree(self, prefix, leaves):
        path = prefix
        if self.text() == "::":
            path = ("",)
            self.at += 1
        while self.at < len(self.tokens):
            text = self.text()
            if text == "{":
                self.at += 1
                while self.text() != "}":
                    self.use_tree(path, leaves)
                    if self.text() == ",":
                        self.at += 1
                self.at += 1
                return
            if text == "*":
                leaves.append((path + ("*",), "*"))
                self.at += 1
                return
            if self.kind() == "ident":
                if not (text == "self" and path):
                    path += (text,)
                self.at += 1
            if self.text() == "::":
                self.at += 1
                continue
            name = path[-1]
            if self.text() == "as":
                name = self.text(1)
                self.at += 2
            leaves.append((path, name))
            if self.text() == ";":
                self.at += 1
            return

    def path(self, module):
        line, before = self.tokens[self.at].line, self.tokens[self.at - 1].text if self.at else ""
        found = [self.text()]
        self.at += 1
        while self.text() == "::" and self.kind(1) == "ident":
            found.append(self.text(1))
            self.at += 2
        module.words.update(found)
        if len(found) > 1 and before not in ("::", "."):
            module.uses.append((tuple(found), line))


def settle_exports(crate):
    """Turns re-exports that their own file uses into edges, and drops the others."""
    for module in crate.modules.values():
        kept = []
        for path, line in module.uses:
            if path[0] != "":
                kept.append((path, line))
            elif path[1] in module.words:
                kept.append((path[2:], line))
        module.uses = kept


def circles(edges):
    """The strongly connected components of more than one file, after Tarjan, without recursion."""
    graph = {}
    for file, other, _, _ in edges:
        graph.setdefault(file, set()).add(other)
        graph.setdefault(other, set())
    number, low, stack, on_stack, found = {}, {}, [], set(), []
    for root in sorted(graph):
        if root in number:
            continue
        work = [(root, iter(sorted(graph[root])))]
        while work:
            node, others = work[-1]
            if node not in number:
                number[node] = low[node] = len(number)
                stack.append(node)
                on_stack.add(node)
            for other in others:
                if other not in number:
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], number[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = set()
                    while node not in component:
                        component.add(stack.pop())
                    on_stack -= component
                    if len(component) > 1:
                        found.append(sorted(component))
    return found


def crate_roots(package):
    """The roots of the crates of a package: library, programs, tests, benches and examples."""
    for pattern in ("src/lib.rs", "src/main.rs", "build.rs", "src/bin/*.rs", "src/bin/*/main.rs"):
        yield from sorted(package.glob(pattern))
    for folder in ("tests", "benches", "examples"):
        yield from sorted(package.glob(f"{folder}/*.rs"))
        yield from sorted(package.glob(f"{folder}/*/main.rs"))


def rust_edges(package):
    edges = set()
    for root in crate_roots(package):
        crate = Crate(root)
        settle_exports(crate)
        edges.update(crate.edges())
    return edges


IMPORT = re.compile(r"""^\s*(?:import|export)\b(?:[^'";]|\n)*?\bfrom\s*['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]""", re.MULTILINE)


def page_edges(folder):
    """Imports of one TypeScript file by another, types included."""
    edges = set()
    for file in sorted(list(folder.rglob("*.ts")) + list(folder.rglob("*.tsx"))):
        source = file.read_text(encoding="utf-8")
        for match in IMPORT.finditer(source):
            name = match.group(1) or match.group(2)
            to = (file.parent / name).resolve()
            tries = [to, *(to.parent / (to.name + end) for end in (".ts", ".tsx")), to / "index.ts", to / "index.tsx"]
            other = next((one for one in tries if one.is_file()), None)
            if other and other != file:
                edges.add((file, other, source.count("\n", 0, match.start()) + 1, name))
    return edges


def rooms(root):
    """(name, edges) of every package and every page below `root`."""
    skipped = {"target", "node_modules", ".git", ".tools"}
    for manifest in sorted(root.rglob("Cargo.toml")):
        if skipped.isdisjoint(manifest.relative_to(root).parts) and (manifest.parent / "src").is_dir():
            yield manifest.parent.relative_to(root).as_posix(), rust_edges(manifest.parent)
    for config in sorted(root.rglob("tsconfig.json")):
        if skipped.isdisjoint(config.relative_to(root).parts):
            yield config.parent.relative_to(root).as_posix(), page_edges(config.parent / "src")


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    failed, files = False, 0
    for name, edges in rooms(root):
        found = circles(edges)
        files += len({file for edge in edges for file in edge[:2]})
        for circle in found:
            failed = True
            print(f"{name}: {len(circle)} files import each other in a circle")
            for file, other, line, used in sorted(edges):
                if file in circle and other in circle:
                    print(f"  {file.relative_to(root)}:{line} -> {other.relative_to(root)} ({used})")
    if not failed:
        print(f"no import circles in {files} files")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
