#!/bin/sh
# Turns migrations into a C table: embed.sh OUT.c FILE.sql... (numbered, in order).
# Bytes instead of string literals, because C11 promises literals of 4,095 characters only.
set -eu
out=$1
shift
{
    echo '#include "store/migrate.h"'
    n=0
    for file in "$@"; do
        n=$((n + 1))
        case ${file##*/} in
        "$(printf '%04d' "$n")"_*) ;;
        *) echo "migration $file should have number $n" >&2; exit 1 ;;
        esac
        echo "static const unsigned char migration_${n}[] = {"
        od -An -v -tu1 "$file" | sed 's/\([0-9][0-9]*\)/\1,/g'
        echo '0};'
    done
    echo 'const char *const rz_migrations[] = {'
    i=0
    while [ "$i" -lt "$n" ]; do
        i=$((i + 1))
        echo "(const char *)migration_$i,"
    done
    echo '};'
    echo "const int rz_migrations_count = $n;"
} >"$out"
