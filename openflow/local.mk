# libflowstream-openflow: the switches, over the static libopenvswitch.
#
# Its sources see Open vSwitch's config.h and not ours; the last folder of OVS_CFLAGS is the top of its tree. None of its
# symbols leaves the library, and what it logs goes to openflow/log.c.

noinst_PROGRAMS += lib/libflowstream-openflow.so
FLOWSTREAM_SHARED += lib/libflowstream-openflow.so
lib_libflowstream_openflow_so_SOURCES = \
	openflow/apply.c openflow/apply.h openflow/bundle.c \
	openflow/compare.c openflow/compare.h openflow/compare_meters.c \
	openflow/connection.c openflow/connection.h \
	openflow/failure.c openflow/failure.h \
	openflow/follow.c \
	openflow/log.c \
	openflow/match.c openflow/match.h openflow/match_set.c \
	openflow/meters.c openflow/meters.h \
	openflow/ports.c \
	openflow/rules.c \
	openflow/switch.c openflow/switch.h \
	include/flowstream/openflow.h
lib_libflowstream_openflow_so_CPPFLAGS = $(AM_CPPFLAGS) -include $(lastword $(OVS_CFLAGS))/config.h $(OVS_CFLAGS)
lib_libflowstream_openflow_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-openflow.so -Wl,--exclude-libs,ALL \
	-Wl,--wrap=vlog -Wl,--wrap=vlog_valist -Wl,--wrap=vlog_rate_limit
lib_libflowstream_openflow_so_LDADD = $(OVS_LIBS)
EXTRA_DIST += bench/openflow/bundles.py
