/* Records of a CSV file with a header (RFC 4180, with newlines in quoted fields), streamed. A file
 * whose header has tabs and no commas is read as tab-separated without quotes, which is how OHDSI
 * distributes vocabularies. Private. */
#ifndef RZ_IMPORT_CSV_H
#define RZ_IMPORT_CSV_H

#include "base/buffer.h"
#include "import/lines.h"

enum { RZ_CSV_COLUMNS_MAX = 2048, RZ_CSV_RECORD_BYTES_MAX = 4 << 20, RZ_CSV_NO_COLUMN = -1 };

typedef struct rz_field {
    const char *text; /* NUL-terminated, borrowed until the next record */
    size_t n;
} rz_field;

typedef struct rz_csv {
    rz_lines lines;
    char delimiter;
    rz_buffer header; /* the header's bytes; `names` points into it */
    rz_buffer record; /* a record of several lines is put together here */
    rz_field *names, *fields;
    size_t n_columns;
    uint64_t line; /* where the current record begins */
} rz_csv;

/* Opens a file and reads its header. Names are compared without case; the wrapping that some
 * exports leave, "date(x,'unixepoch')", is read as x. `path` must outlive the reader.
 * Errors  as rz_lines_open; RZ_E_FORMAT when there is no header. */
RZ_MUST_CHECK rz_status rz_csv_open(rz_csv *csv, const char *path, rz_error *error);
void rz_csv_close(rz_csv *csv); /* accepts a zeroed one */

/* Number of a column, RZ_CSV_NO_COLUMN when it is absent; the second is an error then. */
int rz_csv_column(const rz_csv *csv, const char *name);
RZ_MUST_CHECK rz_status rz_csv_require(const rz_csv *csv, const char *name, int *out,
                                       rz_error *error);

/* The next record's fields in csv->fields; empty lines are passed over.
 * Errors  RZ_E_FORMAT naming file, line and column when the number of fields differs from the
 *         header's or quotes do not pair; and those of rz_lines_next. */
RZ_MUST_CHECK rz_status rz_csv_next(rz_csv *csv, bool *more, rz_error *error);

/* A field by column; the empty text for RZ_CSV_NO_COLUMN. */
rz_field rz_csv_field(const rz_csv *csv, int column);

#endif
