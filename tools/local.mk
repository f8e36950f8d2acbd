# tools: what is used to make things, and is not installed.
noinst_PROGRAMS += tools/describe
tools_describe_SOURCES = tools/describe.c
tools_describe_LDFLAGS = $(PROGRAM_LDFLAGS)
tools_describe_LDADD = -ldl
EXTRA_DIST += tools/build-openvswitch tools/abi.sh

# Write docs/api.md anew; tests/docs says when that is needed.
docs: all
	$(AM_V_GEN)$(top_srcdir)/tools/abi.sh > abi.h.new && mv -f abi.h.new $(top_srcdir)/include/flowstream/abi.h && tools/describe lib/flowstream > api.md.new && mv -f api.md.new $(top_srcdir)/docs/api.md
.PHONY: docs
