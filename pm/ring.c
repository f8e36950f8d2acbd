/* Making and mapping the memory that a process of modules shares with the multiplexer, and taking up a ring.  The rings themselves are in ring.h. */
#include "config.h"

#include "pm/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int
pm_area_create(int *fd)
{
    *fd = memfd_create("flowstream-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) {
        return errno;
    }
    if (ftruncate(*fd, (off_t) sizeof(struct pm_area)) ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        goto failed;
    }
    struct pm_area *area = pm_area_map(*fd);
    if (!area) {
        goto failed;
    }
    area->magic = PM_AREA_MAGIC;
    area->version = PM_AREA_VERSION;
    pm_area_unmap(area);
    return 0;

failed:;
    int err = errno;
    close(*fd);
    *fd = -1;
    return err;
}

struct pm_area *
pm_area_map(int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || st.st_size < (off_t) sizeof(struct pm_area)) {
        errno = EBADF;
        return NULL;
    }
    void *area = mmap(NULL, sizeof(struct pm_area), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return area == MAP_FAILED ? NULL : area;
}

void
pm_area_unmap(struct pm_area *area)
{
    if (area) {
        munmap(area, sizeof *area);
    }
}

void
pm_producer_init(struct pm_producer *p, struct pm_ring *ring, struct pm_descriptor *descriptors, uint8_t (*buffers)[PM_BUFFER_ROOM])
{
    bool taken[PM_RING_SLOTS] = { false };
    *p = (struct pm_producer){ .ring = ring, .descriptors = descriptors, .buffers = buffers };
    p->head = atomic_load_explicit(&ring->head, memory_order_acquire);
    p->tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (p->head - p->tail > PM_RING_SLOTS) {
        p->fault = true;
        p->tail = p->head;
    }
    for (uint32_t i = p->tail; i != p->head; i++) {
        uint32_t b = atomic_load_explicit(&descriptors[i & (PM_RING_SLOTS - 1)].buffer, memory_order_relaxed) & (PM_RING_SLOTS - 1);
        while (taken[b]) { /* somebody has written there: any other, at most as many as there are descriptors */
            b = (b + 1) & (PM_RING_SLOTS - 1);
        }
        taken[b] = true;
        p->given[i & (PM_RING_SLOTS - 1)] = (uint16_t) b;
    }
    for (uint32_t b = PM_RING_SLOTS; b-- > 0;) {
        if (!taken[b]) {
            p->free[p->n_free++] = (uint16_t) b;
        }
    }
}
