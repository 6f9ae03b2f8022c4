/* What the formats share: the state of an import, and how a format reports rows and codes.
 *
 * A format is one rz_import_format. Its `next` reads rows through the import's one open file, puts
 * the codes of a claim together with rz_reader_begin … rz_reader_add … rz_reader_finish, and
 * counts what it cannot use with rz_reader_refuse. Private to import. */
#ifndef RZ_IMPORT_READER_H
#define RZ_IMPORT_READER_H

#include "import/ahead.h"
#include "import/csv.h"
#include "import/import.h"

typedef struct rz_import_format {
    const char *name;
    const char *const *suffixes; /* of its files in a folder, NULL at the end; packed ones too */
    bool csv;                    /* files are opened as CSV, else as lines */
    rz_status (*open)(rz_import *, rz_error *);
    rz_status (*next)(rz_import *, rz_claim *, bool *more, rz_error *);
    void (*close)(rz_import *);
} rz_import_format;

extern const rz_import_format rz_import_native, rz_import_omop, rz_import_synpuf, rz_import_meds;

/* A code of the claim being put together; the events point into an array of these. */
typedef struct rz_reader_text {
    char code[RZ_CODE_TEXT], unit[RZ_CODE_TEXT];
} rz_reader_text;

struct rz_import {
    const rz_import_format *format;
    char *facility, *prefix_map; /* prefix_map NULL when not given */
    int32_t latest_day;
    char **paths; /* files only, in the order in which they are read */
    uint64_t *sizes;
    size_t n_paths;
    rz_import_summary summary;

    size_t current; /* index of the open file */
    bool file_open;
    uint64_t bytes_done; /* of the files that are finished */
    rz_csv csv;
    rz_lines lines;

    rz_claim claim; /* being put together */
    rz_event *events;
    rz_reader_text *texts;
    size_t n_events, events_capacity;

    void *state;     /* the format's own */
    rz_ahead *ahead; /* NULL when the caller reads itself; else only the thread uses the above */
};

/* Reasons of refusal that several formats use. */
#define RZ_REFUSED_NO_PATIENT     "no patient id"
#define RZ_REFUSED_UNKNOWN_PERSON "patient absent from the patient file"
#define RZ_REFUSED_NO_DATE        "no date"
#define RZ_REFUSED_BAD_DATE       "impossible date"
#define RZ_REFUSED_FUTURE         "date in the future"
#define RZ_REFUSED_BEFORE_BIRTH   "date before the patient's birth"
#define RZ_REFUSED_NO_CODE        "no code"
#define RZ_REFUSED_BAD_CODE       "impossible code"

/* Opens the file `index` of import->paths, closing the open one. */
RZ_MUST_CHECK rz_status rz_reader_open_file(rz_import *import, size_t index, rz_error *error);
void rz_reader_close_file(rz_import *import);
/* The next record or line of the open file; counts rows and bytes. */
RZ_MUST_CHECK rz_status rz_reader_row(rz_import *import, bool *more, rz_error *error);
RZ_MUST_CHECK rz_status rz_reader_line(rz_import *import, char **line, size_t *n, bool *more,
                                       rz_error *error);

/* The base name of a path without .gz, .zst and the format's suffix, in lower case. */
void rz_reader_stem(const char *path, char *out, size_t cap);

/* Counts the current row (or one of its codes) as refused. `reason` is static. */
void rz_reader_refuse(rz_import *import, const char *reason);
/* The line that was read last, from 1. */
uint64_t rz_reader_place(const rz_import *import);
/* Counts a row at this place as refused; path NULL when there is none. */
void rz_summary_refuse(rz_import_summary *summary, const char *reason, const char *path,
                       uint64_t line);
/* Adds the rows of a refusal that was counted elsewhere. */
void rz_summary_add(rz_import_summary *summary, const rz_import_refusal *more);

/* A day from a CSV field; refuses and returns false when it is empty, impossible, later than
 * allowed, or before `birth_day`. */
bool rz_reader_day(rz_import *import, rz_field field, int32_t birth_day, int32_t *out);
/* A number from a CSV field; NaN when it is none. Locale-free. */
double rz_reader_number(rz_field field);
/* A whole 64-bit number; false when the field is anything else. */
bool rz_reader_integer(rz_field field, int64_t *out);

/* Starts a claim: its days, and no events. */
void rz_reader_begin(rz_import *import, const rz_claim *claim);
/* Adds a code; one that its system cannot hold is refused and counted, which is no error. Local
 * codes that are too long keep their beginning and a hash of the whole; their control characters
 * become blanks.
 * Errors  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE past RZ_CLAIM_EVENTS_MAX. */
RZ_MUST_CHECK rz_status rz_reader_add(rz_import *import, const rz_event *event, rz_field code,
                                      rz_field unit, rz_error *error);
/* Removes duplicates and hands the claim out; false when it has no events. */
bool rz_reader_finish(rz_import *import, rz_claim *out);

/* Adds a claim's events to the summary. For formats that make claims another way. */
void rz_reader_count(rz_import *import, const rz_claim *claim);

#endif
