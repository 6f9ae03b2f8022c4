/* Locks, refuses, cleans: the rules of a run's folder. Knows nothing of what is trained. */
#define _GNU_SOURCE /* flock */
#include "train/run.h"

#include "base/file.h"
#include "model/checkpoint.h"
#include "train/resume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* Removes the files of a folder of ours and the folder; one that is not there is fine. */
static rz_status remove_folder(const char *folder, rz_error *error)
{
    DIR *listing = opendir(folder);
    if (listing == NULL)
        return errno == ENOENT ? RZ_OK : rz_fail_errno(error, errno, "cannot read %s", folder);
    rz_status status = RZ_OK;
    const struct dirent *entry;
    while (status == RZ_OK && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(listing), entry->d_name, 0) != 0)
            status = rz_fail_errno(error, errno, "cannot remove %s/%s", folder, entry->d_name);
    }
    (void)closedir(listing);
    if (status == RZ_OK && rmdir(folder) != 0)
        status = rz_fail_errno(error, errno, "cannot remove %s", folder);
    return status;
}

static rz_status take_lock(rz_run *run, rz_error *error)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/.lock", run->out);
    run->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (run->lock < 0)
        return rz_fail_errno(error, errno, "cannot create %s", path);
    /* A killed program holds its lock until its last fsync has returned: wait for that a moment. */
    const struct timespec pause = {.tv_nsec = 50000000};
    for (int tries = 0; tries < 100; tries++) {
        if (flock(run->lock, LOCK_EX | LOCK_NB) == 0)
            return RZ_OK;
        (void)nanosleep(&pause, NULL);
    }
    return rz_fail(error, RZ_E_BUSY, "another program is training in %s", run->out);
}

static rz_status check_content(rz_run *run, bool resume, bool force, rz_error *error)
{
    bool done = exists(run->out, "DONE"), state = exists(run->resume, "state.json");
    bool begun = state || exists(run->resume, "part-1.json");
    if (done && resume && !force) {
        run->finished = true;
        /* Killed between DONE and this, a run leaves its state behind. */
        return remove_folder(run->resume, error);
    }
    if (done && !force)
        return rz_fail(error, RZ_E_CONFLICT,
                       "%s holds a finished model; choose another --out or overwrite it with "
                       "--force",
                       run->out);
    if (begun && !resume && !force)
        return rz_fail(error, RZ_E_CONFLICT,
                       "%s holds an interrupted run; continue it with --resume or start over with "
                       "--force",
                       run->out);
    run->resuming = state && resume && !force;
    run->kept = begun && resume && !force;
    return rz_folder_make(run->resume, error);
}

rz_status rz_run_open(rz_run *run, const char *out, bool resume, bool force, rz_error *error)
{
    *run = (rz_run){.lock = -1};
    run->out = strdup(out);
    run->resume = rz_path_join(out, "resume");
    rz_status status = run->out == NULL || run->resume == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", out)
                           : rz_folder_make(out, error);
    if (status == RZ_OK)
        status = take_lock(run, error);
    if (status == RZ_OK)
        status = check_content(run, resume, force, error);
    if (status != RZ_OK)
        rz_run_close(run);
    return status;
}

void rz_run_close(rz_run *run)
{
    if (run->out != NULL && run->lock >= 0)
        (void)close(run->lock);
    free(run->out);
    free(run->resume);
    *run = (rz_run){.lock = -1};
}

static rz_status copy_store(const rz_run *run, const char *database,
                            const rz_store_options *options, const rz_facilities *facilities,
                            const char *path, const rz_progress *progress, rz_error *error)
{
    rz_store *store = NULL;
    rz_status status = rz_store_open(database, options, &store, error);
    /* There is something to begin with, so what an earlier run left may go. */
    if (status == RZ_OK && !run->kept)
        status = remove_folder(run->resume, error);
    if (status == RZ_OK)
        status = rz_folder_make(run->resume, error);
    if (status == RZ_OK)
        status = rz_dataset_copy(store, path, facilities, progress, error);
    rz_store_close(store);
    return status;
}

rz_status rz_run_dataset(const rz_run *run, const char *database, const rz_store_options *options,
                         const rz_facilities *facilities, const rz_progress *progress,
                         rz_dataset **out, rz_error *error)
{
    char path[PATH_MAX];
    rz_resume_state state = {0};
    rz_dataset *dataset = NULL;
    (void)snprintf(path, sizeof path, "%s/cache.bin", run->resume);
    rz_status status = RZ_OK;
    if (run->resuming)
        status = rz_resume_read(run->resume, &state, error);
    if (status == RZ_OK && (!run->kept || !exists(run->resume, "cache.bin")))
        status = copy_store(run, database, options, facilities, path, progress, error);
    if (status == RZ_OK)
        status = rz_dataset_open(path, &dataset, error);
    if (status == RZ_OK && run->resuming &&
        strcmp(state.data_sha256, rz_dataset_sha256(dataset)) != 0)
        status = rz_fail(error, RZ_E_CONFLICT,
                         "%s has changed since the run in %s began and its copy is gone; start "
                         "over with --force",
                         database, run->out);
    if (status != RZ_OK) {
        rz_dataset_close(dataset);
        return status;
    }
    *out = dataset;
    return RZ_OK;
}

rz_status rz_run_finish(rz_run *run, rz_error *error)
{
    rz_status status = rz_checkpoint_finish(run->out, error);
    if (status == RZ_OK)
        status = remove_folder(run->resume, error);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/.lock", run->out);
    if (status == RZ_OK)
        (void)unlink(path);
    return status;
}
