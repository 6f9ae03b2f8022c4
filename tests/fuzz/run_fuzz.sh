#!/bin/sh
# run_fuzz.sh FUZZER PYTHON MAKE_CORPUS TARGET: one target for REZEPT_FUZZ_SECONDS (60) from fresh
# seeds. A crash leaves its input in the working folder and fails.
set -eu
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
"$2" "$3" "$corpus"
"$1" -max_total_time="${REZEPT_FUZZ_SECONDS:-60}" -max_len=4096 -print_final_stats=1 \
    -rss_limit_mb=512 "$corpus/$4"
