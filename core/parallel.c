/* The same work on several things at the same time: a few threads draw numbers from a counter. */
#include "config.h"

#include "core/parallel.h"

#include <pthread.h>

#include <flowstream/log.h>

enum { MAX_THREADS = 16 };

struct job {
    size_t n, next;
    void (*work)(void *, size_t);
    void *aux;
    const char *request_id;
};

static void *
draw(void *data)
{
    struct job *j = data;
    for (size_t i; (i = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED)) < j->n;) {
        j->work(j->aux, i);
    }
    return NULL;
}

static void *
helper(void *data)
{
    const struct job *j = data;
    fs_log_set_request(j->request_id);
    return draw(data);
}

void
fs_parallel(size_t n, void (*work)(void *, size_t), void *aux)
{
    struct job j = { .n = n, .work = work, .aux = aux, .request_id = fs_log_request() };
    pthread_t threads[MAX_THREADS];
    size_t n_threads = 0;
    while (n_threads + 1 < n && n_threads < MAX_THREADS - 1 && !pthread_create(&threads[n_threads], NULL, helper, &j)) {
        n_threads++;
    }
    draw(&j); /* this thread takes its part */
    while (n_threads) {
        pthread_join(threads[--n_threads], NULL);
    }
}
