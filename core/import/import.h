/* Import: a pull reader over one or more files of one format that yields claims.
 *
 * A format is a row of a table (rz_import_format) in its own file. Readers stream with bounded
 * memory; a row that cannot be used is counted under a reason with the file and line of its first
 * occurrences and reading goes on; a file that is damaged (corrupt .gz, wrong columns, mixed
 * encodings) ends the import with an error naming file, line and column. */
#ifndef RZ_IMPORT_IMPORT_H
#define RZ_IMPORT_IMPORT_H

#include "claims/event.h"

#include <stdbool.h>

typedef struct rz_import rz_import;

typedef struct rz_import_options {
    const char *facility;   /* for formats without one; NULL = the format's name. It is also the
                               namespace of the patients: one per data set */
    bool shifted_dates;     /* accept the far future of date-shifted data */
    const char *prefix_map; /* MEDS: path of a prefix table, NULL for the built-in one */
    bool read_ahead;        /* read on a thread of the import's own, see ahead.h; same results */
} rz_import_options;

enum { RZ_IMPORT_REASONS_MAX = 32, RZ_IMPORT_EXAMPLES_MAX = 5 };

typedef struct rz_import_refusal {
    const char *reason; /* "no date", "impossible code", … ; static */
    uint64_t rows;      /* rows, or single codes of rows that hold many */
    struct {
        char file[64]; /* base name */
        uint64_t line;
    } examples[RZ_IMPORT_EXAMPLES_MAX]; /* the first ones; file[0] = 0 when fewer */
} rz_import_refusal;

typedef struct rz_import_summary {
    uint64_t rows_read, claims, events;
    uint64_t patients_listed; /* in the patient files, with claims or without; 0 where there are no
                                 such files */
    uint64_t bytes_read, bytes_total;      /* of the files as stored, for progress */
    uint64_t codes_by_kind[RZ_KIND_COUNT]; /* read in rows that were used: before impossible codes
                                              are refused and duplicates in a claim removed */
    uint64_t events_by_kind[RZ_KIND_COUNT], events_by_system[RZ_SYSTEM_COUNT]; /* kept */
    size_t n_refusals;
    rz_import_refusal refusals[RZ_IMPORT_REASONS_MAX];
} rz_import_summary;

rz_import_options rz_import_options_defaults(void);

/* format  "native", "omop", "synpuf" or "meds"
 * paths   files or folders; a folder stands for the format's files in it; .gz and .zst are read
 * Errors  RZ_E_NOT_FOUND, RZ_E_UNSUPPORTED (format, Parquet), RZ_E_USAGE, RZ_E_FORMAT (columns),
 *         RZ_E_IO. Files are opened one at a time, so later ones fail in rz_import_next. */
RZ_MUST_CHECK rz_status rz_import_open(const char *format, const char *const *paths, size_t n_paths,
                                       const rz_import_options *options, rz_import **out,
                                       rz_error *error);

/* The next claim; its strings and events are borrowed until the next call. Sets *more to false and
 * leaves *out alone after the last one. */
RZ_MUST_CHECK rz_status rz_import_next(rz_import *import, rz_claim *out, bool *more,
                                       rz_error *error);

/* Counts the claim that was handed out last as refused after all, because the store would not have
 * it. `reason` is static. */
void rz_import_refuse(rz_import *import, const rz_claim *claim, const char *reason);

const rz_import_summary *rz_import_summary_of(const rz_import *import); /* borrowed */
void rz_import_close(rz_import *import);                                /* accepts NULL */

#endif
