/* Making and mapping the memory that a module shares with the multiplexer.  The rings themselves are in ring.h. */
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
