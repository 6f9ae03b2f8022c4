/* Work that a request waits for, done by another thread.
 *
 * A job is counted: the request, each worker part and the reaper may hold it. Exactly one party
 * moves it out of WAITING, and that one wakes the request: the worker by job_finish, or the reaper
 * by job_abandon (deadline, client gone). After that the worker must not touch the request, which
 * may be gone; all it reads lives in the job. */
#ifndef REZEPTD_JOB_H
#define REZEPTD_JOB_H

#include <stdatomic.h>
#include <stdbool.h>

struct request;

typedef enum job_state { JOB_WAITING, JOB_FINISHED, JOB_TIMED_OUT, JOB_CLIENT_GONE } job_state;

typedef struct job {
    atomic_int references, state;
    struct connection
        *connection; /* borrowed; valid for whoever leaves WAITING; NULL: nobody waits */
    void (*destroy)(struct job *job);
} job;

/* One reference, the caller's. `waiter` is the connection that waits, or NULL. */
void job_init(job *j, struct connection *waiter, void (*destroy)(job *));
job *job_keep(job *j);
void job_drop(job *j);

/* Marks the job as done and wakes the request, unless it was given up before. */
void job_finish(job *j);
/* Gives it up as timed out or with the client gone; true when this call did it. */
bool job_abandon(job *j, job_state reason);
job_state job_state_of(const job *j);

#endif
