#!/bin/sh
# Runs each fuzzer under libFuzzer (clang) and the address and undefined behaviour sanitizers, for
# FUZZ_SECONDS (300) each, one after the other; FUZZ_ONLY="naming wire" names some. They are built in
# fuzz/ of the build directory, where inputs that found something new stay for the next time, in
# fuzz/corpus, and those that broke something, in fuzz/findings. Exits 1 if there was such a one.
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${AUTODL_BUILD:=$PWD}"
: "${FUZZ_SECONDS:=300}" "${FUZZ_ONLY:=}" "${CLANG:=clang}"
export AUTODL_SOURCE
directory=$AUTODL_BUILD/fuzz
sources=$AUTODL_SOURCE/tests/fuzz

die() {
    echo "fuzz: $*" >&2
    exit 1
}

# Prints why there can be no fuzzers here.
missing() {
    if ! command -v "$CLANG" >/dev/null 2>&1; then
        echo "there is no clang; apt-get install clang"
        return
    fi
    scratch=$(mktemp -d) || exit 1
    echo 'int LLVMFuzzerTestOneInput(const char *, unsigned long);
          int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n ? 0 : 0; }' \
        >"$scratch/try.c"
    "$CLANG" -fsanitize=fuzzer,address,undefined "$scratch/try.c" -o "$scratch/try" 2>/dev/null ||
        echo "$CLANG has no fuzzer runtime; apt-get install libclang-rt-dev"
    rm -rf "$scratch"
}

build() {
    mkdir -p "$directory/findings" || die "cannot make $directory"
    cd "$directory" || exit 1
    if [ ! -e Makefile ]; then
        "$AUTODL_SOURCE/configure" -q --enable-fuzzers CC="$CLANG" CFLAGS="-g -O1" ||
            die "configure failed; see its messages above"
    fi
    make -s -j"$(nproc)" fuzz-targets >/dev/null || die "the fuzzers do not build; see the messages above"
}

statistic() { # name, log: of -print_final_stats
    sed -n "s/^stat::$1: *//p" "$2"
}

# Runs one; false: it found something.
run() { # name
    set -- "$1" "$directory/$1.log" "$sources/$1.dict"
    mkdir -p "corpus/$1"
    [ ! -e "$3" ] || dictionary=-dict=$3
    "tests/fuzz/fuzz_$1" -max_total_time="$FUZZ_SECONDS" -print_final_stats=1 -timeout=20 \
        -max_len=4096 -rss_limit_mb=2048 -artifact_prefix="findings/$1-" \
        ${dictionary:+"$dictionary"} "corpus/$1" "$sources/corpus/$1" >"$2" 2>&1
    status=$?
    dictionary=
    covered=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 \2/p' "$2" | tail -n 1)
    printf '%-10s %10s executions %7s/s, %5s edges and %5s features covered, %s\n' "$1" \
        "$(statistic number_of_executed_units "$2")" "$(statistic average_exec_per_sec "$2")" \
        "${covered% *}" "${covered#* }" \
        "$([ "$status" -eq 0 ] && echo "nothing found" || echo "FOUND SOMETHING: $2")"
    [ "$status" -eq 0 ] || sed -n '/not so:\|ERROR:\|runtime error:\|Test unit written/p' "$2"
    return "$status"
}

dictionary=
reason=$(missing)
if [ -n "$reason" ]; then
    echo "fuzz: skipped: $reason"
    exit 0
fi
build
found=0
for file in "$sources"/fuzz_*.c; do
    name=${file##*/fuzz_}
    name=${name%.c}
    case " $FUZZ_ONLY " in
    "  " | *" $name "*) run "$name" || found=1 ;;
    esac
done
exit "$found"
