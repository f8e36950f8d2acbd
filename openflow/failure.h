#ifndef OPENFLOW_FAILURE_H
#define OPENFLOW_FAILURE_H

/* Stores an owned message in '*error', instead of one that is there, unless 'error' is NULL.  Returns 'code'. */
int openflow_fail(char **error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Makes 's', which came from outside, fit to be printed. */
void openflow_make_printable(char *s);

#endif
