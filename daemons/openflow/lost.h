/* Switches whose connection has ended: see lost.c. */
#ifndef DAEMONS_OPENFLOW_LOST_H
#define DAEMONS_OPENFLOW_LOST_H 1

#include "daemons/openflow/switches.h"

struct lost;

/* Watches the connections of all switches until lost_stop(); NULL where no thread can be started. */
struct lost *lost_start(struct fs_daemon *, struct switches *);
/* Waits for the thread.  Accepts NULL. */
void lost_stop(struct lost *);

#endif
