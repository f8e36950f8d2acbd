# Measurements: "make bench" runs them all; bench/README.md says what they are.
check_PROGRAMS += bench/platform/udp-load
bench_platform_udp_load_SOURCES = bench/platform/udp_load.c
bench_platform_udp_load_LDFLAGS = $(AM_LDFLAGS) -pie
check_DATA += lib/flowstream/bench/platform/place_allocation.so

bench: tests
	$(top_srcdir)/bench/run --build .
.PHONY: bench
EXTRA_DIST += bench/run bench/README.md bench/platform/place_allocation.c bench/platform/measuring.py bench/platform/install.py \
    bench/platform/traffic.py bench/platform/footprint.py
