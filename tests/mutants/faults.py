"""Mutants: the code of functions with one fault each, as mutmut makes them.

mutmut's own runner starts pytest for every mutant, and calls each function through a switch that looks into the
environment; here a mutant is one code object that takes the place of the right one in a process that is forked off.
"""

from __future__ import annotations

import ast
import importlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import indent
from types import CodeType, FunctionType
from typing import Any

from libcst import ClassDef, CSTNode, FunctionDef, Module
from mutmut.mutation.file_mutation import Mutation, create_mutations


@dataclass(frozen=True)
class Mutant:
    """One fault in one function."""

    module: str
    function: str
    line: int
    was: str
    now: str
    code: CodeType
    defaults: tuple[ast.expr, ...] | None
    """The defaults of its parameters, where the fault is in them."""

    @property
    def name(self) -> str:
        """What identifies it in a report."""
        return f"{self.module}:{self.line} {self.function}: {self.was!r} -> {self.now!r}"

    def put(self) -> None:
        """Puts the fault into this process."""
        function = functions(self.module)[self.function]
        function.__code__ = self.code
        if self.defaults is not None:
            values = [_value(default, function) for default in self.defaults]
            positional = len(function.__defaults__ or ())
            function.__defaults__ = tuple(values[:positional]) or None
            names = list(function.__kwdefaults__ or {})
            function.__kwdefaults__ = dict(zip(names, values[positional:], strict=True)) or None


def _value(expression: ast.expr, function: FunctionType) -> object:
    code = compile(ast.Expression(expression), "<default>", "eval")
    return eval(code, function.__globals__)  # noqa: S307  # the project's own source


def functions(module: str) -> dict[str, FunctionType]:
    """Every function and method that a module defines, by qualified name."""
    found: dict[str, FunctionType] = {}

    def look(members: dict[str, Any]) -> None:
        for member in list(members.values()):
            plain = member
            if isinstance(member, property):
                plain = member.fget
            elif isinstance(member, cached_property):
                plain = member.func
            plain = getattr(plain, "__func__", plain)
            plain = getattr(plain, "__wrapped__", plain)
            if isinstance(plain, FunctionType) and plain.__module__ == module:
                found[plain.__qualname__] = plain
            elif isinstance(member, type) and member.__module__ == module and member.__name__ not in seen:
                seen.add(member.__name__)
                look(dict(vars(member)))

    seen: set[str] = set()
    look(vars(importlib.import_module(module)))
    return found


def mutants_of(path: Path, most: int, seed: int) -> tuple[list[Mutant], int]:
    """The mutants of a file, at random `most` of them where there are more; and how many there are.

    Of some that come to the same code there is one.
    """
    module = ".".join(path.with_suffix("").parts)
    tree, mutations, _, _ = create_mutations(str(path), path.read_text())
    owners = _owners(tree)
    known = functions(module)
    mutations = [one for one in mutations if owners.get(one.contained_by_top_level_function) in known]
    found = []
    for number in sorted(random.Random(seed).sample(range(len(mutations)), min(most, len(mutations)))):
        mutant = _mutant(module, tree, mutations[number], owners, known)
        if mutant is not None:
            found.append(mutant)
    return list(dict.fromkeys(found)), len(mutations)


def _owners(tree: Module) -> dict[CSTNode | None, str]:
    """Functions of a module and methods of its classes, and their qualified names."""
    found: dict[CSTNode | None, str] = {}
    for node in tree.body:
        if isinstance(node, FunctionDef):
            found[node] = node.name.value
        elif isinstance(node, ClassDef):
            found.update({
                member: f"{node.name.value}.{member.name.value}"
                for member in node.body.body if isinstance(member, FunctionDef)
            })  # fmt: skip
    return found


def _mutant(
    module: str, tree: Module, mutation: Mutation, owners: dict[CSTNode | None, str], known: dict[str, FunctionType]
) -> Mutant | None:
    """None where the fault does not compile, or changes what the function takes from its surroundings."""
    node = mutation.contained_by_top_level_function
    name = owners[node]
    right, wrong = _texts(tree, node), _texts(tree, node.deep_replace(mutation.original_node, mutation.mutated_node))
    scope, _, _ = name.rpartition(".")
    text = f"class {scope}:\n{indent(wrong, '    ')}" if scope else wrong
    try:
        compiled = compile("from __future__ import annotations\n" + text, module, "exec", dont_inherit=True)
        arguments = [_arguments(one) for one in (right, wrong)]
    except SyntaxError:
        return None
    function = known[name]
    code = dict(_codes(compiled)).get(name)
    if code is None or code.co_freevars != function.__code__.co_freevars:
        return None
    defaults = None
    if ast.dump(arguments[0]) != ast.dump(arguments[1]):
        given = arguments[1]
        defaults = (*given.defaults, *(one for one in given.kw_defaults if one is not None))
    at, was, now = _difference(right, wrong)
    return Mutant(module, name, function.__code__.co_firstlineno + at, was, now, code, defaults)


def _texts(tree: Module, node: CSTNode) -> str:
    """A function without decorators and what stands before it."""
    return str(tree.code_for_node(node.with_changes(decorators=(), leading_lines=(), lines_after_decorators=())))


def _arguments(text: str) -> ast.arguments:
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition.args


def _difference(right: str, wrong: str) -> tuple[int, str, str]:
    """How many lines down the first difference is, and the lines there, before and after."""
    old, new = right.splitlines(), wrong.splitlines()
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    rest = len(new) - len(old)
    last = len(old)
    while last > first + 1 and last + rest > first + 1 and old[last - 1] == new[last + rest - 1]:
        last -= 1
    was = " ".join(line.strip() for line in old[first:last])
    return first, was, " ".join(line.strip() for line in new[first : last + rest])


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)
