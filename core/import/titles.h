/* What codes are called, for people who read: a table that a hospital brings along. Models never
 * see it. The file is CSV with the columns system, code, title and title_ja, the last one optional;
 * an empty field is no title. Codes are written as claims write them, whole or shortened. */
#ifndef RZ_IMPORT_TITLES_H
#define RZ_IMPORT_TITLES_H

#include "claims/code.h"

typedef struct rz_titles rz_titles;

typedef struct rz_title {
    const char *en, *ja; /* borrowed from the table; NULL where there is none */
} rz_title;

enum { RZ_TITLES_MAX = 2000000, RZ_TITLE_BYTES_MAX = 400 };

/* Reads the table.
 * Errors  RZ_E_FORMAT naming file and line: an unknown system, a code that its system cannot hold,
 *         a title that is too long, one code with two titles; RZ_E_TOO_LARGE; those of
 *         rz_csv_open. */
RZ_MUST_CHECK rz_status rz_titles_read(const char *path, rz_titles **out, rz_error *error);
void rz_titles_free(rz_titles *titles);          /* accepts NULL */
size_t rz_titles_count(const rz_titles *titles); /* codes that have one */

/* The titles of a code as stored. A code that a vocabulary has shortened is called what all codes
 * that begin with it are called, where they agree. False when it has neither title.
 * Threads  safe. */
bool rz_titles_find(const rz_titles *titles, rz_code_system system, const char *code,
                    rz_title *out);

#endif
