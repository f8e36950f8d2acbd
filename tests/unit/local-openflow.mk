# The program that tests/unit/test_openflow.py drives.
check_PROGRAMS += tests/unit/openflow-tool
tests_unit_openflow_tool_SOURCES = tests/unit/openflow_tool.c
tests_unit_openflow_tool_LDFLAGS = $(AM_LDFLAGS) -pie -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_openflow_tool_LDADD = -lflowstream-openflow
tests_unit_openflow_tool_DEPENDENCIES = lib/libflowstream-openflow.so
EXTRA_DIST += tests/unit/test_openflow.py tests/openflow/test_nsh.py tests/openflow/private_ovs.py
