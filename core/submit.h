/* The common end of run_task and run_compound_task. */
#ifndef CORE_SUBMIT_H
#define CORE_SUBMIT_H 1

#include <flowstream/method.h>

#include "core/engine.h"

/* The options of both. */
FS_API extern const struct fs_member fs_submit_options[];

/* Submits the steps (taken) with the 'options' of the call and answers the call: with the handle, or, when the option 'wait' is
 * there and the task ends in time, as the task does. */
FS_API void fs_submit_and_answer(struct fs_call *, struct fs_step *, size_t n, bool compound, const xmlrpc_value *options);

#endif
