/* The counted job; waking is the HTTP side's. */
#include "job.h"

#include "http.h"

void job_init(job *j, struct connection *waiter, void (*destroy)(job *))
{
    atomic_init(&j->references, 1);
    atomic_init(&j->state, JOB_WAITING);
    j->connection = waiter;
    j->destroy = destroy;
}

job *job_keep(job *j)
{
    (void)atomic_fetch_add(&j->references, 1);
    return j;
}

void job_drop(job *j)
{
    if (atomic_fetch_sub(&j->references, 1) == 1)
        j->destroy(j);
}

static bool leave_waiting(job *j, job_state next)
{
    int waiting = JOB_WAITING;
    if (!atomic_compare_exchange_strong(&j->state, &waiting, (int)next))
        return false;
    if (j->connection != NULL)
        http_wake(j->connection);
    return true;
}

void job_finish(job *j)
{
    (void)leave_waiting(j, JOB_FINISHED);
}

bool job_abandon(job *j, job_state reason)
{
    return leave_waiting(j, reason);
}

job_state job_state_of(const job *j)
{
    return (job_state)atomic_load(&j->state);
}
