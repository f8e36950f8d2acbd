# Measurements: "make bench" runs them all; bench/README.md says what they are.
check_PROGRAMS += bench/platform/udp-load
bench_platform_udp_load_SOURCES = bench/platform/udp_load.c
bench_platform_udp_load_LDFLAGS = $(AM_LDFLAGS) -pie
check_DATA += lib/flowstream/bench/platform/place_allocation.so lib/flowstream/bench/platform/hold.so

bench: tests
	$(top_srcdir)/bench/run --build .
.PHONY: bench
EXTRA_DIST += bench/run bench/README.md bench/platform/place_allocation.c bench/platform/hold.c bench/platform/placing.py bench/platform/measuring.py bench/platform/install.py \
    bench/patch/run.py bench/platform/traffic.py bench/platform/streams.py bench/platform/footprint.py bench/platform/instances.py \
    bench/fabric/run.py bench/fabric/crowd.py bench/fabric/latency.py bench/fabric/alive.py
EXTRA_DIST += bench/alloc/run.py bench/alloc/peers.py
# bench: programs that measure; "make bench/lang/bench_lang" and run it.
EXTRA_PROGRAMS += bench/lang/bench_lang
bench_lang_bench_lang_SOURCES = bench/lang/bench_lang.c
bench_lang_bench_lang_LDFLAGS = $(AM_LDFLAGS) -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
bench_lang_bench_lang_LDADD = -lflowstream-lang
bench_lang_bench_lang_DEPENDENCIES = lib/libflowstream-lang.so
# bench/alloc: placing one service at a time.
check_PROGRAMS += bench/alloc/online
bench_alloc_online_SOURCES = bench/alloc/online.c
bench_alloc_online_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
bench_alloc_online_LDADD = -lflowstream-alloc
bench_alloc_online_DEPENDENCIES = lib/libflowstream-alloc.so
EXTRA_DIST += bench/alloc/online.py
EXTRA_DIST += bench/faults/nothing_lost.py bench/faults/failpoints.py bench/faults/many.py bench/faults/recovery.py bench/faults/restarts.py bench/faults/switch_kills.py bench/store/run.py bench/store/daemon.py \
    bench/faults/hour.py bench/faults/footing.py
