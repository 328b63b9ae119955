#!/usr/bin/env python3
"""Each rule is shown a planted violation, and must see it. usage: test_rules.py COMPILER"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import headers_alone
import include_floors
import kernel_gate
import mutants_apply
import plain_text
import quiet_library
import source_tree

COMPILER = sys.argv.pop(1)


class Planted(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()

    def plant(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class SourceTree(Planted):
    def test_blanks_comments_and_literals_and_keeps_lines(self):
        text = '// exit(1)\nf("exit(1) \\" exit(2)"); /* abort()\n */ g(\'"\'); R"(puts(\n)" h();\n'
        code = source_tree.bare_code(text)
        self.assertEqual(code.count("\n"), text.count("\n"))
        self.assertNotRegex(code, "exit|abort|puts")
        for call in ("f(", "g(", "h()"):
            self.assertIn(call, code)

    def test_keeps_what_stands_between_digit_separators(self):
        self.assertIn("exit(2)", source_tree.bare_code("x = 1'000; exit(2); y = 2'000;"))


class MutantsApply(Planted):
    PATCH = "A bug.\ntests: x\n\n--- a/src/x.h\n+++ b/src/x.h\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n"

    def seen(self, patch):
        self.plant("tests/mutants/bug.patch", patch)
        return mutants_apply.violations(self.root)

    def test_takes_a_bug_wherever_its_lines_stand(self):
        self.plant("src/x.h", "first\na\nb\nd\nlast\n")
        self.assertEqual(self.seen(self.PATCH), [])

    def test_sees_a_bug_that_does_not_fit(self):
        self.plant("src/x.h", "a\nb\n\nd\n")
        self.assertRegex("".join(self.seen(self.PATCH)), "bug.patch: its lines are not in src/x.h")
        self.assertRegex("".join(self.seen(self.PATCH.replace("x.h", "y.h"))), "y.h is no file")

    def test_sees_a_bug_that_names_no_tests_or_changes_nothing(self):
        self.plant("src/x.h", "a\nb\nd\n")
        self.assertRegex("".join(self.seen(self.PATCH.replace("tests: x", ""))), "'tests: ...'")
        self.assertRegex("".join(self.seen(self.PATCH.replace("+c", "+b"))), "are not in")
        self.assertRegex("".join(self.seen(self.PATCH.partition("@@")[0])), "has no changes")


class QuietLibrary(Planted):
    def test_sees_every_way_to_print_or_to_end(self):
        for line in ("printf(\"x\");", "std::fprintf(stderr, \"x\");", "puts(\"\");",
                     "std::cout << 1;", "std::cerr << 1;", "std :: clog << 1;", "std::abort();",
                     "exit(1);", "_exit(1);", "std::terminate();", "assert(x);",
                     "#include <iostream>", "perror(\"x\");", "__builtin_trap();"):
            self.plant("src/core/bad.cpp", "int x;\n" + line + "\n")
            self.assertRegex("".join(quiet_library.in_sources(self.root)), "bad.cpp:2", line)

    def test_takes_what_only_looks_alike(self):
        self.plant("include/flashmla/good.h", "// never calls abort() or printf()\n"
                   "static_assert(sizeof(int) == 4);\nint n = snprintf(a, 4, \"exit(1)\");\n"
                   "void on_exit_of(int); void reprint(int); int exits = 3;\n")
        self.assertEqual(quiet_library.in_sources(self.root), [])

    def build(self, code):
        source = self.plant("library.cpp", code)
        library = self.root / "library.so"
        subprocess.run([COMPILER, "-std=c++20", "-O1", "-shared", "-fPIC",
                        "-fvisibility=hidden", "-o", str(library), str(source)], check=True)
        return library

    def test_sees_what_a_built_library_calls(self):
        start = '#include <iostream>\n#include <cstdio>\n#include <cstdlib>\nnamespace flashmla {\n'
        for call in ('std::printf("%d", x)', 'std::puts("x")', "std::exit(x)", "std::abort()",
                     "std::cout << x"):
            library = self.build(start + '__attribute__((visibility("default"))) void f(int x) {\n'
                                 f"  (void)x; {call};\n}}\n}}\n")
            self.assertRegex("".join(quiet_library.in_library(library)), "calls", call)

    def test_sees_what_a_built_library_exports(self):
        export = '__attribute__((visibility("default"))) int f(int x) { return x; }\n'
        self.assertEqual(quiet_library.in_library(self.build(f"namespace flashmla {{ {export} }}")),
                         [])
        for bad in (export, f'extern "C" {export}', f"namespace other {{ {export} }}",
                    f"namespace flashmla::schedule {{ {export} }}"):
            self.assertRegex("".join(quiet_library.in_library(self.build(bad))), "exports", bad)


class IncludeFloors(Planted):
    def setUp(self):
        super().setUp()
        for name in ("include/flashmla/a.h", "src/core/b.h", "src/schedule/c.h", "src/api/d.h",
                     "src/backends/backend.h", "src/backends/cpu/e.h", "support/f.h", "tools/g.h",
                     "src/gpu/h.h", "src/sm90/ptx/i.h", "src/sm90/ops/j.h", "tests/api/k.h"):
            self.plant(name, "#pragma once\n")

    def check(self, place, include):
        path = self.plant(place, f"#include {include}\n")
        found = include_floors.violations(self.root)
        path.unlink()
        return found

    def test_refuses_to_look_up(self):
        for place, name in (
            ("include/flashmla/x.h", "core/b.h"), ("src/core/x.h", "schedule/c.h"),
            ("src/schedule/x.h", "gpu/h.h"), ("src/gpu/x.h", "schedule/c.h"),
            ("src/schedule/x.h", "api/d.h"), ("src/backends/cpu/x.h", "api/d.h"),
            ("src/backends/x.h", "backends/cpu/e.h"), ("src/sm90/ptx/x.h", "sm90/ops/j.h"),
            ("src/api/x.h", "support/f.h"), ("src/core/x.h", "../tools/g.h"),
            ("support/x.h", "core/b.h"), ("support/x.h", "../src/core/b.h"),
            ("support/x.h", "tools/g.h"), ("tools/x.h", "api/d.h"),
            ("tools/deep/x.h", "schedule/c.h"), ("tests/core/x.cpp", "schedule/c.h"),
            ("tests/end_to_end/x.cpp", "api/d.h"), ("tests/schedule/x.cpp", "tools/g.h"),
            ("benchmarks/x.cpp", "core/b.h"), ("examples/x.cpp", "support/f.h"),
            ("src/nowhere/x.h", "core/b.h"), ("src/core/x.h", "core/not_there.h"),
        ):
            self.assertEqual(len(self.check(place, f'"{name}"')), 1, (place, name))

    def test_lets_look_down(self):
        for place, name in (
            ("src/core/x.h", "flashmla/a.h"), ("src/schedule/x.h", "core/b.h"),
            ("src/backends/cpu/x.h", "backends/backend.h"), ("src/backends/cpu/k/x.h", "../e.h"),
            ("src/api/x.h", "backends/cpu/e.h"), ("src/sm90/ops/x.h", "sm90/ptx/i.h"),
            ("support/x.h", "flashmla/a.h"), ("tools/x.h", "support/f.h"),
            ("tests/api/x.cpp", "backends/cpu/e.h"), ("tests/schedule/x.cpp", "schedule/c.h"),
            ("tests/backends/cpu/x.cpp", "tests/api/k.h"), ("tests/tools/x.cpp", "tools/g.h"),
        ):
            self.assertEqual(self.check(place, f'"{name}"'), [], (place, name))

    def test_keeps_other_libraries_out_of_the_library(self):
        self.assertEqual(len(self.check("src/core/x.cpp", "<fmt/format.h>")), 1)
        self.assertEqual(self.check("src/core/x.cpp", "<sys/mman.h>"), [])
        self.assertEqual(self.check("tools/x.cpp", "<fmt/format.h>"), [])


class PlainText(Planted):
    def test_sees_long_lines_tabs_and_paths(self):
        for line in ("x" * 101, "a\tb", "see " + "/work" + "/main", "# .." + "/shared",
                     'f("/home' + '/somebody/x")', "/root" + "/.cache"):
            self.plant("src/a.cpp", "good\n" + line + "\n")
            self.assertRegex("".join(plain_text.violations(self.root)), "src/a.cpp:2", line)

    def test_counts_columns_not_bytes_and_leaves_prose_alone(self):
        self.plant("src/a.cpp", "…" * 100 + "\n")
        self.plant("README.md", "x" * 300 + "\nthe framework/room\n")
        self.assertEqual(plain_text.violations(self.root), [])
        self.plant("README.md", "see " + "/work" + "/x\n")
        self.assertEqual(len(plain_text.violations(self.root)), 1)


class HeadersAlone(Planted):
    def test_sees_a_header_that_leans_on_another(self):
        self.plant("include/flashmla/good.h", "#pragma once\n#include <string>\nstd::string f();\n")
        self.plant("src/core/also_good.h", '#pragma once\n#include "flashmla/good.h"\n')
        self.assertEqual(headers_alone.violations(self.root, COMPILER), [])
        self.plant("support/bad.h", "#pragma once\nstd::string g();\n")
        self.assertRegex("".join(headers_alone.violations(self.root, COMPILER)), "^support/bad.h")

    def test_sees_a_warning(self):
        self.plant("tools/bad.h", "#pragma once\ninline int f(long x) { return x; }\n")
        self.assertRegex("".join(headers_alone.violations(self.root, COMPILER)), "^tools/bad.h")


class KernelGate(Planted):
    NAME = "_ZN8flashmla4sm907combine6mergedEv"
    CALLED = "_ZN8flashmla8schedule6divideEv"
    LIMIT = "combine::merged | 72 | 8 | 8 | 12 | yes | a reason\n"

    def log(self, registers=72, stack=8, stores=8, loads=12, more=""):
        return (f"ptxas info    : 0 bytes gmem\n"
                f"ptxas info    : Compiling entry function '{self.NAME}' for 'sm_90a'\n"
                f"ptxas info    : Function properties for {self.NAME}\n"
                f"    {stack} bytes stack frame, {stores} bytes spill stores, "
                f"{loads} bytes spill loads\n"
                f"ptxas info    : Used {registers} registers, used 2 barriers\n"
                f"ptxas info    : Function properties for {self.CALLED}\n"
                f"    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n{more}")

    def violations(self, log, limits=LIMIT):
        table = self.plant("limits.txt", "# a comment\n" + limits)
        self.plant("launch.cu.o.ptxas", log)
        return kernel_gate.violations(table, [self.root / "launch.cu.o"])

    def test_takes_what_is_within_the_table(self):
        self.assertEqual(self.violations(self.log()), [])
        self.assertEqual(self.violations(self.log(registers=40, stack=0, stores=0, loads=0)), [])

    def test_sees_every_figure_that_grows(self):
        for figure in ("registers", "stack", "stores", "loads"):
            found = self.violations(self.log(**{figure: 100}))
            self.assertEqual(len(found), 1, found)
            self.assertRegex(found[0], f"^combine::merged: 100 {figure}, at most")

    def test_sees_spills_of_a_function_that_a_kernel_calls(self):
        called = self.log().replace("    0 bytes stack frame, 0 bytes spill stores",
                                    "    16 bytes stack frame, 0 bytes spill stores")
        self.assertRegex("".join(self.violations(called)), "24 stack")

    def test_sees_advice_about_wgmma(self):
        for code, words in (("C7510", "Potential Performance Loss: wgmma.mma_async instructions "
                                      "are serialized due to ill formed pipeline stage"),
                            ("C7520", "wgmma are serialized"), ("C7508", "setmaxnreg is ignored")):
            line = f"ptxas info    : ({code}) {words} in the function '{self.NAME}'\n"
            for log in (self.log(more=line), line + self.log()):
                self.assertRegex("".join(self.violations(log)), f"^combine::merged: {code}")

    def test_sees_kernels_without_a_line_and_lines_without_a_kernel(self):
        self.assertRegex("".join(self.violations(self.log(), "other | 72 | 8 | 8 | 12 | no | x")),
                         "combine::merged: no line.*other: in the table")
        self.assertRegex("".join(self.violations("nvcc said nothing\n")), "no kernel")
        table = self.plant("limits.txt", self.LIMIT)
        self.assertRegex("".join(kernel_gate.violations(table, [self.root / "no.o"])), "not there")

    def test_a_line_needs_a_reason(self):
        for line in ("combine::merged | 72 | 8 | 8 | 12 | yes", "a | 72 | 8 | 8 | 12 | yes | "):
            with self.assertRaisesRegex(ValueError, "line 2"):
                self.violations(self.log(), line)

    def test_names_instances_by_the_values_of_enumerators(self):
        instance = "_ZN8flashmla4sm904plan4makeILNS1_4KindE2ELb1EEEvPKii"
        self.assertEqual(kernel_gate.plain_names([instance]), {instance: "plan::make<2, true>"})

    def test_sees_machine_code_without_tensor_cores(self):
        limits = kernel_gate.read_limits(self.LIMIT + "plain::* | 9 | 0 | 0 | 0 | no | reason")
        names = {self.NAME: "combine::merged", "_Zp": "plain::one"}
        code = (f"        Function : {self.NAME}\n /*0*/ HGMMA.64x8x16.F32 R4 ;\n"
                " /*1*/ UTMALDG.5D [UR8] ;\n        Function : _Zp\n /*0*/ FFMA R1 ;\n")

        def faults(dump):
            return kernel_gate.faults_in_code(kernel_gate.instruction_counts(dump), names, limits)

        self.assertEqual(faults(code), [])
        self.assertEqual(faults(code.replace("HGMMA", "HMMA")),
                         ["combine::merged: no HGMMA in its machine code"])
        gathered = code.replace("UTMALDG", "LDG")
        self.assertEqual(len(faults(gathered)), 1)
        limits = kernel_gate.read_limits(self.LIMIT.replace("yes", "wgmma"))
        self.assertEqual(faults(gathered), [])
        self.assertEqual(len(faults(gathered.replace("HGMMA", "HMMA"))), 1)
        with self.assertRaisesRegex(ValueError, "line 1: maybe, wanted one of yes, wgmma, no"):
            kernel_gate.read_limits(self.LIMIT.replace("yes", "maybe"))


if __name__ == "__main__":
    unittest.main()
