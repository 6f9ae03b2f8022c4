/* Settings of the programs, all in one way: flag > environment > INI file > default.
 *
 * A program gives a table of options; a flag is --name VALUE (or --name for switches), its
 * environment twin PREFIX_NAME, its INI key name, each with '-' as '_' where that is usual.
 *
 *     static const rz_option table[] = {
 *         {"port", RZ_OPTION_INT, "8480", .min = 0, .max = 65535, .group = "Network",
 *          .value = "PORT", .help = "port to listen on"}};
 *     check(rz_options_new(table, RZ_COUNT(table), "REZEPTD", &options, &error));
 *     check(rz_options_read_file(options, path, "rezeptd", &error));
 *     check(rz_options_read_environment(options, &error));
 *     check(rz_options_read_arguments(options, argc, argv, &error));
 *     int64_t port = rz_options_int(options, "port");
 *
 * Sources may be read in any order; the stronger one always wins. The only file that meets inih. */
#ifndef RZ_BASE_OPTIONS_H
#define RZ_BASE_OPTIONS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum rz_option_kind {
    RZ_OPTION_TEXT,
    RZ_OPTION_LIST,   /* may be given several times or with commas; kept joined by commas */
    RZ_OPTION_INT,    /* decimal, within min … max */
    RZ_OPTION_REAL,   /* decimal point whatever the locale, within min … max */
    RZ_OPTION_SWITCH, /* --name, --no-name; true/false elsewhere */
    RZ_OPTION_SECRET  /* text whose value is never printed */
} rz_option_kind;

typedef struct rz_option {
    const char *name; /* "batch-tokens" */
    rz_option_kind kind;
    const char *fallback; /* the default as text; NULL = unset */
    double min, max;      /* of numbers; both 0 = any */
    const char *group;    /* heading in --help */
    const char *value;    /* what --help calls the value: "N", "PATH" */
    const char *help;     /* one line, with the unit */
} rz_option;

typedef enum rz_option_origin {
    RZ_ORIGIN_DEFAULT,
    RZ_ORIGIN_FILE,
    RZ_ORIGIN_ENVIRONMENT,
    RZ_ORIGIN_FLAG
} rz_option_origin;

typedef struct rz_options rz_options;

/* `table` is borrowed for the life of the options. */
RZ_MUST_CHECK rz_status rz_options_new(const rz_option *table, size_t n, const char *prefix,
                                       rz_options **out, rz_error *error);
void rz_options_free(rz_options *options); /* accepts NULL */

/* Errors  RZ_E_USAGE names the flag, variable or file:line, the value and what is allowed. */
RZ_MUST_CHECK rz_status rz_options_read_file(rz_options *options, const char *path,
                                             const char *section, rz_error *error);
RZ_MUST_CHECK rz_status rz_options_read_environment(rz_options *options, rz_error *error);
/* argv[0] is skipped. `--` ends the flags; what is no flag is an operand. "--help" and "-h" set
 * rz_options_wants_help instead of being an error. */
RZ_MUST_CHECK rz_status rz_options_read_arguments(rz_options *options, int argc, char *const *argv,
                                                  rz_error *error);

bool rz_options_wants_help(const rz_options *options);
size_t rz_options_operands(const rz_options *options, const char *const **out); /* borrowed */

/* Values by name; asking for a name that is not in the table is a programming error. */
const char *rz_options_text(const rz_options *options, const char *name); /* NULL when unset */
int64_t rz_options_int(const rz_options *options, const char *name);
double rz_options_real(const rz_options *options, const char *name);
bool rz_options_switch(const rz_options *options, const char *name);
bool rz_options_given(const rz_options *options, const char *name); /* not by default */
rz_option_origin rz_options_origin(const rz_options *options, const char *name);

/* The table as help text, grouped; and as "name = value  (origin)" lines for --check-config. */
void rz_options_print_help(const rz_options *options, FILE *out);
void rz_options_print_values(const rz_options *options, FILE *out);

#endif
