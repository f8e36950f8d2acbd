# include: the contracts, installed so that tasks, commands and module types can be written outside this tree.
flowstreamincludedir = $(includedir)/flowstream
dist_flowstreaminclude_DATA = include/flowstream/abi.h include/flowstream/alloc.h include/flowstream/api.h include/flowstream/failpoint.h include/flowstream/filter.h include/flowstream/lang.h \
    include/flowstream/loadable.map include/flowstream/log.h include/flowstream/method.h include/flowstream/module.h include/flowstream/online.h \
    include/flowstream/openflow.h include/flowstream/packet.h include/flowstream/platform.h include/flowstream/pm.h include/flowstream/request.h \
    include/flowstream/value.h
