# Commands: one source, one loadable, one method, named as the method.
LOADABLES += commands/common/cancel_task
LOADABLES += commands/common/get_statistics
LOADABLES += commands/common/get_task
LOADABLES += commands/common/get_version
LOADABLES += commands/common/list_commands
LOADABLES += commands/common/list_tasks
LOADABLES += commands/common/ping
LOADABLES += commands/common/run_compound_task
LOADABLES += commands/common/run_task
LOADABLES += commands/common/set_log_level
LOADABLES += commands/common/system.listMethods
LOADABLES += commands/common/system.methodHelp
LOADABLES += commands/common/system.methodSignature
LOADABLES += commands/common/system.multicall
LOADABLES += commands/common/upgrade
