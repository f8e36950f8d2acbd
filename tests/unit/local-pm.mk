# tests of pm/
check_PROGRAMS += tests/pm/pm-driver tests/unit/test-pm tests/unit/test-flows tests/unit/test-spread tests/unit/test-inventory bench/pm/pm-load
tests_pm_pm_driver_SOURCES = tests/pm/pm_driver.c
tests_pm_pm_driver_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_pm_pm_driver_LDADD = -lflowstream-pm
tests_pm_pm_driver_DEPENDENCIES = lib/libflowstream-pm.so
tests_unit_test_pm_SOURCES = tests/unit/test_pm.c pm/ring.c pm/nsh.c pm/spec.c pm/spec_process.c pm/util.c
tests_unit_test_pm_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_pm_LDADD = -lflowstream-pm
tests_unit_test_pm_DEPENDENCIES = lib/libflowstream-pm.so
tests_unit_test_flows_SOURCES = tests/unit/test_flows.c pm/flows.c pm/packet.c pm/util.c
tests_unit_test_inventory_SOURCES = tests/unit/test_inventory.c daemons/modulehost/inventory.c
tests_unit_test_inventory_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_inventory_LDADD = -lflowstream-core
tests_unit_test_inventory_DEPENDENCIES = lib/libflowstream-core.so
# Against the functions of Open vSwitch itself.
tests_unit_test_spread_SOURCES = tests/unit/test_spread.c pm/spread.c
tests_unit_test_spread_CPPFLAGS = $(AM_CPPFLAGS) -include $(lastword $(OVS_CFLAGS))/config.h $(OVS_CFLAGS)
tests_unit_test_spread_LDADD = $(OVS_LIBS)
bench_pm_pm_load_SOURCES = bench/pm/pm_load.c pm/nsh.c
EXTRA_DIST += tests/pm/test_pm.py tests/pm/hostile.c bench/pm/bench_pm.py bench/pm/bench_start.py

# Fuzz targets: "make fuzz-pm", then tests/fuzz/fuzz_nsh -max_total_time=60 and so on.
FUZZ_PM = tests/fuzz/fuzz_nsh tests/fuzz/fuzz_packet tests/fuzz/fuzz_firewall
tests/fuzz/fuzz_nsh: tests/fuzz/fuzz_nsh.c pm/nsh.c
tests/fuzz/fuzz_packet: tests/fuzz/fuzz_packet.c pm/packet.c
tests/fuzz/fuzz_firewall: tests/fuzz/fuzz_firewall.c pm/types/firewall.c pm/filter.c pm/util.c
$(FUZZ_PM):
	@$(MKDIR_P) $(@D)
	$(AM_V_CCLD)$(FUZZ_CC) $(DEFS) $(AM_CPPFLAGS) -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -o $@ $^ $(PCAP_LIBS)
fuzz-pm: $(FUZZ_PM)
.PHONY: fuzz-pm
CLEANFILES += $(FUZZ_PM)
