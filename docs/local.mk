# docs: the manual, and the manual pages that are installed with the programs.
dist_man_MANS = docs/man/flowstream.1 docs/man/flowstream-alloc.1 docs/man/flowstream-lang.1 docs/man/flowstream-sign.1 docs/man/flowstream-config.1 docs/man/flowstream-resource.8 \
    docs/man/flowstream-openflow.8 docs/man/flowstream-modulehost.8 docs/man/flowstream-pm.8 docs/man/flowstream-monitoring.8 \
    docs/man/flowstream-mux.8 docs/man/flowstream-module.8 docs/man/flowstream-supervisor.8
dist_doc_DATA = README.md docs/allocation.md docs/api.md docs/architecture.md docs/by-hand.md docs/configuration.md docs/dependencies.md docs/isolation.md docs/reliability.md \
    docs/language.md docs/modules.md docs/nsh-on-ovs.md docs/tasks.md docs/testing.md
EXTRA_DIST += tests/docs/run.py
