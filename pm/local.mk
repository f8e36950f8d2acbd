# pm: the packet side
noinst_PROGRAMS += lib/libflowstream-pm.so
FLOWSTREAM_SHARED += lib/libflowstream-pm.so
lib_libflowstream_pm_so_SOURCES = include/flowstream/api.h include/flowstream/pm.h include/flowstream/module.h \
    include/flowstream/filter.h include/flowstream/packet.h pm/private.h pm/util.c pm/channel.c pm/channel.h pm/process.c pm/process.h pm/spec.c pm/spec_process.c pm/spec.h \
    pm/cgroup.c pm/cgroup.h pm/connect.c pm/host.c pm/host_list.c pm/hostmux.c pm/hostspec.c pm/hostlook.c pm/host.h pm/hostflows.c pm/tallies.c pm/type.c pm/filter.c pm/packet.c
lib_libflowstream_pm_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-pm.so
lib_libflowstream_pm_so_LDADD = $(PCAP_LIBS)

bin_PROGRAMS += bin/flowstream-mux bin/flowstream-module
bin_flowstream_mux_SOURCES = pm/mux.c pm/mux.h pm/mux_forward.c pm/mux_control.c pm/mux_trunk.c pm/flows.c pm/flows.h pm/packet.c pm/spread.c pm/spread.h pm/bucket.h pm/nsh.c pm/nsh.h pm/ring.c pm/ring.h \
    pm/channel.c pm/spec.c pm/spec_process.c pm/process.c pm/util.c
bin_flowstream_mux_LDFLAGS = $(PROGRAM_LDFLAGS)

# What a type needs besides libc and libm is loaded before the runner shuts itself in: module_types.c.
bin_flowstream_module_SOURCES = pm/module.c pm/module.h pm/module_types.c pm/module_packets.c pm/module_run.c pm/spread.c pm/spread.h pm/bucket.h pm/isolate.c pm/isolate.h pm/ring.c \
    pm/channel.c pm/spec.c pm/spec_process.c pm/process.c pm/util.c pm/cgroup.c
bin_flowstream_module_LDFLAGS = $(PROGRAM_LDFLAGS) -Wl,--push-state,--no-as-needed -lm -Wl,--pop-state
bin_flowstream_module_LDADD = $(SECCOMP_LIBS)

# Module types: one source a type.
TYPES = counter mirror firewall classifier rewrite
TYPE_FILES = $(TYPES:%=lib/flowstream/types/%.so)
LOADABLES += $(TYPES:%=types/%)

lib/flowstream/types/%.so: pm/types/%.c lib/libflowstream-pm.so $(top_srcdir)/include/flowstream/loadable.map
	@$(MKDIR_P) $(@D)
	$(AM_V_CCLD)$(CC) $(DEFS) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) -MD -MP -MF $@.d -MT $@ -o $@.new $< \
	    $(LOADABLE_LDFLAGS) $(LDFLAGS) -lflowstream-pm $(PCAP_LIBS) && mv -f $@.new $@
