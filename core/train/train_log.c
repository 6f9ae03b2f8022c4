/* Rows of text with a fixed number of digits: equal numbers give equal bytes. */
#define _GNU_SOURCE
#include "train/train_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rz_status check_written(rz_train_log *log, rz_error *error)
{
    if (ferror(log->stream) || fflush(log->stream) != 0)
        return rz_fail_errno(error, errno != 0 ? errno : EIO, "cannot write %s", log->path);
    return RZ_OK;
}

static rz_status write_header(rz_train_log *log, const char *const *names, size_t n,
                              rz_error *error)
{
    (void)fputs("step,epoch,split,loss", log->stream);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(log->stream, ",loss_%s", names[i]);
    (void)fputs(",lr,grad_norm,tokens_per_s,ms_per_step,limit_share,seconds\n", log->stream);
    return check_written(log, error);
}

rz_status rz_train_log_open(rz_train_log *log, const char *path, const char *const *term_names,
                            size_t n_terms, uint64_t keep_bytes, rz_error *error)
{
    *log = (rz_train_log){.path = strdup(path)};
    if (log->path == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", path);
    rz_status status = RZ_OK;
    struct stat info;
    /* As the model's other files: what is learnt from claims is not for everybody. */
    int fd = open(path, O_RDWR | O_CLOEXEC | (keep_bytes > 0 ? 0 : O_CREAT | O_TRUNC), 0640);
    if (fd >= 0 && (log->stream = fdopen(fd, keep_bytes > 0 ? "r+b" : "wb")) == NULL)
        (void)close(fd);
    if (log->stream == NULL)
        status = rz_fail_errno(error, errno, "cannot open %s", path);
    else if (keep_bytes == 0)
        status = write_header(log, term_names, n_terms, error);
    else if (fstat(fileno(log->stream), &info) != 0 || (uint64_t)info.st_size < keep_bytes)
        status = rz_fail(error, RZ_E_CORRUPT, "%s is shorter than the %llu bytes of the saved run",
                         path, (unsigned long long)keep_bytes);
    else if (ftruncate(fileno(log->stream), (off_t)keep_bytes) != 0 ||
             fseeko(log->stream, 0, SEEK_END) != 0)
        status = rz_fail_errno(error, errno, "cannot cut %s", path);
    if (status != RZ_OK)
        rz_train_log_close(log);
    return status;
}

static void put_field(FILE *out, double value, const char *format)
{
    (void)fputc(',', out);
    if (isfinite(value)) {
        char text[40];
        /* strfromd reads no locale, unlike printf. */
        (void)strfromd(text, sizeof text, format, value);
        (void)fputs(text, out);
    }
}

rz_status rz_train_log_add(rz_train_log *log, const rz_train_row *row, rz_error *error)
{
    (void)fprintf(log->stream, "%llu,%llu,%s", (unsigned long long)row->step,
                  (unsigned long long)row->epoch, row->split);
    put_field(log->stream, row->loss, "%.9g");
    for (size_t i = 0; i < row->n_terms; i++)
        put_field(log->stream, row->terms[i], "%.9g");
    put_field(log->stream, row->learning_rate, "%.9g");
    put_field(log->stream, row->grad_norm, "%.9g");
    put_field(log->stream, row->tokens_per_s, "%.0f");
    put_field(log->stream, row->ms_per_step, "%.2f");
    put_field(log->stream, row->limit_share, "%.3f");
    put_field(log->stream, row->seconds, "%.2f");
    (void)fputc('\n', log->stream);
    return check_written(log, error);
}

rz_status rz_train_log_sync(rz_train_log *log, uint64_t *bytes, rz_error *error)
{
    rz_status status = check_written(log, error);
    off_t at = status == RZ_OK ? ftello(log->stream) : -1;
    if (status == RZ_OK && (at < 0 || fsync(fileno(log->stream)) != 0))
        status = rz_fail_errno(error, errno, "cannot write %s", log->path);
    if (status == RZ_OK)
        *bytes = (uint64_t)at;
    return status;
}

void rz_train_log_close(rz_train_log *log)
{
    if (log->stream != NULL)
        (void)fclose(log->stream);
    free(log->path);
    *log = (rz_train_log){0};
}
