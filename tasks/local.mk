# Tasks: one source, one loadable, named as the task.
