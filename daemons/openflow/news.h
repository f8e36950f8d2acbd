/* What switches do by themselves, or others do to them: see news.c. */
#ifndef DAEMONS_OPENFLOW_NEWS_H
#define DAEMONS_OPENFLOW_NEWS_H 1

#include "daemons/openflow/switches.h"

struct news;

/* Watches all switches until news_stop(); NULL where no thread can be started. */
struct news *news_start(struct fs_daemon *, struct switches *);
/* Waits for the thread.  Accepts NULL. */
void news_stop(struct news *);

#endif
