#!/bin/sh
# A compiler launcher: keeps what ptxas says about an object's kernels beside it, in OBJECT.ptxas,
# for tests/rules/kernel_gate.py, and shows the rest of the compiler's output.
# usage: keep_ptxas_log.sh COMPILER ARGUMENT ...
object=
previous=
for argument; do
  if [ "$previous" = -o ]; then
    object=$argument
  fi
  previous=$argument
done
"$@" >"$object.ptxas" 2>&1
status=$?
said='0 bytes gmem|Compiling entry|Function properties|Used |Compile time'
grep -Ev "^ptxas info +: ($said)|^ +[0-9]+ bytes stack frame" "$object.ptxas" >&2
exit $status
