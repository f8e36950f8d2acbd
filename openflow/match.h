#ifndef OPENFLOW_MATCH_H
#define OPENFLOW_MATCH_H

#include <stdbool.h>

struct match;

/* Stores in '*sent' what a switch will make of 'match', in the form in which it also reports its rules.  False if that is not
 * all of 'match': Open vSwitch silently drops fields whose protocol is not given.  Thread-safe. */
bool match_as_sent(const struct match *match, struct match *sent);

/* Reads 'text', which fs_match_check() has found good, but its in_port.  NULL, or an owned message.  Thread-safe. */
char *match_parse(const char *text, struct match *match);

#endif
