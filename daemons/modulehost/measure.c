/* What nobody uses of this computer: cores and memory.  The host tells it with each registration; the resource daemon may place by it (<placement measured="yes"/>).
 *
 * It is of the computer, whoever uses it: what is left does not depend on which of its processes are modules, so nothing is counted twice. */
#include "config.h"

#include "daemons/modulehost/modulehost.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util.h"

enum { LEAST_MS = 500 }; /* the kernel counts in hundredths of a second: over less time than this they would say little */

struct modulehost_meter {
    pthread_mutex_t lock;
    int64_t looked;       /* fs_now_ms() */
    uint64_t idle, all;   /* as counted then, of all processors together */
    double cores;         /* idle between the last two looks; less than 0: not known yet */
};

struct modulehost_meter *
modulehost_meter_new(void)
{
    struct modulehost_meter *m = fs_xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->cores = -1;
    return m;
}

void
modulehost_meter_free(struct modulehost_meter *m)
{
    if (m) {
        pthread_mutex_destroy(&m->lock);
        free(m);
    }
}

/* What the processors have done since the computer was started; time that a hypervisor took is not idle. */
static bool
read_processors(uint64_t *idle, uint64_t *all)
{
    uint64_t n[8] = { 0 }; /* user nice system idle iowait irq softirq steal */
    FILE *f = fopen("/proc/stat", "re");
    bool good = f && fscanf(f, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &n[0], &n[1], &n[2], &n[3],
                            &n[4], &n[5], &n[6], &n[7]) == 8;
    if (f) {
        fclose(f);
    }
    *idle = n[3] + n[4];
    *all = 0;
    for (int i = 0; i < 8; i++) {
        *all += n[i];
    }
    return good;
}

double
modulehost_idle_cores(struct modulehost_meter *m)
{
    uint64_t idle, all;
    pthread_mutex_lock(&m->lock);
    int64_t now = fs_now_ms();
    if ((!m->looked || now - m->looked >= LEAST_MS) && read_processors(&idle, &all)) {
        if (m->looked && all > m->all && idle >= m->idle) {
            m->cores = (double) (idle - m->idle) / (double) (all - m->all) * (double) sysconf(_SC_NPROCESSORS_ONLN);
        }
        m->looked = now;
        m->idle = idle;
        m->all = all;
    }
    double cores = m->cores;
    pthread_mutex_unlock(&m->lock);
    return cores;
}

double
modulehost_available_mem(void)
{
    double available = -1;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && available < 0 && fgets(line, sizeof line, f)) {
        available = strncmp(line, "MemAvailable:", 13) ? -1 : strtod(line + 13, NULL) / 1024;
    }
    if (f) {
        fclose(f);
    }
    return available;
}
