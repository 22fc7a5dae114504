# autodl beside aria2, curl and wget2, on this machine. `make bench` takes 5 minutes; for everything:
# make bench BENCH_OPTIONS=
EXTRA_DIST += bench/RESULTS.md bench/bench.py bench/contestants.py bench/fair_origin.py bench/load.py \
	bench/origins.py bench/processes.py bench/relay.py bench/report.py bench/rounds.py \
	bench/rows_files.py bench/rows_kill.py bench/rows_queue.py bench/rows_ranges.py \
	bench/slow_origin.py
BENCH_OPTIONS = --short
bench: all
	python3 -B $(srcdir)/bench/bench.py --service ./autodl-service $(BENCH_OPTIONS)
.PHONY: bench
