# The five daemons: a short main each, and a library of what its tasks and commands share.

noinst_PROGRAMS += lib/libflowstream-resourced.so
FLOWSTREAM_SHARED += lib/libflowstream-resourced.so
lib_libflowstream_resourced_so_SOURCES = daemons/resource/absent.c \
    daemons/resource/account.c \
    daemons/resource/answered.c \
    daemons/resource/answered.h \
    daemons/resource/begin.c \
    daemons/resource/byhand.c \
    daemons/resource/byhand.h \
    daemons/resource/claims.c \
    daemons/resource/delays.c \
    daemons/resource/differences.c \
    daemons/resource/doubts.c \
    daemons/resource/forwards.c \
    daemons/resource/health.c \
    daemons/resource/hosts.c \
    daemons/resource/hostwork.c \
    daemons/resource/hostwork.h \
    daemons/resource/index.c \
    daemons/resource/instances.c \
    daemons/resource/life.c \
    daemons/resource/lists.c \
    daemons/resource/links.c \
    daemons/resource/loads.c \
    daemons/resource/memory.c \
    daemons/resource/model.c \
    daemons/resource/options.c \
    daemons/resource/options.h \
    daemons/resource/reconcile.h \
    daemons/resource/replatform.c \
    daemons/resource/resource.h \
    daemons/resource/show.c \
    daemons/resource/show.h \
    daemons/resource/state.c \
    daemons/resource/state.h \
    daemons/resource/wanted.c \
    daemons/resource/watched.c
lib_libflowstream_resourced_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-resourced.so
lib_libflowstream_resourced_so_LDADD = -lflowstream-core -lflowstream-alloc -lflowstream-openflow -lxmlrpc -lm
lib_libflowstream_resourced_so_DEPENDENCIES = lib/libflowstream-core.so lib/libflowstream-alloc.so lib/libflowstream-openflow.so
bin_PROGRAMS += bin/flowstream-resource
bin_flowstream_resource_SOURCES = daemons/resource/main.c
bin_flowstream_resource_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_resource_LDADD = -lflowstream-resourced -lflowstream-alloc -lflowstream-core -lxmlrpc
bin_flowstream_resource_DEPENDENCIES = lib/libflowstream-resourced.so lib/libflowstream-alloc.so lib/libflowstream-core.so

noinst_PROGRAMS += lib/libflowstream-openflowd.so
FLOWSTREAM_SHARED += lib/libflowstream-openflowd.so
lib_libflowstream_openflowd_so_SOURCES = daemons/openflow/describe.c daemons/openflow/describe.h daemons/openflow/meters.c daemons/openflow/meters.h daemons/openflow/news.c daemons/openflow/news.h \
    daemons/openflow/switches.c daemons/openflow/switches.h
lib_libflowstream_openflowd_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-openflowd.so
lib_libflowstream_openflowd_so_LDADD = -lflowstream-core -lflowstream-openflow -lxmlrpc
lib_libflowstream_openflowd_so_DEPENDENCIES = lib/libflowstream-core.so lib/libflowstream-openflow.so
bin_PROGRAMS += bin/flowstream-openflow
bin_flowstream_openflow_SOURCES = daemons/openflow/main.c
bin_flowstream_openflow_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_openflow_LDADD = -lflowstream-openflowd -lflowstream-core -lxmlrpc
bin_flowstream_openflow_DEPENDENCIES = lib/libflowstream-openflowd.so lib/libflowstream-core.so

noinst_PROGRAMS += lib/libflowstream-modulehostd.so
FLOWSTREAM_SHARED += lib/libflowstream-modulehostd.so
lib_libflowstream_modulehostd_so_SOURCES = daemons/modulehost/counters.c daemons/modulehost/counters.h daemons/modulehost/inventory.c \
    daemons/modulehost/inventory.h daemons/modulehost/measure.c daemons/modulehost/modulehost.c daemons/modulehost/modulehost.h daemons/modulehost/watch.c
lib_libflowstream_modulehostd_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-modulehostd.so
lib_libflowstream_modulehostd_so_LDADD = -lflowstream-core -lflowstream-pm -lxmlrpc
lib_libflowstream_modulehostd_so_DEPENDENCIES = lib/libflowstream-core.so lib/libflowstream-pm.so
bin_PROGRAMS += bin/flowstream-modulehost
bin_flowstream_modulehost_SOURCES = daemons/modulehost/main.c
bin_flowstream_modulehost_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_modulehost_LDADD = -lflowstream-modulehostd -lflowstream-core -lxmlrpc
bin_flowstream_modulehost_DEPENDENCIES = lib/libflowstream-modulehostd.so lib/libflowstream-core.so

noinst_PROGRAMS += lib/libflowstream-pmd.so
FLOWSTREAM_SHARED += lib/libflowstream-pmd.so
lib_libflowstream_pmd_so_SOURCES = daemons/pm/pm.c daemons/pm/pm.h
lib_libflowstream_pmd_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-pmd.so
lib_libflowstream_pmd_so_LDADD = -lflowstream-core -lflowstream-pm -lxmlrpc
lib_libflowstream_pmd_so_DEPENDENCIES = lib/libflowstream-core.so lib/libflowstream-pm.so
bin_PROGRAMS += bin/flowstream-pm
bin_flowstream_pm_SOURCES = daemons/pm/main.c
bin_flowstream_pm_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_pm_LDADD = -lflowstream-pmd -lflowstream-core -lxmlrpc
bin_flowstream_pm_DEPENDENCIES = lib/libflowstream-pmd.so lib/libflowstream-core.so

noinst_PROGRAMS += lib/libflowstream-monitoringd.so
FLOWSTREAM_SHARED += lib/libflowstream-monitoringd.so
lib_libflowstream_monitoringd_so_SOURCES = daemons/monitoring/monitor.c daemons/monitoring/monitor.h
lib_libflowstream_monitoringd_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-monitoringd.so
lib_libflowstream_monitoringd_so_LDADD = -lflowstream-core -lxmlrpc
lib_libflowstream_monitoringd_so_DEPENDENCIES = lib/libflowstream-core.so
bin_PROGRAMS += bin/flowstream-monitoring
bin_flowstream_monitoring_SOURCES = daemons/monitoring/main.c
bin_flowstream_monitoring_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_monitoring_LDADD = -lflowstream-monitoringd -lflowstream-core -lxmlrpc
bin_flowstream_monitoring_DEPENDENCIES = lib/libflowstream-monitoringd.so lib/libflowstream-core.so

# The supervisor of 'flowstream up' uses the C library alone.
bin_PROGRAMS += bin/flowstream-supervisor
bin_flowstream_supervisor_SOURCES = daemons/supervisor/main.c daemons/supervisor/process.c daemons/supervisor/services.c daemons/supervisor/supervisor.h daemons/supervisor/watch.c
bin_flowstream_supervisor_CPPFLAGS = $(AM_CPPFLAGS) -include config.h
bin_flowstream_supervisor_LDFLAGS = $(PROGRAM_LDFLAGS)
